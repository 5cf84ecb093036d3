"""A tiny classification task, and a network for it."""

import random
from array import array

import nncore as nn
from nncore.tensor import Tensor


def blobs(n=300, seed=0, width=6):
    """Three well separated clouds of points."""
    rng = random.Random(seed)
    centres = [[rng.uniform(-2, 2) for _ in range(width)] for _ in range(3)]
    labels = bytes(i % 3 for i in range(n))
    values = array("f", (c + rng.gauss(0, 0.3) for t in labels for c in centres[t]))
    return Tensor((n, width), "f32", values), Tensor((n,), "u8", labels)


def small(seed=0, **options):
    return nn.Sequential([nn.Dense(8), nn.ReLU(), nn.Dense(3)], seed=seed, **options)
