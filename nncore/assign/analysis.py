"""What a class as a whole shows: how far submissions came, and which images nobody gets right."""

from __future__ import annotations

import base64
from collections import Counter

from nncore.assign.verdict import Result
from nncore.data.dataset import Dataset

SHOWN = 24  # images
STAGES = {
    "handed in by the rules": ("BAD_ARCHIVE", "RULE_VIOLATION"),
    "built": ("BUILD_FAILED",),
    "ran to the end": ("RUN_FAILED", "TIME_LIMIT", "MEMORY_LIMIT", "PROCESS_LIMIT", "OUTPUT_LIMIT"),
    "left predictions": ("MISSING_OUTPUT", "BAD_FORMAT"),
    "kept to the training set": ("LEAKAGE",),
    "reached the threshold": ("BELOW_THRESHOLD",),
}


def stages(results: list[Result]) -> list[dict]:
    """How many came past each stage, and how many fell there. Who was not graded for a fault of ours is left out."""
    left = sum(r.verdict != "GRADER_FAULT" for r in results)
    found = []
    for name, verdicts in STAGES.items():
        failed = sum(r.verdict in verdicts for r in results)
        left -= failed
        found.append({"stage": name, "passed": left, "failed": failed})
    return found


def hardest(results: list[Result], data: Dataset) -> dict | None:
    """The test images most submissions got wrong, with what they took them for. None for fewer than two submissions."""
    named = [r.predictions for r in results if r.predictions]
    labels, images = data.test.labels.tobytes(), data.test.images
    if len(named) < 2 or len(images.shape) not in (3, 4):
        return None
    wrong = Counter(i for p in named for i, (a, b) in enumerate(zip(p, labels, strict=True)) if a != b)
    rows = sorted(wrong, key=lambda i: (-wrong[i], i))[:SHOWN]
    if not rows:
        return None

    def taken_for(i: int) -> list[list]:
        answers = Counter(p[i] for p in named if p[i] != labels[i])
        return [[data.classes[c], n] for c, n in answers.most_common(2)]

    pixels, size = images.tobytes(), images.nbytes // len(data.test)
    packed = base64.b64encode(b"".join(pixels[i * size : (i + 1) * size] for i in rows)).decode()
    shape = [len(rows), *images.shape[1:3], images.shape[3] if len(images.shape) == 4 else 1]
    return {
        "submissions": len(named), "never_right": sum(n == len(named) for n in wrong.values()),
        "images": {"shape": shape, "data": packed},
        "rows": [{"index": i, "label": data.classes[labels[i]], "wrong": wrong[i], "taken_for": taken_for(i)} for i in rows],
    }
