"""Replay, diff and verify: through the command line, on runs it made."""

import json
import shutil

import pytest

from nncore.cli import run as nncore
from nncore.train.replay import diff, replay, ulp_distance, verify

COMMON = ["--data", "glyphs", "--epochs", "2", "--hidden", "16", "--set", "data.limit=640", "--quiet", "--threshold", "0"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs by name, each a folder."""
    folder = tmp_path_factory.mktemp("runs")
    made = {"plain": [], "same": ["--set", "train.shards=1"], "rate": ["--lr", "0.0011"], "seed": ["--seed", "7"],
            "wide": ["--hidden", "17"]}
    for name, more in made.items():
        assert nncore(["train", *COMMON, *more, "--out", str(folder / name)]) in (0, 1)
    return folder


def told(capsys, *arguments):
    code = nncore([str(a) for a in arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.mark.parametrize("step, start", [(0, 0), (3, 0), (5, 5), (7, 5), (9, 5)])
def test_a_step_again_to_the_bit(runs, step, start):
    """Its weights are those that a run with as many steps ends with; the rest of the run leads to its checkpoint."""
    found = replay(runs / "plain", step, level=2)
    assert found["from_step"] == start and found["record"]["step"] == step and found["record"]["shadow"]
    assert found["checked"] in (5, 10)
    short = runs / f"short-{step}"
    if not short.exists():
        assert nncore(["train", *COMMON, "--steps", str(step + 1), "--out", str(short)]) in (0, 1)
    assert found["weights_after"] == json.loads((short / "result.json").read_text())["weights_sha256"]


def test_replay_prints_and_refuses(runs, capsys):
    code, out, _ = told(capsys, "replay", runs / "plain", "--step", 6, "--watch", 2)
    assert code == 0 and "float64 shadow" in out and "equal to the checkpoint of step 10" in out and "d0.weight" in out
    assert told(capsys, "replay", runs / "plain", "--step", 10)[0] == 2
    code, _, err = told(capsys, "replay", runs, "--step", 0)
    assert code == 3 and "holds no run" in err


def test_diff(runs, capsys):
    assert diff(runs / "plain", runs / "same")["parting"] is None
    code, out, _ = told(capsys, "diff", runs / "plain", runs / "rate")
    assert code == 1 and "optimizer.lr: 0.003 and 0.0011" in out and "step 0, layer" in out and "ulp apart" in out
    parting = diff(runs / "plain", runs / "rate")["parting"]
    assert (parting.step, parting.op, parting.phase) == (0, "adam", "update")
    parting = diff(runs / "plain", runs / "seed")["parting"]
    assert (parting.step, parting.buffer) == (-1, "0.weight") and parting.ulps > 0
    code, _, err = told(capsys, "diff", runs / "plain", runs / "wide")
    assert code == 2 and "different networks: parameter 0.weight" in err


def test_diff_finds_a_late_step(runs, tmp_path):
    """A schedule that is the same until it steps."""
    legs = "piecewise,boundaries=[7],values=[0.001,{}]"
    for name, late in (("a", "0.001"), ("b", "0.002")):
        code = nncore(["train", *COMMON, "--schedule", legs.format(late), "--out", str(tmp_path / name)])
        assert code in (0, 1)
    parting = diff(tmp_path / "a", tmp_path / "b")["parting"]
    assert parting.step == 7 and parting.phase == "update"


def test_verify(runs, tmp_path, capsys):
    found = verify(runs / "plain")
    assert found["same"] and found["steps"] == 10
    code, out, _ = told(capsys, "verify", runs / "plain", "--isa", "scalar", "--threads", 1, "--quiet")
    assert code == 0 and out.startswith("the same weights after 10 steps on scalar")
    forged = shutil.copytree(runs / "plain", tmp_path / "forged")
    result = json.loads((forged / "result.json").read_text())
    (forged / "result.json").write_text(json.dumps({**result, "weights_sha256": "0" * 64}))
    code, out, _ = told(capsys, "verify", forged, "--quiet")
    assert code == 1 and "OTHER weights" in out and "0" * 64 in out
    (forged / "result.json").unlink()
    assert told(capsys, "verify", forged)[0] == 3


def test_watch_on_the_command_line(tmp_path, capsys):
    code, out, _ = told(capsys, "train", *COMMON, "--watch", "1,every=4,raise", "--out", tmp_path / "w", "--json")
    assert code == 0 and json.loads(out)["events"] == []
    watch = json.loads((tmp_path / "w" / "watch.json").read_text())
    assert [s["step"] for s in watch["steps"]] == [0, 4, 8] and watch["policy"]["overflow"] == "raise"
    assert told(capsys, "train", *COMMON, "--watch", "loud", "--out", tmp_path / "x")[0] == 2
    broken = ["--watch", "raise", "--optimizer", "sgd", "--lr", "1e30", "--out", tmp_path / "b"]
    code, _, err = told(capsys, "train", *COMMON, *broken)
    assert code == 1 and "made here by" in err and "last good" in err
    watch = json.loads((tmp_path / "b" / "watch.json").read_text())
    assert watch["diagnosis"]["made"] and watch["steps"]
    assert (tmp_path / "b" / "model.safetensors").exists()


def test_ulps():
    assert ulp_distance(1.0, 1.0) == 0 and ulp_distance(1.0, 1.0 + 2**-23) == 1 and ulp_distance(-0.0, 0.0) == 1
    assert ulp_distance(-1e-45, 1e-45) == 3
