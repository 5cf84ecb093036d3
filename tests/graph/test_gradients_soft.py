"""Rung 4 for losses on soft targets: smoothing, class weights, temperature, mixed labels; and what they must be equal to."""

import math
import random

import pytest

import nncore as nn
from nncore.graph import ops
from nncore.graph.node import Input, State
from nncore.tensor import Tensor
from tests.gradcheck import check, parameter, run_values

COVERED = {"softmax_xent_soft"}
LABELS = [0, 2, 1, 2]
Z = [round(random.Random(1).gauss(0, 1.5), 6) for _ in range(12)]
WEIGHTS = (0.5, 2.0, 1.25)
LOSSES = {
    "plain": {}, "smoothing": {"smoothing": 0.1}, "weights": {"weights": WEIGHTS}, "temperature": {"temperature": 3.0},
    "all": {"smoothing": 0.2, "weights": WEIGHTS, "temperature": 0.5, "reduction": "sum"},
}


def labels():
    """(node, externals, options of the run) of four labels."""
    t = ops.gather_labels(Input("labels", (), "u8", 2), None, shape=(4,), classes=3)
    return t, {2: Tensor((4,), "u8", bytes(LABELS))}, {"n_samples": 4, "batch": 4}


def loss_of(z, t, values: dict, mix=None, **settings):
    """The loss node; its class weights become values of a state."""
    loss, extra = nn.CrossEntropy(**settings), {}
    if loss.weights:
        extra["weights"] = State("weights", (3,))
        values[extra["weights"]] = list(loss.weights)
    return loss(z, t, mix, **extra)


def value(z, t, externals=None, options=None, values=None, **settings) -> float:
    """The loss computed on the float64 twin."""
    values = dict(values or {})
    values[z] = Z
    node = loss_of(z, t, values, **settings)
    _, _, rerun = run_values([], {"loss": node}, values, externals or {}, **(options or {}))
    return rerun()["loss"][0]


def log_softmax(row, T=1.0):
    top = max(v / T for v in row)
    log_sum = math.log(sum(math.exp(v / T - top) for v in row))
    return [v / T - top - log_sum for v in row]


def expected(targets, smoothing=0.0, weights=(1.0,) * 3, temperature=1.0, reduction="mean") -> float:
    """The docstring's formula."""
    total = 0.0
    for i, d in enumerate(targets):
        logs = log_softmax(Z[3 * i : 3 * i + 3], temperature)
        total -= sum(w * ((1 - smoothing) * v + smoothing / 3) * p for w, v, p in zip(weights, d, logs, strict=True))
    return temperature**2 * total / (len(targets) if reduction == "mean" else 1)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_and_value_with_labels(name):
    z, values = parameter("z", 4, 3), {}
    t, externals, options = labels()
    node = loss_of(z, t, values, **LOSSES[name])
    assert check(node, {z: Z, **values}, wrt=[z], externals=externals, **options) == 12
    rows = [[float(j == t) for j in range(3)] for t in LABELS]
    assert value(z, t, externals, options, **LOSSES[name]) == pytest.approx(expected(rows, **LOSSES[name]), rel=1e-13)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_and_value_with_targets(name):
    """Targets need not have the sum 1; some are 0."""
    z, d, values, rng = parameter("z", 4, 3), parameter("d", 4, 3), {}, random.Random(2)
    targets = [max(0.0, rng.uniform(-0.3, 1)) for _ in range(12)]
    node = loss_of(z, d, values, **LOSSES[name])
    assert check(node, {z: Z, d: targets, **values}, wrt=[z]) == 12
    rows = [targets[3 * i : 3 * i + 3] for i in range(4)]
    assert value(z, d, values={d: targets}, **LOSSES[name]) == pytest.approx(expected(rows, **LOSSES[name]), rel=1e-13)


@pytest.mark.parametrize("shards", [1, 2])
def test_mixed_labels(shards):
    """mixup's share and partner on the rows of labels; the gradient flows through the loss alone."""
    z, values = parameter("z", 4, 3), {}
    z.shards = shards
    t, externals, options = labels()
    share = ops.mix_draw(shape=(4,), shards=shards, alpha=0.5)
    node = loss_of(z, t, values, mix=lambda rows: ops.mix_rows(rows, share, share.output(1)), smoothing=0.1)
    assert check(node, {z: Z}, wrt=[z], externals=externals, **options) == 12


def test_distillation():
    """The formula of the docstring, its gradient, and on labels the plain cross-entropy."""
    z, v, rng = parameter("z", 4, 3), parameter("v", 4, 3), random.Random(3)
    teacher = [rng.gauss(0, 3) for _ in range(12)]
    node = nn.Distillation(4.0)(z, v)
    assert check(node, {z: Z, v: teacher}, wrt=[z]) == 12
    rows = [[math.exp(p) for p in log_softmax(teacher[3 * i : 3 * i + 3], 4.0)] for i in range(4)]
    _, _, rerun = run_values([], {"loss": node}, {z: Z, v: teacher})
    assert rerun()["loss"][0] == pytest.approx(expected(rows, temperature=4.0), rel=1e-13)
    t, externals, options = labels()
    _, _, rerun = run_values([], {"loss": nn.Distillation(4.0)(z, t)}, {z: Z}, externals, **options)
    assert rerun()["loss"][0] == pytest.approx(value(z, t, externals, options), rel=1e-15)


def test_soft_has_the_bits_of_hard():
    """One 1 a row: loss and gradient of the soft op are those of softmax_xent, bit for bit, in float32."""
    z, d = parameter("z", 4, 3), parameter("d", 4, 3)
    t, externals, options = labels()
    onehot = [float(j == t) for t in LABELS for j in range(3)]
    outputs = []
    for op, target, more in ((ops.softmax_xent, t, externals), (ops.softmax_xent_soft, d, {})):
        node = op(z, target, scale=0.25)
        _, _, rerun = run_values([], {"loss": node, "dz": node.output(1)}, {z: Z, d: onehot}, more, real="f32", **options)
        outputs.append(rerun())
    assert outputs[0] == outputs[1]


def test_a_masked_class_costs_nothing():
    """A logit of -inf where the target is 0: finite loss and gradient, as softmax_xent has."""
    z, d = parameter("z", 1, 3), parameter("d", 1, 3)
    node = ops.softmax_xent_soft(z, d, scale=1.0)
    values = {z: [0.0, -math.inf, 1.0], d: [0.5, 0.0, 0.5]}
    _, _, rerun = run_values([], {"loss": node, "dz": node.output(1)}, values)
    found = rerun()
    p = 1 / (1 + math.e)
    assert found["loss"] == pytest.approx([-(math.log(p) + math.log(1 - p)) / 2])
    assert found["dz"] == pytest.approx([p - 0.5, 0.0, 0.5 - p])


@pytest.mark.parametrize("settings, words", [
    ({"smoothing": 1.0}, "smoothing"), ({"smoothing": -0.1}, "smoothing"), ({"smoothing": True}, "smoothing"),
    ({"temperature": 0}, "temperature"), ({"temperature": float("nan")}, "temperature"),
    ({"weights": [1, -1]}, "weights"), ({"weights": [0, 0]}, "all 0"), ({"weights": [1, float("inf")]}, "finite"),
    ({"reduction": "median"}, "mean"),
])
def test_bad_settings(settings, words):
    with pytest.raises(nn.UsageError, match=words):
        nn.CrossEntropy(**settings)


def test_misfits():
    z = parameter("z", 4, 3)
    with pytest.raises(nn.ShapeError, match="2 weights for 3 classes"):
        nn.CrossEntropy(weights=[1, 2])(z, parameter("d", 4, 3), weights=State("w", (2,)))
    with pytest.raises(nn.ShapeError, match="targets"):
        nn.CrossEntropy(smoothing=0.1)(z, parameter("d", 4, 2))
    with pytest.raises(nn.UsageError, match="MultiHinge takes one label"):
        nn.MultiHinge()(z, labels()[0], mix=lambda rows: rows)


def test_the_plain_loss_builds_the_same_tape():
    """Nothing of this is on a tape that does not ask for it."""
    z = parameter("z", 4, 3)
    node = nn.CrossEntropy(smoothing=0.0, temperature=1.0)(z, labels()[0])
    assert node.inputs[0].op is ops.softmax_xent


