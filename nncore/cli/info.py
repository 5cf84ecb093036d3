"""nncore info: what this installation is."""

from __future__ import annotations

import platform

import click

from nncore.cli.options import json_option, options
from nncore.cli.output import emit, table


@click.command()
@options(json_option)
def info(as_json: bool) -> None:
    """Version, numerics id, instruction sets, threads, compiler and its flags, and where data sets are looked for.

    \b
      nncore info
      nncore info --json
      NNCORE_ISA=avx2 nncore info
    """
    from nncore import __version__
    from nncore._ffi import build_flags, isa_levels, kernels, kernels_name, lib, thread_count
    from nncore.graph.plan import MATH_MODES

    levels = isa_levels()
    compiler, _, flags = build_flags().partition("; ")
    found = {
        "schema": "nncore.info/1", "version": __version__, "numerics_id": lib.NN_NUMERICS_ID,
        "isa": {"available": [name for name, runs in levels.items() if runs], "used": kernels_name(kernels())},
        "threads": thread_count(), "math": list(MATH_MODES), "compiler": compiler, "python": platform.python_version(),
    }
    if as_json:
        emit(found)
        return
    missing = [name for name, runs in levels.items() if not runs]
    print(table([
        ("nncore", f"{__version__} (numerics {lib.NN_NUMERICS_ID})"),
        ("isa", f"{found['isa']['used']} (available: {', '.join(found['isa']['available'])})"),
        *([("", f"this processor cannot run: {', '.join(missing)}")] if missing else []),
        ("threads", found["threads"]),
        ("math", ", ".join(MATH_MODES)),
        ("compiler", compiler),
        ("flags", flags),
        ("python", f"{found['python']} on {platform.system()} {platform.machine()}"),
        *_versions(),
        *_places(),
    ]))


def _versions() -> list[tuple[str, str]]:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("cffi", "click", "rich", "safetensors", "msgspec"):
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            found.append((name, "not installed"))
    return found


def _places() -> list[tuple[str, str]]:
    from nncore.data.catalog import places

    return [("data" if i == 0 else "", f"{path}/ ({label})") for i, (label, path) in enumerate(places())]
