"""In which order a sum is made, found from outside, by probing with masks.

    from nncore.lab.order import probe, show
    print(show(probe(lambda x: np.sum(np.asarray(x)), 32)))

All terms are one unit, but term i is M and term j is -M, where M is so large that M + units = M. Units added to either before
the two meet are lost; those outside the smallest subtree that holds both survive. So sum / unit = n - (leaves of that
subtree), and these sizes for enough pairs (i, j) give the whole tree: n - 1 probes for a chain, n (n - 1) / 2 at worst. Xie,
Gao, Shi, Wang 2024, "FPRev: revealing the order of floating-point summation", arXiv 2411.00442, algorithm 3; a node with more
than two children is an adder of several terms at once, as matrix units have them.

A tree is an int (the term's index) or a tuple of trees. Additions commute, so the children of a node have no order: they
stand here by their smallest term.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterator, Sequence

from nncore.errors import UsageError

Tree = int | tuple  # of trees

# typecode, M, unit, most terms: M + (so many units) = M, and as many units are counted without rounding.
FORMATS = {"f32": ("f", 2.0**100, 1.0, 2**24), "f64": ("d", 2.0**1000, 1.0, 2**53), "bf16": ("f", 2.0**100, 1.0, 2**8),
           "f16": ("f", 2.0**15, 2.0**-10, 2**11)}  # fmt: skip
CHECKS = 64  # pairs that the finished tree must explain besides those it was made from


def probe(f: Callable[[array], float], n: int, dtype: str = "f32") -> Tree:
    """The tree in which f adds the n numbers of an array.array: float32 ("f", for dtype f32, bf16, f16) or float64 ("d", f64).

    f may read the buffer any way it likes (numpy.asarray, torch.frombuffer). dtype: what f adds in. Raises UsageError where f
    is no sum of its n terms, each once, by a fixed tree of roundings to nearest: a compensated or an exact sum, one whose order
    depends on the data, one that adds in a wider format.
    """
    if dtype not in FORMATS:
        raise UsageError(f"order: dtype {dtype!r} is none of {', '.join(FORMATS)}")
    if not 1 <= n <= FORMATS[dtype][3]:
        raise UsageError(f"order: a sum of {n} terms; {dtype} counts 1 to {FORMATS[dtype][3]:,}")
    sizes = _Sizes(f, n, dtype)
    if sizes.units() != n:
        raise UsageError(f"order: of {n} ones the sum was {sizes.units():g}: not a sum of {n} terms")
    forest = _build(list(range(n)), n + 1, sizes)
    tree = forest[0] if len(forest) == 1 else tuple(forest)
    _check(tree, n, sizes)
    return tree


class _Sizes:
    """Leaves of the smallest subtree that holds both terms of a pair, by asking f."""

    def __init__(self, f: Callable[[array], float], n: int, dtype: str):
        code, self.big, self.unit, _ = FORMATS[dtype]
        self.f, self.n, self.x, self.calls = f, n, array(code, [self.unit]) * n, 0

    def units(self) -> float:
        self.calls += 1
        return float(self.f(self.x)) / self.unit

    def __call__(self, i: int, j: int) -> int:
        x, unit = self.x, self.unit
        x[i], x[j] = self.big, -self.big
        left = self.units()
        x[i] = x[j] = unit
        size = self.n - left
        if not (2 <= size <= self.n and size == int(size)):
            raise UsageError(f"order: with {self.big:g} at {i}, {-self.big:g} at {j} and {unit:g} elsewhere the sum was "
                             f"{left * unit:g}, which no fixed order of additions gives")
        return int(size)


def _build(leaves: list[int], parent: int, sizes: _Sizes) -> list[Tree]:
    """The subtrees under a node of `parent` leaves that hold these leaves: several where it adds several at once."""
    children: list[Tree] = []
    while leaves:
        tree, count, groups = leaves[0], 1, {}
        for j in leaves[1:]:
            groups.setdefault(sizes(leaves[0], j), []).append(j)
        leaves = groups.pop(parent, [])
        for size in sorted(groups):
            count += len(groups[size])
            if size != count:
                raise UsageError(f"order: {size} terms met at a place that only {count} lead to: terms are dropped or corrected")
            tree = (tree, *_build(groups[size], size, sizes))
        children.append(tree)
    return children


def _check(tree: Tree, n: int, sizes: _Sizes) -> None:
    """Pairs at random must have met where the tree says."""
    dice, places, nodes = random.Random(n), {t: k for k, t in enumerate(leaves(tree))}, spans(tree)
    for i, j in (dice.sample(range(n), 2) for _ in range(CHECKS if n > 1 else 0)):
        low, high = sorted((places[i], places[j]))
        if sizes(i, j) != min(end - begin for begin, end in nodes if begin <= low and high < end):
            raise UsageError(f"order: terms {i} and {j} did not meet where other pairs say: the order depends on the data, or a "
                             "correction is carried along")


# ---- trees -----------------------------------------------------------------------------------------------------------


def leaves(tree: Tree) -> Iterator[int]:
    """The terms of a tree, from left to right. Chains of any length: no recursion."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, int):
            yield node
        else:
            stack.extend(reversed(node))


def spans(tree: Tree) -> list[tuple[int, int]]:
    """Of every node the places of its terms, [begin, end) among those of the tree from left to right."""
    found, open_, at = [], [], 0
    for item in shape(tree):
        if isinstance(item, int):
            open_.append((at, at + 1))
            at += 1
        else:
            parts = open_[-int(item[1:]) :]
            del open_[-len(parts) :]
            open_.append((parts[0][0], parts[-1][1]))
            found.append(open_[-1])
    return found


def chain(terms: Sequence[Tree]) -> Tree:
    """((t0 + t1) + t2) + ..., as it stands in a loop."""
    tree, *rest = terms
    for t in rest:
        tree = (tree, t)
    return tree


def pairwise(terms: Sequence[Tree]) -> Tree:
    """Neighbours, then neighbours of these; an odd one out is carried up a level unchanged (csrc/ops/reduce.c, shards)."""
    terms = list(terms)
    while len(terms) > 1:
        terms = [tuple(terms[i : i + 2]) if i + 1 < len(terms) else terms[i] for i in range(0, len(terms), 2)]
    return terms[0]


def lanes(terms: Sequence[Tree], width: int = 16) -> Tree:
    """Term i into chain i mod width, the chains halved onto each other (width / 2, ..., 2, 1)."""
    rows: list[Tree | None] = [chain(terms[k::width]) if k < len(terms) else None for k in range(width)]
    while len(rows) > 1:
        half = len(rows) // 2
        rows = [rows[k] if rows[k + half] is None else (rows[k], rows[k + half]) for k in range(half)]
    return rows[0]


def ordered(tree: Tree) -> Tree:
    """The same tree with the children of every node by their smallest term: how trees are compared."""
    done: list[tuple[int, Tree]] = []  # of nodes in postfix order: smallest term, tree
    stack: list[tuple[Tree, bool]] = [(tree, False)]
    while stack:
        node, seen = stack.pop()
        if isinstance(node, int):
            done.append((node, node))
        elif not seen:
            stack.append((node, True))
            stack.extend((c, False) for c in node)
        else:
            parts = sorted(done[-len(node) :], key=lambda p: p[0])
            del done[-len(node) :]
            done.append((parts[0][0], tuple(p[1] for p in parts)))
    return done[0][1]


def same(a: Tree, b: Tree) -> bool:
    """Whether two trees give the same bits for all data: they do not differ but in the order of a node's children."""
    return shape(ordered(a)) == shape(ordered(b))


def shape(tree: Tree) -> list:
    """The tree as a flat list, in postfix: each term, and for each node the number of its children as a string."""
    found: list = []
    stack: list = [(tree, False)]
    while stack:
        node, seen = stack.pop()
        if isinstance(node, int):
            found.append(node)
        elif seen:
            found.append(f"+{len(node)}")
        else:
            stack.append((node, True))
            stack.extend((c, False) for c in reversed(node))
    return found


# ---- text ------------------------------------------------------------------------------------------------------------


def sizes_of(tree: Tree) -> dict[int, int]:
    """Terms of every node, by its id."""
    found: dict[int, int] = {}
    stack: list[tuple[Tree, bool]] = [(tree, False)]
    while stack:
        node, seen = stack.pop()
        if isinstance(node, int):
            found[id(node)] = 1
        elif seen:
            found[id(node)] = sum(found[id(c)] for c in node)
        else:
            stack.append((node, True))
            stack.extend((c, False) for c in node)
    return found


def links(tree: Tree, sizes: dict[int, int]) -> list[Tree]:
    """What the outermost chain of a tree adds, one after another: the spine of larger children, as far down as what joins it
    stays of one size (the last may be smaller). The two terms of a node that no chain goes through; a term is alone.
    """
    joined: list[Tree] = []
    while isinstance(tree, tuple) and len(tree) == 2:
        large, small = tree if sizes[id(tree[0])] >= sizes[id(tree[1])] else reversed(tree)
        wanted, size = sizes[id(joined[min(len(joined), 2) - 1])] if joined else 0, sizes[id(small)]
        if size < wanted or len(joined) > 1 and size > wanted:
            break
        joined.append(small)
        tree = large
    return [tree, *reversed(joined)]


def show(tree: Tree) -> str:
    """The tree as indented text: `0 + 1 + 2` is added from left to right, the lines below a `+` are its terms."""
    tree = ordered(tree)
    return "\n".join(_lines(tree, sizes_of(tree)))


def _lines(tree: Tree, sizes: dict[int, int]) -> list[str]:
    several = isinstance(tree, tuple) and len(tree) > 2
    parts = list(tree) if several else links(tree, sizes)
    if all(isinstance(p, int) for p in parts) and not several:
        return [_run(parts)]
    first = next((i for i, p in enumerate(parts) if not isinstance(p, int)), len(parts))
    shown = [_lines(p, sizes) for p in parts]
    if first > 1 and not several:
        shown[:first] = [[_run(parts[:first])]]
    last = next((i for i in range(len(parts), 0, -1) if not isinstance(parts[i - 1], int)), 0)
    if len(parts) - last > 1 and not several:
        shown[last - len(parts) :] = [[_run(parts[last:]).replace(" +", ",") + ", one by one"]]
    found = [f"+ {len(parts)} at once" if several else "+" if len(parts) == 2 else "+ from top to bottom"]
    for k, (head, *more) in enumerate(shown):
        end = k == len(shown) - 1
        found += [("`- " if end else "|- ") + head, *(("   " if end else "|  ") + line for line in more)]
    return found


def _run(terms: list[int]) -> str:
    """0 + 16 + 32 + ... + 240 where the steps are even and the terms many."""
    steps = {b - a for a, b in zip(terms, terms[1:], strict=False)}
    if len(terms) > 5 and len(steps) == 1:
        return " + ".join([*map(str, terms[:3]), "...", str(terms[-1])])
    return " + ".join(map(str, terms))
