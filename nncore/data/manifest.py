"""Manifests: what a named data set is (files, sizes, sha256, classes, licence) and where it can be downloaded.

A manifest is NAME.toml, ours in nncore/data/manifests/, the user's in NNCORE_DATA, datasets/ or the cache folder:

    title = "Fashion-MNIST"
    source = "https://github.com/zalandoresearch/fashion-mnist"
    licence = "MIT"
    classes = ["T-shirt/top", ...]
    shape = [28, 28]                       # of one image
    mirror_safe = true                     # a mirrored image keeps its label; may be left out if nobody knows
    mirrors = ["https://.../"]             # a file's address is mirror + name + ".gz"
    [files.train_images]                   # and train_labels, test_images, test_labels
    name = "train-images-idx3-ubyte"
    count = 60000
    sha256 = "..."                         # of the uncompressed IDX file
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nncore.data.idx import idx_nbytes
from nncore.data.source import open_regular
from nncore.errors import DataError

ROLES = ("train_images", "train_labels", "test_images", "test_labels")
BUILT_IN = Path(__file__).parent / "manifests"
_MOST = 1 << 20  # bytes of a manifest


@dataclass(frozen=True)
class DataFile:
    """One IDX file: its plain name, its whole shape, and the sha256 of its uncompressed bytes."""

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def nbytes(self) -> int:
        return idx_nbytes(self.shape)


@dataclass(frozen=True)
class Manifest:
    """A named data set; `files` by role, as in ROLES."""

    name: str
    title: str
    source: str
    licence: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    mirrors: tuple[str, ...]
    files: dict[str, DataFile]
    path: Path
    mirror_safe: bool | None = None


def find_manifest(name: str, folders: list[Path]) -> Manifest | None:
    """The manifest NAME.toml: ours, else the first in `folders`, else None. Raises DataError if malformed."""
    for folder in [BUILT_IN, *folders]:
        path = folder / f"{name}.toml"
        if path.is_file():
            return read_manifest(path)
    return None


def manifest_names(folders: list[Path]) -> list[str]:
    """Names of all manifests within reach, ours first."""
    found = [path.stem for folder in [BUILT_IN, *folders] if folder.is_dir() for path in sorted(folder.glob("*.toml"))]
    return list(dict.fromkeys(found))


def read_manifest(path: Path) -> Manifest:
    """Read and validate a manifest. Raises DataError naming file, key and what was expected."""
    import msgspec

    table = _parse_toml(path)
    try:
        raw = msgspec.convert(table, _raw_type())
    except msgspec.ValidationError as e:
        raise DataError(f"{path}: {_reword(str(e))}") from None
    wrong = [key for key, entry in raw.files.items() if not re.fullmatch(r"\w[\w.+-]*", entry.name)]
    if set(raw.files) != set(ROLES):
        has = ", ".join(raw.files) or "none"
        raise DataError(f"{path}: key files: must hold exactly {', '.join(ROLES)}, has {has}")
    if wrong:
        raise DataError(f"{path}: key files.{wrong[0]}.name: a plain file name is needed, without folders")
    for mirror in raw.mirrors:
        if not re.match(r"https?://.+/$", mirror):
            raise DataError(f"{path}: key mirrors: {mirror!r} must begin with http:// or https:// and end with /")
    for kind in ("train", "test"):
        if raw.files[f"{kind}_images"].count != raw.files[f"{kind}_labels"].count:
            raise DataError(f"{path}: key files.{kind}_labels.count: differs from files.{kind}_images.count")
    files = {
        role: DataFile(f.name, (f.count, *(raw.shape if role.endswith("images") else ())), f.sha256)
        for role, f in raw.files.items()
    }
    return Manifest(path.stem, raw.title, raw.source, raw.licence, tuple(raw.classes), tuple(raw.shape),
                    tuple(raw.mirrors), files, path, raw.mirror_safe)


def _parse_toml(path: Path) -> dict:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > _MOST:
            raise DataError(f"{path}: larger than {_MOST:,} bytes: this is no manifest")
        data = file.read()
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: not UTF-8 at offset {e.start}; save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise DataError(f"{path}: not valid TOML: {e}") from None


def _reword(message: str) -> str:
    """msgspec's "... - at `$.files[...].count`" as "key files.count: ..."."""
    text, _, at = message.partition(" - at `$")
    key = at.rstrip("`").replace("[...]", "").lstrip(".")
    return f"key {key}: {text}" if key else text


@cache
def _raw_type():
    """The msgspec types, made on first use: importing nncore.data must not import msgspec."""
    from typing import Annotated

    from msgspec import Meta, defstruct

    text = Annotated[str, Meta(min_length=1)]
    size = Annotated[int, Meta(ge=1, le=1 << 31)]
    digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    strict = {"forbid_unknown_fields": True, "kw_only": True}
    entry = defstruct("Entry", [("name", text), ("count", size), ("sha256", digest)], **strict)
    fields = [
        ("title", text),
        ("source", text),
        ("licence", text),
        ("classes", Annotated[list[text], Meta(min_length=2, max_length=256)]),
        ("shape", Annotated[list[size], Meta(min_length=1, max_length=3)]),
        ("mirrors", list[str], []),
        ("mirror_safe", bool | None, None),
        ("files", dict[str, entry]),
    ]
    return defstruct("Raw", fields, **strict)
