"""The servers that real clients ask, and the environments the clients are in.

REAL_CLIENTS=required (or CI=true) makes a missing environment a failure instead of a skip.
"""

import os
from collections.abc import Generator

import pytest

from clients import environments, running
from clients.environments import EnvironmentUnavailableError
from clients.running import Servers


@pytest.fixture(scope="session")
def environments_made() -> None:
    """Every environment, made one after the other."""
    for name in environments.names():
        try:
            environments.python_of(name)
        except EnvironmentUnavailableError as error:
            unavailable(f"the environment {name!r} of these clients cannot be made: {error}")


@pytest.fixture(scope="session")
def servers(environments_made: None, tmp_path_factory: pytest.TempPathFactory) -> Generator[Servers]:
    with running.servers(tmp_path_factory.mktemp("clients")) as both:
        yield both


def unavailable(reason: str) -> None:
    if os.environ.get("CI") == "true" or os.environ.get("REAL_CLIENTS"):
        pytest.fail(reason)
    pytest.skip(reason)
