"""What a grading leaves behind: results.json for each submission, grades.csv, and the JSON that the class page is made of."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import unicodedata
from pathlib import Path
from urllib.parse import quote

from nncore.assign.chance import improves, same
from nncore.assign.late import Arrival
from nncore.assign.spec import Assignment
from nncore.assign.verdict import FAULT, VERDICTS, Result
from nncore.files import write_atomic, writing

SCHEMA = "nncore.grade/1"


def batch(results: list[Result], assignment: Assignment, changes: list[dict] = (), arrivals: dict[str, Arrival] | None = None,
          more: dict | None = None) -> dict:
    """The whole grading as `--json` prints it and the page reads it. more: stages, hardest and similar, where worked out."""
    return {
        "schema": SCHEMA, "assignment": assignment.name, "title": assignment.title, "threshold": assignment.pass_.threshold,
        "limits": {"seconds": assignment.limits.wall, "clock": assignment.limits.clock,
                   "memory": assignment.limits.memory_mb * 1_000_000, "processes": assignment.limits.processes},
        "random_test_labels": assignment.data.test_labels == "garbled",
        "due": assignment.late.due and assignment.late.due.isoformat(),
        "verdicts": {v: n for v in VERDICTS if (n := sum(r.verdict == v for r in results))},
        "results": [{**r.plain(), "advice": r.advice, **_credit(r, (arrivals or {}).get(r.submission))} for r in results],
        "changes": list(changes), **(more or {}),
    }


def _credit(result: Result, came: Arrival | None) -> dict:
    """When it came and what it is worth: nothing unless it passes, None where we failed."""
    worth = came.worth if came else 1.0
    return {"submitted": came and came.when.isoformat(), "days_late": came and came.days,
            "credit": None if result.verdict == FAULT else worth * (result.verdict == "PASS")}


def change(before: Result, after: Result, truth: bytes) -> dict:
    """Two gradings of one submission side by side; gained and lost: answers, None where one has no predictions."""
    both = before.predictions and after.predictions
    gained, lost = improves(before.predictions, after.predictions, truth) if both else (None, None)
    return {"submission": after.submission, "gained": gained, "lost": lost,
            "answers": len(truth) - same(before.predictions, after.predictions) if both else None,
            **{f"{when}_{key}": getattr(r, key) for when, r in (("before", before), ("after", after))
               for key in ("verdict", "detail", "accuracy", "seconds", "calibrated", "memory", "output")}}


def gradescope(result: Result, came: Arrival | None = None) -> dict:
    """One result in the schema of Gradescope's autograder (results.json)."""
    passed = float(result.verdict == "PASS")
    credit = _credit(result, came)
    late = f"{credit['days_late']} days late: a pass is worth {came.worth:.0%}" if credit["days_late"] else ""
    lines = [result.advice, late, result.detail, *(f"{f['level']}: {_where(f)}{f['message']}" for f in result.findings)]
    if result.output and result.verdict not in ("PASS", "BELOW_THRESHOLD"):
        lines += ["", "The last it printed:", result.output[-4000:]]
    return {
        "score": credit["credit"], "execution_time": result.seconds or 0.0, "output": "\n".join(filter(None, lines)),
        "output_format": "text", "visibility": "visible", "stdout_visibility": "hidden",
        "tests": [{"name": result.verdict, "score": passed, "max_score": 1.0, "status": "passed" if passed else "failed",
                   "output": result.detail, "output_format": "text"}],
        "extra_data": {key: value for key, value in (result.plain() | credit).items() if key not in ("output", "findings")},
    }


def _where(finding: dict) -> str:
    return f"{finding['file']}{':' + str(finding['line']) if finding['line'] else ''}: " if finding["file"] else ""


def folder_of(name: str) -> str:
    """The folder of a submission's results: its name, with what is no letter, digit, dot, dash or underscore escaped."""
    found = quote(name.encode("utf-8", "surrogateescape"), safe="")
    if len(found) > 200:
        found = found[:150] + "-" + hashlib.sha256(found.encode()).hexdigest()[:16]
    return found.replace(".", "%2E") if not found.strip(".") else found


def student(name: str) -> str:
    """A submission's name as the mark book has it: one line, no ending, and no formula to a spreadsheet."""
    shown = "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in name)
    shown = shown[:-4] if shown.lower().endswith(".zip") else shown
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown


def marks(results: list[Result], arrivals: dict[str, Arrival] | None = None) -> str:
    """grades.csv. A fault of ours has no figures."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["student", "verdict", "accuracy", "seconds", "calibrated_seconds", "submitted", "days_late", "credit"])
    for r in results:
        credit = _credit(r, (arrivals or {}).get(r.submission))
        figures = _digits(r.accuracy, 4), _digits(r.seconds, 2), _digits(r.calibrated, 2)
        writer.writerow([student(r.submission), r.verdict, *figures, *credit.values()])  # csv writes None as nothing
    return text.getvalue()


def _digits(value: float | None, n: int) -> str:
    return "" if value is None else f"{value:.{n}f}"


def write(out: Path, found: dict, results: list[Result], arrivals: dict[str, Arrival] | None = None) -> None:
    """Write all but the pages. Who met a fault of ours gets no results.json, upon which Gradescope says that grading failed."""
    with writing(out):
        for result in results:
            folder = out / "submissions" / folder_of(result.submission)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "results.json"
            if result.verdict == FAULT:
                path.unlink(missing_ok=True)
            else:
                write_atomic(path, json.dumps(gradescope(result, (arrivals or {}).get(result.submission)), indent=1).encode())
    write_atomic(out / "grades.csv", marks(results, arrivals).encode("utf-8", "replace"))
    write_atomic(out / "grade.json", json.dumps(found, indent=1).encode())
