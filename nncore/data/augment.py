"""Augmentation: what is done to the images of a training step, each time anew, so that a network never sees one twice.

    model.fit(data.train, augment=Augment(shift=2, rotate=10, elastic=(36, 6)))
    model.fit(data.train, augment=Augment.parse("affine,mixup=0.2"))

Settings only: the work is done in C while the step runs (csrc/ops/augment.c, mix.c). What a sample meets depends on the seed, the
epoch and its place in the epoch alone, so neither threads nor an interruption change a bit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import isfinite

from nncore.errors import UsageError

FILLS = ("zero", "mean", "noise")
_DIGITS = {"shift": 1, "rotate": 7.5, "scale": 0.1, "shear": 5.0, "elastic": (36.0, 6.0)}
_DEFAULTS = {  # by name of the data set
    "mnist": _DIGITS, "glyphs": _DIGITS, "emnist": _DIGITS, "kmnist": _DIGITS, "fashion-mnist": {"flip": True, "crop": 2},
    "cifar10": {"flip": True, "crop": 4}, "cifar-10": {"flip": True, "crop": 4}, "cifar100": {"flip": True, "crop": 4},
}


@dataclass(frozen=True)
class Augment:
    """What may happen to a training sample. Every transformation draws its own random numbers; 0, None or False leaves it out.

    Geometry, composed into one bilinear resampling, black (0) where the image ends; shifts, crops and flips alone copy pixels:
    shift      whole pixels of [-shift, shift] in both directions
    one_pixel  instead: by one pixel up, down, left, right, or not at all (the lectures')
    crop       padding by so many zeros, then a random cut of the old size (He et al. 2016, section 4.2): a further shift
    flip       left and right exchanged for half of the samples. Not for digits or letters
    rotate, shear   angles of [-a, a] degrees; scale  factors of [1 - scale, 1 + scale] for height and width each
    elastic    (alpha, sigma) of an elastic distortion (Simard, Steinkraus, Platt 2003; Ciresan et al. 2010: 36 and 6)

    Values, in this order:
    erase      probability that a rectangle is erased (Zhong et al. 2020), its share of the image within erase_area, its aspect
               ratio within [erase_aspect, 1 / erase_aspect], log-uniform; fill "zero", "noise", or "mean": what
               standardisation subtracts
    noise      deviation of Gaussian noise, 1 being the whole range of a byte (255), or 1 for samples of floats. Not clipped
    mixup      alpha: a sample and its label mixed with another of the batch, shares by Beta(alpha, alpha), the larger one
               its own (Zhang et al. 2018)
    cutmix     alpha: a rectangle of another sample pasted in, labels mixed by area (Yun et al. 2019); not with mixup

    Raises UsageError for values that make no sense.
    """

    shift: int = 0
    one_pixel: bool = False
    crop: int = 0
    flip: bool = False
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic: tuple[float, float] | None = None
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_aspect: float = 0.3
    fill: str = "mean"
    noise: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        for name in ("shift", "crop"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 4096:
                raise UsageError(f"augment: {name} is a whole number of pixels, 0 to 4096, got {value!r}")
        for name in ("one_pixel", "flip"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"augment: {name} is True or False, got {getattr(self, name)!r}")
        for name, most, what in (("rotate", 180, "degrees"), ("shear", 60, "degrees"), ("scale", 0.9, "share"),
                                 ("erase", 1, "probability"), ("noise", 10, "deviation"), ("mixup", 1000, "alpha"),
                                 ("cutmix", 1000, "alpha")):
            object.__setattr__(self, name, _number(name, getattr(self, name), 0, most, what))
        object.__setattr__(self, "erase_aspect", _number("erase_aspect", self.erase_aspect, 0.01, 1, "ratio"))
        self._pair("elastic", ((1e-3, 1e4, "alpha, in pixels"), (0.1, 64, "sigma, in pixels")))
        self._pair("erase_area", ((1e-4, 1, "share"), (1e-4, 1, "share")))
        if self.erase_area is None or self.erase_area[0] > self.erase_area[1]:
            raise UsageError(f"augment: erase_area is a smallest and a largest share, got {self.erase_area!r}")
        if self.fill not in FILLS:
            raise UsageError(f"augment: fill is one of {', '.join(FILLS)}, got {self.fill!r}")
        if self.one_pixel and self.shift:
            raise UsageError("augment: one_pixel is a shift of its own kind; leave out shift or one_pixel")
        if self.mixup and self.cutmix:
            raise UsageError("augment: mixup and cutmix both mix labels; leave one out")

    def _pair(self, name: str, limits: tuple) -> None:
        value = getattr(self, name)
        if value is None:
            return
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise UsageError(f"augment: {name} is a pair of numbers, got {value!r}")
        pair = tuple(_number(name, v, low, high, what) for v, (low, high, what) in zip(value, limits, strict=True))
        object.__setattr__(self, name, pair)

    @property
    def moves(self) -> bool:
        """Whether pixels change their places: such samples must be images."""
        return bool(self.shift or self.one_pixel or self.crop or self.flip or self.resamples)

    @property
    def resamples(self) -> bool:
        """Whether values between pixels are needed."""
        return bool(self.rotate or self.scale or self.shear or self.elastic)

    @property
    def mixes(self) -> bool:
        """Whether labels are mixed: the loss must take soft targets."""
        return bool(self.mixup or self.cutmix)

    def __bool__(self) -> bool:
        """Whether it does anything."""
        return bool(self.moves or self.erase or self.noise or self.mixes)

    # ---- names and text --------------------------------------------------------------------------------------------

    @classmethod
    def default(cls, name: str) -> Augment:
        """Sensible settings for a data set: digits are moved, turned and bent a little and never mirrored, clothes and
        photographs mirrored and shifted. Any other set gets one-pixel shifts, which hurt nothing.

        >>> Augment.default("fashion-mnist")
        Augment(crop=2, flip=True)
        """
        return cls(**_DEFAULTS.get(name.lower(), {"one_pixel": True}))

    @classmethod
    def parse(cls, text: str, dataset: str = "") -> Augment:
        """Settings from a command line or a file: "shift=2,rotate=10,elastic=36:6,flip", or a name first ("affine",
        "default" for the data set's), with changes after it. Raises UsageError naming the item that is wrong.

        >>> Augment.parse("flip-crop,crop=4,mixup=0.2")
        Augment(crop=4, flip=True, mixup=0.2)
        """
        preset, changes = split(text)
        return cls(**{**(presets(dataset)[preset] if preset else {}), **changes})

    def __str__(self) -> str:
        """The text that `parse` reads back: "none" for nothing."""
        return ",".join(f"{k}={_text(v)}" for k, v in self.to_dict().items()) or "none"

    def __repr__(self) -> str:
        return f"Augment({', '.join(f'{k}={v!r}' for k, v in self.to_dict().items())})"

    def to_dict(self) -> dict:
        """What differs from doing nothing."""
        nothing = {f.name: f.default for f in fields(self)}
        return {k: v for k, v in asdict(self).items() if v != nothing[k]}

    @classmethod
    def from_dict(cls, settings: dict) -> Augment:
        """The inverse of `to_dict`. Raises UsageError for unknown settings."""
        if unknown := set(settings) - set(_TYPES):
            raise UsageError(f"augment: unknown setting {min(unknown)!r}; there are {', '.join(_TYPES)}")
        return cls(**settings)

    def caution(self, mirror_safe: bool | None) -> str | None:
        """What the user should know before training on data whose manifest says `mirror_safe`; None if nothing."""
        if self.flip and mirror_safe is False:
            return ("augment: flip mirrors images whose labels a mirror destroys (a mirrored 2 is no 2, this data set says); "
                    "leave flip out")
        return None


def _number(name: str, value, low: float, high: float, what: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    if not is_number or not low <= value <= high:
        raise UsageError(f"augment: {name} ({what}) must lie between {low:g} and {high:g}, got {value!r}")
    return float(value)


_TYPES = {f.name: f.type for f in fields(Augment)}
NAMED = {
    "none": Augment(), "one-pixel": Augment(one_pixel=True), "shift": Augment(shift=2),
    "affine": Augment(shift=1, rotate=10, scale=0.1, shear=5),
    "elastic": Augment(rotate=7.5, scale=0.15, shear=7.5, elastic=(36, 6)), "flip-crop": Augment(flip=True, crop=2),
}


def presets(dataset: str) -> dict[str, dict]:
    """Settings by name; "default" are those of the data set."""
    return {**{name: found.to_dict() for name, found in NAMED.items()}, "default": Augment.default(dataset).to_dict()}


def split(text: str) -> tuple[str | None, dict]:
    """(name or None, changes) of a text as `Augment.parse` reads it. Raises UsageError naming the item that is wrong."""
    preset, found = None, {}
    for place, item in enumerate(filter(None, (part.strip() for part in text.split(",")))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if place == 0 and not equals and key in (*NAMED, "default"):
            preset = key
        elif key not in _TYPES:
            known = f"names: {', '.join((*NAMED, 'default'))}; " if place == 0 and not equals else ""
            raise UsageError(f"augment: unknown {item!r}; {known}settings: {', '.join(_TYPES)}")
        else:
            found[key] = _value(key, value if equals else "true", item)
    return preset, found


def _value(key: str, text: str, item: str):
    """A setting's value from text, by its declared type."""
    kind = _TYPES[key]
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind == "str":
            return text
        if kind.startswith("tuple"):
            return tuple(float(part) for part in text.split(":"))
        return int(text) if kind == "int" else float(text)
    except (ValueError, KeyError):
        what = {"bool": "true or false", "int": "a whole number", "float": "a number"}.get(kind, "two numbers like 36:6")
        raise UsageError(f"augment: {item!r}: {key} takes {what}") from None


def _text(value) -> str:
    if isinstance(value, tuple):
        return ":".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value).lower()
