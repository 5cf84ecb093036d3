"""Options that several commands share, and how their values are checked."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import click

from nncore.errors import UsageError

THRESHOLDS = {"fashion-mnist": 0.88, "mnist": 0.97, "glyphs": 0.95}


def suggest(what: str, name: str, known) -> UsageError:
    """The error for an unknown name, with the names that come close."""
    from difflib import get_close_matches

    known = list(known)
    close = get_close_matches(name.lower(), known, 2, 0.5)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    return UsageError(f"unknown {what} {name!r}: {guess}known: {', '.join(known)}")


# ---- values ----------------------------------------------------------------------------------------------------------


class Number(click.ParamType):
    """A finite number in an interval; with `share`, a fraction, and a hint for who writes 88 for 0.88."""

    name = "number"

    def __init__(self, low: float, high: float = float("inf"), strict: bool = False, share: bool = False):
        self.low, self.high, self.strict, self.share = low, high, strict, share

    def convert(self, value, param, ctx):
        """The number, or a usage error that names the option."""
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        at_limit = self.strict and number in (self.low, self.high)
        if not isfinite(number) or not self.low <= number <= self.high or at_limit:
            limits = f"above {self.low:g}" if self.high == float("inf") else f"between {self.low:g} and {self.high:g}"
            hint = f"; did you mean {number / 100:g}?" if self.share and 1 < number <= 100 else ""
            self.fail(f"{value} must be a finite number {limits}{hint}", param, ctx)
        return number


class Widths(click.ParamType):
    """Sizes of hidden layers: whole numbers above 0, separated by commas."""

    name = "N,N,..."

    def convert(self, value, param, ctx):
        """A tuple of sizes, or a usage error that names the bad one."""
        if isinstance(value, tuple):
            return value
        sizes = []
        for text in value.split(","):
            text = text.strip()
            if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= 1 << 31):
                self.fail(f"{text!r} is not a hidden size: whole numbers above 0 separated by commas, like 256,128",
                          param, ctx)
            sizes.append(int(text))
        return tuple(sizes)


def check_math(_, __, value: str | None) -> str | None:
    """A math mode, or what is wrong with it."""
    from nncore.graph.plan import MATH_MODES

    if value is not None and value not in MATH_MODES:
        raise suggest("math mode", value, MATH_MODES)
    return value


# ---- options ---------------------------------------------------------------------------------------------------------

data_option = click.option("--data", metavar="NAME|DIR", default="fashion-mnist", show_default=True,
                           help="A data set by name, or a folder (./x) with IDX files or the course's CSV files.")
hidden_option = click.option("--hidden", type=Widths(), help="Sizes of the hidden layers; default 256 for mlp.")
epochs_option = click.option("--epochs", type=click.IntRange(1), metavar="N",
                             help="Passes over the training set; default as the model's recipe says, 5 for mlp.")
steps_option = click.option("--steps", type=click.IntRange(1), metavar="N",
                            help="Stop after N steps in total; the run can be resumed.")
lr_option = click.option("--lr", type=Number(0, strict=True),
                         help="Learning rate, the level of its schedule; default as the recipe says, 3e-3 for mlp.")
batch_option = click.option("--batch", type=click.IntRange(1), metavar="N", default=128, show_default=True,
                            help="Samples per step; a model's recipe may say otherwise.")
seed_option = click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", default=0, show_default=True,
                           help="Initial weights, shuffles and splits follow from it.")
threads_option = click.option("--threads", type=click.IntRange(1, 64), metavar="N",
                              help="Threads; default NNCORE_THREADS or all processors. Changes no bit of the result.")
isa_option = click.option("--isa", metavar="NAME",
                          help="Instruction set (nncore info lists them); default NNCORE_ISA or the best. Changes no "
                               "bit of the result.")
math_option = click.option("--math", metavar="MODE", callback=check_math,
                           help="Arithmetic of products: f32, bf16x6, bf16x3, bf16; default the network's own, else f32.")
out_option = click.option("--out", type=click.Path(), metavar="DIR",
                          help="Folder for the results; default a new one in runs/.")
resume_option = click.option("--resume", type=click.Path(), metavar="RUN",
                             help="Go on with the run in this folder, to the bit.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress.")
threshold_option = click.option("--threshold", type=Number(0, 1, share=True), metavar="SHARE",
                                help="Accuracy that must be reached, a fraction; exit code 1 below it.")
tta_option = click.option("--tta", metavar="SPEC",
                          help="Average over shifted and mirrored copies of an image: shift=1 looks at nine, shift=1,mirror at "
                               "eighteen.")


def options(*decorators: Callable) -> Callable:
    """Several options as one decorator, shown in this order."""

    def decorate(f: Callable) -> Callable:
        for decorator in reversed(decorators):
            f = decorator(f)
        return f

    return decorate
