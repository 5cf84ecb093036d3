"""Settings as text: TOML read from a file or the command line, and written again."""

from __future__ import annotations

import json
import os
import sys

from nncore.errors import DataError, UsageError
from nncore.files import reading

MAX_NBYTES = 1 << 16


def read_toml(path: str | os.PathLike) -> dict:
    """The tables of a settings file. Raises DataError naming the file, and the line if it is not TOML."""
    if os.path.isdir(path):
        raise DataError(f"{path}: a folder, not a settings file: {_folder_hint(path)}")
    with reading(path), open(path, "rb") as file:
        text = file.read(MAX_NBYTES + 1)
    if len(text) > MAX_NBYTES:
        raise DataError(f"{path}: larger than {MAX_NBYTES // 1024} kB: not a settings file")
    try:
        return _toml().loads(text.decode())
    except (ValueError, RecursionError) as e:
        raise DataError(f"{path}: not TOML: {e}") from None


def _folder_hint(path) -> str:
    if os.path.exists(os.path.join(path, "config.toml")):
        return f"nncore train {path}/config.toml repeats this run, nncore train --resume {path} goes on with it"
    return "give a file like examples/run.toml"


def _toml():
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib


def parse_value(text: str):
    """A value in TOML syntax (3, 0.1, true, "text", [1, 2], {a = 1}); a bare word is text. Raises UsageError."""
    try:
        return _toml().loads(f"v = {text}\n")["v"] if "\n" not in text and len(text) < MAX_NBYTES else _not_toml(text)
    except (ValueError, RecursionError):
        if text and text[0].isalpha() and all(c.isalnum() or c in "_-./" for c in text):
            return text
        return _not_toml(text)


def _not_toml(text: str):
    raise UsageError(f"{text[:80]!r} is not a TOML value: 3, 0.1, true, \"text\", [1, 2] or {{a = 1}}")


def to_toml(tables: dict) -> str:
    """Tables as TOML text, scalars of a table before its sub-tables."""
    lines: list[str] = []

    def write(prefix: str, table: dict) -> None:
        scalars = {k: v for k, v in table.items() if not isinstance(v, dict)}
        if prefix and (scalars or not table):
            lines.append(f"\n[{prefix}]")
        lines.extend(f"{_key(k)} = {_value(v)}" for k, v in scalars.items())
        for k, v in table.items():
            if isinstance(v, dict) and v:
                write(f"{prefix}.{_key(k)}" if prefix else _key(k), v)

    write("", tables)
    return "\n".join(lines).lstrip("\n") + "\n"


def _key(key: str) -> str:
    return key if key and all(c.isascii() and (c.isalnum() or c in "_-") for c in key) else _value(key)


def _value(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    return f"[{', '.join(map(_value, value))}]" if isinstance(value, (tuple, list)) else repr(value)
