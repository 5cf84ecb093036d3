"""Help, errors and exit codes: what every command has in common."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from nncore import errors
from nncore.cli import explain
from nncore.cli.group import COMMANDS


def test_help_is_fast_and_loads_no_command(environment, tmp_path):
    code = ("import sys, time; from nncore.cli import run; run(['--help'])\n"
            "late = 'rich', 'safetensors', 'msgspec', 'nncore.cli.train', 'nncore.cli.bench'\n"
            "bad = [m for m in late if m in sys.modules]\n"
            "print(bad, time.process_time(), file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    loaded, _, seconds = done.stderr.rpartition(" ")
    assert loaded == "[]"
    assert float(seconds) < 0.6, "nncore --help takes too long (0.15 s of processor time on a quiet machine)"
    for name in COMMANDS:
        assert f"  {name} " in done.stdout


def test_import_nncore_loads_neither_click_nor_rich(environment, tmp_path):
    late = "click", "rich", "msgspec", "safetensors", "numpy"
    code = f"import sys, nncore; print([m for m in {late} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["train", "sweep", "predict", "score", "data", "info"])
def test_every_help_has_an_example(inside, name):
    done = inside(name, "--help")
    assert done.code == 0 and f"  nncore {name}" in done.out and done.err == ""


@pytest.mark.parametrize("arguments, message", [
    (["tarin"], "did you mean train?"),
    (["train", "--epoch", "3"], "--epochs"),
    (["data", "lst"], "did you mean list?"),
    (["--nope"], "--nope"),
    (["score"], "PREDICTIONS"),
    ([], "Commands"),
])
def test_wrong_command_lines(inside, arguments, message):
    done = inside(*arguments)
    assert done.code == 2 and message in done.out + done.err


@pytest.mark.parametrize("error, code, message", [
    (errors.UsageError("u"), 2, "u"),
    (errors.ShapeError("s"), 2, "s"),
    (errors.DataError("d"), 3, "d"),
    (errors.NonFiniteError("n"), 1, "n"),
    (errors.LimitError("l"), 4, "l"),
    (errors.NNError("f"), 5, "f"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (MemoryError(), 4, "out of memory"),
    (OSError(28, "No space left on device", "x/y"), 4, "x/y: No space left on device"),
    (BrokenPipeError(), 4, ""),
    (ZeroDivisionError("z"), 5, "a fault of nncore itself: ZeroDivisionError: z"),
    (SystemExit(7), 7, ""),
])
def test_exit_codes(error, code, message):
    found = explain(error)
    assert found[0] == code and message in found[1]


def test_debug_shows_the_traceback(environment, tmp_path):
    done = subprocess.run([sys.executable, "-m", "nncore", "score", "nope", "nope"], capture_output=True, text=True,
                          env={**environment, "NNCORE_DEBUG": "1"}, cwd=tmp_path)
    assert done.returncode == 3 and "Traceback" in done.stderr


def test_version(inside):
    assert inside("--version").out.startswith("nncore ")


def test_a_full_stdout_is_a_limit(environment, tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "nncore", "info"], stdout=full, stderr=subprocess.PIPE, text=True,
                              env=environment, cwd=tmp_path)
    assert done.returncode == 4 and "No space left" in done.stderr and "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_disaster(environment, tmp_path, trained, tiny):
    process = subprocess.Popen([sys.executable, "-m", "nncore", "predict", str(trained), "--proba"], cwd=tmp_path,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    process.stdout.close()
    assert process.wait(60) in (0, 4)
    assert process.stderr.read() == b""


def test_interrupt_before_training(environment, tmp_path):
    code = ("import sys, signal, os; import nncore.data; from nncore.cli import run\n"
            "nncore.data.load = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT)\n"
            "sys.exit(run(['train', '--quiet']))")
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 130 and done.stderr == "nncore: interrupted\n" and time.monotonic() - start < 30
    assert not (tmp_path / "runs").exists()
