"""Who may import whom: architecture's arrows, read from the source; and what `import nncore` loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nncore

PACKAGE = Path(nncore.__file__).parent
# What each part stands on, beside itself. files writes atomically; examples are networks of the lectures.
GROUND = {"errors", "_ffi", "tensor", "files"}
ALLOWED = {
    "errors": set(), "files": {"errors"}, "_ffi": {"errors"}, "tensor": {"errors", "_ffi"},
    "data": GROUND, "graph": GROUND, "nn": GROUND | {"graph"}, "optim": GROUND | {"graph"},
    "train": GROUND | {"graph", "nn", "optim", "data"},
    "_build": set(),
}
ALLOWED.update({part: ALLOWED["train"] | {"train"} for part in ("lab", "assign", "bench", "examples")})
ALLOWED["report"] = GROUND  # reads the JSON that the others wrote
ALLOWED["cli"] = ALLOWED["train"] | {"train", "lab", "assign", "bench", "report", "examples"}
ALLOWED["__main__"] = {"cli"}
# The package's own names (nncore.__version__, nn.Adam) are for those above all parts.
TOP = {"cli", "__main__", "lab", "assign", "bench"}

# What Jupyter calls: the one place where lower parts may import the report.
SHOWING = ("_repr_html_", "_repr_svg_")

FILES = sorted(p for p in PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import, also inside functions; `from nncore import data` counts as nncore.data."""
    found = []
    tree = ast.parse(path.read_text())
    showing = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.name in SHOWING for n in ast.walk(f)}
    for node in ast.walk(tree):
        if id(node) in showing and isinstance(node, ast.ImportFrom) and node.module == "nncore.report":
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "nncore":
                found += [(node.lineno, f"nncore.{alias.name}") for alias in node.names]
            else:
                found.append((node.lineno, node.module))
    return found


def shown(path: Path) -> set[int]:
    """Lines of the methods by which a notebook shows an object: they may import report, the one exception."""
    methods = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef) and n.name.startswith("_repr_")]
    return {line for m in methods for line in range(m.lineno, m.end_lineno + 1)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows_run_one_way(path):
    part = part_of(path)
    if part == "__init__":
        return
    parts = {p.name.removesuffix(".py") for p in PACKAGE.iterdir()} - {"__init__"}
    for line, module in imports(path):
        root, _, rest = module.partition(".")
        if root != "nncore":
            continue
        target = rest.partition(".")[0]
        if target == "_nncore":
            assert part == "_ffi", f"{path.name}:{line}: only _ffi.py touches the extension module"
        elif target not in parts:
            assert part in TOP, f"{path.name}:{line}: the whole package, from within it"
        else:
            shows = target == "report" and line in shown(path)
            assert target == part or shows or target in ALLOWED[part], f"{path.name}:{line}: {part} may not import {target}"


def test_every_part_has_its_place():
    assert {part_of(p) for p in FILES} - {"__init__"} <= set(ALLOWED)


def test_one_file_runs_tapes():
    users = [str(p.relative_to(PACKAGE)) for p in FILES if "nn_tape_run" in p.read_text()]
    assert users == ["graph/tape.py"]


def test_builders_of_graphs_make_no_calls_into_c():
    for path in FILES:
        if part_of(path) in ("nn", "optim"):
            assert not [m for _, m in imports(path) if m in ("nncore._ffi", "nncore.tensor")], path


def test_no_numeric_library():
    numeric = {"numpy", "scipy", "torch", "jax", "pandas", "sklearn", "tensorflow", "numba", "cupy"}
    for path in FILES:
        if part_of(path) == "bench" and "peers" in str(path):
            continue  # run in a process of their own
        assert not {m.partition(".")[0] for _, m in imports(path)} & numeric, path


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter loads for some code beyond what it starts with."""
    probe = f"import sys; before = set(sys.modules); {code}; print(*{{m.partition('.')[0] for m in set(sys.modules) - before}})"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    return set(done.stdout.split())


def test_import_loads_the_standard_library_and_cffi_only():
    everything = "import nncore; [getattr(nncore, name) for name in nncore.__all__]"
    foreign = loaded_by(everything) - set(sys.stdlib_module_names) - {"nncore"}
    assert foreign <= {"cffi", "_cffi_backend"}, foreign


def test_training_needs_no_more():
    code = ("import nncore as nn; d = nn.data.glyphs(50, 10); m = nn.Sequential([nn.Dense(10)]); "
            "m.fit(d.train, epochs=1, batch=50); m.evaluate(d.test); str(m.tape)")
    foreign = loaded_by(code) - set(sys.stdlib_module_names) - {"nncore"}
    assert foreign <= {"cffi", "_cffi_backend"}, foreign
