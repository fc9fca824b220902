"""Where a request's time goes: noted where it is spent, read at the rim for the log, the metrics and the traces."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

NAMES = ("read", "load", "tokenise", "cache", "queue", "score", "write")
"""The body arrives and is parsed; the model is lent, or loaded again; texts become tokens, long ones chunks; known
scores are looked up; the pairs wait for a worker; networks run to the last score; the answer is written."""

_MOST = 256
"""Phases kept one by one: a call of a thousand requests has thousands, and their sums are enough."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of time, on the clock of `time.perf_counter`."""

    name: str
    began: float
    ended: float


@dataclass(slots=True)
class Phases:
    """One call's phases: each of the first ones, and the seconds of all by name.

    Parts of one call that run side by side count one by one, so their seconds can be more than the call took.
    """

    kept: list[Phase] = field(default_factory=list[Phase])
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, name: str, began: float, ended: float) -> None:
        """Count one phase."""
        self.seconds[name] = self.seconds.get(name, 0.0) + ended - began
        if len(self.kept) < _MOST:
            self.kept.append(Phase(name, began, ended))


_current: ContextVar[Phases | None] = ContextVar("phases", default=None)


@contextmanager
def recording() -> Generator[Phases]:
    """Record what is noted in this context, and in the tasks it starts."""
    phases = Phases()
    token = _current.set(phases)
    try:
        yield phases
    finally:
        _current.reset(token)


def note(name: str, began: float, ended: float) -> None:
    """Note a phase that is over; nothing happens where nobody records."""
    phases = _current.get()
    if phases is not None:
        phases.add(name, began, ended)


@contextmanager
def phase(name: str) -> Generator[None]:
    """Note how long the block takes, also when it fails."""
    began = time.perf_counter()
    try:
        yield
    finally:
        note(name, began, time.perf_counter())
