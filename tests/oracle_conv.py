"""Convolutions as the textbook has them: pad with zeros, slide the window; the gradients by their sums over all pairs.

Products with a padding zero are left out: 0 times infinity is no term of the sum. See tests/oracle.py for the form.
"""

from __future__ import annotations

from tests.oracle import dot

NAMES = ("N", "H", "W", "C", "R", "S", "K", "P", "Q", "sh", "sw", "pt", "pl", "dh", "dw", "G", "last")


class Shape:
    """The dims by name, and the flat indices of the three tensors."""

    def __init__(self, dims):
        self.__dict__.update(zip(NAMES, dims, strict=True))
        self.c, self.k = self.C // self.G, self.K // self.G

    def x(self, n, h, w, c):
        return ((n * self.H + h) * self.W + w) * self.C + c

    def y(self, n, p, q, k):
        return ((n * self.P + p) * self.Q + q) * self.K + k

    def w(self, r, s, c, k):
        return ((r * self.S + s) * self.c + c) * self.K + k

    def pairs(self):
        """Every (n, p, q, r, s, h, w) with tap (r, s) of output pixel (p, q) inside the image."""
        for n in range(self.N):
            for p in range(self.P):
                for q in range(self.Q):
                    for r in range(self.R):
                        for s in range(self.S):
                            h, w = p * self.sh + r * self.dh - self.pt, q * self.sw + s * self.dw - self.pl
                            if 0 <= h < self.H and 0 <= w < self.W:
                                yield n, p, q, r, s, h, w

    def sums(self, count, a, b, index):
        """count outputs, each the exact sum of a[i] b[j] over what index(pair, k, c) = (output, i, j) sends there."""
        terms = [([], []) for _ in range(count)]
        for pair in self.pairs():
            for k in range(self.K):
                for c in range(self.c):
                    o, i, j = index(*pair, k, k // self.k * self.c + c, c)
                    terms[o][0].append(a[i])
                    terms[o][1].append(b[j])
        return [dot(*t) for t in terms]


def _biased(call, y, channels):
    b = call.args[3]
    if call.dims[16] >= 0:
        raise NotImplementedError("epilogues are compared with the op they fuse: test_conv.py")
    return [[v + b.values[i % channels] for i, v in enumerate(y)] if b else y]


def conv_fwd(call):
    v = Shape(call.dims)
    y = v.sums(v.N * v.P * v.Q * v.K, call.values(1), call.values(2),
               lambda n, p, q, r, s, h, w, k, c, cg: (v.y(n, p, q, k), v.x(n, h, w, c), v.w(r, s, cg, k)))
    return _biased(call, y, v.K)


def conv_bwd_data(call):
    v = Shape(call.dims)
    dx = v.sums(v.N * v.H * v.W * v.C, call.values(1), call.values(2),
                lambda n, p, q, r, s, h, w, k, c, cg: (v.x(n, h, w, c), v.y(n, p, q, k), v.w(r, s, cg, k)))
    return _biased(call, dx, v.C)


def conv_bwd_weight(call):
    v = Shape(call.dims)
    size, rows = v.R * v.S * v.c * v.K, v.N // v.last
    return [v.sums(size * v.last, call.values(1), call.values(2),
                   lambda n, p, q, r, s, h, w, k, c, cg: (n // rows * size + v.w(r, s, cg, k), v.x(n, h, w, c),
                                                          v.y(n, p, q, k)))]
