"""The classic traps, found by looking: what would fail at the grader's, or breaks a rule that sources show.

Each finding is an error, which makes the verdict RULE_VIOLATION, or a warning. Looking is not proof: who hides a library
well is not found here, but runs where there is none.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nncore.assign import manifest
from nncore.assign.spec import Assignment

_SOURCES = {".c": "c", ".h": "c", ".cc": "c++", ".cpp": "c++", ".cxx": "c++", ".hpp": "c++", ".hh": "c++", ".java": "java",
            ".py": "python-cffi"}
_OTHERS = {".rs": re.compile(r"^[ \t]*(?:pub[ \t]+)?(?:use|extern[ \t]+crate)[ \t]+(?:::)?(\w+)", re.M),
           ".cs": re.compile(r"^[ \t]*(?:global[ \t]+)?using[ \t]+(?:static[ \t]+)?([\w.]+)", re.M)}
_SCRIPTS = (".sh", ".mk", ".cmake", ".gradle")
_FOREIGN = {".rs": "Rust", ".go": "Go", ".jl": "Julia", ".m": "Matlab", ".ipynb": "a notebook", ".cs": "C#", ".kt": "Kotlin"}
_BUILT = ("build", "target", "out", "bin", "obj", "__pycache__", "node_modules", ".venv", "venv", ".idea", ".vs", "CMakeFiles")
_BINARY = {b"\x7fELF": "a compiled program or library", b"\xca\xfe\xba\xbe": "a compiled class",
           b"\xcf\xfa\xed\xfe": "a Mac program", b"!<arch>": "a compiled library"}
_MOST_TEXT = 2 << 20
_WORK = "a library that does the work; write it yourself"
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*[<\"]([^>\"\n]+)[>\"]", re.M)
_PYTHON = re.compile(r"^[ \t]*(?:import|from)[ \t]+([\w.]+(?:[ \t]*,[ \t]*[\w.]+)*)", re.M)
_JAVA = re.compile(r"^[ \t]*import[ \t]+(?:static[ \t]+)?([\w.]+)", re.M)
_LINK = re.compile(r"(?:^|\s)-l[ \t]*([\w+-]+)")
_SEED = re.compile(r"\b(?:srand|srand48|srandom|random\.seed|setSeed|new\s+Random|mt19937(?:_64)?(?:\s+\w+)?"
                   r"|default_random_engine(?:\s+\w+)?)\s*[({]\s*(\d+)[uUlL]*\s*[)}]")
_SEED_NAME = re.compile(r"\bseed\w*\s*=\s*(\d+)\b", re.I)
_ABSOLUTE = re.compile(r"[\"'=\s](/home/[^\s\"']+|/Users/[^\s\"']+|[A-Za-z]:\\\\?[^\s\"']+)")


@dataclass(frozen=True)
class Finding:
    """One thing found: level "error" or "warning", where, and what to do about it."""

    level: str
    message: str
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return f"{self.level}: {where}{self.message}"

    def plain(self) -> dict:
        """As JSON holds it."""
        return asdict(self)


def look(project: str | os.PathLike, assignment: Assignment) -> list[Finding]:
    """All findings in an unpacked project, errors first. The project is a copy of ours: no links in it."""
    root = Path(project)
    found, started, installs = _command(root, assignment), _started(root, assignment), _installs(root, assignment)
    for folder, names, files in os.walk(root):
        names.sort()
        relative = Path(folder).relative_to(root)
        for name in names:
            if name in _BUILT or name.startswith("cmake-build"):
                found.append(Finding("warning", "a folder of built files; leave it out of the zip", str(relative / name)))
        for name in sorted(files):
            more = _file(root, relative / name, assignment)
            if name.endswith(".py") and relative / name not in started:
                more = [replace(f, level="warning", message=f"{f.message}; nothing starts this file") for f in more]
            elif manifest.PYTHON.fullmatch(name) and not installs:
                more = [replace(f, level="warning", message=f"{f.message}; nothing installs from this file") for f in more]
            found += more
    for name in assignment.outputs:
        if (root / name).exists():
            found.append(Finding("warning", "predictions are handed in; they are removed, and made again by running", name))
    return sorted(found, key=lambda f: (f.level != "error", f.file, f.line or 0))


def at_home(project: str | os.PathLike, assignment: Assignment) -> list[Finding]:
    """What only matters where the project is written: its data, which graders replace by theirs."""
    folder = Path(project)
    if not folder.is_dir():
        return []
    prefix = assignment.data.prefix
    missing = [n for part in ("train", "test") for kind in ("vectors", "labels")
               if not (folder / "data" / (n := f"{prefix}_{part}_{kind}.csv")).is_file()]
    if not missing:
        return []
    return [Finding("warning", f"{', '.join(missing)} missing: here {assignment.run.command} finds no data; nncore new makes it",
                    "data")]


def prepare(project: str | os.PathLike, assignment: Assignment) -> None:
    """Take old predictions away, give scripts the line ends and run bits that zips made on Windows lack."""
    root = Path(project)
    for name in assignment.outputs:
        if (root / name).is_file():
            (root / name).unlink()
    for path in [root / assignment.run.command, *filter(_is_script, root.rglob("*"))]:
        if path.is_file() and path.stat().st_size <= _MOST_TEXT:
            text = path.read_bytes()
            if b"\r\n" in text:
                path.write_bytes(text.replace(b"\r\n", b"\n"))
            if path.suffix == ".sh" or path.name == assignment.run.command:
                path.chmod(0o755)


def _is_script(path: Path) -> bool:
    return path.suffix.lower() in _SCRIPTS or path.name in ("Makefile", "makefile", "GNUmakefile", "CMakeLists.txt")


def _started(root: Path, assignment: Assignment) -> set[Path]:
    """The Python files that scripts name, or that those name: beside a C program lie plots and searches that nobody runs."""
    wanted = assignment.run.command
    files = [p for p in root.rglob("*") if p.is_file() and (p.suffix == ".py" or _is_script(p) or p.name == wanted)]
    texts = {p: p.read_bytes()[:_MOST_TEXT].decode("utf-8", "replace") for p in files}
    seen = {p for p in files if p.suffix != ".py"}

    def named(path: Path) -> bool:
        return any(re.search(rf"\b{re.escape(path.stem)}\b|\*\.py", texts[p]) for p in seen)

    while new := {p for p in files if p not in seen and named(p)}:
        seen |= new
    return {p.relative_to(root) for p in seen if p.suffix == ".py"}


def _installs(root: Path, assignment: Assignment) -> bool:
    """Whether a script has pip install what requirements or pyproject.toml name."""
    scripts = [p for p in root.rglob("*") if p.is_file() and (_is_script(p) or p.name == assignment.run.command)]
    return any(re.search(rb"\bpip3?[ \t]+install\b", p.read_bytes()[:_MOST_TEXT]) for p in scripts)


def _command(root: Path, assignment: Assignment) -> list[Finding]:
    name = assignment.run.command
    path = root / name
    if not path.is_file():
        others = sorted(p.name for p in root.iterdir() if p.stem.lower() == path.stem.lower() and p.suffix.lower() in ("", ".sh"))
        below = sorted(str(p.relative_to(root)) for p in root.glob(f"*/{name}"))
        hint = (f"; {others[0]} is spelled otherwise" if others else f"; it must be in the root, not in {below[0]}" if below else
                "; write it: it compiles and runs everything")
        return [Finding("error", f"{name} is missing{hint}", name)]
    text = path.read_bytes()[:_MOST_TEXT]
    found = []
    if b"\r\n" in text:
        found.append(Finding("warning", f"lines end in CRLF, as no shell reads; mended here: sed -i 's/\\r$//' {name}", name, 1))
    if not os.access(path, os.X_OK) and not path.stat().st_mode & 0o111:
        found.append(Finding("warning", f"is not executable: chmod +x {name} before zipping", name))
    if not text.startswith(b"#!"):
        found.append(Finding("warning", "has no first line like #!/bin/bash", name, 1))
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
        if re.match(r"\s*module\s+(add|load)\b", line):
            found.append(Finding("warning", "modules do nothing in the sandbox: the system's compilers are used", name, number))
    return found


def _file(root: Path, relative: Path, assignment: Assignment) -> list[Finding]:
    path, suffix, name = root / relative, relative.suffix.lower(), str(relative)
    if suffix in (".exe", ".dll", ".msi", ".bat"):
        return [Finding("error", "a Windows program; hand in sources that run on Linux", name)]
    with open(path, "rb") as file:
        head = file.read(_MOST_TEXT)
    for magic, what in _BINARY.items():
        if head.startswith(magic):
            return [Finding("warning", f"{what}; hand in sources, which are compiled here", name)]
    if suffix in _FOREIGN and _FOREIGN[suffix].lower() not in assignment.rules.languages:
        return [Finding("warning", f"{_FOREIGN[suffix]}; allowed are {', '.join(assignment.rules.languages)}", name)]
    script, asks = _is_script(relative), manifest.finder(relative.name)
    if suffix not in _SOURCES and suffix not in _OTHERS and not script and not asks:
        return []
    found = []
    if suffix in _SOURCES and not _allowed(_SOURCES[suffix], assignment.rules.languages):
        languages = ", ".join(assignment.rules.languages)
        found.append(Finding("error", f"written in {_SOURCES[suffix]}; allowed are {languages}", name))
    if path.stat().st_size > _MOST_TEXT:
        found.append(Finding("warning", f"{path.stat().st_size:,} bytes of source: is there a table of results in it?", name))
    if b"\r\n" in head and script and name != assignment.run.command:
        found.append(Finding("warning", "lines end in CRLF; mended here: save it with Unix line ends", name, 1))
    text = head.decode("utf-8", "replace")
    if suffix in _OTHERS or suffix in _SOURCES and suffix != ".py":
        text = manifest.blank(_COMMENT, text)
    return found + _libraries(text, suffix, script, name, assignment) + _constants(text, name, assignment)


def _allowed(language: str, languages: tuple[str, ...]) -> bool:
    # C headers and sources belong to every language that can call them.
    return language in languages or language == "c" and bool({"c++", "python-cffi"} & set(languages))


def _at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _libraries(text: str, suffix: str, script: bool, name: str, assignment: Assignment) -> list[Finding]:
    """Forbidden libraries by include, import or link, or asked of a build tool."""
    named: list[manifest.Named] = []
    if script:
        named += [(m.start(1), (m[1],), "-l" + m[1]) for m in _LINK.finditer(text)]
        named += manifest.in_script(text)
    elif suffix == ".py":
        for m in _PYTHON.finditer(text):
            named += [(m.start(1), (part.strip().split(".")[0],), part.strip()) for part in m[1].split(",")]
    elif suffix in (".java", *_OTHERS):
        named += [(m.start(1), (m[1],), m[1]) for m in _OTHERS.get(suffix, _JAVA).finditer(text)]
    elif suffix in _SOURCES:
        for m in _INCLUDE.finditer(text):
            first = m[1].split("/")[0]
            named.append((m.start(1), (first.rsplit(".", 1)[0] if "." in first else first,), m[1]))
    if asks := manifest.finder(name.rpartition("/")[2]):
        named += asks(text)
    found = {}
    for position, keys, shown in named:
        if any(_forbidden(key, assignment.rules.forbidden) for key in keys):
            line = _at(text, position)
            found.setdefault((line, shown), Finding("error", f"{shown}: {_WORK}", name, line))
    return list(found.values())


def _forbidden(key: str, forbidden: tuple[str, ...]) -> bool:
    key = key.lower().replace("-", "_")
    names = (name.lower().replace("-", "_") for name in forbidden)
    return any(key == name or key.startswith((name + ".", name + "_")) for name in names)


def linked(built: dict[str, list[str]], assignment: Assignment) -> list[Finding]:
    """Forbidden libraries that programs ask for after they were built, whatever sources and scripts say."""
    found = []
    for program, libraries in sorted(built.items()):
        for library in libraries:
            name = library.rpartition("/")[2].removeprefix("lib").partition(".so")[0]
            if _forbidden(name, assignment.rules.forbidden):
                found.append(Finding("error", f"{library[:80]}: {_WORK}; this program was built with it", program))
    return found


def _constants(text: str, name: str, assignment: Assignment) -> list[Finding]:
    """Seeds outside the list, and paths of somebody's own machine."""
    found, seeds = [], assignment.rules.seeds
    for pattern, level in ((_SEED, "error"), (_SEED_NAME, "warning")) if seeds is not None else ():
        for m in pattern.finditer(text):
            if int(m[1][:20]) not in seeds:
                message = f"seed {m[1][:20]}; a fixed seed must be one of {', '.join(map(str, seeds))}"
                found.append(Finding(level, message, name, _at(text, m.start())))
    for m in _ABSOLUTE.finditer(text):
        found.append(Finding("warning", f"{m[1][:60]}: a path of your own machine", name, _at(text, m.start(1))))
    return found
