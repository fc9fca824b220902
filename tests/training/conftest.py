"""Training tests share two busy cores with everything else."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tiny matrices: threads would wait for each other most of the time."""
    torch.set_num_threads(1)
