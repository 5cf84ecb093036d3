"""nncore order: the list of kernels, one tree, a drawing, JSON, bad names."""

from __future__ import annotations

from nncore.lab.sums import SUMS


def test_the_command(inside, tmp_path):
    found = inside("order", "--terms", 9, "--json").json
    assert found["schema"] == "nncore.order/1" and [k["name"] for k in found["kernels"]] == list(SUMS)
    assert all(k["holds"] for k in found["kernels"])
    text = inside("order", "tree_sum", "--terms", 5, "--svg", "t.svg").out
    assert "as documented" in text and text.endswith("+ from top to bottom\n|- 0 + 1\n|- 2 + 3\n`- 4\n")
    drawn = (tmp_path / "t.svg").read_text()
    assert drawn.count("<circle") == 4 and "tree_sum, 5 terms" in drawn
    assert "blocks of 32" in inside("order", "dense_fwd", "--math", "bf16").out


def test_bad_options(inside):
    for arguments, text in ((("sumall",), "did you mean sum_all"), (("--svg", "t.svg"), "name a kernel"),
                            (("sum_all", "--math", "bf16"), "one order"), (("--terms", 0), "1<=x")):
        found = inside("order", *arguments)
        assert found.code == 2 and text in found.err and found.out == ""
