"""What the examples share: the samples to show things on, a small network, and `--quick` for a look in a second or two."""

import sys
from dataclasses import replace

import nncore as nn

QUICK = "--quick" in sys.argv[1:]


def load(name="fashion-mnist", train=10_000, test=10_000):
    """The first samples of a data set's two parts. Glyphs where it is not to be had, and in quick mode."""
    data = nn.data.glyphs(min(train, 1500), 500) if QUICK else nn.data.load(name, fallback="glyphs")
    if data.note:
        print(f"note: {data.note}")
    return first(data.train, train), first(data.test, test)


def first(split, n):
    """The first n samples of a part of a data set."""
    return part(split, 0, min(n, len(split)))


def part(split, begin, end):
    """Samples begin to end, not copied."""
    each = split.images.nbytes // len(split)
    images = nn.Tensor((end - begin, *split.shape[1:]), split.images.dtype, split.images.memory[begin * each : end * each])
    return replace(split, images=images, labels=nn.Tensor((end - begin,), "u8", split.labels.memory[begin:end]))


def network(seed=0, width=64, outputs=10):
    """A hidden layer of ReLUs between the pixels and the classes."""
    return nn.Sequential([nn.Dense(width), nn.ReLU(), nn.Dense(outputs)], seed=seed)


def fit_options(epochs=4, rate=3e-3, batch=64):
    """A few epochs of Adam under one cycle; one epoch less in quick mode."""
    return {"epochs": max(1, epochs - QUICK), "batch": batch, "optimizer": nn.Adam(nn.OneCycle(rate))}
