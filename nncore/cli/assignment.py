"""nncore assignment: what a course asks for, listed, shown, begun and checked."""

from __future__ import annotations

import os

import click

from nncore.cli.options import json_option
from nncore.cli.output import emit, table
from nncore.errors import UsageError


@click.group()
def assignment() -> None:
    """Assignments: built in, or TOML files of your own.

    \b
      nncore assignment list
      nncore assignment new our.toml --like mnist-97
      nncore assignment validate our.toml
    """


@assignment.command("list")
@json_option
def show_all(as_json: bool) -> None:
    """The built-in assignments."""
    from nncore.assign import spec

    found = [spec.load(name) for name in spec.names()]
    if as_json:
        emit({"schema": "nncore.assignments/1", "assignments": [
            {"name": a.name, "title": a.title, "threshold": a.pass_.threshold, "wall": a.limits.wall} for a in found]})
    else:
        print(table([(a.name, a.title) for a in found]))


@assignment.command()
@click.argument("name")
def show(name: str) -> None:
    """The text of an assignment; built-in ones are read as files of your own would be."""
    from nncore.assign import spec

    if "/" in name or name.endswith(".toml"):
        spec.load(name)
        with open(name, encoding="utf-8") as file:
            print(file.read(), end="")
    else:
        print(spec.source(name), end="")


@assignment.command()
@click.argument("file", type=click.Path())
@click.option("--like", default="fashion-mnist-88", show_default=True, metavar="NAME", help="The assignment to begin with.")
def new(file: str, like: str) -> None:
    """Write an assignment to change: a copy of a built-in one."""
    from nncore.assign import spec
    from nncore.files import write_atomic

    text = spec.source(like)
    if os.path.lexists(file):
        raise UsageError(f"{file}: is already there; choose another name or remove it")
    write_atomic(file, text.encode())


@assignment.command()
@click.argument("file", type=click.Path())
def validate(file: str) -> None:
    """Check a file; exit code 3 and the line and key of the first fault, if there is one."""
    from nncore.assign import spec

    path = file if "/" in file or file.endswith(".toml") else f"./{file}"
    found = spec.load(path)
    print(f"{file}: {found.name}: {found.title}")
