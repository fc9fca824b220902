"""Metrics of several processes as one: each writes its own files in a folder, and whoever is scraped adds them up.

Counters go on where a process is started again in its place; gauges count processes that live. Prometheus's client
keeps its values in memory or in files, for a whole process: so this is decided before a process's first `Metrics`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry, ProcessCollector, multiprocess, values
from prometheus_client.core import Metric

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_SUFFIX = ".pid"


def share(folder: Path, number: int) -> None:
    """Write this process's metrics to a folder, as its `number`th part; call it before the first `Metrics`."""
    os.environ[_VARIABLE] = str(folder)
    cast("Any", values).ValueClass = values.MultiProcessValue(lambda: number)
    stand_in(folder, str(number))


def stand_in(folder: Path, name: str) -> None:
    """Say that this process is part of the server under this name, so that its memory and time are counted."""
    (folder / f"{name}{_SUFFIX}").write_text(str(os.getpid()), "ascii")


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
    multiprocess.MultiProcessCollector(registry, str(folder))
    registry.register(_Processes(folder))


class _Processes:
    """Memory, time and files of every process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Ask the system about each."""
        families: dict[str, Metric] = {}
        for file in sorted(self._folder.glob(f"*{_SUFFIX}")):
            pid = file.read_text("ascii")
            for found in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():
                family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
                for sample in found.samples:
                    family.add_sample(sample.name, {"process": file.stem}, sample.value)
        yield from families.values()
