"""What the normalising ops should compute, in plain Python: rung 0 of the ladder of trust, as tests/oracle.py.

Scratch outputs (`work`) are 0 here and in the reference: what a kernel leaves there is nobody's business.
"""

from __future__ import annotations

import math

from tests.oracle import dot, total


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
