"""Networks of the zoo on the command line, from the list of them to a committee of two."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nncore.nn.zoo import MODELS
from nncore.train.config import read_config

QUICK = ("--data", "glyphs", "--epochs", 1, "--set", "data.limit=64", "--batch", 32, "--quiet", "--json")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Runs of convolutional networks, two of them with averaged weights."""
    from nncore.cli import run

    folder = tmp_path_factory.mktemp("zoo")
    for name, *more in (("lenet5",), ("resnet-small",), ("lenet1", "--set", "average.kind=ema", "--set", "average.decay=0.5")):
        options = [*QUICK, "--model", name, *more, "--out", folder / name]
        assert run([str(o) for o in ("train", *options)]) == 1, "64 glyphs are too few for the threshold"
    return folder


@pytest.mark.parametrize("name", ["lenet5", "inception-small"])
def test_from_a_name_to_a_report(inside, name, tmp_path):
    first = inside("train", *QUICK, "--model", name, "--out", "a")
    assert first.json["model"] == name and first.json["parameters"] > 60_000 and first.err == ""
    again = inside("train", "a/config.toml", "--out", "b", "--json", "--quiet", "--threads", 1)
    assert again.json["weights_sha256"] == first.json["weights_sha256"]
    assert (tmp_path / "a/config.toml").read_bytes() == (tmp_path / "b/config.toml").read_bytes()
    assert inside("predict", "a").out == (tmp_path / "a/test_predictions.csv").read_text()
    pytest.importorskip("jinja2")
    assert inside("report", "a").code == 0 and (tmp_path / "a/report.html").stat().st_size > 10_000


def test_the_recipe_never_mirrors_digits(zoo, inside):
    config = read_config(zoo / "resnet-small" / "config.toml")
    assert config.augment["rotate"] == 7.5 and not config.augment["flip"] and "preset" not in config.augment
    assert config.average["kind"] == "ema" and config.train.loss["smoothing"] == 0.1
    assert read_config(zoo / "lenet5" / "config.toml").augment == {}


def test_committee_of_convolutional_networks(zoo, inside):
    runs = zoo / "lenet5", zoo / "lenet1"
    found = inside("committee", *runs, "--average", "--json").json
    for m, run in zip(found["members"], runs, strict=True):
        assert m["accuracy"] == inside("predict", run, "--json").json["accuracy"]
        assert m["wrong"] == round(2000 * (1 - m["accuracy"]))
    text = inside("committee", *runs, "--data", "glyphs").out
    assert f"{found['members'][0]['wrong']:,} wrong" in text and text.strip().endswith(f"{found['wrong']:,} wrong")
    views = inside("committee", *runs, "--tta", "shift=1", "--json").json
    assert views["tta"] == "shift=1" and views["accuracy"] != found["accuracy"]


def test_views(zoo, inside):
    import nncore as nn

    run = zoo / "lenet5"
    data, model = nn.data.glyphs(), nn.load(run / "model.safetensors")
    proba = nn.predict_views(model, data.test, shift=1).tolist()
    assert inside("predict", run, "--tta", "shift=1").out.split() == [str(row.index(max(row))) for row in proba]
    rows = inside("predict", run, "--tta", "shift=1", "--proba").out.splitlines()
    assert [float(v) for v in rows[7].split(",")] == pytest.approx(proba[7], rel=1e-6)
    assert inside("predict", run, "--tta", "shift=1,mirror", "--json").err.count("leave mirror out") == 1
    for spec, message in (("turn=5", "known: shift=PIXELS, mirror"), ("shift=28", "shift is a whole number from 0 to 27")):
        done = inside("predict", run, "--tta", spec)
        assert done.code == 2 and message in done.err


def test_warnings_are_lines(inside):
    done = inside("train", *QUICK, "--model", "alexnet-small", "--augment", "default,flip", "--out", "a", "--report")
    lines = done.err.splitlines()
    assert len(lines) == len(set(lines)) == 3 and all(line.startswith("nncore: ") for line in lines), done.err
    assert sum("flip mirrors" in line for line in lines) == 1 and sum("not a whole number" in line for line in lines) == 2


def test_report_of_a_resumed_run(inside, tmp_path):
    pytest.importorskip("jinja2")
    inside("train", *QUICK, "--model", "lenet5", "--out", "a", "--steps", 1)
    done = inside("train", "--resume", "a", "--report", "--json", "--quiet")
    assert done.json["report"] == "a/report.html" and (tmp_path / "a/report.html").exists(), done.err


def test_list(inside):
    found = inside("models", "--json").json
    assert found["schema"] == "nncore.models/1" and [m["name"] for m in found["models"]] == list(MODELS)
    text = inside("models")
    assert text.err == "" and [line.split()[0] for line in text.out.splitlines()[1:]] == list(MODELS)
    lenet = found["models"][list(MODELS).index("lenet5")]
    assert (lenet["parameters"], lenet["options"], lenet["recipe"]["train"]["batch"]) == (61_706, {"original": False}, 64)
    one = inside("models", "lenet5").out
    assert one.startswith(lenet["what"]) and "61,706 parameters (0.25 MB)" in one and "lr = 0.004" in one
    done = inside("models", "lenet")
    assert done.code == 2 and "did you mean lenet5 or lenet1?" in done.err
    done = inside("train", "--model", "lenet")
    assert done.code == 2 and all(name in done.err for name in MODELS)
    assert "nncore models" in inside("train", "--help").out


def test_memory_stays_within_the_plan(command):
    """A process that trains, validates and predicts takes little more than it says beforehand, beside the interpreter."""
    base = "import resource; from nncore import _ffi, cli; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    interpreter = 1024 * int(subprocess.run([sys.executable, "-c", base], capture_output=True, text=True, check=True).stdout)
    done = command("train", "--model", "resnet-small", "--data", "glyphs", "--epochs", 1, "--set", "data.limit=256",
                   "--validation", 0.25, "--quiet", "--json").json
    assert done["peak_rss_bytes"] < interpreter + 1.5 * done["plan_bytes"], done
