"""Data sets by name or folder: where they are looked for, how a folder is read, what to do when there is none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nncore.data.csv import read_csv
from nncore.data.dataset import Dataset, make_dataset
from nncore.data.download import TIMEOUT, Progress, Unavailable, download, is_offline
from nncore.data.idx import idx_chunks, read_idx
from nncore.data.manifest import ROLES, Manifest, find_manifest, manifest_names
from nncore.data.source import parallel, reshaped
from nncore.errors import DataError, LimitError, UsageError
from nncore.tensor import Tensor

EMBEDDED = "glyphs"
_PREFIXES = {"train": ("train",), "test": ("t10k", "test")}
_STEMS = {"images": ("images-idx3-ubyte", "images.idx3-ubyte"), "labels": ("labels-idx1-ubyte", "labels.idx1-ubyte")}
_CSV_SUFFIX = {role: f"_{role.replace('images', 'vectors')}.csv" for role in ROLES}


# ---- places ----------------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where downloads go: XDG_CACHE_HOME/nncore/datasets, by default in ~/.cache, on macOS in ~/Library/Caches."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "nncore" / "datasets"
    home = Path(os.path.expanduser("~"))
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "nncore" / "datasets"


def places() -> list[tuple[str, Path]]:
    """(what it is called, folder) in the order of search. Raises UsageError if NNCORE_DATA is set to no folder."""
    found = []
    data = os.environ.get("NNCORE_DATA")
    if data:
        if not os.path.isdir(data):
            raise UsageError(f"NNCORE_DATA={data} is not a folder; correct it or unset it")
        found.append(("NNCORE_DATA", Path(data)))
    return [*found, ("the working folder", Path("datasets")), ("the cache", cache_folder())]


def _folders() -> list[Path]:
    return [folder for _, folder in places()]


def names() -> list[str]:
    """Every data set that `load` knows by name: manifests, folders in the places of search, the embedded one."""
    local = [p.name for folder in _folders() if folder.is_dir() for p in sorted(folder.iterdir())
             if p.is_dir() and find_files(p)]
    return list(dict.fromkeys([*manifest_names(_folders()), *local, EMBEDDED]))


def known_as(asked: str | os.PathLike) -> str:
    """Which data set a name or folder stands for, where only its habits are asked for: the folder's own name, unless the
    course's files in it are called otherwise.
    """
    folder = Path(os.path.expanduser(asked))
    if not folder.is_dir():
        return os.fspath(asked)
    known = {n.replace("-", "_"): n for n in (*manifest_names([]), EMBEDDED)}
    name = folder.resolve().name
    return name if name in known.values() else next(
        (known[stem] for path in sorted(folder.glob(f"*{_CSV_SUFFIX['train_images']}"))
         if (stem := path.name.removesuffix(_CSV_SUFFIX["train_images"])) in known), name)


# ---- load ------------------------------------------------------------------------------------------------------------


def load(name: str | os.PathLike, fallback: str | None = None, progress: Progress | None = None,
         timeout: float = TIMEOUT, online: bool = True) -> Dataset:
    """A data set by name ("fashion-mnist", "mnist", "glyphs", a user's manifest) or by folder ("./x").

    A name is looked for as NAME/ under NNCORE_DATA, datasets/, the cache, then downloaded unless NNCORE_OFFLINE=1 or
    online=False. A folder holds the four IDX files, gzipped or not, or the course's four CSV files. fallback="glyphs" gives the
    embedded set, with a `note` that says so, where a download would have been needed and failed.
    Raises UsageError for an unknown name (with suggestions), DataError for malformed or missing files, LimitError.

    >>> len(load("glyphs").test)
    2000
    """
    text = os.fspath(name)
    if not text or "\0" in text:
        raise UsageError(f"data set {text!r}: give a name or a folder; known: {', '.join(names())}")
    if text == EMBEDDED:
        return _glyphs("")
    plain = not _is_path(text)
    manifest = find_manifest(text, _folders()) if plain else None
    if manifest is None:
        folder = _local_folder(text) if plain else Path(os.path.expanduser(text))
        if folder is None:
            raise _unknown(text)
        return load_folder(folder)
    try:
        folder, origin = locate(manifest, progress, timeout, online)
    except (Unavailable, LimitError) as e:
        if fallback != EMBEDDED:
            raise
        reason = e.reason if isinstance(e, Unavailable) else str(e)
        return _glyphs(f"{text} is not on this machine and could not be downloaded ({reason}): using the embedded "
                       f"glyphs instead; results say nothing about {text}. To use it, place its files in "
                       f"datasets/{text}/.")
    return load_folder(folder, manifest, origin)


def locate(manifest: Manifest, progress: Progress | None = None, timeout: float = TIMEOUT,
           online: bool = True) -> tuple[Path, str]:
    """(folder, how it came to be) of a named data set, downloaded to the cache if need be and allowed.

    Raises DataError if a folder outside the cache holds some of the files only, Unavailable, LimitError.
    """
    looked = places()
    for label, root in looked:
        folder = root / manifest.name
        found = find_files(folder, manifest)
        if set(found) == set(ROLES):
            return folder, label
        if found and root != cache_folder():
            raise DataError(_incomplete(folder, found, manifest))
    target = cache_folder() / manifest.name
    try:
        if is_offline() or not online:
            raise Unavailable("NNCORE_OFFLINE is set: nothing is downloaded", "NNCORE_OFFLINE is set")
        mirror = download(manifest, target, progress, timeout)
    except Unavailable as e:
        wanted = ", ".join(f"{f.name}.gz" for f in manifest.files.values())
        searched = ", ".join(str(root / manifest.name) for _, root in looked)
        text = (f"{manifest.name} is not on this machine (looked in {searched}) and could not be downloaded:\n{e}\n"
                f"Place {wanted} (gzipped or not) by hand in {Path('datasets') / manifest.name}/ or in {target}/.")
        raise Unavailable(text, e.reason) from None
    return target, f"downloaded from {mirror}, sha256 verified"


def load_folder(folder: str | os.PathLike, manifest: Manifest | None = None, origin: str = "") -> Dataset:
    """The data set in a folder: four IDX files or the course's CSV files; `manifest` fixes shapes and classes.

    Without one, classes are 0 up to the largest label, 784 CSV values are 28 x 28 images, and files called
    fashion_mnist_* or mnist_* have ten classes. Raises DataError naming what is missing or wrong.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder; give the folder that holds the files" if folder.exists() else
                        f"{folder}: no such folder")
    found = find_files(folder, manifest)
    if set(found) != set(ROLES):
        raise DataError(_incomplete(folder, found, manifest))
    is_csv = found["train_images"].suffix == ".csv"
    known = manifest or (_course(found["train_images"]) if is_csv else None)
    classes = known.classes if known else None
    read = _read_csv if is_csv else _read_idx
    # The training images are the longest job and run in this thread.
    tensors = dict(zip(ROLES, parallel([lambda r=r: read(r, found[r], manifest, classes) for r in ROLES]), strict=True))
    parts = {part: (tensors[f"{part}_images"], tensors[f"{part}_labels"]) for part in ("train", "test")}
    kind = "CSV" if is_csv else "gzipped IDX" if found["train_images"].suffix == ".gz" else "IDX"
    name = manifest.name if manifest else folder.resolve().name
    source = f"{kind} files in {folder}" + (f" ({origin})" if origin else "")
    for part in parts:
        images, labels = parts[part]
        if len(images) != len(labels):
            raise DataError(f"{found[f'{part}_labels']}: {len(labels):,} labels for the {len(images):,} images of "
                            f"{found[f'{part}_images'].name}; line or entry i labels image i")
    return make_dataset(name, parts, classes, source, where={p: str(found[f"{p}_labels"]) for p in parts},
                        mirror_safe=known.mirror_safe if known else None)


def find_files(folder: Path, manifest: Manifest | None = None) -> dict[str, Path]:
    """The files of a folder by role, as far as they exist: IDX first, plain before gzipped, else CSV."""
    idx = {}
    for role in ROLES:
        stems = [manifest.files[role].name, *_stems(role)] if manifest else _stems(role)
        paths = [folder / (stem + suffix) for stem in stems for suffix in ("", ".gz")]
        if path := next((p for p in paths if p.is_file()), None):
            idx[role] = path
    if len(idx) == len(ROLES):
        return idx
    csv = {}
    for role in ROLES:
        matches = sorted(folder.glob(f"*{_CSV_SUFFIX[role]}"))
        if len(matches) > 1:
            raise DataError(f"{folder}: both {matches[0].name} and {matches[1].name}; keep one set of files a folder")
        if matches:
            csv[role] = matches[0]
    return csv if len(csv) > len(idx) else idx


# ---- details ---------------------------------------------------------------------------------------------------------


def _stems(role: str) -> list[str]:
    """The usual names of an IDX file, the most usual first."""
    part, kind = role.split("_")
    return [f"{p}-{s}" for p in _PREFIXES[part] for s in _STEMS[kind]]


def _is_path(text: str) -> bool:
    return "/" in text or os.sep in text or text.startswith((".", "~"))


def _local_folder(name: str) -> Path | None:
    """A folder that no manifest describes: NAME under a place of search, or NAME itself."""
    candidates = [folder / name for folder in _folders()]
    found = next((p for p in candidates if p.is_dir() and find_files(p)), None)
    return found or (Path(name) if os.path.isdir(name) else None)


def _unknown(name: str) -> UsageError:
    from difflib import get_close_matches

    known = names()
    close = get_close_matches(name.lower(), known, 3, 0.5)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    return UsageError(f"unknown data set {name!r}: {guess}known: {', '.join(known)}; a folder is written ./{name}")


def _glyphs(note: str) -> Dataset:
    from dataclasses import replace

    from nncore.data.glyphs import glyphs

    return replace(glyphs(), note=note)


def _incomplete(folder: Path, found: dict[str, Path], manifest: Manifest | None) -> str:
    if any(path.suffix == ".csv" for path in found.values()):
        prefix = next(str(p.name).removesuffix(_CSV_SUFFIX[r]) for r, p in found.items())
        missing = [prefix + _CSV_SUFFIX[r] for r in ROLES if r not in found]
    else:
        missing = [f"{manifest.files[r].name if manifest else _stems(r)[0]}[.gz]" for r in ROLES if r not in found]
    if not found:
        return (f"{folder}: holds no data: expected {', '.join(missing)}, or the four files "
                "fashion_mnist_{train,test}_{vectors,labels}.csv")
    have = ", ".join(path.name for path in found.values())
    return f"{folder}: holds {have} but not {', '.join(missing)}; place {'it' if len(missing) == 1 else 'them'} there"


def _course(vectors: Path) -> Manifest | None:
    """What we know of the course's files by their name; None for others, whose classes are inferred."""
    prefix = vectors.name.removesuffix(_CSV_SUFFIX["train_images"])
    if prefix not in ("fashion_mnist", "mnist"):
        return None
    return find_manifest(prefix.replace("_", "-"), [])


def _read_idx(role: str, path: Path, manifest: Manifest | None, classes) -> Tensor:
    found = read_idx(path, manifest.files[role].shape if manifest else None)
    if role.endswith("labels") and len(found.shape) != 1:
        raise DataError(f"{path}: {len(found.shape)} dimensions where labels have one; "
                        "are images and labels exchanged?")
    if role.endswith("images") and len(found.shape) < 2:
        raise DataError(f"{path}: one dimension where images have two or more; are images and labels exchanged?")
    return found


def _read_csv(role: str, path: Path, manifest: Manifest | None, classes) -> Tensor:
    if role.endswith("labels"):
        found = read_csv(path, 1, len(classes) - 1 if classes else 255, "label")
        return reshaped(found, (len(found),))
    course = classes is not None and manifest is None
    shape = manifest.shape if manifest else (28, 28) if course else None
    values = 1
    for n in shape or ():
        values *= n
    found = read_csv(path, values if shape else None)
    if shape is None:
        shape = (28, 28) if found.shape[1] == 784 else (found.shape[1],)
    return reshaped(found, (len(found), *shape))


# ---- for `nncore data` -----------------------------------------------------------------------------------------------


def get(name: str, progress: Progress | None = None, timeout: float = TIMEOUT) -> Path:
    """The folder of a named data set, downloaded if need be. Raises as `load` does."""
    manifest = find_manifest(name, _folders()) if not _is_path(name) else None
    if manifest is None:
        raise _unknown(name)
    return locate(manifest, progress, timeout)[0]


def describe(name: str) -> dict:
    """What is known of a data set without reading it: title, licence, classes, shape, files, and its folder or None."""
    if name == EMBEDDED:
        return {"name": EMBEDDED, "title": "Hand-drawn-looking digits, generated", "source": "nncore", "licence": "MIT",
                "classes": list("0123456789"), "shape": [28, 28], "files": {}, "folder": None, "here": True}
    manifest = find_manifest(name, _folders())
    if manifest is None:
        raise _unknown(name)
    here = [(root / name, find_files(root / name, manifest)) for root in _folders()]
    folder, files = next((h for h in here if len(h[1]) == len(ROLES)), (None, {}))
    return {"name": name, "title": manifest.title, "source": manifest.source, "licence": manifest.licence,
            "classes": list(manifest.classes), "shape": list(manifest.shape), "mirrors": list(manifest.mirrors),
            "files": {role: str(path) for role, path in files.items()}, "folder": folder and str(folder),
            "here": folder is not None}


def verify(name: str) -> list[dict]:
    """sha256 of the uncompressed files against the manifest: [{file, sha256, expected, ok}]; `ok` None for CSV files.

    Raises DataError if the data set is not on this machine.
    """
    import hashlib

    about = describe(name)
    if not about["files"]:
        raise DataError(f"{name}: nothing to verify on this machine; fetch it with: nncore data get {name}")
    manifest = find_manifest(name, _folders())

    def check_file(role: str, path: str) -> dict:
        if path.endswith(".csv"):
            return {"file": path, "sha256": None, "expected": None, "ok": None}
        digest = hashlib.sha256()
        for chunk in idx_chunks(path):
            digest.update(chunk)
        expected = manifest.files[role].sha256
        return {"file": path, "sha256": digest.hexdigest(), "expected": expected, "ok": digest.hexdigest() == expected}

    return parallel([lambda r=r, p=p: check_file(r, p) for r, p in about["files"].items()])
