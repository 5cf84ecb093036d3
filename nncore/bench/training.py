"""Time one epoch of training, 60,000 images of random bytes (or a data set), per network, after an epoch to warm up."""

from __future__ import annotations

import random
from statistics import median

from nncore.bench.kernels import row
from nncore.bench.limits import Probe
from nncore.graph.tape import Executor
from nncore.nn.layers import Dense, ReLU
from nncore.tensor import Tensor
from nncore.train.model import Sequential

NETWORKS = ((128,), (256,), (256, 128))


def random_images(n: int = 60_000, features: int = 784, classes: int = 10) -> tuple[Tensor, Tensor]:
    """Images of random bytes with random labels: an epoch takes as long as on any other."""
    draw = random.Random(1)
    images = Tensor((n, features), "u8", bytearray(draw.randbytes(n * features)))
    return images, Tensor((n,), "u8", bytearray(b % classes for b in draw.randbytes(n)))


def title(features: int, hidden: tuple[int, ...], classes: int) -> str:
    """784-128-10."""
    return "-".join(map(str, (features, *hidden, classes)))


def measure(hidden: tuple[int, ...], data, features: int, classes: int, batch: int, probe: Probe, rounds: int) -> dict:
    """Seconds of an epoch: the median of rounds, each between two peak probes."""
    layers = [layer for width in hidden for layer in (Dense(width), ReLU())]
    model = Sequential([*layers, Dense(classes)], seed=0)
    trainer = model.trainer(data, 1 + rounds, batch, executor=Executor(probe.isa, probe.threads))
    peaks: list[float] = []
    trainer.callbacks.append(_AfterEpoch(lambda: peaks.append(probe.peak())))
    history = trainer.run()
    n, flop = len(trainer.data), trainer.tape.flop * trainer.steps_per_epoch
    taken = [n / record["images_per_s"] for record in history][1:]
    around = [(a + b) / 2 for a, b in zip(peaks, peaks[1:], strict=False)]
    shares = [flop / t * 1e-9 / p for t, p in zip(taken, around, strict=True)]
    middle = median(taken)
    return row("epoch", f"{title(features, hidden, classes)} batch {batch}", probe, middle, flop / middle * 1e-9, None,
               median(shares))


class _AfterEpoch:
    def __init__(self, action):
        self.action = action

    def on_epoch_end(self, *_) -> None:
        self.action()
