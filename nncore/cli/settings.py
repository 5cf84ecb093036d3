"""Settings on the command line: every option of `train` that is a key of the settings file, and how it overrides one."""

from __future__ import annotations

import click

from nncore.cli import options as o
from nncore.errors import UsageError

# Option -> the key it sets. What is a SPEC may set several.
KEYS = {"data": "data.name", "model": "model.name", "hidden": "model.hidden", "epochs": "train.epochs", "lr": "optimizer.lr",
        "batch": "train.batch", "seed": "train.seed", "math": "train.math", "elementary": "train.elementary",
        "precision": "train.precision", "shards": "train.shards", "validation": "data.validation", "patience": "train.patience",
        "smoothing": "train.loss.smoothing", "threshold": "train.threshold", "deadline": "train.deadline",
        "optimizer": "optimizer", "schedule": "schedule", "augment": "augment"}
SPECS = ("optimizer", "schedule")

set_option = click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE",
                          help="Any key of the settings file: --set optimizer.beta1=0.8. The value is written as in TOML.")
deadline_option = click.option("--deadline", metavar="TIME", help="Plan the number of epochs so that the whole command ends in "
                                                                  "this time: 600s, 10m, 1h30m.")
settings_options = o.options(
    o.data_option,
    click.option("--model", metavar="NAME", help="The network, default mlp; nncore models lists them."),
    o.hidden_option, o.epochs_option, deadline_option, o.steps_option, o.lr_option, o.batch_option,
    click.option("--optimizer", metavar="SPEC", help="Optimizer by name, with arguments: momentum,momentum=0.8."),
    click.option("--schedule", metavar="SPEC", help="Schedule of the rate: constant, cosine, onecycle,up=0.3 and others."),
    click.option("--augment", metavar="SPEC", help="Augmentation of the training images: shift=2,flip, or a name first, as "
                                                   "default,rotate=5 (default is the data set's), or none."),
    click.option("--smoothing", type=o.Number(0, 1), metavar="SHARE", help="Label smoothing of the cross-entropy."),
    o.seed_option, o.threads_option, o.isa_option,
    click.option("--math", metavar="MODE", default="f32", show_default=True, callback=o.check_math,
                 help="Arithmetic of products: f32, bf16x6, bf16x3 or bf16."),
    click.option("--elementary", type=click.Choice(["fast", "exact"]), default="fast", show_default=True,
                 help="exp, log, tanh and the like: good to 2 ulp, or correctly rounded."),
    click.option("--precision", metavar="SPEC", help="Emulated formats: weights=bf16:sr,activations=fp16,gradients=fp16."),
    click.option("--shards", type=click.IntRange(1), metavar="N", help="Equal groups of a batch with sums of their own."),
    click.option("--validation", type=o.Number(0, 1, strict=True, share=True), metavar="SHARE",
                 help="Share of the training set that is held out and measured after each epoch."),
    click.option("--patience", type=click.IntRange(1), metavar="N",
                 help="Stop after N epochs without a better validation loss; the best weights win. Needs --validation."),
    set_option, o.threshold_option)


def said(context: click.Context, given: dict) -> dict:
    """The options that were given on the command line."""
    return {k: v for k, v in given.items() if context.get_parameter_source(k).name == "COMMANDLINE"}


def overrides(given: dict) -> list[tuple[str, str, object]]:
    """(option, dotted key, value) of the settings among the options given. Raises UsageError for a SPEC or pair that is
    none.
    """
    found = []
    for option, key in KEYS.items():
        if option in given:
            value = given[option]
            value = _spec(option, value) if option in SPECS else list(value) if isinstance(value, tuple) else value
            found.append((f"--{option}", key, value))
    return found + [("--set", *pair(text)) for text in given.get("pairs", ())]


def pair(text: str) -> tuple[str, object]:
    """(dotted key, value) of KEY=VALUE. Raises UsageError."""
    from nncore.train.toml import parse_value

    key, equals, value = text.partition("=")
    words = key.strip().split(".")
    if not equals or len(words) < 2 or not all(words):
        raise UsageError(f"--set {text}: expected section.key=value, for example --set optimizer.beta1=0.8")
    return ".".join(words), parse_value(value.strip())


def _spec(option: str, text: str):
    """NAME,KEY=VALUE,... as a table."""
    from nncore.train.toml import parse_value

    name, comma, rest = text.partition(",")
    try:
        if "=" in name or not name.strip() or (comma and not rest.strip()):
            raise UsageError(text)
        return {"name": name.strip(), **(parse_value(f"{{{rest}}}") if comma else {})}
    except (UsageError, TypeError):
        example = {"optimizer": "momentum,momentum=0.8", "schedule": "onecycle,up=0.3"}[option]
        raise UsageError(f"--{option} {text}: expected NAME,KEY=VALUE,... or NAME alone, for example {example}") from None


def contradiction(config, option: str, key: str, value, run: str) -> UsageError | None:
    """The complaint if an option says something else than a run's settings; None if they agree."""
    if option == "--augment":
        value = _augmented(config, value)
    if isinstance(value, dict):
        pairs = [(f"{key}.{k}", v) for k, v in value.items()]
    else:
        pairs = [(key, value)]
    for k, v in pairs:
        fixed = config.get(k)
        if not _same(k, v, fixed):
            return UsageError(f"{option} {_shown(v)} contradicts the run in {run}, which has {_shown(fixed)}: a resumed run "
                              f"keeps its settings; leave {option} out, or start a new run")
    return None


def _augmented(config, text: str):
    """The run's own table if the text comes to the same, else the text."""
    from nncore.train import parts

    try:
        table = parts.complete_augment(parts.augment_text(text), config.data.known_as)
    except parts.Wrong as e:
        raise UsageError(f"--augment {text}: {e.text}") from None
    return config.augment if table == config.augment else text


def _same(key: str, value, fixed) -> bool:
    from nncore.train.parts import plain

    if key.rpartition(".")[2] in ("name", "kind"):
        return isinstance(value, str) and plain(value) == plain(str(fixed))
    return list(value) == list(fixed or ()) if isinstance(value, (list, tuple)) else value == fixed


def _shown(value) -> str:
    return "none" if value in (None, {}) else ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
