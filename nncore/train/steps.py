"""The ends of a step's tape: data gathered, augmented and standardised at its head; loss and measures at its tail."""

from __future__ import annotations

from array import array

from nncore.data.augment import Augment
from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Input, Node, State
from nncore.nn.losses import MultiTask
from nncore.tensor import Tensor
from nncore.train.augmentation import Mix, augment_nodes, raw_nodes
from nncore.train.samples import Samples

IMAGES, ROWS, LABELS = 0, 1, 2  # externals of every tape


def counts_correct(z: Node | dict, t: Node | dict | None) -> bool:
    """Whether the largest output is the answer: labels against several outputs of one head."""
    return isinstance(t, Node) and t.dtype == "i32" and len(z.shape) == 2 and z.shape[1] > 1


def measure(sums: State, loss: Node, z: Node, t: Node | None, batch: int) -> Node:
    """The effect that adds a step's loss (the mean of its batch), correct answers and count to `sums`."""
    counts = counts_correct(z, t)
    return ops.metrics(sums, loss, z if counts else None, t if counts else None, batch=batch)


def apply_loss(loss, model, z, t, mix: Mix | None = None, head: str = "") -> Node:
    """The loss as a node; class weights stand in a state of the model, which `write_weights` fills."""
    if isinstance(loss, MultiTask):
        if mix:
            raise UsageError("mixup and cutmix mix the targets of one head; this network has several")
        return loss(z, t, lambda one, zh, th, name: apply_loss(one, model, zh, th, head=name))
    extra = {"mix": mix} if mix else {}
    if weights := getattr(loss, "weights", None):
        extra["weights"] = _weights_state(model, weights, head)
    return loss(z, t, **extra)


def write_weights(loss, model) -> None:
    """Put class weights where the tapes of a loss look for them; others may have run since."""
    for head, one in (loss.losses if isinstance(loss, MultiTask) else {"": loss}).items():
        if weights := getattr(one, "weights", None):
            model.memory.tensor(_weights_state(model, weights, head)).flat()[:] = array("f", weights)


def _weights_state(model, weights, head: str) -> State:
    return model.state(f"loss.weights{head and '.'}{head}", (len(weights),))


def externals(data: Samples) -> dict[int, Tensor]:
    """The data bound to the inputs of a tape."""
    bound = {IMAGES: data.x}
    if data.rows is not None:
        bound[ROWS] = data.rows
    if (y := data.labels if data.labels is not None else data.targets) is not None:
        bound[LABELS] = y
    bound.update(enumerate((data.heads or {}).values(), start=LABELS))
    return bound


def data_nodes(data: Samples, batch: int, mean: State, scale: State, classes: int, shards: int,
               augment: Augment | None = None) -> tuple:
    """The first instructions of a tape: rows of the step gathered, augmented if asked, and standardised; their labels or
    targets, a dict of them where the data have several heads; and what mixes rows of targets, if samples are mixed."""
    shape = (batch, *data.image_shape)
    rows = Input("rows", (), "i64", ROWS) if data.rows is not None else None
    images = Input("images", (), data.x.dtype, IMAGES, shards)
    mix = None
    if augment:
        x, mix = augment_nodes(raw_nodes(images, rows, shape), augment, mean, data.x.dtype == "u8")
        x = ops.standardise(x, mean, scale)
    else:
        gather = ops.gather_u8 if data.x.dtype == "u8" else ops.gather_f32
        x = gather(images, rows, mean, scale, shape=shape)

    def answers(y: Tensor, name: str, external: int, classes: int) -> Node:
        given = Input(name, (), y.dtype, external, shards)
        if y.dtype == "u8":
            return ops.gather_labels(given, rows, shape=(batch,), classes=classes)
        return ops.gather_targets(given, rows, shape=(batch, *y.shape[1:]))

    if data.heads:
        return x, {name: answers(y, name, LABELS + i, 256) for i, (name, y) in enumerate(data.heads.items())}, mix
    y = data.labels if data.labels is not None else data.targets
    name = "labels" if data.labels is not None else "targets"
    return x, None if y is None else answers(y, name, LABELS, classes), mix
