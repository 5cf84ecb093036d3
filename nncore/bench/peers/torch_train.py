"""Networks trained by PyTorch as someone who knows it would: images standardised once and kept as float32, batches by
index_select, the fused Adam, gradients set to None; for convolutions whichever layout is faster in a trial.
"""

import math
import time

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """y = ReLU(x + F(x)), a 1x1 convolution of x where the shape changes."""

    def __init__(self, inputs, maps, stride):
        super().__init__()
        self.body = nn.Sequential(convolution(inputs, maps, 3, stride), nn.BatchNorm2d(maps), nn.ReLU(),
                                  convolution(maps, maps, 3), nn.BatchNorm2d(maps))
        same = stride == 1 and inputs == maps
        self.skip = nn.Identity() if same else nn.Sequential(convolution(inputs, maps, 1, stride), nn.BatchNorm2d(maps))

    def forward(self, x):
        return F.relu(self.skip(x) + self.body(x))


def convolution(inputs, maps, window, stride=1):
    return nn.Conv2d(inputs, maps, window, stride, window // 2, bias=False)


def lenet5():
    return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                         nn.Linear(84, 10))


def conv_net():
    return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, 10))


def resnet_small():
    return nn.Sequential(convolution(1, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), Block(32, 32, 1), Block(32, 64, 2),
                         Block(64, 64, 1), Block(64, 128, 2), Block(128, 128, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(128, 10))


NETWORKS = {"lenet5": lenet5, "conv-net": conv_net, "resnet-small": resnet_small}


def dense(widths):
    layers = [part for a, b in zip(widths, widths[1:], strict=False) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def images(request, is_flat):
    with open(request["images"], "rb") as file:
        pixels = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).view(request["n"], -1)
    with open(request["labels"], "rb") as file:
        labels = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).long()
    x = pixels.float()
    x = (x - x.mean()) / x.std()
    side = math.isqrt(x.shape[1])
    return x if is_flat else x.view(-1, 1, side, side), labels


class Training:
    """An epoch a call; gives the mean loss."""

    def __init__(self, request, make, layout, is_flat):
        torch.manual_seed(0)
        self.model = make().to(memory_format=layout)
        self.x, self.labels = images(request, is_flat)
        if not is_flat:
            self.x = self.x.contiguous(memory_format=layout)
        self.batch, self.math = request["batch"], request["math"]
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=request["lr"], fused=True)

    def __call__(self, steps=None):
        total, order = 0.0, torch.randperm(len(self.x))
        rows = order.split(self.batch)[:steps]
        for some in rows:
            x, t = self.x.index_select(0, some), self.labels.index_select(0, some)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.math == "bf16"):
                loss = F.cross_entropy(self.model(x), t)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(some)
        return float(total) / sum(map(len, rows))


def training(request):
    """A Training in the faster layout, or None for a network that is not here."""
    name, widths = request["network"], request["widths"]
    if widths:
        return Training(request, lambda: dense(widths), torch.contiguous_format, True)
    if name not in NETWORKS:
        return None
    found = []
    for layout in (torch.channels_last, torch.contiguous_format):
        trial = Training(request, NETWORKS[name], layout, False)
        trial(1)
        begin = time.perf_counter()
        trial(3)
        found.append((time.perf_counter() - begin, trial))
    return min(found, key=lambda pair: pair[0])[1]
