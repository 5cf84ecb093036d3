"""What the compiler made of the sources: symbols, instructions, and packages that install."""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import nncore  # noqa: F401 - loads the extension
from nncore import _build
from tests.cbuild import ROOT, library
from tests.harness import need

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

X86 = platform.machine() in ("x86_64", "AMD64")
FMA_LEVELS = ("scalar", "avx2", "avx512") if X86 else ("portable", "scalar", "neon")  # AArch64 has fma in its baseline
KERNELS = [f"nn_kernels_{isa}_{kind}" for isa in _build.isa_flags() for kind in ("f32", "f64", "exact")]
RANDOM = [f"nn_kernels_{isa}_random" for isa in _build.isa_flags() if isa in _build.RANDOM_LEVELS]


def tool(name: str, *arguments: str) -> str:
    """What a program of binutils prints."""
    need(name, shutil.which(name) is not None, "install binutils")
    return subprocess.run([name, *arguments], capture_output=True, text=True, check=True).stdout


@functools.cache
def disassembly(path: Path) -> dict[str, list[tuple[int, str, str]]]:
    """Function -> (address, mnemonic, operands) of an object."""
    functions: dict[str, list[tuple[int, str, str]]] = {}
    for line in tool("objdump", "-d", "--no-show-raw-insn", str(path)).splitlines():
        if m := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            functions[m[1]] = body = []
        elif m := re.match(r" *([0-9a-f]+):\t(?:(?:bnd|rep\w*|lock|notrack|data16|cs) )*(\S+) *(.*)$", line):
            body.append((int(m[1], 16), m[2], m[3]))
    return functions


def objects() -> list[Path]:
    found = sorted(p for p in library().rglob("*.o") if p.parent.name in ("build", "io"))
    assert len(found) > 15
    return found


# ---- symbols ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_object_exports_its_table_and_nothing_else(name):
    path = library() / f"{name}.o"
    need(name.split("_")[2], path.exists(), "the compiler does not know these flags: a newer one")
    defined = [line.split()[-1] for line in tool("nm", "-g", "--defined-only", str(path)).splitlines() if line.strip()]
    assert defined == [name]


@pytest.mark.parametrize("name", RANDOM)
def test_a_random_object_exports_its_table_and_its_seed(name):
    path = library() / f"{name}.o"
    level = name.split("_")[2]
    need(level, path.exists(), "the compiler does not know these flags: a newer one")
    defined = {line.split()[-1] for line in tool("nm", "-g", "--defined-only", str(path)).splitlines() if line.strip()}
    assert defined == {name, f"nn_draw_{level}"}


LIBM = re.compile(r"^_*(exp|expm1|exp2|exp10|log|log1p|log2|log10|pow|sin|cos|sincos|tan|tanh|sinh|cosh|asin|acos|atan|atan2|fma|"
                  r"sqrt|cbrt|hypot|erf|erfc|lgamma|tgamma|ldexp|frexp|scalbn|fmod|remainder|rint|nearbyint|round|floor|ceil|"
                  r"trunc|fmin|fmax|fdim)(f|l|_finite)?(@.*)?$")


def undefined(*arguments: str) -> list[str]:
    lines = tool("nm", "--undefined-only", *arguments).splitlines()
    return [line.split()[-1] for line in lines if line.strip() and not line.endswith(":")]


def test_no_libm():
    path = sys.modules["nncore._nncore"].__file__
    calls = undefined("-D", path) + undefined(str(library() / "libnncore.a"))
    assert [s for s in calls if LIBM.match(s)] == []
    assert "memcpy" in {s.partition("@")[0] for s in calls}, "nm found nothing: the test would pass on an empty list"
    if sys.platform == "linux":
        assert "libm.so" not in tool("objdump", "-p", path)


# ---- instructions ----------------------------------------------------------------------------------------------------


def test_no_approximate_and_no_x87_instruction():
    banned = re.compile(r"v?r(cp|sqrt)\w*$|f(?!xsave|xrstor)\w+$" if X86 else r"f?(recp|rsqrt)\w*$|ur(ecpe|sqrte)$")
    for path in objects():
        for function, body in disassembly(path).items():
            bad = sorted({op for _, op, _ in body if banned.match(op)})
            assert not bad, f"{path.name}: {function} uses {', '.join(bad)}"


def test_fma_only_where_it_is_asked_for():
    fma = re.compile(r"vfn?m(add|sub)\w*$")
    if not X86:
        pytest.skip("AArch64 has fma everywhere; -ffp-contract=off keeps it explicit")
    for path in objects():
        count = sum(bool(fma.match(op)) for body in disassembly(path).values() for _, op, _ in body)
        wanted = path.name.startswith(tuple(f"nn_kernels_{isa}_" for isa in FMA_LEVELS)) and not path.name.endswith("_random.o")
        assert (count > 0) == wanted, f"{path.name}: {count} fma instructions"


@pytest.mark.parametrize("tile, fma", [("gemm_ukr_14x2", 28), ("gemm_ukr_rows_14x2", 28), ("gemm_ukr_rows_14x1", 14),
                                       ("conv_ukr_14x2", 28), ("conv_dw_ukr_14x2", 28), ("conv_dw_ukr_ragged_14x2", 28),
                                       ("conv_across_ukr_7x2", 14), ("conv_image_ukr_4x6", 24), ("conv_dw_ukr_chains_6x4", 24)])
def test_the_widest_tiles_keep_everything_in_registers(tile, fma):
    path = library() / "nn_kernels_avx512_f32.o"
    need("avx512", path.exists(), "a compiler for x86-64 that knows AVX-512")
    body = disassembly(path)[tile]
    spills = [f"{op} {args}" for _, op, args in body if "zmm" in args and re.search(r"\(%r[sb]p", args)]
    assert spills == []
    loops = []
    for i, (address, op, args) in enumerate(body):
        target = re.match(r"([0-9a-f]+)", args)
        if op.startswith("j") and target and int(target[1], 16) < address:
            inside = [o for a, o, _ in body[: i + 1] if a >= int(target[1], 16)]
            loops.append([o for o in inside if o.startswith("vfmadd")])
    # 14 rows x 2 vectors: 28 fma a step of k, a multiple of it if the compiler unrolled.
    assert any(loop and len(loop) % fma == 0 for loop in loops), [len(loop) for loop in loops]


# ---- packages --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """(sdist, wheel), the wheel built from the sdist as an installer would."""
    try:
        import build  # noqa: F401
        import setuptools  # noqa: F401
    except ImportError:
        need("build", False, "pip install build setuptools cffi")
    folder = tmp_path_factory.mktemp("packages")
    done = subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)],
                          capture_output=True, text=True, env={**os.environ, "CI": "", "NNCORE_LEVELS": "portable"})
    if "Missing dependencies" in done.stdout + done.stderr:
        need("build", False, "pip install 'setuptools >= 77' cffi")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.mark.slow
def test_sdist_holds_what_the_build_needs(packages):
    with tarfile.open(packages[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {str(p.relative_to(ROOT)) for p in (ROOT / "csrc").rglob("*.[ch]")} | {"csrc/Makefile", "LICENSE"}
    assert sources <= names
    assert not [n for n in names if n.endswith((".o", ".a", ".so"))]


@pytest.mark.slow
def test_wheel_is_for_every_python_from_3_10(packages):
    assert "-cp310-abi3-" in packages[1].name
    with zipfile.ZipFile(packages[1]) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(n).decode() for n in names if n.endswith(".dist-info/METADATA"))
    assert "nncore/_nncore.abi3.so" in names
    assert {f"nncore/report/templates/{p.name}" for p in (ROOT / "nncore/report/templates").iterdir()} < set(names)
    begun = "nncore/assign/"  # what new projects begin with is C, and the reference solution
    assert not [n for n in names if not n.startswith("nncore") or (n.endswith((".c", ".h")) and not n.startswith(begun))]
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    required = [m[1] for m in re.finditer(r"^Requires-Dist: (.*)$", metadata, re.M) if "extra ==" not in m[1]]
    assert sorted(re.split(r"[\s<>=;]", r)[0] for r in required) == sorted(w.split()[0] for w in wanted)


@pytest.mark.slow
def test_wheel_works_in_a_fresh_environment(packages, tmp_path):
    import cffi

    venv, site = tmp_path / "venv", Path(cffi.__file__).parent.parent
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = str(venv / "bin" / "python")
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", python, "install", "--no-deps",
                    "--no-index", str(packages[1])], check=True)
    # cffi comes from these tests' environment: no index is asked. nncore itself must be the wheel's.
    code = ("import nncore as nn; d = nn.data.glyphs(100, 20); m = nn.Sequential([nn.Dense(10)])\n"
            "m.fit(d.train, epochs=1, batch=50); print(m.weights_sha256, nn.__file__)")
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(site)})
    assert done.returncode == 0, done.stderr
    digest, path = done.stdout.split()
    assert str(venv) in path
    import nncore as nn

    data, model = nn.data.glyphs(100, 20), nn.Sequential([nn.Dense(10)])
    model.fit(data.train, epochs=1, batch=50)
    assert digest == model.weights_sha256
