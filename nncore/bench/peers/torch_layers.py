"""PyTorch's other kernels: element by element, pooling, normalisation, gathering, reductions, updates, random numbers."""

import torch
import torch.nn.functional as F
from serve import Way
from torch_table import OPS, aten, laid_out, nhwc, offers


def unary(*functions):
    """Ways of a function of one array: those that take out=, and those that do not (name ends in *)."""

    def make(c):
        x = c.args[1]
        y = torch.empty_like(x)
        for name, f in functions:
            run = (lambda f=f: f(x)) if name.endswith("*") else (lambda f=f: f(x, out=y))
            yield Way(name.rstrip("*"), run, lambda y: [y])

    return make


OPS["relu_fwd"] = unary(("relu*", torch.relu), ("clamp_min out=", lambda x, out: torch.clamp_min(x, 0, out=out)))
OPS["exp"] = OPS["exp_fwd"] = unary(("exp out=", torch.exp))
OPS["sigmoid_fwd"] = unary(("sigmoid out=", torch.sigmoid))
OPS["tanh_fwd"] = unary(("tanh out=", torch.tanh))
OPS["softplus_fwd"] = unary(("softplus*", F.softplus))
OPS["gelu_fwd"] = unary(("gelu*", F.gelu))


def backward(name, f):
    """f(dy, y, out)."""

    def make(c):
        dy, y = c.args[1:3]
        dx = torch.empty_like(dy)
        yield Way(name, lambda: f(dy, y, dx), lambda y: [y])

    return make


OPS["relu_bwd"] = backward("threshold_backward out=", lambda dy, y, o: aten.threshold_backward.grad_input(dy, y, 0, grad_input=o))
OPS["sigmoid_bwd"] = backward("sigmoid_backward out=", lambda dy, y, o: aten.sigmoid_backward.grad_input(dy, y, grad_input=o))
OPS["tanh_bwd"] = backward("tanh_backward out=", lambda dy, y, o: aten.tanh_backward.grad_input(dy, y, grad_input=o))
OPS["add"] = backward("add out=", lambda a, b, o: torch.add(a, b, out=o))
OPS["mul"] = backward("mul out=", lambda a, b, o: torch.mul(a, b, out=o))


@offers("softmax_fwd")
def softmax_fwd(c):
    x = c.args[1].view(c.dims[:2])
    y = torch.empty_like(x)
    yield Way("softmax out=", lambda: torch.softmax(x, 1, out=y), lambda y: [y])


@offers("softmax_xent")
def softmax_xent(c):
    N, C = c.dims
    z, labels = c.args[2].view(N, C), c.args[3].long()
    logs, dz, dlogs = (torch.empty_like(z) for _ in range(3))
    loss, total, scale = z.new_empty(N), z.new_empty(()), z.new_full((N,), c.scalars[0])

    def bare():
        aten._log_softmax.out(z, 1, False, out=logs)
        aten.nll_loss_forward.output(logs, labels, None, 0, -100, output=loss, total_weight=total)
        aten.nll_loss_backward.grad_input(scale, logs, labels, None, 0, -100, total, grad_input=dlogs)
        return loss, aten._log_softmax_backward_data.out(dlogs, logs, 1, z.dtype, out=dz)

    rows = torch.arange(N)

    def formula():
        aten._log_softmax.out(z, 1, False, out=logs)
        torch.exp(logs, out=dz)
        dz[rows, labels] -= 1
        return -logs[rows, labels], dz.mul_(c.scalars[0])

    yield Way("bare kernels out=", bare, list)
    yield Way("formula out=", formula, list)


# ---- pooling, normalisation ------------------------------------------------------------------------------------------


def _pool(c, *shapes):
    """Tensors N x C x H x W in both layouts, and the window."""
    N, H, W, C, R, S, sh, sw, ph, pw = c.dims
    P, Q = (H + 2 * ph - R) // sh + 1, (W + 2 * pw - S) // sw + 1
    views = {"x": (N, H, W, C), "y": (N, P, Q, C)}
    found = [t.view(views[which]).permute(0, 3, 1, 2) for t, which in shapes]
    return found, ([R, S], [sh, sw], [ph, pw])


@offers("max_pool_fwd")
def max_pool_fwd(c):
    (x,), (window, stride, padding) = _pool(c, (c.args[2], "x"))
    for name, (u,) in laid_out(x):
        y, index = aten.max_pool2d_with_indices(u, window, stride, padding)
        run = aten.max_pool2d_with_indices.out
        yield Way(f"{name} out=", lambda u=u, y=y, i=index, f=run: f(u, window, stride, padding, out=y, indices=i),
                  lambda y: [nhwc(y[0]), None])


@offers("max_pool_bwd")
def max_pool_bwd(c):
    N, H, W, C, R, S, sh, sw, ph, pw = c.dims
    x = torch.zeros(N * H * W * C)
    (x, dy, tap), (window, stride, padding) = _pool(c, (x, "x"), (c.args[1], "y"), (c.args[2].long(), "y"))
    row = torch.arange(tap.shape[2]).view(-1, 1) * sh - ph + tap // S
    index = row * W + torch.arange(tap.shape[3]) * sw - pw + tap % S
    for name, (u, d, i) in laid_out(x, dy, index):
        dx, f = torch.empty_like(u), aten.max_pool2d_with_indices_backward.grad_input
        yield Way(f"{name} out=", lambda u=u, d=d, i=i, o=dx, f=f:
                  f(d, u, window, stride, padding, [1, 1], False, i, grad_input=o), lambda y: [nhwc(y)])


@offers("avg_pool_fwd")
def avg_pool_fwd(c):
    (x,), (window, stride, padding) = _pool(c, (c.args[1], "x"))
    for name, (u,) in laid_out(x):
        y, f = aten.avg_pool2d(u, window, stride, padding, False, False), aten.avg_pool2d.out
        yield Way(f"{name} out=", lambda u=u, y=y, f=f: f(u, window, stride, padding, False, False, out=y), lambda y: [nhwc(y)])


@offers("avg_pool_bwd")
def avg_pool_bwd(c):
    N, H, W, C = c.dims[:4]
    (x, dy), (window, stride, padding) = _pool(c, (torch.zeros(N * H * W * C), "x"), (c.args[1], "y"))
    for name, (u, d) in laid_out(x, dy):
        dx, f = torch.empty_like(u), aten.avg_pool2d_backward.grad_input
        yield Way(f"{name} out=", lambda u=u, d=d, o=dx, f=f: f(d, u, window, stride, padding, False, False, None, grad_input=o),
                  lambda y: [nhwc(y)])


def _rows(N, C, *tensors):
    """Rows x C as a matrix, and as 28 x 28 images in both layouts where the rows divide by that."""
    matrices = [t.view(N, C) for t in tensors]
    yield "matrix", matrices, lambda t: t
    if N % 784 == 0:
        for name, images in laid_out(*(t.view(N // 784, 28, 28, C).permute(0, 3, 1, 2) for t in tensors)):
            yield name, images, nhwc


@offers("batch_norm_fwd")
def batch_norm_fwd(c):
    N, C, shards, _ = c.dims
    if shards != 1:
        return
    x, gamma, beta = c.args[4:7]
    mean, inverse, f = torch.empty(C), torch.empty(C), aten.native_batch_norm.out
    for name, (u,), back in _rows(N, C, x):
        y = torch.empty_like(u)
        yield Way(f"{name} out=", lambda u=u, y=y: f(u, gamma, beta, None, None, True, 0.1, c.scalars[0], out=y, save_mean=mean,
                                                     save_invstd=inverse), lambda r, back=back: [back(r[0]), r[1], None, None])
        yield Way(name, lambda u=u: aten.native_batch_norm(u, gamma, beta, None, None, True, 0.1, c.scalars[0]),
                  lambda r, back=back: [back(r[0]), r[1], None, None])


@offers("batch_norm_bwd")
def batch_norm_bwd(c):
    N, C, shards, _, fixed = c.dims
    if shards != 1 or fixed:
        return
    dy, x, mean, var, gamma = c.args[4:9]
    inverse, f = (var.double() + c.scalars[0]).rsqrt().float(), aten.native_batch_norm_backward
    for name, (d, u), back in _rows(N, C, dy, x):
        yield Way(name, lambda d=d, u=u: f(d, u, gamma, None, None, mean, inverse, True, c.scalars[0], [True, True, True]),
                  lambda r, back=back: [back(r[0]), r[1], r[2], None])


# ---- data, reductions, updates, random numbers -----------------------------------------------------------------------


@offers("gather_u8")
def gather_u8(c):
    N, D, n = c.dims
    _, images, rows, mean, scale = c.args
    if c.run.get("flags"):
        return  # its own shuffle
    first = c.run.get("cursor", 0)
    rows = rows[first : first + N] if rows is not None else torch.arange(first, first + N)
    images = images.view(-1, D)
    ready, y, some = (images - mean) * scale, torch.empty(N, D), images.new_empty(N, D)
    yield Way("index_select out= of float32", lambda: torch.index_select(ready, 0, rows, out=y), lambda y: [y])

    def convert():
        y.copy_(torch.index_select(images, 0, rows, out=some))
        return y.sub_(mean).mul_(scale)

    yield Way("index_select out= of uint8, then converted", convert, lambda y: [y])


@offers("argmax")
def argmax(c):
    x = c.args[1].view(c.dims)
    y = torch.empty(c.dims[0], dtype=torch.int64)
    yield Way("argmax out=", lambda: torch.argmax(x, 1, out=y), lambda y: [y])
    values = x.new_empty(c.dims[0])
    yield Way("max out=", lambda: torch.max(x, 1, out=(values, y)), lambda y: [y[1]])


@offers("sum_all")
def sum_all(c):
    x, y = c.args[1], torch.empty(())
    yield Way("sum out=", lambda: torch.sum(x, (), out=y), lambda y: [y * c.scalars[0]])


@offers("sum_rows")
def sum_rows(c):
    x, y = c.args[1].view(c.dims[:2]), torch.empty(c.dims[1])
    yield Way("sum out=", lambda: torch.sum(x, 0, out=y), lambda y: [y])
    ones = torch.ones(c.dims[0])
    yield Way("mv out=", lambda: torch.mv(x.t(), ones, out=y), lambda y: [y])


@offers("sum_squares")
def sum_squares(c):
    x, y = c.args[1], torch.empty(())
    yield Way("dot out=", lambda: torch.dot(x, x, out=y), lambda y: [y * c.scalars[0]])
    yield Way("vector_norm out=", lambda: torch.linalg.vector_norm(x, out=y), lambda y: [y * y * c.scalars[0]])


@offers("adam")
def adam(c):
    w, m, v, g, rate, count = c.args
    beta1, beta2, eps, decay = c.scalars
    if decay:
        return
    start, step, rate = (w.clone(), m.clone(), v.clone()), torch.tensor(float(count) + 1), float(rate)

    def run():
        torch._fused_adam_([w], [g], [m], [v], [], [step], lr=rate, beta1=beta1, beta2=beta2, weight_decay=0.0, eps=eps,
                           amsgrad=False, maximize=False)
        return w, m, v

    yield Way("_fused_adam_", run, list, lambda: [t.copy_(s) for t, s in zip((w, m, v), start, strict=True)])


@offers("sgd")
def sgd(c):
    w, g, rate = c.args[0], c.args[1], float(c.args[2])
    start = w.clone()
    yield Way("add_", lambda: w.add_(g, alpha=-rate), lambda w: [w], lambda: w.copy_(start))


@offers("dropout")
def dropout(c):
    x, keep = c.args[1], 1 - c.scalars[0]
    y, mask = torch.empty_like(x), torch.empty_like(x)
    yield Way("dropout", lambda: torch.dropout(x, 1 - keep, True), lambda y: [None])
    yield Way("native_dropout", lambda: torch.native_dropout(x, 1 - keep, True), lambda y: [None])
    yield Way("bernoulli_, mul out=", lambda: torch.mul(x, mask.bernoulli_(keep), out=y).mul_(1 / keep), lambda y: [None])


@offers("init_uniform")
def uniform(c):
    y, a = torch.empty(c.dims[0]), c.scalars[0]
    yield Way("uniform_", lambda: y.uniform_(-a, a), lambda y: [None])


@offers("init_normal")
def normal(c):
    y, s = torch.empty(c.dims[0]), c.scalars[0]
    yield Way("normal_", lambda: y.normal_(0, s), lambda y: [None])
