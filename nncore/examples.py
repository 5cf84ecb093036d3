"""Networks of the lectures, with weights set by hand: unit-step neurons compute every Boolean function."""

from __future__ import annotations

from collections.abc import Sequence

from nncore.errors import UsageError
from nncore.nn.layers import Dense, Step
from nncore.train.model import Sequential


def xor() -> Sequential:
    """The three-neuron network of unit steps for XOR: an OR and a NAND neuron, and an AND of the two.

    >>> from array import array
    >>> xor().predict(memoryview(array("f", [0, 0, 0, 1, 1, 0, 1, 1])).cast("B").cast("f", (4, 2))).tolist()
    [[0.0], [1.0], [1.0], [0.0]]
    """
    model = Sequential([Dense(2), Step(), Dense(1), Step()], standardise="none").build((2,))
    model.assign("0.weight", [1, -1, 1, -1])  # [in, out]: OR takes both with +1, NAND both with -1
    model.assign("0.bias", [-0.5, 1.5])
    model.assign("2.weight", [1, 1])
    model.assign("2.bias", [-1.5])
    return model


def boolean(truth_table: Sequence) -> Sequential:
    """The lectures' network for any Boolean function of n inputs: 2^n hidden unit-step neurons, one per input pattern, and
    an OR over those where the function is true.

    truth_table: 2^n values 0/1, entry i for the input whose bits are those of i, first input the highest bit; or a list of
    such tables for several functions (outputs) at once. Hidden neuron i has weight +1 where bit is 1 and -1 where it is 0
    and bias -(number of ones): its potential is 0 on its own pattern and below 0 on all others.
    Raises UsageError for a table whose length is no power of two, or entries other than 0 and 1.

    >>> boolean([0, 1, 1, 0]).layers[0].units
    4
    """
    tables = [list(t) for t in truth_table] if truth_table and not isinstance(truth_table[0], int) else [list(truth_table)]
    size = len(tables[0]) if tables else 0
    n = size.bit_length() - 1
    if n < 1 or size != 1 << n or any(len(t) != size for t in tables):
        raise UsageError(f"a truth table of n inputs has 2^n entries, n >= 1, got {size}")
    if any(v not in (0, 1) for t in tables for v in t):
        raise UsageError("a truth table holds 0 and 1 only")
    bits = [[i >> (n - 1 - k) & 1 for i in range(size)] for k in range(n)]
    model = Sequential([Dense(size), Step(), Dense(len(tables)), Step()], standardise="none").build((n,))
    model.assign("0.weight", [2 * b - 1 for row in bits for b in row])
    model.assign("0.bias", [-bin(i).count("1") for i in range(size)])
    model.assign("2.weight", [t[i] for i in range(size) for t in tables])
    model.assign("2.bias", [-0.5] * len(tables))
    return model
