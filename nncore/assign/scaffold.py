"""nncore new: a project that builds, runs, writes predictions of the right shape and learns nothing yet; or one that passes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from nncore.assign import inputs
from nncore.assign.spec import LANGUAGES, Assignment
from nncore.errors import UsageError
from nncore.files import writing

SKELETONS = Path(__file__).parent / "skeleton"
_FOLDERS = {"c": "c", "c++": "cpp", "java": "java", "python-cffi": "python"}
_HIDDEN, _EPOCHS = 128, {"xor": 400, "glyphs": 12}  # of the reference solution; five epochs for others
_KERNELS = Path(__file__).parents[2] / "csrc"


def create(folder: str | os.PathLike, assignment: Assignment, language: str = "c", solved: bool = False) -> Path:
    """Write the project into a new or empty folder, its data with it.

    Raises UsageError for a folder with something in it, a language the assignment does not allow, or kernels whose source
    is not at hand (an installed wheel); LimitError if the folder cannot be written.
    """
    folder = Path(folder)
    if language not in LANGUAGES or language not in assignment.rules.languages:
        raise UsageError(f"{assignment.name} is written in {', '.join(assignment.rules.languages)}, not in {language}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is there and not empty; choose a new folder")
    if solved and not (_KERNELS / "nncore.h").is_file():
        raise UsageError("--solved builds on the kernels' source, csrc/, which an installed package lacks: use a clone of nncore")
    data = inputs.dataset(assignment)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        values = _values(assignment)
        for name in ("common", "solved" if solved else _FOLDERS[language]):
            for path in sorted((SKELETONS / name).iterdir()):
                if path.is_file() and not path.name.endswith(".pyc"):
                    _fill(path, folder, values, assignment)
    inputs.fill_project(assignment, data, folder / "data")
    if solved:
        with writing(folder):
            shutil.copytree(_KERNELS, folder / "csrc", ignore=shutil.ignore_patterns("build", "__pycache__", ".*"))
        _network(assignment, data, folder / "network.tape")
    return folder


def _values(assignment: Assignment) -> dict[str, str]:
    limits, seeds = assignment.limits, assignment.rules.seeds
    return {
        "TITLE": assignment.title, "TASK": assignment.task.strip(), "PREFIX": assignment.data.prefix,
        "COMMAND": assignment.run.command, "TRAIN": assignment.run.train_output, "TEST": assignment.run.test_output,
        "THRESHOLD": f"{assignment.pass_.threshold:.4g}", "WALL": f"{limits.wall:g}", "MEMORY": str(limits.memory_mb),
        "PROCESSES": str(limits.processes), "DISK": str(limits.disk_mb),
        "SEEDS": f"; a fixed seed is one of {', '.join(map(str, seeds))}" if seeds else "",
    }


def _fill(path: Path, folder: Path, values: dict[str, str], assignment: Assignment) -> None:
    text = path.read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    name = {"gitignore": ".gitignore", "run.sh": assignment.run.command}.get(path.name, path.name)
    target = folder / name
    target.write_text(text)
    if text.startswith("#!"):
        target.chmod(0o755)


def _network(assignment: Assignment, data, path: Path) -> None:
    """The reference network and its training as a tape file, which C runs alone."""
    from nncore.nn.layers import Dense, ReLU
    from nncore.optim.optimizers import Adam
    from nncore.optim.schedules import OneCycle
    from nncore.train.export import export_program
    from nncore.train.model import Sequential

    model = Sequential([Dense(_HIDDEN), ReLU(), Dense(len(data.classes))], seed=0)
    trainer = model.trainer(data.train, epochs=_EPOCHS.get(assignment.data.name, 5), batch=min(128, len(data.train)),
                            optimizer=Adam(OneCycle(3e-3)))
    export_program(trainer, path)
