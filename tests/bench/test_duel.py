"""Duels: rows, gates, figures kept and compared. Never how fast: no test asserts which side wins a measured time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from math import isclose

import pytest

from nncore.bench import duel, free, groups, others, store
from nncore.bench.cases import collect
from nncore.bench.run import Team
from nncore.cli import run
from nncore.cli.bench_text import gates
from nncore.graph.tape import Executor

QUICK = ("--rounds", "2", "--seconds", "0.0002", "--threads", "1", "--quiet")


def bench(capsys, *arguments) -> dict:
    assert run(["bench", *arguments, *QUICK, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_rows_of_a_duel(stand_in, capsys):
    found = bench(capsys, "kernels", "--against", "torch", "--filter", "relu_fwd")
    assert found["peers"] == {"torch": {"stand-in": "1.0"}}
    assert [(c["case"], c["shape"], c["group"]) for c in found["cases"]] == [
        ("relu_fwd", n, "elementwise") for n in ("1000", "2000")]
    for c in found["cases"]:
        (p,) = c["peers"]
        assert p["way"] == "quick" and p["math"] == "f32" and c["error"] == p["error"] == 0.0
        assert len(p["rounds"]) == len(c["rounds"]) == 2 and p["low"] <= p["ratio"] <= p["high"] and p["level"] == 0.5
        assert isclose(p["ratio"], sum(p["rounds"]) / 2)
    assert found["gates"] and found["gates"][0]["group"] == "elementwise"


def test_a_wrong_result_shows_in_the_error(stand_in, capsys):
    (c,) = bench(capsys, "kernels", "--against", "torch", "--filter", "sigmoid_fwd 2000")["cases"]
    assert c["error"] < 1e-6 and c["peers"][0]["error"] > 0.1


def test_an_op_that_a_peer_has_not(stand_in, capsys):
    (c,) = bench(capsys, "kernels", "--against", "torch", "--filter", "tanh_bwd 1000")["cases"]
    assert c["peers"] == [] and c["error"] < 1e-6


def test_an_op_that_fails_in_the_peer_ends_the_bench_with_its_words(stand_in, capsys, tmp_path):
    arguments = ["bench", "kernels", "--against", "torch", "--filter", " 1000", "--out", str(tmp_path / "kept"), *QUICK]
    assert run(arguments) == 3
    out, err = capsys.readouterr()
    assert out == "" and "this op is broken here" in err
    (kept,) = (tmp_path / "kept").iterdir()
    assert {c["case"] for c in store.read(kept)["cases"]} == {"sigmoid_fwd", "sigmoid_bwd"}  # what was measured before stays


def test_epochs_by_turns(stand_in, capsys):
    found = bench(capsys, "train", "--against", "torch", "--data", "glyphs", "--hidden", "8", "--batch", "500")
    (c,) = found["cases"]
    assert c["group"] == "epoch 784-8-10" and len(c["rounds"]) == len(c["peers"][0]["rounds"]) == 2


def test_a_network_that_a_peer_has_not(stand_in, capsys):
    (c,) = bench(capsys, "train", "--against", "torch", "--filter", "lenet5", "--data", "glyphs", "--batch", "500")["cases"]
    assert c["group"] == "epoch lenet5" and c["peers"] == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process")
def test_pinning_ends_with_the_block():
    before = os.sched_getaffinity(0)
    with duel.pinned([min(before)]):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before
    with duel.pinned([]):
        assert os.sched_getaffinity(0) == before


def test_latency_by_turns(stand_in, capsys):
    (c,) = bench(capsys, "latency", "--against", "torch")["cases"]
    assert (c["group"], c["shape"], c["peers"][0]["way"]) == ("latency", "784-256-10 batch 1", "at once")
    assert len(c["rounds"]) == 2 and c["seconds"] > 0


# ---- gates -----------------------------------------------------------------------------------------------------------


def test_every_case_of_the_duel_is_a_tested_one_and_has_a_gate():
    known = {case.name for case in collect()}
    named = {name for _, name, _ in groups._sizes()}
    assert named - known <= {"exp"}
    judged = {gate.group for gate in groups.GATES if gate.math == "f32"}
    assert {group for group, _, _ in groups.entries()} <= judged


def row(ratios, group="gemm", share=None, **more) -> dict:
    found = {"case": "c", "shape": "1x1", "threads": 1, "math": "f32", "isa": "avx2", "seconds": 1.0, "share_of_peak": share,
             "group": group, "rounds": [1.0] * len(ratios), "others": None}
    return found | {"peers": [duel.against(Named, "w", "f32", found["rounds"], ratios, 0.0)]} | more


class Named:
    package, versions = "torch", {"torch": "1"}


def verdict(*rows) -> dict:
    (found,) = groups.verdicts(list(rows))
    return found


@pytest.mark.parametrize("ratios, share, holds", (
    ([1.1] * 9, None, True), ([0.9] * 9, None, False), ([0.9] * 9, 0.95, True), ([0.9] * 9, 0.92, False),
    ([0.9] * 7 + [1.1] * 2, None, True),   # the interval, 2nd to 8th, reaches 1
    ([0.9] * 8 + [1.1], None, False),
))  # fmt: skip
def test_each_case_reaches_one_or_the_peak(ratios, share, holds):
    fast = row([2.0] * 9)
    assert verdict(row(ratios, share=share), fast)["holds"] is holds


def test_the_mean_of_all_cases():
    assert not verdict(row([1.0] * 9, "gemm N=10"), row([1.3] * 9, "gemm N=10"))["holds"]
    found = verdict(row([1.0] * 9, "gemm N=10"), row([1.5] * 9, "gemm N=10"))
    assert found["holds"] and isclose(found["mean"], 1.5**0.5) and (found["least"], found["most"]) == (1.0, 1.5)
    assert verdict(row([0.9] * 9, "gemm N=10"))["behind"] == ["c 1x1 (0.90)"]


def test_what_the_peak_forbids_is_out_of_reach():
    found = verdict(row([1.5] * 9, "conv small", share=0.8))  # 1.88 at the peak, 2 asked
    assert found["out_of_reach"] and not found["holds"] and not found["short"]
    assert found["beyond"] == ["c 1x1 (1.50 of 1.88)"] and "OUT OF REACH" in gates([found])
    # 2.14; not known; a peak that was measured while others had a processor
    for possible in (row([1.5] * 9, "conv small", share=s) for s in (0.7, None, 1.2)):
        found = verdict(row([1.5] * 9, "conv small", share=0.8), possible)
        assert not found["out_of_reach"] and found["short"] == ["c 1x1"] and "DOES NOT HOLD" in gates([found])


def test_the_assignment_needs_time_ratio_and_accuracy():
    good = {"seconds": 0.9, "accuracy": [0.881, 0.885], "threads": 2}
    assert verdict(row([6.0] * 9, "assignment", **good))["holds"]
    for bad in ({"seconds": 1.1}, {"accuracy": [0.881, 0.879]}):
        assert not verdict(row([6.0] * 9, "assignment", **(good | bad)))["holds"]
    assert not verdict(row([5.0] * 9, "assignment", **good))["holds"]


def test_modes_have_gates_of_their_own():
    assert verdict(row([2.7] * 9, "conv", math="bf16x3"))["holds"]
    assert not verdict(row([2.5] * 9, "conv", math="bf16x3"))["holds"]
    assert verdict(row([2.0] * 9, "conv", math="bf16x3", share=0.8))["out_of_reach"]  # 2.5 at the tiles' peak


# ---- figures kept ------------------------------------------------------------------------------------------------------


def keep(tmp_path, name: str, speed: float, peers: bool = True, wobble: float = 0.001, cases: int = 12) -> str:
    """A run whose cases are so much faster than 1 s; with a peer that is as fast as the machine."""
    rows = []
    for i in range(cases):
        taken = [(1 + wobble * ((i + 5 * r) % 7 - 3)) / speed for r in range(9)]
        rows.append(row([t * speed * 2 for t in taken], shape=f"{i}", rounds=taken))
        rows[-1]["peers"] = [duel.against(Named, "w", "f32", taken, [2.0] * 9, 0.0)] if peers else []
    versions = {"torch": {"torch": "1"}} if peers else {}
    head = {"schema": store.SCHEMA, "commit": name, "machine": {"cpu": "one"}, "peers": versions}
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(x) + "\n" for x in (head, *rows)))
    return str(path)


@pytest.mark.parametrize("peers", (True, False))
@pytest.mark.parametrize("speed, code, verdict, changed", (
    (1.0, 0, "no change", 0), (1.1, 0, "faster", 12), (0.9, 1, "slower", 12),
))  # fmt: skip
def test_compare_judges(tmp_path, capsys, peers, speed, code, verdict, changed):
    files = keep(tmp_path, "old", 1.0, peers), keep(tmp_path, "new", speed, peers)
    assert run(["bench", "--compare", *files, "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == verdict and isclose(found["speed"], speed, rel_tol=1e-9)
    assert sum(c["verdict"] == verdict for c in found["cases"]) == changed
    assert {c["by"] for c in found["cases"]} == {"torch" if peers else None}
    assert run(["bench", "--compare", *files]) == code
    assert verdict in capsys.readouterr().out


def test_the_peer_carries_a_slow_day_away(tmp_path, capsys):
    """Everything took twice as long, the peer too: nothing has changed."""
    old, new = keep(tmp_path, "old", 1.0), keep(tmp_path, "new", 0.5)
    with open(new) as file:
        rows = [json.loads(line) for line in file]
    for r in rows[1:]:
        r["peers"] = [duel.against(Named, "w", "f32", r["rounds"], [4.0] * 9, 0.0)]
    with open(new, "w") as file:
        file.writelines(json.dumps(r) + "\n" for r in rows)
    assert run(["bench", "--compare", old, new, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "no change"


def test_what_is_kept_is_read_back(capsys, tmp_path):
    found = bench(capsys, "kernels", "--filter", "relu_fwd", "--out", str(tmp_path / "kept"))
    (path,) = (tmp_path / "kept").iterdir()
    again = store.read(path)
    assert again["cases"] == found["cases"] and again["machine"] == found["machine"] and found["commit"] in path.name
    assert run(["bench", "--compare", str(path), str(path)]) == 0
    with open(path, "rb+") as file:  # a run that was killed while it wrote
        file.truncate(path.stat().st_size - 20)
    assert store.read(path)["cases"] == found["cases"][:-1]


@pytest.mark.parametrize("text, says", (
    ("", "not a file of nncore bench"), ('{"schema": "other"}\n', "not a file of nncore bench"), ("no json\n", ":1:"),
    ('{"schema": "nncore.bench/1"}\n{"case": 1}\n{}\n', ":2:"), ('{"schema": "nncore.bench/1"}\n[1]\n', ":2:"),
))  # fmt: skip
def test_malformed_files(tmp_path, capsys, text, says):
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    assert run(["bench", "--compare", str(path), str(path)]) == 3
    assert says in capsys.readouterr().err
    assert run(["bench", "--compare", str(path), str(tmp_path / "none.jsonl")]) == 3


def test_runs_without_a_common_case(tmp_path, capsys):
    old = keep(tmp_path, "old", 1.0)
    new = keep(tmp_path, "new", 1.0, cases=0)
    assert run(["bench", "--compare", old, new]) == 2
    assert "no case in common" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, says", (
    (("kernels", "--against", "torhc"), "torch"), (("assignment",), "--data"), (("assignment", "--data", "nosuch"), "nosuch"),
    (("--compare", "a.jsonl"), "2 arguments"),
))  # fmt: skip
def test_wrong_usage(capsys, arguments, says):
    assert run(["bench", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_assignment_alone(capsys, tmp_path):
    """Without a peer it still times `nncore train`, and counts its predictions."""
    found = bench(capsys, "assignment", "--data", "glyphs", "--out", str(tmp_path))
    (c,) = found["cases"]
    assert c["group"] == "assignment" and len(c["accuracy"]) == 2 and min(c["accuracy"]) > 0.5 and c["seconds"] > 0


def test_an_unwritable_place_is_named(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert run(["bench", "limits", "--out", str(tmp_path / "file" / "deeper"), *QUICK]) == 4
    assert "deeper" in capsys.readouterr().err


def test_executor_of_the_bench_takes_the_float64_twin():
    """The truth that errors are measured against is the same instruction in double."""
    case = next(c for c in collect() if c.name == "sigmoid_fwd")
    call = case.call((1000,))
    probe = Thin()
    single, double = (duel.Bench(case.op, call, probe, real).outputs()[0] for real in ("f32", "f64"))
    assert single.format == "f" and double.format == "d"
    assert 0 < max(abs(a - b) for a, b in zip(single, double, strict=True)) < 1e-6


class Thin:
    isa, threads = Executor(None, 1).isa, 1


@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="this system does not tell what others did")
def test_the_work_of_others_is_seen():
    """A process that spins beside us on the one processor takes about half of it; with nobody there, nearly nothing is left."""
    cpu = min(os.sched_getaffinity(0))

    def watch(seconds: float) -> float:
        begin, before = time.monotonic(), others.reading([cpu], [os.getpid()])
        while time.monotonic() - begin < seconds:
            pass
        return others.share(before, others.reading([cpu], [os.getpid()]), [cpu])

    with duel.pinned([cpu]):
        rival = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            time.sleep(0.3)
            shared = watch(1.0)
        finally:
            rival.kill()
            rival.wait()
    assert 0.2 < shared < 0.95
    assert others.share(None, None, [cpu]) is None and others.reading([10**6], [os.getpid()]) is None


def test_a_disturbed_case_is_tried_again(monkeypatch):
    shares = iter([0.5, 0.3, 0.4, 0.01, 0.5, None])
    monkeypatch.setattr(others, "share", lambda *_: next(shares))
    team = Team.__new__(Team)
    team.cpus, team.processes, counted = [], [], iter(range(9))
    found = team.row(lambda: {"number": next(counted)}, "g", tries=3)
    assert found == {"number": 1, "others": 0.3, "group": "g"}
    assert team.row(lambda: {"number": next(counted)}, "g", tries=3)["number"] == 3  # the first is good enough
    assert team.row(lambda: {"number": next(counted)}, "g", tries=2)["others"] is None  # too short to tell


# ---- ourselves, without the order ------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("make") or not shutil.which("cc"), reason="needs make and a C compiler")
def test_our_own_kernels_without_the_order_are_a_peer(monkeypatch, capsys):
    monkeypatch.setenv("CFLAGS", "-O0")  # compiled in a quarter of the time
    asked = ["bench", "kernels", "--filter", "sum_all 100000x1", "--against", "free", "--isa", "portable", "--threads", "1",
             "--rounds", "2", "--seconds", "0.001", "--json", "-q"]
    assert run(asked) == 0
    found = json.loads(capsys.readouterr().out)
    (row,) = found["cases"]
    (peer,) = row["peers"]
    assert peer["name"] == "free" and peer["way"] == "any order" and peer["ratio"] > 0
    assert peer["error"] < 1e-6 and peer["error"] != row["error"]  # as right, and not in our order
    assert [(g["group"], g["peer"]) for g in found["gates"]] == [("elementwise", "free")]


def test_without_the_sources_there_is_no_such_peer(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(free, "CSRC", tmp_path)
    assert run(["bench", "kernels", "--filter", "sum_all", "--against", "free", "-q"]) == 2
    assert "needs the sources, make and a C compiler" in capsys.readouterr().err
