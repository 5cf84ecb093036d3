"""What the normalising ops should compute, in plain Python: rung 0 of the ladder of trust, as tests/oracle.py.

Scratch outputs (`work`) are 0 here and in the reference: what a kernel leaves there is nobody's business.
"""

from __future__ import annotations

import math

from tests.oracle import dot, rows, total


def _scratch(call):
    return [0.0] * call.args[3].count


def _inverse(var, eps):
    return 1 / math.sqrt(var + eps)


# ---- batch_norm.c --------------------------------------------------------------------------------------------------


def batch_norm_fwd(call):
    N, C, shards, _ = call.dims
    (eps,), n, x = call.scalars, N // shards, call.values(4)
    gamma, beta = (a.values if a else None for a in call.args[5:7])
    y, mean, var = [0.0] * (N * C), [], []
    for s in range(shards):
        for j in range(C):
            at = range(s * n * C + j, (s + 1) * n * C, C)
            m = total(x[i] for i in at) / n
            v = total((x[i] - m) ** 2 for i in at) / n
            for i in at:
                y[i] = (x[i] - m) * _inverse(v, eps) * (gamma[j] if gamma else 1) + (beta[j] if beta else 0)
            mean.append(m)
            var.append(v)
    return [y, mean, var, _scratch(call)]


def batch_norm_fixed_fwd(call):
    N, C = call.dims
    (eps,), x = call.scalars, call.values(1)
    absent = ([0] * C, None, [1] * C, [0] * C)
    mean, var, gamma, beta = (a.values if a else d for a, d in zip(call.args[2:6], absent, strict=True))
    return [[(x[i] - mean[i % C]) * _inverse(var[i % C], eps) * gamma[i % C] + beta[i % C] for i in range(N * C)]]


def batch_norm_bwd(call):
    """The chain rule step by step: dmean and dvar by Ioffe and Szegedy's formulas, no shortcut."""
    N, C, shards, _, fixed = call.dims
    (eps,), n, dy, x = call.scalars, N // shards, call.values(4), call.values(5)
    gamma = call.args[8].values if call.args[8] else [1.0] * C
    dx, dgamma, dbeta = [0.0] * (N * C), [], []
    for s in range(shards):
        for j in range(C):
            at, stat = range(s * n * C + j, (s + 1) * n * C, C), j if fixed else s * C + j
            m, inverse = call.values(6)[stat], _inverse(call.values(7)[stat], eps)
            dgamma.append(dot([dy[i] for i in at], [x[i] - m for i in at]) * inverse)
            dbeta.append(total(dy[i] for i in at))
            dvar = -gamma[j] * inverse**2 * dgamma[-1] / 2  # sum_i dy_i gamma (x_i - m) (-1/2) inverse^3
            dmean = -gamma[j] * inverse * dbeta[-1]  # what it adds through var is 0 where m is the mean: dropped
            for i in at:
                dx[i] = dy[i] * gamma[j] * inverse + (0 if fixed else dvar * 2 * (x[i] - m) / n + dmean / n)
    return [dx, dgamma, dbeta, _scratch(call)]


def running_stats(call):
    C, shards, n = call.dims
    (m,) = call.scalars
    mean = [total(call.values(2)[j::C]) / shards for j in range(C)]
    var = [total(call.values(3)[j::C]) / shards * n / (n - 1) for j in range(C)]
    return [[(1 - m) * r + m * s for r, s in zip(call.values(k), new, strict=True)] for k, new in ((0, mean), (1, var))]


# ---- layer_norm.c --------------------------------------------------------------------------------------------------


def layer_norm_fwd(call):
    N, D = call.dims
    gamma, beta = (a.values if a else d for a, d in zip(call.args[4:6], ([1] * D, [0] * D), strict=True))
    y, means, inverses = [], [], []
    for row in rows(call.values(3), D, N):
        m = total(row) / D
        inverse = _inverse(total((x - m) ** 2 for x in row) / D, call.scalars[0])
        y += [(x - m) * inverse * g + b for x, g, b in zip(row, gamma, beta, strict=True)]
        means.append(m)
        inverses.append(inverse)
    return [y, means, inverses]


def layer_norm_bwd(call):
    """Through mean and variance, step by step, with sum_j z_j = 0 dropped."""
    N, D = call.dims
    gamma, dx = call.args[5].values if call.args[5] else [1.0] * D, []
    tables = (rows(call.values(i), D, N) for i in (1, 2))
    for dy, x, m, inverse in zip(*tables, call.values(3), call.values(4), strict=True):
        g = [a * b for a, b in zip(dy, gamma, strict=True)]
        z = [(v - m) * inverse for v in x]
        dmean, dvar = -inverse * total(g), -(inverse**2) / 2 * dot(g, z)
        dx += [a * inverse + dvar * 2 * (v - m) / D + dmean / D for a, v in zip(g, x, strict=True)]
    return [dx]


def layer_norm_bwd_weight(call):
    N, D, shards = call.dims
    dy, x, n = call.values(2), call.values(3), N // shards
    dgamma, dbeta = [], []
    for s in range(shards):
        group = range(s * n, (s + 1) * n)
        z = {(i, j): (x[i * D + j] - call.values(4)[i]) * call.values(5)[i] for i in group for j in range(D)}
        dgamma += [dot([dy[i * D + j] for i in group], [z[i, j] for i in group]) for j in range(D)]
        dbeta += [total(dy[i * D + j] for i in group) for j in range(D)]
    return [dgamma, dbeta]


# ---- local_norm.c --------------------------------------------------------------------------------------------------


def _window(c, C, size):
    return range(max(0, c - size // 2), min(C, c + size // 2 + 1))


def local_norm_fwd(call):
    N, C, size = call.dims[:3]
    k, alpha, beta = call.scalars
    y, s = [], []
    for x in rows(call.values(2), C, N):
        damping = [k + alpha * total(x[j] * x[j] for j in _window(c, C, size)) for c in range(C)]
        y += [v * d**-beta for v, d in zip(x, damping, strict=True)]
        s += damping
    return [y, s]


def local_norm_bwd(call):
    N, C, size = call.dims[:3]
    k, alpha, beta = call.scalars
    dx = []
    for dy, x, s in zip(*(rows(call.values(i), C, N) for i in (1, 2, 3)), strict=True):
        for c in range(C):
            through = total(dy[j] * x[j] * s[j] ** (-beta - 1) for j in _window(c, C, size))
            dx.append(dy[c] * s[c] ** -beta - 2 * alpha * beta * x[c] * through)
    return [dx]
