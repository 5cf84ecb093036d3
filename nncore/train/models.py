"""Networks by name: MODELS. A builder is a function of (input connection x, number of classes, options with defaults and
annotations) that returns the output connection; its options are the keys of [model]. Its attribute `recipe`, tables as in a
settings file, says how it is trained unless the user says otherwise.
"""

from __future__ import annotations

try:
    from nncore.nn.zoo import MODELS
except ImportError:
    from nncore.nn.base import Connection
    from nncore.nn.layers import Dense, ReLU

    def mlp(x: Connection, classes: int, *, hidden: tuple[int, ...] = (256,)) -> Connection:
        """Dense layers with ReLU between them: 784-256-10 by default."""
        for width in hidden:
            x = ReLU()(Dense(width)(x))
        return Dense(classes)(x)

    mlp.recipe = {"schedule": {"name": "onecycle", "peak": 3e-3}}
    MODELS = {"mlp": mlp}

__all__ = ["MODELS"]
