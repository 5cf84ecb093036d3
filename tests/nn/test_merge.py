"""Layers that join, cut, pad, enlarge and reshape, and the activation penalty, through the public door."""

from array import array

import pytest

import nncore as nn
from nncore.nn.base import Builder
from nncore.tensor import Tensor
from tests.gradcheck import check, parameter, run_values
from tests.test_header import OPCODES, parts

ROW = [1.0, -2.0, 3.0, 4.0, 5.0, -6.0]


def values(model, images, shape):
    """What a model makes of float images of this shape."""
    count = len(images) // (shape[0] * shape[1] * shape[2])
    return list(model.build(shape).logits(Tensor((count, *shape), "f32", array("f", images).tobytes())).flat())


def network(shape, build):
    x = nn.Input(shape)
    return nn.Model(x, build(x), standardise="none")


def test_add_and_concat():
    shape = (2, 3, 1)
    assert values(network(shape, lambda x: nn.Add()(x, x, nn.ReLU()(x))), ROW, shape) == [3, -4, 9, 12, 15, -12]
    joined = values(network(shape, lambda x: nn.Concat()(x, nn.ReLU()(x))), ROW, shape)
    assert joined == [1, 1, -2, 0, 3, 3, 4, 4, 5, 5, -6, 0]


def test_concat_of_rows():
    model = network((2, 3, 1), lambda x: nn.Concat()(nn.Flatten()(x), nn.GlobalAvgPool2D()(x)))
    assert values(model, ROW, (2, 3, 1)) == pytest.approx([*ROW, 5 / 6])


@pytest.mark.parametrize("layer, want", (
    (nn.Slice(rows=(1, 2)), ROW[3:]), (nn.Slice(columns=(-2, None)), [-2, 3, 5, -6]), (nn.Slice((0, -1), (None, 1)), [1]),
    (nn.Slice(), ROW), (nn.Pad2D((0, 1)), [0, 1, -2, 3, 0, 0, 4, 5, -6, 0]),
    (nn.Pad2D(((1, 0), (0, 2))), [0] * 5 + [1, -2, 3, 0, 0, 4, 5, -6, 0, 0]), (nn.Reshape((3, -1)), ROW),
    (nn.Upsample2D((1, 2)), [1, 1, -2, -2, 3, 3, 4, 4, 5, 5, -6, -6]),
    (nn.Upsample2D((1, 2), "bilinear"), [1, 0.25, -1.25, -0.75, 1.75, 3, 4, 4.25, 4.75, 2.25, -3.25, -6]),
), ids=repr)
def test_values(layer, want):
    assert values(nn.Sequential([layer], standardise="none"), ROW, (2, 3, 1)) == want


def test_slice_of_channels_undoes_concat():
    model = network((2, 3, 1), lambda x: nn.Slice(channels=(1, 2))(nn.Concat()(nn.ReLU()(x), x)))
    assert values(model, ROW, (2, 3, 1)) == ROW


def test_reshape_gives_the_shape():
    model = nn.Sequential([nn.Reshape((4, 2, -1)), nn.MaxPool2D((4, 2)), nn.Dense(1)]).build((6, 4))
    assert model.parameters["2.weight"].shape == (3, 1)


ADD = """Add: its inputs must have one shape
  0 MaxPool2D  (N, 2, 2, 1)
  input        (N, 4, 4, 1)
                   ^  ^     height and width differ
"""
CONCAT = """Concat: its inputs may differ in the last size only
  input    (N, 4,  4, 1)
  0 Pad2D  (N, 4, 10, 1)
                  ^^     width differ
"""
RANKS = """
  0 Dense  (N, 3)
  input    (N, 4, 4, 1)
            numbers of axes differ
"""


@pytest.mark.parametrize("build, drawn", (
    (lambda x: nn.Add()(nn.MaxPool2D()(x), x), ADD), (lambda x: nn.Concat()(x, nn.Pad2D((0, 3))(x)), CONCAT),
    (lambda x: nn.Add()(nn.Dense(3)(x), x), RANKS),
))  # fmt: skip
def test_shapes_that_do_not_fit_are_drawn(build, drawn):
    with pytest.raises(nn.ShapeError) as e:
        network((4, 4, 1), build).build((4, 4, 1))
    assert drawn in str(e.value)


@pytest.mark.parametrize("build, says", (
    (lambda x: nn.Slice(rows=(3, 9))(x), r"Slice: rows \(3, 9\) of \(1, 4, 4, 1\) holds nothing or ends outside; there are 4"),
    (lambda x: nn.Slice(channels=(1, 1))(x), "channels"), (lambda x: nn.Pad2D()(nn.Flatten()(x)), "pad before Flatten"),
    (lambda x: nn.Reshape((3, 5))(x), r"a sample \(4, 4, 1\) has 16 elements, \(3, 5\) takes 15"),
    (lambda x: nn.Reshape((3, -1))(x), "a multiple of 3"),
    (lambda x: nn.Upsample2D()(nn.Flatten()(x)), "1 Upsample2D: enlarges images"),
))  # fmt: skip
def test_inputs_that_do_not_fit(build, says):
    with pytest.raises(nn.ShapeError, match=says):
        network((4, 4, 1), build).build((4, 4, 1))


@pytest.mark.parametrize("make, says", (
    (lambda: nn.Slice(rows=3), "rows is a pair"), (lambda: nn.Slice(channels=(0.5, 1)), "channels is a pair"),
    (lambda: nn.Pad2D(-1), "padding is a whole number >= 0"), (lambda: nn.Pad2D(((1, 2), (3,))), "Pad2D"),
    (lambda: nn.Reshape(()), "Reshape"), (lambda: nn.Reshape((-1, -1)), "once -1"),
    (lambda: nn.Reshape((1, 2, 3, 4)), "or fewer"),
    (lambda: nn.Upsample2D(0), "factor is a whole number >= 1"), (lambda: nn.Upsample2D(2, "cubic"), '"nearest" or "bilinear"'),
    (lambda: nn.ActivationPenalty(-1), "beta is a number >= 0"), (lambda: nn.ActivationPenalty(1, "max"), '"mean" or "sum"'),
    (lambda: nn.Sequential([nn.Add()]).build((4,)), "joins two or more connections"),
    (lambda: nn.Upsample2D((1, 65)), "factor 65 is larger than 64"),
    (lambda: nn.Sequential([nn.Concat()]).build((4,)), r"Concat\(\)\(a, b\)"),
))  # fmt: skip
def test_arguments_are_checked(make, says):
    with pytest.raises(nn.UsageError, match=says):
        make()


def test_a_file_keeps_the_layers(tmp_path):
    def build(x):
        a = nn.Upsample2D((2, 1), "bilinear")(nn.Pad2D(((0, 0), (1, 2)))(x))
        b = nn.Reshape((8, -1, 1))(nn.Concat()(x, x))
        return nn.Dense(2)(nn.Add()(nn.Slice(columns=(None, -3))(a), nn.Slice(columns=(0, 3))(b), nn.ActivationPenalty(0.1)(b)))

    model = network((4, 3, 1), build)
    images = [float(v % 7) for v in range(24)]
    want = values(model, images, (4, 3, 1))
    model.save(tmp_path / "m.safetensors")
    loaded = nn.load(tmp_path / "m.safetensors")
    assert [repr(layer) for layer in loaded.layers] == [repr(layer) for layer in model.layers]
    assert values(loaded, images, (4, 3, 1)) == want


# ---- the activation penalty ----------------------------------------------------------------------------------------


def penalty(layer, x, training=True):
    builder = Builder({}, training)
    assert layer.build(builder, x) is x
    return builder.penalties


@pytest.mark.parametrize("shards", (1, 2))
@pytest.mark.parametrize("reduction, over", (("mean", 4), ("sum", 1)))
def test_the_penalty_is_the_mean_of_squares(reduction, over, shards):
    x = parameter("x", 4, 3)
    x.shards = shards
    (term,) = penalty(nn.ActivationPenalty(0.5, reduction), x)
    data = [float(v) for v in range(-6, 6)]
    _, _, rerun = run_values([], {"term": term}, {x: data}, real="f32")
    assert rerun()["term"] == [0.5 * sum(v * v for v in data) / over]
    assert check(term, {x: data}) == 12


def test_there_is_no_penalty_at_prediction_or_of_zero():
    x = parameter("x", 4, 3)
    assert penalty(nn.ActivationPenalty(0.5), x, training=False) == [] == penalty(nn.ActivationPenalty(0), x)


def test_training_makes_penalised_activations_smaller():
    data, size = nn.data.load("glyphs"), {}
    for beta in (0.0, 0.3):
        model = nn.Sequential([nn.Dense(10), nn.ActivationPenalty(beta)], seed=0)
        model.fit(data.train, epochs=1, batch=50, steps=60)
        size[beta] = sum(v * v for v in model.logits(data.test).flat())
    assert size[0.3] < 0.5 * size[0.0]


def test_a_network_of_all_layers_has_the_same_bits_on_any_number_of_threads():
    data, found = nn.data.load("glyphs").train, set()
    for threads in (1, 2, 3):
        x = nn.Input((28, 28))
        a, b = nn.MaxPool2D(4)(x), nn.AvgPool2D(4)(nn.Pad2D(2)(nn.Slice((2, 26), (2, 26))(x)))
        c = nn.Upsample2D(2, "bilinear")(nn.L2Pool2D(8, stride=6, padding=2)(x))
        y = nn.Dense(10)(nn.ActivationPenalty(0.01)(nn.Concat()(nn.Add()(a, b), nn.Slice((0, 7), (1, 8))(c))))
        model = nn.Model(x, y, seed=1)
        model.fit(data, epochs=1, batch=40, shards=4, steps=5, executor=nn.Executor(threads=threads))
        found.add(tuple(v for w in model.parameters.values() for v in model.memory.tensor(w).flat()))
    assert len(found) == 1


def test_tapes_use_these_ops_as_the_header_says():
    """Buffers and sizes of the instructions are as many as the comments in nncore.h name."""
    stated, used = {name.lower(): parts(comment) for name, comment in OPCODES}, set()
    start = nn.Input((28, 28))
    x = nn.Reshape((14, 14, 2))(nn.Dense(392)(start))
    pools = [nn.Upsample2D(2)(layer(3, 2, 1)(x)) for layer in (nn.MaxPool2D, nn.AvgPool2D, nn.L2Pool2D)]
    up = nn.Upsample2D(2, "bilinear")(nn.Slice((0, 7), (0, 7))(x))
    data = nn.data.load("glyphs").train
    with pytest.warns(UserWarning, match="not a whole number"):
        tape = nn.Model(start, nn.Dense(10)(nn.Concat()(*pools, up))).trainer(data, 1, 10).tape
    for i in tape.instructions:
        arguments, sizes, _ = stated[i.op]
        needed = [a for a in arguments if not a.endswith("?")]
        assert len(needed) <= len(i.args) <= len(arguments) and len(i.dims) <= len(sizes), i.op
        used.add(i.op)
    assert {"max_pool_bwd", "avg_pool_bwd", "l2_pool_bwd", "upsample_nearest_bwd", "upsample_bilinear_bwd", "concat"} <= used
