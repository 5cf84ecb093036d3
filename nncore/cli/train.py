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
from nncore.cli.deadline import close_plan, make_plan
from nncore.cli.early import Early
from nncore.cli.output import emit, say
from nncore.cli.process import process_start
from nncore.cli.progress import download_progress, training_progress
from nncore.cli.settings import contradiction, overrides, said, settings_options
from nncore.errors import DataError, NNError, NonFiniteError, UsageError
from nncore.graph.plan import peak_rss

FALLBACK = "glyphs"  # what is taken when nothing is asked for and DATA cannot be had


@click.command()
@click.argument("file", required=False, type=click.Path(), metavar="[RUN.TOML]")
@settings_options
@o.options(o.out_option)
@click.option("--predictions", type=click.Path(), metavar="DIR",
              help="Copy the two prediction files there too, over older ones.")
@click.option("--watch", metavar="SPEC",
              help="Instruments: a level (0 flags, 1 figures, 2 float64 shadow), raise, warn, KIND=WORD, every=N; as 1,raise.")
@click.option("--report", is_flag=True, help="Write report.html into the run folder, as nncore report does.")
@o.options(o.resume_option, o.json_option, o.quiet_option)
@click.pass_context
def train(context: click.Context, file: str | None, **given) -> int:
    """Train a network, evaluate it on the test set, and say PASS or BELOW_THRESHOLD (exit code 1).

    \b
      nncore train
      nncore train --data mnist --epochs 3 --hidden 128,64 --seed 1
      nncore train run.toml --lr 1e-3 --set optimizer.beta1=0.8
      nncore train runs/mine/config.toml            the same run again, to the bit
      nncore train --resume runs/mine

    RUN.TOML holds settings (docs/configuration.md); options override it. Without any data and without network the
    embedded glyphs are used. --deadline 10m plans as many epochs as fit and keeps prediction files on disk after each.
    The threshold is 0.88 for fashion-mnist, 0.97 for mnist, 0.95 for glyphs, none for other
    data. The run folder holds config.toml, model.safetensors, checkpoints/, history.jsonl, result.json, tape.txt,
    train_predictions.csv and test_predictions.csv; an existing run is never overwritten. Ctrl-C writes a checkpoint
    first. The same settings give the same weights on every instruction set, with any number of threads, after any
    interruption.
    """
    from nncore.train.instruments import instruments

    started = process_start()
    training = Training(given["steps"], given["threads"], given["isa"], given["as_json"], given["quiet"],
                        given["predictions"], started, given["report"], watch=instruments(given["watch"]))
    if given["report"]:
        from nncore.report import require

        require()
    if given["predictions"] is not None and not os.path.isdir(given["predictions"]):
        raise UsageError(f"--predictions {given['predictions']}: no such folder")
    options = said(context, given)
    if given["resume"] is None:
        if file is None and not given["pairs"]:  # else it is not yet known what data are meant
            training.early = Early(given["data"])
        training.begin(file, options)
    elif file is not None:
        raise UsageError(f"{file} and --resume {given['resume']}: a resumed run has its settings; leave one of them out")
    else:
        training.resume(given["resume"], options)
    return training.go()


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
    early: Early | None = None
    watch: object = None
    deadline: object = None

    # ---- settings and data ----------------------------------------------------------------------------------------

    def begin(self, file: str | None, options: dict) -> None:
        """A new run: settings from a file and the command line. Raises UsageError, DataError, LimitError."""
        from msgspec.structs import replace

        from nncore import __version__
        from nncore.train.config import DATA, Draft, Run, read_toml, resolve
        from nncore.train.runs import RunFolder

        draft = Draft()
        written = None
        if file is not None:
            draft.add(read_toml(file), file)
            written = resolve(draft)
        config = resolve(draft.put_all(overrides(options)))
        asked = config.data.asked
        self._executor()
        self._load(DATA if asked is None else asked, FALLBACK if asked is None else None)
        if self.data.note:
            say(f"nncore: {self.data.note}")
            config = resolve(draft.put("data.name", self.data.name, "--data"))
        same = written is not None and (written.data, written.train.seed) == (config.data, config.train.seed)
        if same and written.run.numerics not in (0, lib.NN_NUMERICS_ID):
            say(f"nncore: {file}: made with numerics id {written.run.numerics}, this nncore has {lib.NN_NUMERICS_ID}: the "
                "weights will differ in their bits")
        threshold = config.train.threshold
        if threshold is None:
            threshold = o.THRESHOLDS.get(self.data.name, o.THRESHOLDS.get(config.data.known_as))
        self.config = replace(config, data=_lasting(config.data, self.data), train=replace(config.train, threshold=threshold),
                              run=Run(written.run.fingerprint if same else "", lib.NN_NUMERICS_ID, __version__))
        self.source = file
        self._prepare(lambda: RunFolder.create(options.get("out"), self.config, self.data.name))

    def resume(self, run: str, options: dict) -> None:
        """Go on with a run: settings from its folder. Raises UsageError for an option that contradicts them."""
        from nncore.train.runs import RunFolder

        folder = RunFolder.open(run)
        self.config = config = folder.config()
        if config.run.numerics != lib.NN_NUMERICS_ID:
            raise DataError(f"{run}: begun with numerics id {config.run.numerics}, this nncore has {lib.NN_NUMERICS_ID}: "
                            f"the bits would differ; train again, or use nncore {config.run.version}")
        if "out" in options and os.path.realpath(options["out"]) != os.path.realpath(run):
            raise UsageError(f"--out {options['out']} contradicts --resume {run}: a resumed run stays in its folder")
        for option, key, value in overrides(options):
            if key == "data.name" and os.path.abspath(value) == config.data.folder:
                continue
            if wrong := contradiction(config, option, key, value, run):
                raise wrong
        self._executor()
        self._load(config.data.asked, None)
        self.source = None
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
        self.data = self.early and self.early.get(name)
        if self.data is None:
            self.data = load(name, fallback=fallback, progress=download_progress(self.quiet))
        self.seconds = {"load": time.monotonic() - start}

    def _prepare(self, folder) -> None:
        """Build the trainer, then make the folder: nothing is written before the settings are known to work."""
        from msgspec.structs import replace

        from nncore.train.runs import EpochKeeper, StopKeeper, fingerprint, limited, make_trainer
        from nncore.train.watch import LayerWatch

        self.begun = time.monotonic()
        self.data = limited(self.data, self.config)
        if self.config.train.deadline is not None:
            self.config, self.deadline = make_plan(self)
        self.progress = training_progress(self.config.train.epochs, self.quiet)
        keepers = StopKeeper(None), EpochKeeper(None)
        self.trainer = trainer = make_trainer(self.config, self.data, keepers, self.steps, executor=self.executor,
                                              watch=self.watch)
        self.model = model = trainer.model
        trainer.callbacks.insert(-1, LayerWatch())
        trainer.on_progress = self._on_progress
        trainer.callbacks += [self, *filter(None, [self.deadline])]
        statistics = model.memory.tensor(model.mean).tobytes() + model.memory.tensor(model.scale).tobytes()
        found, run = fingerprint(self.data, statistics), self.config.run
        if run.fingerprint not in ("", found):
            what = f"{self.source}: made" if self.source else "the run was begun"
            raise DataError(f"{self.config.data.asked}: not the data that {what} on; train on it "
                            "anew with settings without [run] fingerprint")
        self.folder = keepers[0].folder = keepers[1].folder = folder()
        if not self.folder.has_config():
            self.config = replace(self.config, run=replace(run, fingerprint=found))
            self.folder.write_config(self.config)
        self.folder.put("tape.txt", f"{trainer.tape}\n".encode())

    # ---- training -------------------------------------------------------------------------------------------------

    def go(self) -> int:
        """Train, save, predict, print. Returns the exit code; raises the LimitError of what could not be written."""
        self._train()
        if self.trainer.reason == "interrupted":
            self.folder.put_model(self.model)
            return self._end_interrupted()
        self.folder.put_model(self.model)
        if self.watch.level:
            self.folder.put_watch(self.trainer.observer)
        start = time.monotonic()
        scores, paths = self.predict()
        self.held_out = self._evaluate()
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
            if self.deadline:
                close_plan(self)
        except NonFiniteError:
            self.progress.close()
            self.folder.put_broken(self.trainer)
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
        if self.deadline and self.deadline.is_over():
            self.trainer.stop(f"the deadline of {self.deadline.seconds:g} s")
            raise KeyboardInterrupt
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

    def predict(self) -> tuple[dict, dict]:
        """Scores and prediction files of both sets, one pass over each."""
        from nncore.files import write_atomic
        from nncore.train.predictions import class_bytes, format_classes, score
        from nncore.train.runs import PREDICTIONS

        scores, paths = {}, {}
        for part, split in (("train", self.data.train), ("test", self.data.test)):
            if split is not None:
                classes = class_bytes(self.model.predict(split, executor=self.executor))
                threshold = self.config.train.threshold if part == "test" else None
                scores[part] = score(classes, split.labels.tobytes(), threshold)
                text = format_classes(classes)
                paths[part] = self.folder.put(PREDICTIONS[part], text)
                if self.predictions is not None:
                    self.folder.writer.submit(write_atomic, Path(self.predictions) / PREDICTIONS[part], text)
        return scores, paths

    def _evaluate(self):
        """Loss and accuracy of the network as it came out on what was held out; None without validation."""
        t = self.trainer
        return t.validation and self.model.evaluate(t.validation, loss=t.settings.loss, executor=self.executor)

    def _result(self, scores: dict, paths: dict, digest: str) -> dict:
        c, test = self.config.train, scores.get("test")
        seconds = {k: round(self.seconds[k], 4) for k in ("load", "train", "predict")}
        return {
            "schema": "nncore.train/1", "run": str(self.folder.path), "model": self.config.model["name"],
            "dataset": self.data.name, "seed": c.seed, "epochs": c.epochs, "batch": c.batch, "math": c.math,
            "elementary": c.elementary, "isa": self.executor.isa, "threads": self.executor.threads,
            "parameters": self.model.parameter_count,
            "train_accuracy": scores["train"].accuracy, "test_accuracy": test and test.accuracy,
            "val_accuracy": self.held_out and self.held_out.accuracy, "val_loss": self.held_out and self.held_out.loss,
            "weights_sha256": digest, "seconds": {**seconds, "total": round(time.monotonic() - self.started, 4)},
            "plan_bytes": sum(self.trainer.plan.values()) + self.data.nbytes, "peak_rss_bytes": peak_rss(),
            "predictions": {k: _if_there(paths.get(k)) for k in ("train", "test")},
            "threshold": c.threshold, "verdict": test and test.verdict,
            "events": self.trainer.observer.events(), **({"deadline": self.deadline.report()} if self.deadline else {}),
        }

    def _print(self, result: dict, scores: dict) -> None:
        s, t = result["seconds"], self.trainer
        if t.position.step < t.total_steps:
            why = t.reason or f"steps {t.settings.steps:,}"
            print(f"stopped at step {t.position.step:,} of {t.total_steps:,}: {why}")
        for part in scores:
            print(f"{part:5}  {scores[part]}")
        if "report" in result:
            print(f"report {result['report']}")
        print(f"run    {result['run']}  ({s['total']:.2f} s: load {s['load']:.2f}, train {s['train']:.2f}, predict "
              f"{s['predict']:.2f}; plan: {result['plan_bytes'] / 1e6:.1f} MB)")


def _lasting(asked, data):
    """[data] as config.toml states it: by name, or by a folder that does not depend on the working folder."""
    from msgspec.structs import replace

    from nncore.data import names
    from nncore.train.config import DATA

    if data.note or (asked.folder is None and (asked.name or DATA) in names()):
        return replace(asked, name=data.name, folder=None)
    return replace(asked, name=None, folder=os.path.abspath(os.path.expanduser(asked.asked)))


def _if_there(path: str | None) -> str | None:
    return path if path and os.path.exists(path) else None


def say_unless(quiet: bool, message: str) -> None:
    """A line on stderr."""
    if not quiet:
        say(message)


def _quoted(path) -> str:
    import shlex

    return shlex.quote(str(path))
