"""Metrics of several processes as one: each writes its own files in a folder, and whoever is scraped adds them up.

Counters go on where a process is started again in its place; gauges count processes that live. Prometheus's client
keeps its values in memory or in files, for a whole process: so this is decided before a process's first `Metrics`.

All files are made in full before the first process starts, and stay: none vanishes or is empty while it is read, and a
disk that fills up later ends nobody (a page of a mapped file that finds no room there is a SIGBUS).
"""

import logging
import os
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry, ProcessCollector, multiprocess, values
from prometheus_client.core import Metric

_logger = logging.getLogger(__name__)

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_SUFFIX = ".pid"
_LIVE = "gauge_livesum"
_KINDS = ("counter", "histogram", _LIVE)
"""What the client calls the files of the kinds of metrics that there are."""
_FILE_BYTES = 1 << 20
"""About 5,000 samples; beyond, a file grows."""
_PID_BYTES = 16
_TRIES = 5
_MOST_TRIES = 15
_PAUSE_S = 0.01
_TORN = (OSError, struct.error, ValueError, RuntimeError)
"""What reading a file raises that is gone, cut off, or being written."""


def prepare(folder: Path, count: int) -> None:
    """Make the files of `count` processes.

    Raises:
        OSError: there is no room for them.
    """
    for number in range(count):
        for kind in _KINDS:
            # Written, not only sized: a file's holes take their room when they are filled.
            (folder / f"{kind}_{number}.db").write_bytes(bytes(_FILE_BYTES))
        _write_pid(folder, str(number), 0)


def share(folder: Path, number: int) -> None:
    """Write this process's metrics to a folder, as its `number`th part; call it before the first `Metrics`."""
    os.environ[_VARIABLE] = str(folder)
    cast("Any", values).ValueClass = values.MultiProcessValue(lambda: number)
    with suppress(OSError):  # a process whose memory is not shown answers all the same
        stand_in(folder, str(number))


def stand_in(folder: Path, name: str) -> None:
    """Say that this process is part of the server under this name, so that its memory and time are counted."""
    _write_pid(folder, name, os.getpid())


def forget(folder: Path, number: int) -> None:
    """Take back what a process that has ended said of the present; what it counted stays."""
    _write_pid(folder, str(number), 0)
    with (folder / f"{_LIVE}_{number}.db").open("r+b") as file:
        # From the front, where it stands how much of the file is in use; its room stays its own.
        file.write(bytes(file.seek(0, os.SEEK_END) - file.seek(0)))


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
        self._folder = folder

    def collect(self) -> list[Metric]:
        """Add up. What is just being written is read in the next try; a file that is damaged for good is left out."""
        damaged: set[Path] = set()
        for tries in range(1, _MOST_TRIES + 1):
            files = sorted(set(self._folder.glob("*.db")) - damaged)
            try:
                return _added(files)
            except _TORN:
                if tries >= _TRIES:
                    damaged |= {file for file in files if not _whole(file)}
                time.sleep(_PAUSE_S)
        _logger.error("the files that processes count in cannot be read: nothing they counted is told")
        return []


def _added(files: Iterable[Path]) -> list[Metric]:
    collector = cast("Any", multiprocess).MultiProcessCollector
    return list(cast("Iterable[Metric]", collector.merge([str(file) for file in files])))


def _whole(file: Path) -> bool:
    try:
        _added([file])
    except _TORN:
        return False
    return True


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
        pid = file.read_text("ascii").strip()
        if pid in {"", "0"}:
            return ()
        return list(ProcessCollector(pid=lambda: pid, registry=None).collect())
    except (OSError, UnboundLocalError):  # the collector falls over a process that has ended and is not yet buried
        return ()


def _write_pid(folder: Path, name: str, pid: int) -> None:
    """Write over what stood there, which a full disk does not prevent, in one go."""
    handle = os.open(folder / f"{name}{_SUFFIX}", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(handle, str(pid).ljust(_PID_BYTES).encode("ascii"))
    finally:
        os.close(handle)
