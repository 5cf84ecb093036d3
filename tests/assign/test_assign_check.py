"""nncore new and check: every trap is found where it lies, every verdict is had at home, in words and as JSON."""

from __future__ import annotations

import os
import pty
import random
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nncore.assign import judge, linked, preflight, sandbox, spec
from nncore.assign.verdict import VERDICTS
from tests.assign import standins
from tests.harness import need

RUN = standins.SHEBANG + standins.HELPERS + "honest\n"
ELF = b"\x7fELF\x02\x01\x01" + bytes(60)

# name: ({file: content}, level, file, line, what the message holds)
FINDINGS = {
    "no command": ({"a.c": ""}, "error", "run.sh", None, "write it: it compiles and runs everything"),
    "command spelled otherwise": ({"Run.sh": RUN}, "error", "run.sh", None, "Run.sh is spelled otherwise"),
    "command below": ({"src/run.sh": RUN}, "error", "run.sh", None, "in the root, not in src/run.sh"),
    "command with CRLF": ({"run.sh": RUN.replace("\n", "\r\n")}, "warning", "run.sh", 1, "sed -i"),
    "command of older hand-outs": ({"RUN": RUN, "run.py": ""}, "error", "run.sh", None, "RUN is spelled otherwise"),
    "command without a first line": ({"run.sh": "true\n"}, "warning", "run.sh", 1, "#!/bin/bash"),
    "module": ({"run.sh": "#!/bin/bash\n\nmodule add gcc-13\n"}, "warning", "run.sh", 3, "modules do nothing"),
    "Makefile with CRLF": ({"Makefile": "all:\r\n\tcc a.c\r\n"}, "warning", "Makefile", 1, "CRLF"),
    "Windows program": ({"a.exe": "MZ"}, "error", "a.exe", None, "Windows"),
    "compiled program": ({"network": ELF}, "warning", "network", None, "a compiled program"),
    "compiled class": ({"A.class": b"\xca\xfe\xba\xbe"}, "warning", "A.class", None, "a compiled class"),
    "build folder": ({"cmake-build-debug/x.txt": ""}, "warning", "cmake-build-debug", None, "a folder of built files"),
    "notebook": ({"a.ipynb": "{}"}, "warning", "a.ipynb", None, "a notebook"),
    "include": ({"src/a.c": "int x;\n\n#include <cblas.h>\n"}, "error", "src/a.c", 3, "cblas.h: a library that does the work"),
    "import": ({"run.sh": RUN + "python3 a.py\n", "a.py": "import os\nfrom numpy.linalg import svd\n"}, "error", "a.py", 2,
               "numpy"),
    "import of several": ({"Makefile": "all:\n\tpython3 a.py\n", "a.py": "import os, torch as t\n"}, "error", "a.py", 1, "torch"),
    "import of an import": ({"run.sh": RUN + "python3 a.py\n", "a.py": "from b import *\n", "b.py": "import torch\n"}, "error",
                            "b.py", 1, "torch"),
    "import that nobody runs": ({"tools/plot.py": "import numpy\n"}, "warning", "tools/plot.py", 1, "nothing starts this file"),
    "link": ({"Makefile": "all:\n\tcc a.c -lm -lcblas\n"}, "error", "Makefile", 2, "-lcblas"),
    "seed": ({"a.c": "void f(void)\n{\n    srand(1234);\n}\n"}, "error", "a.c", 3, "seed 1234"),
    "seed of C++": ({"a.cpp": "std::mt19937 engine(7);\n"}, "error", "a.cpp", 1, "one of 0, 1, 2, 3, 42"),
    "seed of Java": ({"A.java": "Random r = new Random(99L);\n"}, "error", "A.java", 1, "seed 99"),
    "seed by name": ({"a.c": "int seed = 5;\n"}, "warning", "a.c", 1, "seed 5"),
    "path of one's own": ({"a.c": 'f = fopen("/home/me/data.csv", "r");\n'}, "warning", "a.c", 1, "/home/me/data.csv"),
    "predictions": ({"test_predictions.csv": "0\n"}, "warning", "test_predictions.csv", None, "predictions are handed in"),
    "long source": ({"table.h": "int t[] = {" + "1," * 1_100_000 + "};\n"}, "warning", "table.h", None, "table of results"),
}
HARMLESS = {
    "comments": {"a.c": "// #include <cblas.h>\n/* srand(77);\n#include <cblas.h> */\nint main(void) { return 0; }\n"},
    "allowed seed": {"a.c": "srand(42); int seed = 3;\n"},
    "seed of a variable": {"a.c": "srand(time(NULL));\n"},
    "own header with a library's beginning": {"a.c": '#include "numpyish.h"\n#include <math.h>\n'},
    "a library of one's own": {"Makefile": "all:\n\tcc a.c -lm -lpthread -fopenmp\n"},
    "text": {"README.md": "we use numpy? no: `import numpy` is forbidden, srand(1234) too\r\n"},
}


def folder_with(path: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    if "run.sh" in files:
        (path / "run.sh").chmod(0o755)
    return path


@pytest.fixture(scope="module")
def asked(small):
    return spec.load(small)


@pytest.mark.parametrize("name", FINDINGS)
def test_a_trap_is_found(name, asked, tmp_path):
    files, level, file, line, message = FINDINGS[name]
    alone = {"run.sh": RUN, **files} if "command" not in name and "run.sh" not in files else files
    found = [f for f in preflight.look(folder_with(tmp_path, alone), asked) if f.file == file]
    assert [(f.level, f.line) for f in found] == [(level, line)]
    assert message in found[0].message


@pytest.mark.parametrize("name", HARMLESS)
def test_nothing_is_found_where_nothing_is(name, asked, tmp_path):
    assert preflight.look(folder_with(tmp_path, {"run.sh": RUN, **HARMLESS[name]}), asked) == []


def test_the_run_bit(asked, tmp_path):
    folder_with(tmp_path, {"run.sh": RUN})
    (tmp_path / "run.sh").chmod(0o644)
    found = preflight.look(tmp_path, asked)
    assert [(f.level, f.file) for f in found] == [("warning", "run.sh")] and "chmod +x" in found[0].message
    preflight.prepare(tmp_path, asked)
    assert os.access(tmp_path / "run.sh", os.X_OK)


def test_no_seed_is_asked_for_where_none_is_fixed(tmp_path):
    text = standins.ASSIGNMENT.replace("seeds = [0, 1, 2, 3, 42]\n", "")
    (tmp_path / "free.toml").write_text(text)
    free = spec.load(tmp_path / "free.toml")
    assert preflight.look(folder_with(tmp_path / "p", {"run.sh": RUN, "a.c": "srand(1234);\n"}), free) == []


def test_languages(tmp_path):
    (tmp_path / "java.toml").write_text(standins.ASSIGNMENT + 'languages = ["java"]\n')
    only = spec.load(tmp_path / "java.toml")
    found = preflight.look(folder_with(tmp_path / "p", {"run.sh": RUN, "a.cpp": "", "A.java": "", "b.rs": ""}), only)
    assert [(f.level, f.file) for f in found] == [("error", "a.cpp"), ("warning", "b.rs")]
    (tmp_path / "rust.toml").write_text(standins.ASSIGNMENT + 'languages = ["rust"]\n')
    found = preflight.look(tmp_path / "p", spec.load(tmp_path / "rust.toml"))
    assert [(f.level, f.file) for f in found] == [("error", "A.java"), ("error", "a.cpp")]


def test_data_at_home(asked, tmp_path):
    found, = preflight.at_home(tmp_path, asked)
    assert found.level == "warning" and "g_train_vectors.csv" in found.message and "nncore new makes it" in found.message
    folder_with(tmp_path, {f"data/g_{part}_{kind}.csv": "" for part in ("train", "test") for kind in ("vectors", "labels")})
    assert preflight.at_home(tmp_path, asked) == []
    (tmp_path / "mine.zip").write_bytes(b"")
    assert preflight.at_home(tmp_path / "mine.zip", asked) == []  # a zip has none, and must not


def test_libraries_of_a_program(tmp_path):
    (tmp_path / "a.c").write_text("#include <math.h>\nint main(int c, char **v) { return (int)cos(c + v[0][0]); }\n")
    subprocess.run(["cc", "-Wl,--no-as-needed", "-o", tmp_path / "a", tmp_path / "a.c", "-lm"], check=True)
    program = (tmp_path / "a").read_bytes()
    assert {"libm.so.6", "libc.so.6"} <= set(linked.libraries_of(program))
    chance = random.Random(4)
    for _ in range(300):  # whatever stands in it, it is read to its end
        broken = bytearray(program[: chance.randrange(64, len(program))])
        for _ in range(20):
            broken[chance.randrange(6, min(len(broken), 4096))] = chance.randrange(256)
        linked.libraries_of(bytes(broken))
    assert linked.libraries_of(b"") == linked.libraries_of(b"\x7fELF\x02\x01") == []


# ---- verdicts at home --------------------------------------------------------------------------------------------------

SCRIPTS = {
    "PASS": "centroid",
    "BELOW_THRESHOLD": "honest",
    "BUILD_FAILED": "echo 'int main(void) { return x; }' >a.c; cc a.c || exit 1",
    "RUN_FAILED": "echo reading; echo 'no such file: data/train.csv' >&2; exit 3",
    "MISSING_OUTPUT": "honest; rm train_predictions.csv",
    "BAD_FORMAT": "honest; echo 10 >>test_predictions.csv",
    "RULE_VIOLATION": "echo 'void f(void) {}' >f.c; echo 'void f(void); int main(void) { f(); return 0; }' >m.c\n"
                      "cc -shared -fPIC -o libcblas.so f.c && cc -o m m.c ./libcblas.so && honest",
    "OUTPUT_LIMIT": "yes | head -c 200000; honest",
}
SAID = {
    "PASS": "of 100 correct", "BELOW_THRESHOLD": "threshold 50.00%", "BUILD_FAILED": "exit code 1",
    "RUN_FAILED": "exit code 3; last line: no such file", "MISSING_OUTPUT": "train_predictions.csv is not in the project's root",
    "BAD_FORMAT": "test_predictions.csv: line 101: class 10 is outside 0 to 9",
    "RULE_VIOLATION": "m: ./libcblas.so: a library that does the work",
    "OUTPUT_LIMIT": "stopped at the limit of 64 kB printed",
}


@pytest.mark.parametrize("verdict", SCRIPTS)
@pytest.mark.usefixtures("sandbox")
def test_verdicts_at_home(verdict, small, inside, tmp_path):
    standins.project(tmp_path / "mine", SCRIPTS[verdict])
    done = inside("check", "mine", "--assignment", small, "--json")
    assert done.code == (0 if verdict == "PASS" else 1) and done.err == ""
    found = done.json
    assert (found["schema"], found["assignment"], found["submission"]) == ("nncore.check/1", "small", "mine")
    assert found["verdict"] == verdict and SAID[verdict] in found["detail"] and found["advice"] == VERDICTS[verdict]
    assert (found["accuracy"] is not None) == (verdict in ("PASS", "BELOW_THRESHOLD", "RULE_VIOLATION"))


@pytest.mark.parametrize("script, said", [
    ("echo COMPILING\necho 'int main( {' >a.cpp; g++ -O3 a.cpp -o network\necho RUNNING\n./network\necho done", "a.cpp:1:"),
    ("g++ -O3 src/main.cpp -o network; ./network; echo done", "error: src/main.cpp: No such file or directory"),
    ("/opt/homebrew/opt/llvm/bin/clang++ -O3 src/*.cpp -o network\ntime ./network\necho done", "clang++: No such file"),
    ("gradle9 build\nnice java -cp target/a.jar Main\necho done", "gradle9: command not found"),
    ("echo '[ERROR] COMPILATION ERROR : '\nnice java -cp target/a.jar Main\necho done", "[ERROR] COMPILATION"),
    ("printf '[\\033[1;31mERROR\\033[m] Plugin x: Unknown host a.org\\n'; cat target/a.jar",
     "exit code 1; building failed: [ERROR] Plugin x: Unknown host a.org; the sandbox has no network")])
def test_a_script_that_goes_on_when_building_failed(script, said, ground, tmp_path):
    """As public projects have it, after the template of the hand-out: the script ends well, nothing was built."""
    result = judge.judge(standins.project(tmp_path / "mine", script), ground)
    assert result.verdict == "BUILD_FAILED" and said in result.detail


@pytest.mark.usefixtures("sandbox")
def test_in_words(small, inside, tmp_path):
    standins.project(tmp_path / "mine", "echo compiling; printf '\\033[31mred\\033]0;title\\a\\n'; exit 3", {"a.ipynb": "{}"})
    done = inside("check", "mine", "--assignment", small)
    lines = done.out.splitlines()
    assert done.code == 1 and lines[0].startswith("warning: data: g_train_vectors.csv")
    assert lines[1] == "warning: a.ipynb: a notebook; allowed are c, c++, java, python-cffi"
    assert "  compiling" in lines and "\x1b" not in done.out and "\a" not in done.out
    at = next(i for i, line in enumerate(lines) if line.startswith("RUN_FAILED: exit code 3; last line: "))
    assert lines[at + 1] == VERDICTS["RUN_FAILED"]
    assert "of 60 s (" in lines[-2] and " calibrated), processor" in lines[-2] and "of 400 MB" in lines[-2]
    assert "no network" in lines[-1]
    assert "\x1b" not in done.err  # a pipe gets no control characters


@pytest.mark.usefixtures("sandbox")
def test_a_stack_trace_is_told_by_its_reason(small, inside, tmp_path):
    """A script that changes folder, so that a Java program finds no data; its last line is a frame of the stack."""
    need("java", shutil.which("javac") is not None, "apt install default-jdk-headless")
    program = ("class Main { public static void main(String[] names) throws Exception {\n"
               "try { new java.io.FileReader(names[0]); } catch (Exception e) { throw new RuntimeException(\"none\", e); } } }")
    folder = standins.project(tmp_path / "mine", "mkdir src; cd src; javac -d . ../Main.java; java Main data/g_train_vectors.csv",
                              {"Main.java": program})
    done = inside("check", "mine", "--assignment", small)
    line = next(line for line in done.out.splitlines() if line.startswith("RUN_FAILED"))
    assert "last line: Caused by: java.io.FileNotFoundException: data/g_train_vectors.csv (No such file or directory)" in line
    assert line.endswith("data/ is there, in the project's root, where run.sh begins: does it change folder?")
    assert any(line.startswith("      at Main.main(") for line in done.out.splitlines()) and "\ufffd" not in done.out
    (folder / "run.sh").write_text("#!/bin/bash\ncat data/g_test_vectors.csv >/dev/null; cat other/file.csv\n")
    assert "change folder" not in inside("check", "mine", "--assignment", small).out


@pytest.mark.usefixtures("sandbox")
def test_a_folder_and_its_zip_are_one(small, inside, tmp_path):
    mine = standins.project(tmp_path / "mine", "centroid", {"notes.txt": "n"})
    (tmp_path / "mine.zip").write_bytes(standins.zipped([(f"mine/{p.name}", p.read_bytes()) for p in sorted(mine.iterdir())]))
    both = [inside("check", name, "--assignment", small, "--json").json for name in ("mine", "mine.zip")]
    assert both[0]["verdict"] == "PASS"
    assert len({(r["correct"], r["train_accuracy"], r["detail"]) for r in both}) == 1


@pytest.mark.usefixtures("sandbox")
def test_a_broken_zip(small, inside, tmp_path):
    (tmp_path / "mine.zip").write_bytes(b"PK\x03\x04 and no more")
    done = inside("check", "mine.zip", "--assignment", small)
    assert done.code == 1 and done.out.startswith("BAD_ARCHIVE: not a zip file that can be read")


def test_usage(inside, small, tmp_path):
    assert inside("check", "nothing", "--assignment", small).code == 2
    assert "did you mean" in inside("check", ".", "--assignment", "glyph").err
    (tmp_path / "bad.toml").write_text("name = 3\n")
    assert inside("check", ".", "--assignment", "bad.toml").code == 3


def test_without_a_sandbox_nothing_is_run(small, inside, tmp_path, monkeypatch):
    standins.project(tmp_path / "mine", "touch ran; centroid")
    monkeypatch.setenv("PATH", str(tmp_path))
    done = inside("check", "mine", "--assignment", small)
    assert done.code == 5 and "bwrap is missing: apt install bubblewrap" in done.err and not (tmp_path / "mine/ran").exists()
    assert inside("doctor").code == 5 and "apt install bubblewrap util-linux" in inside("doctor").out


def test_without_protection_if_asked_by_name(small, inside, tmp_path):
    standins.project(tmp_path / "mine", "centroid")
    found = inside("check", "mine", "--assignment", small, "--unsandboxed", "--json").json
    assert (found["verdict"], found["sandbox"]) == ("PASS", "none") and "no network" not in found["enforced"]


@pytest.mark.usefixtures("sandbox")
def test_the_view(small, environment, tmp_path):
    """On a terminal the run is seen; what is left there in the end is the result alone."""
    standins.project(tmp_path / "mine", "sleep 0.7; centroid")
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "nncore", "check", "mine", "--assignment", str(small)], cwd=tmp_path,
                               env={**environment, "TERM": "xterm", "COLUMNS": "100"}, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            shown += os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(60) == 0
    for word in (b"time", b"memory", b"processes", b"of 60 s", b"of 400 MB"):
        assert word in shown
    assert b"PASS: accuracy" in shown


# ---- as they are handed in -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("script", [
    "set -e\n. /etc/profile.d/modules.sh\nmodule add gcc-10.2\nmodule load jdk-17\ncentroid",
    "set -e\nsource /etc/profile.d/modules.sh\ncentroid",
    "for i in $(seq 300000); do echo entropy: 0.$i; done; centroid",
    'set -e; was=$(nice); test "$(nice -n 19 nice)" = "$was"; renice -n 19 $$; test "$(nice)" = "$was"; centroid',
])
def test_what_the_machine_of_the_course_has_or_bears(script, tmp_path):
    """Modules to add, a line printed for every step of the training, politeness that would starve it here."""
    with judge.prepared(standins.assignment(tmp_path, output_kb=1 << 18), calibrated=False) as ground:
        result = judge.judge(standins.project(tmp_path / "mine", script), ground)
    assert result.verdict == "PASS", (result.detail, result.output[-300:])


def test_modules_are_not_what_failed(ground, tmp_path):
    script = "echo './run.sh: line 3: module: command not found'; gradle9 build\nexit 0"
    result = judge.judge(standins.project(tmp_path / "mine", script), ground)
    assert result.verdict == "BUILD_FAILED" and result.detail.endswith("gradle9: command not found")


def test_predictions_are_counted_though_the_script_ends_badly(ground, tmp_path):
    """As after the hand-out's evaluator, which is not in the zip; an end before the last line is a failure still."""
    evaluator = "printf '\\033[1mdone\\033[m\\n'; python3 evaluator/evaluate.py test_predictions.csv"
    result = judge.judge(standins.project(tmp_path / "mine", f"centroid; {evaluator}"), ground)
    assert result.verdict == "PASS" and "\x1b" not in result.output and "done" in result.output
    found, = result.findings
    assert (found["level"], found["file"]) == ("warning", "run.sh")
    assert found["message"].startswith("exit code 2; last line: python3:")
    assert found["message"].endswith("; its predictions are complete and counted")
    for number, end in enumerate(("sed -i '$ d' test_predictions.csv", "rm train_predictions.csv")):
        folder = standins.project(tmp_path / str(number), f"centroid; {end}; kill -SEGV $$")
        broken = judge.judge(folder, ground)
        assert broken.verdict == "RUN_FAILED" and broken.detail.startswith("ended by signal 11"), broken.detail


def test_maven_finds_what_was_fetched(ground, tmp_path, monkeypatch):
    """A copy in each box of a project that is built with it: it writes there, and the next finds nothing of that."""
    monkeypatch.setattr(sandbox, "MAVEN", tmp_path / "maven")
    (tmp_path / "maven/org").mkdir(parents=True)
    (tmp_path / "maven/org/clean.jar").write_text("jar")
    (tmp_path / "maven/org/_remote.repositories").write_text("clean.jar>our-mirror=")  # else it would count as a mirror's alone
    script = ("set -e; cd ~/.m2/repository; grep jar org/clean.jar; test ! -e org/_remote.repositories; mkdir mine; "
              "test ! -w /opt/maven; grep -q '<offline>true' ~/.m2/settings.xml; cd /work; honest")
    for name in ("one", "two"):
        assert judge.judge(standins.project(tmp_path / name, script, {"pom.xml": ""}), ground).verdict == "BELOW_THRESHOLD"
    other = judge.judge(standins.project(tmp_path / "other", "test ! -e ~/.m2 && test ! -e /opt/maven && honest"), ground)
    assert other.verdict == "BELOW_THRESHOLD" and not (tmp_path / "maven/mine").exists()


@pytest.mark.usefixtures("sandbox")
def test_java_may_use_the_memory_that_is_allowed(tmp_path):
    """It takes a quarter of the machine's if nothing is said: much on the machine of a course, little on a grader's."""
    need("java", shutil.which("java") is not None, "apt install default-jdk-headless")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    script = "java -XX:+PrintFlagsFinal -version | awk '$2 == \"MaxHeapSize\" { print \"heap\", $4 }'; honest"
    with judge.prepared(standins.assignment(tmp_path, memory_mb=memory // 1_000_000), calibrated=False) as ground:
        result = judge.judge(standins.project(tmp_path / "mine", script), ground)
    assert int(result.output.split("heap ")[1].split()[0]) > 0.6 * memory, result.output


def test_windows_line_ends_are_mended(ground, tmp_path):
    """In the command, in scripts it calls and in its Makefile; what it writes with them was always taken."""
    folder = standins.project(tmp_path / "mine", "./part.sh && make -s")
    (folder / "part.sh").write_text("#!/bin/bash\necho part\n")
    lines = "\t@yes 0 | head -{} >{}_predictions.csv\n"
    (folder / "Makefile").write_text("all:\n" + lines.format(200, "train") + lines.format(100, "test"))
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        path.chmod(0o644)
    result = judge.judge(folder, ground)
    assert result.verdict == "BELOW_THRESHOLD", (result.detail, result.output)
    assert {f["file"] for f in result.findings if "CRLF" in f["message"]} == {"run.sh", "part.sh", "Makefile"}


@pytest.mark.parametrize("script, said", [
    ("honest; mv train_predictions.csv trainPredictions; mv test_predictions.csv actualTestPredictions",
     "what is there: actualTestPredictions, trainPredictions"),
    ("mkdir build; cd build; honest", "what is there: build/test_predictions.csv, build/train_predictions.csv"),
    ("honest; mv train_predictions.csv $'predict\\e[31m'; touch example_test_predictions.csv", "is not in the project's root"),
    ("honest; mv test_predictions.csv example_test_predictions.csv", "what is there: example_test_predictions.csv"),
    ("honest; rm t*.csv example_test_predictions.csv; mkfifo example_test_predictions.csv",
     "what is there: example_test_predictions.csv"),
])
def test_predictions_that_went_astray_are_named(script, said, ground, tmp_path):
    """Names of older hand-outs, the folder of the build, the template's example written over; not what was handed in, nor
    what could not be shown."""
    folder = standins.project(tmp_path / "mine", script, {"example_test_predictions.csv": "0\n"})
    result = judge.judge(folder, ground)
    assert result.verdict == "MISSING_OUTPUT" and result.detail.endswith(said)


# ---- projects that nncore begins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", spec.LANGUAGES)
@pytest.mark.usefixtures("sandbox")
def test_a_skeleton_runs_at_once(language, small, inside, tmp_path):
    need("java", language != "java" or shutil.which("javac") is not None, "apt install default-jdk-headless")
    assert inside("new", "mine", "--assignment", small, "--language", language).code == 0
    assert {p.name for p in (tmp_path / "mine/data").iterdir()} == {
        f"g_{part}_{kind}.csv" for part in ("train", "test") for kind in ("vectors", "labels")}
    found = inside("check", "mine", "--assignment", small, "--json").json
    assert found["verdict"] == "BELOW_THRESHOLD", (found["detail"], found["output"])
    assert found["findings"] == []


def test_new_overwrites_nothing(small, inside, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("years of work")
    done = inside("new", "mine", "--assignment", small)
    assert done.code == 2 and "not empty" in done.err and [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    only_c = tmp_path / "c.toml"
    only_c.write_text(standins.ASSIGNMENT + 'languages = ["c"]\n')
    assert inside("new", "other", "--assignment", only_c, "--language", "java").code == 2
