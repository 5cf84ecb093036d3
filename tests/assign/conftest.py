"""The commands of tests/cli, for the assignment engine; the sandbox, the small assignment and its data, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from nncore.assign import judge, neighbours
from nncore.errors import NNError
from tests.assign import standins
from tests.cli.conftest import command, environment, inside
from tests.harness import need

__all__ = ["command", "environment", "inside"]


@pytest.fixture(scope="session", autouse=True)
def alone():
    """Verdicts do not depend on what else runs on this machine; yields the function that tells it."""
    with pytest.MonkeyPatch.context() as patch:
        usual = neighbours.busy
        patch.setattr(neighbours, "busy", lambda: 0.0)
        yield usual


@pytest.fixture(scope="session")
def sandbox() -> None:
    """Skips loudly where strangers' programs cannot be run safely."""
    try:
        judge.ready("bwrap")
    except NNError as e:
        need("bwrap", False, f"apt install bubblewrap ({e})")


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Path:
    """The file of the small assignment."""
    folder = tmp_path_factory.mktemp("small")
    standins.assignment(folder)
    return folder / "small.toml"


@pytest.fixture(scope="session")
def ground(sandbox, tmp_path_factory):
    """What submissions of the small assignment are judged on."""
    with judge.prepared(standins.assignment(tmp_path_factory.mktemp("ground"))) as found:
        yield found
