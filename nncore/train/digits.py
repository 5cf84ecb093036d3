"""How many digits of a run mean anything: its last steps again, several times, with every rounding drawn at random.

Each result is then a sample of what it might as well have been; digits in which the samples agree are significant, the others
are rounding. From the spread of K samples Sohier et al. (2021, "Confidence intervals for stochastic arithmetic", theorem 1)
derive how many bits hold at least: with probability p and confidence 1 - a, for normally distributed samples,

    s = log2(|mean| / deviation)     s_least = s - (1/2) log2((K - 1) / q) - log2(F((p + 1) / 2))

q the a/2 quantile of chi-squared with K - 1 degrees of freedom, F the quantile function of the normal distribution.
"""

from __future__ import annotations

import os
from collections import Counter
from math import exp, lgamma, log, log2, log10
from statistics import NormalDist, fmean, stdev

from nncore._ffi import ffi
from nncore.data import load
from nncore.errors import UsageError
from nncore.graph.tape import Executor
from nncore.train.inference import argmax, collect, evaluate
from nncore.train.monte_carlo import SAMPLES, RandomExecutor, Spread
from nncore.train.replay import advance, go_back, keep, last_step, reopen, travel
from nncore.train.runs import first
from nncore.train.samples import samples as samples_of

SCHEMA = "nncore.digits/1"
STEPS, IMAGES = 50, 1000
SHOWN = 20  # unstable images in the text
PROBABILITY = CONFIDENCE = 0.95
DIGITS, FLOAT = log10(2), 4  # decimal digits of a bit, bytes of a value


def chi_squared(x: float, k: int) -> float:
    """P(X <= x) of chi-squared with k degrees of freedom: the series of the lower incomplete gamma function (Abramowitz and
    Stegun 6.5.29)."""
    a, x = k / 2, x / 2
    if x <= 0:
        return 0.0
    term = total = 1 / a
    n = a
    while term > total * 1e-17:
        n += 1
        term *= x / n
        total += term
    return total * exp(a * log(x) - x - lgamma(a))


def margin(samples: int, probability: float = PROBABILITY, confidence: float = CONFIDENCE) -> float:
    """Bits to take off an estimate from so many samples to have what holds at least."""
    low, high, k = 0.0, 10.0 * samples, samples - 1
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if chi_squared(middle, k) < (1 - confidence) / 2 else (low, middle)
    return log2(k / low) / 2 + log2(NormalDist().inv_cdf((probability + 1) / 2))


def _figure(values: list[float]) -> dict:
    """Mean, deviation and significant digits of one number, from its samples."""
    mean, deviation = fmean(values), stdev(values)
    bits = 24.0 if deviation == 0 else max(0.0, min(24.0, log2(abs(mean) / deviation))) if mean else 0.0
    return {"mean": mean, "deviation": deviation, **_digits(bits, len(values))}


def _digits(bits: float, samples: int) -> dict:
    return {"digits": bits * DIGITS, "digits_at_least": max(0.0, bits - margin(samples)) * DIGITS}


# ---- a whole run -----------------------------------------------------------------------------------------------------


def digits(run: str | os.PathLike, samples: int = SAMPLES, steps: int = STEPS, images: int = IMAGES, seed: int = 0,
           on_sample=None) -> dict:
    """Significant digits of loss, weights and predictions after the last `steps` of a run, from `samples` replays.

    {run, samples, steps, from_step, images, margin_bits, loss, weights: one row per parameter, predictions: {digits,
    digits_at_least, unstable: test images that change class}}. Raises UsageError for fewer than 3 samples or a network of
    several heads, DataError as `reopen` does.
    """
    for name, value, least in (("samples", samples, 3), ("steps", steps, 1), ("images", images, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"{name} must be a whole number of at least {least}, got {value!r}")
    trainer, folder = reopen(run, Executor(threads=1))
    model = trainer.model
    if isinstance(model.outputs, dict):
        raise UsageError(f"the network has the heads {', '.join(model.outputs)}: digits are told of networks with one")
    last = last_step(trainer, folder)
    begin = max(0, last - steps)
    travel(trainer, folder, begin)
    kept = keep(trainer)
    test = load(folder.config().data.asked).test
    test = first(test, min(images, len(test)))
    seen = _Seen(model, test)
    advance(trainer, last)
    seen.expect()
    for k in range(samples):
        go_back(trainer, kept)
        trainer.executor = RandomExecutor(seed + k)
        advance(trainer, last)
        seen.add(trainer.executor)
        if on_sample:
            on_sample(k + 1, samples)
    return {"schema": SCHEMA, "run": os.fspath(run), "samples": samples, "from_step": begin, "steps": last - begin,
            "probability": PROBABILITY, "confidence": CONFIDENCE, "margin_bits": margin(samples), **seen.found(samples)}


class _Seen:
    """What the replays of one model gave on test samples."""

    def __init__(self, model, test):
        self.model, self.test = model, samples_of(test)
        self.weights = {name: Spread(model.memory.tensor(w).nbytes // FLOAT) for name, w in model.parameters.items()}
        self.losses: list[float] = []
        self.votes: list[Counter] = [Counter() for _ in range(len(self.test))]
        self.classes: list[int] = []
        self.proba: Spread | None = None

    def expect(self) -> None:
        """Note the classes that the run itself gives."""
        self.classes = _classes(collect(self.model, "proba", self.test, None))

    def add(self, executor: Executor) -> None:
        """Look at weights, loss and predictions of one replay."""
        for name, spread in self.weights.items():
            spread.add(ffi.cast("float *", self.model.memory.tensor(self.model.parameters[name]).pointer))
        self.losses.append(evaluate(self.model, self.test, None, executor).loss)
        proba = collect(self.model, "proba", self.test, executor)
        self.proba = self.proba or Spread(proba.nbytes // FLOAT)
        self.proba.add(ffi.cast("float *", proba.pointer))
        for votes, c in zip(self.votes, _classes(proba), strict=True):
            votes[c] += 1

    def found(self, samples: int) -> dict:
        """Figures of all replays."""
        weights = []
        for name, spread in self.weights.items():
            _, f = spread.bits()
            weights.append({"name": name, "size": spread.n, **_digits(f["mean"], samples), "least": f["least"] * DIGITS,
                            "none": f["none"]})
        bits, _ = self.proba.bits()
        width = self.proba.n // len(self.test)
        winners = sorted(bits[i * width + max(c, 0)] for i, c in enumerate(self.classes))
        unstable = [{"index": i, "class": c, "label": self._label(i), "votes": {str(k): n for k, n in sorted(v.items())}}
                    for i, (c, v) in enumerate(zip(self.classes, self.votes, strict=True)) if set(v) != {c}]
        median = winners[len(winners) // 2]
        return {"images": len(self.test), "loss": {"values": self.losses, **_figure(self.losses)}, "weights": weights,
                "predictions": {**_digits(median, samples), "least": winners[0] * DIGITS, "unstable": unstable}}

    def _label(self, index: int) -> int | None:
        return self.test.labels.tolist()[index] if self.test.labels is not None else None


def _classes(proba) -> list[int]:
    """The largest output of each row, the first of equals; 0 and 1 at either side of 0 where there is one output."""
    rows = proba.tolist()
    if len(rows[0]) == 1:
        return [int(r[0] > 0) for r in rows]
    return argmax(rows)


def _line(name: str, found: dict, worst: float | None, note: str) -> str:
    last = "" if worst is None else f"{worst:.1f}"
    return f"  {name[:24]:24} {found['digits']:>7.1f} {found['digits_at_least']:>9.1f} {last:>7}   {note}"


def report(found: dict) -> list[str]:
    """What `digits` found, as lines of text."""
    loss, p, images = found["loss"], found["predictions"], found["images"]
    lines = [f"{found['samples']} replays of the steps {found['from_step']:,} to {found['from_step'] + found['steps']:,}, every "
             f"rounding random; at least: with probability {found['probability']:.0%}, at {found['confidence']:.0%} confidence",
             "", f"  {'':24} {'digits':>7} {'at least':>9} {'worst':>7}",
             _line(f"loss on {images:,} images", loss, None, f"{loss['mean']:.7f} +- {loss['deviation']:.1e}"),
             _line("probability of the class", p, p["least"], "median image")]
    for w in found["weights"]:
        lost = f", {w['none']:,} have none" if w["none"] else ""
        lines.append(_line(w["name"], w, w["least"], f"mean of {w['size']:,} weights{lost}"))
    lines.append("")
    if not p["unstable"]:
        lines.append(f"no image of {images:,} changes class under rounding")
    for u in p["unstable"][:SHOWN]:
        votes = ", ".join(f"{k} {n} times" for k, n in u["votes"].items())
        lines.append(f"image {u['index']} changes class under rounding: {votes}; the run says {u['class']}"
                     + (f", the label {u['label']}" if u["label"] is not None else ""))
    if (more := len(p["unstable"]) - SHOWN) > 0:
        lines.append(f"and {more:,} more of {images:,} images; --json lists them all")
    return lines
