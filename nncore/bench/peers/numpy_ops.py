"""NumPy's functions, outputs made beforehand (out=) wherever they take them."""

from contextlib import nullcontext

import numpy as np
from serve import Way

guard = nullcontext


def start(threads):
    """The environment says how many threads."""


def versions():
    found = {"numpy": np.__version__}
    blas = np.show_config("dicts")["Build Dependencies"]["blas"]
    found[blas["name"]] = blas["version"]
    return found


def array(memory, kind, count, at):
    return np.frombuffer(memory, dtype=kind, count=count, offset=at).copy()


def doubles(a):
    return np.ascontiguousarray(a, dtype=np.float64).tobytes()


def product(a, b, shape):
    out = np.empty(shape, np.float32)
    yield Way("matmul out=", lambda: np.matmul(a, b, out=out), lambda y: [y])


def dense_fwd(c):
    N, I, O, act = c.dims
    if act < 0 and c.args[3] is None and c.math == "f32":
        yield from product(c.args[1].reshape(N, I), c.args[2].reshape(I, O), (N, O))


def dense_bwd_data(c):
    N, I, O = c.dims
    if c.math == "f32":
        yield from product(c.args[1].reshape(N, O), c.args[2].reshape(I, O).T, (N, I))


def dense_bwd_weight(c):
    N, I, O, shards = c.dims
    if shards == 1 and c.math == "f32":
        yield from product(c.args[1].reshape(N, I).T, c.args[2].reshape(N, O), (I, O))


def unary(name, f):
    def make(c):
        x = c.args[1]
        y = np.empty_like(x)
        yield Way(f"{name} out=", lambda: f(x, y), lambda _: [y])

    return make


def sigmoid(x, y):
    np.negative(x, out=y)
    np.exp(y, out=y)
    y += 1
    np.reciprocal(y, out=y)


def relu_bwd(c):
    dy, y = c.args[1:3]
    dx, positive = np.empty_like(dy), np.empty(dy.shape, bool)

    def run():
        np.greater(y, 0, out=positive)
        np.multiply(dy, positive, out=dx)

    yield Way("greater, multiply out=", run, lambda _: [dx])


def sum_all(c):
    x, scale = c.args[1], c.scalars[0]
    yield Way("sum", x.sum, lambda y: [y * scale])


def sum_rows(c):
    x, y = c.args[1].reshape(c.dims[:2]), np.empty(c.dims[1], np.float32)
    yield Way("sum out=", lambda: x.sum(0, out=y), lambda y: [y])


def sum_squares(c):
    x, scale = c.args[1], c.scalars[0]
    yield Way("dot", lambda: np.dot(x, x), lambda y: [y * scale])


def argmax(c):
    x, y = c.args[1].reshape(c.dims), np.empty(c.dims[0], np.int64)
    yield Way("argmax out=", lambda: x.argmax(1, out=y), lambda y: [y])


def gather_u8(c):
    N, D, _ = c.dims
    _, images, rows, mean, scale = c.args
    if c.run.get("flags") or rows is None:
        return
    first = c.run.get("cursor", 0)
    rows, y = rows[first : first + N], np.empty((N, D), np.float32)
    ready = ((images.reshape(-1, D) - mean) * scale).astype(np.float32)
    yield Way("take out= of float32", lambda: np.take(ready, rows, axis=0, out=y, mode="clip"), lambda y: [y])


def init_uniform(c):
    draw, y, a = np.random.default_rng(1), np.empty(c.dims[0], np.float32), c.scalars[0]

    def run():
        draw.random(out=y, dtype=np.float32)
        np.multiply(y, 2 * a, out=y)
        np.subtract(y, a, out=y)

    yield Way("random out=", run, lambda _: [None])


def init_normal(c):
    draw, y, s = np.random.default_rng(1), np.empty(c.dims[0], np.float32), c.scalars[0]

    def run():
        draw.standard_normal(out=y, dtype=np.float32)
        np.multiply(y, s, out=y)

    yield Way("standard_normal out=", run, lambda _: [None])


def predicting(request):
    """The class of one row by a dense network."""
    draw, widths = np.random.default_rng(0), request["widths"]
    if request["math"] != "f32":
        return
    x = draw.random((1, widths[0]), np.float32)
    layers = [(draw.random((a, b), np.float32), draw.random(b, np.float32), np.empty((1, b), np.float32))
              for a, b in zip(widths, widths[1:], strict=False)]

    def run():
        y = x
        for i, (w, b, out) in enumerate(layers):
            y = np.matmul(np.maximum(y, 0, out=y) if i else y, w, out=out)
            y += b
        return int(y.argmax())

    yield Way("matmul, maximum out=", run, lambda _: [None])


OPS = {
    "dense_fwd": dense_fwd, "dense_bwd_data": dense_bwd_data, "dense_bwd_weight": dense_bwd_weight,
    "exp": unary("exp", lambda x, y: np.exp(x, out=y)), "tanh_fwd": unary("tanh", lambda x, y: np.tanh(x, out=y)),
    "sigmoid_fwd": unary("exp, reciprocal", sigmoid), "relu_fwd": unary("maximum", lambda x, y: np.maximum(x, 0, out=y)),
    "relu_bwd": relu_bwd, "sum_all": sum_all, "sum_rows": sum_rows, "sum_squares": sum_squares, "argmax": argmax,
    "gather_u8": gather_u8, "init_uniform": init_uniform, "init_normal": init_normal,
}
