"""Programs that a test looks at rerankd with, and that are no part of it."""

import os
from typing import NoReturn

import pytest


def missing_program(name: str) -> NoReturn:
    """Skip on somebody's machine, which needs nothing but Python and make; fail in CI, which must have looked."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed, and CI must run this test with it")
    pytest.skip(f"{name} is not installed")
