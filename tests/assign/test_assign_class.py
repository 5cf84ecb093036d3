"""What a grading makes of a class: leaderboard, late policy, similar submissions, hardest images; and its clock."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

from nncore.assign import analysis, calibrate, grade, judge, late, leaderboard, neighbours, sandbox, scratch, similar, spec, watch
from nncore.assign.verdict import Result
from nncore.errors import DataError
from tests.assign import standins

DUE = datetime(2026, 11, 30, 23, 59, tzinfo=timezone.utc)


def noisy(truth: bytes, share: float, chance: random.Random) -> bytes:
    """Answers of which so many are wrong."""
    return bytes(chance.choice([c for c in range(10) if c != t]) if chance.random() < share else t for t in truth)


def result(name: str, predictions: bytes, verdict: str = "PASS") -> Result:
    return Result(name, verdict, predictions=predictions)


# ---- leaderboard -------------------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path):
    found = grade.State(tmp_path / "out")
    yield found
    found.close()


def test_halves_are_secret_and_stay():
    one, other = leaderboard.halves(1000, b"a" * 32), leaderboard.halves(1000, b"b" * 32)
    assert one == leaderboard.halves(1000, b"a" * 32) and one != other
    assert sorted(one.public + one.private) == list(range(1000)) and len(one.public) == 500
    assert 200 < len(set(one.public) & set(other.public)) < 300  # 250 expected, standard deviation 8


def test_a_public_score_moves_only_on_a_significant_gain(state):
    chance = random.Random(1)
    truth = bytes(chance.randrange(10) for _ in range(4000))
    first = noisy(truth, 0.15, chance)

    def score(predictions: bytes) -> float:
        found, = leaderboard.board([result("anna", predictions)], truth, state, "t")["rows"]
        return found["public"]

    now = score(first)
    moves = 0
    better = bytes(t if chance.random() < 0.02 and p != t else p for p, t in zip(first, truth, strict=True))
    tries = [noisy(truth, 0.15, chance) for _ in range(20)]
    for t in tries:
        before, now = now, score(t)
        moves += before != now
    assert moves <= 5 and score(first) == now  # each has a chance of one in twenty at most
    assert score(noisy(truth, 0.3, chance)) == now  # worse moves nothing
    assert score(better) == now  # a gain of some samples is no gain
    assert score(noisy(truth, 0.05, chance)) > now + 0.05


def test_the_private_half_is_shown_in_the_end_only(state):
    chance = random.Random(2)
    truth = bytes(chance.randrange(10) for _ in range(2000))
    public = set(leaderboard.halves(2000, state.secret()).public)
    fitted = bytes(t if i in public else (t + 1) % 10 for i, t in enumerate(truth))  # as if tuned to the public half
    class_ = [result("fitted", fitted), result("honest", noisy(truth, 0.1, chance)), result("failed", b"", "RUN_FAILED"),
              result("leaking", truth, "LEAKAGE")]
    board = leaderboard.board(class_, truth, state, "t")
    assert [r["submission"] for r in board["rows"]] == ["fitted", "honest"] and board["rows"][0]["public"] == 1
    assert all(r["private"] is None for r in board["rows"])
    final = leaderboard.board(class_, truth, state, "t", final=True)
    assert [(r["submission"], r["rank"]) for r in final["rows"]] == [("honest", 1), ("fitted", 2)]
    assert final["rows"][1]["private"] == 0


def test_equal_scores_share_a_rank(state):
    truth = bytes(range(10)) * 20
    board = leaderboard.board([result(n, truth) for n in "abc"] + [result("d", bytes(200))], truth, state, "t")
    assert [r["rank"] for r in board["rows"]] == [1, 1, 1, 4]


# ---- late --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after, days, worth", [
    (timedelta(hours=-5), 0, 1.0), (timedelta(), 0, 1.0), (timedelta(minutes=15), 0, 1.0), (timedelta(minutes=16), 1, 0.75),
    (timedelta(days=1, minutes=15), 1, 0.75), (timedelta(days=1, minutes=16), 2, 0.5), (timedelta(days=3), 3, 0.0),
    (timedelta(days=400), 400, 0.0)])
def test_what_late_is_worth(after, days, worth):
    policy = spec.Late(due=DUE, grace_minutes=15, penalty=0.25, days=2)
    found = late.arrival(policy, "anna.zip", DUE + after)
    assert (found.days, found.worth) == (days, worth)


def test_extensions_and_no_date():
    policy = spec.Late(due=DUE, extensions={"anna": DUE + timedelta(days=7)})
    when = DUE + timedelta(days=6)
    assert [late.arrival(policy, n, when).worth for n in ("anna.zip", "anna", "boris.zip")] == [1.0, 1.0, 0.0]
    assert late.arrival(spec.Late(), "anna", when) == late.Arrival(when, None, 1.0)


def test_when_they_came(tmp_path):
    mine = standins.project(tmp_path / "mine", "honest")
    os.utime(mine / "run.sh", (1_700_000_000, 1_700_000_000))
    os.utime(mine, (1_800_000_000, 1_800_000_000))  # a folder's own time is that of unpacking
    (tmp_path / "when.csv").write_text("student,time\nanna,2026-11-30T22:00:00+01:00\n")
    (tmp_path / "anna.zip").write_bytes(b"")
    found = late.times([mine, tmp_path / "anna.zip"], tmp_path / "when.csv")
    assert found["mine"].timestamp() == 1_700_000_000 and found["anna.zip"] == DUE - timedelta(hours=2, minutes=59)
    for bad in ("anna,yesterday", "anna,2026-11-30T22:00:00", "anna"):
        (tmp_path / "when.csv").write_text(f"x,2026-11-30T22:00:00Z\n{bad}\n")
        with pytest.raises(DataError, match="line 2"):
            late.times([], tmp_path / "when.csv")


@pytest.mark.usefixtures("sandbox")
def test_when_the_date_moves_nothing_is_run_again(inside, tmp_path):
    standins.project(tmp_path / "students/anna", "centroid")
    (tmp_path / "when.csv").write_text("anna,2026-12-01T20:00:00Z\n")
    policy = '\n[late]\ndue = 2026-11-30T23:59:00Z\npenalty = 0.5\ndays = 3\n'
    (tmp_path / "a.toml").write_text(standins.ASSIGNMENT + policy)
    line = ["grade", "students", "--assignment", "a.toml", "--out", "out", "--submitted", "when.csv"]
    assert inside(*line).code == 0
    assert (tmp_path / "out/grades.csv").read_text().splitlines()[1].endswith(",2026-12-01T20:00:00+00:00,1,0.5")
    assert json.loads((tmp_path / "out/submissions/anna/results.json").read_text())["score"] == 0.5
    (tmp_path / "a.toml").write_text(standins.ASSIGNMENT + policy.replace("11-30", "12-02"))
    done = inside(*line)
    assert "(known)" in done.err
    assert (tmp_path / "out/grades.csv").read_text().splitlines()[1].endswith(",0,1.0")


# ---- the class as a whole ----------------------------------------------------------------------------------------------


def a_class(n: int, chance: random.Random, samples: int = 2000) -> tuple[bytes, list[Result]]:
    """n independent submissions that err on the same hard samples and confuse the same classes."""
    truth = bytes(chance.randrange(10) for _ in range(samples))
    hard = [chance.random() ** 4 for _ in range(samples)]
    rival = [chance.randrange(9) for _ in range(samples)]
    found = []
    for k in range(n):
        answers = bytearray(truth)
        for i, t in enumerate(truth):
            if chance.random() < 0.8 * hard[i]:
                answers[i] = (t + 1 + (rival[i] if chance.random() < 0.6 else chance.randrange(9))) % 10
        found.append(result(f"student {k:02}", bytes(answers)))
    return truth, found


def test_who_shares_rare_mistakes_is_told():
    chance = random.Random(11)
    truth, found = a_class(12, chance, 1200)
    copy = bytes(chance.randrange(10) if chance.random() < 0.03 else p for p in found[3].predictions)
    told = similar.pairs([*found, result("copy", copy)], truth)
    assert [(p["a"], p["b"]) for p in told["pairs"]] == [("student 03", "copy")]
    assert told["pairs"][0]["p"] == 1 / (told["permutations"] + 1)


def test_independent_work_is_not_told():
    """At a level of 5 % for a whole class, more than two alarms in six classes have a chance of 0.2 %."""
    chance = random.Random(12)
    alarms = 0
    for _ in range(6):
        truth, found = a_class(8, chance, 400)
        alarms += bool(similar.pairs(found, truth)["pairs"])
    assert alarms <= 2


def test_constant_answers_hide_nobody():
    """Two that answer 0 to everything share hundreds of mistakes, as they must; who predicts the very same is told alone."""
    truth, found = a_class(5, random.Random(13), 500)
    idle = [result(name, bytes(500)) for name in ("idle", "lazy")]
    told = similar.pairs([*found, *idle, result("copy", found[2].predictions)], truth)
    assert [(p["a"], p["b"], p["identical"]) for p in told["pairs"]] == [("student 02", "copy", True)]


def test_few_submissions_are_not_compared():
    truth, found = a_class(3, random.Random(1), 100)
    assert similar.pairs(found, truth) == {"level": similar.LEVEL, "permutations": 0, "pairs": []}


def test_stages_and_hardest_images(ground):
    truth = ground.truth.test
    wrong = bytes((t + 1) % 10 if i in (3, 7) else t for i, t in enumerate(truth))
    both = bytes((t + 2) % 10 if i == 7 else t for i, t in enumerate(truth))
    found = [result("a", wrong), result("b", both, "BELOW_THRESHOLD"), Result("c", "TIME_LIMIT"), Result("d", "BAD_ARCHIVE"),
             Result("e", "GRADER_FAULT")]
    assert [(s["passed"], s["failed"]) for s in analysis.stages(found)] == [(3, 1), (3, 0), (2, 1), (2, 0), (2, 0), (1, 1)]
    hardest = analysis.hardest(found, ground.dataset)
    assert [(r["index"], r["wrong"]) for r in hardest["rows"]] == [(7, 2), (3, 1)] and hardest["never_right"] == 1
    assert hardest["images"]["shape"] == [2, 28, 28, 1]
    assert sorted(hardest["rows"][0]["taken_for"]) == sorted([[str((truth[7] + k) % 10), 1] for k in (1, 2)])
    assert analysis.hardest(found[:1], ground.dataset) is None


# ---- time --------------------------------------------------------------------------------------------------------------


class SlowClock:
    """A clock that says what it is told."""

    def __init__(self, *speeds: float, fastest: float = 1.0):
        self.speeds, self.fastest = list(speeds), fastest

    def speed(self, slot: int = 0, fresh: bool = False) -> float:
        return self.speeds.pop(0) if len(self.speeds) > 1 else self.speeds[0]

    slowed = calibrate.Clock.slowed


def timed(ground, folder: Path, script: str, clock, **limits):
    folder.mkdir(exist_ok=True)
    asked = standins.assignment(folder, **limits)
    return judge.judge(standins.project(folder / "mine", script), replace(ground, assignment=asked, clock=clock))


def test_a_near_miss_is_run_again(ground, tmp_path, monkeypatch):
    """A little over the limit, three times: nobody is failed for one slow run; then it is a fail."""
    monkeypatch.setattr(judge, "NEAR", 5.0)
    found = timed(ground, tmp_path, "honest; sleep 0.6", None, wall=0.5)
    assert found.verdict == "TIME_LIMIT" and "the limit is 0.5 s; run 3 times, for it was near the limit" in found.detail
    assert [r["verdict"] for r in found.runs] == ["TIME_LIMIT"] * 3 and all(r["seconds"] > 0.6 for r in found.runs)


def test_a_near_miss_that_is_in_time_when_run_again(ground, tmp_path, monkeypatch):
    """Seconds count as a slow clock says; the second time it says that the machine is slow, so that they count less."""
    monkeypatch.setattr(judge, "NEAR", 20.0)
    (tmp_path / "a.toml").write_text(standins.ASSIGNMENT.replace("wall = 60", 'wall = 1\nclock = "calibrated"'))
    mine = standins.project(tmp_path / "mine", "honest; sleep 0.6")
    found = judge.judge(mine, replace(ground, assignment=spec.load(tmp_path / "a.toml"), clock=SlowClock(2.0, 2.0, 0.05)))
    assert found.verdict == "BELOW_THRESHOLD" and [r["verdict"] for r in found.runs] == ["TIME_LIMIT", "BELOW_THRESHOLD"]


def test_a_far_miss_is_not(ground, tmp_path):
    found = timed(ground, tmp_path, "sleep 20", None, wall=1)
    assert (found.verdict, found.runs) == ("TIME_LIMIT", []) and found.seconds < 4


def test_who_was_disturbed_has_another_run(ground, tmp_path, monkeypatch):
    """The machine was at half its speed: what was stopped while it worked is run once more, what slept is not."""
    idle = timed(ground, tmp_path / "idle", "sleep 20", SlowClock(0.5), wall=0.5)
    assert idle.verdict == "TIME_LIMIT" and idle.runs == []
    usual = sandbox.run

    def worked(*job):
        found = usual(*job)
        found.cpu = found.seconds
        return found

    monkeypatch.setattr(sandbox, "run", worked)
    busy = timed(ground, tmp_path / "busy", "sleep 20", SlowClock(0.5), wall=0.5)
    assert busy.verdict == "TIME_LIMIT" and len(busy.runs) == 2
    alone = timed(ground, tmp_path / "alone", "sleep 20", SlowClock(0.9), wall=0.5)
    assert alone.verdict == "TIME_LIMIT" and alone.runs == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processors to choose")
def test_who_found_no_processor_has_another_run(ground, alone, tmp_path, monkeypatch):
    """Others held the one processor it may use nearly all the time: it has used little, and is no sleeper. If it is so again,
    its time says nothing about it."""
    monkeypatch.setattr(neighbours, "busy", alone)
    place = str(min(os.sched_getaffinity(0)))
    loop = "import os; os.sched_setaffinity(0, {" + place + "})\nwhile True: pass"
    others = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(4)]
    try:
        # A clock that ticks for milliseconds finds a processor at once, and says that nothing is amiss.
        found = timed(ground, tmp_path / "one", f"exec taskset -c {place} sh -c 'while :; do :; done'", SlowClock(1.0), wall=2)
        sleeper = timed(ground, tmp_path / "two", f"exec taskset -c {place} sleep 20", SlowClock(1.0), wall=2)
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert found.verdict == "GRADER_FAULT" and "the machine was too busy: of " in found.detail
    assert [r["verdict"] for r in found.runs] == ["TIME_LIMIT", "GRADER_FAULT"] and found.lost > 0.5 * found.seconds
    assert (sleeper.verdict, sleeper.runs) == ("TIME_LIMIT", [])


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processors to choose")
def test_who_starves_itself_has_not(ground, tmp_path):
    """Eight of its own on one processor, and nobody else."""
    place = min(os.sched_getaffinity(0))
    loops = f"for i in 1 2 3 4 5 6 7 8; do taskset -c {place} sh -c 'while :; do :; done' & done; wait"
    found = timed(ground, tmp_path, loops, SlowClock(1.0), wall=2)
    assert (found.verdict, found.runs) == ("TIME_LIMIT", [])


@pytest.mark.parametrize(("span", "own", "waited", "others", "processors", "expected"), [
    (1.0, 1.0, [0.0], 5.0, 2, 0.0),         # alone on its processor, whatever runs on the other
    (1.0, 0.4, [0.6], 0.6, 2, 0.6),         # one thread, pushed aside: 0.4 s would have done
    (1.0, 1.0, [0.5, 0.5], 1.0, 2, 0.5),    # two threads that had one processor: half as fast
    (1.0, 2.0, [0.97] * 64, 0.0, 2, 0.0),   # 64 threads in each other's way, and nobody else's
    (1.0, 1.0, [0.98] * 64, 0.1, 2, 0.05),  # the same beside somebody who had little
    (1.0, 0.1, [0.1], 9.0, 8, 0.1),         # it slept most of the time: none of that is lost
    (0.0, 0.0, [], 0.0, 2, 0.0)])
def test_what_others_took(span, own, waited, others, processors, expected):
    assert neighbours.lost(span, own, waited, others, processors) == pytest.approx(expected)


def test_a_wait_that_ends_looks_later_is_counted_then(monkeypatch):
    """The kernel tells of it when it is over: by then it is longer than the span between two looks."""
    told = iter([0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
    waits = iter([0.0, 0.0, 0.7, 0.95, 0.95, 0.95])
    monkeypatch.setattr(neighbours, "busy", lambda: next(told))
    monkeypatch.setattr(neighbours, "_waits", lambda pid: [(1, next(waits))])
    found = neighbours.Neighbours()
    for i in range(6):
        found.look([SimpleNamespace(pid=1)], 0.25 * (i + 1), 0.0125 * (i + 1))
    assert found.lost == pytest.approx(0.95)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processors to choose")
def test_nobody_is_failed_for_a_neighbour(ground, alone, tmp_path, monkeypatch):
    """It needs two seconds of a processor that somebody else is on too: some four pass, of which its own two count."""
    monkeypatch.setattr(neighbours, "busy", alone)
    monkeypatch.setattr(watch, "PATIENCE", 30.0)  # whatever else runs here
    place = str(min(os.sched_getaffinity(0)))
    loop = "import os; os.sched_setaffinity(0, {" + place + "})\nwhile True: pass"
    work = 'import time\nwhile time.process_time() < 2.0: pass'
    other = subprocess.Popen([sys.executable, "-c", loop])
    try:
        found = timed(ground, tmp_path, f"honest; exec taskset -c {place} python3 -c '{work}'", SlowClock(0.5), wall=3.0)
    finally:
        other.kill()
        other.wait()
    assert found.verdict == "BELOW_THRESHOLD", found
    assert found.seconds > 3.3 and found.lost > 0.3 * found.seconds
    assert found.calibrated == pytest.approx(0.5 * (found.seconds - found.lost)) and found.calibrated < 1.5


def test_calibrated_seconds(ground, tmp_path):
    found = timed(ground, tmp_path, "honest; sleep 0.5", SlowClock(0.4, 0.6, 0.5))
    assert found.calibrated == pytest.approx(0.5 * found.seconds) and found.lost == 0.0


def test_a_limit_in_calibrated_seconds(ground, tmp_path):
    """Half as fast as the reference: what takes 1.5 s here would take 0.75 s there, which is within a limit of one."""
    text = standins.ASSIGNMENT.replace("wall = 60", 'wall = 1\nclock = "calibrated"')
    (tmp_path / "a.toml").write_text(text)
    mine = standins.project(tmp_path / "mine", "honest; sleep 1.2")
    slow, fast = (judge.judge(mine, replace(ground, assignment=spec.load(tmp_path / "a.toml"), clock=SlowClock(s)))
                  for s in (0.4, 2.0))
    assert slow.verdict == "BELOW_THRESHOLD" and slow.seconds > 1 > slow.calibrated
    assert fast.verdict == "TIME_LIMIT"


def test_the_reference_kernel_runs_in_the_sandbox(ground):
    assert ground.clock.works
    speed = ground.clock.speed(fresh=True)
    assert speed is not None and 0.01 < speed < 100 and ground.clock.fastest >= speed
    assert ground.clock.speed() == speed  # just measured


def test_without_a_compiler_there_is_no_clock(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    clock = calibrate.Clock(tmp_path / "clock")
    assert not clock.works and clock.speed() is None and not clock.slowed(None)


# ---- folders -----------------------------------------------------------------------------------------------------------


def test_what_a_killed_grader_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    holder = subprocess.Popen([sys.executable, "-c", (
        "import time\nfrom nncore.assign.scratch import workspace\n"
        "with workspace() as w:\n    (w / 'x').write_text('x')\n    print(w, flush=True)\n    time.sleep(60)")],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    theirs = Path(holder.stdout.readline().strip())
    assert theirs.parent == tmp_path and scratch.sweep() == [] and (theirs / "x").exists()  # it lives
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert theirs.exists()
    (tmp_path / f"{scratch.PREFIX}new").mkdir()  # somebody is just making it
    with scratch.workspace() as ours:
        assert not theirs.exists() and ours.exists()
    assert not ours.exists() and (tmp_path / f"{scratch.PREFIX}new").exists()


def test_another_version_of_the_state_is_refused(tmp_path):
    import sqlite3

    base = sqlite3.connect(tmp_path / grade.STATE)
    base.execute("pragma user_version = 99")
    base.close()
    with pytest.raises(DataError, match="another version"):
        grade.State(tmp_path)
