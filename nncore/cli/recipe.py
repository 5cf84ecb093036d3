"""A recipe on the command line: the settings of `nncore train`, for commands that train without leaving a run."""

from __future__ import annotations

from dataclasses import dataclass

from nncore.cli.output import say
from nncore.cli.progress import download_progress
from nncore.cli.settings import overrides, said


@dataclass
class Recipe:
    """Resolved settings, the data they name, and the kernels to train with."""

    config: object
    data: object
    executor: object

    def make(self, seed: int):
        """The network of the settings, with weights of that seed."""
        from nncore.train import parts

        c = self.config
        return parts.make_model(c.model, len(self.data.classes), seed, c.data.standardise, c.train.math,
                                c.train.elementary)

    @property
    def optimizer(self):
        """The optimizer of the settings under their schedule."""
        from nncore.train import parts

        return parts.make_optimizer(self.config.optimizer, self.config.schedule)

    def options(self) -> dict:
        """The arguments of Model.fit beside the data, the number of epochs, the optimizer, and what looks at a validation set."""
        from nncore.train import parts

        c = self.config
        given = {"loss": parts.make_loss(c.train.loss), "augment": parts.make_augment(c.augment), "clip": parts.make_clip(c.clip),
                 "penalty": parts.make_penalty(c.penalty.l1, c.penalty.l2, c.penalty.biases)}
        return {"batch": c.train.batch, "shards": c.train.shards, "executor": self.executor,
                **{k: v for k, v in given.items() if v is not None}}


def read_recipe(context, file: str | None, given: dict, more: tuple = ()) -> Recipe:
    """The recipe that a settings file and the options of a command come to; more: (option, key, value) that it adds. Raises
    UsageError, DataError."""
    from nncore.cli.train import FALLBACK
    from nncore.data import load
    from nncore.graph.tape import Executor
    from nncore.train.config import DATA, Draft, read_toml, refuse_deadline, resolve
    from nncore.train.runs import limited

    draft = Draft()
    if file is not None:
        draft.add(read_toml(file), file)
    config = resolve(draft.put_all([*overrides(said(context, given)), *more]))
    refuse_deadline(config)
    asked = config.data.asked
    executor = Executor(given["isa"], given["threads"])
    data = load(DATA if asked is None else asked, FALLBACK if asked is None else None,
                download_progress(given.get("quiet", True)))
    if data.note:
        say(f"nncore: {data.note}")
        config = resolve(draft.put("data.name", data.name, "--data"))
    return Recipe(config, limited(data, config), executor)
