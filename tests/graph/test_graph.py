"""What the graph carries from day one (architecture.md, "Decided now"), each with a tiny test, through compiled tapes."""

import random
from array import array

import pytest

import nncore as nn
from nncore.graph import ops
from nncore.graph.autodiff import gradients
from nncore.graph.node import Input, State
from nncore.graph.plan import Layout, linearise
from nncore.graph.tape import Executor, Memory, compile_tape
from nncore.tensor import Tensor
from tests.gradcheck import check, fill, flat, parameter, run_values

COUNT = State("count", (1,), "i64")


def constant(c):
    """A rate: a float64 tensor of one element, made by the schedule op."""
    return ops.schedule(COUNT, kind=0, values=(c,))


def test_a_parameter_used_by_several_nodes_gets_the_sum_in_a_fixed_order():
    x, w, r = parameter("x", 3, 4), parameter("w", 4, 4), State("r", (3, 4))
    rng = random.Random(5)
    values = {x: [rng.gauss(0, 1) for _ in range(12)], w: [rng.gauss(0, 0.5) for _ in range(16)], r: [1.0] * 12}
    y = ops.dense(ops.tanh(ops.dense(x, w, None)), w, None)
    assert check(ops.sum_all(ops.mul(y, r)), values) == 28
    # Two shards: the uses are added within each shard first, then over the shards.
    x.shards = 2
    x2 = ops.tanh(ops.dense(x, w, None))
    loss = ops.tree_sum(ops.sum_all(ops.mul(ops.dense(x2, w, None), r)))
    grads = gradients(loss, [w])
    assert grads[w].op is ops.tree_sum and grads[w].inputs[0].op is ops.add


def test_several_tapes_over_one_arena_each_update_their_own_part():
    w, v, layout = parameter("w", 2), parameter("v", 2), Layout()
    loss = ops.add(ops.sum_squares(w, scale=0.5), ops.sum_squares(v, scale=0.5))
    grads = gradients(loss, [w, v])
    first = compile_tape("w only", 1, [ops.sgd(w, grads[w], constant(0.5))], {}, layout)
    second = compile_tape("v only", 1, [ops.sgd(v, grads[v], constant(0.25))], {}, layout)
    memory, executor = Memory(layout), Executor(threads=1)
    for leaf in (w, v):
        fill(memory, leaf, [4.0, -8.0])
    executor.run([(first, 1)], memory, {})
    assert (flat(memory.tensor(w)), flat(memory.tensor(v))) == ([2.0, -4.0], [4.0, -8.0])
    executor.run([(second, 2)], memory, {})
    assert (flat(memory.tensor(w)), flat(memory.tensor(v))) == ([2.0, -4.0], [2.25, -4.5])


def test_state_is_carried_across_steps():
    h, w, x = State("h", (1, 1)), parameter("w", 1, 1), parameter("x", 1, 1)
    new = ops.add(ops.dense(h, w, None), x)  # a linear recurrence h <- w h + x
    layout = Layout()
    tape = compile_tape("recurrent", 1, [ops.assign(h, new)], {}, layout)
    memory, executor = Memory(layout), Executor(threads=1)
    fill(memory, w, [0.5])
    fill(memory, x, [1.0])
    seen = []
    for _ in range(4):
        executor.run([(tape, 1)], memory, {})
        seen += flat(memory.tensor(h))
    assert seen == [1.0, 1.5, 1.75, 1.875]


def test_an_update_that_is_not_a_gradient_the_perceptron_rule():
    """w <- w + x^T (t - step(x w + b)) until nothing is wrong: learns AND (Rosenblatt 1958)."""
    x, t, w, b = parameter("x", 4, 2), parameter("t", 4, 1), parameter("w", 2, 1), parameter("b", 1)
    error = ops.sub(t, ops.step(ops.dense(x, w, b)))
    effects = [ops.assign(w, ops.add(w, ops.dense_bwd_weight(x, error))), ops.assign(b, ops.add(b, ops.sum_rows(error)))]
    layout = Layout()
    tape = compile_tape("perceptron", 4, effects, {"error": error}, layout)
    memory, executor = Memory(layout), Executor(threads=1)
    memory.reserve(tape.nbytes)
    fill(memory, x, [0, 0, 0, 1, 1, 0, 1, 1])
    fill(memory, t, [0, 0, 0, 1])
    for _ in range(20):
        executor.run([(tape, 1)], memory, {})
    assert flat(memory.output(tape, "error")) == [0.0] * 4


def test_integer_types_flow_through_the_graph():
    z = parameter("z", 3, 4)
    labels = ops.gather_labels(Input("labels", (), "u8", 2), None, shape=(3,), classes=4)
    values = {z: [0, 3, 1, 2, 9, 1, 1, 1, 0, 0, 0, 5]}
    external = Tensor((3,), "u8", bytes([1, 2, 3]))
    wanted = {"best": ops.argmax(z), "labels": labels}
    _, _, rerun = run_values([], wanted, values, {2: external}, real="f32", n_samples=3, batch=3)
    assert rerun() == {"best": [1, 0, 3], "labels": [1, 2, 3]}


def test_targets_may_be_the_inputs():
    """An autoencoder 4-2-4 on rank-2 data finds a code: the loss falls by a factor of a hundred."""
    rng = random.Random(2)
    rows = []
    for _ in range(64):
        a, b = rng.gauss(0, 1), rng.gauss(0, 1)
        rows += [a, b, a + b, a - b]
    x = Tensor((64, 4), "f32", array("f", rows))
    model = nn.Sequential([nn.Dense(2), nn.Dense(4)], seed=1)
    history = model.fit((x, x), epochs=300, batch=64, optimizer=nn.Adam(0.02), loss=nn.MSE())
    assert history[-1]["loss"] < history[0]["loss"] / 100


def test_a_last_batch_of_another_size_has_its_own_tape_and_the_same_parameters():
    x = Tensor((10, 3), "f32", array("f", [i / 10 for i in range(30)]))
    y = Tensor((10,), "u8", bytes(i % 2 for i in range(10)))
    model = nn.Sequential([nn.Dense(4), nn.ReLU(), nn.Dense(2)])
    trainer = model.trainer((x, y), epochs=2, batch=4)
    assert (trainer.tape.batch, trainer.tail.batch) == (4, 2)
    params = [{b.name: b.offset for b in t.buffers if b.region == "param"} for t in (trainer.tape, trainer.tail)]
    assert params[0] == params[1]
    history = trainer.run()
    assert [r["step"] for r in history] == [3, 6]


def test_the_plan_reuses_memory_and_changes_no_bit():
    x, w, values = parameter("x", 8, 8), parameter("w", 8, 8), {}
    rng = random.Random(9)
    for leaf in (x, w):
        values[leaf] = [rng.gauss(0, 0.4) for _ in range(64)]
    y = x
    for _ in range(6):
        y = ops.tanh(ops.dense(y, w, None))
    grads = gradients(ops.sum_squares(y), [w])
    found = {}
    for reuse in (True, False):
        for fuse in (True, False):
            layout = Layout()
            tape = compile_tape("deep", 8, [], {"dw": grads[w]}, layout, fuse, reuse)
            memory = Memory(layout)
            for leaf, data in values.items():
                fill(memory, leaf, data)
            Executor(threads=2).run([(tape, 1)], memory, {})
            found[reuse, fuse] = (memory.output(tape, "dw").tobytes(), tape.nbytes["work"], len(tape.instructions))
    assert len({bits for bits, _, _ in found.values()}) == 1
    assert found[True, True][1] < found[False, True][1]
    assert found[True, True][2] == found[True, False][2] - 6  # every tanh rides behind its product


def test_updates_come_as_early_as_their_last_reader_allows():
    x, w, v = parameter("x", 2, 3), parameter("w", 3, 3), parameter("v", 3, 1)
    loss = ops.sum_squares(ops.dense(ops.tanh(ops.dense(x, w, None)), v, None))
    grads = gradients(loss, [w, v])
    steps = linearise([ops.sgd(w, grads[w], constant(0.1)), ops.sgd(v, grads[v], constant(0.1))], [loss])
    names = [s.node.op.name for s in steps]
    update = next(i for i, s in enumerate(steps) if s.node.op is ops.sgd and s.node.inputs[0] is v)
    readers = [i for i, s in enumerate(steps) if s.node.op is not ops.sgd and v in s.inputs]
    assert update > max(readers) and names.count("sgd") == 2


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(nn.ShapeError, match=r"dense: weight \(5, 2\) expects 5 inputs, got x \(3, 4\)"):
        ops.dense(parameter("x", 3, 4), parameter("w", 5, 2), None)
    with pytest.raises(nn.ShapeError, match="unknown attribute slop"):
        ops.leaky_relu(parameter("x", 3, 4), slop=1)


def test_the_registry_has_a_row_for_every_kernel_op():
    from nncore._ffi import op_names

    assert set(ops.OPS) == set(op_names())
