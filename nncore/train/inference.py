"""Using a network: evaluation, prediction, top-k, over data of any length, a batch at a time.

The tapes are kept with the model, by what they compute and for which batch. Several heads: everything is a dict by name.
"""

from __future__ import annotations

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.fold import fold as folded
from nncore.graph.node import Node
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Position, Tape, compile_tape
from nncore.nn.losses import MSE, CrossEntropy, Loss, MultiTask
from nncore.tensor import Tensor
from nncore.train.metrics import Evaluation
from nncore.train.samples import Samples
from nncore.train.steps import apply_loss, externals, measure, write_weights

PREDICT_BATCH, PREDICT_NBYTES = 1000, 16 << 20  # samples at a time, and what their values may take
_ZEROS = bytes(32)


def default_loss(data: Samples) -> Loss:
    """CrossEntropy for labels, MSE for targets, head by head."""
    if data.heads:
        return MultiTask({name: CrossEntropy() if y.dtype == "u8" else MSE() for name, y in data.heads.items()})
    return CrossEntropy() if data.labels is not None else MSE()


def evaluate(model, data: Samples, loss: Loss | None, executor: Executor | None) -> Evaluation:
    """Loss and accuracy over all samples, and of each head where there are several."""
    model.expect(data.image_shape)
    loss = loss or default_loss(data)
    losses = loss.losses if isinstance(loss, MultiTask) else {"": loss}
    sums = {head: model.state(f"evaluation{head and '.'}{head}", (4,), "f64") for head in losses}

    def build(batch):
        z, t, _ = model.graph(data, batch, training=False)
        effects = []
        for head, one in losses.items():
            zh, th = (z[head], t[head]) if head else (z, t)
            value = apply_loss(one, model, zh, th, head=head)
            value = value if one.reduction == "mean" else ops.scale(value, c=1.0 / batch)
            effects.append(measure(sums[head], value, zh, th, batch))
        return effects, {}

    parts = segments(model, "evaluate", data, build, repr(loss))
    counted = _counted(parts[0][0])
    model.memory.reserve({})
    for s in sums.values():
        model.memory.tensor(s).view()[:] = memoryview(_ZEROS).cast("d")
    write_weights(loss, model)
    (executor or Executor()).run(parts, model.memory, externals(data), n_samples=len(data))
    found = {}
    for head, s in sums.items():
        total, correct, count, _ = model.memory.tensor(s).tolist()
        found[head] = Evaluation(len(data), total / count, correct / count if counted[s.name] else None)
    if not isinstance(loss, MultiTask):
        return found[""]
    return Evaluation(len(data), sum(loss.factors[h] * e.loss for h, e in found.items()), None, found)


def _counted(tape: Tape) -> dict[str, bool]:
    """Whether a tape counts correct answers, by the names of the sums: its `metrics` then has the predictions."""
    return {tape.buffers[i.args[0]].name: i.args[2] >= 0 for i in tape.instructions if i.op == "metrics"}


def collect(model, what: str, data: Samples, executor: Executor | None, fold: bool = False) -> Tensor | dict[str, Tensor]:
    """The outputs over all samples: "classes", "proba" or "values"; one output gives its values in any case."""
    model.expect(data.image_shape)
    data = Samples(data.x, rows=data.rows)

    def build(batch):
        z, *_ = model.graph(data, batch, training=False)
        heads = z if isinstance(z, dict) else {"": z}
        found = dict(zip(heads, folded(list(heads.values())), strict=True)) if fold else heads
        return [], {head: answer(what, zh) for head, zh in found.items()}

    found: dict[str, Tensor] = {}
    position, executor = Position(), executor or Executor()
    for tape, steps in segments(model, what, data, build, fold):
        for _ in range(steps):
            begin = position.cursor
            executor.run([(tape, 1)], model.memory, externals(data), position, n_samples=len(data))
            for head in tape.outputs:
                part = model.memory.output(tape, head)
                each = part.nbytes // tape.batch
                if head not in found:
                    found[head] = Tensor((len(data), *part.shape[1:]), part.dtype, bytearray(len(data) * each))
                found[head].memory[begin * each : position.cursor * each] = part.memory
    return found if isinstance(model.outputs, dict) else found[""]


def answer(what: str, z: Node) -> Node:
    """What is asked for, of a network's outputs: "classes", "proba" or "values"; one output gives its value in any case."""
    z = ops.flatten(z)
    if what == "values" or z.shape[1] == 1:
        return z
    if what == "classes":
        return ops.argmax(z)
    return z if z.op is ops.softmax else ops.softmax(z)  # a network that ends in Softmax gives probabilities already


def argmax(rows: list[list[float]]) -> list[int]:
    """The first largest of each row, or its first NaN."""
    return [next((j for j, v in enumerate(row) if v != v), row.index(max(row))) for row in rows]


def top_k(model, data: Samples, k: int, executor: Executor | None) -> float:
    """Share of samples whose label is among the k largest outputs."""
    model.expect(data.image_shape)
    if data.labels is None or not 1 <= k <= width(model, data):
        raise UsageError(f"top_k needs labels and k between 1 and {width(model, data)} outputs, got k = {k}")
    hits = model.state("evaluation.hits", (1,), "f64")

    def build(batch):
        z, t, _ = model.graph(data, batch, training=False)
        return [ops.top_k(hits, ops.flatten(z), t, k=k)], {}

    parts = segments(model, "top_k", data, build, k)
    model.memory.reserve({})
    model.memory.tensor(hits).flat()[0] = 0.0
    (executor or Executor()).run(parts, model.memory, externals(data), n_samples=len(data))
    return model.memory.tensor(hits).tolist()[0] / len(data)


def width(model, data: Samples) -> int:
    """Number of outputs of a network with one head. Raises UsageError for several."""
    z, *_ = model.graph(Samples(data.x), 1, training=False)
    if isinstance(z, dict):
        raise UsageError(f"the network has the heads {', '.join(z)}: look at the one you mean in what predict gives")
    return z.size


def predict_batch(model, data: Samples) -> int:
    """Samples at a time: PREDICT_BATCH, or fewer where their values would take more than PREDICT_NBYTES. The network and the
    shape of a sample decide alone, so that sums over batches have the same bits in training and ever after.
    """
    key = (data.x.dtype, data.rows is not None)
    if key not in model.batches:
        few, many = (planned_nbytes(model, data, n) for n in (8, 16))
        model.batches[key] = max(1, min(PREDICT_BATCH, 8 * PREDICT_NBYTES // max(many - few, 1)))
    return model.batches[key]


def planned_nbytes(model, data: Samples, batch: int | None = None) -> int:
    """Bytes of the values of a prediction step over samples like these; nothing is allocated."""
    batch = batch or predict_batch(model, data)
    z, *_ = model.graph(Samples(data.x, rows=data.rows), batch, training=False)
    return compile_tape("plan", batch, [], z if isinstance(z, dict) else {"y": z}, Layout()).nbytes["work"]


def segments(model, what: str, data: Samples, build, *key) -> list[tuple[Tape, int]]:
    """Whole batches and a tail over `data`; the tapes are kept for the next call."""
    n = len(data)
    size = min(predict_batch(model, data), n)
    found = []
    for batch, steps in ((size, n // size), (n % size, 1)):
        if batch:
            signature = (what, batch, data.x.dtype, data.rows is not None, data.targets is not None, *key)
            if signature not in model.tapes:
                effects, outputs = build(batch)
                model.tapes[signature] = compile_tape(f"{model.name}/{what}", batch, effects, outputs, model.layout)
            found.append((model.tapes[signature], steps))
    if model.tape is None:
        model.tape = found[0][0]
    return found

