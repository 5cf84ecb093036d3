"""Figures of tensors and updates, and the float64 shadow: against the same figures worked out here; bits as without them."""

from array import array
from math import frexp, inf, isfinite, nan, sqrt
from random import Random

import pytest

import nncore as nn
from nncore._ffi import ffi, lib
from nncore.graph.tape import Memory
from nncore.train import sampling
from nncore.train.statistics import summary
from nncore.train.steps import externals
from tests.harness import have

LEVELS = [level for level in ("scalar", "avx2", "avx512", "neon") if have(level)]


@pytest.fixture(scope="module")
def data():
    return nn.data.glyphs(train=300, test=10, seed=0).train


def trainer(data, watch, layers=None, **options):
    model = nn.Sequential(layers or [nn.Dense(16), nn.ReLU(), nn.Dense(12), nn.Tanh(), nn.Dense(10)], seed=0)
    return model.trainer(data, epochs=2, batch=64, watch=watch, **options)


def floats(values):
    return ffi.new("float[]", list(values))


def test_describe():
    values = [0.0, -0.0, 1e-40, -3.0, 1.5, inf, nan, 0.75]
    s = ffi.new("nn_statistics *")
    lib.nn_describe(s, floats(values), len(values), -2.0, 2.0)
    assert (s.n, s.nans, s.infinities, s.zeros, s.subnormals, s.saturated) == (8, 1, 1, 2, 1, 2)
    assert s.largest == 3.0 and s.smallest == pytest.approx(1e-40, rel=1e-4)
    assert s.sum_squares == pytest.approx(9 + 2.25 + 0.5625)
    exponents = {e: n for e, n in enumerate(s.exponent) if n}
    assert exponents == {0: 3, 126: 1, 127: 1, 128: 1, 255: 2}


def test_squares_of_tiny_values_do_not_vanish():
    s = ffi.new("nn_statistics *")
    lib.nn_describe(s, floats([1e-24] * 100), 100, -inf, inf)
    assert sqrt(s.sum_squares / 100) == pytest.approx(1e-24, rel=1e-6)


def test_update_and_dead_columns():
    u = ffi.new("nn_update *")
    lib.nn_compare_update(u, floats([1, 2, 3, 4]), floats([1, 2, 3.5, 4]), floats([1e-9, 0, 1, -1e-9]), 4)
    assert (u.n, u.asked, u.lost, u.moved, u.kept) == (4, 3, 2, 0.25, 30)
    assert lib.nn_count_dead(floats([0, 1, 0, 0, 0, -0.0]), 2, 3) == 2


def test_errors_in_ulps_and_cancelled_bits():
    e = ffi.new("nn_errors *")
    lib.nn_compare_twin(e, floats([1.0, 2.0, inf]), ffi.new("double[]", [1.0 + 2**-24, 2.0, inf]), 3)
    assert (e.worst, e.index) == (0.5, 0)
    lib.nn_compare_twin(e, floats([1.0, nan]), ffi.new("double[]", [1.0, 2.0]), 2)
    assert (e.worst, e.index) == (inf, 1)
    lib.nn_compare_terms(e, ffi.new("double[]", [1.0, -4.0, 0.0]), floats([1024.0, 4.0, 8.0]), 3)
    assert (e.worst, e.index, e.sum) == (24, 2, 34)


def rounded(values):
    """As float holds them."""
    return list(array("f", values))


SIZES = (0, 1, 7, 8, 9, 511, 512, 513, 1300)


@pytest.mark.parametrize("n", SIZES)
def test_figures_of_any_length(n):
    """Whole vectors, blocks and what is left of them, against the definitions; the worst stands at the first of equals."""
    draw = Random(n)
    x = rounded([draw.choice([0.0, -0.0, inf, -inf, nan, 1e-41, draw.gauss(0, 1), 1e30 * draw.random()]) for _ in range(n)])
    s, e, u = ffi.new("nn_statistics *"), ffi.new("nn_errors *"), ffi.new("nn_update *")
    lib.nn_describe(s, floats(x), n, -0.5, 0.5)
    finite = [v for v in x if isfinite(v)]
    assert (s.n, s.nans, s.infinities) == (n, sum(v != v for v in x), sum(abs(v) == inf for v in x))
    assert (s.zeros, s.subnormals) == (sum(v == 0 for v in x), sum(0 < abs(v) < 2**-126 for v in x))
    assert s.saturated == sum(v <= -0.5 or v >= 0.5 for v in x) and sum(s.exponent) == n
    assert (s.smallest, s.largest) == (min((abs(v) for v in finite if v), default=0), max(map(abs, finite), default=0))
    assert s.sum_squares == pytest.approx(sum(v * v for v in finite))
    truth = [draw.choice([v, v * (1 + 1e-6 * draw.random()), 0.0, inf, nan]) for v in x]
    lib.nn_compare_twin(e, floats(x), ffi.new("double[]", truth), n)
    want = [ulps(v, t) for v, t in zip(x, truth, strict=True)]
    assert e.worst == max(want, default=0) and e.index == (want.index(e.worst) if e.worst else -1)
    assert e.sum == pytest.approx(sum(want))
    sizes = rounded([abs(v) * draw.choice([1, 2.0**9, 2.0**40, nan]) for v in x])
    lib.nn_compare_terms(e, ffi.new("double[]", truth), floats(sizes), n)
    want = [cancelled(t, z) for t, z in zip(truth, sizes, strict=True)]
    assert (e.worst, e.sum) == (max(want, default=0), sum(want))
    assert e.index == (want.index(e.worst) if e.worst else -1)
    a, b, g = (rounded([draw.choice([0.0, 1.0, draw.random()]) for _ in range(n)]) for _ in range(3))
    lib.nn_compare_update(u, floats(a), floats(b), floats(g), n)
    assert (u.asked, u.lost) == (sum(v != 0 for v in g), sum(v != 0 and p == q for p, q, v in zip(a, b, g, strict=True)))
    assert (u.moved, u.kept) == (pytest.approx(sum((q - p) ** 2 for p, q in zip(a, b, strict=True))),
                                 pytest.approx(sum(p * p for p in a)))


def ulps(y, truth):
    if isfinite(y) and isfinite(truth):
        exponent = min(max(frexp(truth)[1] - 1 if truth else -127, -126), 127)
        return abs(y - truth) / 2.0 ** (exponent - 23)
    return inf if y != truth and (y == y or truth == truth) else 0


def cancelled(total, size):
    if not (isfinite(total) and isfinite(size) and size > 0):
        return 0
    return min(max(frexp(size)[1] - (frexp(total)[1] if total else -1022), 0), 24)


@pytest.mark.parametrize("watch", ["1,every=1", "1,every=4,raise", "2,every=5"])
@pytest.mark.parametrize("options", [{}, {"shards": 2, "average": nn.EMA(0.9), "clip": nn.ClipNorm(1.0)}], ids=["plain", "more"])
def test_bits_and_history_as_without(watch, options, data):
    def trained(w):
        t = trainer(data, w, **options)
        t.run()
        return t.model.weights_sha256, t.position, [(r["loss"], r["accuracy"]) for r in t.history]

    assert trained(watch) == trained(None)


def test_figures_are_those_of_the_step(data):
    """The last step's weights and gradients are still in the model afterwards."""
    t = trainer(data, "1,every=9", optimizer=nn.SGD(0.1))
    t.run()
    assert [r["step"] for r in t.observer.ring] == [0, 9]
    last = t.observer.ring[-1]
    row = next(x for x in last["tensors"] if x["name"] == "0.weight" and x["phase"] == "update")
    w = list(t.model.parameter("0.weight").flat())
    assert row["rms"] == pytest.approx(sqrt(sum(v * v for v in w) / len(w)), rel=1e-6)
    assert row["largest"] == max(map(abs, w)) and row["zero"] == sum(v == 0 for v in w)
    bins = {}
    for v in filter(None, w):
        bins[str(frexp(v)[1] - 1)] = bins.get(str(frexp(v)[1] - 1), 0) + 1
    assert row["exponents"] == bins
    assert {x["phase"] for x in last["tensors"]} == {"forward", "backward", "update"}
    names = {x["layer"]: x for x in last["tensors"] if "dead" in x or "saturated" in x}
    assert set(names) == {"1 ReLU", "3 Tanh"} and 0 <= names["1 ReLU"]["dead"] <= 1
    assert {u["name"] for u in last["updates"]} == set(t.model.parameters)
    assert "0.weight" in "\n".join(summary(last))


def test_the_ring_holds_the_last_32(data):
    t = nn.Sequential([nn.Dense(10)], seed=0).trainer(data, epochs=8, batch=60, watch="1,every=1")
    t.run()
    assert [r["step"] for r in t.observer.ring] == list(range(8, 40))


def test_shadow_of_an_exact_instruction_is_exact(data):
    t = trainer(data, "2,every=100")
    t.run()
    rows = t.observer.ring[0]["shadow"]
    relu = next(r for r in rows if r["op"] == "relu_bwd")
    assert relu["made"]["worst"] == 0 < relu["error"]["worst"]
    dense = [r for r in rows if r["op"] == "dense_fwd"]
    assert all(r["error"]["mean"] < 1e4 and r["cancelled"]["mean"] > 0 for r in dense)
    assert {r["instruction"] for r in rows} == {x["instruction"] for x in t.observer.ring[0]["tensors"]}


def test_the_same_figures_on_every_level_and_thread_count(data):
    """Values of several parts, which different ranks look at (csrc/watch.c)."""
    found = []
    for level in LEVELS:
        for threads in (1, 2, 5):
            t = trainer(data, "2,every=1", steps=2, executor=nn.Executor(level, threads))
            t.run()
            found.append(t.observer.ring)
    assert all(f == found[0] for f in found) and [r["step"] for r in found[0]] == [0, 1]
    assert max(x["size"] for x in found[0][0]["tensors"]) > 2 * 8192


def test_the_error_is_the_distance_from_the_whole_step_in_float64(data):
    t = trainer(data, "2,every=1", steps=1)
    twin = t.tape.twin()
    memory = Memory(twin.layout)
    memory.copy_leaves(t.model.memory)
    t.executor.run([(twin, 1)], memory, externals(t.data), n_samples=len(t.data), shuffle=True)
    t.run()
    row = next(r for r in t.observer.ring[0]["shadow"] if r["name"] == "loss")
    got, truth = t.model.memory.output(t.tape, "loss").tolist(), memory.output(twin, "loss").tolist()
    assert row["error"]["worst"] == ulps(got, truth) > 0
    assert row["made"]["worst"] < row["error"]["worst"] + 1 and row["cancelled"]["worst"] == 0  # losses are positive


# ---- samples ---------------------------------------------------------------------------------------------------------

MIXED = [nn.Conv2D(6, 3), nn.ReLU(), nn.MaxPool2D(2), nn.Conv2D(9, 3), nn.Tanh(), nn.Flatten(), nn.Dense(20), nn.ReLU(),
         nn.Dense(10)]


def shadows(data, monkeypatch, share, executor=None):
    """Level 2 of three steps, of every instruction that can be sampled one row in `share`; None: all of it."""
    monkeypatch.setattr(sampling, "FLOP", 0 if share else 1 << 60)
    monkeypatch.setattr(sampling, "ELEMENTS", 0 if share else 1 << 60)
    monkeypatch.setattr(sampling, "SHARE", share or 1)
    t = trainer(data, "2,every=1", [type(x)(**x.config()) for x in MIXED], steps=3, shards=2, executor=executor)
    t.run()
    return t.model.weights_sha256, [r["shadow"] for r in t.observer.ring], [r["tensors"] for r in t.observer.ring]


def test_a_sample_of_everything_is_everything(data, monkeypatch):
    assert shadows(data, monkeypatch, 1) == shadows(data, monkeypatch, None)


def test_a_sample_is_a_part_of_everything(data, monkeypatch):
    """What it says was made there and cancelled holds of some elements; errors, figures and bits do not know of it."""
    some, every = shadows(data, monkeypatch, 4), shadows(data, monkeypatch, None)
    assert some[0] == every[0] and some[2] == every[2]
    fewer = set()
    for few, all_ in zip([r for step in some[1] for r in step], [r for step in every[1] for r in step], strict=True):
        assert few["error"] == all_["error"] and all_["sample"] == all_["size"] == few["size"]
        if few["sample"] == few["size"]:
            assert few == all_
            continue
        fewer.add(few["op"])
        assert few["sample"] <= few["size"] / 2
        for key in ("made", "cancelled"):
            if key in few:
                assert few[key]["worst"] <= all_[key]["worst"] and (few[key]["worst"] > 0) == (few[key]["element"] is not None)
        assert few["made"]["mean"] * few["sample"] <= all_["made"]["mean"] * all_["size"] * (1 + 1e-12)  # sums of no negative
    assert fewer >= {"dense_fwd", "dense_bwd_data", "dense_bwd_weight", "conv_fwd", "conv_bwd_data", "conv_bwd_weight",
                     "max_pool_bwd", "adam"}


def test_samples_take_turns(data, monkeypatch):
    """No row is always left out: over the steps the worst elements lie in rows of every remainder."""
    monkeypatch.setattr(sampling, "FLOP", 0)
    t = nn.Sequential([nn.Dense(16), nn.ReLU(), nn.Dense(10)], seed=0).trainer(data, epochs=8, batch=64, watch="2,every=1")
    t.run()
    rows = [r for step in t.observer.ring for r in step["shadow"] if r["op"] == "dense_fwd" and r["size"] == 64 * 16]
    assert rows and all(r["sample"] == r["size"] / 16 for r in rows)
    assert len({r["made"]["element"][0] % 16 for r in rows}) > 8


def test_samples_are_the_same_on_every_level_and_thread_count(data, monkeypatch):
    found = [shadows(data, monkeypatch, 3, nn.Executor(level, threads))
             for level, threads in (*((level, 1) for level in LEVELS), (LEVELS[-1], 3))]
    assert all(f == found[0] for f in found)
