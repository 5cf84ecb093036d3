"""Folding: a batch normalisation with given statistics vanishes into the dense layer or convolution before it.

    (x * w + b - mean) a + beta = x * (w a) + ((b - mean) a + beta),   a = gamma / sqrt(var + eps), per output channel

The right side is one product with scaled weights, one pass over the activations less. It rounds elsewhere, so the bits change
(architecture.md: fusion never changes them): folding is asked for, at prediction. Jacob et al. 2018, section 3.2.
"""

from __future__ import annotations

from nncore.graph import ops
from nncore.graph.node import Leaf, Node, Output, View, layer_scope, topological

# Ops (x, weights [.., K], bias or None) -> (.., K) that are linear in their weights, one output channel to a column.
PRODUCTS = (ops.dense, ops.conv)


def fold(outputs: list[Node]) -> list[Node]:
    """The same outputs with every `batch_norm_fixed` folded into the product before it, if nobody else reads that product.

    Leaves are shared with the graph that was given, which stays as it is. A graph without such a pair comes back itself.
    """
    order = topological(outputs)
    readers: dict[int, int] = {}
    for x in [x for node in order for x in node.inputs if x is not None] + outputs:
        readers[id(x)] = readers.get(id(x), 0) + 1
    new: dict[int, Node] = {}
    for node in order:
        inputs = tuple(x if x is None else new[id(x)] for x in node.inputs)
        if node.op is ops.batch_norm_fixed and inputs[0].op in PRODUCTS and readers[id(node.inputs[0])] == 1:
            new[id(node)] = fold_into(inputs[0], *inputs[1:], eps=node.attrs["eps"])
        else:
            new[id(node)] = _with_inputs(node, inputs)
    return [new[id(node)] for node in outputs]


def fold_into(product: Node, mean: Node, var: Node, gamma: Node | None, beta: Node | None, eps: float = 1e-5) -> Node:
    """The product with the normalisation of its output folded into weights and bias. All statistics are (K)."""
    x, w, b = product.inputs
    with layer_scope(product.layer):
        bias = ops.reshape(ops.fill(mean, 0.0) if b is None else b, (1, *mean.shape))
        scaled = ops.batch_norm_fixed(w, None, var, gamma, None, eps=eps)
        shifted = ops.reshape(ops.batch_norm_fixed(bias, mean, var, gamma, beta, eps=eps), mean.shape)
        return product.op(x, scaled, shifted, **product.attrs)


def _with_inputs(node: Node, inputs: tuple) -> Node:
    """The node itself, or its like over other inputs."""
    if isinstance(node, Leaf) or all(a is b for a, b in zip(node.inputs, inputs, strict=True)):
        return node
    with layer_scope(node.layer):
        if isinstance(node, View):
            return View(inputs[0], node.shape)
        if isinstance(node, Output):
            return inputs[0].output(node.inputs[0].outputs.index(node))
        made = Node(node.op, inputs, node.attrs, node.shape, node.dtype, node.shards)
        made.outputs = (made, *(Output(made, o.shape, o.dtype) for o in node.outputs[1:]))
        return made
