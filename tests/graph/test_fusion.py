"""Fusion changes no bit: activations behind products, instructions walked in bands; and what `nncore plan` says of it."""

from __future__ import annotations

import json

import pytest

import nncore as nn
from nncore._ffi import isa_levels, kernels
from nncore.cli import run
from nncore.data import glyphs
from nncore.errors import UsageError
from nncore.graph.fusion import groups
from nncore.graph.tape import Executor
from nncore.train.models import make

LEVELS = [level for level, runs in isa_levels().items() if runs and level != "reference"]


def trained(monkeypatch, fuse: str, isa: str, threads: int, batch: int = 128):
    """The weights of LeNet-5 after some steps of glyphs, and the tape that was walked."""
    monkeypatch.setenv("NNCORE_FUSE", fuse)
    model = make("lenet5", 10)
    trainer = model.trainer(glyphs(512, 16).train, 1, batch, nn.Adam(1e-3), executor=Executor(isa, threads))
    trainer.run()
    return bytes(model.memory.view("param")), trainer.tape


@pytest.mark.parametrize("isa", LEVELS)
def test_bands_change_no_bit(monkeypatch, isa):
    without, tape = trained(monkeypatch, "0", isa, 1)
    assert groups(tape, kernels(isa), 1).rows == ()
    for threads in (1, 2, 3):
        weights, tape = trained(monkeypatch, "1", isa, threads)
        assert weights == without, threads
        assert threads == 3 or groups(tape, kernels(isa), threads).rows  # 128 images divide by two, not by three


def test_bands_divide_images_whole(monkeypatch):
    """A batch that its bands cannot cut between two images is walked as it is."""
    _, tape = trained(monkeypatch, "1", LEVELS[-1], 1, batch=127)
    convolutions = [k for k, i in enumerate(tape.instructions) if i.op == "conv_fwd"]
    walked = {k for first, n, _ in groups(tape, kernels(None), 1).rows for k in range(first, first + n)}
    assert not walked & set(convolutions)


def test_groups_are_runs_of_the_tape(monkeypatch):
    _, tape = trained(monkeypatch, "1", LEVELS[-1], 2)
    found = groups(tape, kernels(LEVELS[-1]), 2)
    ends = [0]
    for first, n, bands in found.rows:
        assert first >= ends[-1] and n > 1 and bands > 1
        ends.append(first + n)
    assert ends[-1] <= len(tape.instructions)
    names = [tape.instructions[k].op for k in range(found.rows[0][0], ends[1])]
    assert names.index("conv_fwd") < names.index("max_pool_fwd")
    assert found.saved >= 128 * 28 * 28 * 6 * 4  # the first feature maps


def test_a_gradient_and_its_update(monkeypatch):
    """The rows of a wide weight's gradient are used up while they are in the cache."""
    model = nn.Sequential([nn.Dense(512), nn.ReLU(), nn.Dense(10)], seed=0)
    trainer = model.trainer(glyphs(256, 16).train, 1, 128, nn.Adam(1e-3), executor=Executor(LEVELS[-1], 1))
    rows = groups(trainer.tape, trainer.executor.kernels, 1).rows
    together = [[trainer.tape.instructions[k].op for k in range(first, first + n)] for first, n, _ in rows]
    assert ["dense_bwd_weight", "adam"] in [ops[-2:] for ops in together]


def test_plan(capsys, monkeypatch):
    monkeypatch.setenv("NNCORE_FUSE", "1")
    assert run(["plan", "--data", "glyphs", "--hidden", "64", "--time", "--threads", "1"]) == 0
    text = capsys.readouterr().out
    assert "dense_fwd relu" in text and "fused: 1 activation behind the product before" in text and "memory: parameters" in text
    assert run(["plan", "--data", "glyphs", "--model", "lenet5", "--batch", "256", "--json", "--threads", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "nncore.plan/1" and found["activations_fused"] == 4
    assert found["instructions"][0]["us"] is None and found["moved_bytes"] > found["fused_saved_bytes"] > 0
    monkeypatch.setenv("NNCORE_FUSE", "0")
    assert run(["plan", "--data", "glyphs", "--hidden", "64"]) == 0
    assert "nothing is fused" in capsys.readouterr().out


def test_the_switch_is_0_or_1(monkeypatch):
    monkeypatch.setenv("NNCORE_FUSE", "off")
    with pytest.raises(UsageError, match="NNCORE_FUSE='off'"):
        nn.Sequential([nn.Dense(2)], seed=0).trainer(glyphs(16, 16).train, 1, 4, nn.SGD(0.1))
