"""nncore order: in which order our kernels add, found by probing them."""

from __future__ import annotations

import click

from nncore.cli import options as o
from nncore.cli.output import emit, table

TERMS = 40


@click.command()
@click.argument("kernel", required=False)
@click.option("--terms", type=click.IntRange(1, 4096), default=TERMS, show_default=True, metavar="N",
              help="How many numbers are added; rounded up where a kernel's geometry asks for it.")
@click.option("--svg", type=click.Path(dir_okay=False), metavar="FILE", help="Draw the tree of KERNEL.")
@o.options(o.isa_option, o.math_option, o.json_option)
def order(kernel: str | None, terms: int, svg: str | None, isa: str | None, math: str | None, as_json: bool) -> int:
    """Find the order in which a kernel sums, from outside, by masks that hide terms; compare it with the documented one.

    \b
      nncore order                      every kernel that sums, as one line each
      nncore order sum_all              the tree of one
      nncore order dense_fwd --math bf16x3 --terms 70
      nncore order sum_all --terms 24 --svg tree.svg

    Rounding makes the order part of the result. Ends with 1 if an order is not the documented one. From Python, any callable
    can be probed, NumPy's sum for one: nn.order.probe(lambda x: numpy.asarray(x).sum(), 100). Xie et al. 2024, arXiv 2411.00442.
    """
    from nncore.lab.order import show
    from nncore.lab.sums import SUMS, probed

    if kernel is None and svg:
        raise click.UsageError("--svg draws one tree: name a kernel")
    if kernel is not None and kernel not in SUMS:
        raise o.suggest("kernel", kernel, SUMS)
    chosen = [SUMS[kernel]] if kernel else [k for k in SUMS.values() if (math or "f32") in k.modes]
    found = [probed(k, terms, math or "f32", isa) for k in chosen]
    if svg:
        _write(svg, found[0])
    if as_json:
        emit({"schema": "nncore.order/1", "math": math or "f32", "isa": found[0].isa,
              "kernels": [{"name": p.name, "terms": p.terms, "holds": p.holds, "tree": p.tree} for p in found]}, indent=None)
    elif kernel:
        print(f"{_title(found[0])}: {_verdict(found[0])} ({SUMS[kernel].words(found[0].math)})\n")
        print(show(found[0].tree))
    else:
        rows = [(p.name, p.terms, _verdict(p), SUMS[p.name].words(p.math)) for p in found]
        print(table([("kernel", "terms", "verdict", "order"), *rows]))
    return 0 if all(p.holds for p in found) else 1


def _title(p) -> str:
    return f"{p.name}, {p.terms} terms, {p.math}, {p.isa}"


def _verdict(p) -> str:
    return "as documented" if p.holds else "NOT as documented"


def _write(path: str, p) -> None:
    from nncore.files import write_atomic
    from nncore.report.tree import draw

    write_atomic(path, draw(p.tree, _title(p)).encode())
