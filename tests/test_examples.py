"""Every program in examples/ that shows a method runs, quickly and on the embedded glyphs, and shows what its first lines say."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
PROGRAMS = sorted(p.stem for p in FOLDER.glob("*.py") if "from common import" in p.read_text())


def shares(text: str) -> list[float]:
    """All percentages of a text, in order."""
    return [float(s) for s in re.findall(r"(\d+\.\d+)%", text)]


def r2(text: str) -> list[float]:
    return [float(s) for s in re.findall(r"R\^2 (-?\d+\.\d+)", text)]


def lines_with(text: str, word: str) -> list[str]:
    return [line for line in text.splitlines() if word in line]


def rejection(out):
    for part in out.split("by the gap of ")[1:]:
        errors = [float(s) for s in re.findall(r"error (\d+\.\d+)%", part)]
        assert errors[-1] < errors[0] / 2
        wanted = [float(s) for s in re.findall(r"refuse (\d+\.\d+)%", part)]
        assert wanted == sorted(wanted)


def postal_codes(out):
    dense, convolutional = map(shares, out.splitlines())
    assert convolutional[0] < dense[0] and convolutional[2] < dense[2]


def committee(out):
    alone = [shares(line)[0] for line in lines_with(out, "member")]
    together = shares(lines_with(out, "average")[0])[0]
    assert len(alone) == 5 and together >= max(alone)
    assert lines_with(out, "read back")[0].split("accuracy")[1] == lines_with(out, "vote")[0].split("accuracy")[1]


def bagging(out):
    assert 60 < shares(out)[0] < 66 and "7 of them" in out


def snapshot(out):
    assert len(lines_with(out, "cycle")) == 3 and "one cosine over all 3 epochs" in out


def kfold(out):
    assert len(lines_with(out, "hidden neurons: accuracy")) == 3 and "deviation over 3 folds" in out and "once: accuracy" in out


def finetune(out):
    found = {name: shares(lines_with(out, name)[0])[0] for name in ("a new network", "new head", "all goes on")}
    assert found["all goes on"] > found["a new network"] < found["new head"]
    assert "bit for bit what it was: True" in out


def self_training(out):
    rounds = lines_with(out, "round")
    assert len(rounds) == 3 and " 0 pseudo-labels" in rounds[0] and shares(rounds[-1])[0] > shares(rounds[0])[0]


def active_learning(out):
    found = {line.split()[0]: shares(line) for line in out.splitlines() if "%" in line}
    assert found["margin"][0] == found["random"][0] and found["margin"][-1] > found["random"][-1]
    assert "next it would ask for" in out


def tta(out):
    plain, copies = map(shares, out.splitlines())
    assert copies[1] >= copies[0] > plain[0] and copies[2] < copies[0]


def find_rate(out):
    suggestion = float(re.search(r"suggestion (\S+)", out)[1])
    losses = [float(s) for s in re.findall(r"loss (\d+\.\d+)", out)]
    assert 1e-4 < suggestion < 1 and losses[2] < losses[0]


def ema(out):
    assert len(set(re.findall(r"training (\w+)", out))) == 1
    assert len(lines_with(out, "accuracy")) == 5


def clipping(out):
    assert "NaN or infinite" in lines_with(out, "None")[0]
    assert len(r2(out)) == 3 and min(r2(out)) > 0.3


def class_weights(out):
    plain, weighted, repeated = (shares(line) for line in lines_with(out, "found of"))
    assert weighted[1] > plain[1] + 5 and repeated[1] > plain[1] + 5


def distillation(out):
    labels, softened = (shares(lines_with(out, word)[0])[0] for word in ("from the labels", "T = 4"))
    assert softened > labels and "from the committee" in out


def multilabel(out):
    assert shares(out)[1] < 15 and len(lines_with(out, "there are")) == 3


def regression(out):
    clean, noisy = r2(lines_with(out, "MSE")[0])[0], r2(lines_with(out, "MSE")[1])[0]
    robust = r2(lines_with(out, "AbsoluteError  noisy")[0])[0]
    assert clean > 0.2 and robust > noisy and shares(out)[-1] > 80


def discretised_regression(out):
    mean, *others = r2(out)
    assert abs(mean) < 0.1 and len(others) == 4 and min(others) > 0.6


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_shows_what_it_says(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--quick"])
    monkeypatch.syspath_prepend(str(FOLDER))
    sys.modules.pop("common", None)
    runpy.run_path(str(FOLDER / f"{name}.py"))
    sys.modules.pop("common", None)
    out = capsys.readouterr().out
    assert name in globals(), f"say here what {name}.py has to show"
    globals()[name](out)


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_is_short_and_says_what_it_shows(name):
    text = (FOLDER / f"{name}.py").read_text()
    doc = ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 60
    assert re.search(r"Takes about (\w+ seconds|a minute)\.", doc.splitlines()[2]), "the third line says how long it takes"
