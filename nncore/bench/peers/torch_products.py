"""PyTorch's matrix products and convolutions, in every layout that an expert would try."""

import torch
import torch.nn.functional as F
from serve import Way
from torch_table import aten, cast, laid_out, offers


@offers("dense_fwd")
def dense_fwd(c):
    N, I, O, act = c.dims
    if act >= 0:
        return
    x, w, b = cast(c, *c.args[1:4])
    x, w = x.view(N, I), w.view(I, O)
    y, turned = x.new_empty(N, O), w.t().contiguous()
    for name, weights in (("", w), (" weights (out, in)", turned.t())):
        if b is None:
            yield Way("mm out=" + name, lambda w=weights: torch.mm(x, w, out=y), lambda y: [y])
        else:
            yield Way("addmm out=" + name, lambda w=weights: torch.addmm(b, x, w, out=y), lambda y: [y])
    yield Way("linear", lambda: F.linear(x, turned, b), lambda y: [y])


@offers("dense_bwd_data")
def dense_bwd_data(c):
    N, I, O = c.dims
    dy, w = cast(c, *c.args[1:3])
    dy, w = dy.view(N, O), w.view(I, O)
    dx, turned = dy.new_empty(N, I), w.t().contiguous()
    yield Way("mm out=", lambda: torch.mm(dy, w.t(), out=dx), lambda y: [y])
    yield Way("mm out= weights (out, in)", lambda: torch.mm(dy, turned, out=dx), lambda y: [y])


@offers("dense_bwd_weight")
def dense_bwd_weight(c):
    N, I, O, shards = c.dims
    if shards != 1:
        return
    x, dy = cast(c, *c.args[1:3])
    x, dy = x.view(N, I), dy.view(N, O)
    dw, turned = x.new_empty(I, O), x.new_empty(O, I)
    yield Way("mm out=", lambda: torch.mm(x.t(), dy, out=dw), lambda y: [y])
    yield Way("mm out= weights (out, in)", lambda: torch.mm(dy.t(), x, out=turned), lambda y: [y.t()])


def _convolution(c):
    """(x, y, w as PyTorch shapes them, a function to both layouts, the other arguments)."""
    N, H, W, C, R, S, K, P, Q, sh, sw, pt, pl, dh, dw, G = c.dims[:16]
    nhwc = {"x": (N, H, W, C), "y": (N, P, Q, K)}

    def images(t, which):
        return t.view(nhwc[which]).permute(0, 3, 1, 2)

    def weights(t):
        return t.view(R, S, C // G, K).permute(3, 2, 0, 1)

    return images, weights, ([sh, sw], [pt, pl], [dh, dw], G)


@offers("conv_fwd")
def conv_fwd(c):
    images, weights, (stride, padding, dilation, groups) = _convolution(c)
    if c.dims[16] >= 0:
        return
    x, w, b = cast(c, *c.args[1:4])
    for name, (u, v) in laid_out(images(x, "x"), weights(w)):
        yield Way(name, lambda u=u, v=v: F.conv2d(u, v, b, stride, padding, dilation, groups), lambda y: [y.permute(0, 2, 3, 1)])


def _backward(x, dy, w, rest, mask):
    stride, padding, dilation, groups = rest
    return lambda: aten.convolution_backward(dy, x, w, None, stride, padding, dilation, False, [0, 0], groups, mask)


@offers("conv_bwd_data")
def conv_bwd_data(c):
    images, weights, rest = _convolution(c)
    dy, w = cast(c, *c.args[1:3])
    x = images(dy.new_zeros(c.dims[0] * c.dims[1] * c.dims[2] * c.dims[3]), "x")
    for name, (u, d, v) in laid_out(x, images(dy, "y"), weights(w)):
        yield Way(name, _backward(u, d, v, rest, [True, False, False]), lambda y: [y[0].permute(0, 2, 3, 1)])


@offers("conv_bwd_weight")
def conv_bwd_weight(c):
    images, weights, rest = _convolution(c)
    x, dy = cast(c, *c.args[1:3])
    R, S, C, K = c.dims[4], c.dims[5], c.dims[3] // c.dims[15], c.dims[6]
    for name, (u, d, v) in laid_out(images(x, "x"), images(dy, "y"), weights(x.new_zeros(R * S * C * K))):
        yield Way(name, _backward(u, d, v, rest, [False, True, False]), lambda y: [y[1].permute(2, 3, 1, 0)])
