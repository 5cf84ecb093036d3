"""Pictures from bytes: PNG (RFC 2083) in a few lines, sheets of equal tiles, and colours for weights and activations."""

from __future__ import annotations

import base64
import struct
import zlib
from math import ceil

from nncore.errors import DataError

# Diverging, for weights: blue below 0, light grey at 0, orange above; colour-blind safe (after ColorBrewer's RdBu and PuOr).
_DIVERGING = [(5, 66, 124), (56, 136, 190), (167, 208, 228), (230, 230, 226), (252, 196, 140), (224, 113, 32), (122, 48, 4)]
# Sequential, for activations: viridis (van der Walt and Smith 2015) at six places.
_SEQUENTIAL = [(68, 1, 84), (65, 68, 135), (42, 120, 142), (34, 168, 132), (122, 209, 81), (253, 231, 37)]


def _ramp(anchors: list[tuple[int, int, int]]) -> bytes:
    """256 colours along the anchors, as a palette."""
    colours = bytearray()
    for i in range(256):
        at = i / 255 * (len(anchors) - 1)
        k = min(int(at), len(anchors) - 2)
        low, high, f = anchors[k], anchors[k + 1], at - k
        colours += bytes(round(a + (b - a) * f) for a, b in zip(low, high, strict=True))
    return bytes(colours)


_BELOW = bytes([*range(255), 254])
PALETTES = {"diverging": _ramp(_DIVERGING), "sequential": _ramp(_SEQUENTIAL)}


def png(width: int, height: int, channels: int, data: bytes, palette: str | None = None) -> bytes:
    """A PNG of 8-bit grey (1 channel) or colours (3), rows from the top; grey looked up in a palette has 255 transparent."""
    if len(data) != width * height * channels or not width * height or channels not in (1, 3):
        raise DataError(f"a picture of {width} x {height} x {channels} has {len(data)} bytes")
    kind = 3 if palette and channels == 1 else {1: 0, 3: 2}[channels]
    row = width * channels
    raw = b"".join(b"\0" + data[i : i + row] for i in range(0, len(data), row))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))]
    if kind == 3:
        chunks += [(b"PLTE", PALETTES[palette]), (b"tRNS", b"\xff" * 255 + b"\0")]
    chunks += [(b"IDAT", zlib.compress(raw, 9)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def uri(picture: bytes) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def unpack(images: dict) -> tuple[tuple[int, int, int, int], bytes]:
    """((n, H, W, C), bytes) of packed pictures. Raises DataError if they do not fit."""
    n, h, w, c = (int(v) for v in images["shape"])
    data = base64.b64decode(images["data"], validate=True)
    if min(n, h, w) < 0 or c not in (1, 3) or len(data) != n * h * w * c:
        raise DataError(f"pictures of shape {(n, h, w, c)} have {len(data)} bytes")
    return (n, h, w, c), data


def each(images: dict, palette: str | None = None) -> list[str]:
    """One data URI per picture."""
    (n, h, w, c), data = unpack(images)
    size = h * w * c
    return [uri(png(w, h, c, data[i * size : (i + 1) * size], palette)) for i in range(n)]


def sheet(images: dict, columns: int, palette: str | None = None, ground: int = 128, zoom: int = 1) -> tuple[str, int, int]:
    """(data URI, width, height) of all pictures in one, row by row; every pixel `zoom` wide, thin lines of `ground`, or with
    a palette of nothing, between."""
    (n, h, w, c), data = unpack(images)
    if palette:
        data, ground = data.translate(_BELOW), 255
    columns, gap = max(1, min(columns, n)), 1 if zoom < 3 else 4
    rows, wide, high = ceil(n / columns), w * zoom + gap, h * zoom + gap
    width, height = columns * wide - gap, rows * high - gap
    canvas = bytearray([ground]) * (width * height * c)
    for i in range(n):
        top, left = i // columns * high, i % columns * wide
        for y in range(h):
            row = data[(i * h + y) * w * c : (i * h + y + 1) * w * c]
            if zoom > 1:
                row = b"".join(row[x : x + c] * zoom for x in range(0, len(row), c))
            for line in range(zoom):
                start = ((top + y * zoom + line) * width + left) * c
                canvas[start : start + len(row)] = row
    return uri(png(width, height, c, bytes(canvas), palette)), width, height
