"""The pages in a browser: no complaint, no request, no sideways scrolling, two themes, and paper."""

from __future__ import annotations

import pytest

from nncore.bench.groups import verdicts
from nncore.report import bench_files, bench_html, compare_html, read_run, report_html
from tests.browser import Browser, need_chromium
from tests.report.conftest import LAYERS, convolutional, history
from tests.report.test_report_bench import LIMITS, row, write
from tests.report.test_report_page import HOSTILE

pytestmark = pytest.mark.usefixtures("extras")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    need_chromium()
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def pages(folder, tmp_path):
    """A report, one with hostile names, a comparison, and a bench."""
    names = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    runs = [folder("mine", insight=convolutional(names)), folder("a rather long name of a run", {"lr": 0.1}, records=history(7)),
            folder("<img src=x onerror=alert(1)>", {"data.name": HOSTILE[0]}, records=history(3, layers=LAYERS + HOSTILE[:9]),
                   insight=convolutional(HOSTILE))]
    read = [read_run(r) for r in runs]
    found = {"report": report_html(read[0]), "hostile": report_html(read[2], notes=HOSTILE), "compare": compare_html(read)}
    rows = [*LIMITS, *(row(f"case {i}", 1.5 ** (i - 3), threads, gate) for gate in ("gemm", "elementwise") for threads in (1, 2)
                       for i in range(9))]
    latest = write(write(tmp_path / "1.jsonl", rows).with_name("2.jsonl"), rows)
    found["bench"] = bench_html(bench_files(latest), list(verdicts(rows)))
    for name, html in found.items():
        (tmp_path / f"{name}.html").write_text(html)
    return tmp_path


OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("name", ["report", "hostile", "compare", "bench"])
def test_no_complaints_no_requests_no_overflow(browser, pages, name):
    page = browser.open(pages / f"{name}.html", width=390)
    for width in (390, 320, 820, 1280):
        page.resize(width)
        assert page.evaluate(OVERFLOW) <= 0, f"sideways scrolling at {width} px"
    assert page.evaluate("[...document.querySelectorAll('img')].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("document.images.length + document.querySelectorAll('svg').length") > 1
    assert page.requests == [] and page.complaints == []
    assert page.evaluate("document.querySelectorAll('script').length") == 1


def test_the_policy_stops_what_is_not_ours(browser, pages):
    """The policy is no ornament: a load and a script that someone writes into the page are refused."""
    html = (pages / "report.html").read_text()
    worse = html.replace("<main>", "<main><img src='http://127.0.0.1:9/x.png'><script>window.x = 1</script>")
    (pages / "bad.html").write_text(worse)
    page = browser.open(pages / "bad.html")
    assert page.evaluate("window.x === undefined") and len(page.complaints) >= 2
    assert all("Content Security Policy" in c for c in page.complaints)


def contrast(page, selector: str) -> float:
    """Contrast of a text with the page's card (WCAG 2.2, 1.4.3)."""
    values = page.evaluate(f"""(() => {{
        const rgb = (c) => c.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
            .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        const light = (c) => {{ const [r, g, b] = rgb(c); return 0.2126 * r + 0.7152 * g + 0.0722 * b; }};
        return [light(getComputedStyle(document.querySelector({selector!r})).color),
                light(getComputedStyle(document.querySelector('.card')).backgroundColor)]; }})()""")
    return (max(values) + 0.05) / (min(values) + 0.05)


def test_light_dark_and_the_button(browser, pages):
    ground = "getComputedStyle(document.body).backgroundColor"
    curve = "getComputedStyle(document.querySelector('svg path[stroke]')).stroke"
    page = browser.open(pages / "report.html")
    light = page.evaluate(f"[{ground}, {curve}]")
    assert contrast(page, ".soft") > 4.5 and contrast(page, "h3") > 7
    page.scheme("dark")
    dark = page.evaluate(f"[{ground}, {curve}]")
    assert light[0] != dark[0] and light[1] != dark[1]
    assert contrast(page, ".soft") > 4.5 and contrast(page, "h3") > 7
    button = "document.getElementById('theme')"
    assert page.evaluate(f"{button}.hidden") is False
    page.evaluate(f"{button}.click()")
    assert page.evaluate(f"{button}.textContent") == "Light" and page.evaluate(ground) == light[0]
    page.evaluate(f"{button}.click()")
    page.scheme("light")
    assert page.evaluate(f"{button}.textContent") == "Dark" and page.evaluate(ground) == dark[0]
    page.evaluate(f"{button}.click()")
    assert page.evaluate(ground) == light[0]
    asked = browser.open(pages / "report.html", fragment="#theme=dark")
    assert asked.evaluate(ground) == dark[0] and not asked.complaints


def test_paper(browser, pages, tmp_path):
    page = browser.open(pages / "report.html", scheme="dark", fragment="#theme=dark")
    page.print(tmp_path / "report.pdf")
    data = (tmp_path / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF") and len(data) > 20_000
    page.call("Emulation.setEmulatedMedia", media="print")
    page.resize(720)
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "dark ink on white paper"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
