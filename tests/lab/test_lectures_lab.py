"""The experiments on training: accepted as they are, changed by their parameters, and not accepted where theory is broken."""

from __future__ import annotations

import random
from functools import cache
from importlib import import_module

import pytest

import nncore as nn
from nncore.errors import UsageError
from nncore.lab import EXPERIMENTS, find, training
from nncore.lab.run import attempt, defaults, measure, measure_all, parse, shown

# Each with parameters of another run that costs little.
LECTURES = {
    "xor": {"hidden": (2, 4), "seeds": 4, "epochs": 400}, "saturation": {"potentials": (0.0, 1.0, 2.0), "goal": 0.2},
    "cliffs": {"length": 20, "steps": 50}, "rates": {"eigenvalues": (1.0, 0.5), "network": (1e-3, 0.1), "samples": 200},
    "ravine": {"condition": (5.0, 20.0)}, "standardisation": {"means": (0.0, 2.0), "rates": (1e-3, 0.1), "samples": 200},
    "minibatch": {"sizes": (2, 8), "draws": 20, "samples": 100}, "scale-of-j": {"power": 5, "factor": 100, "steps": 8},
    "depth": {"gains": (0.8, 2.5), "layers": 8, "width": 60, "seeds": 2},
    "recurrence": {"radii": (0.7, 1.3), "times": (2, 9), "units": 5},
    "initialisation": {"inputs": (16, 64), "scales": (0.5, 1.5), "layers": 2, "samples": 200, "epochs": 1},
    "dead-relus": {"biases": (0.0, -2.0), "points": 5, "rates": (0.01, 2.0), "samples": 200, "epochs": 1},
    "activations": {"layers": 1, "width": 16, "samples": 200, "tests": 100, "epochs": 2},
    "degradation": {"shares": (0.0, 0.4), "units": 16, "draws": 2, "samples": 200, "tests": 100, "epochs": 1},
    "math-modes": {"samples": 200, "tests": 100, "batch": 20, "steps": 20},
}  # fmt: skip

recorded = cache(measure)  # with its own parameters, once for all tests


@pytest.mark.parametrize("name", LECTURES)
def test_accepted(name):
    found = recorded(name)
    assert [f for f in found["findings"] if not f["accepted"]] == [] and found["accepted"] and len(found["findings"]) >= 3
    assert all(found[key] for key in ("title", "chapter", "formula", "theory", "source")) and not found["missing"]
    for p in found["pictures"]:
        roles = {c["role"] for c in p["curves"]}
        assert "measured" in roles and roles & {"bound", "theory"} and p["x"] and p["y"] and p["note"].endswith("."), p["title"]
        assert all(len(c["x"]) == len(c["y"]) > 1 for c in p["curves"]), p["title"]
    assert found["pictures"]


@pytest.mark.parametrize("name", LECTURES)
def test_parameters_change_the_run(name):
    usual, other = recorded(name), measure(name, LECTURES[name])
    assert other["measured"] != usual["measured"] and other["pictures"] != usual["pictures"]
    assert all(other["parameters"][k] == shown(v) for k, v in LECTURES[name].items())


def test_they_are_names_of_the_package():
    assert all(getattr(nn.lab, name.replace("-", "_")) is find(name) for name in LECTURES) and "dead_relus" in dir(nn.lab)
    assert nn.lab.scale_of_j(power=3, factor=10, steps=5).findings[0].accepted


def test_a_run_repeats_to_the_bit():
    for name in ("ravine", "dead-relus"):
        again = measure(name, LECTURES[name])
        assert again["measured"] == measure(name, LECTURES[name])["measured"]


BAD = [
    ("xor", {"seeds": 0}), ("xor", {"hidden": (2,)}), ("xor", {"hidden": (0, 8)}), ("xor", {"rate": 0.0}),
    ("saturation", {"potentials": (1.0, 2.0)}), ("saturation", {"potentials": (0.0, 1.0, 50.0)}), ("saturation", {"rate": 1.0}),
    ("saturation", {"goal": 0.5}), ("cliffs", {"length": 1}), ("cliffs", {"start": 0.9}), ("cliffs", {"limit": 0.0}),
    ("rates", {"eigenvalues": ()}), ("rates", {"shares": (2.0,)}), ("rates", {"network": (0.1,)}), ("rates", {"steps": 5}),
    ("ravine", {"condition": (100.0,)}), ("ravine", {"condition": (float("nan"), 10.0)}), ("ravine", {"goal": 1.0}),
    ("standardisation", {"means": (-1.0, 2.0)}), ("standardisation", {"goal": 0.0}), ("minibatch", {"sizes": (1, 600)}),
    ("minibatch", {"draws": 1}), ("scale-of-j", {"power": 0}), ("scale-of-j", {"factor": 4096}), ("scale-of-j", {"rate": 2.0}),
    ("depth", {"layers": 2}), ("depth", {"gains": (0.0,)}), ("recurrence", {"radii": ("one",)}), ("recurrence", {"units": 1}),
    ("recurrence", {"overflow": 1.0}), ("initialisation", {"scales": (1.0,)}), ("initialisation", {"width": 1}),
    ("dead-relus", {"points": 0}), ("dead-relus", {"rates": (0.1, -1.0)}), ("activations", {"epochs": 1}),
    ("activations", {"rate": 0.0}), ("degradation", {"shares": (0.5, 1.5)}), ("degradation", {"units": 1}),
    ("math-modes", {"hidden": 16}), ("math-modes", {"batch": 7}), ("math-modes", {"steps": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given"), BAD)
def test_bad_parameters(name, given):
    with pytest.raises(UsageError, match=next(iter(given))):
        find(name)(**given)


# ---- what is broken is seen ------------------------------------------------------------------------------------------


class Free:
    """A clip that lets every gradient through."""

    def __init__(self, limit: float):
        self.limit = limit

    def __call__(self, gradients):
        return gradients


class Copies:
    """A generator whose batches hold one sample, as often as they are long."""

    class Random(random.Random):
        def sample(self, population, k):
            return [self.choice(population)] * k


def plain(condition):
    return nn.SGD(2 / (1 + 1 / condition))


def twice(f):
    return lambda *a: 2 * f(*a)


SABOTAGE = [
    ("ravine", "_heavy", plain, "momentum"), ("saturation", "SATURATED", 10.0, "move w"),
    ("dead-relus", "LeakyReLU", nn.ReLU, "leaky"), ("minibatch", "random", Copies, "exponent"),
    ("depth", "Tanh", lambda: nn.Tanh(b=2.0), "distance from theory"), ("degradation", "DEAD", 0.0, "gone; guessing"),
    ("recurrence", "Tanh", lambda: nn.Tanh(a=2.0), "share of rho"),
    ("initialisation", "sqrt", twice(lambda x: x**0.5), "sqrt(n/3)"),
    ("activations", "ACTIVATIONS",
     dict.fromkeys(("ReLU", "SELU", "tanh", "softplus", "sigmoid"), (nn.Sigmoid, "glorot_uniform")), "tanh's"),
    ("standardisation", "_standard", lambda x: [float(v) for v in x], "standardised inputs"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "attribute", "value", "text"), SABOTAGE, ids=[s[0] for s in SABOTAGE])
def test_what_is_broken_is_seen(name, attribute, value, text, monkeypatch):
    """Every finding can fail: with another network than the theory's, or another theory, the one named does."""
    module = import_module(f"nncore.lab.experiments.{EXPERIMENTS[name]}")
    monkeypatch.setattr(module, attribute, value)
    failed = [f.text for f in find(name)().findings if not f.accepted]
    assert any(text in f for f in failed), failed


def test_an_unclipped_walk_is_seen(monkeypatch):
    module = import_module("nncore.lab.experiments.cliffs")
    usual = module._walk
    monkeypatch.setattr(module, "_walk", lambda *a: usual(*a[:-1], None))
    assert [f.text for f in find("cliffs")().findings if not f.accepted and f.text.startswith("clipped")]


def test_a_mode_that_is_none_is_seen(monkeypatch):
    module = import_module("nncore.lab.experiments.math_modes")
    usual = module.Run.__init__
    monkeypatch.setattr(module.Run, "__init__", lambda run, train, mode, *a, **k: usual(run, train, "f32", *a, **k))
    failed = [f.text for f in find("math-modes")(steps=40).findings if not f.accepted]
    assert any(f.startswith("bf16 over bf16x3") for f in failed) and any(f.startswith("bf16x3 over f32") for f in failed)


# ---- parameters from text, runs in processes ---------------------------------------------------------------------------


def test_parameters_from_text():
    e = find("ravine")
    assert parse(e, ["condition=4, 9.5,1e3", "goal=1e-3"]) == {"condition": (4.0, 9.5, 1000.0), "goal": 1e-3}
    assert parse(find("xor"), ["hidden=2,16", "seeds=1e1"]) == {"hidden": (2, 16), "seeds": 10}
    assert shown(defaults(e)["condition"]) == "10,30,100,300,1000" and shown(2.0**-30) == "9.313225746154785e-10"
    for text, message in (("kappa=3", "condition="), ("condition", "NAME=VALUE"), ("condition=a", "finite"), ("goal=", "finite"),
                          ("condition=1,,2", "finite"), ("goal=inf", "finite")):
        with pytest.raises(UsageError, match=message):
            parse(e, [text])
    with pytest.raises(UsageError, match="whole"):
        parse(find("xor"), ["seeds=2.5"])


def test_in_processes_as_in_one(monkeypatch):
    jobs = [(n, LECTURES[n]) for n in ("cliffs", "ravine", "recurrence")]
    heard = []
    spread = measure_all(jobs, 2, lambda r: heard.append(r["name"]))
    assert sorted(heard) == sorted(n for n, _ in jobs) and [r["name"] for r in spread] == [n for n, _ in jobs]
    assert [r["measured"] for r in spread] == [r["measured"] for r in measure_all(jobs, 1, lambda _: None)]


def test_one_that_breaks_costs_no_other_its_result(monkeypatch):
    monkeypatch.setattr(training, "options", lambda trainer: 1 / 0)
    found = measure_all([("ravine", {}), ("minibatch", LECTURES["minibatch"])], 1, lambda _: None)
    assert not found[0]["accepted"] and "ZeroDivisionError" in found[0]["measured"][0] and len(found[1]["measured"]) == 3
    with pytest.raises(UsageError):
        attempt("ravine", {"goal": 9.0})
