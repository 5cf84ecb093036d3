"""A network as people read it: the table of its layers, and the computational graph as data for a drawing.

Sizes are those of one sample; FLOP count a fused multiply-add as two, as the tape does.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from nncore.files import write_atomic
from nncore.graph import ops
from nncore.graph.autodiff import add_all, gradients
from nncore.graph.node import Input as InputNode
from nncore.graph.node import Node, Parameter, layer_scope, topological
from nncore.nn.base import Builder, Connection
from nncore.nn.losses import MultiTask

HEADINGS = ("#", "layer", "from", "output", "parameters", "MFLOP", "activation kB")


@dataclass(frozen=True)
class Row:
    """One layer's line: `inputs` are the numbers of the rows it reads, -1 the network's input."""

    number: int
    layer: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    parameters: int
    flop: float
    nbytes: int

    def cells(self) -> tuple[str, ...]:
        """The line as text; what comes from the line above needs no word."""
        source = "" if self.inputs == (self.number - 1,) else ", ".join("input" if i < 0 else str(i) for i in self.inputs)
        return (str(self.number), self.layer, source, "x".join(map(str, self.shape)), f"{self.parameters:,}",
                f"{self.flop / 1e6:.3f}", f"{self.nbytes / 1e3:.1f}")


@dataclass(frozen=True)
class Summary:
    """What `model.summary()` returns: print it, or take the numbers."""

    name: str
    input_shape: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def parameters(self) -> int:
        """Trained values of the whole network."""
        return sum(r.parameters for r in self.rows)

    @property
    def flop(self) -> float:
        """Floating-point operations of the forward pass of one sample; a training step takes about three times as many."""
        return sum(r.flop for r in self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all activations of one sample, before the plan lets them share memory."""
        return sum(r.nbytes for r in self.rows)

    def __str__(self) -> str:
        table = [HEADINGS, *(r.cells() for r in self.rows)]
        widths = [max(len(row[c]) for row in table) for c in range(len(HEADINGS))]
        right = (0, 4, 5, 6)
        lines = ["  ".join(t.rjust(w) if c in right else t.ljust(w) for c, (t, w) in enumerate(zip(row, widths, strict=True)))
                 for row in table]
        rule = "-" * len(lines[0])
        total = (f"{self.parameters:,} parameters ({self.parameters * 4 / 1e6:.2f} MB), {self.flop / 1e6:.2f} MFLOP forward and "
                 f"{self.nbytes / 1e3:.0f} kB of activations a sample")
        shape = "x".join(map(str, self.input_shape))
        return "\n".join([f"{self.name}  input {shape}", lines[0].rstrip(), rule, *(x.rstrip() for x in lines[1:]), rule, total])


def summarise(model) -> Summary:
    """Layer by layer: shapes, parameters, FLOP, activation bytes. The model's input shape must be known."""
    _, builder = model.forward(_input(model), training=False)
    numbers = {c: i for i, c in enumerate([model.inputs, *model._order], start=-1)}
    rows = []
    for c, (nodes, weights) in _own(model, builder).items():
        rows.append(Row(numbers[c], repr(c.layer), tuple(numbers[i] for i in c.inputs), builder.outputs[c].shape[1:],
                        sum(w.size for w in weights), sum(n.op.flop(n) for n in nodes), 4 * sum(_size(n) for n in nodes)))
    return Summary(model.name, tuple(model.image_shape), tuple(rows))


def _own(model, builder: Builder) -> dict[Connection, tuple[list[Node], list[Parameter]]]:
    """What each connection adds to the graph: the nodes it computes and the parameters that nobody before it has."""
    seen = {id(builder.outputs[model.inputs])}
    found = {}
    for c in model._order:
        fresh = [n for n in topological([builder.outputs[c]]) if id(n) not in seen]
        seen.update(id(n) for n in fresh)
        found[c] = [n for n in fresh if n.op is not None], [n for n in fresh if isinstance(n, Parameter)]
    return found


def _input(model, batch: int = 1) -> Node:
    with layer_scope("data"):
        return InputNode("x", (batch, *model.image_shape), "real", 0)


def _size(n: Node) -> int:
    return sum(prod(o.shape) for o in n.outputs)


# ---- the graph -------------------------------------------------------------------------------------------------------


def outline(model, backward: bool = False, loss=None) -> dict:
    """The computational graph as plain data: one card per layer, with the ops of its forward and, if asked for, backward
    pass, and the edges between cards. {"title", "cards": [{"id", "title", "shape", "parameters", "forward", "backward"}],
    "edges": [{"from", "to", "shape", "phase"}]}. Without a loss the gradients are those of half the outputs' square sum.
    """
    x = _input(model)
    z, builder = model.forward(x, training=backward)
    sweep = _backward(model, builder, z, loss) if backward else []
    names = {model.inputs: "input", **{c: f"layer{i}" for i, c in enumerate(model._order)}}
    cards = [_card("input", "input", x.shape[1:])]
    for c, (nodes, weights) in _own(model, builder).items():
        grads, sweep = _take(sweep, model.layers.index(c.layer))
        cards.append(_card(names[c], repr(c.layer), builder.outputs[c].shape[1:], sum(w.size for w in weights), nodes, grads))
    edges = [{"from": names[i], "to": names[c], "shape": list(builder.outputs[i].shape[1:]), "phase": "forward"}
             for c in model._order for i in c.inputs]
    if backward:
        cards.append(_card("loss", repr(loss) if loss else "1/2 |y|^2", ()))
        heads = list(model.outputs.values()) if isinstance(model.outputs, dict) else [model.outputs]
        edges += [{"from": names[c], "to": "loss", "shape": list(builder.outputs[c].shape[1:]), "phase": "forward"}
                  for c in heads]
        trained: set[str] = set()  # cards that a parameter reaches: the gradient comes back to them
        for card in cards:
            if card["parameters"] or any(e["from"] in trained for e in edges if e["to"] == card["id"]):
                trained.add(card["id"])
        edges += [{**e, "phase": "backward"} for e in edges if e["from"] in trained]
    return {"title": f"{model.name}, {model.parameter_count:,} parameters", "cards": cards, "edges": edges}


def _card(name: str, title: str, shape: tuple, parameters: int = 0, forward=(), backward=()) -> dict:
    return {"id": name, "title": title, "shape": list(shape), "parameters": parameters,
            "forward": [_line(n) for n in forward], "backward": [_line(n) for n in backward]}


def _take(sweep: list[Node], number: int) -> tuple[list[Node], list[Node]]:
    """The gradient ops of one layer (its values' are labelled "3 Dense", its parameters' "3"), and the rest."""
    mine = [n for n in sweep if n.layer.split(" ")[0] == str(number)]
    return mine, [n for n in sweep if n.layer.split(" ")[0] != str(number)]


def _backward(model, builder: Builder, z, loss) -> list[Node]:
    """The ops that compute the gradients, in the order of the sweep."""
    with layer_scope("loss"):
        heads = z if isinstance(z, dict) else {"": z}
        losses = loss.losses if isinstance(loss, MultiTask) else dict.fromkeys(heads, loss)
        total = add_all([_loss(losses[name], ops.flatten(zh), i) for i, (name, zh) in enumerate(heads.items())])
        total = add_all([total, *builder.penalties])
    grads = gradients(total, list(model.parameters.values()))
    forward = {id(n) for n in topological([total])}
    return [n for n in topological(list(grads.values())) if n.op is not None and id(n) not in forward]


def _loss(loss, z: Node, number: int) -> Node:
    if loss is None:
        return ops.sum_squares(z, scale=0.5)
    by_label = loss.by_label
    return loss(z, InputNode(f"t{number}", z.shape[:1] if by_label else z.shape, "i32" if by_label else "real", 2 + number))


def _line(n: Node) -> str:
    """`conv_fwd  1x28x28x6` : op and the shape it writes, with the parameters it reads."""
    reads = [x.name for x in n.inputs if isinstance(x, Parameter)]
    shape = "x".join(map(str, n.shape)) or "scalar"
    return f"{n.op.name} {shape}" + (f"  ({', '.join(reads)})" if reads else "")


@dataclass(frozen=True)
class Drawing:
    """A graph to look at: str() is its SVG text."""

    outline: dict

    def __str__(self) -> str:
        return self._repr_svg_()

    def save(self, path=None) -> Drawing:
        """Write the SVG file, if there is a path. Raises LimitError."""
        if path is not None:
            write_atomic(path, str(self).encode())
        return self

    def _repr_svg_(self) -> str:
        from nncore.report.drawing import draw

        return draw(self.outline)
