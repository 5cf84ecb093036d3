"""Nodes: the graph of a computation. A node is one tensor: a leaf, the result of an op, or a further output of one.

Nothing is computed here. Shapes are concrete, the batch first; `shards` says into how many equal groups the batch axis
is cut (architecture.md, "Shards"), so that ops which sum over the batch know to give one partial sum per group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import prod
from typing import Any

from nncore.errors import ShapeError

_layer: ContextVar[str] = ContextVar("layer", default="")


@contextmanager
def layer_scope(label: str) -> Iterator[None]:
    """Nodes made inside belong to the layer `label`: the name that faults and tapes show."""
    token = _layer.set(label)
    try:
        yield
    finally:
        _layer.reset(token)


class Node:
    """One tensor of the graph: result of `op` on `inputs`. `inputs` may hold None for absent optional arguments."""

    def __init__(self, op: Op | None, inputs: tuple, attrs: dict[str, Any], shape: tuple, dtype: str, shards: int = 1):
        self.op, self.inputs, self.attrs = op, inputs, attrs
        self.shape, self.dtype, self.shards = tuple(shape), dtype, shards
        self.layer = _layer.get()
        self.outputs: tuple[Node, ...] = (self,)
        self.gradient_of: Node | None = None  # for the name that a tape shows

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def output(self, index: int) -> Node:
        """Output `index` of an op with several; output 0 is the node itself."""
        return self.outputs[index]

    def __repr__(self) -> str:
        kind = self.op.name if self.op else type(self).__name__.lower()
        return f"{kind}{list(self.shape)}"


class Output(Node):
    """A further output of a node's op: the same instruction writes it."""

    def __init__(self, source: Node, shape: tuple, dtype: str):
        super().__init__(None, (source,), {}, shape, dtype, source.shards)


class View(Node):
    """The same elements under another shape: no instruction, no memory."""

    def __init__(self, source: Node, shape: tuple):
        super().__init__(None, (source,), {}, shape, source.dtype, source.shards)


class Constant(Node):
    """A gradient that is the same number everywhere. Never in memory: derivative rules fold it into what they build.

    by: a tensor of one element that the number is still to be multiplied by, the same in all gradients of a graph.
    """

    def __init__(self, value: float, by: Node | None = None):
        super().__init__(None, (), {}, (), "real")
        self.value, self.by = value, by

    def times(self, c: float) -> Constant:
        """c times it."""
        return Constant(self.value * c, self.by)


class Leaf(Node):
    """A tensor that no op computes."""

    def __init__(self, name: str, shape: tuple, dtype: str, shards: int = 1):
        super().__init__(None, (), {}, shape, dtype, shards)
        self.name = name

    def __repr__(self) -> str:
        return f"{self.name}{list(self.shape)}"


class Parameter(Leaf):
    """A tensor that training changes and the model file keeps.

    `init` writes the first value: a function from the parameter to an effect node. `kind` is "weight" or "bias":
    penalties and decays take weights only unless asked. `layout` names how the file stores it: "io" for dense weights
    ([in, out] here, torch's [out, in] there), "io:C" for those of a flattened image of C channels (height, width, channel
    here; channel, height, width there), "rsck" for a convolution's (torch's [K, C, R, S] there), "hwc"
    for one value per element of an image (torch's [C, H, W] there), "" for as it stands.
    """

    def __init__(self, name: str, shape: tuple, init: Callable, kind: str = "weight", layout: str = ""):
        super().__init__(name, shape, "real")
        self.init, self.kind, self.layout = init, kind, layout


class State(Leaf):
    """Memory carried across steps that gradients do not touch: moments, counters, running statistics, recurrence.

    `init`, if given, is its first value, and the model file keeps it: it is part of the network, not of its training.
    """

    def __init__(self, name: str, shape: tuple, dtype: str = "real", init: float | None = None):
        super().__init__(name, shape, dtype)
        self.init = init


class Input(Leaf):
    """Data of the caller's, bound at run time to an external of that index (nn_run.external)."""

    def __init__(self, name: str, shape: tuple, dtype: str, external: int, shards: int = 1):
        super().__init__(name, shape, dtype, shards)
        self.external = external


@dataclass(frozen=True, eq=False)
class Op:
    """All that Python knows of an op: one row of the registry. Calling it makes a node.

    name     the kernel's stable name in C
    shape    (node's inputs and attributes) -> shape, or a list of shapes for several outputs. Raises ShapeError
    dims     node -> the instruction's sizes, in nncore.h's order; default the element count
    scalars  node -> the instruction's scalars; default none
    vjp      (g, node) -> gradient per input (None where there is none), as graph nodes: the local gradient
    flop     node -> floating-point operations
    dtypes   of the outputs
    mutates  indices of inputs that the op overwrites: such a node is an effect and has no output
    defaults attributes and their default values; unknown ones are refused
    epilogue may be fused behind a product (elementwise, derivative written in its output)
    fuses    such a product: the last of its dims is the opcode of the epilogue, or -1
    product  node -> the features (channels) of the narrower of its two sides, 0 in groups: what decides whether it is computed
             in the tape's math mode. In C another dim follows then, the planes of bfloat16
    elementary calls exp, log or the like: in C a last dim follows if these are to be the correctly rounded ones (nn_exact_dim)
    """

    name: str
    shape: Callable
    dims: Callable[[Node], tuple] = lambda n: (n.size,)
    scalars: Callable[[Node], tuple] = lambda n: ()
    vjp: Callable | None = None
    flop: Callable[[Node], float] = lambda n: n.size
    dtypes: tuple[str, ...] = ("real",)
    mutates: tuple[int, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)
    epilogue: bool = False
    fuses: bool = False
    product: Callable[[Node], int] | None = None
    elementary: bool = False

    def __call__(self, *inputs: Node | None, **attrs: Any) -> Node:
        if unknown := set(attrs) - set(self.defaults):
            raise ShapeError(f"{self.name}: unknown attribute {', '.join(sorted(unknown))}")
        attrs = {**self.defaults, **attrs}
        shards = max((x.shards for x in inputs if x is not None), default=1)
        node = Node(self, inputs, attrs, (), self.dtypes[0], shards)
        shapes = self.shape(node)
        shapes = shapes if isinstance(shapes, list) else [shapes]
        node.shape = tuple(shapes[0])
        node.outputs = (node, *(Output(node, s, d) for s, d in zip(shapes[1:], self.dtypes[1:], strict=True)))
        return node


def topological(roots: list[Node]) -> list[Node]:
    """Every node that the roots need, inputs first, in a fixed order: depth first, inputs left to right."""
    order: list[Node] = []
    seen: set[int] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((x, False) for x in reversed(node.inputs) if x is not None and id(x) not in seen)
    return order
