"""Monte Carlo arithmetic and significant digits: the random kernels themselves, their statistics, whole runs."""

import json
import statistics
from array import array
from math import copysign, inf, isnan, log2

import mpmath
import pytest

import nncore as nn
from nncore._ffi import ffi, lib
from nncore.cli import run as nncore
from nncore.errors import UsageError
from nncore.tensor import aligned
from nncore.train.digits import chi_squared, digits, margin
from nncore.train.monte_carlo import RandomExecutor, Spread, step_digits
from nncore.train.replay import replay
from nncore.train.steps import write_weights
from tests.harness import have

LEVELS = [level for level in ("portable", "scalar", "avx2", "avx512", "neon") if have(level)]
RANDOM = lib.nn_kernels_random(lib.nn_kernels_named(b"best"))
SCRATCH = aligned(lib.nn_scratch_nbytes(1))


def product(a, b, bias=None):
    """sum of a b + bias, one fma after the other, in Monte Carlo arithmetic."""
    c, (a, b) = ffi.new("float[1]"), (array("f", a), array("f", b))
    more = ffi.new("float[1]", [bias]) if bias is not None else ffi.NULL
    status = lib.nn_gemm(RANDOM, lib.NN_F32, 1, c, ffi.from_buffer(a), ffi.from_buffer(b), more, 1, 1, len(a), 1,
                         len(a), 1, 1, 1, ffi.from_buffer(SCRATCH))
    assert status == lib.NN_OK
    return c[0]


def drawn(count, *args):
    lib.nn_random_seed(RANDOM, 3)
    return [product(*args) for _ in range(count)]


@pytest.mark.parametrize("a, b, share", [
    (1 + 2**-23, 1 + 2**-23, 2**-23), (1.5, 1 + 2**-23, 0.5), (1.25, 1 + 2**-23, 0.25), (-1.5, 1 + 2**-23, 0.5),
    (2**-75, 2**-76, 0.25), (3 * 2**-76, 2**-75, 0.75), (-(2**-75), 2**-76, 0.25), (2**-100, 2**-100, 0.0)])
def test_rounds_up_as_often_as_an_ulp_is_left_over(a, b, share):
    """Of the two neighbours the farther from 0 comes with the probability of the part that is cut off; below the normal
    numbers too."""
    exact, found = a * b, drawn(4000, [a], [b])
    values = sorted({abs(v) for v in found})
    assert all(copysign(1, v) == copysign(1, exact) for v in found) and len(values) <= 2
    if share < 1e-6:
        assert values[0] == pytest.approx(abs(exact), rel=2**-22) or values == [0.0]
        return
    low, high = values
    assert low < abs(exact) < high
    up = sum(abs(v) == high for v in found) / len(found)
    assert (abs(exact) - low) / (high - low) == pytest.approx(share)
    assert up == pytest.approx(share, abs=4 * (share * (1 - share) / len(found)) ** 0.5)


def test_what_is_a_float_stays():
    """Whole numbers, powers of two, subnormals, zeros of either sign, infinities and NaN."""
    assert set(drawn(50, [3.0, 5.0, 1000.0], [7.0, 11.0, 13.0])) == {13076.0}
    assert set(drawn(50, [2.0**-149], [1.0])) == {2.0**-149} and set(drawn(50, [3 * 2.0**-140], [1.0])) == {3 * 2.0**-140}
    assert all(v == 0 for v in drawn(10, [0.0], [1.0])) and set(drawn(10, [inf], [-1.0])) == {-inf}
    assert all(isnan(v) for v in drawn(10, [inf], [0.0])) and set(drawn(10, [3e38], [3e38])) == {inf}


def test_sums_spread_without_bias_and_repeat():
    a, b = [0.1] * 1000, [0.3] * 1000
    exact = 1000 * array("f", [0.1])[0] * array("f", [0.3])[0] + 0.5
    found = drawn(400, a, b, 0.5)
    error = statistics.fmean(found) - exact
    assert len(set(found)) > 20 and abs(error) < 4 * statistics.stdev(found) / 20
    assert found == drawn(400, a, b, 0.5)


@pytest.mark.parametrize("bits", [0, 4, 8, 12, 16])
def test_cancellation_costs_the_digits_it_must(bits):
    """sum of x, -x and a small rest: 24 bits less those that cancel (log2 of the condition number)."""
    rest = 2.0**-bits
    spread = Spread(1)
    lib.nn_random_seed(RANDOM, 1)
    for _ in range(200):
        x = product([1 / 3] * 3, [1 / 3] * 3)  # 1/3 with a rounding error
        spread.add(ffi.new("float[1]", [product([x, -1 / 3, rest], [1.0, 1.0, 1.0])]))
    found = spread.bits()[1]["mean"]
    assert found == pytest.approx(24 - bits, abs=2.5) or (bits == 0 and found > 22)


def test_spread_is_mean_and_deviation():
    rows = [[1.0, 0.0, 5.0, 1e-30, inf, 2.0], [1.25, 2.0, 5.0, -1e-30, 1.0, 0.0], [1.5, -1.0, 5.0, 0.0, 1.0, 0.0]]
    spread = Spread(6)
    for row in rows:
        spread.add(ffi.new("float[]", row))
    each, f = spread.bits()
    want = log2(1.25 / statistics.stdev([1.0, 1.25, 1.5]))
    assert each[0] == pytest.approx(want) and each[2] == 24.0 and each[3] == each[4] == 0.0
    assert f["flips"] == 3 and f["none"] >= 2 and f["least"] == 0.0 and f["mean"] == pytest.approx(sum(each) / 6)


@pytest.mark.parametrize("k", [1, 2, 9, 29, 99])
def test_chi_squared_and_margin(k):
    for x in (0.01 * k, 0.5 * k, k, 2 * k):
        assert chi_squared(x, k) == pytest.approx(float(mpmath.gammainc(k / 2, 0, x / 2, regularized=True)), rel=1e-12)
    if k >= 9:
        q = mpmath.findroot(lambda x: mpmath.gammainc(k / 2, 0, x / 2, regularized=True) - 0.025, k * 0.6)
        want = mpmath.log(k / q, 2) / 2 + mpmath.log(mpmath.sqrt(2) * mpmath.erfinv(0.95), 2)
        assert margin(k + 1) == pytest.approx(float(want), rel=1e-9)


# ---- runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A training that settles, and one at a rate where it does not."""
    folder = tmp_path_factory.mktemp("digits")
    common = ["--data", "glyphs", "--quiet", "--threshold", "0"]
    wild = ["--hidden", "32,32,32", "--optimizer", "sgd", "--lr", "1", "--epochs", "3", "--set", "data.limit=2000"]
    for name, more in {"calm": ["--hidden", "16", "--epochs", "2", "--set", "data.limit=640"], "wild": wild}.items():
        assert nncore(["train", *common, *more, "--out", str(folder / name)]) in (0, 1)
    return folder


def test_a_settled_run_keeps_its_digits(runs):
    found = digits(runs / "calm", samples=5, steps=6, images=200)
    assert found["from_step"] == 4 and found["steps"] == 6
    assert 5 < found["loss"]["digits"] <= 7.23 and found["loss"]["digits_at_least"] < found["loss"]["digits"]
    assert len(set(found["loss"]["values"])) > 1, "the replays do not differ"
    assert [w["name"] for w in found["weights"]] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert all(5 < w["digits"] <= 7.23 for w in found["weights"]) and found["predictions"]["digits"] > 5
    assert digits(runs / "calm", samples=5, steps=6, images=200) == found
    assert digits(runs / "calm", samples=5, steps=6, images=200, seed=100) != found


def test_a_wild_run_is_decided_by_rounding(runs, capsys):
    assert nncore(["digits", str(runs / "wild"), "--samples", "3", "--images", "150", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "nncore.digits/1" and found["from_step"] == 0
    assert found["loss"]["digits"] < 4
    unstable = found["predictions"]["unstable"]
    assert len(unstable) > 20 and all(sum(u["votes"].values()) == 3 for u in unstable)
    assert nncore(["digits", str(runs / "wild"), "--samples", "3", "--images", "150"]) == 0
    text = capsys.readouterr()
    assert "replay 3/3" in text.err and "loss on 150 images" in text.out and "changes class under rounding" in text.out


def test_refused(runs, capsys, tmp_path):
    with pytest.raises(UsageError, match="samples must be a whole number of at least 3, got 2"):
        digits(runs / "calm", samples=2)
    assert nncore(["digits", str(runs / "calm"), "--samples", "2"]) == 2
    assert nncore(["digits", str(tmp_path)]) == 3
    assert "holds no run" in capsys.readouterr().err


def test_level_3_of_a_replay(runs, capsys):
    """Every value of the step has its digits, what is copied all of them; and the step itself is that of any replay."""
    found = replay(runs / "calm", 7, level=3)
    rows = {(r["op"], r["name"]): r for r in found["record"]["monte_carlo"]}
    assert rows["gather_u8", "x"]["mean"] > 23.9 and found["record"]["shadow"]
    assert all(0 <= r["least"] <= r["mean"] <= 24 for r in rows.values() if "mean" in r)
    assert 15 < rows["dense_bwd_weight", "d0.weight"]["mean"] < 24
    assert found["weights_after"] == replay(runs / "calm", 7, level=1)["weights_after"]
    assert nncore(["replay", str(runs / "calm"), "--step", "7", "--watch", "3"]) == 0
    assert "Monte Carlo arithmetic" in capsys.readouterr().out


def test_choices_of_a_convolutional_network(tmp_path):
    """The place of each maximum is looked at as well: few are decided by rounding, as many as in a window of equal values."""
    assert nncore(["train", "--data", "glyphs", "--model", "cnn", "--epochs", "1", "--batch", "8", "--set", "data.limit=16",
                   "--quiet", "--threshold", "0", "--out", str(tmp_path / "run")]) in (0, 1)
    rows = replay(tmp_path / "run", 1, level=3)["record"]["monte_carlo"]
    choices = [r for r in rows if "changed" in r]
    assert choices and all(0 <= r["changed"] < r["size"] / 10 for r in choices)


def test_the_same_samples_on_every_level():
    """A convolutional network: every level draws the same random numbers for the same operations."""
    data, found = nn.data.glyphs(train=40, test=10, seed=0).train, []
    for level in LEVELS:
        layers = [nn.Conv2D(5, 3), nn.ReLU(), nn.MaxPool2D(2), nn.Conv2D(3, 3), nn.Tanh(), nn.Flatten(), nn.Dense(10)]
        model = nn.Sequential(layers, seed=0)
        t = model.trainer(data, epochs=1, batch=20, executor=nn.Executor(level, 1))
        write_weights(t.settings.loss, t.model)
        found.append(step_digits(t, t.tape, 3, seed=4))
    assert all(f == found[0] for f in found) and any(r.get("mean", 24) < 22 for r in found[0])


def test_one_thread_and_ordinary_kernels_meanwhile():
    executor = RandomExecutor(5)
    assert executor.threads == 1 and executor.isa == "random"
    assert lib.nn_kernels_named(b"random") == ffi.NULL, "no level that a training could be run on"
