"""What all layers stand on: the builder that hands out parameters, the functional form, the base class, the registry.

    x = Input((28, 28))
    h = ReLU()(Dense(256)(x))
    model = Model(x, Dense(10)(h))
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature

from nncore.errors import ShapeError, UsageError
from nncore.graph.node import Leaf, Node, Parameter, State
from nncore.nn.init import initialiser


class Builder:
    """What layers build with: the model's parameters and states by name, and whether the tape is for training.

    `updates` collects effects that a training step carries out beside the optimizer's (running statistics); `penalties`
    scalar nodes that are added to the loss. `working` makes of a parameter, and its number, what a step computes with.
    """

    def __init__(self, parameters: dict[str, Parameter], training: bool, states: dict[str, State] | None = None, working=None):
        self.parameters, self.training, self.working = parameters, training, working
        self._made: dict[Parameter, Node] = {}
        self.states = {} if states is None else states
        self.updates: list[Node] = []
        self.penalties: list[Node] = []
        self.outputs: dict[Connection, Node] = {}  # what each connection became
        self.mix = None  # what mixup or cutmix does to rows of targets; None without them
        self.layer, self.number = "", 0

    def parameter(self, name: str, shape: tuple, init, fans: tuple[int, int], kind: str = "weight",
                  layout: str = "") -> Node:
        """The layer's parameter, made when first asked for: tapes of other batch sizes and layers used twice share it."""
        full = f"{self.layer}.{name}"
        if full not in self.parameters:
            number, start = len(self.parameters), initialiser(init)
            self.parameters[full] = Parameter(full, shape, lambda w: start(w, *fans, number), kind, layout)
        w = self._fitting(self.parameters[full], shape)
        if w not in self._made:
            self._made[w] = self.working(w, len(self._made)) if self.working else w
        return self._made[w]

    def state(self, name: str, shape: tuple, init: float = 0.0) -> State:
        """A state of the layer that the model file keeps, as running statistics: made and set to `init` when first asked for."""
        full = f"{self.layer}.{name}"
        if full not in self.states:
            self.states[full] = State(full, shape, init=init)
        return self._fitting(self.states[full], shape)

    def _fitting(self, found: Leaf, shape: tuple) -> Leaf:
        if found.shape != shape:
            raise ShapeError(f"{found.name}: has shape {found.shape}, this use needs {shape}")
        return found


@dataclass(eq=False)
class Connection:
    """A tensor of the functional form: a layer applied to other connections; `layer` None is the network's input."""

    layer: Layer | None
    inputs: tuple[Connection, ...] = ()
    shape: tuple = ()


def Input(shape: tuple) -> Connection:  # noqa: N802 - reads as a layer
    """The input of a network, of shape (H, W[, C]) or (features,), without the batch."""
    return Connection(None, (), tuple(shape))


LAYERS: dict[str, type[Layer]] = {}


class Layer:
    """Base of all layers. Subclasses set hyper-parameters in __init__ and define build(builder, *inputs) -> Node; they
    enter LAYERS by their names, which model files store.
    """

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        LAYERS[cls.__name__] = cls

    def build(self, builder: Builder, *inputs: Node) -> Node:
        raise NotImplementedError

    def config(self) -> dict:
        """The constructor's arguments, as the model file keeps them."""
        return {k: v for k, v in vars(self).items() if not k.startswith("_")}

    def __call__(self, *inputs: Connection) -> Connection:
        if not all(isinstance(x, Connection) for x in inputs):
            raise UsageError(f"{type(self).__name__} is called on the output of nn.Input or of another layer")
        return Connection(self, inputs)

    def __repr__(self) -> str:
        """The call that makes this layer, without what it would have anyway."""
        usual = {k: p.default for k, p in signature(type(self).__init__).parameters.items()} | getattr(self, "_defaults", {})
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config().items() if v != usual.get(k))})"


def ordered(inputs: Connection, outputs: list[Connection]) -> tuple[list[Layer], list[Connection]]:
    """Layers and connections from the input to the outputs, in topological order."""
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

    for c in outputs:
        visit(c)
    if not order:
        raise UsageError("the network has no layer")
    layers: list[Layer] = []
    for c in order:
        if not any(c.layer is known for known in layers):
            layers.append(c.layer)
    return layers, order
