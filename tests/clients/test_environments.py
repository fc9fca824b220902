"""Environments are made once, from a file that names everything, and say why when they cannot be made."""

import os
from pathlib import Path

import pytest

from clients import environments
from clients.environments import EnvironmentUnavailableError


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, on a machine without a package index."""
    folder = tmp_path / "requirements"
    folder.mkdir()
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(environments, "REQUIREMENTS", folder)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def test_an_environment_is_made_once_for_each_content_of_its_file(
    requirements: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(environments, "_make", lambda folder: made.append(folder.name) or _pretend(folder))
    monkeypatch.setattr(environments, "_pip", lambda *_: None)
    (requirements / "some.txt").write_text("# nothing\n", "utf-8")
    first = environments.python_of("some")
    assert environments.python_of("some") == first
    assert made == ["clients-some"]
    (requirements / "some.txt").write_text("# nothing yet\n", "utf-8")
    environments.python_of("some")
    assert made == ["clients-some", "clients-some"]


def test_without_an_index_the_reason_is_pips(requirements: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (requirements / "some.txt").write_text("no-such-package-of-ours==1.0\n", "utf-8")
    with pytest.raises(EnvironmentUnavailableError, match="no-such-package-of-ours"):
        environments.python_of("some")
    monkeypatch.setattr(environments, "_make", lambda _: None)
    with pytest.raises(EnvironmentUnavailableError):  # what was half made is not taken for whole
        environments.python_of("some")


def _pretend(folder: Path) -> None:
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    python.parent.mkdir(parents=True, exist_ok=True)
    python.touch()
