"""What a network looks like: summary and drawing."""

from xml.etree import ElementTree

import pytest

import nncore as nn


def branched():
    x = nn.Input((6, 6))
    h = nn.Dense(5)(x)
    shared = nn.Dense(5, bias=False)
    return nn.Model(x, nn.Dense(3)(shared(nn.Tanh()(shared(h)))))


def test_summary_counts_what_there_is():
    summary = nn.Sequential([nn.Dense(64), nn.ReLU(), nn.Dense(10)]).summary((28, 28))
    assert [r.shape for r in summary.rows] == [(64,), (64,), (10,)]
    assert [r.parameters for r in summary.rows] == [784 * 64 + 64, 0, 650]
    assert summary.rows[0].flop == 2 * 784 * 64 and summary.rows[2].flop == 2 * 64 * 10
    assert [r.nbytes for r in summary.rows] == [256, 256, 40]
    text = str(summary)
    assert "50,890 parameters" in text and "Dense(units=64)" in text and "input 28x28x1" in text


def test_a_layer_used_twice_is_counted_once():
    summary = branched().summary()
    assert [r.parameters for r in summary.rows] == [185, 25, 0, 0, 18]
    assert summary.parameters == branched().build((6, 6)).parameter_count


def test_summary_needs_a_shape():
    with pytest.raises(nn.UsageError, match="shape of a sample"):
        nn.Sequential([nn.Dense(2)]).summary()


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]


def test_drawing_forward_and_backward(tmp_path):
    model = branched()
    forward = model.draw(tmp_path / "net.svg")
    assert (tmp_path / "net.svg").read_text() == str(forward) == forward._repr_svg_()
    words = texts(str(forward))
    assert words.count("Dense(units=5, bias=False)") == 2 and not any("bwd" in w for w in words)
    backward = texts(str(model.draw(backward=True, loss=nn.CrossEntropy())))
    assert sum("dense_bwd_weight" in w for w in backward) == 4 and sum("dense_bwd_data" in w for w in backward) == 3
    assert any("tanh_bwd" in w for w in backward)


def test_drawing_has_an_edge_for_every_use():
    x = nn.Input((4,))
    h = nn.Dense(4)(x)
    drawing = nn.Model(x, nn.Dense(2)(nn.Tanh()(h))).draw()
    edges = [(e["from"], e["to"]) for e in drawing.outline["edges"]]
    assert edges == [("input", "layer0"), ("layer0", "layer1"), ("layer1", "layer2")]


def test_hostile_names_are_escaped():
    from nncore.report.drawing import draw

    evil = "<script>alert(1)</script>&\""
    svg = draw({"title": evil, "cards": [{"id": "a", "title": evil, "shape": [], "parameters": 0, "forward": [], "backward": []}],
                "edges": []})
    assert "<script>" not in svg and texts(svg) == [evil]


def test_the_gradient_comes_back_through_every_layer_that_a_parameter_reaches():
    x = nn.Input((4, 4, 1))
    h = nn.Conv2D(2, 3)(nn.MaxPool2D(2)(x))
    drawing = nn.Model(x, nn.Dense(2)(nn.Add()(h, nn.ReLU()(h)))).draw(backward=True)
    back = {(e["from"], e["to"]) for e in drawing.outline["edges"] if e["phase"] == "backward"}
    forward = {(e["from"], e["to"]) for e in drawing.outline["edges"] if e["phase"] == "forward"}
    assert forward - back == {("input", "layer0"), ("layer0", "layer1")}
