"""Several processes behind one address: the first listens and watches, the others answer.

Each has an event loop, worker threads and models of its own, and takes connections from the same sockets. One that ends
is started again; one that cannot start at all ends the server. Their metrics are added up by whoever is scraped.
"""

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import cast

from rerankd import log, machine, metrics_files
from rerankd.errors import ConfigError, RerankError
from rerankd.settings import Settings

COULD_NOT_START = 3
_PATIENCE_S = 15.0
"""How much longer than its own time to finish a process is given before it is killed."""
_LOOK_S = 0.25
"""How often it looks whether it has been told to stop, and whose place is to be filled."""
_SHORT_LIFE_S = 60.0
_MOST_WAIT_S = 30.0

_logger = logging.getLogger("rerankd.http")


@dataclass(frozen=True)
class Part:
    """One process's share of the server; `number` 0 is the first. Travels to the process by pickle."""

    number: int
    settings: Settings
    sockets: Sequence[socket.socket]
    folder: Path
    answer: Callable[["Part"], None]


def divided(settings: Settings, number: int) -> Settings:
    """Make the settings of one of the processes: its share of the threads, and a canary in the first one only."""
    scheduling, count = settings.scheduling, settings.server.processes
    threads = machine.worker_threads(
        machine.usable_cores(), workers=scheduling.workers, reserved_cores=scheduling.reserved_cores
    )
    own = threads // count + (number < threads % count)
    return settings.model_copy(
        update={
            "scheduling": scheduling.model_copy(update={"workers": max(1, own)}),
            "canary": settings.canary if number == 0 else settings.canary.model_copy(update={"every_s": 0.0}),
        }
    )


def supervise(settings: Settings, sockets: Sequence[socket.socket], answer: Callable[[Part], None]) -> None:
    """Run `server.processes` processes, each of which calls `answer`, until SIGTERM or SIGINT.

    Raises:
        ConfigError: a process could not start; it has said why.
    """
    with tempfile.TemporaryDirectory(prefix="rerankd-metrics-") as folder:
        try:
            metrics_files.prepare(Path(folder), settings.server.processes)
            metrics_files.stand_in(Path(folder), "main")
        except OSError as error:
            raise ConfigError(
                f"the temporary folder takes no files ({error.strerror}), and several processes count in some: free "
                "some disk space, or set TMPDIR to a folder with room"
            ) from error
        numbers = range(settings.server.processes)
        parts = [Part(number, divided(settings, number), sockets, Path(folder), answer) for number in numbers]
        crew = _Crew([_Seat(part) for part in parts])
        with _told_to_stop(crew):
            crew.run()


@dataclass(slots=True, eq=False)
class _Seat:
    """A place for a process, and how often in a row the one in it ended soon."""

    part: Part
    process: SpawnProcess | None = None
    started: float = 0.0
    short_lives: int = 0
    again_at: float = 0.0


@dataclass(slots=True, eq=False)
class _Crew:
    """All processes. `stopping` holds the time at which those that are left are killed."""

    seats: Sequence[_Seat]
    stopping: float | None = None

    def run(self) -> None:
        """Start them, and again when they end, until all have been told to stop and have."""
        while self.stopping is None or any(seat.process for seat in self.seats):
            now = time.monotonic()
            if self.stopping is None:
                for seat in self.seats:
                    if seat.process is None and seat.again_at <= now:
                        _start(seat)
            elif self.stopping < now:
                self.signal(signal.SIGKILL)
            running = {seat.process.sentinel: seat for seat in self.seats if seat.process}
            for ready in connection.wait(running, timeout=_LOOK_S) if running else ():
                self._bury(running[cast("int", ready)])
            if not running:
                time.sleep(_LOOK_S)

    def stop(self, grace_s: float) -> None:
        """Tell all to finish what they have, or, the second time, end them at once. Called by a signal."""
        if self.stopping is not None:
            self.signal(signal.SIGKILL)
            return
        self.stopping = time.monotonic() + grace_s
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Signal every process that runs."""
        for seat in self.seats:
            if seat.process and seat.process.pid:
                try:
                    os.kill(seat.process.pid, number)
                except ProcessLookupError:
                    continue

    def _end(self) -> None:
        """End all of them, and wait for that: until then they use the folder of their counts."""
        self.signal(signal.SIGTERM)
        for process in [seat.process for seat in self.seats if seat.process]:
            process.join(_PATIENCE_S)
            if process.is_alive():
                process.kill()
                process.join()

    def _bury(self, seat: _Seat) -> None:
        """Note that a process has ended; say when its place is filled again.

        Raises:
            ConfigError: it could not start.
        """
        process, seat.process = seat.process, None
        if process is None:
            return
        process.join()
        try:
            metrics_files.forget(seat.part.folder, seat.part.number)
        except OSError as error:  # its gauges stay until another takes its place
            _logger.warning("the metrics of process %d cannot be reset: %s", seat.part.number, error.strerror)
        if self.stopping is not None:
            return
        if process.exitcode == COULD_NOT_START:
            self._end()
            raise ConfigError("a process could not start; its last line above says why")
        lived_s = time.monotonic() - seat.started
        seat.short_lives = seat.short_lives + 1 if lived_s < _SHORT_LIFE_S else 0
        wait_s = pause_s(seat.short_lives)
        seat.again_at = time.monotonic() + wait_s
        _logger.error(
            "process %d ended with code %s: another is started", seat.part.number, process.exitcode,
            extra={"lived_s": round(lived_s, 1), "wait_s": wait_s},
        )  # fmt: skip


def pause_s(short_lives: int) -> float:
    """Return how long a place stays empty after so many short lives in a row: none at first, then longer and longer."""
    # Bounded before it is raised: after a night of short lives 2**n is no float any more.
    return min(_MOST_WAIT_S, 0.5 * 2 ** min(short_lives, 10)) if short_lives > 1 else 0.0


def _start(seat: _Seat) -> None:
    # Spawned, not forked: threads and locks of this process would be copied in whatever state they are.
    context = multiprocessing.get_context("spawn")
    seat.process = context.Process(target=_live, args=(seat.part,), name=f"rerankd-{seat.part.number}")
    seat.process.start()
    seat.started = time.monotonic()


@contextmanager
def _told_to_stop(crew: _Crew) -> Generator[None]:
    """Pass signals on: SIGTERM and SIGINT stop all, SIGHUP has them read their keys again."""

    def stop(number: int, _: FrameType | None) -> None:
        first = crew.seats[0].part.settings.server
        crew.stop(first.drain_s + first.shutdown_timeout_s + _PATIENCE_S)
        del number

    def read_again(number: int, _: FrameType | None) -> None:
        crew.signal(signal.Signals(number))

    handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {
        signal.SIGTERM: stop, signal.SIGINT: stop,
    }  # fmt: skip
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = read_again
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _live(part: Part) -> None:
    """Be one of the processes: the first function that runs in it."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C reaches the first process only, which passes it on once
    threading.Thread(target=_end_with_parent, name="rerankd-parent", daemon=True).start()
    log.set_up(part.settings.logging.level, part.settings.logging.format)
    metrics_files.share(part.folder, part.number)
    try:
        part.answer(part)
    except RerankError as error:
        _logger.error("%s", error)
        raise SystemExit(COULD_NOT_START) from error


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
