"""Small data sets, and a mirror on 127.0.0.1 that misbehaves in every way a mirror can."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROLES = {"train_images": ("train-images-idx3-ubyte", (12, 4, 4)), "train_labels": ("train-labels-idx1-ubyte", (12,)),
         "test_images": ("t10k-images-idx3-ubyte", (6, 4, 4)), "test_labels": ("t10k-labels-idx1-ubyte", (6,))}


def idx_bytes(shape, elements: bytes, type_code: int = 8) -> bytes:
    return bytes([0, 0, type_code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + elements


def tiny_files() -> dict[str, bytes]:
    """The four files of a data set "tiny": 12 + 6 images of 4 x 4, three classes."""
    files = {}
    for role, (name, shape) in ROLES.items():
        n = shape[0] * (16 if len(shape) == 3 else 1)
        step, limit = (1, 3) if "labels" in role else (7, 256)
        body = bytes((step * i + len(role)) % limit for i in range(n))
        files[name] = idx_bytes(shape, body)
    return files


def write_manifest(folder: Path, mirrors: list[str], name: str = "tiny", **changes) -> Path:
    files = tiny_files()
    lines = ['title = "Tiny"', 'source = "here"', 'licence = "CC0"', 'classes = ["a", "b", "c"]', "shape = [4, 4]",
             f"mirrors = {mirrors!r}"]
    for role, (file, shape) in ROLES.items():
        digest = changes.get(role, hashlib.sha256(files[file]).hexdigest())
        lines += [f"[files.{role}]", f'name = "{file}"', f"count = {shape[0]}", f'sha256 = "{digest}"']
    path = folder / f"{name}.toml"
    path.write_text("\n".join(lines))
    return path


def write_folder(folder: Path, files: dict[str, bytes] | None = None, compress: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (files or tiny_files()).items():
        (folder / (name + ".gz" * compress)).write_bytes(gzip.compress(data) if compress else data)
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty working folder, its own cache, no NNCORE_DATA, downloads allowed, no proxy between us and 127.0.0.1."""
    for name in ("NNCORE_DATA", "NNCORE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets").mkdir()
    return tmp_path


class Mirror(BaseHTTPRequestHandler):
    """The first part of the path is the misbehaviour, the rest the file."""

    def do_GET(self):
        _, way, name = self.path.split("/", 2)
        self.server.requests.append(self.path)
        plain = tiny_files().get(name.removesuffix(".gz"), b"")
        packed = gzip.compress(plain)
        getattr(self, f"serve_{way}")(plain, packed)

    def send(self, body: bytes, length: int | None = None, kind: str = "application/octet-stream", status: int = 200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def serve_good(self, plain, packed):
        self.send(packed)

    def serve_plain(self, plain, packed):
        self.send(plain)

    def serve_missing(self, plain, packed):
        self.send(b"no such file", status=404, kind="text/plain")

    def serve_page(self, plain, packed):
        self.send(b"<!DOCTYPE html><html>Please accept our terms</html>", kind="text/html")

    def serve_half(self, plain, packed):
        self.send(packed[: len(packed) // 2], length=len(packed))

    def serve_cut(self, plain, packed):
        self.send(packed[: len(packed) // 2])

    def serve_wrong(self, plain, packed):
        self.send(gzip.compress(plain[:-1] + bytes([plain[-1] ^ 1])))

    def serve_long(self, plain, packed):
        self.send(gzip.compress(plain + b"\0" * (1 << 20)))

    def serve_trailing(self, plain, packed):
        self.send(packed + b"more")

    def serve_corrupt(self, plain, packed):
        self.send(packed[:20] + bytes([packed[20] ^ 255]) + packed[21:])

    def serve_empty(self, plain, packed):
        self.send(b"")

    def serve_nothing(self, plain, packed):
        self.close_connection = True
        self.connection.close()

    def serve_stall(self, plain, packed):
        self.send(packed[:10], length=len(packed))
        self.server.released.wait(20)

    def serve_silent(self, plain, packed):
        self.server.released.wait(20)

    def serve_drip(self, plain, packed):
        self.send(b"", length=len(packed))
        for byte in packed:
            if self.server.released.wait(0.05):
                return
            self.wfile.write(bytes([byte]))

    def serve_loop(self, plain, packed):
        self.send_response(302)
        self.send_header("Location", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def serve_moved(self, plain, packed):
        self.send_response(302)
        self.send_header("Location", self.path.replace("/moved/", "/good/"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def serve_file(self, plain, packed):
        self.send_response(302)
        self.send_header("Location", "file:///etc/hostname")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass  # the client gave up: that is what it should do


@pytest.fixture
def mirror():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.daemon_threads, server.requests, server.released = True, [], threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def stopwatch():
    began = time.monotonic()
    return lambda: time.monotonic() - began
