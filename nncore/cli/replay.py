"""nncore replay, diff, verify and digits: a step again, where runs part, whether one repeats, what of it is rounding."""

from __future__ import annotations

import click

from nncore.cli import options as o
from nncore.cli.output import emit, say
from nncore.cli.progress import training_progress


@click.command()
@click.argument("run", type=click.Path(), metavar="RUN")
@click.option("--step", required=True, type=click.IntRange(0), metavar="K", help="The step, counted from 0.")
@click.option("--watch", "level", type=click.IntRange(1, 3), default=1, show_default=True, metavar="LEVEL",
              help="1: figures of every tensor; 2: a float64 shadow of every instruction as well; 3: Monte Carlo arithmetic too.")
@o.options(o.threads_option, o.isa_option, o.json_option)
def replay(run: str, step: int, level: int, threads: int | None, isa: str | None, as_json: bool) -> None:
    """One step of a run again, to the bit, under instruments.

    \b
      nncore replay runs/mine --step 1200
      nncore replay runs/mine --step 1200 --watch 2
      nncore replay runs/mine --step 1200 --watch 3       significant bits, branches that rounding decides

    Starts at the nearest checkpoint before the step, trains up to it, looks at every instruction of it, and if the run has a
    later checkpoint trains on to that and checks that the weights are the same.
    """
    from nncore.graph.tape import Executor
    from nncore.train.monte_carlo import summary as digits_of
    from nncore.train.replay import replay as again
    from nncore.train.shadow import summary as errors
    from nncore.train.statistics import summary

    found = again(run, step, level, Executor(isa, threads))
    if as_json:
        emit(found)
        return
    print("\n".join(summary(found["record"])))
    if level > 1:
        print("\n".join(["float64 shadow", *errors(found["record"]["shadow"])]))
    if level > 2:
        print("\n".join(["Monte Carlo arithmetic", *digits_of(found["record"]["monte_carlo"])]))
    print(f"weights {found['weights_before'][:16]} before, {found['weights_after'][:16]} after; replayed from step "
          f"{found['from_step']}" + (f", equal to the checkpoint of step {found['checked']}" if found["checked"] else ""))


@click.command()
@click.argument("run_a", type=click.Path(), metavar="RUN_A")
@click.argument("run_b", type=click.Path(), metavar="RUN_B")
@o.options(o.threads_option, o.isa_option, o.json_option)
def diff(run_a: str, run_b: str, threads: int | None, isa: str | None, as_json: bool) -> int:
    """Where two runs of one network part: the first step, instruction and element, and how many ulp lie between.

    \b
      nncore diff runs/one runs/other

    Both are trained again side by side. Exit code 1 if they part.
    """
    from nncore.graph.tape import Executor
    from nncore.train.replay import diff as compare

    found = compare(run_a, run_b, Executor(isa, threads))
    parting = found["parting"]
    if as_json:
        emit({**found, "parting": None if parting is None else {**vars(parting), "text": str(parting)}})
    else:
        for key, (a, b) in found["settings"].items():
            print(f"{key}: {a!r} and {b!r}")
        print(str(parting) if parting else f"equal to the bit over {found['steps']:,} steps")
    return 0 if parting is None else 1


@click.command()
@click.argument("run", type=click.Path(), metavar="RUN")
@o.options(o.threads_option, o.isa_option, o.json_option, o.quiet_option)
def verify(run: str, threads: int | None, isa: str | None, as_json: bool, quiet: bool) -> int:
    """Train a run again from its settings and compare the hash of its weights. Exit code 1 if it is another.

    \b
      nncore verify runs/mine
      nncore verify runs/mine --isa scalar --threads 1
    """
    from nncore.graph.tape import Executor
    from nncore.train.replay import verify as again
    from nncore.train.runs import RunFolder

    progress = training_progress(RunFolder.open(run).config().train.epochs, quiet)
    try:
        found = again(run, Executor(isa, threads), progress.update)
    finally:
        progress.close()
    if as_json:
        emit(found)
    else:
        same = "the same" if found["same"] else "OTHER"
        print(f"{same} weights after {found['steps']:,} steps on {found['isa']}, {found['threads']} threads: {found['found']}")
        if not found["same"]:
            print(f"the run has {found['expected']}")
    return 0 if found["same"] else 1


@click.command()
@click.argument("run", type=click.Path(), metavar="RUN")
@click.option("--samples", type=click.IntRange(3), default=10, show_default=True, metavar="K", help="Replays to compare.")
@click.option("--steps", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="Last steps that are replayed.")
@click.option("--images", type=click.IntRange(1), default=1000, show_default=True, metavar="N", help="Test images looked at.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Of the random roundings.")
@o.options(o.json_option, o.quiet_option)
def digits(run: str, samples: int, steps: int, images: int, seed: int, as_json: bool, quiet: bool) -> None:
    """How many digits of a run's loss, weights and predictions mean anything.

    \b
      nncore digits runs/mine
      nncore digits runs/mine --steps 400 --samples 30

    Replays the run's last steps with every rounding drawn at random (Monte Carlo arithmetic) and tells in how many digits the
    replays agree, with a confidence interval, and which test images change class under rounding alone. A step takes 20 to 40
    times as long as in training.
    """
    from nncore.train.digits import digits as measure
    from nncore.train.digits import report

    found = measure(run, samples, steps, images, seed, None if quiet else lambda k, n: say(f"replay {k}/{n}"))
    if as_json:
        emit(found)
    else:
        print("\n".join(report(found)))
