"""nncore train: from a data set's name to a verdict, leaving a run folder that can be looked at, used and resumed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import click

from nncore._ffi import ffi, lib
from nncore.cli import options as o
from nncore.cli.output import emit, say
from nncore.cli.progress import download_progress, training_progress
from nncore.errors import DataError, NNError, NonFiniteError, UsageError

# What the command line may say beside --resume; all else is fixed by the run.
_FREE = {"resume", "steps", "threads", "isa", "quiet", "as_json", "predictions", "report"}


@click.command()
@o.options(o.data_option, o.model_option, o.hidden_option, o.epochs_option, o.steps_option, o.lr_option, o.batch_option,
           o.seed_option, o.threads_option, o.isa_option, o.math_option)
@click.option("--shards", type=click.IntRange(1), metavar="N", default=1, show_default=True,
              help="Equal groups of a batch with sums of their own.")
@click.option("--validation", type=o.Number(0, 1, strict=True, share=True), metavar="SHARE",
              help="Share of the training set that is held out and measured after each epoch.")
@click.option("--patience", type=click.IntRange(1), metavar="N",
              help="Stop after N epochs without a better validation loss; the best weights win. Needs --validation.")
@o.options(o.threshold_option, o.out_option)
@click.option("--predictions", type=click.Path(), metavar="DIR",
              help="Copy the two prediction files there too, over older ones.")
@click.option("--report", is_flag=True, help="Write report.html into the run folder, as nncore report does.")
@o.options(o.resume_option, o.json_option, o.quiet_option)
@click.pass_context
def train(context: click.Context, **given) -> int:
    """Train a network, evaluate it on the test set, and say PASS or BELOW_THRESHOLD (exit code 1).

    \b
      nncore train
      nncore train --data mnist --epochs 3 --hidden 128,64 --seed 1
      nncore train --data ./course-csv --threshold 0.88 --out runs/mine
      nncore train --resume runs/mine

    Without any data and without network the embedded glyphs are used. The threshold is 0.88 for fashion-mnist, 0.97
    for mnist, 0.95 for glyphs, none for other data. The run folder holds config.toml, model.safetensors, checkpoints/,
    history.jsonl, result.json, tape.txt, train_predictions.csv and test_predictions.csv; an existing run is never
    overwritten. Ctrl-C writes a checkpoint first. The same settings give the same weights on every instruction set,
    with any number of threads, after any interruption.
    """
    started = process_start()
    training = Training(given["steps"], given["threads"], given["isa"], given["as_json"], given["quiet"],
                        given["predictions"], started, given["report"])
    if given["report"]:
        from nncore.report import require

        require()
    if given["predictions"] is not None and not os.path.isdir(given["predictions"]):
        raise UsageError(f"--predictions {given['predictions']}: no such folder")
    if given["resume"] is not None:
        training.resume(given["resume"], _said(context, given))
    else:
        training.begin(given, context.get_parameter_source("data").name == "DEFAULT")
    return training.go()


def _said(context: click.Context, given: dict) -> dict:
    """The options that were given on the command line."""
    return {k: v for k, v in given.items() if context.get_parameter_source(k).name == "COMMANDLINE"}


def process_start() -> float:
    """When this process began, on the clock of time.monotonic; now, where the system does not tell."""
    now = time.monotonic()
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return now - age if 0 <= age < 60 else now
    except (OSError, ValueError, IndexError, AttributeError):
        return now


@dataclass
class Training:
    """One call of the command: settings, data, trainer and folder on their way to a result."""

    steps: int | None
    threads: int | None
    isa: str | None
    as_json: bool
    quiet: bool
    predictions: str | None
    started: float
    report: bool = False

    # ---- settings and data ----------------------------------------------------------------------------------------

    def begin(self, given: dict, is_default: bool) -> None:
        """A new run: settings from the command line. Raises UsageError, DataError, LimitError."""
        from nncore import __version__
        from nncore.train.runs import RunConfig, RunFolder

        if given["patience"] and not given["validation"]:
            raise UsageError("--patience watches the validation loss: give --validation SHARE too, for example 0.1")
        self._executor()
        self._load(given["data"], "glyphs" if is_default else None)
        if self.data.note:
            say(f"nncore: {self.data.note}")
        threshold = given["threshold"]
        if threshold is None:
            threshold = o.THRESHOLDS.get(set_name(given["data"], self.data.name))
        keys = ("model", "hidden", "epochs", "batch", "lr", "seed", "math", "shards", "validation", "patience")
        self.config = RunConfig(data=_lasting(given["data"], self.data), threshold=threshold, version=__version__,
                                **{k: given[k] for k in keys})
        self._prepare(lambda: RunFolder.create(given["out"], self.config, self.data.name))

    def resume(self, run: str, said: dict) -> None:
        """Go on with a run: settings from its folder. Raises UsageError for an option that contradicts them."""
        from nncore.train.runs import RunFolder

        folder = RunFolder.open(run)
        self.config = config = folder.config()
        if config.numerics != lib.NN_NUMERICS_ID:
            raise DataError(f"{run}: begun with numerics id {config.numerics}, this nncore has {lib.NN_NUMERICS_ID}: "
                            f"the bits would differ; train again, or use nncore {config.version}")
        for key, value in said.items():
            if key in _FREE:
                continue
            fixed = str(folder.path) if key == "out" else getattr(config, key)
            same = os.path.realpath(value) == os.path.realpath(fixed) if key == "out" else value == fixed
            if key == "data":
                same = same or os.path.abspath(value) == fixed
            if not same:
                raise UsageError(f"--{key} {_shown(value)} contradicts the run in {run}, which has {_shown(fixed)}: a "
                                 f"resumed run keeps its settings; leave --{key} out, or start a new run")
        self._executor()
        self._load(config.data, None)
        self._prepare(lambda: folder)
        if folder.restore(self.trainer):
            say_unless(self.quiet, f"resuming {run} at step {self.trainer.position.step:,}")
        else:
            say_unless(self.quiet, f"{run} has no checkpoint yet: starting from the beginning")
        done = self.trainer.position.step
        if self.steps is not None and self.steps <= done < self.trainer.total_steps:
            raise UsageError(f"--steps {self.steps}: the run in {run} has done {done} already; --steps counts all "
                             "steps of a run")

    def _executor(self) -> None:
        from nncore.graph.tape import Executor

        self.executor = Executor(self.isa, self.threads)

    def _load(self, name: str, fallback: str | None) -> None:
        from nncore.data import load

        start = time.monotonic()
        self.data = load(name, fallback=fallback, progress=download_progress(self.quiet))
        self.seconds = {"load": time.monotonic() - start}

    def _prepare(self, folder) -> None:
        """Build the trainer, then make the folder: nothing is written before the settings are known to work."""
        from dataclasses import replace

        from nncore.train.runs import EpochKeeper, StopKeeper, fingerprint, make_trainer
        from nncore.train.watch import LayerWatch

        self.begun = time.monotonic()
        self.progress = training_progress(self.config.epochs, self.quiet)
        keepers = StopKeeper(None), EpochKeeper(None)
        self.trainer = trainer = make_trainer(self.config, self.data, keepers, steps=self.steps, executor=self.executor)
        self.model = model = trainer.model
        trainer.callbacks.insert(-1, LayerWatch())
        trainer.on_progress = self._on_progress
        trainer.callbacks.append(self)
        statistics = model.memory.tensor(model.mean).tobytes() + model.memory.tensor(model.scale).tobytes()
        found = fingerprint(self.data, statistics)
        self.folder = keepers[0].folder = keepers[1].folder = folder()
        if not self.config.fingerprint:
            self.config = replace(self.config, fingerprint=found)
            self.folder.write_config(self.config)
        elif self.config.fingerprint != found:
            raise DataError(f"{self.config.data}: not the data that the run in {self.folder.path} was begun on")
        self.folder.put("tape.txt", f"{trainer.tape}\n".encode())

    # ---- training -------------------------------------------------------------------------------------------------

    def go(self) -> int:
        """Train, save, predict, print. Returns the exit code; raises the LimitError of what could not be written."""
        self._train()
        if self.trainer.reason == "interrupted":
            self.folder.put_model(self.model)
            return self._end_interrupted()
        self.folder.put_model(self.model)
        start = time.monotonic()
        scores, paths = self._predict()
        self.seconds["predict"] = time.monotonic() - start
        digest = self.model.weights_sha256
        self.folder.writer.wait()
        result = self._result(scores, paths, digest)
        self.folder.put_result(result)
        self.folder.writer.wait()
        if self.report:
            self._report(result)
        if self.as_json:
            emit(result)
        else:
            self._print(result, scores)
        if self.folder.writer.failures:
            raise self.folder.writer.failures[0]
        return 1 if result["verdict"] == "BELOW_THRESHOLD" else 0

    def _report(self, result: dict) -> None:
        """The page about this run; what keeps it from being written is raised when all else is done."""
        from nncore.cli.report import look, write_report

        try:
            notes = look(self.folder.path, 0, self.executor, data=self.data)
            result["report"] = write_report(self.folder.path, notes=notes)
        except NNError as e:
            self.folder.writer.failures.append(e)

    def _train(self) -> None:
        self.stopping, self.warned = False, False
        before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        for s, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(s, self._on_signal)
        try:
            self.trainer.run()
            self._check_weights()
        except NonFiniteError:
            self.progress.close()
            self.folder.put_model(self.model)
            self.folder.writer.wait()
            say(f"the last good weights are in {self.folder.path / 'model.safetensors'}")
            raise
        finally:
            self.progress.close()
            for s, handler in before.items():
                signal.signal(s, handler)
        self.seconds["train"] = time.monotonic() - self.begun

    def _check_weights(self) -> None:
        """The last update may have broken a weight that no step looked at any more."""
        for name, w in self.model.parameters.items():
            t = self.model.memory.tensor(w)
            bad = lib.nn_find_nonfinite(ffi.cast("float *", t.pointer), t.nbytes // 4)
            if bad >= 0:
                value, step = ffi.cast("float *", t.pointer)[bad], self.trainer.position.step
                self.model.restore(self.trainer.good[0])
                raise NonFiniteError(f"step {step}, parameter {name}: element {bad} is {value} after the last update; "
                                     "a smaller --lr is the usual remedy")

    def _on_signal(self, number, frame) -> None:
        """The first Ctrl-C stops in order, within a tenth of a second; the second one at once."""
        if self.stopping:
            raise KeyboardInterrupt
        self.stopping = True

    def _on_progress(self, progress) -> None:
        if self.stopping:
            raise KeyboardInterrupt  # the loop turns it into a stop
        self.progress.update(progress)

    def on_epoch_end(self, trainer, record: dict) -> None:
        """The progress, a stop asked for between two epochs, a warning if files cannot be written."""
        self.progress.on_epoch_end(trainer, record)
        if self.stopping:
            trainer.stop("interrupted")
        if self.folder.writer.failures and not self.warned:
            self.warned = True
            say(f"nncore: {self.folder.writer.failures[0]}; training goes on")

    def _end_interrupted(self) -> int:
        self.folder.writer.wait()
        if self.folder.writer.failures:
            raise self.folder.writer.failures[0]
        t = self.trainer
        say(f"nncore: interrupted after step {t.position.step:,} of {t.total_steps:,}; what was learned is kept. "
            f"Go on with: nncore train --resume {_quoted(self.folder.path)}")
        return 130

    # ---- the result -----------------------------------------------------------------------------------------------

    def _predict(self) -> tuple[dict, dict]:
        """Scores and prediction files of both sets, one pass over each."""
        from nncore.files import write_atomic
        from nncore.train.predictions import class_bytes, format_classes, score
        from nncore.train.runs import PREDICTIONS

        scores, paths = {}, {}
        for part, split in (("train", self.data.train), ("test", self.data.test)):
            if split is not None:
                classes = class_bytes(self.model.predict(split, executor=self.executor))
                threshold = self.config.threshold if part == "test" else None
                scores[part] = score(classes, split.labels.tobytes(), threshold)
                text = format_classes(classes)
                paths[part] = self.folder.put(PREDICTIONS[part], text)
                if self.predictions is not None:
                    self.folder.writer.submit(write_atomic, Path(self.predictions) / PREDICTIONS[part], text)
        return scores, paths

    def _result(self, scores: dict, paths: dict, digest: str) -> dict:
        import resource
        import sys

        c, test = self.config, scores.get("test")
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        seconds = {k: round(self.seconds[k], 4) for k in ("load", "train", "predict")}
        return {
            "schema": "nncore.train/1", "run": str(self.folder.path), "model": c.model, "dataset": self.data.name,
            "seed": c.seed, "epochs": c.epochs, "batch": c.batch, "math": c.math, "isa": self.executor.isa,
            "threads": self.executor.threads, "parameters": self.model.parameter_count,
            "train_accuracy": scores["train"].accuracy, "test_accuracy": test and test.accuracy,
            "weights_sha256": digest, "seconds": {**seconds, "total": round(time.monotonic() - self.started, 4)},
            "peak_rss_bytes": rss, "predictions": {k: _if_there(paths.get(k)) for k in ("train", "test")},
            "threshold": c.threshold, "verdict": test and test.verdict,
        }

    def _print(self, result: dict, scores: dict) -> None:
        s, t = result["seconds"], self.trainer
        if t.position.step < t.total_steps:
            why = t.reason or f"--steps {self.steps}"
            print(f"stopped at step {t.position.step:,} of {t.total_steps:,}: {why}")
        for part in scores:
            print(f"{part:5}  {scores[part]}")
        if "report" in result:
            print(f"report {result['report']}")
        print(f"run    {result['run']}  ({s['total']:.2f} s: load {s['load']:.2f}, train {s['train']:.2f}, predict "
              f"{s['predict']:.2f})")


def _lasting(asked: str, data) -> str:
    """The data set as config.toml names it: by name, or by a path that does not depend on the working folder."""
    from nncore.data import names

    if data.note or asked in names():
        return data.name
    return os.path.abspath(os.path.expanduser(asked))


def set_name(asked: str, name: str) -> str:
    """Which known data set a folder holds, by its own name or by the course's file names; else the folder's name."""
    folder = Path(os.path.expanduser(asked))
    if name not in o.THRESHOLDS and folder.is_dir():
        known = {n.replace("-", "_"): n for n in o.THRESHOLDS}
        for path in folder.glob("*_train_vectors.csv"):
            return known.get(path.name.removesuffix("_train_vectors.csv"), name)
    return name


def _if_there(path: str | None) -> str | None:
    return path if path and os.path.exists(path) else None


def say_unless(quiet: bool, message: str) -> None:
    """A line on stderr."""
    if not quiet:
        say(message)


def _shown(value) -> str:
    return "none" if value is None else ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _quoted(path) -> str:
    import shlex

    return shlex.quote(str(path))
