"""The experiments of the laboratory: each accepted as it is, the same again to the bit, and changed by its parameters."""

from __future__ import annotations

import inspect
from functools import cache

import pytest

from nncore import lab
from nncore.errors import UsageError
from nncore.lab.experiment import Experiment, Result

# Parameters that cost little; each run is done twice.
SMALL = {
    "summation": {"n": (64, 256), "seeds": 10},
    "swamping": {"terms": 2**20, "steps": 1000},
    "stagnation": {"formats": ("bf16", "p6e-20..20")},
    "summation-order": {"n": 500, "orders": 20},
    "ill-conditioned-dot": {"n": 20, "kappas": (10.0, 1e9, 1e15), "samples": 3},
    "lost-updates": {"steps": 64, "size": 2.0**-9, "trials": 50},
    "stochastic-rounding": {"n": (64, 4096), "seeds": 5},
    "variance": {"n": 2000, "kappas": (4, 64, 1024), "seeds": 1, "batches": 20, "batch": 64},
    "softmax-error": {"n": 5, "ranges": (1.0, 10.0), "rows": 50, "offset": 1e3},
    "finite-differences": {"points": 20},
    "contraction": {"k": 50, "rows": 4, "columns": 4},
    "gradual-underflow": {"format": "fp16", "elements": 256},
    "monte-carlo-arithmetic": {"kappas": (4, 12), "samples": 20, "n": 10, "vectors": 3},
    "muller": {"steps": 24, "samples": 20},
    "bf16-planes": {"k": (64, 96), "seed": 3},
    "integer-slices": {"k": 64, "side": 3, "orders": 10},
    "depth-and-init": {"width": 64, "layers": 12, "rows": 32},
    "bf16-weights": {"limit": 200, "epochs": 1, "batch": 20},
    "butterfly": {"rates": (0.1,), "hidden": ((8,),), "steps": 12, "batch": 8, "bits": 1},
    "accumulators": {"limit": 100, "epochs": 1, "batch": 20},
    "training-sums": {"limit": 60, "batch": 20},
    "loss-scaling": {"limit": 200, "batch": 20, "steps": 24, "interval": 10, "first": 20},
}
BAD = {
    "summation": ({"seeds": 1}, "two seeds"),
    "swamping": ({"terms": 3}, "at least"),
    "stagnation": ({"formats": ("fp64",)}, "fp64 would take"),
    "summation-order": ({"orders": 1}, "at least 2"),
    "ill-conditioned-dot": ({"n": 2}, "at least 6"),
    "lost-updates": ({"size": 1.0}, "below the spacing"),
    "stochastic-rounding": ({"seeds": 0}, "two seeds"),
    "variance": ({"batch": 1}, "two numbers"),
    "softmax-error": ({"ranges": (0.0,)}, "positive range"),
    "finite-differences": ({"points": 3}, "10 to 512"),
    "contraction": ({"k": 0}, "at least 1"),
    "gradual-underflow": ({"format": "fp17"}, "no format 'fp17'"),
    "monte-carlo-arithmetic": ({"kappas": (1, 30)}, "0 to 22"),
    "muller": ({"steps": 3}, "at least 20"),
    "bf16-planes": ({"k": (8,)}, "narrower than"),
    "integer-slices": ({"k": 5000}, "float32 holds"),
    "depth-and-init": ({"layers": 2}, "at least 8, 12"),
    "bf16-weights": ({"batch": 9999}, "batch=9999"),
    "butterfly": ({"bits": 0}, "at least 10, 1 and 1"),
    "accumulators": ({"epochs": 0}, "epochs=0"),
    "training-sums": ({"batch": 0}, "batch=0"),
    "loss-scaling": ({"steps": 10}, "between two growths"),
}
OURS = [name for name in lab.EXPERIMENTS if name in SMALL or not inspect.signature(lab.find(name).run).parameters]


@cache
def measured(name: str) -> Result:
    return lab.find(name)()


def test_every_number_of_the_list_is_there():
    codes = {lab.find(name).code for name in OURS}
    assert codes >= {"E1", "E1f", "E2", "E3", "E4a", "E4b", "E5", "E6", "E7", "E8a", "E8b", "E8c", "E9a", "E9b", "E9c", "E10",
                     "E11", "E12", "E13", "E14", "E15", "E16"}


@pytest.mark.parametrize("name", OURS)
def test_accepted_as_it_is(name):
    failed = [f for f in measured(name).findings if not f.accepted]
    assert not failed, failed


@pytest.mark.parametrize("name", OURS)
def test_can_be_read(name):
    """Every picture has a measured curve and a bound or theory of the same axes, a note, and points to draw."""
    e, result = lab.find(name), measured(name)
    assert isinstance(e, Experiment) and e.name == name and all((e.title, e.chapter, e.formula, e.theory, e.source))
    assert result.findings and result.pictures
    for picture in result.pictures:
        roles = [c.role for c in picture.curves]
        assert "measured" in roles and set(roles) & {"bound", "theory"}, picture.title
        assert set(roles) <= {"measured", "bound", "theory"}, picture.title
        assert picture.note.endswith(".") and picture.x and picture.y
        for curve in picture.curves:
            assert len(curve.x) == len(curve.y) > 0, curve.name
            assert all(v == v and abs(v) != float("inf") for v in (*curve.x, *curve.y)), curve.name
            assert not picture.log_y or min(curve.y) > 0, f"{picture.title}: {curve.name} on a logarithmic axis"
            assert not picture.log_x or min(curve.x) > 0, f"{picture.title}: {curve.name} on a logarithmic axis"
    for table in result.tables:
        assert all(len(row) == len(table.head) for row in table.rows)


@pytest.mark.parametrize("name", SMALL)
def test_parameters_change_it_and_it_repeats(name):
    one, again = lab.find(name)(**SMALL[name]), lab.find(name)(**SMALL[name])
    assert repr((one.findings, one.pictures)) == repr((again.findings, again.pictures)), "the same run twice"
    assert repr(one.pictures) != repr(measured(name).pictures)


@pytest.mark.parametrize("name", BAD)
def test_bad_parameters_are_refused(name):
    options, message = BAD[name]
    with pytest.raises(UsageError, match=message):
        lab.find(name)(**options)


def test_every_parameter_is_tried():
    assert set(SMALL) == set(BAD) == {name for name in OURS if inspect.signature(lab.find(name).run).parameters}


def test_data_that_are_missing_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("NNCORE_DATA", str(tmp_path))
    monkeypatch.setenv("NNCORE_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = lab.find("bf16-weights")(limit=100, epochs=1, batch=20)
    assert len(result.missing) == 1 and "mnist" in result.missing[0]
