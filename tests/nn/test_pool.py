"""Pooling layers through the public door: what they compute, what they refuse and say, what a file keeps of them."""

import random
import warnings

import pytest

import nncore as nn
from nncore.tensor import Tensor


def outputs(layers, images, shape):
    """What a network of these layers makes of float images."""
    from array import array

    model = nn.Sequential(layers, standardise="none").build(shape)
    return model.logits(Tensor((len(images) // (shape[0] * shape[1] * shape[2]), *shape), "f32", array("f", images).tobytes()))


def flat(t):
    return list(t.flat())


IMAGE = [1, 5, 2, 0, 3, -1, 4, 4, -2, -3, 7, 1, -4, -1, 0, 6]  # 4 x 4


@pytest.mark.parametrize("layer, want", (
    (nn.MaxPool2D(2), [5, 4, -1, 7]),
    (nn.AvgPool2D(2), [2, 2.5, -2.5, 3.5]),
    (nn.MaxPool2D(3, stride=1), [7, 7, 7, 7]),
    (nn.MaxPool2D((1, 4), stride=1), [5, 4, 7, 6]),
    (nn.AvgPool2D((4, 2), stride=(1, 2)), [-0.25, 3.0]),
    (nn.L2Pool2D((1, 2), stride=(3, 2)), [26**0.5, 2, 17**0.5, 6]),
    (nn.AvgPool2D(3, stride=3, padding=1), [2, 2.5, -2.5, 3.5]),  # the windows hold four taps of nine
    (nn.GlobalAvgPool2D(), [22 / 16]),
), ids=repr)
def test_values(layer, want):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        assert flat(outputs([layer], IMAGE, (4, 4, 1))) == pytest.approx(want, rel=2e-7)


def test_channels_are_pooled_apart():
    images = [v + 100 * c for v in IMAGE for c in range(3)]
    got = flat(outputs([nn.MaxPool2D(2)], images, (4, 4, 3)))
    assert got == [v + 100 * c for v in (5, 4, -1, 7) for c in range(3)]


def test_global_average_gives_a_row_per_sample():
    model = nn.Sequential([nn.GlobalAvgPool2D(), nn.Dense(2)], seed=1).build((5, 3, 4))
    assert [w.shape for w in model.parameters.values()] == [(4, 2), (2,)]


@pytest.mark.parametrize("arguments, says", (
    ((0,), "window is a whole number >= 1"), (((2, 3, 4),), "pair"), ((2.5,), "2.5"), (("3",), "'3'"), ((True,), "True"),
    ((2, 0), "stride is a whole number >= 1"), ((2, None, -1), "padding is a whole number >= 0"),
    ((2, None, 2), "must be smaller than the window"), (((3, 2), 1, (2, 2)), "must be smaller than the window"),
))  # fmt: skip
@pytest.mark.parametrize("layer", (nn.MaxPool2D, nn.AvgPool2D, nn.L2Pool2D))
def test_bad_sizes_are_refused(layer, arguments, says):
    with pytest.raises(nn.UsageError, match=says) as e:
        layer(*arguments)
    assert str(e.value).startswith(layer.__name__)


def test_a_window_larger_than_the_image_is_refused():
    network = nn.Sequential([nn.MaxPool2D(2), nn.MaxPool2D((3, 5), padding=1)])
    with pytest.raises(nn.ShapeError, match=r"1 MaxPool2D: the window's width 5 is larger than the image's, 2 \+ 2 \* 1 padding "
                                            r"= 4, in \(1, 4, 2, 1\); take a window of at most 4"):
        network.build((8, 4))


@pytest.mark.parametrize("layer", (nn.MaxPool2D(), nn.GlobalAvgPool2D()), ids=repr)
def test_only_images_are_pooled(layer):
    with pytest.raises(nn.ShapeError, match=r"got \(1, 64\); pool before Flatten"):
        nn.Sequential([nn.Flatten(), layer]).build((8, 8))


def test_an_uneven_output_size_warns_once():
    layer = nn.MaxPool2D(2)
    with pytest.warns(UserWarning, match=r"layer 0 MaxPool2D: the output's width \(5 - 2 \+ 2 \* 0\) / 2 \+ 1 is not a whole"):
        model = nn.Sequential([layer]).build((4, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.logits(Tensor((3, 4, 5), "u8"))
        nn.Sequential([nn.MaxPool2D(2), nn.AvgPool2D(3, 1), nn.L2Pool2D(3, 3, 1)]).build((12, 12))


def test_a_file_keeps_the_sizes(tmp_path):
    layers = [nn.MaxPool2D((2, 1)), nn.AvgPool2D(3, stride=(1, 2), padding=(2, 1)), nn.L2Pool2D(2, 1), nn.GlobalAvgPool2D()]
    model = nn.Sequential(layers, seed=3).build((8, 5))
    model.save(tmp_path / "m.safetensors")
    loaded = nn.load(tmp_path / "m.safetensors")
    assert [repr(layer) for layer in loaded.layers] == [repr(layer) for layer in layers]
    rng = random.Random(1)
    images = Tensor((6, 8, 5), "u8", bytes(rng.randrange(256) for _ in range(240)))
    assert flat(loaded.logits(images)) == flat(model.logits(images))


# ---- properties, bit for bit ----------------------------------------------------------------------------------------


def images(count, shape, seed=2):
    rng = random.Random(seed)
    return [rng.gauss(0, 1) for _ in range(count * shape[0] * shape[1] * shape[2])]


LAYERS = [nn.MaxPool2D(3, 2, 1), nn.AvgPool2D((3, 2), 1), nn.L2Pool2D(2), nn.GlobalAvgPool2D(), nn.Upsample2D(3),
          nn.Upsample2D((2, 3), "bilinear")]  # fmt: skip


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_sample_does_not_depend_on_the_batch(layer):
    shape = (6, 4, 5)
    x = images(7, shape)
    one = len(x) // 7
    alone = [outputs([layer], x[i * one : (i + 1) * one], shape) for i in range(7)]
    assert flat(outputs([layer], x, shape)) == [v for y in alone for v in flat(y)]


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_scaling_by_a_power_of_two_is_exact(layer):
    shape = (4, 6, 3)
    x = images(2, shape)
    scaled = flat(outputs([layer], [v / 64 for v in x], shape))
    assert scaled == [v / 64 for v in flat(outputs([layer], x, shape))]


@pytest.mark.parametrize("pool", (nn.MaxPool2D, nn.AvgPool2D))
def test_pooling_undoes_nearest_upsampling(pool):
    """The mean of two equal values is exact."""
    shape = (3, 5, 7)
    x = images(2, shape)
    assert outputs([nn.Upsample2D((1, 2)), pool((1, 2))], x, shape).tobytes() == outputs([nn.Pad2D(0)], x, shape).tobytes()


def test_bilinear_upsampling_keeps_a_plane():
    """Between the centres of the outermost pixels a linear function stays what it is; beyond it is constant."""
    x = [4.0 * i + 8 * j for i in range(3) for j in range(4)]
    y = flat(outputs([nn.Upsample2D((2, 4), "bilinear")], x, (3, 4, 1)))
    centre = [min(max((u + 0.5) / 4 - 0.5, 0), 3) for u in range(16)]
    assert y == [4 * min(max((o + 0.5) / 2 - 0.5, 0), 2) + 8 * j for o in range(6) for j in centre]


def test_shards_do_not_change_what_pooling_hands_on():
    """Pooling sums nothing over the batch: with two shards a step differs only where the gradients' tree does."""
    data = nn.data.load("glyphs").train
    hashes = set()
    for threads in (1, 2):
        model = nn.Sequential([nn.MaxPool2D(2), nn.AvgPool2D(2), nn.Dense(10)], seed=0)
        model.fit(data, epochs=1, batch=50, shards=2, steps=4, executor=nn.Executor(threads=threads))
        hashes.add(tuple(flat(model.memory.tensor(model.parameters["2.weight"]))))
    assert len(hashes) == 1
