"""nncore bench: what it prints and how it ends. Never how fast: no test asserts a time."""

from __future__ import annotations

import json
from math import isclose, isfinite

import pytest

from nncore.bench import instruments, kernels, training
from nncore.bench.cases import collect
from nncore.bench.limits import Probe
from nncore.bench.stats import Interval
from nncore.cli import run
from nncore.nn.layers import Dense, ReLU
from nncore.optim.optimizers import Adam
from nncore.train.model import Sequential
from tests.harness import have, lib, op_names

QUICK = ("--rounds", "1", "--seconds", "0.0001", "--threads", "1")
FIELDS = ["case", "shape", "threads", "math", "isa", "seconds", "gflops", "gbytes_per_s", "share_of_peak", "group",
          "error", "others", "rounds", "peers"]


def bench(capsys, *arguments) -> dict:
    """The JSON of a run that must succeed."""
    assert run(["bench", *arguments, *QUICK, "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_json(capsys):
    found = bench(capsys, "kernels", "--filter", "relu_fwd")
    assert next(iter(found)) == "schema" and found["schema"] == "nncore.bench/1"
    assert {"cpu", "processors", "isa", "compiler", "numerics_id", "load"} <= set(found["machine"])
    assert found["cases"] and all(list(c) == FIELDS for c in found["cases"])
    assert all(c["threads"] == 1 and c["math"] == "f32" and c["seconds"] > 0 and c["peers"] == [] for c in found["cases"])


def test_products_have_a_share_of_peak(capsys):
    found = bench(capsys, "kernels", "--filter", "128x256x10")["cases"]
    assert {c["case"] for c in found} >= {"dense_fwd nn"}
    assert all(c["gflops"] > 0 and c["share_of_peak"] > 0 for c in found)


def test_random_numbers_have_a_share_of_what_philox_alone_makes(capsys):
    found = {c["case"]: c["share_of_peak"] for c in bench(capsys, "kernels", "--filter", "init_")["cases"]}
    assert found["init_uniform"] > 0 and found["init_normal"] > 0 and found.get("spatial_dropout") is None


def test_limits(capsys):
    found = bench(capsys, "limits")["cases"]
    products, rest = [c for c in found if c["gflops"]], [c for c in found if not c["gflops"]]
    modes = ["f32", "bf16", "bf16x3", "bf16x6"] if found[0]["isa"] == "amx" else ["f32"]
    assert [(c["case"], c["math"]) for c in products] == [("limit fma", "f32"), *(("limit tiles", m) for m in modes[1:])]
    assert [c["shape"] for c in rest] == ["words alone", "L1", "L2", "L3", "memory"] and all(c["gbytes_per_s"] > 0 for c in rest)


@pytest.mark.parametrize("threads", (1, 2))
def test_modes_have_a_peak_where_there_are_tiles(threads):
    size = (64, 64, 64)
    (case,) = (c for c in collect() if c.name == "dense_fwd-no-bias")
    assert kernels.limit(case, size, Probe("portable", threads), "bf16x3") is None
    if have("amx"):
        work, peak = kernels.limit(case, size, Probe("amx", threads), "bf16x3")
        assert work == 2 * 64**3 and peak() > 0


def test_the_least_that_a_step_could_take():
    """In GFLOP/s: FMAs 2, tiles 8. What the mode leaves to float32 counts by FMAs."""
    data = training.random_images(64)

    class Machine:
        def __init__(self, tiles: bool):
            self.products = lambda math: (lambda: 8.0) if math != "f32" and tiles else None if math != "f32" else self.peak

        def peak(self) -> float:
            return 2.0

    model = Sequential([Dense(32), ReLU(), Dense(10)], seed=0, math="bf16x3")
    tape = model.trainer(data, 1, 64, Adam(1e-3)).tape
    on_tiles = 2 * 2 * 64 * 784 * 32  # forward and the weights' gradient
    least = 1e-9 * (on_tiles / 8 + (tape.flop - on_tiles) / 2)
    assert isclose(training.limit(tape, Machine(True), "bf16x3")(), least, rel_tol=1e-3)
    assert training.limit(tape, Machine(False), "bf16x3")() == 0
    assert isclose(training.limit(tape, Machine(True), "f32")(), 1e-9 * tape.flop / 2)


def test_how_long_a_team_takes_to_meet(capsys):
    assert run(["bench", "limits", "--filter", "barrier", "--threads", "3", "--rounds", "2", "--json", "--quiet"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["cases"]
    assert (found["case"], found["threads"], found["gflops"]) == ("limit barrier", 3, None) and found["seconds"] > 0


def test_training(capsys):
    (found,) = bench(capsys, "train", "--data", "glyphs", "--hidden", "8", "--batch", "500")["cases"]
    assert found["shape"] == "784-8-10 batch 500 10000 images" and isfinite(found["seconds"])


def test_what_instruments_cost(capsys):
    (found,) = bench(capsys, "instruments", "--filter", "watch 2 784", "--batch", "16")["cases"]
    assert (found["case"], found["shape"], found["group"]) == ("watch 2", "784-128-10 batch 16", "instruments")
    o = found["overhead"]
    assert list(found) == [*FIELDS[:13], "peers", "overhead"] and o["limit"] == 6 and 1 < o["low"] <= o["ratio"] <= o["high"]
    assert run(["bench", "instruments", "--filter", "accumulate", *QUICK, "--batch", "16"]) == 0
    out, err = capsys.readouterr()
    assert "times a plain step" in err and "at most" in out and "784-128-10 batch 16" in out and "GFLOP" not in out


def test_every_level_and_an_emulated_accumulator_have_a_case():
    found = {(cost.name, network.name) for cost, network, _ in instruments.cases("", 128)}
    watched = {(f"{case}", name) for case in ("flags", "watch 1", "watch 1,every=100", "watch 2", "watch 3")
               for name in ("mlp", "lenet5")}
    assert found == watched | {("accumulate=fp16", "mlp")}


@pytest.mark.parametrize("low, high, limit, holds", [(1.1, 1.2, None, None), (1.1, 1.2, 1.3, True), (1.1, 1.2, 1.2, True),
                                                     (1.1, 1.2, 1.15, None), (1.1, 1.2, 1.1, None), (1.1, 1.2, 1.0, False)])
def test_a_limit_within_the_interval_stays_open(low, high, limit, holds):
    assert instruments.Cost("", limit).holds(Interval(1.15, low, high, 0.95)) is holds


def test_table(capsys):
    assert run(["bench", "kernels", "--filter", "relu_fwd 3", *QUICK]) == 0
    out, err = capsys.readouterr()
    assert "GFLOP/s" in out and "relu_fwd" in out and "relu_fwd" in err


@pytest.mark.parametrize("arguments, says", (
    (("kernel",), "kernels"), (("kernels", "--filter", "nosuchop"), "nosuchop"), (("--rounds", "0"), "rounds"),
    (("--isa", "mmx"), "mmx"), (("train", "--model", "mpl"), "mlp"), (("--seconds", "nan"), "seconds"),
))  # fmt: skip
def test_wrong_usage_is_exit_code_2(capsys, arguments, says):
    assert run(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and says in err


def test_missing_data_is_named(capsys):
    assert run(["bench", "train", "--data", "./no-such-folder"]) in (2, 3)
    assert "no-such-folder" in capsys.readouterr().err


def test_whatever_is_timed_is_tested():
    """The bench walks the tests' case list, and every op of an instruction has a size to be timed at."""
    assert {case.op for case, _ in kernels.cases()} <= {case.op for case in collect()} == set(op_names())


def test_probe_refuses_bad_arguments():
    p = Probe(None, 1)
    for bad in ({"what": 7}, {"what": -1}, {"threads": 0}, {"nbytes": 64}, {"repeats": -1}):
        x = {"what": lib.NN_PROBE_FMA, "threads": 1, "nbytes": p.data.nbytes, "repeats": 1, **bad}
        assert lib.nn_probe(p.kernels, x["what"], x["threads"], p.data.pointer, x["nbytes"], x["repeats"],
                            p.scratch.pointer) == -1
