"""Libraries that a project asks a build tool or a package manager for: pom.xml, Gradle, CMake, Cargo, pip, NuGet.

Each finder yields (position, names, shown): any of the names may be a forbidden one; shown is what the finding quotes.
Manifests are read as text, not by their tools: they are a stranger's, and half of what is in them are variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Named = tuple[int, tuple[str, ...], str]
_XML_COMMENT = re.compile(r"<!--.*?-->", re.S)
_HASH_COMMENT = re.compile(r"#[^\n]*")
_SLASH_COMMENT = re.compile(r"/\*.*?\*/|(?<![:\w])//[^\n]*", re.S)
_DEPENDENCY = re.compile(r"<dependency>(.*?)</dependency>", re.S)
_TAG = r"<{0}>\s*([^<\s]+)\s*</{0}>"
_COORDINATES = re.compile(r"[\"']([\w.-]+):([\w.-]+)(?::[^\"']*)?[\"']")
_CMAKE = re.compile(r"\b(find_package|find_library|target_link_libraries|link_libraries|pkg_check_modules|pkg_search_module|"
                    r"FetchContent_Declare|ExternalProject_Add|CPMAddPackage)\s*\(([^)]*)\)", re.I)
_CARGO_TABLE = re.compile(r"^\s*\[([^\]\n]+)\]", re.M)
_CARGO_KEY = re.compile(r"^[ \t]*[\"']?([\w-]+)[\"']?(?:\.\w+)?[ \t]*=([^\n]*)", re.M)
_CARGO_PACKAGE = re.compile(r"\bpackage\s*=\s*[\"']([\w-]+)")
_REQUIREMENT = re.compile(r"^[ \t]*([A-Za-z][\w.-]*)[^\n]*", re.M)
_ARRAY = re.compile(r"\bdependencies\s*=\s*\[(.*?)\]\s*$", re.S | re.M)
_QUOTED = re.compile(r"[\"']([A-Za-z][\w.-]*)[^\"']*[\"']")
_NUGET = re.compile(r"<PackageReference[^>]*\bInclude\s*=\s*[\"']([\w.-]+)", re.I)
_PIP = re.compile(r"\bpip3?\s+install\s+([^\n;&|]+)")
_PKG_CONFIG = re.compile(r"\bpkg-config\s+([^\n;&|)`]+)")


def finder(name: str):
    """What reads a file of this name; None if it is no manifest."""
    name = name.lower()
    for pattern, found in _FINDERS:
        if re.fullmatch(pattern, name):
            return found
    return None


def in_script(text: str) -> Iterator[Named]:
    """Packages that a script installs or asks pkg-config for."""
    text = blank(_HASH_COMMENT, text)
    for pattern in (_PIP, _PKG_CONFIG):
        for m in pattern.finditer(text):
            for word in re.finditer(r"(?<!\S)[A-Za-z][\w.-]*", m[1]):
                yield m.start(1) + word.start(), (word[0],), word[0]


def blank(comment: re.Pattern, text: str) -> str:
    """The text without comments, its lines where they were."""
    return comment.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def _coordinates(at: int, group: str, artifact: str) -> Named:
    # org.apache.commons:commons-math3 is known by its package, org.apache.commons.math3
    last = artifact.rpartition("-")[2]
    return at, (group, artifact, f"{group}.{artifact}", f"{group}.{last}", group.rpartition(".")[2]), f"{group}:{artifact}"


def _maven(text: str) -> Iterator[Named]:
    for m in _DEPENDENCY.finditer(blank(_XML_COMMENT, text)):
        group, artifact, scope = (re.search(_TAG.format(tag), m[1]) for tag in ("groupId", "artifactId", "scope"))
        if group and artifact and not (scope and scope[1] == "test"):
            yield _coordinates(m.start(1) + group.start(1), group[1], artifact[1])


def _gradle(text: str) -> Iterator[Named]:
    text = blank(_SLASH_COMMENT, text)
    for m in _COORDINATES.finditer(text):
        line = text[text.rfind("\n", 0, m.start()) + 1 : m.start()]
        if "test" not in line.lower():
            yield _coordinates(m.start(1), m[1], m[2])


def _cmake(text: str) -> Iterator[Named]:
    for m in _CMAKE.finditer(blank(_HASH_COMMENT, text)):
        first = 1 if m[1].lower() not in ("find_package", "fetchcontent_declare", "link_libraries") else 0  # a target, a variable
        words = [w for w in re.finditer(r"[\w.+:/-]+", m[2]) if not re.fullmatch(r"[\d.]+", w[0])]
        for word in words[first:] if m[1].lower() not in ("find_package", "fetchcontent_declare") else words[:1]:
            name = word[0].partition("::")[0].rpartition("/")[2].removeprefix("-l")
            yield m.start(2) + word.start(), (name, name.rstrip("0123456789.")), f"{m[1]}({word[0]})"


def _cargo(text: str) -> Iterator[Named]:
    text = blank(_HASH_COMMENT, text)
    tables = [*_CARGO_TABLE.finditer(text)]
    for i, table in enumerate(tables):
        path = table[1].strip().strip("[]").strip()
        end = tables[i + 1].start() if i + 1 < len(tables) else len(text)
        if m := re.search(r"(?:^|\.)(?:build-)?dependencies(?:\.[\"']?([\w-]+)[\"']?)?$", path):
            body = text[table.end() : end]
            if m[1]:
                renamed = _CARGO_PACKAGE.search(body)
                yield table.start(1), (m[1], *([renamed[1]] if renamed else [])), m[1]
                continue
            for key in _CARGO_KEY.finditer(body):
                renamed = _CARGO_PACKAGE.search(key[2])
                yield table.end() + key.start(1), (key[1], *([renamed[1]] if renamed else [])), key[1]


def _requirements(text: str) -> Iterator[Named]:
    for m in _REQUIREMENT.finditer(blank(_HASH_COMMENT, text)):
        yield m.start(1), (m[1],), m[1]


def _pyproject(text: str) -> Iterator[Named]:
    for array in _ARRAY.finditer(blank(_HASH_COMMENT, text)):
        for m in _QUOTED.finditer(array[1]):
            yield array.start(1) + m.start(1), (m[1],), m[1]


def _nuget(text: str) -> Iterator[Named]:
    for m in _NUGET.finditer(blank(_XML_COMMENT, text)):
        yield m.start(1), (m[1],), m[1]


_FINDERS = ((r"pom\.xml", _maven), (r".*\.gradle(\.kts)?", _gradle), (r"cmakelists\.txt|.*\.cmake", _cmake),
            (r"cargo\.toml", _cargo), (r"requirements[\w.-]*\.txt", _requirements), (r"pyproject\.toml", _pyproject),
            (r".*\.csproj", _nuget))
PYTHON = re.compile(r"requirements[\w.-]*\.txt|pyproject\.toml", re.I)  # count only where something installs from them
