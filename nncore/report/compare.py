"""Runs side by side: the settings that differ, and the figures they end with."""

from __future__ import annotations

from math import sqrt

from nncore.errors import DataError, UsageError
from nncore.report.read import Run, harmless, number

SCHEMA = "nncore.compare/1"
# What a difference in these says nothing about.
_PASSIVE = {"run.fingerprint", "run.version"}
# Figures: key, heading, whether more is better (None: neither).
FIGURES = (("test_accuracy", "test accuracy", True), ("train_accuracy", "training accuracy", True),
           ("best_val_accuracy", "best validation accuracy", True), ("val_loss", "validation loss, at its best", False),
           ("loss", "training loss, last epoch", False), ("epochs_done", "epochs done", None), ("parameters", "parameters", None),
           ("seconds", "time of training", None), ("images_per_s", "images per second", None))


def compare(runs: list[Run]) -> dict:
    """{schema, runs: [{name, path, figures, weights_sha256}], settings: {key: [value per run]} of keys that differ}.

    Raises UsageError for fewer than two runs, DataError for malformed files.
    """
    if len(runs) < 2:
        raise UsageError("compare takes two runs or more: nncore compare RUN RUN")
    try:
        entries = [{"name": name, "path": str(run.path), "figures": _figures(run), "weights_sha256":
                    (run.result or {}).get("weights_sha256")} for name, run in zip(_names(runs), runs, strict=True)]
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise DataError(f"result.json or history.jsonl is not as nncore wrote it: {type(e).__name__}: {e}") from e
    keys = dict.fromkeys(k for run in runs for k in run.config)
    settings = {k: [run.config.get(k) for run in runs] for k in keys if k not in _PASSIVE}
    differing = {k: v for k, v in settings.items() if any(x != v[0] for x in v[1:])}
    # The fingerprint holds the mean of the samples that were trained on: it says the same only for the same validation.
    same = ["data.name", "data.folder"] + (["run.fingerprint"] if "data.validation" not in differing else [])
    data = {tuple(str(run.config.get(k)) for k in same) for run in runs}
    return {"schema": SCHEMA, "runs": entries, "settings": differing, "same_data": len(data) == 1,
            "best": {key: _best([e["figures"][key] for e in entries], more) for key, _, more in FIGURES}}


def _names(runs: list[Run]) -> list[str]:
    """The folders' names; numbered where two are the same."""
    names = [run.name for run in runs]
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]


def _figures(run: Run) -> dict:
    result, history = run.result or {}, run.history

    def column(key: str) -> list[float]:
        return [v for r in history if (v := number(r.get(key))) is not None]

    speed = column("images_per_s")
    accuracy = number(result.get("test_accuracy"))
    return {
        "test_accuracy": accuracy,
        "standard_error": sqrt(accuracy * (1 - accuracy) / run.n_test) if accuracy is not None and run.n_test else None,
        "train_accuracy": number(result.get("train_accuracy")),
        "best_val_accuracy": max(column("val_accuracy"), default=None), "val_loss": min(column("val_loss"), default=None),
        "loss": next(iter(column("loss")[-1:]), None), "epochs_done": len(history),
        "parameters": number(result.get("parameters")), "seconds": number((result.get("seconds") or {}).get("train")),
        "images_per_s": sum(speed) / len(speed) if speed else None,
    }


def _best(values: list, more: bool | None) -> int | None:
    """Index of the best value, None where there is none, or no choice."""
    there = [v for v in values if v is not None]
    if more is None or len(there) < 2 or min(there) == max(there):
        return None
    return values.index(max(there) if more else min(there))


__all__ = ["FIGURES", "SCHEMA", "compare", "harmless"]
