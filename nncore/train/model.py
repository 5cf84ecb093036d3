"""Model: a network with its parameters. `Sequential` lists layers; `Model` joins connections of the functional form.

    model = Sequential([Dense(256), ReLU(), Dense(10)], seed=0)
    history = model.fit(data.train, epochs=5, batch=128, optimizer=Adam(OneCycle(3e-3)), validation=0.1)
    print(model.evaluate(data.test), model.tape)
"""

from __future__ import annotations

from array import array

from nncore.errors import ShapeError, UsageError
from nncore.graph import ops
from nncore.graph.node import Input as InputNode
from nncore.graph.node import Node, Parameter, State, layer_scope
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, Position, Tape, compile_tape
from nncore.nn.base import Builder, Connection, Input, Layer
from nncore.nn.losses import MSE, CrossEntropy, Loss
from nncore.tensor import Tensor
from nncore.train.loop import Settings, Trainer, data_nodes, externals, measure
from nncore.train.metrics import Evaluation, confusion
from nncore.train.samples import Samples, samples

PREDICT_BATCH = 1000
MODES = ("auto", "global", "feature", "unit", "none")


class Model:
    """A network from an input to an output connection.

    Args: inputs, outputs: connections; seed of the initial weights, shuffles, dropout; standardise: how samples are scaled
    before the first layer, fixed when training starts and stored with the model: "global" or "feature" (mean 0,
    variance 1 from the training set), "unit" (bytes / 255), "none", or "auto" (global for bytes, none for floats).
    """

    name = "model"

    def __init__(self, inputs: Connection, outputs: Connection, seed: int = 0, standardise: str = "auto"):
        if standardise not in MODES:
            raise UsageError(f"standardise is one of {', '.join(MODES)}, got {standardise!r}")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise UsageError(f"seed must be a whole number >= 0, got {seed!r}")
        self.inputs, self.outputs, self.seed, self.standardise = inputs, outputs, seed, standardise
        self.layers, self._order = _layers(inputs, outputs)
        self.parameters: dict[str, Parameter] = {}
        self.states: dict[str, State] = {}
        self.layout, self.tape, self.classes = Layout(), None, None
        self.image_shape: tuple[int, ...] | None = inputs.shape or None
        self._memory: Memory | None = None
        self._tapes: dict[tuple, Tape] = {}

    # ---- building -------------------------------------------------------------------------------------------------

    @property
    def memory(self) -> Memory:
        """The arena; made, and the parameters initialised, when the first sample's shape is known."""
        if self._memory is None:
            raise UsageError("the model has no weights yet: fit it, load it, or build(input_shape) it first")
        return self._memory

    def state(self, name: str, shape: tuple, dtype: str = "real") -> State:
        """The model's state of that name, made when first asked for."""
        return self.states.setdefault(name, State(name, shape, dtype))

    def forward(self, x: Node, training: bool) -> tuple[Node, Builder]:
        """The network applied to x, as graph nodes, and the builder with the layers' updates and penalties."""
        builder = Builder(self.parameters, training, self.states)
        values = {id(self.inputs): x}
        for c in self._order:
            builder.number = self.layers.index(c.layer)
            builder.layer = str(builder.number)
            label = f"{builder.number} {type(c.layer).__name__}"
            with layer_scope(label):
                values[id(c)] = c.layer.build(builder, *(values[id(i)] for i in c.inputs))
        return values[id(self.outputs)], builder

    def build(self, image_shape: tuple[int, ...]) -> Model:
        """Make and initialise the parameters for samples of this shape (H, W, C) or (features,). Returns self.

        Raises ShapeError if the model was built for another shape.
        """
        image_shape = (*image_shape, 1) if len(image_shape) == 2 else tuple(image_shape)
        if self._memory is not None:
            self._expect(image_shape)
            return self
        if self.image_shape is not None and tuple(self.image_shape) not in (image_shape, image_shape[:-1]):
            raise ShapeError(f"the network takes samples of shape {self.image_shape}, got {image_shape}")
        self.image_shape = image_shape
        self.forward(InputNode("x", (1, *image_shape), "real", 0), training=False)
        self._memory = Memory(self.layout)
        effects = []
        for w in self.parameters.values():
            self.layout.offset(w)
            effects.append(w.init(w))
        effects += [ops.init_constant(s, c=s.init) for s in self.states.values() if s.init is not None]
        features = 1
        for n in image_shape:
            features *= n
        wide = features if self.standardise == "feature" else 1
        self.mean, self.scale = self.state("preprocess.mean", (wide,)), self.state("preprocess.scale", (wide,))
        effects += [ops.init_constant(self.mean, c=0.0), ops.init_constant(self.scale, c=1.0)]
        self.initial = compile_tape(f"{self.name}/initial", 1, effects, {}, self.layout)
        Executor(threads=1).run([(self.initial, 1)], self._memory, {}, seed=self.seed)
        return self

    def _expect(self, image_shape: tuple) -> None:
        if image_shape != self.image_shape:
            raise ShapeError(f"the model was made for samples of shape {self.image_shape}, got {image_shape}")

    def graph(self, data: Samples, batch: int, training: bool, shards: int = 1) -> tuple[Node, Node | None, Builder]:
        """(outputs, labels or targets, builder) of one step over `data`, as graph nodes."""
        with layer_scope("data"):
            classes = len(data.classes) if data.classes else 256
            x, t = data_nodes(data, batch, self.mean, self.scale, classes, shards)
        z, builder = self.forward(x, training)
        return z, t, builder

    def prepare(self, data: Samples) -> None:
        """Build for these samples; fix the standardisation and the classes from them."""
        self.build(data.image_shape)
        mode = self.standardise
        if mode == "auto":
            mode = "global" if data.x.dtype == "u8" else "none"
        mean, scale = data.standardisation(mode)
        self.memory.tensor(self.mean).view()[:] = array("f", mean)
        self.memory.tensor(self.scale).view()[:] = array("f", scale)
        self.classes = data.classes or self.classes

    # ---- training -------------------------------------------------------------------------------------------------

    def fit(self, data, epochs: int = 5, batch: int = 128, optimizer=None, loss: Loss | None = None, validation=None,
            callbacks: list | None = None, **options):
        """Train; returns the History, one record per epoch.

        data: a split, or (x, y) arrays. validation: a share of the training samples in (0, 1) to hold out, a split, or
        (x, y). loss: CrossEntropy for labels, MSE for targets by default. options: penalty (L1, L2), shards, steps
        (stop after so many), executor, on_progress (called with a Progress ten times a second), profile (print(model.tape)
        then shows the microseconds of each instruction). Ctrl-C stops within a
        step, keeps what was learned and sets history.stopped to "interrupted".
        Raises UsageError, ShapeError, DataError; NonFiniteError (naming layer, op, step) after putting back the weights
        of the last good epoch.
        """
        return self.trainer(data, epochs, batch, optimizer, loss, validation, callbacks, **options).run()

    def trainer(self, data, epochs: int = 5, batch: int = 128, optimizer=None, loss: Loss | None = None, validation=None,
                callbacks: list | None = None, **options) -> Trainer:
        """A training run that has not begun: `fit` is this and `run()`. Tapes are built, weights initialised."""
        from nncore.optim.optimizers import Adam

        found = samples(data)
        if found.labels is None and found.targets is None:
            raise UsageError("training needs labels or targets: fit((x, y))")
        train, held_out = self._split(found, validation)
        loss = loss or _default_loss(found)
        settings = Settings(epochs, batch, optimizer or Adam(), loss, options.pop("penalty", None),
                            options.pop("shards", 1), options.pop("steps", None), self.seed)
        settings.check(len(train))
        self.prepare(train)
        trainer = Trainer(self, train, settings, held_out, list(callbacks or []), **options)
        self.tape = trainer.tape
        self._tapes.clear()
        return trainer

    def _split(self, data: Samples, validation) -> tuple[Samples, Samples | None]:
        if validation is None or validation == 0:
            return data, None
        if not isinstance(validation, float):
            return data, samples(validation)
        if not 0 < validation < 1:
            raise UsageError(f"validation is a share between 0 and 1 or data, got {validation!r}")
        from nncore.data import split

        train, held_out = split.holdout(len(data), validation, self.seed)
        return data.select(train), data.select(held_out)

    # ---- using ----------------------------------------------------------------------------------------------------

    def evaluate(self, data, loss: Loss | None = None, executor: Executor | None = None) -> Evaluation:
        """Loss and, for class labels, accuracy with its standard error, over all samples of `data`."""
        data = samples(data)
        self._expect(data.image_shape)
        loss = loss or _default_loss(data)
        sums = self.state("evaluation", (4,), "f64")

        def build(batch):
            z, t, _ = self.graph(data, batch, training=False)
            value = loss(z, t)
            value = value if loss.reduction == "mean" else ops.scale(value, c=1.0 / batch)
            return [measure(sums, value, z, t, batch)], {}

        segments = self._segments("evaluate", data, build, repr(loss))
        self.memory.reserve({})
        self.memory.tensor(sums).view()[:] = memoryview(bytes(32)).cast("d")
        (executor or Executor()).run(segments, self.memory, externals(data), n_samples=len(data))
        total, correct, count, _ = self.memory.tensor(sums).tolist()
        counted = data.labels is not None and self._width(data) > 1
        return Evaluation(len(data), total / count, correct / count if counted else None)

    def predict(self, x, proba: bool = False, executor: Executor | None = None) -> Tensor:
        """Classes (N,) i32, or class probabilities (N, C) with proba=True; for one output its values (N, 1).

        x: samples with the buffer protocol or DLPack, or a split. Raises ShapeError for samples of another size.
        """
        data = samples(x)
        data = Samples(data.x, rows=data.rows)
        self._expect(data.image_shape)
        if self._width(data) == 1 or proba:
            return self._collect("proba" if self._width(data) > 1 else "values", data, executor)
        return self._collect("classes", data, executor)

    def logits(self, x, executor: Executor | None = None) -> Tensor:
        """The network's outputs as they are, (N, outputs)."""
        data = samples(x)
        self._expect(data.image_shape)
        return self._collect("values", Samples(data.x, rows=data.rows), executor)

    def confusion(self, data, executor: Executor | None = None) -> list[list[int]]:
        """Counts [true class][predicted class] over labelled samples."""
        data = samples(data)
        classes = max(self._width(data), 2)
        return confusion(self.predict(data, executor=executor).tolist(), data.label_list(), classes)

    def top_k(self, data, k: int = 5, executor: Executor | None = None) -> float:
        """Share of samples whose label is among the k largest outputs; ties go to the first index. Raises UsageError
        unless 1 <= k <= outputs, or without labels."""
        data = samples(data)
        self._expect(data.image_shape)
        if data.labels is None or not 1 <= k <= self._width(data):
            raise UsageError(f"top_k needs labels and k between 1 and {self._width(data)} outputs, got k = {k}")
        hits = self.state("evaluation.hits", (1,), "f64")

        def build(batch):
            z, t, _ = self.graph(data, batch, training=False)
            return [ops.top_k(hits, ops.flatten(z), t, k=k)], {}

        segments = self._segments("top_k", data, build, k)
        self.memory.reserve({})
        self.memory.tensor(hits).flat()[0] = 0.0
        (executor or Executor()).run(segments, self.memory, externals(data), n_samples=len(data))
        return self.memory.tensor(hits).tolist()[0] / len(data)

    def _width(self, data: Samples) -> int:
        return self.graph(Samples(data.x), 1, training=False)[0].size

    def _collect(self, what: str, data: Samples, executor: Executor | None) -> Tensor:
        """Run over all samples, a batch at a time, and put the outputs together."""

        def build(batch):
            z, *_ = self.graph(data, batch, training=False)
            z = ops.flatten(z)
            out = {"classes": ops.argmax, "proba": _probabilities, "values": lambda v: v}[what](z)
            return [], {"y": out}

        parts, position, executor = [], Position(), executor or Executor()
        for tape, steps in self._segments(what, data, build):
            for _ in range(steps):
                executor.run([(tape, 1)], self.memory, externals(data), position, n_samples=len(data))
                parts.append(self.memory.output(tape, "y"))
        shape = (len(data), *parts[0].shape[1:])
        return Tensor(shape, parts[0].dtype, b"".join(p.tobytes() for p in parts))

    def _segments(self, what: str, data: Samples, build, *key) -> list[tuple[Tape, int]]:
        """Whole batches and a tail over `data`; the tapes are kept for the next call."""
        n = len(data)
        size = min(PREDICT_BATCH, n)
        found = []
        for batch, steps in ((size, n // size), (n % size, 1)):
            if batch:
                signature = (what, batch, data.x.dtype, data.rows is not None, data.targets is not None, *key)
                if signature not in self._tapes:
                    effects, outputs = build(batch)
                    self._tapes[signature] = compile_tape(f"{self.name}/{what}", batch, effects, outputs, self.layout)
                found.append((self._tapes[signature], steps))
        if self.tape is None:
            self.tape = found[0][0]
        return found

    # ---- keeping --------------------------------------------------------------------------------------------------

    @property
    def kept_states(self) -> list[State]:
        """States that are part of the network: the model file keeps them."""
        return [s for s in self.states.values() if s.init is not None]

    def snapshot(self) -> tuple[bytes, bytes]:
        """Copies of all parameters and states."""
        return bytes(self.memory.view("param")), bytes(self.memory.view("state"))

    def restore(self, snapshot: tuple[bytes, bytes]) -> None:
        """Put a snapshot back."""
        for region, data in zip(("param", "state"), snapshot, strict=True):
            self.memory.view(region)[: len(data)] = data

    def parameter(self, name: str) -> Tensor:
        """A live look at a parameter, in memory layout ([in, out])."""
        if name not in self.parameters:
            raise UsageError(f"no parameter {name!r}; there are {', '.join(self.parameters)}")
        return self.memory.tensor(self.parameters[name])

    def assign(self, name: str, values) -> None:
        """Set a parameter by hand from a flat sequence, in memory order ([in, out], row by row). Raises ShapeError."""
        t = self.parameter(name)
        data = array("f", values)
        if len(data) * 4 != t.nbytes:
            raise ShapeError(f"{name}: {t.shape} takes {t.nbytes // 4} values, got {len(data)}")
        t.flat()[:] = data

    @property
    def parameter_count(self) -> int:
        """Number of trained values."""
        return sum(w.size for w in self.parameters.values())

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the parameters: float32 little-endian in file layout, names sorted, NaN canonical."""
        from nncore.train.checkpoint import weights_sha256

        return weights_sha256(self)

    def save(self, path) -> None:
        """Write weights, architecture, preprocessing and numerics id as a safetensors file, atomically."""
        from nncore.train.checkpoint import save_model

        save_model(self, path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.layers!r}, seed={self.seed})"

    def _repr_html_(self) -> str | None:
        from nncore.report import notebook
        from nncore.train.insight import describe

        return notebook.model(self.name, describe(self) if self._memory else [])


class Sequential(Model):
    """Layers one after the other: an ordered list *is* the model."""

    def __init__(self, layers: list[Layer], seed: int = 0, standardise: str = "auto"):
        if not layers or not all(isinstance(layer, Layer) for layer in layers):
            raise UsageError("Sequential takes a list of at least one layer")
        x = start = Input(())
        for layer in layers:
            x = layer(x)
        super().__init__(start, x, seed, standardise)


def _layers(inputs: Connection, outputs: Connection) -> tuple[list[Layer], list[Connection]]:
    """Layers and connections from input to output, in topological order."""
    order, seen = [], set()

    def visit(c: Connection) -> None:
        if id(c) in seen:
            return
        seen.add(id(c))
        if c.layer is None:
            if c is not inputs:
                raise UsageError("the output hangs on another input than the model's")
            return
        for i in c.inputs:
            visit(i)
        order.append(c)

    visit(outputs)
    if not order:
        raise UsageError("the network has no layer")
    layers: list[Layer] = []
    for c in order:
        if not any(c.layer is known for known in layers):
            layers.append(c.layer)
    return layers, order


def _probabilities(z: Node) -> Node:
    # A network that ends in Softmax gives probabilities already.
    return z if z.op is ops.softmax else ops.softmax(z)


def _default_loss(data: Samples) -> Loss:
    return CrossEntropy() if data.labels is not None else MSE()


def load(path) -> Model:
    """A model from its file: architecture, weights, preprocessing. Everything is checked; raises DataError."""
    from nncore.train.checkpoint import load_model

    return load_model(path)


__all__ = ["Input", "Model", "Sequential", "load"]
