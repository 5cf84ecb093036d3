"""Reports: one self-contained HTML file from the files that a run wrote, and several runs side by side.

    read.py     run folders as plain data, names made harmless      charts.py   curves and diagrams (altair, static SVG)
    png.py      pictures from bytes                                 page.py     the pages (jinja2, escaped throughout)
    compare.py  what differs between runs                           notebook.py what Jupyter shows of our objects
    drawing.py  the computational graph                         bench.py    gates, ratios, roofline, history
    lab.py      the laboratory, a chapter an experiment         grade.py    a class, one student, the leaderboard
    glance.py   a bench as one picture

A report needs no network, no script and no other file: charts are inlined SVG whose colours follow the reader's theme.
"""

from nncore.report.bench import bench_files, bench_html
from nncore.report.compare import compare
from nncore.report.glance import glance_svg
from nncore.report.grade import board_html, grade_html, student_html
from nncore.report.lab import lab_html
from nncore.report.page import compare_html, report_html
from nncore.report.read import Run, read_run
from nncore.report.render import require

__all__ = ["Run", "bench_files", "bench_html", "board_html", "compare", "compare_html", "glance_svg", "grade_html", "lab_html",
           "read_run", "report_html", "require", "student_html"]
