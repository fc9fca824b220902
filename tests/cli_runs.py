"""What one run of the program in this process says and how it ends."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Outcome:
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """The fixture `run` of tests/cli."""

    def __call__(self, *arguments: str, stdin: str | bytes = "") -> Outcome: ...
