"""What the files of PyTorch's kernels share: the table of ops, and layouts."""

import torch

aten = torch.ops.aten
OPS = {}  # op: a function of what it is given, to ways of doing it


def offers(*ops):
    """Enter a generator of ways for ops."""
    return lambda make: [OPS.__setitem__(op, make) for op in ops] and make


def cast(c, *tensors):
    """In the element type of the math mode."""
    return [t if t is None or c.math != "bf16" else t.to(torch.bfloat16) for t in tensors]


LAYOUTS = {"channels_last": torch.channels_last, "NCHW": torch.contiguous_format}


def laid_out(*tensors):
    for name, layout in LAYOUTS.items():
        yield name, [t.contiguous(memory_format=layout) for t in tensors]


def nhwc(t):
    return t.permute(0, 2, 3, 1)
