"""`rerankd serve` tells in one line why it cannot start, and serves until it is told to stop."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli_runs import Run
from rerankd import Client
from rerankd.errors import RerankError


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--port", "abc"), 3, "server.port = 'abc', from --server.port"),
        (("--logging.access", "maybe"), 3, "must be true or false"),
        (("--host", "0.0.0.0", "--port", "0"), 3, "auth.allow_open"),
        (("a", "--models.default", "b"), 2, "not both"),
        (("--config", "gone.toml"), 3, "does not exist"),
    ],
)
def test_what_cannot_start_is_told_in_one_line(run: Run, arguments: tuple[str, ...], code: int, told: str) -> None:
    outcome = run("serve", *arguments)
    assert outcome.code == code
    assert told in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_port_in_use_is_told(workdir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "rerankd", "serve", "--port", str(port)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_is_served_until_sigterm(tiny_model: Path, workdir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "rerankd", "serve", str(tiny_model), "--port", str(port), "--auth.keys", "k"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            assert answer(port) == "tiny"
        finally:
            running.send_signal(signal.SIGTERM)
            out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (0, b""), err


def answer(port: int) -> str:
    """The id of the model that answers, as soon as one does."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with Client(f"http://127.0.0.1:{port}", api_key="k", retries=0) as client:
                return client.rank("what does a cat do", ["cats purr"]).model
        except RerankError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
