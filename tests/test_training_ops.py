"""Gather, dropout, initial values, metrics: what a list of cases cannot say: statistics, faults, dependences."""

from __future__ import annotations

import math
import random
from array import array

import pytest

from nncore.bench.cases import Call, changed, collect, given, made
from tests.harness import OpFault, isa, lib, run_op, same_bits  # noqa: F401

SHUFFLE = 1  # NN_RUN_SHUFFLE
THREADS = (1, 2, 3, 7)

# ---- gather.c -------------------------------------------------------------------------------------------------------


def gather(n, d, images, rows=None, mean=(0.0,), scale=(1.0,), **run) -> Call:
    listed = None if rows is None else given(rows, "i64")
    return Call([made(n * d), given(images, "u8"), listed, given(mean), given(scale)], (n, d, len(mean)), run=run)


def labels(n, values, classes, rows=None, **run) -> Call:
    listed = None if rows is None else given(rows, "i64")
    return Call([made(n, "i32"), given(values, "u8"), listed], (n, classes), run=run)


def fault(op: str, call: Call, **how) -> OpFault:
    with pytest.raises(OpFault) as caught:
        run_op(op, call, **how)
    return caught.value


def test_an_epoch_visits_every_row_once(isa):  # noqa: F811
    """60 samples in steps of 7 and a tail of 4, through a list of rows: the labels of all, shuffled."""
    values, rows = list(range(200)), [3 * i for i in range(60)]
    seen = []
    for cursor, n in [*((c, 7) for c in range(0, 56, 7)), (56, 4)]:
        call = labels(n, values, 200, rows, seed=1, epoch=2, n_samples=60, cursor=cursor, flags=SHUFFLE)
        seen += run_op("gather_labels", call, isa)[0]
    assert seen != rows and sorted(seen) == rows


def test_batch_size_does_not_matter():
    """Sample p of an epoch is the same whatever the steps before it were: resuming and other batches see one order."""
    images = [random.Random(1).randrange(256) for _ in range(300)]
    run = {"seed": 5, "epoch": 1, "n_samples": 100, "flags": SHUFFLE}
    (all_at_once,) = run_op("gather_u8", gather(100, 3, images, **run))
    for cursor in (0, 13, 99):
        (one,) = run_op("gather_u8", gather(1, 3, images, cursor=cursor, **run))
        assert one == all_at_once[3 * cursor : 3 * cursor + 3]


@pytest.mark.parametrize("level", ("reference", "best"))
@pytest.mark.parametrize("threads", THREADS)
def test_rows_outside_the_data_are_faults(level, threads):
    """The fault tells the position in the epoch and the row it asked for; -1 if the list of rows is too short."""
    how = {"isa": level, "threads": threads, "guard": "back"}
    images = [0] * 40  # 10 rows of 4
    found = fault("gather_u8", gather(1, 4, images, cursor=10), **how)
    assert (found.code, found.index, found.value) == (lib.NN_ERR_RANGE, 10, 10)
    found = fault("gather_u8", gather(3, 4, images, rows=[0, 10, 1]), **how)
    assert (found.code, found.index, found.value) == (lib.NN_ERR_RANGE, 1, 10)
    for rows in ([0, -1, 1], [0, -(2**62), 1], [0, 2**62, 1]):
        assert fault("gather_u8", gather(3, 4, images, rows=rows), **how).index == 1
    assert fault("gather_u8", gather(3, 4, images, rows=[0, 1], cursor=0), **how).value == -1
    assert fault("gather_u8", gather(1, 4, images, rows=[0, 1], n_samples=3, flags=SHUFFLE), **how).value == -1
    assert fault("gather_u8", gather(1, 4, images, n_samples=5, cursor=5, flags=SHUFFLE), **how).value == -1
    assert fault("gather_u8", gather(1, 4, images, cursor=-1), **how).index == -1


@pytest.mark.parametrize("threads", THREADS)
def test_labels_outside_the_classes_are_faults(threads):
    """The fault tells the data row and the label."""
    found = fault("gather_labels", labels(4, [0, 9, 10, 1], 10), threads=threads)
    assert (found.code, found.index, found.value) == (lib.NN_ERR_RANGE, 2, 10)
    wide = Call([made(3, "i32"), given([0, -1, 5], "i32"), None], (3, 6, 4))
    assert fault("gather_labels", wide, threads=threads).value == -1


def test_standardising_is_one_subtraction_and_one_product(isa):  # noqa: F811
    def single(x):
        return array("f", [x])[0]

    mean, scale = single(72.94), single(1 / 90.02)
    (x,) = run_op("gather_u8", gather(1, 256, range(256), mean=[mean], scale=[scale]), isa)
    assert list(x) == [single(single(b - mean) * scale) for b in range(256)]


# ---- dropout.c ------------------------------------------------------------------------------------------------------


def drop(n, d, p=0.5, layer=0, per_step=0, x=None, isa="best", **run):  # noqa: F811
    x = x or [1.0] * (n * d)
    return run_op("dropout", Call([made(n * d), given(x)], (n, d, layer, per_step), (p,), run), isa)[0]


@pytest.mark.parametrize("p", (0.1, 0.2, 0.5, 0.9))
def test_share_of_dropped_elements(p, isa):  # noqa: F811
    """100,000 draws: within 4 standard deviations; the kept ones are scaled so that the mean stays."""
    y = drop(100, 1000, p, seed=3, isa=isa)
    share = sum(v == 0 for v in y) / len(y)
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / len(y))
    assert set(y) == {0.0, array("f", [1 / (1 - p)])[0]}


def test_masks_differ_by_seed_step_layer_and_sample():
    base = drop(10, 100, seed=1, step=7, layer=2)
    assert drop(10, 100, seed=1, step=7, layer=2) == base
    others = [drop(10, 100, seed=2, step=7, layer=2), drop(10, 100, seed=1, step=8, layer=2),
              drop(10, 100, seed=1, step=7, layer=3)]  # fmt: skip
    for other in others:
        assert 400 < sum(a != b for a, b in zip(base, other, strict=True)) < 600  # 500 +- 6 standard deviations
    samples = {bytes(base[100 * i : 100 * i + 100]) for i in range(10)}
    assert len(samples) == 10


def test_one_draw_per_step(isa):  # noqa: F811
    """per_step: all rows lose the same neurons, those that the first row of a fresh mask per sample loses."""
    y = drop(10, 77, per_step=1, seed=4, isa=isa)
    assert all(y[77 * i : 77 * i + 77] == y[:77] for i in range(10))
    assert y[:77] == drop(10, 77, seed=4, isa=isa)[:77]


def test_backward_drops_what_forward_dropped():
    x = [random.Random(6).gauss(0, 1) for _ in range(999)]
    y = drop(9, 111, seed=5, step=3, layer=1, x=x)
    dx = drop(9, 111, seed=5, step=3, layer=1)
    assert [v == 0 for v in y] == [v == 0 for v in dx]


def test_dropping_all_or_nothing_and_nan(isa):  # noqa: F811
    assert list(drop(2, 50, 0.0, isa=isa)) == [1.0] * 100
    assert list(drop(2, 50, 1.0, isa=isa)) == [0.0] * 100
    y = drop(1, 1000, 0.5, x=[math.nan] * 1000, isa=isa)
    kept = [v == 0 for v in drop(1, 1000, 0.5, isa=isa)]
    assert [v == 0 for v in y] == kept and sum(kept) not in (0, 1000)


# ---- init.c ---------------------------------------------------------------------------------------------------------


def init(op, n, parameter, ident=0, real="f32", **run):
    return run_op(op, Call([made(n)], (n, ident), (parameter,), run), real=real)[0]


def test_uniform_values():
    """20,000 of them: inside the limit, mean and variance limit^2 / 3 within 4 standard deviations, flat."""
    w = init("init_uniform", 20_000, 0.3, seed=1)
    n, variance = len(w), 0.3**2 / 3
    assert max(map(abs, w)) < 0.3
    assert abs(sum(w) / n) < 4 * math.sqrt(variance / n)
    assert abs(sum(v * v for v in w) / n - variance) < 4 * math.sqrt((0.3**4 / 5 - variance**2) / n)
    counts = [0] * 50
    for v in w:
        counts[int((v + 0.3) / 0.6 * 50)] += 1
    assert sum((c - n / 50) ** 2 for c in counts) / (n / 50) < 85.4  # chi-square, 49 degrees of freedom, 0.999


def test_normal_values():
    """20,000 of them: Kolmogorov's distance from the normal distribution below its 0.999 quantile, 1.95 / sqrt(n)."""
    w = sorted(init("init_normal", 20_000, 2.0, seed=2))
    n = len(w)
    distance = max(abs(0.5 * (1 + math.erf(v / 2 / math.sqrt(2))) - (i + 0.5) / n) for i, v in enumerate(w))
    assert distance < 1.95 / math.sqrt(n)
    assert max(map(abs, w)) < 2 * 8.58
    half = init("init_normal", 20_000, 1.0, seed=2)
    product = sum(a * b for a, b in zip(half[::2], half[1::2], strict=True)) / 10_000
    assert abs(product) < 4 / 100  # the two of a pair are uncorrelated: N(0, 1 / 10,000)


@pytest.mark.parametrize("op", ("init_uniform", "init_normal"))
def test_a_value_depends_on_seed_parameter_and_element_alone(op):
    base = init(op, 1000, 1.0, 3, seed=1)
    assert init(op, 77, 1.0, 3, seed=1) == base[:77]
    for other in (init(op, 1000, 1.0, 4, seed=1), init(op, 1000, 1.0, 3, seed=2)):
        assert not set(other) & set(base[:100])
    assert list(init(op, 1000, 1.0, 3, "f64", seed=1)) == list(base)


# ---- metric.c -------------------------------------------------------------------------------------------------------

NAN = math.nan


def test_argmax_takes_the_first(isa):  # noqa: F811
    rows = [[1, 2, 2], [0.0, -0.0, 0.0], [-1, NAN, 5], [NAN, NAN, 9], [-math.inf, -math.inf, -math.inf], [5, 4, NAN],
            [3, math.inf, math.inf]]  # fmt: skip
    want = [1, 0, 1, 0, 0, 2, 1]
    for level in ("reference", isa):
        (y,) = run_op("argmax", Call([made(7, "i32"), given([v for r in rows for v in r])], (7, 3)), level)
        assert list(y) == want


def test_a_row_with_nan_is_wrong(isa):  # noqa: F811
    """Its first maximum is the NaN; even a label that points there does not count. No hit either."""
    z, right = [NAN, 1, 1, NAN, 0, 5], [0, 1, 1]
    for level in ("reference", isa):
        args = [changed([0.0] * 4, "f64"), given([0.5]), given(z), given(right, "i32")]
        sums = run_op("metrics", Call(args, (3, 2)), level)
        assert list(sums[0]) == [1.5, 1, 3, 0]
        hits = run_op("top_k", Call([changed([0.0], "f64"), given(z), given(right, "i32")], (3, 2, 2)), level)
        assert list(hits[0]) == [1]


def test_top_k_breaks_ties_by_index(isa):  # noqa: F811
    for level in ("reference", isa):
        for label, k, want in ((0, 1, 1), (1, 1, 0), (1, 2, 1), (3, 3, 0), (3, 4, 1)):
            call = Call([changed([0.0], "f64"), given([2.0] * 4), given([label], "i32")], (1, 4, k))
            assert run_op("top_k", call, level)[0][0] == want


@pytest.mark.parametrize("level", ("reference", "best"))
@pytest.mark.parametrize("op", ("metrics", "top_k"))
def test_labels_of_metrics_are_checked(op, level):
    """An unchecked label would read beyond the row; nothing has been counted when it is found."""
    for bad in (3, -1, 2**31 - 1):
        z, t = given([1.0] * 6), given([1, bad], "i32")
        args = [changed([0.0] * 4, "f64"), given([1.0]), z, t] if op == "metrics" else [changed([0.0], "f64"), z, t]
        found = fault(op, Call(args, (2, 3, 2)), isa=level, guard="back")
        assert (found.code, found.index, found.value) == (lib.NN_ERR_RANGE, 1, bad)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("real", ("f32", "f64"))
def test_first_bad_value_whatever_the_threads(threads, real, isa):  # noqa: F811
    x = [1.0] * 3000
    run_op("check_finite", Call([given(x)], (3000,)), isa, threads, real)
    for bad in (NAN, math.inf, -math.inf):
        for i in (0, 7, 255, 1499, 2999):
            x[i] = bad
            x[2999] = NAN
            found = fault("check_finite", Call([given(x)], (3000,)), isa=isa, threads=threads, real=real)
            assert (found.code, found.index) == (lib.NN_ERR_NONFINITE, i)
            assert i == 2999 or found.value == bad or bad != bad
            x[i] = x[2999] = 1.0
    largest = [3.4028234663852886e38, -3.4028234663852886e38, 1e-45, -0.0]
    run_op("check_finite", Call([given(largest)], (4,)), isa, threads, real)


# ---- all of them ----------------------------------------------------------------------------------------------------

FAMILIES = ("gather", "dropout", "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "decay",
            "metrics", "argmax", "top_k")  # fmt: skip
OURS = [c for c in collect() if c.op.startswith(FAMILIES)]


@pytest.mark.parametrize("case", OURS, ids=lambda c: c.name)
@pytest.mark.parametrize("real", ("f32", "f64"))
def test_the_reference_has_the_bits_of_the_kernels(case, real, isa):  # noqa: F811
    """Without a sum in these ops the definition fixes every operation, so the reference is no mere bound."""
    kinds = (*case.kinds, "special") if case.special else case.kinds
    for size in case.sizes[-6:]:
        for kind in kinds:
            call = case.call(size, kind)
            got, want = (run_op(case.op, call, level, real=real) for level in (isa, "reference"))
            assert all(map(same_bits, got, want)), f"{case.name} {size} {kind}"
