"""A scaled loss: what it leaves as it is, what it saves, which steps it leaves out; resume, threads, instructions one by one."""

from __future__ import annotations

import pytest

import nncore as nn
from nncore._ffi import isa_levels
from nncore.errors import UsageError
from nncore.graph.tape import Executor
from nncore.lab.training import advance
from nncore.train.checkpoint import load_checkpoint, save_checkpoint
from nncore.train.loss_scale import LossScale
from nncore.train.precision import Precision
from nncore.train.steps import externals


@pytest.fixture(scope="module")
def data():
    return nn.data.glyphs(train=300, test=10, seed=0).train


def trainer_of(data, precision, optimizer=None, **options):
    model = nn.Sequential([nn.Dense(16), nn.Tanh(), nn.Dense(10)], seed=0)
    options = {"epochs": 2, "batch": 50, **options}
    return model.trainer(data, optimizer=optimizer or nn.SGD(0.1), precision=precision, **options)


def trained(data, precision, optimizer=None, **options):
    trainer = trainer_of(data, precision, optimizer, **options)
    trainer.run()
    return trainer.model


def step(trainer, steps: int = 1) -> None:
    """Steps one at a time, over the end of an epoch."""
    for _ in range(steps):
        advance(trainer, 1)
        trainer.position.cursor %= len(trainer.data)


def scale_of(trainer) -> tuple[float, int]:
    record = trainer.settings.precision.loss_scale.record(trainer.model)
    return record["loss_scale"], record["skipped_steps"]


@pytest.mark.parametrize("options", [{}, {"penalty": nn.L2(1e-3)}, {"penalty": nn.L1(1e-3)}, {"clip": nn.ClipNorm(1.0)},
                                     {"shards": 2}, {"loss": nn.CrossEntropy(reduction="sum")}, {"average": nn.EMA(0.9)}],
                         ids=lambda o: next(iter(o), "plain"))  # fmt: skip
def test_a_power_of_two_changes_no_bit_of_float32(data, options):
    """Every operation backwards is linear in the scale; a penalty is scaled and comes back too."""
    plain = trained(data, None, nn.Adam(0.01), **options)
    for text in ("loss_scale=1024", "loss_scale=dynamic:20:3"):
        assert trained(data, text, nn.Adam(0.01), **options).weights_sha256 == plain.weights_sha256, text


def test_small_gradients_survive(data):
    """In a format that ends at 2^2 nothing is left of them; of those times 2^16 the four bits that it has."""
    def moved(precision):
        trainer = trainer_of(data, precision, nn.SGD(1.0), loss=nn.CrossEntropy(reduction="mean"))
        before = list(trainer.model.parameter("2.bias").flat())
        advance(trainer, 1)
        return [a - b for a, b in zip(before, trainer.model.parameter("2.bias").flat(), strict=True)]

    to = "gradients=p4e5..20"
    assert not any(moved(to))
    got, want = moved(f"{to},loss_scale=65536"), moved(None)
    assert all(abs(a - b) <= 2.0**-3 * abs(b) for a, b in zip(got, want, strict=True) if abs(b) > 1e-3) and any(got)


def test_a_step_of_infinite_gradients_is_left_out(data):
    """2^30 overflows fp16: the scale is halved until it does not, and nothing moves meanwhile. Then it goes by its rule."""
    trainer = trainer_of(data, "gradients=fp16,loss_scale=dynamic:30:5", nn.Adam(0.01))
    model, start = trainer.model, trainer.model.weights_sha256
    kept = {name: model.memory.tensor(s).tobytes() for name, s in model.states.items() if name.startswith("optimizer.")}
    skipped = 0
    while scale_of(trainer)[1] == skipped:
        assert model.weights_sha256 == start and scale_of(trainer)[0] == 2.0 ** (30 - skipped)
        assert all(model.memory.tensor(model.states[name]).tobytes() == was for name, was in kept.items())
        step(trainer)
        skipped += 1
        assert skipped < 25
    assert skipped > 3 and trainer.position.step == skipped and model.weights_sha256 != start
    assert model.memory.tensor(model.states["optimizer.count"]).flat()[0] == 1, "steps that were left out do not count"
    good, (scale, count) = 1, scale_of(trainer)
    for _ in range(25):
        step(trainer)
        left_out = scale_of(trainer)[1] - count
        good = 0 if left_out else good + 1
        scale, count = scale / 2 if left_out else scale * 2 if good == 5 else scale, count + left_out
        good %= 5
        assert scale_of(trainer) == (scale, count) and left_out in (0, 1)
    assert model.memory.tensor(model.states["optimizer.count"]).flat()[0] == trainer.position.step - count


def test_the_history_tells(data):
    trainer = trainer_of(data, "gradients=fp16,loss_scale=dynamic:24:4", epochs=3)
    history = trainer.run()
    assert [set(r) >= {"loss_scale", "skipped_steps"} for r in history] == [True] * 3
    assert history[-1]["skipped_steps"] == scale_of(trainer)[1] > 0 and history[-1]["loss"] < history[0]["loss"]


def test_a_fixed_scale_leaves_steps_out_and_stays(data):
    trainer = trainer_of(data, "gradients=fp16,loss_scale=1e30")
    start = trainer.model.weights_sha256
    advance(trainer, 3)
    assert trainer.model.weights_sha256 == start and scale_of(trainer) == (pytest.approx(1e30), 3)


@pytest.mark.parametrize("threads", [1, 3])
def test_bits_repeat_on_any_threads_and_instruction_set(data, threads):
    text = "gradients=fp16,accumulate=fp16,loss_scale=dynamic:26:4"
    want = trained(data, text, executor=Executor(threads=1)).weights_sha256
    for isa, runs in isa_levels().items():
        if runs:
            assert trained(data, text, executor=Executor(isa, threads)).weights_sha256 == want, isa


def test_resumes_to_the_bit(data, tmp_path):
    def trainer():
        return trainer_of(data, "gradients=fp16,loss_scale=dynamic:24:3", nn.Momentum(0.05), epochs=3)

    whole, first, second = trainer(), trainer(), trainer()
    whole.run()
    for steps in (4, 11):  # while it still falls, and when it has doubled
        first = trainer()
        first.settings.steps = steps
        first.run()
        save_checkpoint(first, tmp_path / "c.safetensors")
        second = trainer()
        load_checkpoint(second, tmp_path / "c.safetensors")
        second.run()
        assert whole.model.weights_sha256 == second.model.weights_sha256 and scale_of(whole) == scale_of(second)


def test_one_instruction_at_a_time(data):
    """A partial step knows whether it has ended: what instruments and replay do leaves the bits as they are."""
    whole, single = (trainer_of(data, "gradients=fp16,loss_scale=dynamic:24:3", nn.Adam(0.01)) for _ in range(2))
    step(whole, 9)
    bound, memory = externals(single.data), single.model.memory
    for _ in range(9):
        for i in range(len(single.tape.instructions)):
            single.executor.run([(single.tape, 1)], memory, bound, single.position, seed=single.settings.seed,
                                n_samples=len(single.data), shuffle=True, instructions=(i, i + 1))
        single.position.step, single.position.cursor = single.position.step + 1, (single.position.cursor + 50) % 300
    assert 0 < scale_of(whole)[1] < 9
    assert _weights_of(single) == _weights_of(whole) and scale_of(single) == scale_of(whole)


def _weights_of(trainer) -> bytes:
    return trainer.model.snapshot()[0]


def test_the_flags_tell_which_steps_overflowed(data):
    """Level 0 counts an overflow of the gradients' rounding in the steps that were left out, and nothing behind them."""
    trainer = trainer_of(data, "gradients=fp16,loss_scale=dynamic:24:100", epochs=1)
    trainer.run()
    rounding = {i for i, x in enumerate(trainer.tape.instructions) if x.op == "round_to"}
    counted = {i: steps for (_, i, kind), (steps, _) in trainer.events.found.items() if kind == "overflow"}
    assert set(counted) <= rounding and max(counted.values()) == scale_of(trainer)[1] > 0


def test_the_text_and_what_is_wrong_with_it():
    assert LossScale.parse("dynamic") == LossScale(2.0**15, 2000) and LossScale.parse("dynamic:20:7") == LossScale(2.0**20, 7)
    assert LossScale.parse("1000") == LossScale(1000.0, 0) and Precision.parse("loss_scale=8").loss_scale == LossScale(8.0, 0)
    for text in ("", "static", "dynamic:x", "dynamic:1:2:3", "dynamic:5:0", "dynamic:200", "dynamic:3:-1", "nan", "inf", "0"):
        with pytest.raises(UsageError, match="loss_scale"):
            Precision.parse(f"loss_scale={text}")
    with pytest.raises(UsageError, match="power of two"):
        LossScale(1000.0, 5)
