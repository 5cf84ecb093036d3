"""The contact sheet: a PNG of the right size, rows that differ, and a clear word where there is no data."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(folder, *arguments):
    command = [sys.executable, str(ROOT / "examples" / "augmentation.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True,
                          cwd=folder, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_the_sheet(tmp_path):
    done = run(tmp_path, "glyphs", "sheet.png")
    assert done.returncode == 0, done.stderr
    legend = done.stdout.splitlines()
    assert legend[0].split() == ["1", "none"] and legend[-1] == "written to sheet.png"
    data = (tmp_path / "sheet.png").read_bytes()
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    rows = len(legend) - 1
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and (width, height) == (14 * 60, rows * 60) and (depth, colour) == (8, 0)
    size = struct.unpack(">I", data[33:37])[0]
    pixels = zlib.decompress(data[41 : 41 + size])
    assert len(pixels) == height * (width + 1)
    images = [pixels[60 * r * (width + 1) : (60 * r + 56) * (width + 1)] for r in range(rows)]
    assert len(set(images)) == rows
    lines = [images[0][y * (width + 1) + 1 : (y + 1) * (width + 1)] for y in range(56)]
    assert all(line == line[:60] * 14 for line in lines)  # one sample, untouched


def test_no_data_no_sheet(tmp_path):
    done = run(tmp_path, "./nowhere")
    assert done.returncode == 1 and "nowhere" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
