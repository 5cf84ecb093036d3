"""Is the test set used for more than the final evaluation? Asked of the program's behaviour, in whatever language it is.

What a project may know is its training set. So its predictions for a test input must not depend on that input's place in the
file, on the test labels (random numbers in the box anyway), or on the other test inputs; those for training inputs must not
depend on test data at all. The project is run again on a variant of the test data that changes all of this at once:

    kept      a fifth of the rows, moved to other places
    touched   a fifth, moved, every value but 0 changed by one: nothing to a classifier, all to a table of answers
    foreign   the rest, replaced by inverted training inputs: much to whoever looks at the test set as a whole
    labels    what the prediction before is most often confused with: whatever was chosen by them would be chosen otherwise

A program that repeats itself to the bit is judged exactly, by one run more (six if it leaks, to say how). One that does not,
as its seed is random, is judged by chance: each test has a level, and asks for an effect besides. Places, parts and labels
were drawn by us, and runs may be exchanged, so the tests hold whatever the program is (Fisher 1935).

A leak of labels may move predictions less than the seed does by itself. So runs on plain data get labels drawn for them
alone: where two earlier runs agreed, any class but theirs; where they parted, one of their two answers by a coin. Who does not
read labels takes an answer that is new to both for the label once in classes - 1 times, and keeps to the coin in half of the
rows, binomially, whatever the seed did. Copying one label in 200 is seen so on 10,000 inputs; choosing among a few networks
tells too little a run to be seen. Of inputs, what moves predictions less than the seed does, such as scaling by the mean of
all of them, may go unnoticed in a program of random seed.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from math import erfc, sqrt

from nncore.assign.chance import at_least, same
from nncore.data.dataset import Dataset
from nncore.tensor import Tensor

LEVEL_LABELS, LEVEL_ROWS, RUNS = 1e-6, 1e-4, 5
LEVEL_DRAWN = 1e-5  # of labels drawn for a run: of two tests, each looked at twice
_SUSPECTED = 0.05  # such a test is looked at again after more runs
_LEVEL_ONCE = 1 / 126  # ten runs are parted into five and five in so many ways
LEVEL_RUNS = 2 * _LEVEL_ONCE**2  # two such tests, of which one must come out twice
FEWEST = 60  # test rows
_EFFECT, _RATIO = 0.05, 1.15
_KEPT, _TOUCHED, _FOREIGN = range(3)
_FIFTHS = (_KEPT, _TOUCHED, _FOREIGN, _FOREIGN, _FOREIGN)
_TOUCH = bytes([0, *range(2, 256), 254])
Predictions = tuple[bytes, bytes]  # of the training inputs and of the test inputs


@dataclass
class Leakage:
    """What was found, one sentence each; how: exact, statistical, labels alone, or why not at all."""

    how: str
    runs: int = 1
    level: float | None = None
    found: list[str] = field(default_factory=list)

    def plain(self) -> dict:
        """As JSON holds it."""
        return asdict(self)


class Stopped(Exception):
    """A run of the check did not end as the first one did; the message says how."""


# ---- variants of the test data -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """Row k of the variant comes from row order[k] of the original, in the role roles[order[k]]."""

    order: list[int]
    roles: list[int]
    labels: bytes

    def rows(self, role: int) -> list[tuple[int, int]]:
        """(original row, row of the variant) of the rows in a role."""
        return [(i, k) for k, i in enumerate(self.order) if self.roles[i] == role]


def rivals(predicted: bytes, labels: bytes, classes: int) -> bytes:
    """For each class that training inputs were given, the class that most of those given it wrongly are of; else the next one.
    Another network of the same kind, where it answers otherwise, likely answers that."""
    wrong = Counter((p, t) for p, t in zip(predicted, labels, strict=True) if p != t)
    return bytes(max((c for c in range(classes) if c != p), key=lambda c: (wrong[p, c], c == (p + 1) % classes))
                 for p in range(classes))


def variant(predicted: bytes, rival: bytes, moved: bool = True, foreign: bool = True, labels: bytes | None = None,
            seed: int = 0) -> Variant:
    """A variant for a program that predicted this; `labels` None: the rivals of what it predicted."""
    chance, n = random.Random(seed), len(predicted)
    order, roles = list(range(n)), [_KEPT] * n
    if moved:
        chance.shuffle(order)
    if foreign:
        roles = [_FIFTHS[i % 5] for i in range(n)]
        chance.shuffle(roles)
    if labels is None:
        labels = bytes(rival[predicted[i]] for i in order)
    return Variant(order, roles, labels)


def vectors(found: Variant, data: Dataset, seed: int = 0) -> Tensor:
    """The test inputs of a variant."""
    test, train = data.test.images.tobytes(), data.train.images.tobytes()
    width, largest, chance = len(test) // len(found.order), max(max(test), 1), random.Random(seed)
    inverted = bytes(max(largest - v, 0) for v in range(256))
    rows = []
    for i in found.order:
        row = test[i * width : (i + 1) * width]
        if found.roles[i] == _TOUCHED and largest > 127:
            row = row.translate(_TOUCH)
        elif found.roles[i] == _FOREIGN:
            k = chance.randrange(len(train) // width)
            row = train[k * width : (k + 1) * width].translate(inverted)
        rows.append(row)
    return Tensor.from_any(memoryview(b"".join(rows)).cast("B", (len(rows), width)), "u8")


# ---- chance ------------------------------------------------------------------------------------------------------------


def parted(distances: dict[tuple[int, int], float], n: int) -> tuple[float, float]:
    """(p, ratio) of the runs 0 to n-1 against the n after them: whether they differ more from each other than among
    themselves, over all ways to part them."""

    def between(group: tuple[int, ...]) -> tuple[float, float]:
        inside, across = [], []
        for (i, j), d in distances.items():
            (across if (i in group) != (j in group) else inside).append(d)
        return sum(across) / len(across), sum(inside) / len(inside)

    seen = between(tuple(range(n)))
    # A group and its complement are one division; counted once, the one with run 0.
    ways = [between((0, *rest)) for rest in itertools.combinations(range(1, 2 * n), n - 1)]
    p = sum(a - i >= seen[0] - seen[1] - 1e-12 for a, i in ways) / len(ways)
    return p, seen[0] / seen[1] if seen[1] else float("inf") if seen[0] else 1.0


# ---- tests of what came out --------------------------------------------------------------------------------------------


def follows_labels(predicted: bytes, labels: bytes, classes: int) -> bool:
    """Whether predictions agree with random labels more than chance explains."""
    return bool(labels) and at_least(same(predicted, labels), len(labels), 1 / classes) < LEVEL_LABELS


def drawn(one: bytes, other: bytes, classes: int) -> bytes:
    """Test labels for a run, given what two runs on honest inputs predicted: a coin between them where they parted, else any
    class but theirs."""
    chance = random.SystemRandom()  # a program must not be able to draw the same
    return bytes(chance.choice((a, b)) if a != b else (a + chance.randrange(1, classes)) % classes
                 for a, b in zip(one, other, strict=True))


def chance_of_drawn(one: bytes, other: bytes, told: list[tuple[bytes, bytes]], classes: int) -> float:
    """The smaller p-value of two binomial tests over runs (predictions, labels drawn for them): whether labels were taken for new
    answers, and whether predictions kept to the coin."""
    new = taken = tossed = kept = 0
    for predicted, labels in told:
        for a, b, p, t in zip(one, other, predicted, labels, strict=True):
            if a != b:
                tossed += p in (a, b)
                kept += p == t
            elif p != a:
                new += 1
                taken += p == t
    return min(at_least(kept, tossed, 0.5), at_least(taken, new, 1 / (classes - 1)) if classes > 2 else 1.0)


def _by_place(before: bytes, after: bytes, found: Variant) -> bool:
    """Whether rows that moved left their predictions where they were."""
    rows = found.rows(_KEPT) + found.rows(_TOUCHED)
    stayed = sum(after[k] == before[k] != before[i] for i, k in rows)
    moved = sum(after[k] == before[i] != before[k] for i, k in rows)
    return at_least(stayed, stayed + moved, 0.5) < LEVEL_ROWS


def _by_table(before: bytes, after: bytes, truth: bytes, found: Variant) -> bool:
    """Whether inputs that changed by nothing lost answers that inputs that did not change kept: a permutation test over which
    row was in which part, its distribution taken as normal."""
    kept, touched = ([(after[k] == truth[i]) - (before[i] == truth[i]) for i, k in found.rows(role)]
                     for role in (_KEPT, _TOUCHED))
    both = kept + touched
    effect, mean = sum(kept) / len(kept) - sum(touched) / len(touched), sum(both) / len(both)
    spread = sum((x - mean) ** 2 for x in both) / (len(both) - 1) * (1 / len(kept) + 1 / len(touched))
    return effect >= _EFFECT and erfc(effect / sqrt(2 * spread)) / 2 < LEVEL_ROWS


def _differing(plain: list[Predictions], varied: list[Predictions], found: Variant) -> set[str]:
    """Which predictions, "train" or "test", differ between runs on plain and on varied data more than among themselves."""
    rows = found.rows(_KEPT) + found.rows(_TOUCHED)
    aligned = [(q, bytes(p[i] for i, _ in rows)) for q, p in plain] + [(q, bytes(p[k] for _, k in rows)) for q, p in varied]
    parts = set()
    for part, name in enumerate(("train", "test")):
        distances = {(i, j): 1 - same(aligned[i][part], aligned[j][part]) / len(aligned[i][part])
                     for i, j in itertools.combinations(range(2 * RUNS), 2)}
        p, ratio = parted(distances, RUNS)
        if p <= _LEVEL_ONCE + 1e-9 and ratio >= _RATIO:
            parts.add(name)
    return parts


SENTENCES = {
    "labels": "predictions follow the test labels, which are random numbers here",
    "place": "predictions stay at their lines when the test inputs are moved",
    "table": "answers are lost when test inputs change by one grey level: they are looked up, not worked out",
    "train": "predictions of the training set change",
    "test": "predictions of unchanged test inputs change",
    "moved": "when the test inputs are put in another order",
    "labelled": "when the test labels are others",
    "others": "when other test inputs stand in the file",
    "all": "with the test data",
    "runs": "with the test data, by more than its runs differ by themselves",
}


class Check:
    """The check of one program. again(vectors or None, labels) runs it once more: None for the test inputs as they are."""

    def __init__(self, data: Dataset, garbled: bytes, again: Callable[[Tensor | None, bytes], Predictions]):
        self.data, self.garbled, self.again = data, garbled, again
        self.classes, self.truth = len(data.classes), data.test.labels.tobytes()
        self.runs, self.rivals = 1, b""

    def run(self, first: Predictions) -> Leakage:
        """What the program does with variants. Raises Stopped."""
        if len(first[1]) < FEWEST:
            return Leakage(f"not checked: fewer than {FEWEST} test inputs")
        if follows_labels(first[1], self.garbled, self.classes):
            return Leakage("labels", 1, LEVEL_LABELS, [SENTENCES["labels"]])
        self.rivals = rivals(first[0], self.data.train.labels.tobytes(), self.classes)
        one = variant(first[1], self.rivals)
        second = self._run(one)
        if self._moved_along(first, second, one):
            lost = _by_table(first[1], second[1], self.truth, one)
            return Leakage("exact", self.runs, LEVEL_ROWS if lost else None, [SENTENCES["table"]] if lost else [])
        repeated, again = self._run(None), self._run(one)
        if repeated == first and again == second:
            found = self._explained(first)
            return Leakage("exact", self.runs, None, found)
        return self._by_chance([first, repeated], [second, again], one)

    def _run(self, found: Variant | None) -> Predictions:
        self.runs += 1
        if found is None:
            return self.again(None, self.garbled)
        return self.again(vectors(found, self.data), found.labels)

    def _moved_along(self, first: Predictions, second: Predictions, found: Variant) -> bool:
        return first[0] == second[0] and all(second[1][k] == first[1][i] for i, k in found.rows(_KEPT))

    def _explained(self, first: Predictions) -> list[str]:
        """One thing changed at a time: what makes a program that repeats itself answer otherwise."""
        n = len(first[1])
        labels = self.garbled or bytes(n)
        moved = variant(first[1], self.rivals, foreign=False, labels=labels)
        moved = Variant(moved.order, moved.roles, bytes(labels[i] for i in moved.order))
        ways = {"moved": moved, "labelled": variant(first[1], self.rivals, moved=False, foreign=False),
                "others": variant(first[1], self.rivals, moved=False, labels=labels)}
        found = []
        for name, way in ways.items():
            second = self._run(way)
            if name == "moved" and _by_place(first[1], second[1], way):
                found.append(SENTENCES["place"])
            elif not self._moved_along(first, second, way):
                found.append(f"{SENTENCES['train' if first[0] != second[0] else 'test']} {SENTENCES[name]}")
        return found or [f"{SENTENCES['test']} {SENTENCES['all']}"]

    def _by_chance(self, plain: list[Predictions], varied: list[Predictions], one: Variant) -> Leakage:
        """A program whose runs differ by themselves."""
        first, second = plain[0], varied[0]
        if _by_place(first[1], second[1], one):
            return Leakage("statistical", self.runs, LEVEL_ROWS, [SENTENCES["place"]])
        if _by_table(first[1], second[1], self.truth, one):
            return Leakage("statistical", self.runs, LEVEL_ROWS, [SENTENCES["table"]])
        told: list[tuple[bytes, bytes]] = []
        self._more(plain, varied, one, told)
        if any(follows_labels(p[1], self.garbled, self.classes) for p in plain[:2]):
            return Leakage("labels", self.runs, LEVEL_LABELS, [SENTENCES["labels"]])
        parts = _differing(plain, varied, one)
        p = chance_of_drawn(plain[0][1], plain[1][1], told, self.classes)
        if LEVEL_DRAWN / 4 <= p < _SUSPECTED or parts:  # a program of many seeds may look so once; it must come out again
            others: tuple[list[Predictions], list[Predictions]] = [], []
            self._more(*others, one, told, plain[:2])
            p = min(p, chance_of_drawn(plain[0][1], plain[1][1], told, self.classes))
            parts &= _differing(*others, one)
        if p < LEVEL_DRAWN / 4:
            return Leakage("labels", self.runs, LEVEL_DRAWN, [SENTENCES["labels"]])
        return Leakage("statistical", self.runs, LEVEL_RUNS, [f"{SENTENCES[name]} {SENTENCES['runs']}" for name in sorted(parts)])

    def _more(self, plain: list[Predictions], varied: list[Predictions], one: Variant, told: list[tuple[bytes, bytes]],
              known: list[Predictions] | None = None) -> None:
        """Fill up both kinds of run, by turns: who trains by the clock sees the same machine in both. told: predictions on plain
        inputs, and the labels drawn for them."""
        first, repeated = (known or plain)[:2]
        while len(plain) < RUNS:
            if self.garbled:
                labels = drawn(first[1], repeated[1], self.classes)
                plain.append(self._run(variant(first[1], self.rivals, moved=False, foreign=False, labels=labels)))
                told.append((plain[-1][1], labels))
            else:
                plain.append(self._run(None))
            varied.append(self._run(one))
