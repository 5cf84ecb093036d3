"""IEEE flags by instruction: what is counted, the same on every level and thread count, and what a policy does with it."""

import ctypes
import warnings
from array import array

import pytest

import nncore as nn
from nncore._ffi import lib
from nncore.bench.cases import Call, collect, given, made
from nncore.errors import FlaggedError
from nncore.graph import ops
from nncore.graph.events import Events, Policy
from nncore.graph.node import Input
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, compile_tape
from nncore.nn.base import Layer
from nncore.tensor import Tensor
from nncore.train.instruments import Instruments
from tests.harness import have, raised_by

LEVELS = [level for level in ("scalar", "avx2", "avx512", "neon") if have(level)]
SEEN = lib.NN_INVALID | lib.NN_DIVIDE | lib.NN_OVERFLOW
INF = float("inf")
# Branches that are computed and not taken overflow in vectors, only where numbers come near the largest: docs/numerics.md.
BESIDE = {"huber", "layer_norm_bwd"}
# What the operation itself asks for on such data: the quotient of zeros, the logarithm of one, exp of a large number.
ASKED = {("quotient", "zero"), ("quotient", "denormal"), ("logarithm", "zero"), ("logarithm", "denormal"),
         ("exponential", "lognormal")}


# ---- kernels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", collect(), ids=lambda c: c.name)
def test_no_kernel_raises_a_false_flag(case):
    """Not in the lanes behind the last element, nor in a branch that is not taken; huge numbers raise the same everywhere."""
    sizes = [s for s in case.sizes if all(s) and product(s) <= 3000]
    for size in [*sizes[:6:2], *sizes[-2:]]:
        for kind in (*case.kinds, *(["huge"] if case.special and case.op not in BESIDE else [])):
            call = case.call(size, kind)
            raised = {level: raised_by(case.op, call, level) & SEEN for level in LEVELS}
            assert len(set(raised.values())) == 1, f"{size} {kind}: {raised}"
            if kind != "huge" and (case.op, kind) not in ASKED:
                assert set(raised.values()) == {0}, f"{size} {kind}: {raised}"


def product(size):
    n = 1
    for s in size:
        n *= s
    return n


@pytest.mark.parametrize("op, values, kinds", [
    ("quotient", ([1.0], [0.0]), lib.NN_DIVIDE), ("quotient", ([0.0], [0.0]), lib.NN_INVALID),
    ("quotient", ([3e38], [1e-3]), lib.NN_OVERFLOW), ("quotient", ([1e-38], [1e3]), lib.NN_UNDERFLOW),
    ("sub", ([INF], [INF]), lib.NN_INVALID), ("mul", ([INF], [0.0]), lib.NN_INVALID), ("mul", ([INF], [2.0]), 0),
    ("logarithm", ([0.0],), lib.NN_DIVIDE), ("logarithm", ([-1.0],), lib.NN_INVALID), ("logarithm", ([INF],), 0),
    ("square_root", ([-1.0],), lib.NN_INVALID), ("square_root", ([-0.0],), 0), ("exponential", ([90.0],), lib.NN_OVERFLOW),
])
@pytest.mark.parametrize("level", [*LEVELS, "reference"])
def test_each_kind(op, values, kinds, level):
    for n in (1, 9, 40):
        call = Call([made(n), *(given([1.0] * (n - 1) + v) for v in values)], (n,))
        assert raised_by(op, call, level) & (SEEN | kinds) == kinds
        if n == 40:
            assert raised_by(op, call, level, threads=3) & (SEEN | kinds) == kinds


# ---- runs ------------------------------------------------------------------------------------------------------------


def tape_of(n=8, math="f32"):
    """log(x) of an external, and a product of it."""
    x = Input("data", (n, 64), "f32", 0)
    mean, scale = (Input(name, (1,), "f32", k) for name, k in (("mean", 1), ("scale", 2)))
    rows = ops.gather_f32(x, None, mean, scale, shape=(n, 64))
    y = ops.logarithm(rows)
    return compile_tape("t", n, [], {"y": y, "p": ops.mul(y, rows)}, Layout("f32", math))


def run(values, policy=None, threads=1, isa=None, steps=1):
    tape = tape_of()
    memory, events = Memory(tape.layout), Events(policy)
    one = Tensor((1,), "f32", array("f", [1.0]).tobytes())
    zero = Tensor((1,), "f32", array("f", [0.0]).tobytes())
    data = Tensor((8, 64), "f32", array("f", values).tobytes())
    Executor(isa, threads).run([(tape, steps)], memory, {0: data, 1: zero, 2: one}, n_samples=8 * steps, events=events)
    return tape, events


def test_counts_name_instruction_kind_and_first_step():
    tape, events = run([1.0] * 511 + [0.0])
    assert [(r["op"], r["kind"], r["steps"], r["first_step"]) for r in events.rows([tape])] == [
        ("logarithm", "divide", 1, 0), ("mul", "invalid", 1, 0)]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("level", LEVELS)
def test_the_same_on_every_level_and_thread_count(level, threads):
    found = [run([0.5] * place + [0.0] + [0.5] * (511 - place), threads=threads, isa=level)[1].found for place in (0, 200, 511)]
    assert all(f == found[0] for f in found) and len(found[0]) == 2


def test_raise_names_the_first_instruction_and_ignore_nothing():
    with pytest.raises(FlaggedError, match=r"op logarithm \(instruction 1\).*: divide") as caught:
        run([0.0] * 512, Policy(divide="raise", invalid="raise"))
    assert (caught.value.instruction, caught.value.step, caught.value.kinds) == (1, 0, ("divide",))
    assert run([0.0] * 512, Policy("ignore", "ignore", "ignore"))[1].found == {}


def test_a_caller_who_rounds_upward_changes_no_bit():
    """numerics.md R6: other packages leave their rounding behind; it is put back after the run."""
    fenv = ctypes.CDLL(None)
    upward = 0x800 if lib.nn_kernels_named(b"neon") == nn._ffi.ffi.NULL else 0x400000
    tape, _ = run([0.7] * 512)
    tensors = [Tensor((len(v),), "f32", array("f", v).tobytes()) for v in ([0.7] * 512, [0.0], [1.0])]

    def bits():
        memory = Memory(tape.layout)
        Executor(threads=1).run([(tape, 1)], memory, dict(enumerate(tensors)), n_samples=8)
        return memory.output(tape, "p").tobytes()

    expected = bits()
    try:
        assert fenv.fesetround(upward) == 0
        assert bits() == expected
        assert fenv.fegetround() == upward
    finally:
        fenv.fesetround(0)


# ---- training --------------------------------------------------------------------------------------------------------


class Vanishing(Layer):
    """A penalty of 1 / exp(500 + x): infinite on the way, 0 in the end."""

    def build(self, builder, *inputs):
        x = inputs[0]
        far = ops.exponential(ops.add(ops.scale(x, c=1e-3), ops.fill(x, c=500.0)))
        builder.penalties.append(ops.sum_all(ops.quotient(ops.fill(x, c=1.0), far)))
        return x


@pytest.fixture(scope="module")
def data():
    return nn.data.glyphs(train=300, test=10, seed=0).train


def trainer(data, watch, layers=None, **options):
    model = nn.Sequential(layers or [nn.Dense(16), nn.ReLU(), nn.Dense(10)], seed=0)
    return model.trainer(data, epochs=3, batch=50, watch=watch, optimizer=options.pop("optimizer", nn.SGD(0.1)), **options)


def test_raise_keeps_the_steps_before_it(data):
    """A rate that explodes: the weights are those that the last good step left, as a shorter run finds them."""
    broken = trainer(data, "raise", optimizer=nn.SGD(1e18))
    with pytest.raises(nn.NonFiniteError) as caught:
        broken.run()
    found = caught.value.diagnosis
    assert found.step == broken.position.step > 0
    shorter = trainer(data, "ignore", optimizer=nn.SGD(1e18), steps=found.step)
    shorter.run()
    assert broken.model.weights_sha256 == shorter.model.weights_sha256
    assert [r["step"] for r in broken.observer.ring][-1] <= found.step


def test_every_level_and_thread_count_tells_the_same(data):
    found = set()
    for level in LEVELS:
        for threads in (1, 2):
            broken = trainer(data, "raise", optimizer=nn.SGD(1e18), executor=nn.Executor(level, threads))
            with pytest.raises(nn.NonFiniteError) as caught:
                broken.run()
            found.add(str(caught.value))
    assert len(found) == 1


def test_warn_says_it_once(data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(data, "overflow=warn", [Vanishing(), nn.Dense(10)]).run()
    text = [str(w.message) for w in caught if w.category is UserWarning]
    assert len(text) == 1 and "layer 0 Vanishing, op exponential" in text[0] and "an overflow" in text[0]


def test_an_overflow_that_no_loss_shows(data):
    with pytest.raises(FlaggedError, match="layer 0 Vanishing, op exponential .* is inf, made here by an overflow"):
        trainer(data, "raise", [Vanishing(), nn.Dense(10)]).run()
    counted = trainer(data, None, [Vanishing(), nn.Dense(10)])
    counted.run()
    assert [(r["op"], r["kind"], r["steps"]) for r in counted.observer.events()] == [("exponential", "overflow", 18)]


def test_a_weight_that_an_update_broke_is_traced_to_its_step(data):
    """1 / exp(500 + x) is 0, but its gradient 0 / inf * inf is NaN: only the next step meets it."""
    with pytest.raises(nn.NonFiniteError, match=r"step 0, layer 1 Vanishing, op exponential .* made here") as caught:
        trainer(data, None, [nn.Dense(16), Vanishing(), nn.Dense(10)]).run()
    assert caught.value.diagnosis.step == 0


@pytest.mark.parametrize("text, complaint", [("3", "level"), ("loud", "neither a level"), ("invalid=shout", "choose one of"),
                                             ("every=0", "positive"), ("every=x", "every=N"), ("", "neither")])
def test_bad_settings(text, complaint):
    with pytest.raises(nn.UsageError, match=complaint):
        Instruments.parse(text)


def test_settings():
    found = Instruments.parse("2, every=7, raise, overflow=warn")
    assert found == nn.Instruments(2, 7, nn.Policy("raise", "raise", "warn", "ignore"))
    with pytest.raises(nn.UsageError, match="watch takes"):
        trainer(nn.data.glyphs(train=100, test=10, seed=0).train, 1.5)
