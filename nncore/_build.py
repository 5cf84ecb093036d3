"""Build time only: compile csrc/ once per ISA and real type and link it behind the cffi glue.

setuptools has no per-source flags, so the kernel objects are compiled here, one (ISA, real type) at a time in a thread pool,
and handed to the linker. Every file of csrc/ is listed in `depends`: otherwise an edited kernel would be recompiled but
not relinked, and the tests would run the old code.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"

# -ffp-contract=off: a compiler that fuses a*b+c on one ISA and not on another breaks the bit contract (numerics.md R4).
BASE = ["-std=c11", "-O3", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
STRICT = ["-Wall", "-Wextra", "-Werror"]

# The one table of ISA levels and their flags. "portable" is built everywhere and needs nothing. "amx" is avx512 with tiles for
# the math modes of bfloat16: one file of its own instead of a set of kernels.
ISA_FLAGS = {
    "x86_64": {
        "portable": ["-DNN_ISA_SCALAR", "-fno-tree-vectorize"],
        "scalar": ["-DNN_ISA_SCALAR", "-mfma", "-fno-tree-vectorize"],
        "avx2": ["-DNN_ISA_AVX2", "-mavx2", "-mfma"],
        "avx512": ["-DNN_ISA_AVX512", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"],
        "amx": ["-mamx-tile", "-mamx-bf16", "-mavx512bf16", "-mavx512vbmi2", "-mavx512f", "-mavx512dq", "-mavx512bw",
                "-mavx512vl", "-mavx2", "-mfma"],
    },
    "aarch64": {
        "portable": ["-DNN_ISA_SCALAR", "-fno-tree-vectorize"],
        "scalar": ["-DNN_ISA_SCALAR", "-fno-tree-vectorize"],
        "neon": ["-DNN_ISA_NEON"],
    },
}

# Levels with kernels in Monte Carlo arithmetic of their own; all others take "portable"'s, which draw the same numbers.
RANDOM_LEVELS = ("portable", "avx512")


def isa_flags() -> dict[str, list[str]]:
    """Levels of this machine's architecture; an unknown one gets the portable level alone."""
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    return ISA_FLAGS.get(machine, {"portable": ["-DNN_ISA_SCALAR"]})


def cdef_text() -> str:
    """nncore.h as cffi parses it: the same text less the preprocessor lines, so it cannot drift from the C side."""
    lines = (CSRC / "nncore.h").read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


class BuildKernels(build_ext):
    """build_ext that writes the cffi glue, compiles the kernels per ISA, and links all of it into one extension."""

    def build_extension(self, ext) -> None:
        temp = CSRC.parent / "build" / "kernels"  # kept: what an edit does not touch is not compiled again
        temp.mkdir(parents=True, exist_ok=True)
        ext.sources = [self._write_glue(temp)]
        ext.depends = [str(p) for p in sorted(CSRC.rglob("*.[ch]"))]
        ext.include_dirs = [str(CSRC)]
        openmp = self._openmp()
        common = BASE + (STRICT if os.environ.get("CI") else [])
        plain = [s for s in sorted([*CSRC.glob("*.c"), *CSRC.glob("io/*.c")]) if not s.name.startswith(("pass_", "amx"))]
        units = [(s, s.stem, []) for s in plain]
        units.append((CSRC / "pass_driver.c", "pass_driver", []))
        for is_double, suffix in ((0, "f32"), (1, "f64")):
            real = f"-DNN_REAL_IS_DOUBLE={is_double}"
            units.append((CSRC / "pass_ref.c", f"pass_ref_{suffix}", [real]))
            for isa, flags in self._levels().items():
                if isa == "amx":
                    continue
                name = f"nn_kernels_{isa}_{suffix}"
                units.append((CSRC / "pass_kernel.c", name, [real, f"-DNN_SET={name}", *flags]))
        for isa, flags in self._levels().items():
            if isa != "amx":
                name = f"nn_kernels_{isa}_exact"
                names = [f"-DNN_SET={name}", f"-DNN_DOUBLES=nn_kernels_{isa}_f64"]
                units.append((CSRC / "pass_exact.c", name, ["-DNN_REAL_IS_DOUBLE=0", *names, *flags]))
            if isa in RANDOM_LEVELS:
                names = [f"-DNN_SET=nn_kernels_{isa}_random", f"-DNN_DRAW=nn_draw_{isa}"]
                names += ["-O1", "-Wno-psabi", "-DNN_REAL_IS_DOUBLE=0"]  # no vector meets a calling convention of others
                units.append((CSRC / "pass_random.c", f"nn_kernels_{isa}_random", [*names, *flags]))
        if "amx" in self._levels():
            units.append((CSRC / "amx.c", "amx", self._levels()["amx"]))
        have = [f"-DNN_HAVE_{isa.upper()}" for isa in self._levels()]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(lambda u: self._compile(u[0], temp / f"{u[1]}.o", common + have + openmp + u[2]), units))
        ext.extra_objects = objects
        ext.extra_link_args = openmp
        ext.extra_compile_args = ["-std=c11", "-O2"]
        super().build_extension(ext)

    def _write_glue(self, temp: Path) -> str:
        import cffi

        ffi = cffi.FFI()
        ffi.cdef(cdef_text())
        compiler = self.compiler.compiler_so[0]
        version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
        about = f"{version}; {' '.join(BASE)}"
        ffi.cdef("extern const char *const nn_build;")
        ffi.set_source("nncore._nncore", f'#include "nncore.h"\nstatic const char *const nn_build = "{about}";')
        glue = temp / "_nncore.c"
        ffi.emit_c_code(str(glue))
        return str(glue)

    def _levels(self) -> dict[str, list[str]]:
        """The levels that NNCORE_LEVELS names, by default all, as far as the compiler knows them."""
        if not hasattr(self, "_found"):
            wanted = os.environ.get("NNCORE_LEVELS", " ".join(isa_flags())).split()
            if unknown := set(wanted) - set(isa_flags()):
                raise SystemExit(f"NNCORE_LEVELS: {', '.join(sorted(unknown))}: known are {', '.join(isa_flags())}")
            wanted += ["portable", *(["avx512"] if "amx" in wanted else [])]
            self._found = {isa: flags for isa, flags in isa_flags().items() if isa in wanted and self._accepts(flags)}
        return self._found

    def _openmp(self) -> list[str]:
        """-fopenmp where compiler and linker both have it; serial otherwise."""
        return ["-fopenmp"] if self._accepts(["-fopenmp"], link=True) else []

    def _accepts(self, flags: list[str], link: bool = False) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "probe.c"
            source.write_text("int main(void) { return 0; }\n")
            target = ["-o", str(Path(folder) / "probe")] + ([] if link else ["-c"])
            command = [self.compiler.compiler_so[0], *flags, str(source), *target]
            return subprocess.run(command, capture_output=True).returncode == 0

    def _compile(self, source: Path, target: Path, flags: list[str]) -> str:
        """One translation unit; up to date if newer than every file it includes and built by the same command."""
        compiler = self.compiler.compiler_so[0]
        parts = target.with_suffix(".d")  # a rule of make: the names of all these files, relative to csrc/
        command = [compiler, *flags, "-I.", "-c", str(source.relative_to(CSRC)), "-o", str(target), "-MMD", "-MF", str(parts)]
        stamp = target.with_suffix(".cmd")
        if target.exists() and stamp.exists() and stamp.read_text() == repr(command) and _newer(target, parts):
            return str(target)
        begun = time.time()
        done = subprocess.run(command, capture_output=True, text=True, cwd=CSRC)
        if done.returncode:
            sys.exit(f"{re.sub(r' +', ' ', ' '.join(command))}\n{done.stderr}")
        stamp.write_text(repr(command))
        os.utime(target, (begun, begun))  # a file edited while this ran is newer than the object
        return str(target)


def _newer(target: Path, parts: Path) -> bool:
    """Whether the object is newer than the files it was made of, as the compiler listed them."""
    if not parts.exists():
        return False
    rule = parts.read_text().replace("\\\n", " ").replace("\\ ", "?")  # the target's path may hold spaces
    files = [CSRC / name for name in rule.split(": ", 1)[1].split()] + [Path(__file__)]
    return all(f.exists() and f.stat().st_mtime < target.stat().st_mtime for f in files)
