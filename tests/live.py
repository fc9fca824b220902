"""A real server in a process of its own, started as a user starts it."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

START_TIMEOUT_S = 60


@dataclass
class Server:
    """A running server: its address, its process, and what it has written so far."""

    url: str
    process: subprocess.Popen[str]
    lines: list[str]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its exit code."""
        self.process.send_signal(how)
        return self.process.wait(30)


def workers(server: Server) -> list[psutil.Process]:
    """Return the processes that answer for a server of several."""
    found: list[psutil.Process] = []
    for child in psutil.Process(server.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # a zombie is one, too
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


@contextmanager
def serving(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, within: Sequence[str] = ()
) -> Generator[Server]:
    """Run `rerankd serve` on a free port until the block ends; yields once the model is ready.

    `within` is a command that becomes the one written after it, such as `unshare`.
    """
    command = [*within, sys.executable, "-m", "rerankd", "serve", "--port", "0", "--logging.format", "json", *arguments]
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    arriving: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, arriving), daemon=True)
    reader.start()
    try:
        url = _wait_for(arriving, lines, (r"http://[^\s\"\\]+?:\d+", "model ready"))
        yield Server(url, process, lines)
    finally:
        process.kill()
        process.wait(30)
        reader.join(5)
        if process.stderr:
            process.stderr.close()


def _read(process: subprocess.Popen[str], arriving: "queue.Queue[str | None]") -> None:
    assert process.stderr
    for line in process.stderr:
        arriving.put(line)
    arriving.put(None)


def _wait_for(arriving: "queue.Queue[str | None]", lines: list[str], patterns: Sequence[str]) -> str:
    """Read until every pattern was seen; return what the first matched."""
    found: dict[str, str] = {}
    while len(found) < len(patterns):
        line = arriving.get(timeout=START_TIMEOUT_S)
        assert line is not None, "the server ended: " + "".join(lines)
        lines.append(line)
        for pattern in patterns:
            if match := re.search(pattern, line):
                found.setdefault(pattern, match.group())
    return found[patterns[0]]
