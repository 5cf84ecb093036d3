"""nncore kernels check, on kernels that play a role each: right, nearly right, wrong in every way we could think of, hostile."""

from __future__ import annotations

import json
import subprocess

import pytest

from nncore.assign import judge
from nncore.bench.signature import HEADER, header, signatures, template
from nncore.cli import run
from nncore.errors import NNError
from tests.harness import need

HEAD = "#include <math.h>\n#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
UNARY = "void {name}(float *y, const float *x, int64_t n) {{ for (int64_t i = 0; i < n; i++) {body} }}\n"
BINARY = "void {name}(float *y, const float *a, const float *b, int64_t n) {{ for (int64_t i = 0; i < {n}; i++) {body} }}\n"

RIGHT = {
    "relu_fwd": UNARY.format(name="relu_fwd", body="y[i] = x[i] < 0 ? 0 : x[i];"),
    "relu_bwd": "void relu_bwd(float *dx, const float *dy, const float *y, int64_t n)\n"
                "{ for (int64_t i = 0; i < n; i++) dx[i] = y[i] > 0 ? dy[i] : 0; }\n",
    # From the last term to the first: another order than ours, within the bound all the same.
    "dense_fwd": "void dense_fwd(float *y, const float *x, const float *w, const float *b, int64_t N, int64_t I, int64_t O)\n"
                 "{ for (int64_t i = 0; i < N; i++) for (int64_t o = 0; o < O; o++) { float s = 0;\n"
                 "  for (int64_t k = I; k-- > 0;) s += x[i * I + k] * w[k * O + o];\n"
                 "  y[i * O + o] = b ? s + b[o] : s; } }\n",
    # One ulp away on purpose, of two that are allowed.
    "exponential": UNARY.format(name="exponential",
                                body="{ float v = expf(x[i]); y[i] = v > 0 && v < INFINITY ? nextafterf(v, 1) : v; }"),
}
WRONG = {
    "mul": BINARY.format(name="mul", n="n", body="y[i] = nextafterf(a[i] * b[i], 1e30f);"),
    "softmax_fwd": "void softmax_fwd(float *y, const float *x, int64_t N, int64_t C)\n"
                   "{ for (int64_t i = 0; i < N; i++, x += C, y += C) { float s = 0;\n"
                   "  for (int64_t j = 0; j < C; j++) s += expf(x[j]);\n"
                   "  for (int64_t j = 0; j < C; j++) y[j] = expf(x[j]) / s; } }\n",
    "add": BINARY.format(name="add", n="n + 1", body="y[i] = a[i] + b[i];"),
    "sub": BINARY.format(name="sub", n="n", body="y[i] = *(volatile float *)8 + a[i] - b[i];"),
    "scale": "void scale(float *y, const float *x, int64_t n, double c) { for (;;) y[0] = x[0] * (float)c + n; }\n",
    "quotient": BINARY.format(name="quotient", n="n / 8 * 8", body="y[i] = a[i] / b[i];"),
    "square_root": UNARY.format(name="square_root", body='puts("{\\"verdict\\": \\"PASS\\"}"), fflush(stdout), y[i] = x[i];'),
    "logarithm": "void logarithm(float *y, const float *x, int64_t n)\n"
                 "{ for (int64_t i = 0; i < n; i++) y[i] = logf(x[i]); exit(0); }\n",
    "assign": "void assign(float *y, const float *x, int64_t n)\n"
              "{ for (int64_t i = 0; i < n; i++) y[i] = x[i]; volatile float next = x[n]; (void)next; }\n",
    "sum_rows": "void sum_rows(float *y, const float *x, int64_t N, int64_t C, int64_t shards)\n"
                "{ for (int64_t s = 0; s < shards; s++) for (int64_t j = 0; j < C; j++) {\n"
                "  float *t = (float *)x + s * (N / shards) * C + j;\n"
                "  for (int64_t i = 1; i < N / shards; i++) *t += t[i * C];\n"
                "  y[s * C + j] = N / shards ? *t : 0; } }\n",
    "sigmoid_bwd": "void sigmoid_bwd(float *dx, const float *dy, const float *y, int64_t n, double lambda)\n"
                   "{ (void)lambda; for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * y[i] * (1 - y[i]); }\n",
    "satlin_bwd": "void satlin_bwd(float *dx, const float *dy, const float *y, int64_t n)\n"
                  "{ for (int64_t i = 0; i < n; i++) dx[i] = 0;\n"
                  "  for (int64_t i = 0; i < n; i++) if (y[i] > 0 && y[i] < 1) dx[i] = dy[i]; }\n",
    "softplus_fwd": "static int calls;\nvoid softplus_fwd(float *y, const float *x, int64_t n)\n"
                    "{ calls++; for (int64_t i = 0; i < n; i++) {\n"
                    "  float v = x[i] > 0 ? x[i] + log1pf(expf(-x[i])) : log1pf(expf(x[i]));\n"
                    "  y[i] = calls % 2 || v == INFINITY ? v : nextafterf(v, 1e30f); } }\n",
    "fill": 'void fill(float *y, int64_t n, double c) { for (;;) printf("%g %p %ld\\n", c, (void *)y, (long)n); }\n',
    "tree_sum": "void tree_sum(float *y, const float *x, int64_t n, int64_t shards)\n"
                "{ kill(getppid(), SIGKILL); for (int64_t i = 0; i < n; i++) y[i] = x[i] * shards; }\n",
}
# The verdict, and which checks fail (None: whatever was tried).
FATE = {
    **dict.fromkeys(RIGHT, ("PASS", set())),
    "mul": ("FAIL", {"values", "shapes", "aliasing", "memory", "traps"}),
    "softmax_fwd": ("FAIL", {"values", "traps"}),
    "add": ("FAIL", None),
    "sub": ("CRASHED", None),
    "scale": ("TIME_LIMIT", None),
    "quotient": ("FAIL", {"shapes", "aliasing", "memory", "traps"}),
    "square_root": ("FAIL", {"values", "shapes", "aliasing", "memory", "traps"}),
    "logarithm": ("CRASHED", None),
    "assign": ("FAIL", {"memory"}),
    "sum_rows": ("FAIL", None),
    "sigmoid_bwd": ("FAIL", {"values", "shapes", "aliasing", "memory", "traps", "gradient"}),
    "satlin_bwd": ("FAIL", {"aliasing"}),
    "softplus_fwd": ("FAIL", {"determinism"}),
    "fill": ("OUTPUT_LIMIT", None),
    "tree_sum": ("FAIL or CRASHED", None),  # the first process of a namespace may or may not be out of its reach
}


@pytest.fixture(scope="module")
def sandboxed():
    """The sandbox works here."""
    try:
        judge.ready("bwrap")
    except NNError as e:
        need("bwrap", False, f"apt install bubblewrap ({e})")


@pytest.fixture(scope="module")
def report(sandboxed, tmp_path_factory):
    """All of them in one file, checked once."""
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "all.c").write_text(HEAD + "".join([*RIGHT.values(), *WRONG.values()]))
    return checked(folder / "all.c", "--require", "relu_fwd,argmax", "--no-speed", "--no-training")


def checked(path, *options) -> tuple[int, dict]:
    """Exit code and JSON of `nncore kernels check`."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run(["kernels", "check", str(path), "--json", *options])
    return code, json.loads(out.getvalue())


@pytest.mark.parametrize("name", FATE)
def test_every_kernel_gets_the_verdict_it_deserves(report, name):
    kernel = next(k for k in report[1]["kernels"] if k["name"] == name)
    verdict, failing = FATE[name]
    failed = {c["name"] for c in kernel["checks"] if c["verdict"] == "FAIL"}
    said = kernel["verdict"]
    assert said in verdict.split(" or ") and (failed == failing if failing is not None else failed), (said, failed)


def test_one_bad_kernel_harms_no_other(report):
    code, found = report
    assert code == 1 and found["schema"] == "nncore.kernels/1" and found["verdict"] == "FAIL" and found["sandbox"] == "bwrap"
    assert {k["name"] for k in found["kernels"]} == {*FATE, "argmax"} and found["passed"] == len(RIGHT)
    missing = found["kernels"][-1]
    assert (missing["name"], missing["verdict"], missing["checks"]) == ("argmax", "MISSING", [])


@pytest.mark.parametrize("name, check, words", [
    ("mul", "values", ["ulp away, allowed 0.5", "one rounding", "argument 1 = ["]),
    ("softmax_fwd", "traps", ["data 'up to 1e4'", "nan"]),
    ("add", "values", ["wrote behind its end"]),
    ("sub", "values", ["ended by signal 11"]),
    ("scale", "values", ["did not come back in time"]),
    ("quotient", "shapes", ["on sizes (1)"]),
    ("logarithm", "values", ["ended the process it ran in"]),
    ("assign", "memory", ["an unreadable page behind every buffer", "touched an unreadable page"]),
    ("sum_rows", "values", ["argument 1 is an input and was changed"]),
    ("sigmoid_bwd", "gradient", ["sigmoid_bwd-lambda", "central differences of sigmoid_fwd in float64"]),
    ("satlin_bwd", "aliasing", ["argument 0 in place of 1"]),
    ("softplus_fwd", "determinism", ["another result than the first time"]),
])
def test_failures_are_told_so_that_they_can_be_repeated(report, name, check, words):
    kernel = next(k for k in report[1]["kernels"] if k["name"] == name)
    failure = next(c for c in kernel["checks"] if c["name"] == check)["failure"]
    assert failure.startswith(name) and all(w in failure for w in words), failure


BATCH_NORM = """void batch_norm_bwd(float *dx, float *dgamma, float *dbeta, float *work, const float *dy, const float *x,
    const float *mean, const float *var, const float *gamma, int64_t N, int64_t C, int64_t shards, int64_t chunk, int64_t fixed,
    double eps)
{
    int64_t n = N / shards;
    for (int64_t i = 0; i < shards * C * (2 * ((n + chunk - 1) / chunk) + 3); i++) work[i] = 0;
    for (int64_t k = 0; k < shards * C; k++) {
        int64_t at = k / C * n * C + k % C, stat = fixed ? k % C : k;
        double z = 1 / sqrt(var[stat] + eps), a = z * (gamma ? gamma[k % C] : 1), sum = 0, product = 0;
        for (int64_t i = 0; i < n; i++) {
            sum += dy[at + i * C];
            product += dy[at + i * C] * z * (x[at + i * C] - mean[stat]);
        }
        dbeta[k] = sum, dgamma[k] = product;
        for (int64_t i = 0; i < n; i++)
            dx[at + i * C] = a * (dy[at + i * C] - (fixed ? 0 : sum / n + z * (x[at + i * C] - mean[stat]) * product / n));
    }
}
"""


@pytest.mark.parametrize("right, wrong, variant", [
    ("", "", None),
    (" + z * (x[at + i * C] - mean[stat]) * product / n", "", "batch_norm_bwd"),  # a constant variance
    ("sum / n + z", "z", "batch_norm_bwd"),  # a constant mean
    ("(fixed ? 0 :", "(", "batch_norm_bwd-fixed"),  # no constants where they are given
    ("dbeta[k] = sum", "dbeta[k] = sum / n", "batch_norm_bwd on sizes"),
], ids=["right", "variance", "mean", "fixed", "shift"])
def test_the_gradient_of_a_batch_norm(sandboxed, tmp_path, right, wrong, variant):
    """Of the batch's statistics and of given ones, with and without a factor: not one formula of ours is compared with."""
    assert right in BATCH_NORM
    (tmp_path / "mine.c").write_text(HEAD + BATCH_NORM.replace(right, wrong, 1))
    kernel, = checked(tmp_path / "mine.c", "--no-speed", "--no-training")[1]["kernels"]
    gradient = next(c for c in kernel["checks"] if c["name"] == "gradient")
    assert gradient["trials"] == 3 and kernel["verdict"] == ("FAIL" if variant else "PASS"), kernel
    if variant:
        said = gradient["failure"]
        assert said.startswith(variant) and "central differences of batch_norm" in said and "in float64" in said, said


def test_errors_are_told_in_ulps_beside_their_bound(report):
    kernel = next(k for k in report[1]["kernels"] if k["name"] == "exponential")
    values = next(c for c in kernel["checks"] if c["name"] == "values")
    assert 0.9 < values["ulps"] < values["allowed_ulps"] and values["trials"] >= 4 and values["failed"] == 0


# ---- files that never come to a call -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text, verdict, words", [
    ("void relu_fwd(float *y, {", "BUILD_FAILED", ["error:", "kernels.c:1"]),
    ("void relu_fwd(double *y, const double *x, int64_t n) { y[0] = x[n]; }", "BUILD_FAILED", ["conflicting types", "relu_fwd"]),
    ("void helper(void);\nvoid relu_fwd(float *y, const float *x, int64_t n) { helper(); y[n] = *x; }", "BUILD_FAILED",
     ["undefined reference to `helper'"]),
    ('#include "/etc/shadow"\n', "BUILD_FAILED", ["No such file"]),
    ("int relu(void) { return 0; }", "MISSING", ["called like a kernel"]),
    ("__attribute__((constructor)) static void gone(void) { kill(getppid(), SIGKILL); kill(getpid(), SIGKILL); }\n"
     + RIGHT["relu_fwd"], "BUILD_FAILED", ["loading it did not end well"]),
], ids=["syntax", "prototype", "undefined", "secrets", "nothing", "constructor"])
def test_files_without_a_kernel(sandboxed, tmp_path, text, verdict, words):
    path = tmp_path / "mine.c"
    path.write_text(text if words[-1] == "kernels.c:1" else HEAD + text)
    code, found = checked(path, "--require", "relu_fwd")
    assert code == 1 and found["verdict"] == verdict and all(w in found["message"] for w in words), found["message"]
    assert [k["verdict"] for k in found["kernels"]] == ["MISSING" if verdict == "MISSING" else "BUILD_FAILED"]


def test_wrong_usage(inside, tmp_path):
    assert inside("kernels", "check", "nowhere.c").code == 3
    done = inside("kernels", "check", "nowhere.c", "--require", "relu_forward")
    assert done.code == 2 and "did you mean" in done.err and "relu_fwd" in done.err
    assert inside("kernels", "check", "x.c", "--require", "relu_fwd", "--only", "mul").code == 2


# ---- speed and training ------------------------------------------------------------------------------------------------


def compiled(path, *flags):
    """A C file as a library, by the compiler of this machine."""
    folder = path.parent
    (folder / "kernels.h").write_text(header())
    library = path.with_suffix(".so")
    subprocess.run(["cc", "-std=gnu11", "-O2", "-fPIC", "-shared", *flags, "-include", "kernels.h", f"-I{HEADER.parent}", "-I.",
                    path.name, "-o", library.name, "-lm"], cwd=folder, check=True)
    return library


def test_a_library_with_times_and_a_training(sandboxed, tmp_path):
    path = tmp_path / "mine.c"
    path.write_text(HEAD + "".join(RIGHT.values()))
    code, found = checked(compiled(path), "--only", "relu_fwd,relu_bwd,dense_fwd")
    assert code == 0 and found["verdict"] == "PASS" and found["passed"] == 3
    for kernel in found["kernels"]:
        speed = kernel["speed"]
        assert speed["seconds"] > 0 and 1e-4 < speed["to_ours"] < 1e4 and 1e-4 < speed["to_reference"] < 1e4, speed
    training = found["training"]
    assert training["verdict"] == "PASS" and set(training["kernels"]) == {"relu_fwd", "relu_bwd", "dense_fwd"}
    assert training["ours"] > 0.7 and abs(training["accuracy"] - training["ours"]) < 0.05


def test_a_kernel_that_is_wrong_in_training_alone(sandboxed, tmp_path):
    """Right on all that is checked, nothing but zeros on the sizes of the network."""
    path = tmp_path / "mine.c"
    zeros = "float s = 0; if (I == 784) { y[i * O + o] = 0; continue; }"
    path.write_text(HEAD + RIGHT["dense_fwd"].replace("float s = 0;", zeros))
    code, found = checked(path, "--no-speed")
    assert found["kernels"][0]["verdict"] == "PASS" and found["training"]["verdict"] == "FAIL" and code == 1
    assert found["training"]["accuracy"] < 0.3 < found["training"]["ours"]


def test_a_convolutional_network_is_trained_with_pools(sandboxed, tmp_path):
    path = tmp_path / "mine.c"
    path.write_text(HEAD + """
void avg_pool_fwd(float *y, const float *x, int64_t N, int64_t H, int64_t W, int64_t C, int64_t R, int64_t S, int64_t sh,
                  int64_t sw, int64_t ph, int64_t pw)
{
    int64_t P = (H + 2 * ph - R) / sh + 1, Q = (W + 2 * pw - S) / sw + 1;
    for (int64_t i = 0; i < N * P * Q * C; i++) {
        int64_t c = i % C, q = i / C % Q, p = i / C / Q % P, n = i / C / Q / P;
        float sum = 0;
        int taps = 0;
        for (int64_t r = 0; r < R; r++) for (int64_t s = 0; s < S; s++) {
            int64_t h = p * sh - ph + r, w = q * sw - pw + s;
            if (h >= 0 && h < H && w >= 0 && w < W) taps++, sum += x[((n * H + h) * W + w) * C + c];
        }
        y[i] = taps ? sum / taps : 0;
    }
}
""")
    code, found = checked(path, "--no-speed")
    assert code == 0 and found["training"]["network"].startswith("convolutional,ReLU,AvgPool2D"), found
    assert found["training"]["kernels"] == ["avg_pool_fwd"]


def test_without_a_sandbox_by_name(inside, tmp_path):
    (tmp_path / "mine.c").write_text(HEAD + RIGHT["relu_fwd"] + WRONG["sub"])
    done = inside("kernels", "check", "mine.c", "--unsandboxed", "--no-speed")
    assert done.code == 1 and "sandbox: none" in done.out and "1 of 2 kernels pass" in done.out, done
    assert "sub fails in values" in done.out and "ended by signal 11" in done.out
    assert "training" in done.out and "PASS: accuracy" in done.out


# ---- to begin with -----------------------------------------------------------------------------------------------------


def test_the_template_of_every_kernel_compiles(inside, tmp_path):
    done = inside("kernels", "template", *signatures())
    assert done.code == 0 and done.out == template(list(signatures()))
    (tmp_path / "empty.c").write_text(done.out)
    compiled(tmp_path / "empty.c", "-Wall", "-Wextra", "-Werror")


def test_the_list(inside):
    done = inside("kernels", "list")
    assert "void softmax_fwd(float *y, const float *x, int64_t N, int64_t C);" in done.out.splitlines()
    rows = inside("kernels", "list", "--json").json["kernels"]
    assert [r["prototype"] for r in rows] == done.out.splitlines() and all(r["formula"] for r in rows)
