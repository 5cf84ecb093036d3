"""nncore bench growth: more images, as fast each, in little memory beside them."""

from __future__ import annotations

import json

import pytest

from nncore.bench import growth
from nncore.cli import run


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(growth, "BASE", 1000)
    monkeypatch.setattr(growth, "SIZES", (3000, 2**40))
    monkeypatch.setattr(growth, "TURN", 1280)


def test_growth(small, capsys):
    assert run(["bench", "growth", "--rounds", "2", "--threads", "1", "--quiet", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["cases"]  # what does not fit the memory is left out
    found = row["growth"]
    assert found["images"] == 3000 and len(row["rounds"]) == 2 * growth.TURNS and row["seconds"] > 0
    assert found["low"] <= found["ratio"] <= found["high"]
    assert 4e6 < found["beside_data_bytes"] < 64e6  # the interpreter and the scratch, not a second copy of anything


def test_growth_as_text(small, capsys):
    assert run(["bench", "growth", "--rounds", "1", "--threads", "1", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "784-128-10, 3,000 images" in out and "beside the data" in out and "holds" in out.lower()
