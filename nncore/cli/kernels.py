"""nncore kernels: the conformance suite for kernels that somebody else wrote, in the sandbox."""

from __future__ import annotations

from statistics import median

import click

from nncore.cli import options as o
from nncore.cli.assign import unsandboxed_option
from nncore.cli.group import LazyGroup
from nncore.cli.output import emit, say, table
from nncore.errors import UsageError

SCHEMA = "nncore.kernels/1"
ROUNDS, STEADY = 5, 0.02  # of timing: theirs and ours by turns; seconds of a round


@click.group(cls=LazyGroup)
def kernels() -> None:
    """Kernels of one's own, in C: check them, train with them.

    \b
      nncore kernels template relu_fwd relu_bwd dense_fwd > mine.c
      nncore kernels check mine.c

    A file defines any of the functions that `nncore kernels list` shows: they are called like the ops of csrc/nncore.h,
    where their formulas stand.
    """


@kernels.command("list")
@o.json_option
def list_command(as_json: bool) -> None:
    """Every kernel that can be written: its C prototype."""
    from nncore.bench.signature import signatures

    found = signatures().values()
    if as_json:
        emit({"schema": "nncore.kernels.list/1",
              "kernels": [{"name": s.name, "prototype": s.prototype, "formula": s.formula} for s in found]})
    else:
        print("\n".join(s.prototype for s in found))


@kernels.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def template(names: tuple[str, ...]) -> None:
    """A C file with these kernels, empty, to begin with."""
    from nncore.bench.signature import template as text

    print(text(_known(names)), end="")


def _known(names) -> list[str]:
    """Names of kernels, each once. Raises UsageError with suggestions."""
    from nncore.bench.signature import signatures

    for name in names:
        if name not in signatures():
            raise o.suggest("kernel", name, signatures())
    return list(dict.fromkeys(names))


@kernels.command()
@click.argument("file", type=click.Path(), metavar="FILE.c|LIB.so")
@click.option("--require", metavar="NAME,NAME...", help="Kernels that have to be there; others are checked besides.")
@click.option("--only", metavar="NAME,NAME...", help="Check these alone.")
@click.option("--no-speed", is_flag=True, help="Take no times.")
@click.option("--no-training", is_flag=True, help="Do not train with them.")
@o.options(unsandboxed_option, o.json_option, o.quiet_option)
def check(file: str, require: str | None, only: str | None, no_speed: bool, no_training: bool, unsandboxed: bool,
          as_json: bool, quiet: bool) -> int:
    """Check the kernels of a C file or a library, one by one. Exit code 0 if all pass, 1 if not.

    \b
      nncore kernels check mine.c
      nncore kernels check mine.c --require relu_fwd,relu_bwd,dense_fwd --json

    Values against the float64 reference within the bound that nncore's own kernels are held to, in units in the last
    place; odd shapes; outputs in place of inputs; pages beside the buffers that crash who touches them; logits of 1e4,
    infinities, NaN; derivatives by finite differences; the same bits twice. Then speed beside ours and the plain loops,
    and a short training with those that passed. Each kernel runs in a sandbox of its own.
    """
    from nncore.assign.kernel_box import KernelBox
    from nncore.bench.signature import signatures

    wanted = _known([n.strip() for n in (require or "").split(",") if n.strip()])
    chosen = _known([n.strip() for n in (only or "").split(",") if n.strip()])
    if only is not None and set(wanted) - set(chosen):
        raise UsageError(f"--require {require} asks for kernels that --only {only} leaves out")
    signatures()
    box = KernelBox("none" if unsandboxed else "bwrap")
    suite = Suite(box, file, wanted, chosen, not no_speed, not no_training, None if quiet or as_json else say)
    result = suite.run()
    if as_json:
        emit(result)
    else:
        _print(result)
    return 0 if result["verdict"] == "PASS" else 1


class Suite:
    """One file on its way through all checks."""

    def __init__(self, box, file: str, required: list[str], chosen: list[str], speed: bool, training: bool, tell):
        self.box, self.file, self.required, self.chosen = box, file, required, chosen
        self.speed, self.training, self.tell = speed, training, tell or (lambda _: None)

    def run(self) -> dict:
        """The object that --json prints."""
        from nncore.assign.kernel_box import BuildFailed
        from nncore.bench import signature

        known = list(signature.signatures())
        head = {"schema": SCHEMA, "file": self.file, "sandbox": self.box.backend}
        try:
            self.built = self.box.build(self.file, signature.header(), signature.doors(), known, signature.HEADER)
        except BuildFailed as e:
            missing = [_nothing(name, "BUILD_FAILED") for name in self.required]
            return {**head, "verdict": "BUILD_FAILED", "message": str(e), "passed": 0, "kernels": missing, "training": None}
        names = [n for n in known if n in self.built.names and (not self.chosen or n in self.chosen)]
        found = [self._kernel(n) for n in names] + [_nothing(n, "MISSING") for n in self.required if n not in names]
        passed = [k["name"] for k in found if k["verdict"] == "PASS"]
        message = self.built.warnings
        if not names:
            message = "no function in it is called like a kernel; nncore kernels list shows them all"
        training = self._train(passed) if self.training and passed else None
        good = bool(found) and len(passed) == len(found) and (training is None or training["verdict"] == "PASS")
        return {**head, "verdict": "PASS" if good else "FAIL" if names else "MISSING", "message": message, "passed": len(passed),
                "kernels": found, "training": training}

    def _kernel(self, name: str) -> dict:
        from nncore.bench import conformance as c
        from nncore.bench.signature import signatures

        s = signatures()[name]
        found = c.trials(s)
        came, stop = self.box.call(self.built, name, [_call(s, t) for t in found])
        ran = [c.Ran(x.status, x.number, x.seconds, x.memory[: len(t.call.args)]) for x, t in zip(came, found, strict=True)]
        checks = c.judge(found, ran)
        verdict = stop or c.verdict(found, ran, checks)
        speed = self._speed(s) if self.speed and verdict in ("PASS", "FAIL") else None
        self.tell(f"{name}: {verdict}")
        return {"name": name, "verdict": verdict, "checks": [x.plain() for x in checks], "speed": speed}

    def _speed(self, s) -> dict | None:
        """Medians over rounds in which theirs, ours and the reference take turns; ratios above 1: theirs is faster."""
        from nncore.bench.conformance import timed
        from nncore.bench.kernels import Bench, Machine, steps_for

        trial = timed(s)
        if trial is None:
            return None
        others = [Bench(s.name, trial.call, Machine(isa, 1)) for isa in (None, "reference")]
        steps = [steps_for(b, STEADY) for b in others]
        rounds = []
        for _ in range(ROUNDS):
            (came,), stop = self.box.call(self.built, s.name, [_call(s, trial)], timed=True)
            if stop or came.status != "done" or not came.seconds:
                return None
            rounds.append((came.seconds, *(b.seconds(n) for b, n in zip(others, steps, strict=True))))
        mine, ours, plain = (median(r[i] for r in rounds) for i in range(3))
        return {"call": str(trial), "seconds": mine, "ours_seconds": ours, "reference_seconds": plain,
                "to_ours": median(r[1] / r[0] for r in rounds), "to_reference": median(r[2] / r[0] for r in rounds)}

    def _train(self, passed: list[str]) -> dict | None:
        """A network trained with the kernels that passed, as far as one uses them; its weights are judged here."""
        from pathlib import Path

        import nncore
        from nncore.bench import replaced
        from nncore.bench.signature import HEADER

        network, names = replaced.choose(passed)
        if not names:
            return None
        self.tell(f"training with {', '.join(names)}")
        head = {"network": str(network), "kernels": names}
        weights, said = self.box.train(self.built, names, Path(nncore.__file__).parent, HEADER, str(network))
        if not weights:
            return {**head, "verdict": "FAIL", "accuracy": None, "ours": None, "text": f"FAIL: {said}"}
        return {**head, **replaced.compare(network, weights)}


def _nothing(name: str, verdict: str) -> dict:
    return {"name": name, "verdict": verdict, "checks": [], "speed": None}


def _call(s, trial) -> dict:
    """A trial as the box takes it."""
    from nncore.bench.conformance import content
    from nncore.bench.signature import padded

    args, sizes, scalars = s.convert(trial.call)
    return {"args": padded(content(trial), len(args)), "sizes": sizes, "scalars": scalars, "alias": trial.alias,
            "guard": trial.guard, "shift": trial.shift}


# ---- text ------------------------------------------------------------------------------------------------------------


def _print(result: dict) -> None:
    if result["verdict"] == "BUILD_FAILED":
        print(f"BUILD_FAILED\n{_plain(result['message'])}")
        return
    rows = [("kernel", "verdict", "checks", "nearest to its bound", "speed to ours", "to plain loops")]
    rows += [_row(k) for k in result["kernels"]]
    print(table(rows, right=(2, 4, 5)))
    for k in result["kernels"]:
        bad = [c for c in k["checks"] if c["failure"]]
        if bad:
            counts = ", ".join(f"{c['name']} {c['failed']} of {c['trials']}" for c in bad)
            print(f"\n{k['name']} fails in {counts}. {bad[0]['name']}:\n    {bad[0]['failure']}")
    if result["message"]:
        lines = _plain(result["message"]).splitlines()
        print("\n".join(["", *lines[:12], *([f"... {len(lines) - 12} lines more"] * (len(lines) > 12))]))
    if t := result["training"]:
        print(f"\ntraining {t['network']} on glyphs with {', '.join(t['kernels'])}: {t['text']}")
    print(f"\n{result['verdict']}: {result['passed']} of {len(result['kernels'])} kernels pass"
          + ("" if result["sandbox"] == "bwrap" else f" (sandbox: {result['sandbox']})"))


def _row(k: dict) -> tuple:
    good = sum(c["verdict"] == "PASS" for c in k["checks"])
    near = max((c for c in k["checks"] if c["allowed_ulps"] and c["name"] != "gradient"),
               key=lambda c: c["ulps"] / c["allowed_ulps"], default=None)
    speed = k["speed"] or {}
    ratios = (f"{speed[x]:.2f}" if x in speed else "" for x in ("to_ours", "to_reference"))
    return (k["name"], k["verdict"], f"{good}/{len(k['checks'])}" if k["checks"] else "",
            f"{near['ulps']:.2g} of {near['allowed_ulps']:.2g} ulp" if near else "same bits" if good else "", *ratios)


def _plain(text: str) -> str:
    """What a compiler said, without control characters."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
