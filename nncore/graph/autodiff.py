"""Reverse mode: the gradient of a scalar as more graph, from the local gradients in ops.py. The only differentiation here.

Source: Griewank and Walther 2008, section 3.2; Goodfellow, Bengio, Courville 2016, algorithm 6.6.
"""

from __future__ import annotations

from nncore.errors import GraphError
from nncore.graph import ops
from nncore.graph.node import Constant, Leaf, Node, Output, View, layer_scope, topological


def gradients(loss: Node, wrt: list[Leaf], scale: Node | None = None) -> dict[Leaf, Node]:
    """d loss / d leaf for each leaf, as graph nodes of the leaf's shape; scale: a tensor of one element that the loss is taken
    times.

    The contributions of several uses are added in the order in which the reverse sweep meets them. Partial sums of the
    shards are added over all uses first and over the shards, in a fixed binary tree, last: what S processes would do.
    Leaves that the loss does not depend on are missing. Raises GraphError where an op has no derivative.
    """
    order = topological([loss])
    wanted = _depends_on(order, wrt)
    flowing: dict[int, list[Node]] = {id(loss): [Constant(1.0, scale)]}
    for node in reversed(order):
        if id(node) not in wanted or isinstance(node, Leaf):
            continue
        arrived = flowing.pop(id(node), [])
        if not arrived:
            continue
        with layer_scope(node.layer):
            g = add_all(arrived)
            g.gradient_of = node
            for x, gx in zip(node.inputs, _local(g, node), strict=True):
                if x is not None and gx is not None and id(x) in wanted:
                    flowing.setdefault(id(x), []).append(gx)
    found = {}
    for leaf in wrt:
        if id(leaf) in flowing:
            with layer_scope(leaf.name.rpartition(".")[0]):
                found[leaf] = _collect(leaf, flowing[id(leaf)])
                found[leaf].gradient_of = leaf
    return found


def add_all(terms: list[Node]) -> Node:
    """Sum, left to right. A scaled term is added by one fused multiply-add."""
    total = terms[0]
    for term in terms[1:]:
        if isinstance(total, Constant) and isinstance(term, Constant):
            total = Constant(total.value + term.value, total.by)
        elif isinstance(term, Node) and term.op is ops.scale:
            total = ops.add_scaled(total, term.inputs[0], c=term.attrs["c"])
        else:
            total = ops.add(total, term)
    return total


def _collect(leaf: Leaf, terms: list[Node]) -> Node:
    terms = [ops.spread(t, leaf) for t in terms]
    partial = [t for t in terms if t.shape != leaf.shape]
    whole = [t for t in terms if t.shape == leaf.shape]
    if partial:
        whole.insert(0, ops.tree_sum(add_all(partial)))
    return add_all(whole)


def _local(g: Node, node: Node) -> tuple[Node | None, ...]:
    """Gradients of a node's inputs, given the gradient g of its output."""
    if isinstance(node, View):
        source = node.inputs[0]
        return (g if isinstance(g, Constant) else View(g, source.shape),)
    if isinstance(node, Output) or node.op.vjp is None:
        name = node.inputs[0].op.name if isinstance(node, Output) else node.op.name
        raise GraphError(f"{name}: has no derivative here (layer {node.layer or '?'}); "
                         "it cannot stand between a parameter and the loss")
    return node.op.vjp(g, node)


def _depends_on(order: list[Node], leaves: list[Leaf]) -> set[int]:
    """Ids of the nodes through which a leaf of `leaves` reaches the loss: nothing else needs a gradient."""
    wanted = {id(leaf) for leaf in leaves}
    for node in order:
        if any(x is not None and id(x) in wanted for x in node.inputs):
            wanted.add(id(node))
    return wanted
