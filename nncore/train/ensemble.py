"""Committees: several networks that answer together, by averaged probabilities or by vote.

    committee = nn.bagging(make, data.train, members=5, epochs=3)     # make(seed) builds a network
    print(committee.evaluate(data.test), [m.evaluate(data.test) for m in committee.members])
    committee.save("committee"); nn.Committee.load("committee")
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

from nncore.data.split import bootstrap
from nncore.errors import DataError, ShapeError, UsageError
from nncore.files import reading, write_atomic, writing
from nncore.graph import ops
from nncore.graph.node import Input, State
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, compile_tape
from nncore.optim.optimizers import Momentum
from nncore.optim.schedules import CosineRestarts
from nncore.tensor import Tensor
from nncore.train.callbacks import Callback
from nncore.train.inference import argmax
from nncore.train.model import Model, load
from nncore.train.predictions import Score, class_bytes, score
from nncore.train.samples import samples

FORMAT, FILE, MAX_MEMBERS = "nncore.committee/1", "committee.json", 1000
HOW = ("average", "vote")


class Committee:
    """Networks for the same classes. how: "average" takes the class of the largest mean probability; "vote" the class most
    members name, ties decided by the mean probability. Hansen and Salamon 1990.

    Raises UsageError for no members or an unknown `how`, ShapeError for members that take other samples than the first.
    """

    def __init__(self, members: Sequence[Model], how: str = "average"):
        if how not in HOW:
            raise UsageError(f'a committee decides by "average" or "vote", got {how!r}')
        if not 1 <= len(members) <= MAX_MEMBERS or not all(isinstance(m, Model) for m in members):
            raise UsageError(f"a committee has 1 to {MAX_MEMBERS} models as members, got {len(members)}")
        self.members, self.how = list(members), how
        first = self.members[0]
        for i, m in enumerate(self.members):
            if m.image_shape != first.image_shape:
                raise ShapeError(f"member {i} takes samples of shape {m.image_shape}, member 0 of {first.image_shape}")

    def __len__(self) -> int:
        return len(self.members)

    def predict(self, x, proba: bool = False, executor: Executor | None = None) -> Tensor:
        """Classes (N,) i32, or the mean probabilities (N, C). Raises ShapeError if members have other numbers of outputs."""
        return self.decide(self.opinions(x, executor), proba)

    def opinions(self, x, executor: Executor | None = None) -> list[Tensor]:
        """The probabilities (N, C) of every member."""
        return [m.predict(x, proba=True, executor=executor) for m in self.members]

    def decide(self, opinions: Sequence[Tensor], proba: bool = False) -> Tensor:
        """What `predict` makes of the members' probabilities."""
        together = mean(opinions)
        if proba:
            return together
        found = vote(opinions) if self.how == "vote" else _argmax(together)
        return Tensor((len(found),), "i32", array("i", found))

    def evaluate(self, data, executor: Executor | None = None) -> Score:
        """Accuracy and its standard error over labelled samples. Raises UsageError without labels."""
        data = samples(data)
        if data.labels is None:
            raise UsageError("a committee is evaluated on samples with class labels")
        return score(class_bytes(self.predict(data, executor=executor)), bytes(data.label_list()))

    # ---- keeping --------------------------------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike) -> None:
        """Write member-000.safetensors and so on, and, last, committee.json. Raises LimitError; UsageError for a folder that
        holds a committee already."""
        path = Path(folder)
        if (path / FILE).exists():
            raise UsageError(f"{path} holds a committee already: nothing is overwritten; choose another folder")
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        names = [f"member-{i:03d}.safetensors" for i in range(len(self.members))]
        for name, m in zip(names, self.members, strict=True):
            m.save(path / name)
        text = {"format": FORMAT, "how": self.how, "members": names, "weights_sha256": [m.weights_sha256 for m in self.members]}
        write_atomic(path / FILE, (json.dumps(text, indent=1) + "\n").encode())

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Committee:
        """Read a folder that `save` wrote. Raises DataError naming the file and what is wrong with it."""
        path = Path(folder) / FILE
        with reading(path), open(path, "rb") as file:
            text = file.read(1 << 20)
        try:
            spec = json.loads(text)
            names, digests = spec["members"], spec["weights_sha256"]
            good = spec["format"] == FORMAT and spec["how"] in HOW and len(names) == len(digests) > 0
            good = good and all(isinstance(n, str) and os.path.basename(n) == n for n in names)
        except (ValueError, KeyError, TypeError, RecursionError):
            good = False
        if not good:
            raise DataError(f"{path}: not a committee of format {FORMAT}: its member files, their hashes and how it decides")
        members = [load(path.parent / name) for name in names]
        for name, m, digest in zip(names, members, digests, strict=True):
            if m.weights_sha256 != digest:
                raise DataError(f"{path.parent / name}: not the member that {FILE} names: its weights have another hash")
        return cls(members, spec["how"])

    def __repr__(self) -> str:
        return f"Committee({len(self.members)} members, how={self.how!r})"


# ---- deciding --------------------------------------------------------------------------------------------------------


def mean(tensors: Sequence[Tensor]) -> Tensor:
    """The mean of tensors of one shape, element by element: added in float32 in the order given, the sum times 1 / M.

    Raises ShapeError if the shapes differ.
    """
    shape = tensors[0].shape
    for t in tensors:
        if t.shape != shape or t.dtype != "f32":
            raise ShapeError(f"a mean of {shape} f32 and {t.shape} {t.dtype}: the members differ")
    if len(tensors) == 1:
        return tensors[0]
    layout, given, total = Layout(), Input("given", shape, "real", 0), State("total", shape)
    add = compile_tape("mean/add", 1, [ops.assign(total, ops.add(total, given))], {}, layout)
    finish = compile_tape("mean/finish", 1, [], {"mean": ops.scale(total, c=1.0 / len(tensors))}, layout)
    memory, executor = Memory(layout), Executor(threads=1)
    for t in tensors:
        executor.run([(add, 1)], memory, {0: t})
    executor.run([(finish, 1)], memory, {})
    return memory.output(finish, "mean")


def vote(opinions: Sequence[Tensor]) -> list[int]:
    """The class that most members find most probable; among equals the one of the largest mean probability, then the first."""
    together = mean(opinions).tolist()
    named = [_argmax(o) for o in opinions]
    found = []
    for i, row in enumerate(together):
        counts = [0] * len(row)
        for classes in named:
            counts[classes[i]] += 1
        most = max(counts)
        found.append(max((c for c in range(len(row)) if counts[c] == most), key=lambda c: (row[c], -c)))
    return found


def _argmax(t: Tensor) -> list[int]:
    """The first largest of each row, or its first NaN."""
    if len(t.shape) != 2 or t.shape[1] < 2:
        raise ShapeError(f"a committee decides between two or more classes, its members have outputs {t.shape}")
    return argmax(t.tolist())


# ---- making ----------------------------------------------------------------------------------------------------------


def bagging(make: Callable[[int], Model], data, members: int = 5, seed: int = 0, how: str = "average", **fit) -> Committee:
    """A committee whose member i is make(seed + i), fitted to n draws with replacement from the n samples. Breiman 1996.

    About 1 - 1/e = 63 % of the samples are among the draws of a member. **fit: arguments of Model.fit; a validation share
    would hold out copies of samples that are trained on: give data instead. Raises UsageError for that and for members < 1.
    """
    data = samples(data)
    if isinstance(fit.get("validation"), float):
        raise UsageError("bagging: a share of the draws holds out copies of trained samples; give validation= as data")
    return _trained(make, lambda s: data.select(bootstrap(len(data), s)), members, seed, how, fit)


def seed_committee(make: Callable[[int], Model], data, members: int = 5, seed: int = 0, how: str = "average", **fit) -> Committee:
    """A committee whose members differ by their seeds alone: initial weights, shuffles, masks. Lakshminarayanan et al. 2017."""
    return _trained(make, lambda s: data, members, seed, how, fit)


def _trained(make, data_of, members: int, seed: int, how: str, fit: dict) -> Committee:
    if isinstance(members, bool) or not isinstance(members, int) or not 1 <= members <= MAX_MEMBERS:
        raise UsageError(f"members is a number from 1 to {MAX_MEMBERS}, got {members!r}")
    made = []
    for s in range(seed, seed + members):
        model = make(s)
        if not isinstance(model, Model) or any(model is m for m in made):
            raise UsageError(f"make(seed) has to return a new model each time, got {model!r}")
        model.fit(data_of(s), **own(fit))
        made.append(model)
    return Committee(made, how)


def own(fit: dict) -> dict:
    """Arguments of Model.fit with callbacks of their own, as they were given: EarlyStopping and the like have a memory."""
    return {**fit, "callbacks": deepcopy(fit["callbacks"])} if fit.get("callbacks") else fit


class Snapshots(Callback):
    """Keeps a copy of the network after every `epochs` epochs: `members`."""

    def __init__(self, epochs: int):
        self.epochs, self.members = epochs, []

    def on_epoch_end(self, trainer, record: dict) -> None:
        """A copy at the end of a cycle; with averaged weights, of these."""
        if record["epoch"] % self.epochs == 0:
            with trainer.seen(averages=True):
                self.members.append(trainer.model.copy())


def snapshots(model: Model, data, cycles: int = 5, epochs: int = 10, rate: float = 0.1, optimizer=None, how: str = "average",
              **fit) -> Committee:
    """A committee from one training: a cosine rate restarts `cycles` times, and each cycle's end leaves a member. Huang et
    al. 2017, *Snapshot ensembles: train 1, get M for free*. All epochs together cost what one network costs.

    epochs: of the whole training, a multiple of cycles. optimizer: a function from the schedule to an optimizer, Momentum
    by default. Raises UsageError if the cycles do not divide the epochs.
    """
    if not isinstance(cycles, int) or cycles < 1 or epochs % cycles:
        raise UsageError(f"snapshots: {epochs} epochs do not divide into {cycles} cycles of whole epochs")
    keeper = Snapshots(epochs // cycles)
    schedule = CosineRestarts(rate, cycles=cycles)
    callbacks = [*fit.pop("callbacks", []), keeper]
    model.fit(data, epochs=epochs, optimizer=(optimizer or Momentum)(schedule), callbacks=callbacks, **fit)
    return Committee(keeper.members, how)
