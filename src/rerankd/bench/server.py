"""Our own server in a process of its own, started as a user starts it."""

import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from rerankd.client import Client
from rerankd.errors import ServerUnreachable, TryLater

_ADDRESS = re.compile(r"http://[^\s\"\\]+?:\d+")
_START_TIMEOUT_S = 600.0
_STOP_TIMEOUT_S = 30.0
_POLL_S = 0.02
_END_S = 5.0
_LINES_KEPT = 20


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A running server, and the seconds from starting its process to the first score over HTTP."""

    url: str
    pid: int
    first_score_s: float


@contextmanager
def own_server(arguments: Sequence[str], *, key: str = "") -> Generator[OwnServer]:
    """Run `rerankd serve` with these arguments on a free port of the loopback interface until the block ends.

    Blocking; yields after the first score.

    Raises:
        ServerUnreachable: it ended before that, or took ten minutes; the message has what it said.
        ModelLoadError: its model cannot be loaded.
    """
    command = [sys.executable, "-m", "rerankd", "serve", *arguments]
    command += [
        "--server.host",
        "127.0.0.1",
        "--server.port",
        "0",
        "--logging.format",
        "json",
        "--logging.level",
        "info",
    ]
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - this interpreter; the arguments are those of the user's own command
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    output = _Output(process)
    try:
        url = output.address(started + _START_TIMEOUT_S)
        _wait_for_score(url, key, output, started + _START_TIMEOUT_S)
        yield OwnServer(url, process.pid, time.perf_counter() - started)
    finally:
        _stop(process)
        output.close()


class _Output:
    """Reads what a server says, to the end, so that it never waits for a reader; keeps the last lines."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._last: deque[str] = deque(maxlen=_LINES_KEPT)
        self._found: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, name="rerankd-bench-log", daemon=True)
        self._thread.start()

    def address(self, deadline: float) -> str:
        try:
            url = self._found.get(timeout=max(0.0, deadline - time.perf_counter()))
        except queue.Empty:
            url = None
        if url is None:
            with suppress(subprocess.TimeoutExpired):  # its output ends a moment before the process does
                self._process.wait(_END_S)
            raise self.failure()
        return url

    def failure(self) -> ServerUnreachable:
        """Say that the server is of no use, with what it said last."""
        ended = self._process.poll()
        what = "did not answer in time" if ended is None else f"ended with exit code {ended}"
        return ServerUnreachable(f"our own server {what}; it said: {' | '.join(self._last) or 'nothing'}")

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        self._thread.join(timeout=5)
        if self._process.stderr:
            self._process.stderr.close()

    def _read(self) -> None:
        told = False
        for line in self._process.stderr or ():
            self._last.append(line.strip())
            if not told and (match := _ADDRESS.search(line)):
                told = True
                self._found.put(match.group())
        if not told:
            self._found.put(None)


def _wait_for_score(url: str, key: str, output: _Output, deadline: float) -> None:
    with Client(url, api_key=key or None, retries=0) as client:
        while True:
            try:
                client.rank("a", ["b"])
            except (ServerUnreachable, TryLater) as error:
                if time.perf_counter() > deadline or output.ended:
                    raise output.failure() from error
            else:
                return
            time.sleep(_POLL_S)


def _stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_TIMEOUT_S)
