"""The parts of a training by name: from tables of settings to models, losses, optimizers, schedules, penalties.

A table is checked against the signature of what it makes: `completed` converts its values by the annotations, adds the
defaults, and names the key that is wrong.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from difflib import get_close_matches

import msgspec

from nncore.data.augment import Augment, presets, split
from nncore.errors import UsageError
from nncore.nn.losses import LOSSES
from nncore.optim.averages import EMA, SWA
from nncore.optim.clipping import ClipNorm, ClipValue
from nncore.optim.optimizers import OPTIMIZERS, Optimizer
from nncore.optim.regularizers import L1, L2, ElasticNet
from nncore.optim.schedules import SCHEDULES, Schedule
from nncore.train.model import Model
from nncore.train.models import MODELS, make

# What the settings call otherwise than the constructors.
_SHOWN = {"rate": "lr"}
# The first argument of a schedule, if it is one of these, is the value that it shapes: optimizer.lr for the rate.
_LEVELS = ("value", "start", "peak")
_CLIPS = {"norm": ClipNorm, "value": ClipValue}
_GIVEN = ("x", "classes")


class Wrong(Exception):
    """A setting that cannot be: its dotted key, and why. `config.resolve` adds where it came from."""

    def __init__(self, key: str, text: str):
        super().__init__(text)
        self.key, self.text = key, text


def near(name: str, known) -> str:
    """": did you mean x? known: x, y"."""
    known = list(known)
    close = get_close_matches(name.rpartition(".")[2].lower(), known, 2, 0.5)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    return f": {guess}known: {', '.join(known) or 'none'}"


def plain(name: str) -> str:
    """A name as the tables know it: CrossEntropy, cross-entropy and cross_entropy are one."""
    return "".join(c for c in name.lower() if c not in "-_ ")


def named(key: str, name, table: dict[str, Callable]) -> tuple[str, Callable]:
    """(name as `table` spells it, what it names). Raises Wrong."""
    if not isinstance(name, str):
        raise Wrong(key, f"expected a name, got {name!r}")
    for known, found in table.items():
        if plain(known) == plain(name):
            return known, found
    raise Wrong(key, f"unknown {key.split('.')[-2]} {name!r}{near(name, table)}")


# ---- signatures ------------------------------------------------------------------------------------------------------


def options(function: Callable, skip=_GIVEN) -> dict[str, tuple[object, object]]:
    """{key: (type or None, default or `inspect.Parameter.empty`)} of a builder's or constructor's arguments."""
    try:
        hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except (NameError, TypeError):
        hints = {}
    found = {}
    for p in inspect.signature(function).parameters.values():
        if p.name not in skip and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            guess = type(p.default) if isinstance(p.default, (bool, int, float, str)) else None
            found[_SHOWN.get(p.name, p.name)] = hints.get(p.name, guess), p.default
    return found


def completed(section: str, function: Callable, table: dict, skip=_GIVEN) -> dict:
    """`table` with every value converted to its argument's type and every default filled in. Raises Wrong."""
    known = options(function, skip)
    if bad := [k for k in table if k not in known]:
        raise Wrong(f"{section}.{bad[0]}", f"unknown key {bad[0]}{near(bad[0], known)}")
    filled = {}
    for name, (kind, default) in known.items():
        if name in table:
            filled[name] = _converted(f"{section}.{name}", table[name], kind)
        elif default is inspect.Parameter.empty:
            raise Wrong(f"{section}.{name}", "is missing: it has no default")
        elif isinstance(default, (bool, int, float, str, tuple, list)):
            filled[name] = default
    return filled


def _converted(key: str, value, kind):
    try:
        return value if kind is None else msgspec.convert(value, kind)
    except msgspec.ValidationError as e:
        raise Wrong(key, f"{_said(e)}, found {value!r}") from None
    except TypeError:  # a type of ours: its constructor will judge
        return value


def _said(e: msgspec.ValidationError) -> str:
    text = str(e).partition(" - at `")[0].replace("`", "")
    return f"{text[:1].lower()}{text[1:]}"


def made(section: str, function: Callable, *args, **given):
    """function(...), its complaint about the arguments being one about the section."""
    try:
        return function(*args, **given)
    except UsageError as e:
        raise Wrong(section, str(e)) from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as e:
        raise Wrong(section, f"cannot be made of {given}: {e}") from None


# ---- what the tables make --------------------------------------------------------------------------------------------


def complete_model(table: dict) -> dict:
    """[model] with all options of its builder. Raises Wrong."""
    name, builder = named("model.name", table.get("name", "mlp"), MODELS)
    filled = completed("model", builder, _rest(table))
    made("model", make, name, **filled)
    return {"name": name, **filled}


def make_model(table: dict, classes: int, seed: int, standardise: str | None = None, math: str = "f32",
               elementary: str = "fast") -> Model:
    """The network of a complete [model]."""
    return make(table["name"], classes, seed, standardise=standardise or "auto", math=math, elementary=elementary,
                **_rest(table))


def complete_loss(table: dict) -> dict:
    """[train] loss with all its arguments; {} for the loss that the data suggests. Raises Wrong."""
    if not table:
        return {}
    if "name" not in table:
        table = {"name": "CrossEntropy", **table}
    name, found = named("train.loss.name", table["name"], LOSSES)
    filled = completed("train.loss", found, _rest(table))
    made("train.loss", found, **filled)
    return {"name": name, **filled}


def make_loss(table: dict):
    """The loss of a complete table, None for the default."""
    return LOSSES[table["name"]](**_rest(table)) if table else None


def level_of(name) -> str | None:
    """The argument of a schedule of this name that is the value it shapes, if it has one."""
    found = [c for n, c in SCHEDULES.items() if isinstance(name, str) and plain(n) == plain(name)]
    return _level(found[0]) if found else None


def _level(cls: type[Schedule]) -> str | None:
    first = next(iter(inspect.signature(cls).parameters))
    return first if first in _LEVELS else None


def complete_schedule(section: str, table: dict) -> dict:
    """A table of a schedule with all its arguments but the value that it shapes. Raises Wrong."""
    name, cls = named(f"{section}.name", table.get("name", "constant"), SCHEDULES)
    level = _level(cls)
    if level and level in table:
        shaped = "optimizer.lr" if section == "schedule" else f"optimizer.{section.rpartition('.')[2]}"
        raise Wrong(f"{section}.{level}", f"the {level} of a schedule is {shaped}: set that")
    filled = completed(section, cls, _rest(table), (level,))
    made(section, cls, *([1.0] if level else []), **filled)
    return {"name": name, **filled}


def complete_optimizer(optimizer: dict, schedule: dict, is_users: Callable[[str], bool]) -> tuple[dict, dict]:
    """[optimizer] and [schedule] with all arguments. [schedule] shapes the rate, its sub-tables other hyper-parameters of
    the optimizer, as [schedule.momentum]. `is_users` tells a key that the user wrote from one of the recipe. Raises Wrong.
    """
    name, cls = named("optimizer.name", optimizer.get("name", "adam"), OPTIMIZERS)
    subtables = {k: v for k, v in schedule.items() if isinstance(v, dict)}
    shaped = {"": complete_schedule("schedule", {k: v for k, v in schedule.items() if k not in subtables})}
    given = _rest(optimizer)
    if "rate" in given:
        raise Wrong("optimizer.rate", "the learning rate is called lr here")
    for hyper, table in subtables.items():
        if hyper not in options(cls) or hyper == "lr":
            raise Wrong(f"schedule.{hyper}", f"{name} has no {hyper} that could follow a schedule")
        shaped[hyper] = complete_schedule(f"schedule.{hyper}", table)
    free = []  # hyper-parameters whose schedules state the values themselves
    for hyper, table in shaped.items():
        key = hyper or "lr"
        if _level(SCHEDULES[table["name"]]) is None:
            if key in given and is_users(f"optimizer.{key}"):
                raise Wrong(f"optimizer.{key}", f"the {table['name']} schedule states the values itself; leave {key} out")
            given[key] = 1.0
            free.append(key)
    if "lr" not in given and options(cls)["lr"][1] is inspect.Parameter.empty:
        raise Wrong("optimizer.lr", f"{name} has no default rate: set optimizer.lr (--lr)")
    filled = {"name": name, **completed("optimizer", cls, given)}
    for key in free:
        del filled[key]
    rate = {**shaped.pop(""), **shaped}
    made("optimizer", make_optimizer, filled, rate)
    return filled, rate


def make_optimizer(optimizer: dict, schedule: dict) -> Optimizer:
    """The optimizer of complete tables, with its schedules. Raises UsageError."""
    cls = OPTIMIZERS[optimizer["name"]]
    arguments = {{"lr": "rate"}.get(k, k): v for k, v in _rest(optimizer).items()}
    shaped = {k: v for k, v in schedule.items() if isinstance(v, dict)}
    shaped["rate"] = {k: v for k, v in schedule.items() if k not in shaped}
    for hyper, table in shaped.items():
        kind = SCHEDULES[table["name"]]
        level = () if _level(kind) is None else (arguments[hyper],)
        arguments[hyper] = kind(*level, **_rest(table))
    return cls(**arguments)


def make_penalty(l1: float, l2: float, biases: bool):
    """L1, L2, both, or None."""
    if l1 and l2:
        return ElasticNet(l1, l2, biases)
    return L1(l1, biases) if l1 else L2(l2, biases) if l2 else None


def complete_augment(table: dict, dataset: str = "") -> dict:
    """[augment] with all arguments of nncore.data.augment.Augment; a preset, changed by the keys beside it, is written out:
    "default" is the data set's. {} for nothing to do. Raises Wrong.
    """
    if not table:
        return {}
    preset = table.get("preset")
    if preset is not None:
        known = presets(dataset)
        found = [v for k, v in known.items() if plain(k) == plain(str(preset))]
        if not found:
            raise Wrong("augment.preset", f"unknown preset {preset!r}{near(str(preset), known)}")
        table = {**found[0], **_rest(table, "preset")}
    filled = completed("augment", Augment, table)
    return filled if made("augment", Augment, **filled) else {}


def augment_text(text: str) -> dict:
    """The table that a text like "default,rotate=5" or "shift=2,flip" stands for. Raises Wrong."""
    preset, changes = made("augment", split, text)
    return {**({"preset": preset} if preset else {}), **{k: list(v) if isinstance(v, tuple) else v for k, v in changes.items()}}


def make_augment(table: dict):
    """The augmentation of a complete table, None for none."""
    return Augment(**table) if table else None


def complete_average(table: dict) -> dict:
    """[average] with all arguments of its kind, "ema" or "swa". Raises Wrong."""
    if not table:
        return {}
    cls = _average(table.get("kind", "ema"))
    filled = completed("average", cls, _rest(table, "kind"))
    made("average", cls, **filled)
    return {"kind": cls.__name__.lower(), **filled}


def make_average(table: dict):
    """The average of a complete table, None for none."""
    return _average(table["kind"])(**_rest(table, "kind")) if table else None


def _average(kind) -> Callable:
    return named("average.kind", kind, {"EMA": EMA, "SWA": SWA})[1]


def complete_clip(table: dict) -> dict:
    """[clip]: norm, of all gradients together, or value, of each element. Raises Wrong."""
    if bad := [k for k in table if k not in _CLIPS]:
        raise Wrong(f"clip.{bad[0]}", f"unknown key {bad[0]}{near(bad[0], _CLIPS)}")
    if len(table) > 1:
        raise Wrong("clip.value", "give clip.norm or clip.value, not both")
    for key, value in table.items():
        table = {key: _converted(f"clip.{key}", value, float)}
        made("clip", _CLIPS[key], table[key])
    return table


def make_clip(table: dict):
    """The clipping of a complete table, None for none."""
    return next((_CLIPS[key](value) for key, value in table.items()), None)


def _rest(table: dict, name: str = "name") -> dict:
    return {k: v for k, v in table.items() if k != name}
