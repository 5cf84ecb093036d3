"""The Makefile, as far as it can be looked at without building; `make train` from a clean folder is tried by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is missing: apt install make")


@pytest.fixture
def make(tmp_path):
    """Run make in a folder whose name has a space, with an interpreter that only shows what it was asked."""
    folder = tmp_path / "a folder"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / "nncore").mkdir()
    shutil.copy(ROOT / "nncore" / "_build.py", folder / "nncore")
    (folder / "csrc").mkdir()
    shutil.copy(ROOT / "csrc" / "nncore.h", folder / "csrc")
    fake = folder / ".venv" / "bin" / "python"
    fake.write_text('#!/bin/sh\nfor a in "$@"; do printf "[%s]" "$a"; done; echo\nexit ${FAKE_EXIT:-0}\n')
    fake.chmod(0o755)
    (folder / ".venv" / "built").touch()
    clean = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}

    def call(*arguments, **env):
        done = subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, env={**clean, **env})
        done.folder = folder
        return done

    return call


def test_size_and_style():
    text = (ROOT / "Makefile").read_text()
    assert len(text.splitlines()) <= 60
    for flag in ("-O2", "-O3", "-std", "-march", "-mavx", "-fopenmp", "CFLAGS"):
        assert flag not in text
    assert "../" not in text and "/home" not in text


def test_help_is_the_default(make):
    done = make()
    assert done.returncode == 0
    for target in ("train", "test", "score", "predict", "report", "lab", "bench", "bench-peers", "test-san", "test-exhaustive",
                   "test-matrix", "lint", "size", "clean", "build"):
        assert f"make {target} " in done.stdout


def test_train_passes_its_variables(make):
    done = make("train", "DATA=some/fol der's", "EPOCHS=3", "HIDDEN=128,64", "SEED=1", "THREADS=2", "BATCH=64",
                "LR=1e-3", "OUT=o")
    assert done.stdout == ("[-m][nncore][train][--data][some/fol der's][--epochs][3][--hidden][128,64][--seed][1]"
                           "[--batch][64][--lr][1e-3][--out][o][--threads][2][--predictions][.]\n"), done.stderr
    assert make("train", "MODEL=lenet5", "AUGMENT=default,rotate=5", "SEED=2").stdout == (
        "[-m][nncore][train][--model][lenet5][--seed][2][--augment][default,rotate=5][--predictions][.]\n")
    assert make("train").stdout == "[-m][nncore][train][--predictions][.]\n"


def test_exit_status_is_kept(make):
    assert make("train", FAKE_EXIT="1").returncode != 0
    assert make("train", FAKE_EXIT="0").returncode == 0


def test_score_and_predict(make):
    assert make("score", "DATA=mnist").stdout == "[-m][nncore][score][test_predictions.csv][--data][mnist]\n"
    assert "make train first" in make("predict").stderr
    for name in ("20250101T000000Z-a-mlp-s0", "20250102T000000Z-b-mlp-s0"):
        run = make("help").folder / "runs" / name
        run.mkdir(parents=True)
        (run / "model.safetensors").touch()
    assert "[predict][runs/20250102T000000Z-b-mlp-s0]" in make("predict").stdout


def test_report_installs_what_it_needs(make):
    assert "make train first" in make("report").stderr
    run = make("help").folder / "runs" / "20250101T000000Z-a-mlp-s0"
    run.mkdir(parents=True)
    (run / "model.safetensors").touch()
    (run.parent.parent / ".venv" / "report").unlink()
    done = make("report")
    assert "[install][-e][.[report]]" in done.stdout and "[-m][nncore][report][runs/20250101T000000Z-a-mlp-s0]" in done.stdout
    assert "[install]" not in make("report").stdout
    assert "[report][elsewhere]" in make("report", "RUN=elsewhere").stdout


def test_the_laboratory_leaves_a_page(make):
    done = make("lab")
    assert "[install][-e][.[report]]" in done.stdout and done.stdout.endswith("[-m][nncore][lab][all][--report][runs/lab.html]\n")
    assert (done.folder / "runs").is_dir() and make("lab", FAKE_EXIT="1").returncode != 0


def test_bench_keeps_its_figures_and_peers_have_a_place_of_their_own(make):
    assert make("bench", "THREADS=2").stdout == "[-m][nncore][bench][--threads][2][--out][runs/bench]\n"
    fake = make("help").folder / ".venv" / "bin" / "python"  # what it is asked for the list of packages comes back as arguments
    done = make("bench-peers", f"PYTHON='{fake}'")
    assert "[-m][venv][.venv-peers]" in done.stdout and done.returncode != 0  # the stand-in makes no environment
    folder = fake.parent.parent.parent / ".venv-peers" / "bin"
    folder.mkdir(parents=True)
    shutil.copy(fake, folder)
    done = make("bench-peers", f"PYTHON='{fake}'")
    assert "[install]" in done.stdout and "requires" in done.stdout and "[--against][torch,numpy,sklearn]" in done.stdout
    assert "[install]" not in make("bench-peers").stdout


def test_a_changed_kernel_is_rebuilt(make):
    folder = make("help").folder
    os.utime(folder / ".venv" / "built", (1, 1))
    done = make("train")
    assert done.returncode == 0 and "[install][-e][.]" in done.stdout, done.stderr
    assert "[install]" not in make("train").stdout


@pytest.mark.parametrize("missing, message", [("venv", "python3-venv"), ("version", "Python 3.10"),
                                              ("compiler", "build-essential")])
def test_what_is_missing_is_named(make, tmp_path, missing, message):
    folder = make("help").folder
    shutil.rmtree(folder / ".venv")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "sed", "rm", "touch", "find", "test", "make"):
        if path := shutil.which(name):
            (tools / name).symlink_to(path)
    python = tools / "python3"
    python.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then exit {int(missing == "version")}; fi\nexit 1\n')
    python.chmod(0o755)
    if missing != "compiler":
        (tools / "cc").symlink_to("/bin/true")
    done = make("train", PATH=str(tools))
    assert done.returncode != 0 and message in done.stderr and not (folder / ".venv").exists()


def test_clean_keeps_runs(make):
    folder = make("help").folder
    (folder / "runs").mkdir()
    (folder / "build").mkdir()
    assert make("clean").returncode == 0
    assert (folder / "runs").exists() and not (folder / "build").exists() and not (folder / ".venv").exists()


def test_ci_script_is_sound():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    text = script.read_text()
    assert "NNCORE_OFFLINE=1" in text and "make test" in text
