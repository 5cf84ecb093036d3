"""Model: a network with its parameters. `Sequential` lists layers; `Model` joins connections of the functional form.

    model = Sequential([Dense(256), ReLU(), Dense(10)], seed=0)
    history = model.fit(data.train, epochs=5, batch=128, optimizer=Adam(OneCycle(3e-3)), validation=0.1)
    print(model.evaluate(data.test), model.tape)
"""

from __future__ import annotations

from array import array

from nncore.data.augment import Augment
from nncore.errors import ShapeError, UsageError
from nncore.graph import ops
from nncore.graph.node import Input as InputNode
from nncore.graph.node import Node, Parameter, State, layer_scope
from nncore.graph.plan import ELEMENTARY, MATH_MODES, Layout
from nncore.graph.tape import Executor, Memory, Tape, compile_tape
from nncore.nn.base import Builder, Connection, Input, Layer, ordered
from nncore.nn.losses import Loss
from nncore.tensor import Tensor
from nncore.train import inference
from nncore.train.callbacks import as_callback
from nncore.train.inference import default_loss
from nncore.train.loop import Settings, Trainer
from nncore.train.metrics import Evaluation, confusion
from nncore.train.precision import Precision, precision
from nncore.train.samples import Samples, samples
from nncore.train.steps import data_nodes
from nncore.train.transfer import Transfer

MODES = ("auto", "global", "feature", "unit", "none")


class Model(Transfer):
    """A network from an input to an output connection.

    Args: inputs, outputs: connections, or a dict of output connections by name for several heads; seed of the initial
    weights, shuffles, dropout; standardise: how samples are scaled before the first layer, fixed when training starts and
    stored with the model: "global" or "feature" (mean 0, variance 1 from the training set), "unit" (bytes / 255), "none",
    or "auto" (global for bytes, none for floats); math: arithmetic of the products, f32, bf16, bf16x3 or bf16x6; elementary:
    exp, log, tanh and the like, "fast" (good to 2 ulp) or "exact" (correctly rounded); both of training and prediction alike.
    """

    name = "model"

    def __init__(self, inputs: Connection, outputs: Connection | dict[str, Connection], seed: int = 0, standardise: str = "auto",
                 math: str = "f32", elementary: str = "fast"):
        if standardise not in MODES:
            raise UsageError(f"standardise is one of {', '.join(MODES)}, got {standardise!r}")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise UsageError(f"seed must be a whole number >= 0, got {seed!r}")
        self.inputs, self.outputs, self.seed, self.standardise = inputs, outputs, seed, standardise
        self.layers, self._order = ordered(inputs, list(outputs.values()) if isinstance(outputs, dict) else [outputs])
        self.parameters: dict[str, Parameter] = {}
        self.states: dict[str, State] = {}
        self.layout, self.tape, self.classes = Layout(), None, None
        self.image_shape: tuple[int, ...] | None = inputs.shape or None
        self._memory: Memory | None = None
        self.initial: Tape | None = None
        self.tapes: dict[tuple, Tape] = {}
        self.batches: dict[tuple, int] = {}
        self.math, self.elementary = math, elementary

    @property
    def math(self) -> str:
        """The math mode of the network's products; setting it changes the tapes made from then on. Raises UsageError for one
        that there is not."""
        return self.layout.math

    @math.setter
    def math(self, mode: str) -> None:
        if mode not in MATH_MODES:
            raise UsageError(f"math is one of {', '.join(MATH_MODES)}, got {mode!r}")
        self.layout.math = mode
        self.tapes.clear()

    @property
    def elementary(self) -> str:
        """Which elementary functions the network calls; setting it changes the tapes made from then on. Raises UsageError for a
        word that is neither."""
        return self.layout.elementary

    @elementary.setter
    def elementary(self, word: str) -> None:
        if word not in ELEMENTARY:
            raise UsageError(f"elementary is one of {', '.join(ELEMENTARY)}, got {word!r}")
        self.layout.elementary = word
        self.tapes.clear()

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

    def forward(self, x: Node, training: bool, precision: Precision | None = None) -> tuple[Node | dict[str, Node], Builder]:
        """The network applied to x, as graph nodes (a dict by name for several heads), and the builder with the layers'
        updates and penalties; weights and outputs of layers rounded as `precision` has it."""
        precision = precision or Precision()
        builder = Builder(self.parameters, training, self.states, precision.working)
        values = builder.outputs
        values[self.inputs] = x
        for c in self._order:
            builder.number = self.layers.index(c.layer)
            builder.layer = str(builder.number)
            label = f"{builder.number} {type(c.layer).__name__}"
            with layer_scope(label):
                y = c.layer.build(builder, *(values[i] for i in c.inputs))
                values[c] = precision.rounded("activations", y, builder.number)
        if isinstance(self.outputs, dict):
            return {name: values[c] for name, c in self.outputs.items()}, builder
        return values[self.outputs], builder

    def declare(self, image_shape: tuple[int, ...]) -> Model:
        """Know the parameters and states for samples of this shape (H, W, C) or (features,); nothing is allocated yet.

        Raises ShapeError if the model was made for another shape. Returns self.
        """
        image_shape = (*image_shape, 1) if len(image_shape) == 2 else tuple(image_shape)
        if self.initial is not None:
            self.expect(image_shape)
            return self
        if self.image_shape is not None and tuple(self.image_shape) not in (image_shape, image_shape[:-1]):
            raise ShapeError(f"the network takes samples of shape {self.image_shape}, got {image_shape}")
        self.image_shape = image_shape
        self.forward(InputNode("x", (1, *image_shape), "real", 0), training=False)
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
        return self

    def build(self, image_shape: tuple[int, ...]) -> Model:
        """Declare, allocate, and initialise the parameters. Returns self. Raises ShapeError as `declare` does."""
        self.declare(image_shape)
        if self._memory is None:
            self._memory = Memory(self.layout)
            Executor(threads=1).run([(self.initial, 1)], self._memory, {}, seed=self.seed)
        return self

    def expect(self, image_shape: tuple) -> None:
        """Raises ShapeError for samples of another shape than the model was made for."""
        if image_shape != self.image_shape:
            raise ShapeError(f"the model was made for samples of shape {self.image_shape}, got {image_shape}")

    def graph(self, data: Samples, batch: int, training: bool, shards: int = 1, augment: Augment | None = None,
              precision: Precision | None = None) -> tuple:
        """(outputs, labels or targets, builder) of one step over `data`, as graph nodes; dicts of them for several heads."""
        with layer_scope("data"):
            classes = len(data.classes) if data.classes else 256
            x, t, mix = data_nodes(data, batch, self.mean, self.scale, classes, shards, augment)
        z, builder = self.forward(x, training, precision)
        builder.mix = mix
        return z, t, builder

    def prepare(self, data: Samples) -> None:
        """Build for these samples; fix the classes, and the standardisation unless a fit before has, from them."""
        self.build(data.image_shape)
        self.classes = data.classes or self.classes
        if self.is_prepared:
            return
        mode = self.standardise
        if mode == "auto":
            mode = "global" if data.x.dtype == "u8" else "none"
        mean, scale = data.standardisation(mode)
        self.memory.tensor(self.mean).view()[:] = array("f", mean)
        self.memory.tensor(self.scale).view()[:] = array("f", scale)
        self.is_prepared = True

    # ---- training -------------------------------------------------------------------------------------------------

    def fit(self, data, epochs: int = 5, batch: int = 128, optimizer=None, loss: Loss | None = None, validation=None,
            callbacks: list | None = None, **options):
        """Train; returns the History, one record per epoch.

        data: a split, or (x, y) arrays. validation: a share of the training samples in (0, 1) to hold out, a split, or
        (x, y). loss: CrossEntropy for labels, MSE for targets by default. options: penalty (L1, L2), augment (an
        Augment or its text, as "shift=2,rotate=10": what happens to training samples, never to others), clip (ClipNorm,
        ClipValue), average (EMA, SWA), precision (emulated formats: a Precision or its text, "weights=bf16:sr"), shards,
        steps (stop after so many), executor, on_progress (called with a Progress ten times a second), profile (print(model.tape)
        then shows the microseconds of each instruction), watch (Instruments or their text, as "raise" or "1,every=50";
        docs/numerics.md). Ctrl-C stops within a step, keeps what was learned and sets history.stopped to "interrupted". A further
        fit goes on from the weights, with the standardisation of the first and an optimizer without a past.
        Raises UsageError, ShapeError, DataError; NonFiniteError (naming layer, op, step) after putting back the weights
        of the last good epoch.
        """
        return self.trainer(data, epochs, batch, optimizer, loss, validation, callbacks, **options).run()

    def trainer(self, data, epochs: int = 5, batch: int = 128, optimizer=None, loss: Loss | None = None, validation=None,
                callbacks: list | None = None, **options) -> Trainer:
        """A training run that has not begun: `fit` is this and `run()`. Tapes are built, weights initialised."""
        from nncore.optim.optimizers import Adam

        found = samples(data)
        if found.labels is None and found.targets is None and not found.heads:
            raise UsageError("training needs labels or targets: fit((x, y))")
        train, held_out = self._split(found, validation)
        loss = loss or default_loss(found)
        settings = Settings(epochs, batch, optimizer or Adam(), loss, options.pop("penalty", None),
                            options.pop("shards", 1), options.pop("steps", None), self.seed,
                            _augment(options.pop("augment", None), found), options.pop("clip", None),
                            options.pop("average", None), precision(options.pop("precision", None)),
                            options.pop("horizons", ()))
        settings.check(len(train))
        self.declare(train.image_shape)
        trainer = Trainer(self, train, settings, held_out, [as_callback(c) for c in callbacks or []], **options)
        trainer.check_memory()
        self.prepare(train)
        trainer.begin()
        self.tape = trainer.tape
        self.tapes.clear()
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
        """Loss and, for class labels, accuracy with its standard error, over all samples of `data`; of a network with
        several heads also those of each head."""
        return inference.evaluate(self, samples(data), loss, executor)

    def predict(self, x, proba: bool = False, executor: Executor | None = None, fold: bool = False):
        """Classes (N,) i32, or class probabilities (N, C) with proba=True; for one output its values (N, 1); a dict of
        these by name for several heads. fold: put batch normalisations into the weights before them: faster, rounds elsewhere.

        x: samples with the buffer protocol or DLPack, or a split. Raises ShapeError for samples of another size.
        """
        return inference.collect(self, "proba" if proba else "classes", samples(x), executor, fold)

    def predictor(self, batch: int = 1, proba: bool = False, dtype: str = "u8", executor: Executor | None = None,
                  fold: bool = False):
        """The network made ready for `batch` samples of bytes or floats at a time: predictor(x) is what predict(x) gives, as
        an int or a list, in a few microseconds. See Predictor. Raises UsageError."""
        from nncore.train.predictor import Predictor

        return Predictor(self, batch, proba, dtype, executor, fold)

    def logits(self, x, executor: Executor | None = None, fold: bool = False):
        """The network's outputs as they are, (N, outputs); a dict of them for several heads. fold as in predict."""
        return inference.collect(self, "values", samples(x), executor, fold)

    def confusion(self, data, executor: Executor | None = None) -> list[list[int]]:
        """Counts [true class][predicted class] over labelled samples."""
        data = samples(data)
        classes = max(inference.width(self, data), 2)
        return confusion(self.predict(data, executor=executor).tolist(), data.label_list(), classes)

    def top_k(self, data, k: int = 5, executor: Executor | None = None) -> float:
        """Share of samples whose label is among the k largest outputs; ties go to the first index. Raises UsageError
        unless 1 <= k <= outputs, or without labels."""
        return inference.top_k(self, samples(data), k, executor)

    # ---- looking --------------------------------------------------------------------------------------------------

    def summary(self, input_shape: tuple[int, ...] | None = None):
        """Layer by layer: shapes, parameters, FLOP, activation bytes; print it or take its rows. input_shape is needed
        where neither the model nor data have said it."""
        from nncore.train.outline import summarise

        return summarise(self._known(input_shape))

    def draw(self, path=None, backward: bool = False, loss: Loss | None = None):
        """The computational graph as SVG, forward and, on request, backward; written to `path` if given. In a notebook
        the returned drawing shows itself. Raises LimitError if it cannot be written."""
        from nncore.train.outline import Drawing, outline

        return Drawing(outline(self._known(), backward, loss)).save(path)

    def _known(self, shape: tuple[int, ...] | None = None) -> Model:
        if shape is None and self.image_shape is None:
            raise UsageError("the shape of a sample is not known yet: summary((28, 28)), build((28, 28)) or fit first")
        return self.build(shape or self.image_shape)

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

    def __init__(self, layers: list[Layer], seed: int = 0, standardise: str = "auto", math: str = "f32",
                 elementary: str = "fast"):
        if not layers or not all(isinstance(layer, Layer) for layer in layers):
            raise UsageError("Sequential takes a list of at least one layer")
        x = start = Input(())
        for layer in layers:
            x = layer(x)
        super().__init__(start, x, seed, standardise, math, elementary)


def _augment(given: Augment | str | None, data: Samples) -> Augment | None:
    """The settings, with a warning where they would destroy labels; None for nothing to do."""
    found = Augment.parse(given) if isinstance(given, str) else given
    if found is not None and not isinstance(found, Augment):
        raise UsageError(f"augment takes an Augment or its text, got {given!r}")
    if found and (caution := found.caution(data.mirror_safe)):
        import warnings

        warnings.warn(caution, UserWarning, stacklevel=4)
    return found or None


def load(path) -> Model:
    """A model from its file: architecture, weights, preprocessing. Everything is checked; raises DataError."""
    from nncore.train.checkpoint import load_model

    return load_model(path)


__all__ = ["Input", "Model", "Sequential", "load"]
