"""Child processes: started with their output in a log, ended for certain, waited for with a limit."""

import os
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from comparison import places

_STOP_TIMEOUT_S = 20
_POLL_S = 0.02


class Failed(Exception):
    """A rival did not start, ended, or did not answer in time; the message has its last words."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: the words, where, and what to add to the environment variables."""

    words: Sequence[str]
    folder: Path = places.ROOT
    variables: Mapping[str, str] = field(default_factory=dict[str, str])


@contextmanager
def running(name: str, command: Command, *, pipes: bool = False) -> Generator[subprocess.Popen[str]]:
    """Run a command until the block ends; what it says goes to the log `name` (with `pipes`, its errors only)."""
    with places.log_file(name).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command.words,
            cwd=command.folder,
            env={**os.environ, **command.variables},
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else log,
            stderr=log,
            text=True,
            encoding="utf-8",
        )
        try:
            yield process
        finally:
            _stop(process)


def last_words(name: str, lines: int = 5) -> str:
    """Return the end of a log."""
    file = places.log_file(name)
    return "\n".join(file.read_text("utf-8", "replace").splitlines()[-lines:]) if file.is_file() else ""


def wait_until(name: str, process: subprocess.Popen[str], ready: Callable[[], bool], limit_s: float) -> None:
    """Poll until `ready`.

    Raises:
        Failed: the process ended, or the time is over.
    """
    deadline = time.monotonic() + limit_s
    while not ready():
        if process.poll() is not None:
            raise Failed(f"{name} ended with code {process.returncode}: {last_words(name)}")
        if time.monotonic() > deadline:
            raise Failed(f"{name} was not ready after {limit_s:g} s: {last_words(name)}")
        time.sleep(_POLL_S)


def free_port() -> int:
    """Return a port of the loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Lines:
    """The lines that a stream brings, each waited for with a limit."""

    def __init__(self, stream: IO[str]) -> None:
        self._arrived: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def next(self, limit_s: float) -> str:
        """Return the next line.

        Raises:
            Failed: none came in time, or the stream ended.
        """
        try:
            line = self._arrived.get(timeout=limit_s)
        except queue.Empty as error:
            raise Failed(f"no answer within {limit_s:g} s") from error
        if line is None:
            raise Failed("it ended")
        return line

    def _read(self, stream: IO[str]) -> None:
        with suppress(ValueError):  # closed while we read
            for line in stream:
                self._arrived.put(line)
        self._arrived.put(None)


def _stop(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        with suppress(OSError):
            process.stdin.close()
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_TIMEOUT_S)
    if process.stdout:
        process.stdout.close()
