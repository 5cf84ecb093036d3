"""The suite that judges other people's kernels, judged: no false alarm on ours, and none of them passes with a wrong digit."""

from __future__ import annotations

from array import array

import pytest

from nncore._ffi import op_names
from nncore.bench import conformance as c
from nncore.bench.kernels import Bench, Machine
from nncore.bench.signature import header, signatures

EACH = pytest.mark.parametrize("name", signatures())


def ours(trial: c.Trial, spoil=None) -> c.Ran:
    """A trial run on our own kernels, its first output spoiled if asked."""
    bench = Bench(trial.case.op, trial.call, Machine(None, 1))
    written = bench.outputs()
    if spoil:
        spoil(trial, written[0])
    slots = iter(range(len(trial.call.args)))
    memory = [None if a is None else c.CANARY + bench.externals[next(slots)].tobytes() + c.CANARY for a in trial.call.args]
    if trial.alias:  # as if it lay there: as long as the input
        source = memory[trial.alias[1]]
        memory[trial.alias[1]] = memory[trial.alias[0]][:-64] + source[len(memory[trial.alias[0]]) - 64 :]
    return c.Ran("done", memory=memory)


def wrong_digit(trial: c.Trial, values) -> None:
    """A thousandth too much, or one."""
    for i, v in enumerate(values):
        values[i] = v + 1 if isinstance(v, int) else v * 1.001 + 1e-3
        break


@EACH
def test_no_false_alarm_and_a_wrong_digit_is_found(name):
    found = c.trials(signatures()[name])
    checks = c.judge(found, [ours(t) for t in found])
    assert not [x.failure for x in checks if x.failed]
    assert {"values", "memory", "determinism"} <= {x.name for x in checks} and all(x.trials for x in checks)
    values = [t for t in found if t.check == "values"]
    (check,) = c.judge(values, [ours(t, wrong_digit) for t in values])
    assert check.failed and check.failure.startswith(name)


BACKWARD = [n for n in signatures() if "_bwd" in n or "dz" in signatures()[n].arguments]


@pytest.mark.parametrize("name", BACKWARD)
def test_gradients_are_checked_against_the_forward_op(name):
    """A wrong sign is found."""
    found = [t for t in c.trials(signatures()[name]) if t.check == "gradient"]

    def turn(trial, values):
        for i, v in enumerate(values):
            values[i] = -v if v else 1.0

    def wrong(trial):  # the derivative, not the loss beside it
        ran = ours(trial)
        for i in trial.call.outputs:
            data = array("f", ran.memory[i][64:-64])
            turn(trial, data)
            ran.memory[i] = c.CANARY + data.tobytes() + c.CANARY
        return ran

    assert found and all(x.failed == x.trials for x in c.judge(found, [wrong(t) for t in found]))


def test_what_a_trial_leaves_in_memory():
    trial = next(t for t in c.trials(signatures()["add"]) if t.check == "values")

    def said(change) -> str:
        ran = ours(trial)
        change(ran)
        return c.judge([trial], [ran])[0].failure

    assert said(lambda ran: None) == ""

    def write(argument, at):
        def change(ran):
            data = bytearray(ran.memory[argument])
            data[at] ^= 1
            ran.memory[argument] = bytes(data)

        return change

    assert "argument 0: wrote behind its end" in said(write(0, -64)) and "behind its end" in said(write(2, -1))
    assert "argument 1: wrote before its beginning" in said(write(1, 63))
    assert "argument 1 is an input and was changed" in said(write(1, 64))
    assert "ended by signal 8" in said(lambda ran: setattr(ran, "status", "signal") or setattr(ran, "number", 8))


def test_ops_without_a_function_of_their_own():
    """Those that draw random numbers, read the position, or fault: nothing else is left out."""
    assert set(op_names()) - set(signatures()) == {
        "gather_u8", "gather_f32", "gather_labels", "gather_targets", "dropout", "spatial_dropout", "warp", "elastic_field",
        "erase", "noise", "mix_draw", "cutmix", "schedule", "init_uniform", "init_normal", "check_finite", "round_to"}


def test_prototypes():
    s = signatures()
    assert s["dense_fwd"].prototype == ("void dense_fwd(float *y, const float *x, const float *w, const float *b, int64_t N, "
                                        "int64_t I, int64_t O);")
    assert "int64_t dh, int64_t dw_, int64_t G" in s["conv_bwd_weight"].prototype, "a size called like a buffer"
    assert s["max_pool_fwd"].prototype.startswith("void max_pool_fwd(float *y, void *index, const float *x"), "u8 or i32"
    assert s["adam"].prototype.startswith("void adam(float *w, float *m, float *v, const float *g, const double *rate, const int")
    assert "w, m, v: read and written." in header() and "b may be NULL." in header()
    with pytest.raises(ValueError, match="fused"):
        from nncore.bench.cases import Call

        s["dense_fwd"].convert(Call([None] * 4, (1, 2, 3, op_names()["relu_fwd"]), ()))
