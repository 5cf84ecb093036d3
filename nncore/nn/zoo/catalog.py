"""The catalogue of models by name: what the command line offers. Each file beside this one is one network."""

from __future__ import annotations

from collections.abc import Callable

from nncore.nn.base import Connection

MODELS: dict[str, Callable[..., Connection]] = {}


def model(name: str, **recipe: dict) -> Callable:
    """Enter a builder under a name: a function of (input connection, number of classes, its own keyword options) that
    returns the output connection. `recipe` holds the settings it is best trained with, as tables of a run's file: [train],
    [optimizer], [schedule], [penalty], [augment], [average]; Adam under one cycle unless it says otherwise, and whatever
    the user says goes first.
    """

    def enter(build: Callable[..., Connection]) -> Callable[..., Connection]:
        build.recipe = {"optimizer": {"name": "Adam", "lr": 3e-3}, "schedule": {"name": "OneCycle"}}
        for table, values in recipe.items():
            build.recipe[table] = {**build.recipe.get(table, {}), **values}
        MODELS[name] = build
        return build

    return enter


def chain(x: Connection, *layers) -> Connection:
    """Layers one after the other."""
    for layer in layers:
        x = layer(x)
    return x
