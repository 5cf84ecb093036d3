"""nncore lab: the list, runs with parameters, the verdict as exit code, JSON, the page, bad names."""

from __future__ import annotations

import pytest

from nncore.lab import EXPERIMENTS, find
from nncore.lab.run import defaults
from tests.harness import need
from tests.report.conftest import HAVE

KEYS = {"name", "code", "title", "chapter", "formula", "theory", "source", "parameters", "accepted", "expected", "measured",
        "seconds", "findings", "pictures", "tables", "missing"}
# Two epochs of 50 images at rates that do nothing: no loss falls to a fifth of another one.
FAILING = ("rates", "--set", "network=1e-4,2e-4", "--set", "samples=50", "--set", "epochs=2")


@pytest.fixture
def few(monkeypatch):
    """A laboratory of two."""
    names = ("cliffs", "ravine")
    monkeypatch.setattr("nncore.lab.EXPERIMENTS", {n: EXPERIMENTS[n] for n in names})
    return list(names)


def test_list(inside):
    found = inside("lab", "list", "--json").json
    assert found["schema"] == "nncore.lab.list/1" and [e["name"] for e in found["experiments"]] == list(EXPERIMENTS)
    assert all(set(e["parameters"]) == set(defaults(find(e["name"]))) for e in found["experiments"])
    text = inside("lab", "list").out
    assert "ravine" in text and "Momentum on a ravine" in text and "condition=10,30" in text


def test_json(inside):
    done = inside("lab", "run", "ravine", "cliffs", "ravine", "--json")
    found = done.json
    assert done.code == 0 and found["schema"] == "nncore.lab/1" and found["numerics_id"] >= 1 and found["isa"]
    assert [e["name"] for e in found["experiments"]] == ["ravine", "cliffs"]
    for e in found["experiments"]:
        assert set(e) == KEYS and e["accepted"] is True and e["seconds"] > 0
        assert e["expected"] == [f["expected"] for f in e["findings"]] and len(e["measured"]) == len(e["expected"]) > 2
        assert all(set(f) == {"text", "expected", "measured", "accepted"} for f in e["findings"])
        for p in e["pictures"]:
            assert set(p) == {"title", "x", "y", "curves", "note", "log_x", "log_y"}
            assert all(set(c) == {"name", "x", "y", "role"} for c in p["curves"])
    assert "ravine" in done.err and "findings hold" in done.err


def test_text_and_verdict(inside):
    done = inside("lab", "run", "cliffs", "--set", "length=30", "--quiet")
    assert done.code == 0 and done.err == ""
    for words in ("cliffs: Cliffs", "formula", "theory", "Pascanu", "length=30", "measured", "at most 1.001", "holds"):
        assert words in done.out, words
    done = inside("lab", "run", *FAILING)
    assert done.code == 1 and "DOES NOT HOLD" in done.out and "DO NOT HOLD" in done.err
    done = inside("lab", "run", *FAILING, "--json")
    assert done.code == 1 and done.json["experiments"][0]["accepted"] is False


def test_all_in_processes(inside, few):
    done = inside("lab", "all", "--jobs", 2, "--json")
    assert done.code == 0 and [e["name"] for e in done.json["experiments"]] == few
    assert done.err.count("findings hold") == 2 and inside("lab", "all", "--jobs", 1, "--quiet").err == ""


def test_the_page(inside, tmp_path):
    need("report", HAVE, "pip install 'nncore[report]'")
    done = inside("lab", "run", "ravine", "--report", "lab.html")
    html = (tmp_path / "lab.html").read_text()
    assert done.code == 0 and "lab.html" in done.err and "Momentum on a ravine" in html and html.count("<svg") == 2


@pytest.mark.parametrize(("arguments", "text"), [
    (("run", "ravin"), "did you mean ravine"), (("run",), "missing argument"), (("walk",), "no command"),
    (("run", "ravine", "--set", "kappa=3"), "condition="), (("run", "ravine", "--set", "goal=small"), "finite"),
    (("run", "ravine", "xor", "--set", "goal=0.1"), "xor: no parameter"), (("run", "xor", "--set", "seeds=0"), "seeds"),
    (("all", "--jobs", "0"), "1<=x"),
])  # fmt: skip
def test_bad_usage(inside, arguments, text):
    done = inside("lab", *arguments)
    assert done.code == 2 and text in done.err.lower().replace("error: ", "") and done.out == ""


def test_a_page_that_cannot_be_written(inside):
    need("report", HAVE, "pip install 'nncore[report]'")
    assert inside("lab", "run", "cliffs", "--report", "no/such/folder/lab.html").code == 4
