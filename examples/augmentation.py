"""A contact sheet of augmentation: one row of images for each transformation, the untouched ones first.

    python examples/augmentation.py [DATA] [SHEET.png]

DATA is a data set's name or folder, glyphs by default. What each row shows is printed. All images of a row are the same
sample at different places of an epoch, but for mixup and cutmix, which need others to mix with.
"""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import nncore as nn
from nncore.train.samples import samples

COLUMNS, ZOOM, GAP = 14, 2, 4
ROWS = ("none", "one_pixel", "shift=4", "rotate=30", "scale=0.3", "shear=30", "elastic=36:6", "elastic=36:4", "elastic", "flip",
        "crop=4", "erase=1,fill=zero", "erase=1,fill=noise", "noise=0.15", "mixup=1", "cutmix=1")


def png(rows: list[bytes], channels: int) -> bytes:
    """An 8-bit grey or RGB image as a PNG file (W3C, Portable Network Graphics, sections 5 and 10)."""
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", len(rows[0]) // channels, len(rows), 8, 0 if channels == 1 else 2, 0, 0, 0)
    lines = b"".join(b"\0" + row for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def strip(images: nn.Tensor, full: float) -> list[bytes]:
    """Images (N, H, W, C) of values up to `full` side by side, enlarged, as lines of bytes: rounded and cut to 0 to 255."""
    n, H, W, C = images.shape
    values = images.flat()
    lines = []
    for i in range(H):
        line = bytearray()
        for r in range(n):
            for j in range(W):
                start = ((r * H + i) * W + j) * C
                line += bytes(min(max(round(v * 255 / full), 0), 255) for v in values[start : start + C]) * ZOOM
            line += bytes([64]) * (GAP * C)
        lines += [bytes(line)] * ZOOM
    return lines + [bytes([64]) * len(lines[0])] * GAP


def main(data: str = "glyphs", path: str = "augmentation.png") -> None:
    """Write the sheet and print its legend."""
    split = samples(nn.data.load(data).train)
    one, many = split.select([0] * COLUMNS), split.select(range(COLUMNS))
    full = 255.0 if split.x.dtype == "u8" else 1.0
    lines: list[bytes] = []
    for number, text in enumerate(ROWS, 1):
        augment = nn.Augment.parse(text)
        images = nn.augmented(many if augment.mixes else one, augment)
        lines += strip(images, full)
        print(f"{number:2}  {text}")
    Path(path).write_bytes(png(lines, images.shape[-1]))
    print(f"written to {path}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except nn.NNError as e:
        sys.exit(f"{e}")
