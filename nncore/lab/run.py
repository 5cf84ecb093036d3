"""Experiments by name: parameters from text, a run as plain data, several at a time in processes of their own.

    record = measure("summation", {"seeds": 50})
    record["accepted"], record["seconds"]

A record is what `nncore lab --json` prints of an experiment and what its page is made of; docs/interfaces.md names the keys.
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from math import isfinite

from nncore.errors import UsageError
from nncore.lab import find
from nncore.lab.experiment import Experiment, Finding, Result

SCHEMA = "nncore.lab/1"


# ---- parameters --------------------------------------------------------------------------------------------------------


def defaults(experiment: Experiment) -> dict:
    """The parameters of an experiment and what they are without being told."""
    return {name: p.default for name, p in inspect.signature(experiment.run).parameters.items()}


def parse(experiment: Experiment, given: Sequence[str]) -> dict:
    """Parameters from texts such as "n=256,4096", converted by the types of the defaults. Raises UsageError."""
    known, found = defaults(experiment), {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in known:
            raise UsageError(f"{experiment.name}: no parameter {text!r}: give NAME=VALUE with one of "
                             f"{', '.join(f'{k}={shown(v)}' for k, v in known.items()) or 'none'}")
        found[name] = _converted(f"{experiment.name}: {name}", value.strip(), known[name])
    return found


def shown(value) -> str:
    """A parameter as `--set` takes it."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _converted(what: str, text: str, default):
    if isinstance(default, (tuple, list)):
        model = default[0] if default else ""
        return tuple(_converted(what, part.strip(), model) for part in text.split(","))
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise UsageError(f"{what} is true or false, got {text!r}")
        return text.lower() == "true"
    if not isinstance(default, (int, float)):
        return text
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    whole = isinstance(default, int)
    if not isfinite(value) or (whole and value != int(value)):
        raise UsageError(f"{what} takes {'whole numbers' if whole else 'finite numbers'}, got {text!r}")
    return int(text) if whole and text.lstrip("+-").isdigit() else int(value) if whole else value


# ---- a run -------------------------------------------------------------------------------------------------------------


def measure(name: str, given: dict | None = None) -> dict:
    """Run an experiment; what it found as plain data. Raises what the experiment raises."""
    experiment, given = find(name), given or {}
    started = time.perf_counter()
    return _record(experiment, given, experiment(**given), time.perf_counter() - started)


def _record(experiment: Experiment, given: dict, result: Result, seconds: float) -> dict:
    findings = [asdict(f) for f in result.findings]
    return {
        **{key: getattr(experiment, key) for key in ("name", "code", "title", "chapter", "formula", "theory", "source")},
        "parameters": {k: shown(v) for k, v in {**defaults(experiment), **given}.items()},
        "accepted": result.accepted, "expected": [f["expected"] for f in findings],
        "measured": [f["measured"] for f in findings], "seconds": seconds, "findings": findings,
        "pictures": [{**asdict(p), "curves": [{**asdict(c), "x": list(c.x), "y": list(c.y)} for c in p.curves]}
                     for p in result.pictures],
        "tables": [{"title": t.title, "head": list(t.head), "rows": [list(r) for r in t.rows]} for t in result.tables],
        "missing": list(result.missing),
    }


def attempt(name: str, given: dict) -> dict:
    """As `measure`; an experiment that breaks is a finding that does not hold, so that it costs no other one its result."""
    try:
        return measure(name, given)
    except UsageError:
        raise
    except Exception as e:
        broken = Finding("the experiment ran to its end", "no error", f"{type(e).__name__}: {e}", False)
        return _record(find(name), given, Result([broken]), 0.0)


def measure_all(jobs: Sequence[tuple[str, dict]], processes: int, tell: Callable[[dict], None]) -> list[dict]:
    """The records of (name, parameters) pairs, in their order; `tell` hears of each as it comes.

    With several processes each experiment has one thread: the bits are the same, and times are those of one core.
    """
    found = []
    for record in map(attempt, *zip(*jobs, strict=True)) if processes < 2 else _spread(jobs, processes):
        tell(record)
        found.append(record)
    order = {name: i for i, (name, _) in enumerate(jobs)}
    return sorted(found, key=lambda r: order[r["name"]])


def _spread(jobs: Sequence[tuple[str, dict]], processes: int) -> Iterator[dict]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    context = multiprocessing.get_context("spawn")  # a fork would copy threads that wait for each other
    pool = ProcessPoolExecutor(processes, context, _one_thread)
    try:
        for future in as_completed([pool.submit(attempt, *job) for job in jobs]):
            yield future.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    pool.shutdown()


def _one_thread() -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us ends us
    os.environ["NNCORE_THREADS"] = "1"
