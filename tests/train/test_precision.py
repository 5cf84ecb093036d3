"""Emulated formats in a training: what is rounded holds values of the format, and only that; bits, resume, words."""

from __future__ import annotations

import pytest

import nncore as nn
from nncore._ffi import lib
from nncore.bench.cases import Call, given, made
from nncore.errors import UsageError
from nncore.graph.formats import Arithmetic, Format
from nncore.lab.arithmetic import rounded
from nncore.train.checkpoint import load_checkpoint, save_checkpoint
from nncore.train.insight import _phase
from nncore.train.precision import Precision
from tests.harness import isa, raised_by  # noqa: F401


@pytest.fixture(scope="module")
def data():
    return nn.data.glyphs(train=300, test=10, seed=0).train


def trained(data, precision, epochs=1, optimizer=None, **options):
    model = nn.Sequential([nn.Dense(16), nn.Tanh(), nn.Dropout(0.2), nn.Dense(10)], seed=0)
    model.fit(data, epochs=epochs, batch=50, optimizer=optimizer or nn.SGD(0.1), precision=precision, **options)
    return model


def held(model, names, to) -> bool:
    """Whether all these tensors hold values of a format alone."""
    return all(list(t.flat()) == list(rounded(list(t.flat()), to)) for t in names)


def weights(model):
    return [model.parameter(name) for name in model.parameters]


@pytest.mark.parametrize("text", ["weights=bf16", "weights=fp16:up", "weights=p6e-20..10:sr"])
def test_weights_are_of_the_format(data, text):
    model = trained(data, text)
    assert held(model, weights(model), text.removeprefix("weights=").partition(":")[0])
    assert not held(model, weights(model), "p4e-20..10"), "and use all of it"


def test_a_master_copy_stays_whole(data):
    model = trained(data, "weights=bf16,master=fp32")
    assert not held(model, weights(model), "bf16")
    assert model.weights_sha256 != trained(data, None).weights_sha256, "the steps computed with rounded copies"
    assert sum("round_to" in i.op for i in model.tape.instructions) == 4


def test_activations_are_rounded_behind_every_layer(data):
    model = trained(data, "activations=fp8-e5m2")
    rounding = [i for i in model.tape.instructions if i.op == "round_to"]
    assert [i.layer for i in rounding] == ["0 Dense", "1 Tanh", "2 Dropout", "3 Dense"]
    assert len({i.dims[-1] for i in rounding}) == 4, "each with random numbers of its own"


def test_gradients_and_states(data):
    model = trained(data, "gradients=bf16,state=fp16", optimizer=nn.Momentum(0.1))
    states = [model.memory.tensor(s) for name, s in model.states.items()
              if name.startswith("optimizer.") and s.dtype == "real"]
    assert states and held(model, states, "fp16") and any(any(t.flat()) for t in states)
    sgd = trained(data, "gradients=fp8-e5m2", steps=1, optimizer=nn.SGD(1.0))
    start = nn.Sequential([nn.Dense(16), nn.Tanh(), nn.Dropout(0.2), nn.Dense(10)], seed=0).build((28, 28))
    moves = [(a - b) for a, b in zip(start.parameter("3.bias").flat(), sgd.parameter("3.bias").flat(), strict=True)]
    assert moves == list(rounded(moves, "fp8-e5m2")), "biases begin at 0: what they moved by is the gradient"


def test_rounding_to_infinity_is_an_overflow(isa):  # noqa: F811
    """IEEE 754-2019, 7.4: of a finite number beyond the largest, whatever it becomes; not of an infinity, nor of what fits."""
    fp16 = (11, -14, 15, 1, 0)
    for rounding, x, want in ((0, 65520.0, True), (0, 65519.0, False), (0, float("inf"), False), (1, 70000.0, True),
                              (4, -7e4, True), (2, -65536.0, True), (2, -65505.0, False), (2, 1e-8, False), (0, 3e38, True)):
        for threads in (1, 3):
            call = Call([made(40), given([1.0] * 39 + [x])], (40, *fp16, rounding, 0), (0.0,))
            assert raised_by("round_to", call, isa, threads) & lib.NN_OVERFLOW == (lib.NN_OVERFLOW if want else 0), (rounding, x)


def test_activations_are_rounded_in_their_layers_time(data):
    """Not as an update, as which the rounding of weights counts."""
    model = nn.Sequential([nn.Dense(16), nn.Tanh(), nn.Dense(10)], seed=0)
    trainer = model.trainer(data, epochs=1, batch=50, optimizer=nn.SGD(0.1), precision="activations=bf16,weights=bf16")
    rounding = [i for i in trainer.tape.instructions if i.op == "round_to"]
    assert [_phase(i, begun=False) for i in rounding] == ["forward_us"] * 3 + ["update_us"] * 4


def test_stochastic_weights_follow_float32_where_nearest_does_not(data):
    """Rates so low that nearest loses every update of some weights; stochastic rounding keeps the mean."""
    def loss(precision):
        return trained(data, precision, epochs=6, optimizer=nn.SGD(0.003)).evaluate(data).loss

    single, nearest, stochastic = loss(None), loss("weights=p6e-126..127"), loss("weights=p6e-126..127:sr")
    assert abs(stochastic - single) < abs(nearest - single) / 3


def test_instruments_see_what_rounding_loses(data):
    """A weight of bf16 moves by a spacing or not at all: of the same first step nearly all updates are lost, in float32 none."""
    def lost(precision):
        model = nn.Sequential([nn.Dense(16), nn.Tanh(), nn.Dense(10)], seed=0)
        trainer = model.trainer(data, epochs=1, batch=50, optimizer=nn.SGD(1e-5), precision=precision, watch="1,every=1")
        trainer.run()
        row = next(u for u in trainer.observer.ring[0]["updates"] if u["name"] == "0.weight")
        return row["lost"]

    assert lost("weights=bf16") > 0.9 > 0.2 > lost(None)


@pytest.mark.parametrize("text", ["weights=bf16:sr", "weights=bf16:sr,activations=fp16:sr,gradients=fp16,state=bf16:sr"])
def test_bits_repeat_on_any_threads_and_instruction_set(data, text):
    from nncore._ffi import isa_levels
    from nncore.graph.tape import Executor

    found = {trained(data, text, executor=Executor(level, threads)).weights_sha256
             for level, runs in isa_levels().items() if runs and level != "reference" for threads in (1, 3)}
    assert len(found) == 1
    assert found != {trained(data, text.replace(":sr", "")).weights_sha256}


def test_resumes_to_the_bit(data, tmp_path):
    def trainer():
        model = nn.Sequential([nn.Dense(16), nn.Tanh(), nn.Dense(10)], seed=0)
        return model.trainer(data, epochs=3, batch=50, optimizer=nn.Adam(0.01), precision="weights=bf16:sr,state=bf16:sr")

    whole, first, second = trainer(), trainer(), trainer()
    whole.run()
    first.settings.steps = 7
    first.run()
    save_checkpoint(first, tmp_path / "c.safetensors")
    load_checkpoint(second, tmp_path / "c.safetensors")
    second.run()
    assert whole.model.weights_sha256 == second.model.weights_sha256


def test_the_text_and_what_is_wrong_with_it():
    p = Precision.parse("weights=bf16:sr, activations=fp16")
    assert p.weights == Arithmetic(Format.named("bf16"), "stochastic") and p.activations.rounding == "nearest" and p.state is None
    assert not Precision.parse("") and p
    for text, message in [("weights", "PART=FORMAT"), ("products=fp16", "PART=FORMAT"), ("weights=fp17", "no format"),
                          ("weights=bf16:sideways", "no rounding"), ("weights=fp64", "cannot hold"),
                          ("weights=bf16,weights=fp16", "once for each"), ("master=fp32", "beside weights"),
                          ("weights=bf16,master=fp16", "master=fp32")]:
        with pytest.raises(UsageError, match=message):
            Precision.parse(text)
