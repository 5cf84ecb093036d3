"""Forbidden libraries that a project asks a build tool or a package manager for, and imports of languages that are named."""

from __future__ import annotations

import pytest

from nncore.assign import preflight, spec
from tests.assign import standins
from tests.assign.test_assign_check import RUN, folder_with

ND4J = "<dependency><groupId>org.nd4j</groupId>\n<artifactId>nd4j-native</artifactId>{}</dependency>"

# name: (file, its content, line, what the message holds)
ASKED = {
    "Maven": ("pom.xml", "<project>\n" + ND4J.format("") + "</project>\n", 2, "org.nd4j:nd4j-native: a library"),
    "Maven, known by its package": (
        "pom.xml", "<dependency><artifactId>commons-math3</artifactId><groupId>org.apache.commons</groupId></dependency>", 1,
        "org.apache.commons:commons-math3"),
    "Gradle": ("build.gradle", "dependencies {\n    implementation 'org.nd4j:nd4j:1.0'\n}\n", 2, "org.nd4j:nd4j"),
    "Gradle in Kotlin": ("build.gradle.kts", 'dependencies {\n    api("org.nd4j:nd4j:1.0")\n}\n', 2, "org.nd4j:nd4j"),
    "CMake": ("CMakeLists.txt", "project(a)\nfind_package(Torch REQUIRED)\n", 2, "find_package(Torch)"),
    "CMake, by version": ("CMakeLists.txt", "find_package(numpy3 3.4)\n", 1, "find_package(numpy3)"),
    "CMake, linking": ("CMakeLists.txt", "target_link_libraries(net\n  PRIVATE m\n  cblas)\n", 3, "cblas"),
    "CMake, an imported target": ("a.cmake", "target_link_libraries(net Torch::Torch)\n", 1, "Torch::Torch"),
    "CMake, fetching": ("CMakeLists.txt", "FetchContent_Declare(torch\n  GIT_REPOSITORY x)\n", 1, "torch"),
    "CMake, pkg-config": ("CMakeLists.txt", "pkg_check_modules(ALGEBRA cblas)\n", 1, "cblas"),
    "pkg-config": ("Makefile", "all:\n\tcc a.c `pkg-config --libs cblas`\n", 2, "cblas"),
    "Cargo": ("Cargo.toml", '[package]\nname = "net"\n[dependencies]\ntorch-sys = "0.1"\n', 4, "torch-sys"),
    "Cargo, a table": ("Cargo.toml", '[dependencies.torch]\nversion = "1"\n', 1, "torch"),
    "Cargo, under another name": ("Cargo.toml", '[dependencies]\nt = { package = "torch", version = "1" }\n', 2, "t: a library"),
    "Cargo, on one system": ("Cargo.toml", "[target.'cfg(unix)'.dependencies]\ntorch.workspace = true\n", 2, "torch"),
    "pip": ("install.sh", "#!/bin/bash\npip install -q numpy==2.0\n", 2, "numpy"),
    "requirements": ("requirements.txt", "# all\ncffi\nnumpy>=1.20\n", 3, "numpy"),
    "pyproject": ("pyproject.toml", '[project]\ndependencies = [\n  "torch>=2",\n]\n', 3, "torch"),
    "NuGet": ("net.csproj", '<ItemGroup>\n<PackageReference Include="Torch.Net" Version="1" />\n</ItemGroup>', 2, "Torch.Net"),
}
HARMLESS = {
    "pom.xml": f"<!-- {ND4J.format('')} -->{ND4J.format('<scope>test</scope>')}<dependency><groupId>org.junit</groupId>"
               "<artifactId>junit</artifactId></dependency>",
    "build.gradle": "// implementation 'org.nd4j:x:1'\ntestImplementation 'org.nd4j:x:1'\nimplementation 'org.junit:junit:5'\n",
    "CMakeLists.txt": "# find_package(Torch)\nproject(torch)\nadd_executable(torch a.cpp)\nfind_package(OpenMP COMPONENTS CXX)\n"
                      "target_link_libraries(torch PUBLIC OpenMP::OpenMP_CXX m ${OTHER})\n",
    "Cargo.toml": '[package]\nname = "torch"\n# torch = "1"\n[dependencies]\nrand = "0.8"\n[dev-dependencies]\ntorch = "1"\n'
                  "[profile.release]\nlto = true\n",
    "requirements.txt": "cffi\n# numpy\nnumpydoc\n",
    "pyproject.toml": '[project]\nname = "numpy"\ndependencies = ["cffi"]\n',
    "net.csproj": '<PackageReference Include="System.Text.Json" /><!-- <PackageReference Include="Torch" /> -->',
}
BROKEN = {"pom.xml": "<dependency><groupId>org.nd4j", "Cargo.toml": "[dependencies\n[[[\n= torch",
          "CMakeLists.txt": "find_package(", "pyproject.toml": 'dependencies = ["torch',
          "build.gradle": "'org.nd4j:", "requirements.txt": "\0\n==numpy\n"}


@pytest.fixture(scope="module")
def asked(small):
    return spec.load(small)


@pytest.mark.parametrize("name", ASKED)
def test_a_library_that_is_asked_for(name, asked, tmp_path):
    file, text, line, message = ASKED[name]
    installing = {"run.sh": RUN + "pip install -r requirements.txt .\n"} if file in ("requirements.txt", "pyproject.toml") else {}
    found = preflight.look(folder_with(tmp_path, {"run.sh": RUN, **installing, file: text}), asked)
    assert [(f.level, f.file, f.line) for f in found] == [("error", file, line)] and message in found[0].message


@pytest.mark.parametrize("file", ["requirements.txt", "pyproject.toml"])
def test_what_nobody_installs_is_a_warning(file, asked, tmp_path):
    found, = preflight.look(folder_with(tmp_path, {"run.sh": RUN, file: ASKED[file.partition(".")[0]][1]}), asked)
    assert (found.level, found.file) == ("warning", file) and "nothing installs from this file" in found.message


@pytest.mark.parametrize("files", [HARMLESS, BROKEN], ids=["harmless", "broken"])
def test_what_asks_for_nothing_forbidden(files, asked, tmp_path):
    assert preflight.look(folder_with(tmp_path, {"run.sh": RUN, **files}), asked) == []


@pytest.mark.parametrize(("language", "file", "text"), [
    ("rust", "src/main.rs", "use std::fs;\nuse torch::{nn, Tensor};\n"),
    ("rust", "main.rs", "// use torch;\nextern crate torch;\n"),
    ("c#", "Program.cs", "using System;\nusing Torch.Linear;\n"),
    ("c#", "a.cs", "\nglobal using static torch.Tensor;\n")])
def test_imports_of_languages_that_are_named(language, file, text, tmp_path):
    (tmp_path / "its.toml").write_text(standins.ASSIGNMENT + f'languages = ["{language}"]\n')
    found = preflight.look(folder_with(tmp_path / "p", {"run.sh": RUN, file: text}), spec.load(tmp_path / "its.toml"))
    assert [(f.level, f.file, f.line) for f in found] == [("error", file, 2)]


@pytest.mark.parametrize("name", spec.names())
def test_the_built_in_assignments_know_libraries_of_every_language(name, tmp_path):
    found = preflight.look(folder_with(tmp_path, {
        "run.sh": RUN, "Cargo.toml": '[dependencies]\nndarray = "0.15"\nnalgebra = "1"\ncandle-core = "1"\nrand = "1"\n',
        "CMakeLists.txt": "find_package(Eigen3)\nfind_package(BLAS)\nfind_package(OpenCV)\nfind_package(LAPACK)\n",
        "pom.xml": "<dependency><groupId>nz.ac.waikato.cms.weka</groupId><artifactId>weka-stable</artifactId></dependency>",
        "net.csproj": '<PackageReference Include="MathNet.Numerics" />'}), spec.load(name))
    assert [f.level for f in found] == ["error"] * 9
