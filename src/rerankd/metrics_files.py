"""Metrics of several processes as one: each writes its own files in a folder, and whoever is scraped adds them up.

Counters go on where a process is started again in its place; gauges count processes that live. Prometheus's client
keeps its values in memory or in files, for a whole process: so this is decided before a process's first `Metrics`.
"""

import os
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry, ProcessCollector, multiprocess, values
from prometheus_client.core import Metric

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_SUFFIX = ".pid"
_TRIES = 5
_PAUSE_S = 0.01


def share(folder: Path, number: int) -> None:
    """Write this process's metrics to a folder, as its `number`th part; call it before the first `Metrics`."""
    os.environ[_VARIABLE] = str(folder)
    cast("Any", values).ValueClass = values.MultiProcessValue(lambda: number)
    stand_in(folder, str(number))


def stand_in(folder: Path, name: str) -> None:
    """Say that this process is part of the server under this name, so that its memory and time are counted."""
    written = folder / f"{name}.new"
    written.write_text(str(os.getpid()), "ascii")
    written.replace(folder / f"{name}{_SUFFIX}")


def forget(folder: Path, number: int) -> None:
    """Take back what a process that has ended said of the present; what it counted stays."""
    cast("Any", multiprocess).mark_process_dead(number, str(folder))
    (folder / f"{number}{_SUFFIX}").unlink(missing_ok=True)


def shared_folder() -> Path | None:
    """Where this process's metrics go; None: they are its own."""
    name = os.environ.get(_VARIABLE)
    return Path(name) if name else None


def collect(folder: Path, registry: CollectorRegistry) -> None:
    """Register what all processes have counted, and what the system tells of each, by the label `process`."""
    registry.register(_Counted(folder))
    registry.register(_Processes(folder))


class _Counted:
    """What all processes have counted, those that have ended included."""

    def __init__(self, folder: Path) -> None:
        self._collector = cast("Any", multiprocess).MultiProcessCollector(None, str(folder))

    def collect(self) -> list[Metric]:
        """Add up. A file that a process is just making, or that goes with one, is read in the next try."""
        for _ in range(_TRIES - 1):
            try:
                return self._added()
            except (OSError, struct.error, ValueError):
                time.sleep(_PAUSE_S)
        return self._added()

    def _added(self) -> list[Metric]:
        return list(cast("Iterable[Metric]", self._collector.collect()))


class _Processes:
    """Memory, time and files of every process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Ask the system about each."""
        families: dict[str, Metric] = {}
        for file in sorted(self._folder.glob(f"*{_SUFFIX}")):
            for found in _of_process(file):
                family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
                for sample in found.samples:
                    family.add_sample(sample.name, {"process": file.stem}, sample.value)
        yield from families.values()


def _of_process(file: Path) -> Iterable[Metric]:
    """Ask the system about one; one that has ended tells nothing."""
    try:
        pid = file.read_text("ascii")
        return list(ProcessCollector(pid=lambda: pid, registry=None).collect())
    except (OSError, UnboundLocalError):  # the collector falls over a process that has ended and is not yet buried
        return ()
