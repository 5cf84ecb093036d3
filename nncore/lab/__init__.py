"""The numerics laboratory: rounding errors made visible, one file per experiment.

    import nncore as nn
    result = nn.lab.summation(n=(256, 4096), seeds=200)
    for finding in result.findings:
        print(finding)
"""

from importlib import import_module

# Every experiment by name, in the order of the report's chapters, and its module in nncore.lab.experiments. (Modules in this
# folder itself would hide an experiment of the same name behind them.)
EXPERIMENTS: dict[str, str] = {name: name.replace("-", "_") for name in (
    "summation", "swamping", "stagnation", "summation-order", "contraction", "integer-slices",
    "ill-conditioned-dot", "variance", "bias-correction", "monte-carlo-arithmetic", "muller",
    "elementary-limits", "softmax-error", "finite-differences", "gradual-underflow",
    "lost-updates", "stochastic-rounding", "bf16-planes", "accumulators", "training-sums", "bf16-weights",
    "loss-scaling", "math-modes",
    "xor", "saturation", "cliffs",
    "rates", "ravine", "standardisation", "minibatch", "scale-of-j",
    "depth-and-init", "depth", "recurrence", "initialisation", "dead-relus",
    "butterfly", "activations", "degradation",
)}  # fmt: skip


def find(name: str):
    """The Experiment of this name. Raises UsageError for an unknown one."""
    from nncore.errors import UsageError

    if name not in EXPERIMENTS:
        raise UsageError(f"no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    return getattr(import_module(f"nncore.lab.experiments.{EXPERIMENTS[name]}"), name.replace("-", "_"))


def __getattr__(name: str):
    if name.replace("_", "-") in EXPERIMENTS:
        return find(name.replace("_", "-"))
    raise AttributeError(f"module 'nncore.lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *(name.replace("-", "_") for name in EXPERIMENTS)])
