"""Insight: what a report shows of a trained network beyond its history - everything that needs the network or the data.

`insight` looks at a model over the samples of a split and gives plain JSON ("nncore.insight/1"): figures as numbers,
pictures as base64 of their bytes, row by row. Whoever draws it (nncore.report) needs neither model nor data.

    evaluation   n, loss, accuracy, standard_error        classes      their names
    confusion    counts [true][predicted]                 calibration  bins of confidence, ece, brier
    worst        wrong with the largest probability       uncertain    smallest largest probability
    wrong        all wrong samples, the first MOST of them
    regression   rmse, mae and pairs (target, prediction), where there are targets instead of labels
    filters      weights of the first layer as pictures   maps         what each layer makes of one sample
    layers       name, settings, output shape, parameters
"""

from __future__ import annotations

import base64
from array import array
from math import isqrt, log, prod, sqrt

from nncore.graph.node import Input, Node, State
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Instruction, Memory, compile_tape
from nncore.nn.losses import MSE, CrossEntropy, Loss
from nncore.tensor import Tensor
from nncore.train.metrics import confusion
from nncore.train.model import Model
from nncore.train.samples import Samples, samples
from nncore.train.steps import externals
from nncore.train.watch import layer_names, layer_outputs

SCHEMA = "nncore.insight/1"
SHOWN = 12  # samples in a list of the worst or least certain
MOST = 2000  # pictures of wrong samples
BINS = 15  # of the reliability diagram
UNITS = 256  # pictures of first-layer weights
CHANNELS = 32  # maps of one layer
PAIRS = 1000  # points of a regression


def insight(model: Model, data, image: int = 0, executor: Executor | None = None) -> dict:
    """Everything above about a model over labelled samples, or samples with targets; `image` is the sample for `maps`.

    Raises ShapeError for samples that the model does not take.
    """
    data = samples(data)
    executor = executor or Executor()
    image = min(max(image, 0), len(data) - 1)
    found: dict = {"schema": SCHEMA, "n": len(data), "image_shape": list(model.image_shape), "layers": describe(model)}
    evaluation = model.evaluate(data, executor=executor)
    found["evaluation"] = {"n": evaluation.n, "loss": evaluation.loss, "accuracy": evaluation.accuracy,
                           "standard_error": evaluation.standard_error}
    if data.labels is not None and evaluation.accuracy is not None:
        found |= _classification(model, data, executor)
    elif data.targets is not None:
        found["regression"] = _regression(model, data, executor)
    found["filters"] = first_weights(model)
    found["maps"] = layer_maps(model, data, image, executor)
    return found


def objective(model: Model, data, loss: Loss, executor: Executor) -> dict:
    """What `evaluation` has to say of the loss that the model was trained with: {objective, loss}."""
    data = samples(data)
    if repr(loss) == repr(CrossEntropy() if data.labels is not None else MSE()):
        return {"objective": repr(loss)}  # what `insight` measured already
    return {"objective": repr(loss), "loss": model.evaluate(data, loss=loss, executor=executor).loss}


# ---- layers ----------------------------------------------------------------------------------------------------------


def describe(model: Model) -> list[dict]:
    """Name, settings, output shape without the batch, and number of parameters of every layer."""
    z, _ = model.forward(Input("x", (1, *model.image_shape), "real", 0), training=False)
    outputs, found = layer_outputs(z), []
    shape = tuple(model.image_shape)
    for number, (name, layer) in enumerate(zip(layer_names(model), model.layers, strict=True)):
        shape = outputs[number].shape[1:] if number in outputs else shape
        count = sum(w.size for w in model.parameters.values() if w.name.partition(".")[0] == str(number))
        found.append({"name": name, "settings": repr(layer), "output": list(shape), "parameters": count})
    return found


# ---- classes ---------------------------------------------------------------------------------------------------------


def _classification(model: Model, data: Samples, executor: Executor) -> dict:
    rows = model.predict(data, proba=True, executor=executor).tolist()
    labels = data.label_list()
    classes = len(rows[0])
    predicted = [row.index(max(row)) for row in rows]
    surest = [row[p] for row, p in zip(rows, predicted, strict=True)]
    wrong = [i for i, (p, t) in enumerate(zip(predicted, labels, strict=True)) if p != t]
    worst = sorted(wrong, key=lambda i: -surest[i])[:SHOWN]
    unsure = sorted(range(len(rows)), key=lambda i: surest[i])[:SHOWN]
    names = data.classes or model.classes or tuple(str(c) for c in range(classes))

    def listed(chosen: list[int], all_of_them: bool) -> dict:
        entry = {"index": chosen, "true": [labels[i] for i in chosen], "predicted": [predicted[i] for i in chosen],
                 "confidence": [_short(surest[i]) for i in chosen], "images": pictures(data, chosen)}
        if all_of_them:
            entry["probabilities"] = [[_short(p) for p in rows[i]] for i in chosen]
        return entry

    return {"classes": [str(n) for n in names], "confusion": confusion(predicted, labels, classes),
            "calibration": calibration(rows, labels), "worst": listed(worst, True), "uncertain": listed(unsure, True),
            "wrong": {"count": len(wrong), **listed(wrong[:MOST], False)}}


def _short(p: float) -> float:
    return round(p, 5)


def calibration(rows: list[list[float]], labels: list[int], bins: int = BINS) -> dict:
    """Bins of equal width of the largest probability, and the expected calibration error.

    ECE = sum_b n_b / n |accuracy_b - confidence_b|: Naeini et al. 2015; Guo et al. 2017, eq. 3. Brier: the mean of
    sum_c (p_c - [c = t])^2, Brier 1950. log_loss: the mean of -log p_t in nats, p_t at least 1e-38.

    >>> calibration([[0.75, 0.25], [0.75, 0.25]], [0, 1])["ece"]
    0.25
    """
    counts, correct, sure = [0] * bins, [0] * bins, [0.0] * bins
    brier = log_loss = 0.0
    for row, t in zip(rows, labels, strict=True):
        p = max(row)
        b = min(int(p * bins), bins - 1)
        counts[b] += 1
        correct[b] += row.index(p) == t
        sure[b] += p
        brier += sum(q * q for q in row) - 2 * row[t] + 1
        log_loss -= log(max(row[t], 1e-38))
    n = len(rows)
    found = [{"low": b / bins, "high": (b + 1) / bins, "count": c, "confidence": sure[b] / c if c else None,
              "accuracy": correct[b] / c if c else None} for b, c in enumerate(counts)]
    ece = sum(abs(correct[b] - sure[b]) for b in range(bins)) / n
    return {"bins": found, "ece": ece, "brier": brier / n, "log_loss": log_loss / n}


def _regression(model: Model, data: Samples, executor: Executor) -> dict:
    """Errors over all outputs; the pairs are spread evenly over the samples."""
    predicted = list(model.logits(data, executor=executor).flat())
    all_targets = list(data.targets.flat())
    width = len(all_targets) // len(data.targets)
    rows = range(len(data)) if data.rows is None else data.rows.tolist()
    targets = [v for r in rows for v in all_targets[r * width : (r + 1) * width]]
    errors = [p - t for p, t in zip(predicted, targets, strict=True)]
    step = -(-len(errors) // PAIRS)
    return {"rmse": sqrt(sum(e * e for e in errors) / len(errors)), "mae": sum(map(abs, errors)) / len(errors),
            "pairs": [[t, p] for t, p in list(zip(targets, predicted, strict=True))[::step]]}


# ---- pictures --------------------------------------------------------------------------------------------------------


def _packed(shape: tuple, data: bytes, **more) -> dict:
    return {"shape": list(shape), "data": base64.b64encode(data).decode(), **more}


def is_picture(shape: tuple) -> bool:
    """Whether (H, W, C) can be looked at: grey or colours."""
    return len(shape) == 3 and shape[2] in (1, 3) and min(shape[:2]) > 1


def pictures(data: Samples, chosen: list[int]) -> dict | None:
    """Samples as bytes {shape (n, H, W, C), data}; floats from their least to their greatest. None if they are no images."""
    if not is_picture(data.image_shape):
        return None
    rows = chosen if data.rows is None else [data.rows.tolist()[i] for i in chosen]
    flat, size = data.x.flat(), data.features
    if data.x.dtype == "u8":
        parts = b"".join(bytes(flat[r * size : (r + 1) * size]) for r in rows)
    else:
        parts = _bytes(array("f", (v for r in rows for v in flat[r * size : (r + 1) * size])))[0]
    return _packed((len(chosen), *data.image_shape), parts)


def _bytes(values) -> tuple[bytes, float, float]:
    """(values as bytes, low, high): from the least value to the greatest."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = 255 / (high - low) if high > low else 0.0
    return bytes(int((v - low) * scale + 0.5) for v in values), low, high


def first_weights(model: Model) -> dict | None:
    """Weights of the first layer, one picture a unit: byte 128 is 0, 1 and 255 are -scale and +scale or beyond, scale being
    the 99.5th percentile of |w|. None if there are none.

    A dense layer on images gives pictures of the images' size; a convolution its windows, of 1 or 3 channels, else the mean
    over the channels.
    """
    weight = next((w for w in model.parameters.values() if w.kind == "weight" and len(w.shape) in (2, 4)), None)
    if weight is None:
        return None
    values = model.memory.tensor(weight).flat()
    units = weight.shape[-1]
    shown = min(units, UNITS)
    columns = [values[u::units] for u in range(shown)]
    if len(weight.shape) == 4:
        kind, shape = "convolution", weight.shape[:3]
        if not is_picture(shape):
            channels = shape[2]
            columns = [[sum(c[i : i + channels]) / channels for i in range(0, len(c), channels)] for c in columns]
            shape = (*shape[:2], 1)
    elif weight.shape[0] == prod(model.image_shape) and is_picture(tuple(model.image_shape)):
        kind, shape = "dense", tuple(model.image_shape)
    else:
        return None
    sizes = sorted(abs(v) for c in columns for v in c)
    scale = sizes[int(0.995 * (len(sizes) - 1))]  # beyond it colours saturate: few large weights would make all others pale
    factor = 127 / scale if 0 < scale < float("inf") else 0.0
    data = b"".join(bytes(int(min(max(v * factor, -127.0), 127.0) + 128.5) for v in c) for c in columns)
    return {"layer": weight.name, "kind": kind, "units": units, "scale": scale, "images": _packed((shown, *shape), data)}


def layer_maps(model: Model, data: Samples, index: int, executor: Executor) -> dict | None:
    """Outputs of all layers for one sample: {index, image, layers: [{name, shape, low, high, images}]}.

    Outputs (H, W, C) become one picture a channel, the first CHANNELS of them; vectors one picture near a square.
    """
    one = data.select([index])
    z, *_ = model.graph(Samples(one.x, rows=one.rows), 1, training=False)
    nodes = layer_outputs(z)
    names = dict(enumerate(layer_names(model)))
    tape = compile_tape(f"{model.name}/look", 1, [], {names[n]: y for n, y in nodes.items()}, model.layout)
    executor.run([(tape, 1)], model.memory, externals(Samples(one.x, rows=one.rows)), n_samples=1)
    layers = [_map(names[n], y, model.memory.output(tape, names[n])) for n, y in nodes.items()]
    found = {"index": index, "image": pictures(data, [index]), "layers": layers}
    if data.labels is not None:
        found["true"] = data.label_list()[index]
        if z.size > 1:
            found["probabilities"] = [_short(p) for p in model.predict(one, proba=True, executor=executor).tolist()[0]]
    return found


def _map(name: str, node: Node, t: Tensor) -> dict:
    shape, flat = node.shape[1:], t.flat()
    if len(shape) == 3:
        h, w, channels = shape
        shown = min(channels, CHANNELS)
        values = array("f", (v for c in range(shown) for v in flat[c::channels]))
        picture = (shown, h, w, 1)
    else:
        size = prod(shape)
        width = max(isqrt(size - 1) + 1, 1) if size > 16 else size
        shown, picture = 1, (1, -(-size // width), width, 1)
        values = array("f", [*flat, *[0.0] * (picture[1] * width - size)])
    data, low, high = _bytes(array("f", (v if abs(v) < 3e38 else 0.0 for v in values)))
    return {"name": name, "shape": list(shape), "low": low, "high": high, "images": _packed(picture, data)}


# ---- a training, looked at -------------------------------------------------------------------------------------------


def profile(trainer, seconds: float = 0.3) -> dict:
    """Microseconds of each layer in one training step, by a profiled run of the trainer's tape: its weights change.

    An activation that is fused behind a product counts there: the time belongs to the layer whose weights are read.
    """
    tape, executor = trainer.tape, trainer.executor
    bound, memory, n = externals(trainer.data), trainer.model.memory, len(trainer.data)

    def run(steps: int) -> list[float]:
        executor.run([(tape, steps)], memory, bound, seed=trainer.settings.seed, n_samples=n, profile=True)
        return tape.seconds

    steps = max(1, min(int(seconds / 5 / max(sum(run(2)), 1e-6)), n // trainer.settings.batch, 50))
    best = min((run(steps) for _ in range(5)), key=sum)  # other programs only ever make a run slower
    names = {str(k): name for k, name in enumerate(layer_names(trainer.model))}
    rows: dict[str, dict] = {name: _row(name) for name in ("data", *names.values(), "loss")}
    begun = False
    for instruction, s in zip(tape.instructions, best, strict=True):
        begun = begun or "_bwd" in instruction.op
        params = [tape.buffers[a].name for a in instruction.args if a >= 0 and tape.buffers[a].region == "param"]
        number = (params[0] if params else instruction.layer).partition(".")[0].partition(" ")[0]
        row = rows[names.get(number, "data" if instruction.layer == "data" else "loss")]
        row[_phase(instruction, begun)] += s * 1e6
        row["mflop"] += instruction.flop / 1e6
        row["kb"] += tape.nbytes_of(instruction) / 1e3
    return {"batch": trainer.settings.batch, "steps": steps, "threads": executor.threads, "isa": executor.isa,
            "us_per_step": sum(best) * 1e6, "layers": [r for r in rows.values() if r["mflop"] or r["kb"]]}


def _row(name: str) -> dict:
    return {"name": name, "forward_us": 0.0, "backward_us": 0.0, "update_us": 0.0, "mflop": 0.0, "kb": 0.0}


def _phase(instruction: Instruction, begun: bool) -> str:
    """Column of an instruction; `begun`: the backward pass has. What puts out nothing updates what persists."""
    if not instruction.n_outputs and instruction.op not in ("metrics", "check_finite"):
        return "update_us"
    return "backward_us" if begun and instruction.op != "metrics" else "forward_us"


def rates(trainer, points: int = 200) -> dict | None:
    """The learning rate over all steps of a training: {steps, rates, steps_per_epoch}; None if there is no schedule."""
    schedule = getattr(trainer.settings.optimizer, "rate", None)
    if schedule is None or not hasattr(schedule, "node"):
        return None
    total, each = trainer.total_steps, trainer.steps_per_epoch
    count, layout = State("count", (1,), "i64"), Layout()
    horizons = {trainer.settings.horizon(epoch) for epoch in range(trainer.settings.epochs)}
    tapes = {n: compile_tape("rates", 1, [], {"rate": schedule.node(count, each * n)}, layout) for n in horizons}
    memory = Memory(layout)
    every = max(total // points, 1)
    steps = [*range(0, total, every)]
    steps += [total - 1] if steps[-1] != total - 1 else []
    found = []
    for step in steps:
        memory.tensor(count).flat()[0] = step
        tape = tapes[trainer.settings.horizon(step // each)]
        trainer.executor.run([(tape, 1)], memory, {})
        found.append(memory.output(tape, "rate").tolist()[0])
    return {"steps": steps, "rates": found, "steps_per_epoch": each}
