"""What every test stands on: one event loop library, no settings from the machine, a store of its own."""

import logging
from collections.abc import Generator
from pathlib import Path

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_settings_from_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    import os

    for variable in [name for name in os.environ if name.startswith("RERANKD_")]:
        monkeypatch.delenv(variable)
    for variable in ("HF_ENDPOINT", "HF_TOKEN", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "MODELSCOPE_ENDPOINT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that no rerankd.toml is found."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Generator[None]:
    """The command line sets levels for its whole process, which is ours when a test calls it."""
    logger, root = logging.getLogger("rerankd"), logging.getLogger()
    before = logger.level, root.level
    yield
    logger.setLevel(before[0])
    root.setLevel(before[1])
