"""The real peers, where an interpreter has them: every op must compute what ours does, or its time says nothing."""

from __future__ import annotations

import subprocess

import pytest

from nncore.bench import duel, groups, training
from nncore.bench.limits import Probe
from nncore.bench.peer import Peer, interpreter
from nncore.errors import UsageError
from tests.harness import need

SMALL = 300_000  # elements in all arguments: enough to be right on


@pytest.fixture(scope="module", params=("torch", "numpy", "sklearn"))
def peer(request):
    try:
        python = interpreter()
    except UsageError:
        need("peers", False, "make bench-peers, or NNCORE_PEERS_PYTHON")
    have = subprocess.run([python, "-c", f"import {request.param}"], capture_output=True).returncode == 0
    need("peers", have, f"{python} has no {request.param}: make bench-peers")
    with Peer(request.param, 1, []) as found:
        yield found


def smallest() -> list:
    """(case, size) of every case in the duel, at its first size."""
    found = {}
    for _, case, size in groups.entries():
        found.setdefault(case.name, (case, size))
    return list(found.values())


RANDOM = {"dropout", "init_uniform", "init_normal"}


def test_every_way_of_every_op_computes_what_ours_does(peer):
    over, probe, done = duel.HandOver(), Probe(None, 1), set()
    try:
        for case, size in smallest():
            call = case.call(size)
            if sum(a.count for a in call.args if a) > SMALL and not case.name.startswith("conv"):
                continue
            given = over.give(case, call, "f32")
            for way, name in enumerate(peer.ask("load", **given).get("ways") or []):
                rival = duel.Rival(peer, {}, 0.0)
                rival.way = way
                benches = duel.Bench(case.op, call, probe), duel.Bench(case.op, call, probe, "f64")
                ours, theirs = duel._errors(*benches, [rival], over)
                done.add(case.name)
                if case.name in RANDOM:
                    assert theirs is None
                else:
                    assert theirs < 2e-5 and ours < 2e-5, f"{case.name} {size} by {name}: {theirs}, ours {ours}"
    finally:
        over.close()
    wanted = {case.name for case, _ in smallest()}
    # PyTorch has all; NumPy what is a function of its own; scikit-learn trains only.
    assert {"torch": wanted - done == set(), "numpy": len(done) >= 12, "sklearn": not done}[peer.package], wanted - done


def test_one_row_is_predicted(peer):
    answer = peer.ask("predict", widths=[20, 8, 3], math="f32")
    assert ("skip" in answer) == (peer.package == "sklearn")
    for way in range(len(answer.get("ways", []))):
        assert peer.ask("time", way=way, seconds=0.001)["seconds"] > 0


@pytest.mark.parametrize("network", training.DUELS, ids=lambda n: n.title(784, 10))
def test_networks_learn(peer, network, tmp_path):
    """Two epochs of the same few images: the loss goes down, on the peer as on our side."""
    job = training.Job(network, training.random_images(128), 64)
    answer = peer.ask("train", **job.request(tmp_path))
    if peer.package == "numpy" or (peer.package == "sklearn" and network.hidden is None):
        assert "skip" in answer
        return
    losses = [peer.ask("epoch")["loss"] for _ in range(3)]
    assert losses[-1] < losses[0] and 0 < losses[0] < 20
