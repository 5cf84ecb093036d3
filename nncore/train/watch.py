"""LayerWatch: what each layer does, epoch by epoch, measured on one fixed batch beside the training.

A probe - a tape and an arena of its own - runs forward and backward over the first samples of the training set and gives
sums of squares. It reads copies of the weights, so no bit of the training depends on whether anyone watches.
"""

from __future__ import annotations

from math import sqrt

from nncore.graph import ops
from nncore.graph.autodiff import gradients
from nncore.graph.node import Node, Parameter, topological
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, compile_tape
from nncore.train.callbacks import Callback
from nncore.train.steps import externals

LARGEST = 256  # samples of the probe


class LayerWatch(Callback):
    """Adds "layers" to every epoch's record: a list of {name, activation_rms, gradient_rms, update_ratio, dead}.

    activation_rms: sqrt(mean y^2) of the layer's output; gradient_rms: sqrt(mean g^2) over the gradient of its parameters;
    update_ratio: |w - w'| / |w'| over its weights, w' those an epoch ago; dead: the share of a ReLU's units (features, or
    channels of images) that are 0 on the whole batch. None where a layer has no such figure.
    """

    def __init__(self):
        self.probe: Probe | None = None
        self._before = b""

    def on_train_begin(self, trainer) -> None:
        """The weights that the first epoch starts from; in the middle of one, the checkpoint has them."""
        self.probe = Probe(trainer)
        if not self._before or trainer.position.cursor == 0:
            self._before = bytes(trainer.model.memory.view("param"))

    def on_epoch_end(self, trainer, record: dict) -> None:
        """Measure, then remember the weights."""
        record["layers"] = self.probe.measure(trainer, self._before)
        self._before = bytes(trainer.model.memory.view("param"))

    def on_train_end(self, trainer) -> None:
        """Give the arena back."""
        self.probe = None

    def blob(self, trainer) -> bytes:
        """Bytes that a checkpoint has to keep: the weights an epoch ago, unless they are the present ones."""
        return self._before if trainer.position.cursor else b""

    def restore_blob(self, data: bytes) -> None:
        """Take back what `blob` gave."""
        self._before = data


class Probe:
    """One step over the first min(batch, 256) training samples, whose outputs are sums over layers."""

    def __init__(self, trainer):
        model, settings = trainer.model, trainer.settings
        batch = min(settings.batch, LARGEST)
        z, t, _ = model.graph(trainer.data, batch, training=True)
        weights = list(model.parameters.values())
        grads = gradients(settings.loss(z, t), weights)
        # A loss that sums over the batch has gradients as many times larger: put both on the same footing.
        self.per_sample = 1.0 if settings.loss.reduction == "mean" else 1.0 / batch
        self.names = dict(enumerate(layer_names(model)))
        self.outputs: dict[str, Node] = {}
        self.count: dict[str, int] = {}
        for number, y in layer_outputs(z).items():
            self._sum(f"y{number}", y)
            if self.names[number].endswith(" ReLU"):
                self._channels(number, y)
        for n, w in enumerate(weights):
            if w in grads:
                self._sum(f"g{n}", grads[w])
        self._updates(weights)
        self.layout = Layout()
        self.tape = compile_tape("watch", batch, [], self.outputs, self.layout)
        self.memory = Memory(self.layout)
        self.executor = Executor(trainer.executor.isa, threads=1)
        self.weights = weights

    def _sum(self, key: str, node: Node) -> None:
        self.outputs[key], self.count[key] = ops.sum_squares(node), node.size

    def _channels(self, number: int, y: Node) -> None:
        """Sums per feature, or per channel of images: 0 exactly where a ReLU was 0 on every sample."""
        channels = y.shape[-1]
        self.outputs[f"dead{number}"] = ops.sum_rows(ops.reshape(y, (y.size // channels, channels)))

    def _updates(self, weights: list[Parameter]) -> None:
        """|w - w'|^2 and |w'|^2, for w' in parameters of the probe's own."""
        self.source: dict[str, Parameter] = {}
        for n, w in enumerate(weights):
            if w.kind == "weight":
                old = Parameter(f"before.{w.name}", w.shape, w.init)
                self.source[old.name] = w
                self._sum(f"u{n}", ops.sub(w, old))
                self._sum(f"w{n}", old)

    def measure(self, trainer, before: bytes) -> list[dict]:
        """The layers' figures now; `before` is the model's PARAM region an epoch ago."""
        model = trainer.model
        old = memoryview(before)
        for leaf, _ in list(self.layout.leaves.values()):
            if source := self.source.get(leaf.name):
                start = model.layout.offset(source)
                self.memory.tensor(leaf).memory[:] = old[start : start + 4 * leaf.size]
            else:
                self.memory.tensor(leaf).memory[:] = model.memory.tensor(leaf).memory
        self.memory.borrow_work(model.memory, self.tape.nbytes["work"])
        self.executor.run([(self.tape, 1)], self.memory, externals(trainer.data), seed=trainer.settings.seed,
                          n_samples=len(trainer.data))
        self.found = {key: self.memory.output(self.tape, key).tolist() for key in self.outputs}
        return [self._layer(number, name) for number, name in self.names.items()]

    def _layer(self, number: int, name: str) -> dict:
        mine = [n for n, w in enumerate(self.weights) if w.name.partition(".")[0] == str(number)]
        kept = self._total("w", mine)
        moved = self._total("u", mine)
        gradient = self._rms("g", mine)
        dead = self.found.get(f"dead{number}")
        return {
            "name": name,
            "activation_rms": self._rms("y", [number]),
            "gradient_rms": None if gradient is None else gradient * self.per_sample,
            "update_ratio": sqrt(moved / kept) if kept else None,
            "dead": None if dead is None else sum(v == 0 for v in dead) / len(dead),
        }

    def _total(self, kind: str, numbers: list[int]) -> float | None:
        values = [self.found[f"{kind}{n}"] for n in numbers if f"{kind}{n}" in self.found]
        return sum(values) if values else None

    def _rms(self, kind: str, numbers: list[int]) -> float | None:
        total = self._total(kind, numbers)
        count = sum(self.count[f"{kind}{n}"] for n in numbers if f"{kind}{n}" in self.found)
        return None if total is None or not count else sqrt(total / count)


def layer_names(model) -> list[str]:
    """The layers as faults and tapes name them: "0 Dense", "1 ReLU"."""
    return [f"{n} {type(layer).__name__}" for n, layer in enumerate(model.layers)]


def layer_outputs(z: Node) -> dict[int, Node]:
    """The last node of every layer on the way to z, by the layer's number; layers that are mere views are left out."""
    found: dict[int, Node] = {}
    for node in topological([z]):
        number = node.layer.partition(" ")[0]
        if node.op is not None and number.isdigit() and not node.op.mutates:
            found[int(number)] = node
    return dict(sorted(found.items()))
