"""A leaderboard that cannot be climbed by trying often.

Half of the test set, drawn once for a grading, makes the public score; the other half the private one, which `final` shows. A
public score moves only when a new submission is better by more than chance explains (one-sided McNemar test at LEVEL): noise
then gains nothing, and the score keeps telling what the test set tells (the Ladder of Blum and Hardt 2015).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from nncore.assign.chance import at_least, improves
from nncore.assign.grade import State
from nncore.assign.verdict import Result
from nncore.train.metrics import standard_error

LEVEL = 0.05
SCHEMA = "nncore.leaderboard/1"


@dataclass(frozen=True)
class Halves:
    """Which test samples count in public."""

    public: tuple[int, ...]
    private: tuple[int, ...]


def halves(n: int, key: bytes) -> Halves:
    """The two halves of n samples, by a secret key."""
    order = sorted(range(n), key=lambda i: hashlib.blake2b(i.to_bytes(8, "little"), key=key, digest_size=16).digest())
    return Halves(tuple(sorted(order[: (n + 1) // 2])), tuple(sorted(order[(n + 1) // 2 :])))


def _part(values: bytes, rows: tuple[int, ...]) -> bytes:
    return bytes(map(values.__getitem__, rows))


def board(results: list[Result], truth: bytes, state: State, title: str, final: bool = False) -> dict:
    """The leaderboard as JSON and its page hold it, after the public scores that have earned it have moved."""
    parts = halves(len(truth), state.secret())
    labels = _part(truth, parts.public)
    rows = []
    for result in results:
        if result.verdict not in ("PASS", "BELOW_THRESHOLD") or not result.predictions:
            continue
        new, old = _part(result.predictions, parts.public), state.published(result.submission)
        if old is None or _better(old, new, labels):
            state.publish(result.submission, new)
            old = new
        rows.append(_row(result, old, labels, parts, truth, final))
    score = "private" if final else "public"
    rows.sort(key=lambda r: (-r[score], r["submission"]))
    for i, row in enumerate(rows):
        row["rank"] = rows[i - 1]["rank"] if i and rows[i - 1][score] == row[score] else i + 1
    return {"schema": SCHEMA, "title": title, "final": final, "level": LEVEL, "n_public": len(parts.public),
            "n_private": len(parts.private), "rows": rows}


def _better(old: bytes, new: bytes, labels: bytes) -> bool:
    gained, lost = improves(old, new, labels)
    return at_least(gained, gained + lost, 0.5) < LEVEL


def _row(result: Result, shown: bytes, labels: bytes, parts: Halves, truth: bytes, final: bool) -> dict:
    public = sum(map(int.__eq__, shown, labels)) / len(labels)
    row = {"submission": result.submission, "public": public, "public_error": standard_error(public, len(labels)),
           "private": None, "private_error": None}
    if final and parts.private:
        rest = _part(truth, parts.private)
        private = sum(map(int.__eq__, _part(result.predictions, parts.private), rest)) / len(rest)
        row |= {"private": private, "private_error": standard_error(private, len(rest))}
    return row
