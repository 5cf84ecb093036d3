"""nncore data: list, fetch, verify, describe and convert data sets."""

from __future__ import annotations

import click

from nncore.cli.group import LazyGroup
from nncore.cli.options import json_option, quiet_option
from nncore.cli.output import emit, table
from nncore.cli.progress import download_progress


@click.group(cls=LazyGroup)
def data() -> None:
    """Data sets by name or folder.

    \b
      nncore data list
      nncore data get fashion-mnist
      nncore data make-csv fashion-mnist ./data     the course's four CSV files

    A name is looked for as NAME/ under NNCORE_DATA, then in datasets/ of the working folder, then in the user's cache,
    then downloaded (never with NNCORE_OFFLINE=1), its sha256 checked.
    """


@data.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """Every data set known by name, and whether it is on this machine."""
    from nncore.data import names

    found = [_describe(name) for name in names()]
    if as_json:
        emit({"schema": "nncore.data.list/1", "datasets": found})
        return
    rows = [("name", "here", "classes", "title", "folder")]
    rows += [(d["name"], "yes" if d["here"] else "no", len(d["classes"]) or "", d["title"], d["folder"] or "")
             for d in found]
    print(table(rows, right=(2,)))


def _describe(name: str) -> dict:
    """What is known of a set; a folder without a manifest has a name and a place only."""
    from nncore.data import describe
    from nncore.data.catalog import places
    from nncore.errors import UsageError

    try:
        return describe(name)
    except UsageError:
        folder = next((root / name for _, root in places() if (root / name).is_dir()), None)
        if folder is None:
            raise
        return {"name": name, "title": "a folder of yours", "source": "", "licence": "", "classes": [], "shape": [],
                "mirrors": [], "files": {}, "folder": str(folder), "here": True}


@data.command("info")
@click.argument("name")
@json_option
def info_command(name: str, as_json: bool) -> None:
    """What a data set is: origin, licence, classes, shape, files. NAME may be a folder (./x): it is then read."""
    from nncore.data import load

    found = _describe(name) if not _is_folder(name) else _read(load(name))
    if as_json:
        emit({"schema": "nncore.data.info/1", **found})
        return
    shown = {**found, "classes": ", ".join(found["classes"]), "shape": " x ".join(map(str, found["shape"])),
             "files": "\n".join(found["files"].values()), "mirrors": "\n".join(found.get("mirrors", []))}
    rows = []
    for key, value in shown.items():
        if key != "here" and value:
            rows += [(key if i == 0 else "", line) for i, line in enumerate(str(value).splitlines())]
    print(table([*rows, ("here", "yes" if found["here"] else f"no; fetch it with: nncore data get {name}")]))


def _is_folder(name: str) -> bool:
    return "/" in name or name.startswith(".")


def _read(found) -> dict:
    """The description of a folder from what is in it."""
    return {"name": found.name, "title": "a folder of yours", "source": found.source, "licence": "",
            "classes": list(found.classes), "shape": list(found.train.shape[1:]), "train": len(found.train),
            "test": len(found.test) if found.test else 0, "mirrors": [], "files": {}, "folder": None, "here": True}


@data.command("get")
@click.argument("name")
@json_option
@quiet_option
def get_command(name: str, as_json: bool, quiet: bool) -> None:
    """Fetch a data set into the user's cache, sha256 verified; prints its folder."""
    from nncore.data import get

    folder = None if name == "glyphs" else str(get(name, progress=download_progress(quiet)))
    if as_json:
        emit({"schema": "nncore.data.get/1", "name": name, "folder": folder})
    else:
        print(folder or "glyphs is part of nncore: nothing to fetch")


@data.command("verify")
@click.argument("name")
@json_option
def verify_command(name: str, as_json: bool) -> int:
    """Compare the files' sha256 with the manifest; exit code 1 if one differs."""
    from nncore.data import verify

    found = verify(name)
    wrong = any(f["ok"] is False for f in found)
    if as_json:
        emit({"schema": "nncore.data.verify/1", "name": name, "files": found, "ok": not wrong})
    else:
        words = {True: "ok", False: "DIFFERS", None: "CSV, nothing to compare with"}
        print(table([(words[f["ok"]], f["file"]) for f in found]))
    return 1 if wrong else 0


@data.command("make-csv")
@click.argument("name")
@click.argument("folder", type=click.Path())
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@json_option
def make_csv_command(name: str, folder: str, force: bool, as_json: bool) -> None:
    """Write a data set as the course's four CSV files, {train,test}_{vectors,labels}.csv, into FOLDER."""
    import os

    from nncore.data import load, make_csv
    from nncore.errors import UsageError

    prefix = name.replace("-", "_") if not _is_folder(name) else "data"
    kinds = ("train_vectors", "train_labels", "test_vectors", "test_labels")
    targets = [os.path.join(folder, f"{prefix}_{kind}.csv") for kind in kinds]
    there = [path for path in targets if os.path.exists(path)]
    if there and not force:
        raise UsageError(f"{there[0]} is there already: nothing is overwritten; choose another folder or give --force")
    paths = make_csv(load(name), folder, prefix)
    if as_json:
        emit({"schema": "nncore.data.make-csv/1", "name": name, "files": list(paths)})
    else:
        print("\n".join(paths))
