"""Rung 4 for csrc/ops/conv.c: a grid of paddings, strides, dilations, windows and groups on the float64 twin."""

import itertools
import random

import pytest

import nncore as nn
from nncore.graph import ops
from nncore.nn.base import Builder
from tests.gradcheck import check, parameter, weighted_sum

COVERED = {"conv", "conv_bwd_data"}
GRID = [
    (padding, stride, dilation, window, groups)
    for padding, stride, dilation, window, groups in itertools.product(
        ("same", "valid", (2, 1)), (1, 2, (3, 1)), (1, (2, 1)), (1, (2, 3), 3), (1, 2))
    if window != 1 or dilation == 1
]  # fmt: skip


def draw(n, seed):
    rng = random.Random(seed)
    return [rng.uniform(-1, 1) for _ in range(n)]


def layer_loss(layer, shape, shards=1):
    """(loss, values, leaves) of a layer over images of this shape, every output weighted differently."""
    x, builder = parameter("x", *shape), Builder({}, training=True)
    x.shards = shards
    y = layer.build(builder, x)
    leaves = [x, *builder.parameters.values()]
    values = {leaf: draw(leaf.size, i) for i, leaf in enumerate(leaves)}
    loss = weighted_sum(y, values)
    return ops.tree_sum(loss) if shards > 1 else loss, values, leaves


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize("kind", [nn.Conv2D, nn.ConvTranspose2D])
def test_grid(kind):
    for padding, stride, dilation, window, groups in GRID:
        layer = kind(2, window, stride, padding, dilation, groups)
        loss, values, leaves = layer_loss(layer, (1, 5, 4, 2))
        assert check(loss, values, wrt=leaves) == sum(leaf.size for leaf in leaves)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shards", [1, 3])
def test_shards_and_chains_of_images(bias, shards):
    """27 images: four chains of eight in one shard, two in each of three; without a bias there is none to check."""
    loss, values, leaves = layer_loss(nn.Conv2D(3, 2, bias=bias), (27, 2, 2, 1), shards)
    assert len(leaves) == 2 + bias
    assert check(loss, values, wrt=leaves) == 27 * 4 + 12 + 3 * bias


def test_depthwise():
    loss, values, leaves = layer_loss(nn.Conv2D(6, 3, groups=6), (2, 4, 3, 6))
    assert check(loss, values, wrt=leaves) == 2 * 72 + 54 + 6


def test_a_network_there_and_back():
    """conv, tanh, strided conv, transposed conv, dense: second uses of every derivative."""
    x, builder = parameter("x", 2, 6, 6, 1), Builder({}, training=True)
    layers = [nn.Conv2D(3, 3), nn.Tanh(), nn.Conv2D(4, 3, 2), nn.Tanh(), nn.ConvTranspose2D(2, 3, 2), nn.Dense(2)]
    z = x
    for i, layer in enumerate(layers):
        builder.layer, builder.number = str(i), i
        z = layer.build(builder, z)
    leaves = [x, *builder.parameters.values()]
    values = {leaf: draw(leaf.size, i) for i, leaf in enumerate(leaves)}
    assert check(weighted_sum(z, values), values, wrt=leaves) == sum(leaf.size for leaf in leaves)
