"""CSV: every refusal names line, value and column; fast and careful way agree; hostile bytes never crash."""

from __future__ import annotations

import ctypes
import mmap
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nncore._ffi import ffi, lib
from nncore.data import csv as module
from nncore.data import make_csv, read_csv, write_csv
from nncore.errors import DataError, LimitError
from nncore.tensor import Tensor

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def parse(tmp_path):
    def run(text: bytes, fields=None, **options):
        path = tmp_path / "x.csv"
        path.write_bytes(text)
        return read_csv(path, fields, **options)

    return run


def long_line(n: int, changes: dict[int, bytes] | None = None) -> bytes:
    values = [b"%d" % (i % 256) for i in range(n)]
    for i, value in (changes or {}).items():
        values[i] = value
    return b",".join(values)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("fields", [1, 2, 3, 63, 64, 65, 784])
def test_reads(parse, fields, end, last):
    lines = [long_line(fields, {0: b"%d" % i}) for i in range(40)]
    found = parse(end.join(lines) + end * last, fields)
    assert found.shape == (40, fields)
    assert found.tolist() == [[int(v) for v in line.split(b",")] for line in lines]


def test_infers_fields_and_takes_leading_zeros(parse):
    assert parse(b"007,000,255\n1,2,3").tolist() == [[7, 0, 255], [1, 2, 3]]


GOOD = long_line(100) + b"\n"
CASES = {
    "short line": (long_line(99), "line 3 (column 287): too few values: 99, expected 100"),
    "long line": (long_line(102), "line 3 (column 290): too many values: 102, expected 100"),
    "256": (long_line(100, {5: b"256"}), r"""line 3, value 6 (column 13): '256' is larger than 255"""),
    "1000": (long_line(100, {5: b"1000"}), r"""line 3, value 6 (column 14): '1000' is larger than 255"""),
    "0001": (long_line(100, {5: b"0001"}), "'0001' has more than three digits; write integers without leading zeros"),
    "-1": (long_line(100, {99: b"-1"}), "line 3, value 100 (column 288): '-1' is not an integer from 0 to 255"),
    "1e3": (long_line(100, {5: b"1e3"}), "line 3, value 6 (column 12): '1e3' is not an integer"),
    "1.0": (long_line(100, {5: b"1.0"}), "values are whole numbers"),
    "space": (long_line(100, {5: b" 1"}), "no spaces are allowed"),
    "semicolon": (long_line(100, {5: b"1;2"}), "separated by commas, not semicolons"),
    "tab": (long_line(100, {5: b"1\t2"}), "separated by commas, not tabs"),
    "quoted": (long_line(100, {5: b'"1"'}), "values are not quoted"),
    "letter": (long_line(100, {5: b"x"}), "line 3, value 6 (column 11): 'x' is not an integer"),
    "NUL": (long_line(100, {5: b"1\0"}), "a NUL byte: the file is binary or damaged"),
    "high byte": (long_line(100, {5: b"\xff"}), r"'\xff' is not an integer"),
    "empty field": (long_line(100, {5: b""}), "line 3, value 6 (column 11): the value is empty; expected an"),
    "empty first": (long_line(100, {0: b""}), "line 3, value 1 (column 1): the value is empty"),
    "empty last": (long_line(100, {99: b""}), "line 3, value 100 (column 288): the value is empty"),
    "blank line": (b"", "line 3: the line is blank; remove it"),
    "lone CR": (long_line(100, {5: b"1\r2"}), "a carriage return without a line feed"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_refuses(parse, case, end):
    line, message = CASES[case]
    text = end.join([GOOD.rstrip(), GOOD.rstrip(), line, GOOD.rstrip(), GOOD.rstrip(), b""])
    with pytest.raises(DataError, match=r"x\.csv: .*" + re.escape(message)):
        parse(text, 100)


@pytest.mark.parametrize(("text", "message"), [
    (b"", "the file is empty"),
    (b"\n", "line 1: the line is blank"),
    (b"label,pixel\n1,2\n", "line 1, value 1 (column 1): 'label' is not an integer from 0 to 255; is this a head"),
    (b"\xef\xbb\xbf1,2\n", "byte order mark"),
    (b"1,2\n\n", "line 2: the line is blank"),
    (b"1,2\r", "carriage return without a line feed"),
    (b"1,2\n3", "line 2 (column 2): too few values: 1, expected 2"),
    (b"1,2\n3,4,5,6,7", "line 2 (column 4): too many values: 5, expected 2"),
    (b"\x1f\x8b\x08\0\0\0", "line 1, value 1"),
])
def test_refuses_whole_files(parse, text, message):
    with pytest.raises(DataError, match=re.escape(message)):
        parse(text)


def test_labels_outside_their_classes(parse):
    with pytest.raises(DataError, match=re.escape("line 3, label 1 (column 2): '10' is larger than 9")):
        parse(b"1\n9\n10\n", 1, largest=9, what="label")
    assert len(parse(b"1\n9\n", 1, largest=9)) == 2


def test_refuses_what_is_no_file(tmp_path):
    with pytest.raises(DataError, match="a folder"):
        read_csv(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_csv(tmp_path / "absent.csv")


def test_every_split_gives_the_same_table_and_the_same_error(parse, monkeypatch):
    monkeypatch.setattr(module, "_PIECE", 100)
    lines = [long_line(30, {0: b"%d" % i}) for i in range(50)]
    good = b"\n".join(lines)
    expected = parse(good, 30, threads=1)
    assert all(parse(good, 30, threads=k) == expected for k in (2, 3, 7))
    for at in (0, 24, 25, 26, 49):
        bad = b"\n".join([*lines[:at], lines[at] + b",1", *lines[at + 1 :]])
        for k in (1, 2, 3, 7):
            with pytest.raises(DataError, match=rf"line {at + 1} \("):
                parse(bad, 30, threads=k)


def test_more_than_one_fault_reports_the_first_line(parse, monkeypatch):
    monkeypatch.setattr(module, "_PIECE", 7)
    with pytest.raises(DataError, match="line 2,"):
        parse(b"1\nx\n" + b"1\n" * 100 + b"y\n", 1)


def test_absurd_table_is_refused_before_memory_is_taken(parse):
    # The first line claims 100,000 fields and there are 100,000 lines: 10 GB, of a file of 0.4 MB.
    with pytest.raises(DataError, match="line 2"):
        parse(b"1," * 99_999 + b"1\n" + b"1\n" * 100_000)


# ---- against a plain oracle -----------------------------------------------------------------------------------------


def oracle(text: bytes, fields: int):
    """Rows as lists, or (row, field) of the first fault, by the grammar at the top of csv.c."""
    lines = text.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    rows = []
    for r, line in enumerate(lines):
        body = line[:-1] if line.endswith(b"\r") and (r + 1 < len(lines) or text.endswith(b"\n")) else line
        values = body.split(b",")
        for f, value in enumerate(values[:fields]):
            if not re.fullmatch(rb"[0-9]{1,3}", value) or int(value) > 255:
                return r, f
        if len(values) != fields:
            return r, min(len(values), fields)
        rows.append([int(v) for v in values])
    return rows


def check_against_oracle(text: bytes, fields: int) -> None:
    rows = lib.nn_csv_lines(text, len(text))
    out = ffi.new("uint8_t[]", rows * fields + 8)
    ffi.memmove(out + rows * fields, b"\xa5" * 8, 8)
    for target in (out, ffi.NULL):
        fault = ffi.new("nn_csv_fault *")
        status = lib.nn_csv_parse(target, text, len(text), rows, fields, 255, fault)
        expected = oracle(text, fields)
        if isinstance(expected, tuple):
            assert status in (lib.NN_ERR_FORMAT, lib.NN_ERR_RANGE)
            assert (fault.row, fault.field) == expected
            assert 0 <= fault.line <= fault.begin <= fault.offset + 1 <= len(text) + 1
        else:
            assert status == lib.NN_OK
            if target != ffi.NULL:
                assert list(out)[: rows * fields] == [v for row in expected for v in row]
    assert bytes(ffi.buffer(out))[-8:] == b"\xa5" * 8


@FUZZ
@given(st.data())
def test_mutated_tables_against_the_oracle(data):
    fields = data.draw(st.integers(1, 40))
    rows = data.draw(st.integers(1, 12))
    value = st.integers(0, 255)
    end = data.draw(st.sampled_from([b"\n", b"\r\n"]))
    lines = [b",".join(b"%d" % data.draw(value) for _ in range(fields)) for _ in range(rows)]
    text = bytearray(end.join(lines) + end * data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(text)))
        kind = data.draw(st.sampled_from(["insert", "replace", "delete"]))
        byte = data.draw(st.sampled_from(b"0129,,\n\r-. ;\0\xff/:"))
        text[at : at + (kind != "insert")] = b"" if kind == "delete" else bytes([byte])
    if text:
        check_against_oracle(bytes(text), fields)


@FUZZ
@given(st.binary(min_size=1, max_size=400) | st.text("0123,\n\r", min_size=1, max_size=400).map(str.encode),
       st.integers(1, 5))
def test_any_bytes_against_the_oracle(text, fields):
    check_against_oracle(text, fields)


def test_never_reads_past_the_text():
    libc = ctypes.CDLL(None)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 3 * page)
    base = ffi.from_buffer("uint8_t[]", memory)
    start = int(ffi.cast("uintptr_t", base))
    assert libc.mprotect(start, page, 0) == 0
    assert libc.mprotect(start + 2 * page, page, 0) == 0
    try:
        out, fault = ffi.new("uint8_t[]", 2 * page), ffi.new("nn_csv_fault *")
        for n in [*range(1, 200), page]:
            text = (b"12,345,6\n7,8,9\n" * page)[:n]
            for at in (base + page, base + 2 * page - n):  # behind one unreadable page, before the other
                ffi.memmove(at, text, n)
                rows = lib.nn_csv_lines(at, n)
                lib.nn_csv_parse(out, at, n, rows, 3, 255, fault)
                lib.nn_csv_parse(out, at, n, rows, 1, 255, fault)
                assert lib.nn_csv_fields(at, n) >= 1
    finally:
        libc.mprotect(start, 3 * page, 3)


def test_bad_arguments_are_a_status():
    fault, out = ffi.new("nn_csv_fault *"), ffi.new("uint8_t[]", 8)
    for rows, fields, most in ((-1, 1, 255), (1, 0, 255), (1, 1, 256), (1, 1, -1)):
        assert lib.nn_csv_parse(out, b"1\n", 2, rows, fields, most, fault) == lib.NN_ERR_ARGUMENT
    assert lib.nn_csv_parse(out, b"1\n2\n", 4, 1, 1, 255, fault) == lib.NN_ERR_FORMAT
    assert fault.reason == lib.NN_CSV_MANY_LINES
    assert lib.nn_csv_parse(out, b"1\n", 2, 2, 1, 255, fault) == lib.NN_ERR_FORMAT
    assert fault.reason == lib.NN_CSV_FEW_LINES
    assert lib.nn_csv_format(out, 7, b"12", 1, 2) == -1
    assert lib.nn_csv_format(out, 8, b"12", 1, 0) == -1


# ---- writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (300, 3), (7, 784), (2, 2, 2)])
def test_what_is_written_is_read_back(tmp_path, shape):
    n = 1
    for s in shape:
        n *= s
    table = Tensor(shape, "u8", bytes((i * 37) % 256 for i in range(n)))
    write_csv(tmp_path / "t.csv", table)
    found = read_csv(tmp_path / "t.csv", n // shape[0])
    assert found.tobytes() == table.tobytes()
    assert (tmp_path / "t.csv").read_bytes().endswith(b"\n")


def test_format_matches_python(tmp_path):
    table = Tensor((256, 1), "u8", bytes(range(256)))
    write_csv(tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_text() == "".join(f"{i}\n" for i in range(256))


def test_make_csv_writes_the_courses_four_files(tmp_path):
    from nncore.data import glyphs, load_folder

    data = glyphs(50, 20)
    paths = make_csv(data, tmp_path / "out" / "data")
    assert sorted(p.rsplit("/", 1)[1] for p in paths) == sorted(
        f"fashion_mnist_{s}_{k}.csv" for s in ("train", "test") for k in ("vectors", "labels"))
    again = load_folder(tmp_path / "out" / "data")
    assert again.train.images == data.train.images
    assert again.test.labels == data.test.labels
    assert again.train.shape == (50, 28, 28)
    assert again.classes[0] == "T-shirt/top"


def test_make_csv_into_a_file_is_a_limit(tmp_path):
    from nncore.data import glyphs

    (tmp_path / "x").write_text("")
    with pytest.raises(LimitError, match="cannot be written"):
        make_csv(glyphs(10, 10), tmp_path / "x" / "y")
