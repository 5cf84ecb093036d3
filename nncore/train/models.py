"""Networks by name: MODELS. A builder is a function of the number of classes, the seed, and options with defaults and
annotations, which are the keys of [model]; its attribute `recipe`, tables as in a settings file, says how it is trained
unless the user says otherwise.
"""

from __future__ import annotations

from nncore.nn.layers import Dense, ReLU
from nncore.train.model import Sequential


def mlp(classes: int, seed: int, hidden: tuple[int, ...] = (256,)) -> Sequential:
    """Dense layers with ReLU between them: 784-256-10 by default."""
    layers = []
    for width in hidden:
        layers += [Dense(width), ReLU()]
    return Sequential([*layers, Dense(classes)], seed=seed)


mlp.recipe = {"optimizer": {"name": "adam", "lr": 3e-3}, "schedule": {"name": "onecycle"}}

MODELS = {"mlp": mlp}
