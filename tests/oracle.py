"""What each op should compute, in plain Python: loops from the textbook, sums by math.fsum, checked by eye.

One function per op, with the op's name: it takes a Call (nncore/bench/cases) and returns its outputs as flat lists, in
float64. This is rung 0 of the ladder of trust: nothing here is clever, nothing here shares code with csrc/. Where a
formula as printed overflows or cancels, the same function is written so that it does not, and says so. The
helpers of the first section only extend math's functions to infinities and NaN, where Python raises.
"""

from __future__ import annotations

import math

INF, NAN = math.inf, math.nan

# ---- arithmetic that does not raise --------------------------------------------------------------------------------


def exp(x: float) -> float:
    return INF if x > 709.782712893384 else math.exp(x)


def expm1(x: float) -> float:
    return INF if x > 709.782712893384 else math.expm1(x)


def log(x: float) -> float:
    return -INF if x == 0 else math.log(x)


def divide(a: float, b: float) -> float:
    if b != 0:
        return a / b
    return NAN if a == 0 or a != a else math.copysign(INF, a) * math.copysign(1, b)


def total(terms) -> float:
    """The correctly rounded sum; infinities and NaN as addition has them."""
    terms = list(terms)
    if all(map(math.isfinite, terms)):
        try:
            return math.fsum(terms)
        except OverflowError:
            return sum(terms)
    return sum(terms)


def dot(a, b) -> float:
    """sum a_i b_i, each product split into two exact halves so that fsum sees no rounding."""
    terms = []
    for x, y in zip(a, b, strict=True):
        p = x * y
        terms.append(p)
        if math.isfinite(p) and abs(p) > 1e-250 and abs(x) < 1e150 and abs(y) < 1e150:
            terms.append(_product_error(x, y, p))
    return total(terms)


def _product_error(x: float, y: float, p: float) -> float:
    """x y - p exactly (Dekker 1971)."""
    xh, yh = x * 134217729.0, y * 134217729.0
    xh, yh = xh - (xh - x), yh - (yh - y)
    xl, yl = x - xh, y - yh
    return ((xh * yh - p) + xh * yl + xl * yh) + xl * yl


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)); below 0 the same fraction expanded by exp(x), which does not overflow."""
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))


def softplus(x: float) -> float:
    """log(1 + exp(x)), by the larger of its two terms."""
    return max(x, 0.0) + math.log1p(exp(-abs(x))) if x == x else x


def rows(values: list, C: int, N: int | None = None) -> list[list]:
    """A flat list cut into rows of C; N of them, if C may be 0."""
    return [values[i * C : (i + 1) * C] for i in range(N if N is not None else len(values) // C)]


def flat(table) -> list:
    return [v for row in table for v in row]


# ---- gemm.c --------------------------------------------------------------------------------------------------------


def dense_fwd(call):
    N, I, O, act = call.dims[:4]
    x, w, b = rows(call.values(1), I, N), call.values(2), call.args[3]
    columns = [w[o::O] for o in range(O)]
    y = [[dot(x[n], columns[o]) + (b.values[o] if b else 0.0) for o in range(O)] for n in range(N)]
    if act >= 0:
        raise NotImplementedError("epilogues are compared with the op they fuse: test_ops.py")
    return [flat(y)]


def dense_bwd_data(call):
    N, I, O = call.dims
    dy, w = rows(call.values(1), O, N), rows(call.values(2), O, I)
    return [[dot(dy[n], w[i]) for n in range(N) for i in range(I)]]


def dense_bwd_weight(call):
    N, I, O, S = call.dims
    dw = []
    for s in range(S):
        x = rows(call.values(1), I, N)[N // S * s : N // S * (s + 1)]
        dy = rows(call.values(2), O, N)[N // S * s : N // S * (s + 1)]
        dw += [dot([r[i] for r in x], [r[o] for r in dy]) for i in range(I) for o in range(O)]
    return [dw]


# ---- reduce.c ------------------------------------------------------------------------------------------------------


def sum_rows(call):
    N, C, shards = call.dims
    x = rows(call.values(1), C, N)
    group = N // shards
    return [[total(x[i][j] for i in range(s * group, (s + 1) * group)) for s in range(shards) for j in range(C)]]


def sum_all(call):
    n, shards = call.dims
    x, group = call.values(1), n // shards
    return [[call.scalars[0] * total(x[s * group : (s + 1) * group]) for s in range(shards)]]


def sum_squares(call):
    return [[call.scalars[0] * dot(call.values(1), call.values(1))]]


def sum_abs(call):
    return [[call.scalars[0] * total(abs(x) for x in call.values(1))]]


def tree_sum(call):
    n, shards = call.dims
    x = call.values(1)
    return [[total(x[i::n]) for i in range(n)]]


# ---- elementwise.c -------------------------------------------------------------------------------------------------


def add(call):
    return [[a + b for a, b in zip(call.values(1), call.values(2), strict=True)]]


def sub(call):
    return [[a - b for a, b in zip(call.values(1), call.values(2), strict=True)]]


def mul(call):
    return [[a * b for a, b in zip(call.values(1), call.values(2), strict=True)]]


def scale(call):
    return [[call.scalars[0] * x for x in call.values(1)]]


def scale_by(call):
    return [[call.values(2)[0] * x for x in call.values(1)]]


def add_scaled(call):
    return [[dot((1.0, call.scalars[0]), (a, b)) for a, b in zip(call.values(1), call.values(2), strict=True)]]


def sign(x: float) -> float:
    return x if x != x else (x > 0) - (x < 0)


def add_sign(call):
    c = call.scalars[0]
    return [[a + c * sign(b) if b else a for a, b in zip(call.values(1), call.values(2), strict=True)]]


def assign(call):
    return [list(call.values(1))]


def fill(call):
    return [[call.scalars[0]] * call.dims[0]]


# ---- activation.c --------------------------------------------------------------------------------------------------


def _each(call, f):
    return [[f(*v) for v in zip(*(call.values(i) for i in range(1, len(call.args))), strict=True)]]


def step_fwd(call):
    return _each(call, lambda x: x if x != x else float(x >= 0))


def satlin_fwd(call):
    return _each(call, lambda x: 0.0 if x < 0 else 1.0 if x > 1 else x)


def satlin_bwd(call):
    return _each(call, lambda dy, y: dy if 0 < y < 1 else 0.0)


def sigmoid_fwd(call):
    (lam,) = call.scalars
    return _each(call, lambda x: sigmoid(lam * x))


def sigmoid_bwd(call):
    (lam,) = call.scalars
    return _each(call, lambda dy, y: dy * (lam * (y * (1 - y))))


def tanh_fwd(call):
    a, b = call.scalars
    return _each(call, lambda x: a * math.tanh(b * x))


def tanh_bwd(call):
    a, b = call.scalars
    return _each(call, lambda dy, y: dy * (b / a * ((a - y) * (a + y))))


def relu_fwd(call):
    return _each(call, lambda x: 0.0 if x < 0 else x)


def relu_bwd(call):
    return _each(call, lambda dy, y: dy if y > 0 else 0.0)


def leaky_relu_fwd(call):
    (slope,) = call.scalars
    return _each(call, lambda x: slope * x if x < 0 else x)


def leaky_relu_bwd(call):
    (slope,) = call.scalars
    return _each(call, lambda dy, y: dy if y > 0 else slope * dy)


def elu_fwd(call):
    lam, alpha = call.scalars
    return _each(call, lambda x: lam * x if x > 0 else lam * alpha * expm1(x))


def elu_bwd(call):
    lam, alpha = call.scalars
    return _each(call, lambda dy, y: dy * (lam if y > 0 else y + lam * alpha))


def softplus_fwd(call):
    return _each(call, softplus)


def softplus_bwd(call):
    return _each(call, lambda dy, x: dy * sigmoid(x))


# ---- softmax.c -----------------------------------------------------------------------------------------------------


def _softmax(row):
    """Probabilities, the logarithm of the sum, and the maximum."""
    m = max((x for x in row if x == x), default=NAN)
    e = [exp(x - m) for x in row]
    s = total(e)
    return [divide(v, s) for v in e], log(s), m


def softmax_fwd(call):
    return [flat(_softmax(row)[0] for row in rows(call.values(1), call.dims[1]))]


def softmax_bwd(call):
    out = []
    for dy, y in zip(rows(call.values(1), call.dims[1]), rows(call.values(2), call.dims[1]), strict=True):
        s = dot(dy, y)
        out += [b * (a - s) for a, b in zip(dy, y, strict=True)]
    return [out]


def log_softmax_fwd(call):
    out = []
    for row in rows(call.values(1), call.dims[1]):
        _, log_sum, m = _softmax(row)
        out += [x - m - log_sum for x in row]
    return [out]


def log_softmax_bwd(call):
    out = []
    for dy, y in zip(rows(call.values(1), call.dims[1]), rows(call.values(2), call.dims[1]), strict=True):
        s = total(dy)
        out += [a - exp(b) * s for a, b in zip(dy, y, strict=True)]
    return [out]


# ---- loss.c --------------------------------------------------------------------------------------------------------


def softmax_xent(call):
    C, losses, dz = call.dims[1], [], []
    for row, t in zip(rows(call.values(2), C), call.values(3), strict=True):
        p, log_sum, m = _softmax(row)
        losses.append(log_sum - (row[t] - m))
        dz += [call.scalars[0] * (p[j] - (j == t)) for j in range(C)]
    return [losses, dz]


def softmax_xent_soft(call):
    """-sum_j t_j log p_j; a class that cannot be (t = 0) costs nothing, however small its probability."""
    C, losses, dz = call.dims[1], [], []
    for row, t in zip(rows(call.values(2), C), rows(call.values(3), C), strict=True):
        p, log_sum, m = _softmax(row)
        s = total(t)
        nan = any(v != v for v in row) or log_sum != log_sum
        losses.append(NAN if nan else total([s * log_sum, *(-a * (v - m) for a, v in zip(t, row, strict=True) if a)]))
        dz += [call.scalars[0] * (s * a - b) for a, b in zip(p, t, strict=True)]
    return [losses, dz]


def _by_output(call, f):
    """Losses that are a sum over the outputs; f(z, t) gives a term and its derivative."""
    losses, dz = [], []
    for z, t in zip(rows(call.values(2), call.dims[1]), rows(call.values(3), call.dims[1]), strict=True):
        terms = [f(a, b) for a, b in zip(z, t, strict=True)]
        losses.append(total(term for term, _ in terms))
        dz += [call.scalars[0] * g for _, g in terms]
    return [losses, dz]


def squared_error(call):
    f = call.scalars[1]
    return _by_output(call, lambda z, t: (f * (z - t) * (z - t), f * 2 * (z - t)))


def absolute_error(call):
    return _by_output(call, lambda z, t: (abs(z - t), sign(z - t)))


def huber(call):
    d = call.scalars[1]

    def term(z, t):
        e = z - t
        if abs(e) <= d:
            return e * e / 2, e
        return d * (abs(e) - d / 2), d * sign(e)

    return _by_output(call, term)


def binary_xent(call):
    """-t log p - (1 - t) log(1 - p) with p = sigmoid(z); -log p = softplus(-z), and p - t = (1 - t) p - t (1 - p)."""

    def term(z, t):
        loss = (t * softplus(-z) if t else 0.0) + ((1 - t) * softplus(z) if t != 1 else 0.0)
        return loss, (1 - t) * sigmoid(z) - t * sigmoid(-z)

    return _by_output(call, term)


def logistic_loss(call):
    return _by_output(call, lambda z, t: (softplus(-t * z), -t * sigmoid(-t * z)))


def hinge(call):
    def term(z, t):
        q = 1 - t * z
        return (q, q) if q != q else (max(0.0, q), -t if q > 0 else 0.0)

    return _by_output(call, term)


def perceptron(call):
    return _by_output(call, lambda z, t: (((z >= 0) - t) * z, (z >= 0) - t if z == z else z))


def multi_hinge(call):
    C, losses, dz = call.dims[1], [], []
    for row, t in zip(rows(call.values(2), C), call.values(3), strict=True):
        q = [0.0 if j == t else row[j] - row[t] + 1 for j in range(C)]
        loss = total(v if v != v else max(0.0, v) for v in q)
        g = [v if v != v else float(v > 0) for v in q]
        g[t] = loss if loss != loss else -float(sum(v > 0 for v in q))
        losses.append(loss)
        dz += [call.scalars[0] * v for v in g]
    return [losses, dz]


def one_hot(call):
    low, high = call.scalars
    return [[high if j == t else low for t in call.values(1) for j in range(call.dims[1])]]
