"""The pages of a grading: the class, one student, the leaderboard. They read grade.json and trust no name in it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

from nncore.errors import DataError
from nncore.report import png, text
from nncore.report.charts import HEIGHT, SOFT, WIDTH, Figure, digits, drawn, inline, value_axis, vega
from nncore.report.page import document
from nncore.report.read import harmless, number

SCHEMA, BOARD = "nncore.grade/1", "nncore.leaderboard/1"
_LONGEST = 60  # of a name
_ROOM = 0.04  # of the range, around the points


def grade_html(found: dict, path: str | Path = "grade.json") -> str:
    """The page about what `nncore grade` wrote. Raises DataError for anything else."""
    with _as_written(found, SCHEMA, path):
        return document("grade.html", title=f"Class: {harmless(found['title'])}", about=_about(found), tiles=_tiles(found),
                        figures=list(filter(None, (_scatter(found),))), verdicts=_verdicts(found), stages=_stages(found),
                        hardest=_hardest(found.get("hardest")), similar=_similar(found.get("similar")),
                        rows=[_row(r, found["limits"]) for r in found["results"]], changes=[_change(c) for c in found["changes"]],
                        guessed=found.get("random_test_labels") is True)


def student_html(result: dict, found: dict, path: str | Path = "grade.json") -> str:
    """The page of one submission, for who handed it in: nothing of others is on it."""
    with _as_written(found, SCHEMA, path):
        row = _row(result, found["limits"])
        return document("student.html", title=f"{row['verdict']}: {row['name']}", row=row, advice=harmless(result["advice"], 400),
                        about=_about(found), tiles=_own_tiles(result, found), limits=_limits(result, found["limits"]),
                        sandbox=harmless(result["sandbox"]), enforced=[harmless(e) for e in result["enforced"]],
                        runs=[{"seconds": text.seconds(r["seconds"]), "calibrated": text.seconds(r["calibrated"]),
                               "verdict": harmless(r["verdict"])} for r in result["runs"]],
                        leakage=_leakage(result["leakage"]), guessed=found.get("random_test_labels") is True)


def board_html(found: dict, path: str | Path = "leaderboard.json") -> str:
    """The leaderboard: names and scores, nothing else of anybody."""
    with _as_written(found, BOARD, path):
        rows = [{"rank": r["rank"], "name": harmless(r["submission"].removesuffix(".zip"), _LONGEST),
                 "public": text.percent(r["public"]), "public_error": text.percent(r["public_error"]),
                 "private": text.percent(r["private"]), "private_error": text.percent(r["private_error"])} for r in found["rows"]]
        return document("leaderboard.html", title=f"Leaderboard: {harmless(found['title'])}", rows=rows,
                        final=bool(found["final"]), n_public=text.decimal(found["n_public"]),
                        n_private=text.decimal(found["n_private"]),
                        level=text.percent(found["level"], 0))


@contextmanager
def _as_written(found: dict, schema: str, path: str | Path):
    try:
        if found["schema"] != schema:
            raise ValueError(f"schema {found['schema']!r}")
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError) as e:
        raise DataError(f"{path}: not as nncore grade wrote it: {type(e).__name__}: {e}") from e


# ---- one submission ----------------------------------------------------------------------------------------------------


def _own_tiles(r: dict, found: dict) -> list[dict]:
    state = "good" if r["verdict"] == "PASS" else "" if r["verdict"] == "GRADER_FAULT" else "bad"
    tiles = [{"name": "verdict", "value": harmless(r["verdict"]).replace("_", " "), "note": "", "class": state}]
    if number(r["accuracy"]) is not None:
        tiles.append({"name": "test accuracy", "value": text.percent(r["accuracy"]), "class": "",
                      "note": f"\u00b1 {text.percent(r['standard_error'])} std. error; asked {text.percent(found['threshold'])}"})
        tiles.append({"name": "training accuracy", "value": text.percent(r["train_accuracy"]), "note": "", "class": ""})
    if number(r["seconds"]) is not None:
        taken = f"{text.seconds(r['lost'])} of it taken by others" if _lost(r) > 0.02 * r["seconds"] else ""
        worth = f"{text.seconds(r['calibrated'])} calibrated" if number(r["calibrated"]) is not None else ""
        tiles.append({"name": "time", "value": text.seconds(r["seconds"]), "class": "",
                      "note": "; ".join(filter(None, (taken, worth)))})
    if number(r["credit"]) is not None and r["days_late"] is not None:
        tiles.append({"name": "credit", "value": text.percent(r["credit"], 0), "class": "",
                      "note": f"{r['days_late']} days late" if r["days_late"] else "in time"})
    return tiles


def _lost(r: dict) -> float:
    """The seconds that others took: none in gradings of before that was measured."""
    return r["lost"] if number(r.get("lost")) is not None else 0.0


def _limits(r: dict, limits: dict) -> list[dict]:
    """How near each limit the run came."""
    calibrated = limits["clock"] == "calibrated" and number(r["calibrated"]) is not None
    time = r["calibrated"] if calibrated else r["seconds"] - _lost(r) if number(r["seconds"]) is not None else None
    shown = (("time", time, limits["seconds"], text.seconds), ("memory", r["memory"], limits["memory"], _megabytes),
             ("processes and threads", r["processes"], limits["processes"], text.decimal))
    return [{"name": name, "share": value / most, "text": f"{form(value)} of {form(most)}", "over": value > most}
            for name, value, most, form in shown if number(value) is not None]


def _leakage(found: dict | None) -> dict | None:
    if found is None:
        return None
    words = {"exact": "The project repeats itself to the bit, so this is proven, not estimated.",
             "statistical": "Its runs differ by themselves; this was judged by comparing several.",
             "labels": "The test labels in the sandbox are random numbers."}
    level = f" Level {found['level']:.2g}." if number(found["level"]) is not None else ""
    said = words.get(found["how"], f"{harmless(found['how'], 200)}.")
    return {"found": [harmless(s, 200) for s in found["found"]], "runs": int(found["runs"]), "how": said + level}


# ---- the class ---------------------------------------------------------------------------------------------------------


def _megabytes(value) -> str:
    return text.NONE if number(value) is None else f"{value / 1e6:.0f}\u202fMB"


def _stages(found: dict) -> list[dict]:
    stages, n = found.get("stages") or [], len(found["results"])
    return [{"name": harmless(s["stage"]), "passed": s["passed"], "share": s["passed"] / n} for s in stages]


def _hardest(found: dict | None) -> dict | None:
    if not found:
        return None
    samples = [{"index": r["index"], "label": harmless(r["label"], 20), "wrong": r["wrong"], "uri": uri,
                "taken": ", ".join(f"{harmless(name, 20)} \u00d7{n}" for name, n in r["taken_for"])}
               for r, uri in zip(found["rows"], png.each(found["images"]), strict=True)]
    return {"samples": samples, "submissions": found["submissions"], "never_right": found["never_right"]}


def _similar(found: dict | None) -> dict | None:
    if not found or not found["permutations"]:
        return None
    pairs = [{"a": harmless(p["a"], _LONGEST), "b": harmless(p["b"], _LONGEST), "shared": int(p["shared"]),
              "mistakes": " and ".join(map(str, p["mistakes"])),
              "p": "identical" if p["identical"] else f"{p['p']:.3f}"} for p in found["pairs"]]
    return {"pairs": pairs, "level": text.percent(found["level"], 0), "permutations": found["permutations"]}


def _about(found: dict) -> str:
    sandboxes = sorted({harmless(r["sandbox"]) for r in found["results"] if r["sandbox"]})
    bare = "; no sandbox: nothing protected this machine" if "none" in sandboxes else ""
    return (f"{harmless(found['assignment'])}: at least {text.percent(found['threshold'])} of the test set within "
            f"{text.seconds(found['limits']['seconds'])}; sandbox {', '.join(sandboxes) or text.NONE}{bare}")


def _tiles(found: dict) -> list[dict]:
    results, n = found["results"], len(found["results"])
    passed = sum(r["verdict"] == "PASS" for r in results)
    faults = sum(r["verdict"] == "GRADER_FAULT" for r in results)
    scored = sorted(r["accuracy"] for r in results if number(r["accuracy"]) is not None)
    tiles = [{"name": "submissions", "value": str(n), "note": "graded", "class": ""},
             {"name": "passed", "value": str(passed), "note": text.percent(passed / n, 0), "class": "good"},
             {"name": "median accuracy", "value": text.percent(scored[len(scored) // 2] if scored else None),
              "note": f"of {len(scored)} that ran to the end", "class": ""}]
    if faults:
        tiles.append({"name": "not graded", "value": str(faults), "note": "a fault of the grader; run it again", "class": "bad"})
    return tiles


def _verdicts(found: dict) -> list[dict]:
    n = len(found["results"])
    return [{"name": harmless(v), "count": c, "share": c / n, "good": v == "PASS"} for v, c in found["verdicts"].items()]


def _row(r: dict, limits: dict) -> dict:
    """A line of the table, figures beside how near their limits they came."""
    used = [shown["share"] for shown in _limits(r, limits)]
    where = [f"{harmless(f['level'])}: {harmless(f['file'])}{':' + str(f['line']) if f['line'] else ''}: "
             f"{harmless(f['message'], 200)}" for f in r["findings"]]
    return {
        "name": harmless(r["submission"], _LONGEST), "verdict": harmless(r["verdict"]), "good": r["verdict"] == "PASS",
        "accuracy": text.percent(r["accuracy"]),
        "error": "" if number(r["standard_error"]) is None else text.percent(r["standard_error"]),
        "train": text.percent(r["train_accuracy"]), "seconds": text.seconds(r["seconds"]), "cpu": text.seconds(r["cpu"]),
        "calibrated": text.seconds(r["calibrated"]), "memory": _megabytes(r["memory"]), "credit": text.percent(r["credit"], 0),
        "days": r["days_late"] or 0, "leakage": _leakage(r["leakage"]),
        "used": text.percent(max(used), 0) if used else text.NONE, "detail": harmless(r["detail"], 300),
        "findings": where, "output": [harmless(line, 200) for line in r["output"].splitlines()[-30:]],
    }


def _change(c: dict) -> dict:
    """Both gradings of a submission, side by side."""
    sides = [{"name": when, "verdict": harmless(c[f"{when}_verdict"]), "accuracy": text.percent(c[f"{when}_accuracy"]),
              "seconds": text.seconds(c[f"{when}_seconds"]), "calibrated": text.seconds(c[f"{when}_calibrated"]),
              "memory": _megabytes(c[f"{when}_memory"]), "detail": harmless(c[f"{when}_detail"], 300),
              "output": [harmless(line, 200) for line in c[f"{when}_output"].splitlines()[-12:]]} for when in ("before", "after")]
    answers = None
    if number(c["answers"]) is not None:
        answers = f"{text.decimal(c['answers'])} answers differ: {c['gained']} now right, {c['lost']} no longer"
    return {"name": harmless(c["submission"], _LONGEST), "sides": sides, "answers": answers}


def _scatter(found: dict) -> Figure | None:
    """Accuracy against time, the threshold a line; nothing for fewer than two points."""
    points = [{"seconds": digits(r["seconds"] - _lost(r)), "accuracy": digits(r["accuracy"]), "passed": r["verdict"] == "PASS",
               "name": harmless(r["submission"], _LONGEST)} for r in found["results"]
              if number(r["accuracy"]) is not None and number(r["seconds"]) is not None]
    if len(points) < 2:
        return None
    alt, threshold = vega(), found["threshold"]
    values = [*(p["accuracy"] for p in points), threshold]
    room = max((max(values) - min(values)) * _ROOM, 0.005)
    domain = [max(min(values) - room, 0), min(max(values) + room, 1)]
    longest = max(p["seconds"] for p in points)
    x = alt.X("seconds:Q", scale=alt.Scale(domain=[0, longest * 1.05], nice=False), axis=alt.Axis(title="seconds", grid=False,
                                                                                                tickCount=5))
    y = alt.Y("accuracy:Q", scale=alt.Scale(domain=domain, nice=False), axis=value_axis("%"))
    colour = alt.Color("passed:N", scale=alt.Scale(domain=[True, False], range=["var(--s0)", "var(--s1)"]), legend=None)
    dots = alt.Chart(inline(points)).mark_circle(size=46, opacity=0.85).encode(
        x=x, y=y, color=colour, tooltip=["name:N", "accuracy:Q", "seconds:Q"])
    line = alt.Chart(inline([{"accuracy": threshold}])).mark_rule(stroke=SOFT, strokeDash=[4, 3]).encode(y=y)
    chart = (line + dots).properties(width=WIDTH, height=HEIGHT)
    legend = [("passed", "var(--s0)", False), ("below", "var(--s1)", False), ("threshold", SOFT, True)]
    return Figure("Accuracy against time", drawn(chart, "accuracy of each submission against its seconds"), legend)
