"""Time epochs of training, on random bytes or a data set, ours and the peers' by turns, after an epoch each to warm up.

Of a network that takes long only as many images as take a second or so: a step costs the same whichever images it sees.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from nncore.bench.duel import PAUSE, PEER_MATH, against
from nncore.bench.kernels import row
from nncore.bench.limits import Probe
from nncore.bench.peer import Peer
from nncore.graph.tape import Executor, Tape
from nncore.nn.conv import Conv2D
from nncore.nn.layers import Dense, ReLU
from nncore.nn.pool import MaxPool2D
from nncore.optim.optimizers import Adam
from nncore.tensor import Tensor
from nncore.train.model import Model, Sequential
from nncore.train.models import make
from nncore.train.samples import Samples

RATE = 1e-3


@dataclass(frozen=True)
class Network:
    """What is trained: `build(classes)` makes it; `hidden` are the widths of a dense network; `images` how many at most."""

    name: str
    build: Callable[[int], Model]
    hidden: tuple[int, ...] | None = None
    images: int = 60_000

    def title(self, features: int, classes: int) -> str:
        """784-128-10, or the name."""
        return self.name if self.hidden is None else "-".join(map(str, (features, *self.hidden, classes)))


def dense(*hidden: int) -> Network:
    """Dense layers with ReLU between."""
    layers = [layer for width in hidden for layer in (Dense(width), ReLU())]
    return Network("mlp", lambda classes: Sequential([*layers, Dense(classes)], seed=0), hidden)


def conv_net(classes: int) -> Model:
    """Two pairs of 3x3 convolutions, 32 and 64 maps, each followed by pooling, and a dense layer of 128."""
    pairs = [layer for maps in (32, 64) for layer in (Conv2D(maps, 3), ReLU(), Conv2D(maps, 3), ReLU(), MaxPool2D(2))]
    return Sequential([*pairs, Dense(128), ReLU(), Dense(classes)], seed=0)


DENSE = (dense(128), dense(256), dense(256, 128))
DUELS = (dense(128), dense(256, 128), Network("lenet5", lambda classes: make("lenet5", classes), images=12_800),
         Network("conv-net", conv_net, images=2560),
         Network("resnet-small", lambda classes: make("resnet-small", classes), images=1280))


def random_images(n: int, side: int = 28, classes: int = 10) -> Samples:
    """Images of random bytes with random labels: an epoch takes as long as on any other."""
    draw = random.Random(1)
    images = Tensor((n, side, side), "u8", bytearray(draw.randbytes(n * side * side)))
    labels = Tensor((n,), "u8", bytearray(b % classes for b in draw.randbytes(n)))
    return Samples(images, labels, classes=tuple(map(str, range(classes))))


def first(data: Samples, n: int) -> Samples:
    """The first n of all samples."""
    n = min(n, len(data))
    size = data.features * (1 if data.x.dtype == "u8" else 4)
    return replace(data, x=Tensor((n, *data.x.shape[1:]), data.x.dtype, data.x.memory[: n * size]),
                   labels=data.labels and Tensor((n,), "u8", data.labels.memory[:n]))


@dataclass
class Job:
    """One network on some data: what both sides are given."""

    network: Network
    data: Samples
    batch: int
    math: str = "f32"

    @property
    def title(self) -> str:
        return self.network.title(self.data.features, len(self.data.classes))

    def request(self, folder: Path) -> dict:
        """Write the data down; what `train` asks a peer with."""
        (folder / "images").write_bytes(self.data.x.tobytes())
        (folder / "labels").write_bytes(self.data.labels.tobytes())
        widths = self.network.hidden and [self.data.features, *self.network.hidden, len(self.data.classes)]
        return {"network": self.network.name, "widths": widths, "n": len(self.data), "batch": self.batch, "lr": RATE,
                "math": PEER_MATH[self.math], "images": str(folder / "images"), "labels": str(folder / "labels")}


class Turns:
    """A callback: after each of our epochs the limit of a step (`limit` below), an epoch of every peer's, and the limit again."""

    def __init__(self, probe: Probe, math: str, peers: list[Peer]):
        self.probe, self.math, self.peers, self.before, self.after = probe, math, peers, [], []
        self.taken: list[list[float]] = [[] for _ in peers]

    def on_train_begin(self, trainer) -> None:
        self.limit = limit(trainer.tape, self.probe, self.math)

    def on_epoch_end(self, *_) -> None:
        self.after.append(self.limit())
        for peer, taken in zip(self.peers, self.taken, strict=True):
            taken.append(peer.ask("epoch")["seconds"])
        time.sleep(PAUSE if self.peers else 0)
        self.before.append(self.limit())

    def limits(self) -> Iterator[float]:
        """The lower of the two around each epoch but the first: a team that slept through a peer's epoch is slow to spread."""
        return map(min, self.before, self.after[1:])


def limit(tape: Tape, probe: Probe, math: str) -> Callable[[], float]:
    """What measures, now, the seconds of a step of which every instruction runs at its peak: that of FMAs or, if the tape gives
    it the math mode, that of tiles. Where there are none, 0: nothing is known."""
    rate = probe.products(math)
    on_tiles = sum(i.flop for i in tape.instructions if math in i.note.split())
    return lambda: 1e-9 * ((on_tiles and on_tiles / rate()) + (tape.flop - on_tiles) / probe.peak()) if rate else 0.0


def measure(job: Job, probe: Probe, rounds: int, peers: list[Peer], folder: Path) -> dict:
    """The row of a network: the median epoch, and in `peers` theirs."""
    model = job.network.build(len(job.data.classes))
    model.math = job.math
    request = job.request(folder) if peers else {}
    rivals = [p for p in peers if "skip" not in p.ask("train", **request)]
    turns = Turns(probe, job.math, rivals)
    trainer = model.trainer(job.data, 1 + rounds, job.batch, Adam(RATE), executor=Executor(probe.isa, probe.threads),
                            callbacks=[turns])
    n, history = len(trainer.data), trainer.run()
    taken = [n / record["images_per_s"] for record in history][1:]
    shares = [trainer.steps_per_epoch * least / t for t, least in zip(taken, turns.limits(), strict=True)]
    middle = median(taken)
    images = "" if n == 60_000 else f" {n} images"
    gflops = trainer.tape.flop * trainer.steps_per_epoch / middle * 1e-9
    found = row("epoch", f"{job.title} batch {job.batch}{images}", probe, middle, gflops, None, median(shares) or None, job.math)
    found["rounds"] = taken
    found["peers"] = [against(p, "epoch", PEER_MATH[job.math], taken, t[1:], None)
                      for p, t in zip(rivals, turns.taken, strict=True)]
    return found
