"""Who else uses the cores while something is measured: a round that others disturbed is measured again.

Linux only; elsewhere nothing is known and every round counts.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click

OTHERS = "others_cores"
"""The unit under which a round's samples say how many cores others used meanwhile."""
NOTICEABLE = 0.25
_ATTEMPTS = 3
_WAIT_S = 20.0
_LONG_S = 40.0
"""A round of such a length is not measured again: on a machine that is never idle that would take for ever."""


def undisturbed(measure: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
    """Measure when the machine is idle, again if others used it meanwhile; return the attempt they disturbed least."""
    attempts: list[tuple[float, Mapping[str, float]]] = []
    while len(attempts) < _ATTEMPTS:
        _wait_until_idle()
        watch, started = Watch(), time.monotonic()
        figures = measure()
        others = watch.others()
        if others is None:
            return figures
        attempts.append((others, {**figures, OTHERS: others}))
        if others <= NOTICEABLE or time.monotonic() - started > _LONG_S:
            break
        click.echo(f"  others used {others:.2f} cores meanwhile", err=True)
    return min(attempts, key=lambda attempt: attempt[0])[1]


def busy(seconds: float = 0.2) -> float | None:
    """How many cores others use, watched for so long; None where the system does not tell."""
    watch = Watch()
    time.sleep(seconds)
    return watch.others()


class Watch:
    """Counts from its making on; `root` is where `proc` is, for tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._before = _ticks(root)

    def others(self) -> float | None:
        """How many cores were in use by processes that are not this one or below it; None where nobody tells."""
        after = _ticks(self._root)
        if self._before is None or after is None or after[1] == self._before[1]:
            return None
        used, whole, own = (late - early for early, late in zip(self._before, after, strict=True))
        return round(max(0.0, used - own) / whole * (os.cpu_count() or 1), 2)


def _wait_until_idle() -> None:
    deadline = time.monotonic() + _WAIT_S
    while (busy() or 0.0) > NOTICEABLE and time.monotonic() < deadline:
        time.sleep(0.5)


def _ticks(root: Path) -> tuple[int, int, int] | None:
    """Ticks of all cores since the machine started: used, used or not, and used by this process and those below it."""
    try:
        line = (root / "proc/stat").read_text("ascii").splitlines()[0]
    except OSError:
        return None
    ticks = [int(word) for word in line.split()[1:9]]  # guests' ticks, which follow, are counted in these
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks), _own(root)


def _own(root: Path) -> int:
    parents: dict[int, int] = {}
    used: dict[int, int] = {}
    for folder in (root / "proc").glob("[0-9]*"):
        try:
            # After the program's name, which may hold anything: parent, and CPU time with that of ended children.
            fields = (folder / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        parents[int(folder.name)] = int(fields[1])
        used[int(folder.name)] = sum(map(int, fields[11:15]))
    family = {os.getpid()}
    while below := {pid for pid, parent in parents.items() if parent in family and pid not in family}:
        family |= below
    return sum(used.get(pid, 0) for pid in family)
