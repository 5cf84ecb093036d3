"""One submission, from archive to verdict. A fault of ours is GRADER_FAULT: never a mark, and never the end of a batch."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nncore.assign import inputs, leakage, preflight, sandbox
from nncore.assign.archive import BadArchive, unpack
from nncore.assign.calibrate import Clock
from nncore.assign.scratch import workspace
from nncore.assign.spec import Assignment, Limits
from nncore.assign.verdict import FAULT, Result, of_stop
from nncore.data.dataset import Dataset
from nncore.errors import DataError, NNError
from nncore.train.predictions import read_predictions, score

_COMPILER = re.compile(rb"^\S+:\d+:(\d+:)? (fatal )?error:|^make(\[\d+\])?: \*\*\*|collect2: error|: undefined reference to|"
                       rb"^\S*(cc|cc1|cc1plus|clang|\+\+)(-\d+)?: (fatal )?error:|"
                       rb"^error: (could not|file not found)|^CMake Error|^\[ERROR\] |(?<!: module): command not found$|"
                       rb"^\S+: line \d+: \S*(cc|\+\+|clang|make|javac|mvn): No such file or directory$", re.M)
_COLOUR = re.compile(rb"\x1b\[[\d;?]*[A-Za-z]")  # Maven and others print it into pipes too
_NETWORK = re.compile(rb"name resolution|[Uu]nknown host|[Cc]ould not resolve host|Network is unreachable|in offline mode")
NEAR = 0.1  # of the time limit: a run that ends so little after it is run again
RERUNS = 2
SLOWEST = 0.25  # calibrated seconds a second is worth: on a slower machine nobody waits longer
_FRAME = re.compile(r"\s+(at [\w.$/<>]+\(|\.\.\. \d+ more$)")  # of a Java stack trace: what went wrong is above it
_NO_DATA = re.compile(rb"\bdata/.*No such file|No such file.*\bdata/")
_EXECUTABLE = 126  # the shell found a command and could not run it


@dataclass(frozen=True)
class Ground:
    """What every submission of an assignment is judged on. garbled: what stands for test labels in the box; scratch: where
    folders for the while go; leakage: whether passing projects are run again on changed test data."""

    assignment: Assignment
    dataset: Dataset
    truth: inputs.Truth
    data: Path
    garbled: bytes
    scratch: Path
    backend: str = "bwrap"
    clock: Clock | None = None
    leakage: bool = False


@dataclass(frozen=True)
class _Run:
    """A run and its time. used: seconds that count, in those of the assignment's clock, without what others took; speed: of the
    machine after it; unknown: it was ended while others had the processors, before its own time was over."""

    outcome: sandbox.Outcome
    used: float
    calibrated: float | None
    speed: float | None
    unknown: bool


@contextmanager
def prepared(assignment: Assignment, backend: str = "bwrap", calibrated: bool = True, leakage: bool | None = None):
    """The ground, its data in a folder for the while. Raises NNError if data or sandbox are not there."""
    found = inputs.dataset(assignment)
    with workspace() as folder:
        garbled = inputs.fill_box(assignment, found, folder / "data")
        yield Ground(assignment, found, inputs.truth(found), folder / "data", garbled, folder, backend,
                     Clock(folder / "clock", backend) if calibrated else None,
                     assignment.rules.leakage if leakage is None else leakage)


def judge(submission: str | os.PathLike, ground: Ground, name: str | None = None, slot: int = 0, tell=None) -> Result:
    """The result of one zip or folder. tell(stage, Watch or None) hears of progress. Never raises but for interruption."""
    name = Path(submission).name if name is None else name
    try:
        with tempfile.TemporaryDirectory(prefix="project-", dir=ground.scratch, ignore_cleanup_errors=True) as folder:
            return _Case(name, ground, Path(folder), slot, tell or (lambda *_: None)).judge(Path(submission))
    except InterruptedError:
        raise
    except Exception as e:  # whatever it is, the batch goes on
        return Result(name, FAULT, f"{type(e).__name__}: {e}", sandbox=ground.backend)


class _Case:
    """One submission on its way."""

    def __init__(self, name: str, ground: Ground, folder: Path, slot: int, tell):
        self.name, self.ground, self.folder, self.slot, self.tell = name, ground, folder, slot, tell
        self.project, self.variants = folder / "project", 0

    def judge(self, submission: Path) -> Result:
        """From archive to result."""
        ground, assignment = self.ground, self.ground.assignment
        self.tell("unpack", None)
        try:
            unpack(submission, self.project)
        except BadArchive as e:
            return Result(self.name, "BAD_ARCHIVE", str(e), sandbox=ground.backend)
        self.folder.chmod(0o755)
        self.tell("look", None)
        found = preflight.look(self.project, assignment)
        findings = [f.plain() for f in found]
        if errors := [f for f in found if f.level == "error"]:
            return Result(self.name, "RULE_VIOLATION", str(errors[0]).removeprefix("error: "), findings=findings,
                          sandbox=ground.backend)
        preflight.prepare(self.project, assignment)
        result, train = self._run_in_time()
        result.findings = findings + result.findings
        if errors := [f for f in result.findings[len(findings):] if f["level"] == "error"]:
            result.verdict, result.detail = "RULE_VIOLATION", "{file}: {message}".format(**errors[0])
        if result.verdict in ("PASS", "BELOW_THRESHOLD"):
            self._look_for_leakage(result, train)
        return result

    def _run(self, data: Path, wall: float, stage: str = "run") -> sandbox.Outcome:
        assignment = self.ground.assignment
        limits = msgspec.structs.replace(assignment.limits, wall=wall)
        job = sandbox.Job(self.project, data, assignment.run.command, assignment.outputs, limits, self.slot)
        self.tell(stage, None)
        return sandbox.run(job, self.ground.backend, lambda watch: self.tell(stage, watch))

    def _run_in_time(self) -> tuple[Result, bytes]:
        """The run that counts, and what it predicted for the training set: the first that is no near miss of the time limit."""
        limits, runs, why = self.ground.assignment.limits, [], "it was near the limit"
        for left in range(RERUNS, -1, -1):
            run = self._timed_run("run" if left == RERUNS else "run again")
            outcome = run.outcome
            self.tell("count", None)
            result, train = _verdict(self.name, outcome, self.ground, self.folder)
            if not outcome.stopped and not outcome.fault and run.used > limits.wall:
                late = f"{run.used:.1f} s{_without(outcome)}; the limit is {limits.wall:g} s"
                result, train = Result(self.name, "TIME_LIMIT", late), b""
            again = left == RERUNS and outcome.stopped == "time" and (run.unknown or self._disturbed(outcome, run.speed))
            if run.unknown and not again:
                result = Result(self.name, FAULT, f"the machine was too busy: of {outcome.seconds:.0f} s, others took "
                                                  f"{outcome.lost:.0f} s; try again when less runs here")
            _measured(result, run, self.ground.assignment)
            runs.append({"seconds": outcome.seconds, "lost": outcome.lost, "calibrated": run.calibrated,
                         "verdict": "TIME_LIMIT" if again else result.verdict})
            if again:
                why = "others used the machine"
            elif outcome.stopped or result.verdict != "TIME_LIMIT":
                break
        if len(runs) > 1:
            result.runs = runs
            result.detail += f"; run {len(runs)} times, for {why}"
        return result, train

    def _timed_run(self, stage: str) -> _Run:
        """One run on the assignment's data, and what its time is worth."""
        clock, limits = self.ground.clock, self.ground.assignment.limits
        before = clock and clock.speed(self.slot)
        worth = max(before, SLOWEST) if before and limits.clock == "calibrated" else 1.0
        outcome = self._run(self.ground.data, limits.wall / worth * (1 + NEAR), stage)
        after = clock and clock.speed(self.slot, fresh=True)
        alone = outcome.seconds - outcome.lost
        calibrated = alone * (before + after) / 2 if before and after else None
        used = calibrated if calibrated is not None and limits.clock == "calibrated" else alone
        unknown = outcome.stopped == "time" and alone <= limits.wall / worth
        return _Run(outcome, used, calibrated, after, unknown)

    def _disturbed(self, outcome: sandbox.Outcome, speed: float | None) -> bool:
        """Whether a run that worked and was not done in time had a machine slower than it has shown to be."""
        clock = self.ground.clock
        return clock is not None and clock.slowed(speed) and outcome.cpu + outcome.lost >= 0.5 * outcome.seconds

    def _look_for_leakage(self, result: Result, train: bytes) -> None:
        """Random test labels cost nothing to look at; changed test data costs more runs, and is for those who pass."""
        ground = self.ground
        classes = ground.truth.classes
        if leakage.follows_labels(result.predictions, ground.garbled, classes):
            found = leakage.Leakage("labels", 1, leakage.LEVEL_LABELS, [leakage.SENTENCES["labels"]])
        elif ground.leakage and result.verdict == "PASS":
            try:
                found = leakage.Check(ground.dataset, ground.garbled, self._again).run((train, result.predictions))
            except leakage.Stopped as e:
                found = leakage.Leakage(f"not checked: {e}")
        else:
            return
        result.leakage = found.plain()
        if found.found:
            result.verdict, result.detail = "LEAKAGE", "; ".join(found.found)

    def _again(self, vectors, labels: bytes) -> leakage.Predictions:
        """Predictions on other test data. Raises Stopped."""
        ground, data = self.ground, self.ground.data
        if vectors is not None:
            self.variants += 1
            data = self.folder / f"data{self.variants}"
            inputs.fill_variant(ground.assignment, ground.data, data, vectors, labels)
        outcome = self._run(data, ground.assignment.limits.wall * (1 + NEAR), "look for leakage")
        if outcome.fault:
            raise OSError(outcome.fault)
        if outcome.stopped:
            raise leakage.Stopped(f"on changed test data it reached a limit: {outcome.stopped}")
        try:
            return _predictions(outcome, ground, self.folder)
        except (DataError, KeyError) as e:
            raise leakage.Stopped(f"on changed test data{f' it failed: exit code {outcome.code}' if outcome.code else f': {e}'}"
                                  ) from None


def _without(outcome: sandbox.Outcome) -> str:
    """What is said of the seconds that do not count."""
    return f" without {outcome.lost:.1f} s that others took" if outcome.lost > 0.02 * outcome.seconds else ""


def _measured(result: Result, run: _Run, assignment: Assignment) -> None:
    outcome = run.outcome
    result.seconds, result.lost, result.calibrated = outcome.seconds, outcome.lost, run.calibrated
    result.cpu, result.memory, result.processes, result.disk = outcome.cpu, outcome.memory, outcome.processes, outcome.disk
    result.sandbox, result.enforced = outcome.backend, outcome.enforced
    result.output = _printed(outcome)
    found = preflight.linked(outcome.linked, assignment)
    if outcome.code and result.verdict in ("PASS", "BELOW_THRESHOLD"):
        found.append(preflight.Finding("warning", f"{_how(outcome)}; its predictions are complete and counted",
                                       assignment.run.command))
    result.findings = [f.plain() for f in found]


def _verdict(name: str, outcome: sandbox.Outcome, ground: Ground, folder: Path) -> tuple[Result, bytes]:
    """The result of a run, and what it predicted for the training set."""
    if reason := _unfinished(name, outcome, ground, folder):
        return reason, b""
    try:
        train, test = _predictions(outcome, ground, folder)
    except DataError as e:
        return Result(name, "BAD_FORMAT", str(e)), b""
    truth = ground.truth
    counted = score(test, truth.test, ground.assignment.pass_.threshold)
    return Result(name, counted.verdict, str(counted).partition(": ")[2], counted.accuracy, counted.standard_error,
                  counted.correct, counted.n, score(train, truth.train).accuracy, predictions=test), train


def _unfinished(name: str, outcome: sandbox.Outcome, ground: Ground, folder: Path) -> Result | None:
    """Why there is nothing to count, None if there is."""
    assignment, limits = ground.assignment, ground.assignment.limits
    if outcome.fault:
        return Result(name, FAULT, outcome.fault)
    if outcome.stopped:
        allowed = {"time": f"{limits.wall:g} s", "cpu": f"{limits.cpu:g} s of processor time", "memory": f"{limits.memory_mb} MB",
                   "processes": f"{limits.processes} processes and threads", "output": f"{limits.output_kb:,} kB printed",
                   "disk": f"{limits.disk_mb} MB or {limits.files} files written"}[outcome.stopped]
        return Result(name, of_stop(outcome.stopped), f"stopped at the limit of {allowed}")
    if outcome.code:
        # Scripts go on when the predictions are written: to count them with an evaluator that was not handed in, say.
        return None if _complete(outcome, ground, folder) else _failed(name, outcome, assignment.run.command)
    for wanted in assignment.outputs:
        if wanted in outcome.refused:
            return Result(name, "BAD_FORMAT", f"{wanted}: {outcome.refused[wanted]}; write a plain file")
        if wanted not in outcome.files:
            # A script without `set -e` goes on when its compiler fails, and ends well.
            if not outcome.files and (said := _complaint(outcome.output)):
                return Result(name, "BUILD_FAILED", f"{wanted} is not there, for building failed: {said}")
            there = f"; what is there: {', '.join(outcome.astray)}" if outcome.astray else ""
            return Result(name, "MISSING_OUTPUT", f"{wanted} is not in the project's root{there}")
    return None


def _complaint(output: bytes) -> str:
    """The first line in which a compiler, or the shell in its place, says what is wrong, and whether it asked for a network."""
    output = _COLOUR.sub(b"", output)
    found = _COMPILER.search(output)
    if found is None:
        return ""
    begin, end = output.rfind(b"\n", 0, found.start() + 1) + 1, output.find(b"\n", found.end())
    said = output[begin : end if end >= 0 else None].decode("utf-8", "replace").strip()[:200]
    return said + ("; the sandbox has no network to fetch anything from" if _NETWORK.search(output) else "")


def _predictions(outcome: sandbox.Outcome, ground: Ground, folder: Path) -> tuple[bytes, bytes]:
    """The two files, parsed. Raises DataError."""
    truth = ground.truth
    train, test = (_parse(folder, wanted, outcome.files[wanted], len(labels), truth.classes)
                   for wanted, labels in zip(ground.assignment.outputs, (truth.train, truth.test), strict=True))
    return train, test


def _complete(outcome: sandbox.Outcome, ground: Ground, folder: Path) -> bool:
    try:
        return bool(_predictions(outcome, ground, folder))
    except (DataError, KeyError):
        return False


def _printed(outcome: sandbox.Outcome) -> str:
    return _COLOUR.sub(b"", outcome.output).decode("utf-8", "replace")


def _how(outcome: sandbox.Outcome) -> str:
    """How a run ended, and the last it said of that."""
    code = outcome.code
    last = [line.strip() for line in _printed(outcome).splitlines() if line.strip() and not _FRAME.match(line)][-1:]
    return ((f"ended by signal {code - 128}" if 128 < code < 193 else f"exit code {code}")
            + (f"; last line: {last[0][:200]}" if last else "; it printed nothing"))


def _failed(name: str, outcome: sandbox.Outcome, command: str) -> Result:
    if not outcome.files and (said := _complaint(outcome.output)):
        how = _how(outcome).partition(";")[0]
        return Result(name, "BUILD_FAILED", f"{how}; building failed: {said}")
    detail = _how(outcome)
    if _NO_DATA.search(outcome.output):
        detail += f"; data/ is there, in the project's root, where {command} begins: does it change folder?"
    return Result(name, "BUILD_FAILED" if outcome.code == _EXECUTABLE else "RUN_FAILED", detail)


def _parse(folder: Path, name: str, text: bytes, n: int, classes: int) -> bytes:
    """Predictions out of bytes, by the parser of `nncore score`. Raises DataError without a path of ours in it."""
    if len(text) > 6 * n + 64:
        raise DataError(f"{name}: {len(text):,} bytes are too many for {n:,} lines of one class each")
    path = folder / name
    path.write_bytes(text)
    try:
        return read_predictions(path, n, classes)
    except DataError as e:
        raise DataError(str(e).replace(str(path), name)) from None


def ready(backend: str) -> list[str]:
    """Try a backend: what it enforces. Raises NNError saying what to install if it does not work here."""
    if backend not in sandbox.BACKENDS:
        raise NNError(f"no sandbox {backend!r}; there are {', '.join(sandbox.BACKENDS)}")
    with workspace() as folder:
        project, data = folder / "project", folder / "data"
        for path in (project, data):
            path.mkdir(mode=0o755)
        (project / "run.sh").write_text("#!/bin/bash\ncat data/word.txt > out.csv\n")
        (project / "run.sh").chmod(0o755)
        (data / "word.txt").write_text("1\n")
        limits = Limits(wall=20.0, memory_mb=512, disk_mb=16)
        try:
            outcome = sandbox.run(sandbox.Job(project, data, "run.sh", ("out.csv",), limits), backend)
        except sandbox.NoSandbox as e:
            raise NNError(f"{backend}: {e}") from None
        if outcome.fault or outcome.files.get("out.csv") != b"1\n":
            said = outcome.fault or outcome.stopped or outcome.output.decode("utf-8", "replace").strip()[-300:]
            raise NNError(f"{backend}: does not work here: {said}")
        return list(outcome.enforced)
