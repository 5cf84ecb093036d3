"""Downloads from 127.0.0.1: whatever a mirror does, the next is tried, nothing wrong is kept, and it ends in time."""

from __future__ import annotations

import os

import pytest
from conftest import tiny_files, write_folder, write_manifest

from nncore.data import catalog, load
from nncore.data.download import Unavailable, download
from nncore.data.manifest import read_manifest
from nncore.errors import DataError, LimitError, UsageError

WAYS = {
    "missing": "answered 404",
    "page": "answered with a web page",
    "half": "half a file|IncompleteRead",
    "cut": "half a file",
    "wrong": "a wrong file: sha256",
    "long": "a wrong file: more than the 208 bytes",
    "trailing": "bytes follow the end",
    "corrupt": "a corrupt gzip file|a wrong file",
    "empty": "answered with nothing",
    "nothing": "RemoteDisconnected|ConnectionReset",
    "stall": "no answer for 0.5 s|half a file",
    "silent": "no answer for 0.5 s",
    "drip": "too slow",
    "loop": "answered 302",
    "file": "answered 302|redirect",
}


def cache(home):
    return home / "cache" / "nncore" / "datasets" / "tiny"


def left_behind(folder):
    return [p.name for p in folder.iterdir() if p.name not in tiny_files()]


@pytest.mark.parametrize("way", WAYS)
def test_a_bad_mirror_is_named_and_leaves_nothing(home, mirror, stopwatch, way):
    write_manifest(home / "datasets", [f"{mirror.url}/{way}/"])
    with pytest.raises(Unavailable, match=WAYS[way]) as caught:
        load("tiny", timeout=0.5)
    text = str(caught.value)
    assert f"{mirror.url}/{way}/train-images-idx3-ubyte.gz: " in text
    assert "Place train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz" in text
    assert "datasets/tiny/" in text and str(cache(home)) in text
    assert caught.value.exit_code == 3
    assert left_behind(cache(home)) == [] == [p for p in cache(home).iterdir() if "images" in p.name]
    assert stopwatch() < 10


@pytest.mark.parametrize("way", WAYS)
def test_the_next_mirror_serves(home, mirror, way):
    write_manifest(home / "datasets", [f"{mirror.url}/{way}/", f"{mirror.url}/good/"])
    data = load("tiny", timeout=0.5)
    assert len(data.train) == 12 and data.classes == ("a", "b", "c")
    assert data.source == f"IDX files in {cache(home)} (downloaded from {mirror.url}/good/, sha256 verified)"
    # A mirror that failed once is not asked again.
    assert len([r for r in mirror.requests if r.startswith(f"/{way}/") and "train-labels" in r]) == 0
    assert {p.name: p.read_bytes() for p in cache(home).iterdir()} == tiny_files()


@pytest.mark.parametrize("way", ["good", "plain", "moved"])
def test_good_mirrors(home, mirror, way):
    write_manifest(home / "datasets", [f"{mirror.url}/{way}/"])
    seen = {}
    data = load("tiny", progress=lambda name, done, total: seen.update({name: (done, total)}))
    assert data.test.images.tobytes() == tiny_files()["t10k-images-idx3-ubyte"][16:]
    assert seen["train-images-idx3-ubyte"] == (208, 208)
    asked = len(mirror.requests)
    assert load("tiny").source == f"IDX files in {cache(home)} (the cache)"
    assert len(mirror.requests) == asked
    assert [row["ok"] for row in catalog.verify("tiny")] == [True] * 4


def test_a_dead_address(home, stopwatch):
    write_manifest(home / "datasets", ["http://127.0.0.1:9/"])
    with pytest.raises(Unavailable, match="Connection refused"):
        load("tiny", timeout=0.5)
    assert stopwatch() < 5


def test_no_mirror(home):
    write_manifest(home / "datasets", [])
    with pytest.raises(Unavailable, match="the manifest names no mirror"):
        load("tiny")


def test_an_interrupted_download_goes_on(home, mirror):
    path = write_manifest(home / "datasets", [f"{mirror.url}/good/"])
    write_folder(cache(home), {k: v for k, v in tiny_files().items() if "train" in k})
    (cache(home) / "t10k-images-idx3-ubyte").write_bytes(b"half")
    download(read_manifest(path), cache(home))
    assert sorted(mirror.requests) == ["/good/t10k-images-idx3-ubyte.gz", "/good/t10k-labels-idx1-ubyte.gz"]
    assert load("tiny").test.shape == (6, 4, 4)


def test_offline_never_asks(home, mirror, monkeypatch):
    write_manifest(home / "datasets", [f"{mirror.url}/good/"])
    monkeypatch.setenv("NNCORE_OFFLINE", "1")
    with pytest.raises(Unavailable, match="NNCORE_OFFLINE is set"):
        load("tiny")
    assert mirror.requests == []


def test_fallback_says_so(home, mirror, monkeypatch):
    write_manifest(home / "datasets", [f"{mirror.url}/missing/"])
    data = load("tiny", fallback="glyphs")
    assert data.name == "glyphs"
    assert data.note.startswith("tiny is not on this machine and could not be downloaded (")
    assert "answered 404" in data.note and "using the embedded glyphs instead" in data.note
    monkeypatch.setenv("NNCORE_OFFLINE", "1")
    assert "(NNCORE_OFFLINE is set)" in load("fashion-mnist", fallback="glyphs").note
    with pytest.raises(UsageError):
        load("no-such-set", fallback="glyphs")


def test_fallback_never_hides_a_damaged_file(home):
    write_manifest(home / "datasets", [])
    write_folder(home / "datasets" / "tiny", {k: v[:-1] for k, v in tiny_files().items()})
    with pytest.raises(DataError, match="truncated"):
        load("tiny", fallback="glyphs")


def test_unwritable_cache_is_a_limit(home, mirror, monkeypatch):
    write_manifest(home / "datasets", [f"{mirror.url}/good/"])
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file"))
    with pytest.raises(LimitError, match="cannot be made"):
        load("tiny")
    assert "cannot be made" in load("tiny", fallback="glyphs").note


def test_full_disk_is_a_limit_and_leaves_nothing(home, mirror, monkeypatch):
    write_manifest(home / "datasets", [f"{mirror.url}/good/", f"{mirror.url}/plain/"])

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LimitError, match="No space left on device; free space"):
        load("tiny")
    assert list(cache(home).iterdir()) == []
    assert not any("/plain/" in r for r in mirror.requests), "the next mirror cannot help a full disk"
