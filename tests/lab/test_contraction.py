"""Experiment E6 with a compiler: one C source, two instruction sets, and the flag that keeps their bits equal."""

from __future__ import annotations

import platform
import shutil
import subprocess

import pytest

from tests.harness import have, need

SOURCE = r"""
#include <stdint.h>
#include <stdio.h>
#include <string.h>
enum { M = 24, N = 20, K = 517 };
static float a[M][K], b[K][N], c[M][N];
static float draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) / (1 << 23) - 1;
}
int main(void)
{
    uint64_t state = 1, hash = 1469598103934665603u;
    for (int i = 0; i < M; i++) for (int k = 0; k < K; k++) a[i][k] = draw(&state);
    for (int k = 0; k < K; k++) for (int j = 0; j < N; j++) b[k][j] = draw(&state);
    for (int i = 0; i < M; i++) for (int k = 0; k < K; k++) for (int j = 0; j < N; j++) c[i][j] += a[i][k] * b[k][j];
    for (int i = 0; i < M; i++) for (int j = 0; j < N; j++) {
        uint32_t u;
        memcpy(&u, &c[i][j], 4);
        hash = (hash ^ u) * 1099511628211u;
    }
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}
"""


@pytest.fixture(scope="module")
def hashes(tmp_path_factory):
    """Hash of the product by (machine, contraction)."""
    need("gcc", shutil.which("gcc") is not None, "install gcc")
    need("x86-64", platform.machine() == "x86_64", "run on x86-64: elsewhere every level has fma")
    need("avx2", have("avx2"), "run on a CPU with fma")
    folder, found = tmp_path_factory.mktemp("contraction"), {}
    (folder / "product.c").write_text(SOURCE)
    for machine in ("x86-64", "haswell"):
        for contraction in ((), ("-ffp-contract=off",)):
            command = ["gcc", "-O3", f"-march={machine}", *contraction, "product.c", "-o", "product"]
            subprocess.run(command, cwd=folder, check=True)
            done = subprocess.run([folder / "product"], capture_output=True, text=True, check=True)
            found[machine, bool(contraction)] = done.stdout.strip()
    return found


def test_gcc_contracts_where_it_can(hashes):
    assert hashes["x86-64", False] != hashes["haswell", False]


def test_the_flag_keeps_the_bits(hashes):
    assert hashes["x86-64", True] == hashes["haswell", True] == hashes["x86-64", False]
