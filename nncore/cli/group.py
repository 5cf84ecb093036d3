"""The root command and its groups: commands are imported when they are called, their one-line helps stand here."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS = {
    "train": ("nncore.cli.train:train", "Train a network; evaluate it; leave a run folder."),
    "plan": ("nncore.cli.plan:plan", "A step of training before it is done: instructions, memory, fusions."),
    "sweep": ("nncore.cli.sweep:sweep", "Train under many settings and seeds; rank them."),
    "predict": ("nncore.cli.predict:predict", "Classes or probabilities from a trained network."),
    "lr": ("nncore.cli.lr:lr", "Find a learning rate."),
    "committee": ("nncore.cli.committee:committee", "Several trained networks answer together."),
    "crossval": ("nncore.cli.crossval:crossval", "Measure a recipe by k-fold cross-validation."),
    "score": ("nncore.cli.score:score", "Count a prediction file against labels."),
    "report": ("nncore.cli.report:report", "One HTML file about a run."),
    "compare": ("nncore.cli.report:compare", "Runs side by side."),
    "replay": ("nncore.cli.replay:replay", "One step of a run again, under instruments."),
    "diff": ("nncore.cli.replay:diff", "Where two runs part."),
    "verify": ("nncore.cli.replay:verify", "Repeat a run; compare the hash."),
    "digits": ("nncore.cli.replay:digits", "How many digits of a run mean anything."),
    "bench": ("nncore.cli.bench:bench", "Measure kernels and training."),
    "assignment": ("nncore.cli.assignment:assignment", "What a course asks for: list, show, begin, check."),
    "new": ("nncore.cli.assign:new", "Begin a project: a skeleton that builds, runs and is graded."),
    "check": ("nncore.cli.assign:check", "The grader, at home: one project, the verdict it will get."),
    "grade": ("nncore.cli.grade:grade", "Grade a folder of submissions, each in a sandbox."),
    "doctor": ("nncore.cli.assign:doctor", "Try the sandbox; say what to install."),
    "kernels": ("nncore.cli.kernels:kernels", "Kernels of one's own: check them, train with them."),
    "data": ("nncore.cli.data:data", "List, fetch, describe and convert data sets."),
    "models": ("nncore.cli.models:models", "The zoo: networks by name, their sizes and recipes."),
    "lab": ("nncore.cli.lab:lab", "Experiments on rounding and training, held against theory."),
    "order": ("nncore.cli.order:order", "In which order kernels add, found by probing."),
    "info": ("nncore.cli.info:info", "Version, build, instruction sets, places."),
}


class LazyGroup(click.Group):
    """A group whose commands are "module:attribute", imported when called; a wrong name gets suggestions."""

    def __init__(self, *args, lazy: dict[str, tuple[str, str]] | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table: by use, not by alphabet."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in self.lazy:
            return super().get_command(ctx, name)
        module, _, attribute = self.lazy[name][0].partition(":")
        return getattr(import_module(module), attribute)

    def resolve_command(self, ctx: click.Context, args: list[str]):
        """As click does, with suggestions for a name that is not known."""
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            from difflib import get_close_matches

            known = self.list_commands(ctx)
            close = get_close_matches(args[0], known, 2, 0.5)
            guess = f"did you mean {' or '.join(close)}? " if close else ""
            raise click.UsageError(f"no command {args[0]!r}: {guess}commands are {', '.join(known)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any of the lazy ones."""
        rows = [(name, self.lazy[name][1] if name in self.lazy else self.get_command(ctx, name).get_short_help_str(80))
                for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _show_version(ctx: click.Context, _, wanted: bool) -> None:
    if wanted:
        from nncore import __version__

        click.echo(f"nncore {__version__}")
        ctx.exit(0)


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
              help="Show the version.")
def root() -> None:
    """A neural-network engine written from nothing: C kernels, bit-reproducible.

    \b
      nncore train                            Fashion-MNIST to 88 % in a few seconds
      nncore train --data mnist --epochs 3 --hidden 128,64 --seed 1
      nncore score test_predictions.csv --data fashion-mnist --threshold 0.88

    Exit codes: 0 done; 1 below the threshold or diverged; 2 wrong usage; 3 bad input; 4 a limit was hit; 5 our fault;
    130 interrupted. Results go to stdout (--json: one object), progress and messages to stderr.

    Environment: NNCORE_DATA (a folder of data sets), NNCORE_OFFLINE=1 (never download), NNCORE_THREADS, NNCORE_ISA,
    NNCORE_FUSE=0 (no fusion), NNCORE_DEBUG=1 (tracebacks), NO_COLOR.
    """
