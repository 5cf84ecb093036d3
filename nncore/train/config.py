"""Settings of a training: laid over one another from recipe, TOML file and command line, checked, resolved, written back.

    draft = Draft()
    draft.add(read_toml("run.toml"), "run.toml")
    draft.put("train.epochs", 9, "--epochs")
    config = resolve(draft)

Every later layer wins, key by key; a table whose `name` changes is replaced as a whole, for the arguments of one optimizer
are not those of another. Below all layers lie the recipe of the model and the defaults here. A complaint names the file or
option that said so, the key, what was found and what is known. docs/configuration.md lists every key.
"""

from __future__ import annotations

import os
from math import isfinite
from typing import Annotated, Literal

import msgspec

from nncore.errors import DataError, NNError, UsageError
from nncore.graph.plan import MATH_MODES
from nncore.train import parts
from nncore.train.duration import duration
from nncore.train.parts import Wrong, near, plain
from nncore.train.precision import precision
from nncore.train.toml import read_toml, to_toml

NAMES = ("name", "kind", "preset")  # a table in which one of these changes is another table
DATA = "fashion-mnist"  # what is taken when nothing is asked for
Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 53)]
Amount = Annotated[float, msgspec.Meta(ge=0)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the tables with fixed keys."""


class Data(Table):
    """[data] name or folder; validation: share held out; limit: so many training samples only; standardise: as Model's."""

    name: str | None = None
    folder: str | None = None
    validation: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    limit: Count | None = None
    standardise: Literal["auto", "global", "feature", "unit", "none"] | None = None

    @property
    def asked(self) -> str | None:
        """The folder or the name, as `data.load` takes it."""
        return self.name if self.folder is None else self.folder

    @property
    def known_as(self) -> str:
        """The data set whose presets and threshold are meant."""
        from nncore.data.catalog import known_as

        return known_as(self.asked) if self.asked else DATA


class Train(Table):
    """[train]: how long, in which steps, from which seed, against which loss, held against which accuracy."""

    epochs: Count = 5
    batch: Count = 128
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    shards: Count = 1
    steps: Count | None = None
    deadline: str | float | None = None
    horizons: tuple[tuple[int, Count], ...] | None = None
    patience: Count | None = None
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    math: str = "f32"
    elementary: Literal["fast", "exact"] = "fast"
    precision: str | None = None
    loss: dict = {}


class Penalty(Table):
    """[penalty]: l1 sum |w| + l2/2 sum w^2, of biases too if asked."""

    l1: Amount = 0.0
    l2: Amount = 0.0
    biases: bool = False


class Run(Table):
    """[run]: what nncore adds to the settings of a run: the data's fingerprint, numerics id and version it was made with, and
    the deadline in seconds that its epochs were planned for."""

    fingerprint: str = ""
    numerics: int = 0
    version: str = ""
    deadline: float | None = None


class Config(Table):
    """Everything that decides the bits of a run, resolved, and the threshold it is held against. Stored as config.toml."""

    data: Data = Data()
    model: dict = {}
    train: Train = Train()
    optimizer: dict = {}
    schedule: dict = {}
    penalty: Penalty = Penalty()
    augment: dict = {}
    average: dict = {}
    clip: dict = {}
    run: Run = Run()

    def get(self, key: str):
        """The value of a dotted key; None where there is none."""
        found = self.tables()
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def tables(self) -> dict:
        """All tables as plain values, what is None left out, and a number of epochs that a deadline has yet to plan."""
        found = _without_none(msgspec.to_builtins(self))
        if self.train.deadline is not None:
            del found["train"]["epochs"]
        return found

    def to_toml(self) -> bytes:
        """The text of config.toml."""
        head = ("# Settings of this run, resolved. Again, to the bit: nncore train THIS_FILE. "
                "Go on with it: nncore train --resume FOLDER\n\n")
        return (head + to_toml(self.tables())).encode("utf-8", "replace")


SECTIONS = Config.__struct_fields__
DEFAULTS = {"model": {"name": "mlp"}, "optimizer": {"name": "adam"}, "schedule": {"name": "constant"}}
_FIXED = {"data": Data, "train": Train, "penalty": Penalty, "run": Run}


def _without_none(value):
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return value


# ---- layers ----------------------------------------------------------------------------------------------------------


class Draft:
    """Layers of settings, the latest wins; who said what is remembered for the complaints."""

    def __init__(self):
        self.layers: list[tuple[dict, str, type[NNError]]] = []

    def add(self, tables: dict, file: str | os.PathLike) -> Draft:
        """The tables of a file; a folder in it is relative to the file."""
        data = tables.get("data")
        if isinstance(data, dict) and isinstance(data.get("folder"), str):
            folder = os.path.join(os.path.dirname(os.path.abspath(file)), os.path.expanduser(data["folder"]))
            tables = {**tables, "data": {**data, "folder": os.path.normpath(folder)}}
        self.layers.append((tables, os.fspath(file), DataError))
        return self

    def put(self, key: str, value, said: str) -> Draft:
        """One dotted key from the command line, `said` there by this option. A key of a section alone takes a table."""
        return self.put_all([(said, key, value)])

    def put_all(self, rows: list[tuple[str, str, object]], error: type[NNError] = UsageError) -> Draft:
        """(said, dotted key, value) of one layer: names first, for a name takes away the arguments below its layer only."""
        for said, key, value in sorted(rows, key=lambda row: not (isinstance(row[2], dict) or row[1].split(".")[-1] in NAMES)):
            for part in reversed(key.split(".")):
                value = {part: value}
            self.layers.append((value, said, error))
        return self

    def merged(self, origins: dict) -> dict:
        """The tables, defaults lowest, then the model's recipe. `origins` takes {dotted key: (who said so, its error)}.

        Raises Wrong for a text that stands for a table and does not read as one.
        """
        tables = {}
        for layer, said, error in [(DEFAULTS, "nncore", NNError), *self._recipe(), *self.layers]:
            origins.update((k, (said, error)) for k, v in layer.items() if isinstance(v, str))
            for part in _tidy(layer):
                _lay(tables, part, "", origins, (said, error))
        return tables

    def _recipe(self) -> list:
        """The recipe of the model as a layer; none below a resolved file of the same model, which says everything."""
        asked = [(plain(t["model"]["name"]), "run" in t) for t, *_ in self.layers
                 if isinstance(t.get("model"), dict) and isinstance(t["model"].get("name"), str)]
        name = asked[-1][0] if asked else "mlp"
        builder = next((b for n, b in parts.MODELS.items() if plain(n) == name), None)
        if builder is None or any(same == name and resolved for same, resolved in asked):
            return []
        return [(getattr(builder, "recipe", {}), f"the recipe of {name}", NNError)]


def _tidy(layer: dict) -> list[dict]:
    """What is short for something else, written out: loss = "huber", smoothing and the peak of a named schedule as keys of
    their own, augment = "default,flip" (which replaces the table below it).
    """
    layer = {k: dict(v) if isinstance(v, dict) else v for k, v in layer.items()}
    train, schedule, optimizer = (layer.get(k) for k in ("train", "schedule", "optimizer"))
    if isinstance(train, dict):
        if isinstance(train.get("loss"), str):
            train["loss"] = {"name": train["loss"]}
        if "smoothing" in train and isinstance(train.setdefault("loss", {}), dict):
            train["loss"] = {**train["loss"], "smoothing": train.pop("smoothing")}
    level = parts.level_of(schedule.get("name")) if isinstance(schedule, dict) else None
    if level in (schedule or {}) and isinstance(optimizer or {}, dict) and "lr" not in (optimizer or {}):
        layer["optimizer"] = {**(optimizer or {}), "lr": schedule.pop(level)}
    if isinstance(layer.get("augment"), str):
        return [layer, {"augment": False}, {"augment": parts.augment_text(layer.pop("augment"))}]
    return [layer]


def _lay(below: dict, above: dict, prefix: str, origins: dict, origin: tuple) -> None:
    """Lay `above` over `below`, in place; `false` for a table empties it."""
    if prefix == "data." and {"name", "folder"} & set(above):
        below.pop("name", None)
        below.pop("folder", None)
    elif prefix and any(isinstance(above.get(k), str) and plain(above[k]) != plain(str(below.get(k, ""))) for k in NAMES):
        below.clear()
        for key in [k for k in origins if k.startswith(prefix)]:
            del origins[key]
    for key, value in above.items():
        full = f"{prefix}{key}"
        origins[full] = origin
        if isinstance(value, dict):
            if not isinstance(below.get(key), dict):
                below[key] = {}
            _lay(below[key], value, f"{full}.", origins, origin)
        else:
            below[key] = {} if value is False and full in SECTIONS else value


# ---- resolving -------------------------------------------------------------------------------------------------------


def resolve(draft: Draft) -> Config:
    """The settings that the layers come to, every default filled in. Raises DataError for what a file says, UsageError for
    what the command line says, naming the place, the key, what was found, and what is known.
    """
    origins = {}
    try:
        return _resolved(draft.merged(origins), origins)
    except Wrong as e:
        said, error = _origin(e.key, origins)
        name = "" if said.startswith("--") and said != "--set" else f"{e.key}: "
        raise error(f"{said}: {name}{e.text}") from None


def _origin(key: str, origins: dict) -> tuple[str, type[NNError]]:
    """Who said a key, or a key of the table that it names; the command line first."""
    if key in origins and not any(k.startswith(f"{key}.") for k in origins):
        return origins[key]
    inside = [o for k, o in origins.items() if k == key or k.startswith(f"{key}.") or key.startswith(f"{k}.")]
    inside.sort(key=lambda o: (UsageError, DataError, NNError).index(o[1]))
    return inside[0] if inside else ("settings", UsageError)


def _resolved(tables: dict, origins: dict) -> Config:
    for section, table in tables.items():
        if section not in SECTIONS:
            raise Wrong(section, f"unknown key {section}{near(section, [*SECTIONS, *_keys()])}")
        if not isinstance(table, dict):
            raise Wrong(section, f"expected a table [{section}], found {table!r}")
    _check_numbers("", tables)
    fixed = {name: _converted(name, kind, tables.get(name, {})) for name, kind in _FIXED.items()}
    if fixed["data"].name is not None and fixed["data"].folder is not None:
        raise Wrong("data.folder", "give data.name or data.folder, not both")
    if fixed["train"].math not in MATH_MODES:
        raise Wrong("train.math", f"unknown math mode {fixed['train'].math!r}{near(fixed['train'].math, MATH_MODES)}")
    try:
        precision(fixed["train"].precision)
    except UsageError as e:
        raise Wrong("train.precision", str(e)) from None
    if fixed["train"].patience and not fixed["data"].validation:
        raise Wrong("train.patience", "it watches the validation loss: set data.validation (--validation SHARE) too, "
                                      "for example 0.1")
    fixed["train"] = _planned(fixed["train"], origins)
    optimizer, schedule = parts.complete_optimizer(tables.get("optimizer", {}), tables.get("schedule", {}),
                                                   lambda key: origins[key][1] is not NNError)
    model = parts.complete_model(tables.get("model", {}))
    augment = parts.complete_augment(tables.get("augment", {}), fixed["data"].known_as)
    average, clip = (getattr(parts, f"complete_{k}")(tables.get(k, {})) for k in ("average", "clip"))
    return Config(**fixed, model=model, optimizer=optimizer, schedule=schedule, augment=augment, average=average, clip=clip)


def _planned(train: Train, origins: dict) -> Train:
    """[train] with its loss filled in, and checked for what says how long it takes."""
    deadline, horizons = train.deadline, train.horizons
    if deadline is not None:
        try:
            deadline = duration(deadline)
        except ValueError as e:
            raise Wrong("train.deadline", str(e)) from None
        if origins.get("train.epochs", ("", NNError))[1] is not NNError:
            raise Wrong("train.deadline", "a deadline plans the number of epochs: leave train.epochs (--epochs) out, or give a "
                                          "number of epochs and no deadline")
    begins = [begin for begin, _ in horizons or ((0, 1),)]
    if begins[0] != 0 or begins != sorted(set(begins)):
        raise Wrong("train.horizons", f"expected pairs (epoch, epochs), the first from epoch 0, ascending; found {horizons}")
    return msgspec.structs.replace(train, loss=parts.complete_loss(train.loss), deadline=deadline)


def refuse_deadline(config: Config) -> None:
    """Raises UsageError for settings that only `nncore train` can follow, for it alone plans and keeps a plan."""
    if config.train.deadline is not None:
        raise UsageError("train.deadline: only nncore train plans by a deadline; give train.epochs here")


def _keys() -> list[str]:
    """Every key of the tables with fixed keys, for suggestions."""
    return [f"{name}.{key}" for name, kind in _FIXED.items() for key in kind.__struct_fields__]


def _converted(section: str, kind: type[Table], table: dict) -> Table:
    known = kind.__struct_fields__
    if bad := [k for k in table if k not in known]:
        elsewhere = [k for k in [*_keys(), "optimizer.lr"] if k.endswith(f".{bad[0]}")]
        hint = f": it is {elsewhere[0]}" if elsewhere else near(bad[0], known)
        raise Wrong(f"{section}.{bad[0]}", f"unknown key {bad[0]}{hint}")
    table = {k: None if v is False and getattr(kind(), k) is None else v for k, v in table.items()}
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as e:
        what, _, key = str(e).partition(" - at `$.")
        key = key.rstrip("`").partition(".")[0].partition("[")[0]
        what = what.replace("`", "").replace(" | null", "")
        raise Wrong(f"{section}.{key}", f"{what[:1].lower()}{what[1:]}, found {table.get(key)!r}") from None


def _check_numbers(prefix: str, value) -> None:
    for key, v in value.items() if isinstance(value, dict) else ():
        full = f"{prefix}.{key}".lstrip(".")
        for x in v if isinstance(v, list) else [v]:
            if isinstance(x, float) and not isfinite(x):
                raise Wrong(full, f"must be a finite number, found {x}")
        _check_numbers(full, v)


def read_config(path: str | os.PathLike) -> Config:
    """Read and validate the config.toml of a run. Raises DataError naming file, key and what was expected."""
    return resolve(Draft().add(read_toml(path), path))
