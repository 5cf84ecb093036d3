"""The pages: what each section needs, worked out here in Python; the templates only lay it out."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from math import ceil, sqrt
from pathlib import Path

from nncore.errors import DataError
from nncore.report import charts, png, text
from nncore.report.compare import FIGURES, compare
from nncore.report.read import Run, harmless, number

TEMPLATES = Path(__file__).parent / "templates"
MOST_CLASSES = 20  # in a table; beyond that the confusion matrix is a picture
PAIRS = 12  # most confused pairs that are listed


@cache
def environment():
    """The templates, escaping all that comes from outside."""
    import jinja2

    found = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
                               trim_blocks=True, lstrip_blocks=True)
    shown = (text.percent, text.decimal, text.fixed, text.micro, text.shape, text.setting, harmless)
    found.filters |= {f.__name__: f for f in shown}
    return found


def document(template: str, **values) -> str:
    """A whole document. Its policy forbids every load, and every script but the one for the theme."""
    style, script = ((TEMPLATES / name).read_text() for name in ("style.css", "theme.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return environment().get_template(template).render(style=style, script=script, policy=policy, **values)


def report_html(run: Run, notes: tuple[str, ...] = ()) -> str:
    """The report of a run. notes: sentences on what could not be looked at. Raises DataError for malformed files."""
    try:
        insight = run.insight or {}
        return document("report.html", run=run, title=f"{_dataset(run)} \u00b7 {_network(run)}", notes=notes,
                     dataset=_dataset(run), network=_network(run), tiles=_tiles(run, insight), learning=_learning(run, insight),
                     classes=_classes(insight), calibration=_calibration(insight), mistakes=_mistakes(insight),
                     regression=_regression(insight), weights=_weights(insight), maps=_maps(insight),
                     layers=_layers(run, insight), profile=_profile(insight), settings=_settings(run),
                     evaluated=_evaluated(run, insight))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError) as e:
        raise DataError(f"{run.path}: result.json, history.jsonl or insight.json is not as nncore wrote it: "
                        f"{type(e).__name__}: {e}") from e


def compare_html(runs: list[Run]) -> str:
    """Several runs side by side. Raises DataError for malformed files, UsageError for fewer than two runs."""
    found = compare(runs)
    named = list(zip([r["name"] for r in found["runs"]], (r.history for r in runs), strict=True))
    figures = [charts.overlaid(named, "loss", "Loss"), charts.overlaid(named, "accuracy", "Accuracy")]
    rows = [(key, title, [shown_figure(key, r["figures"]) for r in found["runs"]]) for key, title, _ in FIGURES]
    return document("compare.html", title=f"{len(runs)} runs", found=found, figures=[f for f in figures if f], rows=rows)


def shown_figure(key: str, figures: dict) -> str:
    """A figure of a comparison as text; the test accuracy with its standard error."""
    value = figures[key]
    if key == "test_accuracy" and figures["standard_error"] is not None:
        return f"{text.percent(value)} \u00b1 {text.percent(figures['standard_error'])}"
    if key.endswith("accuracy"):
        return text.percent(value)
    if key == "seconds":
        return text.seconds(value)
    return text.decimal(round(value) if key == "images_per_s" and value is not None else value)


# ---- head ------------------------------------------------------------------------------------------------------------


def _dataset(run: Run) -> str:
    asked = run.config.get("data.name") or run.config.get("data.folder", "run")
    name = (run.result or {}).get("dataset") or Path(str(asked)).name
    return harmless(name)


def _network(run: Run) -> str:
    """784-256-10 for dense layers alone, else the layers that have weights."""
    layers = (run.insight or {}).get("layers") or []
    weighty = [layer for layer in layers if layer["parameters"]]
    if weighty and all(layer["name"].endswith(" Dense") for layer in weighty):
        first = 1
        for n in run.insight["image_shape"]:
            first *= int(n)
        return "-".join(str(n) for n in [first, *(layer["output"][-1] for layer in weighty)])
    if weighty:
        return harmless(f"{run.config.get('model.name', 'network')}, {len(weighty)} layers with weights")
    return harmless(text.setting(run.config.get("model.name", "network")))


def _evaluated(run: Run, insight: dict) -> dict:
    """Which samples the figures are about."""
    part = insight.get("split", "test")
    return {"split": part, "n": insight.get("n"), "image": (insight.get("maps") or {}).get("index")}


def _tiles(run: Run, insight: dict) -> list[dict]:
    """The figures that stand first: name, value, a line below."""
    result, found = run.result or {}, insight.get("evaluation") or {}
    test = number(result.get("test_accuracy"))
    tiles = []
    if test is None and number(found.get("accuracy")) is not None and insight.get("split") == "test":
        test = found["accuracy"]
    if test is not None:
        error = f"\u00b1 {text.percent(sqrt(test * (1 - test) / run.n_test))} std. error" if run.n_test else ""
        tiles.append({"name": "Test accuracy", "value": text.percent(test), "note": error, "large": True})
    if result.get("verdict") in ("PASS", "BELOW_THRESHOLD"):
        good = result["verdict"] == "PASS"
        tiles.append({"name": "Threshold " + text.percent(result.get("threshold")), "value": "Pass" if good else "Below",
                      "note": "", "state": "good" if good else "bad"})
    best = [r for r in run.history if number(r.get("val_accuracy")) is not None]
    if best:
        top = max(best, key=lambda r: r["val_accuracy"])
        tiles.append({"name": "Validation accuracy", "value": text.percent(top["val_accuracy"]),
                      "note": f"best, epoch {top['epoch']}"})
    if number(result.get("train_accuracy")) is not None:
        tiles.append({"name": "Training accuracy", "value": text.percent(result["train_accuracy"]), "note": ""})
    if number(found.get("loss")) is not None:
        tiles.append({"name": f"{insight.get('split', 'test').capitalize()} loss", "value": text.decimal(found["loss"]),
                      "note": "mean per sample"})
    if number(result.get("parameters")) is not None:
        tiles.append({"name": "Parameters", "value": text.decimal(int(result["parameters"])), "note": ""})
    took = number((result.get("seconds") or {}).get("train"))
    if took is not None:
        speed = [r["images_per_s"] for r in run.history if number(r.get("images_per_s"))]
        tiles.append({"name": "Training time", "value": text.seconds(took),
                      "note": f"{text.decimal(round(sum(speed) / len(speed)))} images/s" if speed else ""})
    return tiles


# ---- learning and layers ---------------------------------------------------------------------------------------------


def _learning(run: Run, insight: dict) -> dict:
    rate = insight.get("schedule")
    figures = [charts.learning(run.history, "loss", "Loss", rate), charts.learning(run.history, "accuracy", "Accuracy", rate)]
    validated = any(number(r.get("val_loss")) is not None for r in run.history)
    return {"figures": [f for f in figures if f], "validated": validated, "epochs": len(run.history),
            "planned": run.config.get("train.epochs"), "rows": _epoch_rows(run.history)}


def _epoch_rows(history: list[dict]) -> list[dict]:
    """The table behind the curves: at most 25 rows."""
    return charts.thin(history, 24)


def _layers(run: Run, insight: dict) -> dict:
    watched = [r for r in run.history if isinstance(r.get("layers"), list)]
    names = [harmless(layer["name"]) for layer in (watched[-1]["layers"] if watched else [])]
    shares = "share of units, or channels, that are zero on the whole batch"
    wanted = [("activation_rms", "Activations", "root mean square of each layer's output", False),
              ("gradient_rms", "Gradients", "root mean square over each layer's parameters", False),
              ("update_ratio", "Updates", "change of the weights over an epoch, relative to their norm", False),
              ("dead", "Dead units", shares, True)]
    drawn = (charts.layers(watched, key, title, note, names, share) for key, title, note, share in wanted)
    figures, legend = [f for f in drawn if f], []
    if len(names) > len(charts.SERIES):  # one legend for all
        legend = [(n, c, False) for n, c in zip(names, charts.colours(len(names)), strict=True)]
        for f in figures:
            f.legend = []
    table = [{**e, "name": harmless(e["name"]), "settings": harmless(e["settings"], 90)} for e in insight.get("layers") or []]
    return {"figures": figures, "legend": legend, "table": table}


# ---- classes ---------------------------------------------------------------------------------------------------------


def _classes(insight: dict) -> dict | None:
    table = insight.get("confusion")
    if not table:
        return None
    names = [harmless(n) for n in insight["classes"]]
    n = len(table)
    if len(names) != n or any(len(row) != n for row in table):
        raise ValueError(f"confusion: {n} rows for {len(names)} classes")
    totals = [sum(row) for row in table]
    columns = [sum(row[c] for row in table) for c in range(n)]
    rows = []
    for c in range(n):
        precision = table[c][c] / columns[c] if columns[c] else None
        recall = table[c][c] / totals[c] if totals[c] else None
        both = (precision or 0) + (recall or 0)
        rows.append({"name": names[c], "precision": precision, "recall": recall, "support": totals[c],
                     "f1": 2 * (precision or 0) * (recall or 0) / both if both else None if totals[c] == 0 else 0.0})
    mistakes = ((-table[t][p], t, p) for t in range(n) for p in range(n) if t != p and table[t][p])
    pairs = [{"true": names[t], "predicted": names[p], "count": -k, "share": -k / totals[t]}
             for k, t, p in sorted(mistakes)[:PAIRS]]
    numbered = any(len(name) > 4 for name in names)
    found = {"names": names, "rows": rows, "numbered": numbered, "total": sum(totals), "macro": _macro(rows),
             "pairs": pairs}
    if n > MOST_CLASSES:
        return {**found, "picture": _confusion_picture(table, totals)}
    # The diagonal and the mistakes have scales of their own: a mistake of 5 % would not be seen beside 95 %.
    most = max(1, 0.05 * max(totals), *(table[t][p] for t in range(n) for p in range(n) if t != p))
    cells = [[{"count": v, "diagonal": t == p, "depth": (v / totals[t] if totals[t] else 0) if t == p else v / most,
               "share": v / totals[t] if totals[t] else None} for p, v in enumerate(row)] for t, row in enumerate(table)]
    return {**found, "cells": cells, "total_true": totals}


def _macro(rows: list[dict]) -> dict:
    """Unweighted means over the classes that have the figure."""
    found = {}
    for key in ("precision", "recall", "f1"):
        values = [r[key] for r in rows if r[key] is not None]
        found[key] = sum(values) / len(values) if values else None
    return found


def _confusion_picture(table: list[list[int]], totals: list[int]) -> dict:
    """Shares of each row as a picture, the square root taken so that few mistakes are seen."""
    data = bytes(round(254 * sqrt(v / total)) if total else 0 for row, total in zip(table, totals, strict=True) for v in row)
    n = len(table)
    scale = max(1, 520 // n)
    return {"uri": png.uri(png.png(n, n, 1, data, "sequential")), "size": n * scale}


def _calibration(insight: dict) -> dict | None:
    found = insight.get("calibration")
    if not found or not any(b["count"] for b in found["bins"]):
        return None
    figures = [charts.reliability(found), charts.abstaining(found)]
    counted = [b for b in found["bins"] if b["count"]]
    sure = sum(b["confidence"] * b["count"] for b in counted) / sum(b["count"] for b in counted)
    right = sum(b["accuracy"] * b["count"] for b in counted) / sum(b["count"] for b in counted)
    objective = (insight.get("evaluation") or {}).get("objective")
    trained = objective is None or str(objective).startswith("CrossEntropy")
    return {"figures": figures, "objective": None if trained else harmless(objective), "confidence": sure, "accuracy": right,
            "ece": found["ece"], "brier": found["brier"], "log_loss": found["log_loss"]}


def _regression(insight: dict) -> dict | None:
    found = insight.get("regression")
    if not found or not found["pairs"]:
        return None
    return {"figures": [charts.scatter(found["pairs"])], "rmse": found["rmse"], "mae": found["mae"]}


# ---- pictures --------------------------------------------------------------------------------------------------------


def _mistakes(insight: dict) -> dict | None:
    wrong = insight.get("wrong")
    if wrong is None:
        return None
    names = [harmless(n) for n in insight["classes"]]
    return {"worst": _cards(insight["worst"], names), "uncertain": _cards(insight["uncertain"], names), "count": wrong["count"],
            "shown": len(wrong["index"]), "n": insight["n"], "groups": _groups(wrong, names)}


def _uris(images: dict | None, n: int) -> list[str | None]:
    return png.each(images) if images else [None] * n


def _cards(entry: dict, names: list[str]) -> list[dict]:
    """Samples with the bars of their largest probabilities, the true class always among them."""
    found = []
    for i, uri in enumerate(_uris(entry["images"], len(entry["index"]))):
        row, true, predicted = entry["probabilities"][i], entry["true"][i], entry["predicted"][i]
        order = sorted(range(len(row)), key=lambda c: -row[c])
        shown = order[:3] if true in order[:3] or true >= len(row) else [*order[:2], true]
        bars = [{"name": names[c], "p": row[c], "true": c == true, "predicted": c == predicted} for c in shown]
        found.append({"index": entry["index"][i], "true": names[true], "predicted": names[predicted], "right": true == predicted,
                      "uri": uri, "bars": bars})
    return found


def _groups(wrong: dict, names: list[str]) -> list[dict]:
    """The wrong samples by pair of classes, the most frequent pair first, the surest mistake first in each."""
    uris = _uris(wrong["images"], len(wrong["index"]))
    groups: dict[tuple[int, int], list[dict]] = {}
    for i, index in enumerate(wrong["index"]):
        entry = {"index": index, "uri": uris[i], "confidence": wrong["confidence"][i]}
        groups.setdefault((wrong["true"][i], wrong["predicted"][i]), []).append(entry)
    ordered = sorted(groups.items(), key=lambda g: (-len(g[1]), g[0]))
    return [{"true": names[t], "predicted": names[p], "images": sorted(entries, key=lambda e: -e["confidence"])}
            for (t, p), entries in ordered]


def _weights(insight: dict) -> dict | None:
    """First-layer weights as one sheet; colours as they are for three channels, else a diverging palette."""
    found = insight.get("filters")
    if not found:
        return None
    n, h, w, c = found["images"]["shape"]
    columns = _columns(n)
    zoom = max(1, min(round(44 / h), (1150 // columns - 2) // w))
    uri, width, _ = png.sheet(found["images"], columns, "diverging" if c == 1 else None, zoom=zoom)
    return {"uri": uri, "width": width, "units": found["units"], "shown": n,
            "scale": found["scale"], "kind": found["kind"], "window": f"{h} \u00d7 {w}", "layer": harmless(found["layer"]),
            "colour": c == 3}


def _columns(n: int) -> int:
    """How many pictures stand side by side: without a rest if that gives a sheet two to four times as wide as high."""
    wanted = sqrt(2.5 * n)
    whole = [d for d in range(1, n + 1) if n % d == 0 and 0.65 < d / wanted < 1.55]
    return n if n <= 8 else min(whole, key=lambda d: abs(d - wanted)) if whole else ceil(wanted)


def _maps(insight: dict) -> dict | None:
    """What each layer makes of one sample: a sheet of pictures per layer."""
    found = insight.get("maps")
    if not found or not found["layers"]:
        return None
    steps = []
    for layer in found["layers"]:
        n, h, w, _ = layer["images"]["shape"]
        zoom = max(1, min(round((44 if n > 1 else 130) / max(h, w)), 24))
        uri, width, _ = png.sheet(layer["images"], max(1, min(8, 370 // (w * zoom + 1))), "sequential", zoom=zoom)
        steps.append({"name": harmless(layer["name"]), "shape": layer["shape"], "low": layer["low"], "high": layer["high"],
                      "uri": uri, "width": width, "shown": n, "whole": layer["shape"][-1] if n > 1 else n})
    names = [harmless(n) for n in insight.get("classes", [])]
    true = found.get("true")
    chances = found.get("probabilities") or []
    top = sorted(range(len(chances)), key=lambda c: -chances[c])[:4]
    bars = [{"name": names[c], "p": chances[c], "true": c == true} for c in top]
    return {"index": found["index"], "bars": bars, "shape": insight["image_shape"], "layers": steps,
            "image": png.each(found["image"])[0] if found["image"] else None,
            "true": names[true] if isinstance(true, int) and 0 <= true < len(names) else None}


# ---- time and provenance ---------------------------------------------------------------------------------------------


def _profile(insight: dict) -> dict | None:
    found = insight.get("profile")
    if not found or not found["layers"]:
        return None
    rows = []
    for layer in found["layers"]:
        parts = [layer[f"{k}_us"] for k in ("forward", "backward", "update")]
        rows.append({**layer, "name": harmless(layer["name"]), "parts": parts, "us": sum(parts)})
    total = sum(r["us"] for r in rows) or 1.0
    longest = max(r["us"] for r in rows) or 1.0
    for r in rows:
        r["share"], r["bars"] = r["us"] / total, [p / longest for p in r["parts"]]
        r["gflops"] = 1e-3 * r["mflop"] / (1e-6 * r["us"]) if r["us"] else None
    return {"rows": rows, "total": total, "batch": found["batch"], "steps": found["steps"], "threads": found["threads"],
            "isa": harmless(found["isa"]), "mflop": sum(r["mflop"] for r in rows)}


def _settings(run: Run) -> dict:
    """config.toml as it stands, and what result.json and insight.json say of where it ran."""
    result, insight = run.result or {}, run.insight or {}
    elsewhere = ("run.fingerprint", "run.numerics", "run.version")
    config = [(harmless(k), harmless(text.setting(v), 200)) for k, v in run.config.items() if k not in elsewhere]
    where = [("nncore", run.config.get("run.version")), ("numerics id", run.config.get("run.numerics")),
             ("instruction set", result.get("isa")), ("threads", result.get("threads")), ("math mode", result.get("math")),
             ("peak memory", f"{result['peak_rss_bytes'] / 1e6:,.0f} MB" if number(result.get("peak_rss_bytes")) else None)]
    seconds = result.get("seconds") or {}
    where += [(f"seconds to {k}" if k != "total" else "seconds in all", v) for k, v in seconds.items() if k in
              ("load", "train", "predict", "total")]
    hashes = [("weights", result.get("weights_sha256")), ("model.safetensors", insight.get("model_sha256")),
              ("data (fingerprint)", run.config.get("run.fingerprint"))]
    return {"config": config, "where": [(k, harmless(text.setting(v))) for k, v in where if v is not None],
            "hashes": [(k, harmless(v, 70)) for k, v in hashes if v],
            "tape": "\n".join(harmless(line, 400) for line in run.tape.split("\n")).rstrip("\n")}
