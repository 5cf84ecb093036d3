"""The bit contract: one hash of the trained weights over ISA levels, threads, interruptions and compilers' work.

The golden hashes change only with NN_NUMERICS_ID. Where they differ on a new machine, a kernel is wrong, not the hash.
"""

import pytest

import nncore as nn
from nncore._ffi import isa_levels, lib
from nncore.bench.instruments import Unwatched
from nncore.train.checkpoint import load_checkpoint, save_checkpoint
from nncore.train.models import make

GOLDEN = {
    ("adam", 1): "15507d78744febca6d5f0c5b0dda6a58c9d04d6dc2dab14977de600dcb716789",
    ("adam", 4): "bb5915fe6d89c4f3d39d90bd6b5c02e0223116be12cf60527c3d2a80388b953c",
    ("toolbox", 1): "b0beded671d2ea3377a248bef24385c76e6d413debd89cef2f121638354d458d",
    ("lenet5", 1): "96cdcb419d26831bda26a3a8a00ea41bf4684f82d8e8112ff823a038461649d6",
}
LEVELS = [level for level, runs in isa_levels().items() if runs and level not in ("reference", "portable")]


@pytest.fixture(scope="module")
def data():
    return nn.data.glyphs(train=2000, test=10, seed=0).train


def trainer(kind, data, shards=1, **options):
    """200 steps of batch 100, of `lenet5` 40. `toolbox` takes what `adam` leaves out: dropout, saturating units, momentum,
    penalties."""
    if kind == "adam":
        model = nn.Sequential([nn.Dense(96), nn.ReLU(), nn.Dense(10)], seed=0)
        return model.trainer(data, epochs=10, batch=100, optimizer=nn.Adam(nn.OneCycle(3e-3)), shards=shards, **options)
    if kind == "lenet5":
        return make("lenet5", 10).trainer(data, epochs=10, batch=100, steps=40, shards=shards, **options)
    layers = [nn.Dense(64, init="lecun_normal"), nn.Tanh(a=1.7159, b=2 / 3), nn.Dropout(0.2), nn.Dense(48), nn.Sigmoid(),
              nn.Dense(40), nn.SELU(), nn.Dense(10)]
    optimizer = nn.Nesterov(nn.Cosine(0.1), momentum=nn.Exponential(0.9, 5000), decay=1e-5)
    return nn.Sequential(layers, seed=3, standardise="feature").trainer(
        data, epochs=10, batch=100, optimizer=optimizer, penalty=nn.L2(1e-4), shards=shards, **options)


def trained(kind, data, shards=1, **options):
    t = trainer(kind, data, shards, **options)
    t.run()
    assert t.position.step == t.limit
    return t.model.weights_sha256


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("level", LEVELS)
def test_one_hash_on_every_level_and_thread_count(level, threads, data):
    assert trained("adam", data, executor=nn.Executor(level, threads)) == GOLDEN["adam", 1]


@pytest.mark.parametrize("level", LEVELS)
def test_the_whole_toolbox(level, data):
    assert trained("toolbox", data, executor=nn.Executor(level, 2)) == GOLDEN["toolbox", 1]


def test_the_portable_level_with_its_software_fma(data):
    """Slow, so a fifth of the steps: against the best level."""
    found = []
    for level in ("portable", "best"):
        t = trainer("adam", data, steps=40, executor=nn.Executor(level, 2))
        t.run()
        found.append(t.model.weights_sha256)
    assert found[0] == found[1]


@pytest.mark.parametrize("threads", [1, 3])
def test_shards_are_another_and_equally_stable_hash(threads, data):
    for level in LEVELS:
        assert trained("adam", data, shards=4, executor=nn.Executor(level, threads)) == GOLDEN["adam", 4]
    assert GOLDEN["adam", 4] != GOLDEN["adam", 1]


@pytest.mark.parametrize("step", [1, 19, 20, 137])
@pytest.mark.parametrize("kind", ["adam", "toolbox"])
def test_interrupted_and_resumed_on_another_level_and_thread_count(kind, step, data, tmp_path):
    first = trainer(kind, data, steps=step, executor=nn.Executor(LEVELS[0], 2))
    first.run()
    save_checkpoint(first, tmp_path / "checkpoint.safetensors")
    second = trainer(kind, data, executor=nn.Executor(LEVELS[-1], 3))
    load_checkpoint(second, tmp_path / "checkpoint.safetensors")
    assert second.position.step == step
    second.run()
    assert second.position.step == 200
    assert second.model.weights_sha256 == GOLDEN[kind, 1]


def test_fusion_and_memory_reuse_change_no_bit(data):
    from nncore.graph import tape as module

    plain = trainer("adam", data)
    name, batch, effects, outputs, _, _ = plain.tape.spec
    plain.tape = module.compile_tape(name, batch, effects, outputs, plain.model.layout, fuse=False, reuse=False)
    plain.run()
    assert plain.model.weights_sha256 == GOLDEN["adam", 1]


def test_the_twin_runs_the_same_tape_in_double(data):
    """One step on the twin: the float32 loss lies within a few units of the float64 loss."""
    t = trainer("adam", data)
    from nncore.graph.tape import Memory, Position
    from nncore.train.steps import externals

    twin = t.tape.twin()
    assert [i.op for i in twin.instructions] == [i.op for i in t.tape.instructions]
    layout = twin.layout
    memory = Memory(layout)
    for leaf, _ in t.model.layout.leaves.values():
        memory.copy_from(t.model.memory, leaf)
    losses = []
    for tape, m in ((t.tape, t.model.memory), (twin, memory)):
        t.executor.run([(tape, 1)], m, externals(data_samples(data)), Position(), n_samples=len(data), shuffle=True)
        losses.append(m.output(tape, "loss").tolist())
    # 100 rows of log-sum-exp and 784-term chains: gamma_784 = 4.7e-5 is the worst case.
    assert losses[0] == pytest.approx(losses[1], rel=4.7e-5)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("watch", [None, "count", "1,every=7", "2,every=39"])
@pytest.mark.parametrize("kind", ["adam", "toolbox", "lenet5"])
def test_instruments_change_no_bit(kind, watch, data):
    """No flag read, and the levels 0, 1 and 2."""
    executor = Unwatched() if watch is None else nn.Executor()
    assert trained(kind, data, watch=watch, executor=executor) == GOLDEN[kind, 1]


def data_samples(data):
    from nncore.train.samples import samples

    return samples(data)


def test_the_numerics_id_is_told():
    assert lib.nn_numerics_id() == lib.NN_NUMERICS_ID == 1
