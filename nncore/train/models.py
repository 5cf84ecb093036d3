"""Networks by name: those of the zoo, made into models."""

from __future__ import annotations

from nncore.nn.base import Input
from nncore.nn.zoo import MODELS
from nncore.train.model import Model


def make(name: str, classes: int = 10, seed: int = 0, shape: tuple[int, ...] = (), standardise: str = "auto",
         math: str = "f32", elementary: str = "fast", **options) -> Model:
    """A network of the zoo with weights of its own. shape: of a sample, where data are not to say it; math and elementary as for
    a Model; options: the builder's keyword arguments. Raises KeyError for a name that is not in MODELS.
    """
    x = Input(shape)
    model = Model(x, MODELS[name](x, classes, **options), seed, standardise, math, elementary)
    model.name = name
    return model
