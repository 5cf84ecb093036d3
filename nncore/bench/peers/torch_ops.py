"""PyTorch's kernels, as someone who knows it would call them: outputs made beforehand (out=) where an op takes them, no
autograd, both memory layouts of a convolution, the fused optimizers. Several ways to do a job compete; the fastest counts.
"""

import re
import warnings

import torch
import torch.nn.functional as F
import torch_layers
import torch_products
from serve import Way
from torch_table import OPS

__all__ = ["OPS", "torch_layers", "torch_products"]
TYPES = {"f4": torch.float32, "f8": torch.float64, "u1": torch.uint8, "i4": torch.int32, "i8": torch.int64}


def start(threads):
    torch.set_num_threads(threads)


def guard():
    return torch.inference_mode()


def versions():
    shown = torch.__config__.show()
    found = {"torch": torch.__version__}
    for name, pattern in (("oneDNN", r"DNN\S* v([\d.]+)"), ("MKL", r"Math Kernel Library Version ([\d.]+)")):
        if hit := re.search(pattern, shown):
            found[name] = hit[1]
    return found


def array(memory, kind, count, at):
    """A copy of the file's elements."""
    if not count:
        return torch.empty(0, dtype=TYPES[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the buffer is read-only, and only copied
        view = torch.frombuffer(memory, dtype=TYPES[kind], count=count, offset=at)
        found = view.clone()
        del view  # or the file could not be closed
    return found


def doubles(t):
    return t.contiguous().to(torch.float64).numpy().tobytes()


def predicting(request):
    """The class of one row by a dense network: as modules, as functions, and traced, frozen and optimized."""
    from torch_train import dense

    torch.manual_seed(0)
    x, model = torch.rand(1, request["widths"][0]) * 2 - 1, dense(request["widths"]).eval()
    if request["math"] == "bf16":
        x, model = x.bfloat16(), model.bfloat16()
    yield Way("modules", lambda: model(x).argmax().item(), lambda y: [None])
    first, *rest = [layer for layer in model if hasattr(layer, "weight")]

    def functions():
        y = F.linear(x, first.weight, first.bias)
        for layer in rest:
            y = F.linear(y.relu_(), layer.weight, layer.bias)
        return y.argmax().item()

    yield Way("functions", functions, lambda y: [None])
    traced = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, x)))
    for _ in range(5):
        traced(x)
    yield Way("traced, frozen, optimized", lambda: traced(x).argmax().item(), lambda y: [None])


def training(request):
    import torch_train

    return torch_train.training(request)
