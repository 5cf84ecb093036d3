"""Names and folders: the order of search, every layout of a folder, messages that say what to do."""

from __future__ import annotations

import re

import pytest
from conftest import idx_bytes, tiny_files, write_folder, write_manifest

from nncore.data import catalog, describe, get, load, load_folder, make_csv, names, verify
from nncore.errors import DataError, UsageError


@pytest.fixture
def tiny(home, monkeypatch):
    write_manifest(home / "datasets", [])
    monkeypatch.setenv("NNCORE_OFFLINE", "1")
    return home


@pytest.mark.parametrize("compress", [True, False])
def test_by_name(tiny, compress):
    write_folder(tiny / "datasets" / "tiny", compress=compress)
    data = load("tiny")
    assert (data.name, data.classes, data.note) == ("tiny", ("a", "b", "c"), "")
    assert data.train.images.tobytes() == tiny_files()["train-images-idx3-ubyte"][16:]
    assert data.test.labels.tobytes() == tiny_files()["t10k-labels-idx1-ubyte"][8:]
    kind = "gzipped IDX" if compress else "IDX"
    assert data.source == f"{kind} files in datasets/tiny (the working folder)"
    assert repr(data.train) == "<tiny train: 12 x 4 x 4 u8, 3 classes>"
    assert all(row["ok"] for row in verify("tiny"))
    assert str(get("tiny")) == "datasets/tiny"


def test_order_of_search(tiny, monkeypatch):
    cache = tiny / "cache" / "nncore" / "datasets"
    other = tiny / "other"
    for root in (cache, tiny / "datasets", other):
        write_folder(root / "tiny")
        monkeypatch.setenv("NNCORE_DATA", str(other)) if root == other else None
        assert str(root.relative_to(tiny)) in load("tiny").source
    monkeypatch.setenv("NNCORE_DATA", str(tiny / "absent"))
    with pytest.raises(UsageError, match="NNCORE_DATA=.*absent is not a folder"):
        load("tiny")


def test_a_manifests_name_wins_over_a_folder_and_a_slash_means_the_folder(tiny):
    write_folder(tiny / "datasets" / "tiny")
    write_folder(tiny / "tiny", dict(tiny_files().items()))
    assert "datasets/tiny" in load("tiny").source
    assert load("./tiny").source == "IDX files in tiny"
    assert load(str(tiny / "tiny")).classes == ("0", "1", "2")


def test_a_folder_without_manifest_has_a_name_too(home):
    write_folder(home / "datasets" / "mine")
    write_folder(home / "elsewhere")
    assert load("mine").classes == ("0", "1", "2")
    assert load("elsewhere").name == "elsewhere"
    assert "mine" in names()


@pytest.mark.parametrize(("train", "test"), [("train-images.idx3-ubyte", "t10k-images.idx3-ubyte"),
                                             ("train-images-idx3-ubyte", "test-images-idx3-ubyte")])
def test_other_standard_names(home, train, test):
    files = tiny_files()
    files = {train: files["train-images-idx3-ubyte"], test: files["t10k-images-idx3-ubyte"],
             train.replace("images", "labels").replace("3-", "1-"): files["train-labels-idx1-ubyte"],
             test.replace("images", "labels").replace("3-", "1-"): files["t10k-labels-idx1-ubyte"]}
    assert load_folder(write_folder(home / "x", files)).test.shape == (6, 4, 4)


def test_unknown_names_get_suggestions(home):
    guess = re.escape("unknown data set 'fashion-mist': did you mean fashion-mnist?")
    with pytest.raises(UsageError, match=guess) as caught:
        load("fashion-mist")
    assert caught.value.exit_code == 2
    assert "glyphs" in str(caught.value)
    for bad in ("", "a\0b", "zzz"):
        with pytest.raises(UsageError):
            load(bad)
    with pytest.raises(UsageError):
        describe("zzz")
    with pytest.raises(UsageError):
        get("zzz")


def test_folders_that_are_none(home):
    (home / "file").write_text("")
    (home / "empty").mkdir()
    with pytest.raises(DataError, match="no such folder"):
        load("./nowhere")
    with pytest.raises(DataError, match="not a folder"):
        load("./file")
    with pytest.raises(DataError, match="holds no data: expected train-images-idx3-ubyte"):
        load("./empty")


def test_incomplete_folders_name_what_is_missing(tiny):
    files = tiny_files()
    del files["t10k-labels-idx1-ubyte"]
    write_folder(tiny / "datasets" / "tiny", files)
    for name in ("tiny", "./datasets/tiny"):
        with pytest.raises(DataError, match=r"but not t10k-labels-idx1-ubyte\[.gz\]; place it there"):
            load(name)
    (tiny / "csv").mkdir()
    (tiny / "csv" / "a_train_vectors.csv").write_text("1\n")
    with pytest.raises(DataError, match="but not a_train_labels.csv, a_test_vectors.csv, a_test_labels.csv"):
        load("./csv")
    (tiny / "csv" / "b_train_vectors.csv").write_text("1\n")
    with pytest.raises(DataError, match="both a_train_vectors.csv and b_train_vectors.csv"):
        load("./csv")


def test_manifest_shapes_are_strict(tiny):
    files = tiny_files()
    files["train-images-idx3-ubyte"] = idx_bytes((12, 2, 8), bytes(192))
    write_folder(tiny / "datasets" / "tiny", files)
    with pytest.raises(DataError, match="its header says 12 x 2 x 8, expected 12 x 4 x 4"):
        load("tiny")


def test_counts_labels_and_roles_are_checked(home):
    files = tiny_files()
    bad = dict(files, **{"train-labels-idx1-ubyte": idx_bytes((11,), bytes(11))})
    with pytest.raises(DataError, match="train-labels-idx1-ubyte: 11 labels for the 12 images of train-images-idx3"):
        load_folder(write_folder(home / "a", bad))
    bad = dict(files, **{"train-labels-idx1-ubyte": files["train-images-idx3-ubyte"]})
    with pytest.raises(DataError, match="3 dimensions where labels have one; are images and labels exchanged"):
        load_folder(write_folder(home / "b", bad))
    bad = dict(files, **{"train-images-idx3-ubyte": files["train-labels-idx1-ubyte"]})
    with pytest.raises(DataError, match="one dimension where images have two or more"):
        load_folder(write_folder(home / "c", bad))


def test_label_outside_the_manifests_classes(tiny):
    files = tiny_files()
    files["t10k-labels-idx1-ubyte"] = idx_bytes((6,), b"\0\1\2\3\0\0")
    write_folder(tiny / "datasets" / "tiny", files)
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: label 3 at index 3 is outside 0 to 2"):
        load("tiny")


def csv_folder(folder, vectors="1,2,3\n4,5,6\n", labels="0\n1\n", prefix="x"):
    folder.mkdir(exist_ok=True)
    for part in ("train", "test"):
        (folder / f"{prefix}_{part}_vectors.csv").write_text(vectors)
        (folder / f"{prefix}_{part}_labels.csv").write_text(labels)
    return folder


def test_csv_folder(home):
    data = load_folder(csv_folder(home / "a"))
    assert (data.train.shape, data.classes) == ((2, 3), ("0", "1"))
    assert data.source == "CSV files in a" or data.source.endswith("/a")
    assert load_folder(csv_folder(home / "b", labels="0\n17\n")).classes[-1] == "17"


def test_csv_folder_faults(home):
    with pytest.raises(DataError, match="x_train_labels.csv: 3 labels for the 2 images of x_train_vectors.csv"):
        load_folder(csv_folder(home / "a", labels="0\n1\n1\n"))
    row = ",".join(["7"] * 784) + "\n"
    with pytest.raises(DataError, match=r"mnist_train_labels.csv: line 2, label 1 \(column 2\): '10' is larger than 9"):
        load_folder(csv_folder(home / "b", row * 2, "0\n10\n", "fashion_mnist"))
    with pytest.raises(DataError, match="fashion_mnist_train_vectors.csv: line 1 .*too few values: 3, expected 784"):
        load_folder(csv_folder(home / "c", prefix="fashion_mnist"))
    assert load_folder(csv_folder(home / "d", row * 2, prefix="y")).train.shape == (2, 28, 28)


def test_csv_under_a_manifests_name(tiny):
    write_folder(tiny / "plain")
    make_csv(load_folder(tiny / "plain"), tiny / "datasets" / "tiny", "tiny")
    data = load("tiny")
    assert data.train.shape == (12, 4, 4) and data.classes == ("a", "b", "c")
    assert [row["ok"] for row in verify("tiny")] == [None] * 4


def test_describe_and_verify(tiny):
    about = describe("tiny")
    assert (about["here"], about["licence"], about["classes"]) == (False, "CC0", ["a", "b", "c"])
    with pytest.raises(DataError, match="nothing to verify on this machine"):
        verify("tiny")
    files = tiny_files()
    files["t10k-images-idx3-ubyte"] = files["t10k-images-idx3-ubyte"][:-1] + b"!"
    write_folder(tiny / "datasets" / "tiny", files)
    assert [row["ok"] for row in verify("tiny")] == [True, True, False, True]
    assert describe("tiny")["here"]
    assert describe("glyphs")["here"]


def test_cache_places(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(catalog.sys, "platform", "linux")
    assert str(catalog.cache_folder()) == "/home/me/.cache/nncore/datasets"
    monkeypatch.setattr(catalog.sys, "platform", "darwin")
    assert str(catalog.cache_folder()) == "/home/me/Library/Caches/nncore/datasets"


def test_importing_is_light():
    import subprocess
    import sys

    heavy = ("msgspec", "urllib.request", "tomllib", "numpy")
    code = f"import sys, nncore.data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
