"""Submissions that play a role: folders and zips, made on the spot. Programs are short shell and Python: nothing to compile.

The assignment is glyphs, 200 + 100 of them; `centroid` is an honest learner that gets most of them right in half a second.
"""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

from nncore.assign import spec
from nncore.assign.spec import Assignment

ATTACKS = Path(__file__).parent / "attacks"
TRAIN, TEST = 200, 100

ASSIGNMENT = """
name = "small"
title = "A small class"
[data]
name = "glyphs"
prefix = "g"
train = 200
test = 100
[pass]
threshold = 0.5
[limits]
wall = 60
cpu = 60
memory_mb = 400
processes = 40
disk_mb = 64
files = 3000
output_kb = 64
[rules]
seeds = [0, 1, 2, 3, 42]
forbidden = ["numpy", "torch", "cblas", "org.nd4j", "org.apache.commons.math3"]
"""

# honest writes predictions of the right shape; centroid learns the mean image of each class.
HELPERS = r"""
honest() { yes 0 | head -200 >train_predictions.csv; yes 0 | head -100 >test_predictions.csv; }
centroid() { python3 - <<'PROGRAM'
def read(name):
    return [list(map(int, line.split(","))) for line in open(f"data/g_{name}.csv")]

x, t, test = read("train_vectors"), [row[0] for row in read("train_labels")], read("test_vectors")
means = {}
for c in set(t):
    rows = [r for r, k in zip(x, t) if k == c]
    means[c] = [sum(column) / len(rows) for column in zip(*rows)]
for name, rows in (("train", x), ("test", test)):
    with open(f"{name}_predictions.csv", "w") as file:
        for r in rows:
            file.write(f"{min(means, key=lambda c: sum((a - b) ** 2 for a, b in zip(r, means[c])))}\n")
PROGRAM
}
"""
SHEBANG = "#!/bin/bash\n"


def assignment(folder: Path, **changes: float) -> Assignment:
    """The small assignment, with other limits if asked."""
    text = ASSIGNMENT
    for key, value in changes.items():
        line = next(line for line in text.splitlines() if line.startswith(f"{key} ="))
        text = text.replace(line, f"{key} = {value}")
    path = folder / "small.toml"
    path.write_text(text)
    return spec.load(path)


def project(folder: Path, script: str, files: dict[str, str] | None = None, mode: int = 0o755) -> Path:
    """A project whose run.sh knows the helpers."""
    folder.mkdir(parents=True)
    run = folder / "run.sh"
    run.write_text(SHEBANG + HELPERS + script.removeprefix(SHEBANG) + "\n")
    run.chmod(mode)
    for name, text in (files or {}).items():
        (folder / name).write_text(text)
    return folder


def attacks(slow: bool) -> dict[str, tuple[str, str]]:
    """{name: (verdict it must get, script)} of the programs in attacks/; the slow ones need a limit of time to end."""
    found = {}
    for path in sorted(ATTACKS.glob("*.sh")):
        text = path.read_text()
        head = text.splitlines()[1]
        assert head.startswith("# verdict: "), path
        if path.stem.startswith("slow-") == slow:
            found[path.stem] = head.removeprefix("# verdict: "), text
    return found


# ---- archives --------------------------------------------------------------------------------------------------------


def zipped(members: list[tuple[str | zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these members, as given: names twice if they are there twice."""
    import warnings

    text = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(text, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name, content)
    return text.getvalue()


RUN = ("run.sh", (SHEBANG + HELPERS + "honest\n").encode())


def info(name: str, mode: int) -> zipfile.ZipInfo:
    """A member of any kind, by its Unix mode."""
    found = zipfile.ZipInfo(name)
    found.create_system, found.external_attr = 3, mode << 16
    return found


def renamed(old: bytes, new: bytes) -> bytes:
    """A zip one of whose members got a name that zipfile would not write."""
    assert len(old) == len(new)
    return zipped([RUN, (old.decode(), b"x")]).replace(old, new)


def lying_size() -> bytes:
    """A member that says it is small, and unpacks to far more."""
    whole = zipped([RUN, ("a.txt", bytes(5_000_000))])
    return whole.replace(struct.pack("<I", 5_000_000), struct.pack("<I", 50))


def overlapping() -> bytes:
    """Many names for one member's bytes, as in the bombs of Fifield (2019)."""
    whole = zipped([RUN, ("a.txt", bytes(100_000)), ("b.txt", b"")])
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        a, b = archive.getinfo("a.txt").header_offset, archive.getinfo("b.txt").header_offset
    at = whole.rindex(struct.pack("<I", b) + b"b.txt")
    return whole[:at] + struct.pack("<I", a) + whole[at + 4:]


def long_directory() -> bytes:
    """A list of members that claims more than any archive here needs."""
    whole = bytearray(zipped([RUN]))
    end = whole.rindex(b"PK\x05\x06")
    whole[end + 12:end + 16] = struct.pack("<I", 1 << 30)
    return bytes(whole)


def encrypted() -> bytes:
    """A member with the flag of encryption."""
    whole = bytearray(zipped([RUN, ("a.txt", b"x")]))
    at = whole.rindex(b"PK\x01\x02")
    whole[at + 8] |= 1
    return bytes(whole)


ARCHIVES: dict[str, tuple[str, bytes]] = {
    "slip": ("BAD_ARCHIVE", zipped([RUN, ("../../evil.txt", b"x")])),
    "slip-inside": ("BAD_ARCHIVE", zipped([RUN, ("a/../../evil.txt", b"x")])),
    "absolute": ("BAD_ARCHIVE", zipped([RUN, ("/tmp/nncore-evil.txt", b"x")])),
    "backslash": ("BAD_ARCHIVE", renamed(b"a_evil.txt", b"a\\evil.txt")),
    "drive": ("BAD_ARCHIVE", zipped([RUN, ("C:evil.txt", b"x")])),
    "nul-in-name": ("BAD_ARCHIVE", renamed(b"a_evil.txt", b"a\0evil.txt")),
    "newline-in-name": ("BAD_ARCHIVE", zipped([RUN, ("a\nb.txt", b"x")])),
    "reordering-name": ("BAD_ARCHIVE", zipped([RUN, ("a\u202etxt.c", b"x")])),
    "decomposed-name": ("BAD_ARCHIVE", zipped([RUN, ("re\u0301seau.c", b"x")])),
    "link": ("BAD_ARCHIVE", zipped([RUN, (info("data2", 0o120777), b"/etc")])),
    "device": ("BAD_ARCHIVE", zipped([RUN, (info("null", 0o020666), b"")])),
    "fifo": ("BAD_ARCHIVE", zipped([RUN, (info("pipe", 0o010666), b"")])),
    "twice": ("BAD_ARCHIVE", zipped([RUN, ("a.c", b"1"), ("a.c", b"2")])),
    "twice-by-case": ("BAD_ARCHIVE", zipped([RUN, ("a.c", b"1"), ("A.c", b"2")])),
    "twice-by-width": ("BAD_ARCHIVE", zipped([RUN, ("ab.c", b"1"), ("\uff41b.c", b"2")])),
    "file-and-folder": ("BAD_ARCHIVE", zipped([RUN, ("a", b"1"), ("a/b", b"2")])),
    "bomb": ("BAD_ARCHIVE", zipped([RUN, ("zeros", bytes(60_000_000))])),
    "bomb-of-many": ("BAD_ARCHIVE", zipped([RUN, *((f"z{i}", bytes(400_000)) for i in range(100))])),
    "lying-size": ("BAD_ARCHIVE", lying_size()),
    "overlapping": ("BAD_ARCHIVE", overlapping()),
    "long-directory": ("BAD_ARCHIVE", long_directory()),
    "many-entries": ("BAD_ARCHIVE", zipped([RUN, *((f"f{i}", b"") for i in range(2_500))], zipfile.ZIP_STORED)),
    "deep": ("BAD_ARCHIVE", zipped([RUN, ("d/" * 60 + "a.c", b"x")])),
    "long-name": ("BAD_ARCHIVE", zipped([RUN, ("n" * 250, b"x")])),
    "encrypted": ("BAD_ARCHIVE", encrypted()),
    "lzma": ("BAD_ARCHIVE", zipped([RUN], zipfile.ZIP_LZMA)),
    "truncated": ("BAD_ARCHIVE", zipped([RUN, ("a.c", bytes(5_000))])[:-300]),
    "not-a-zip": ("BAD_ARCHIVE", b"Rar!\x1a\x07\x00 not a zip"),
    "empty-file": ("BAD_ARCHIVE", b""),
    "nested-bomb": ("BELOW_THRESHOLD", zipped([RUN, ("inner.zip", zipped([("zeros", bytes(30_000_000))]))])),
    "html-in-name": ("BELOW_THRESHOLD", zipped([RUN, ("<img src=x onerror=alert(1)>.c", b"x")])),
    "one-folder-around": ("BELOW_THRESHOLD", zipped([("my project/run.sh", RUN[1]),
                                                     ("__MACOSX/x", b"x"), ("my project/.DS_Store", b"")])),
    "no-run-bit": ("BELOW_THRESHOLD", zipped([(info("run.sh", 0o100644), RUN[1])])),
    "own-data": ("BELOW_THRESHOLD", zipped([RUN, ("data/g_test_vectors.csv", b"my own\n")])),
    "empty-zip": ("RULE_VIOLATION", zipped([])),
    "no-command": ("RULE_VIOLATION", zipped([("main.c", b"int main(void) { return 0; }")])),
    "command-below": ("RULE_VIOLATION", zipped([("a.txt", b""), ("src/run.sh", RUN[1])])),
    "carriage-returns": ("BELOW_THRESHOLD", zipped([("run.sh", RUN[1].replace(b"\n", b"\r\n"))])),
    "windows-program": ("RULE_VIOLATION", zipped([RUN, ("a.exe", b"MZ")])),
    "library": ("RULE_VIOLATION", zipped([RUN, ("a.py", b"import os, numpy as np\n")])),
    "library-in-c": ("RULE_VIOLATION", zipped([RUN, ("a.c", b"/* x */\n#include <cblas.h>\n")])),
    "library-linked": ("RULE_VIOLATION", zipped([RUN, ("Makefile", b"all:\n\tcc a.c -lm -lcblas\n")])),
    "seed": ("RULE_VIOLATION", zipped([RUN, ("a.c", b"void f(void) { srand(1234); }\n")])),
    "predictions-handed-in": ("MISSING_OUTPUT", zipped([("run.sh", b"#!/bin/bash\ntrue\n"),
                                                        ("test_predictions.csv", b"0\n" * 100),
                                                        ("train_predictions.csv", b"0\n" * 200)])),
}
