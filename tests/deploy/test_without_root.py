"""The script for people without root: starts, starts again, stops, and leaves nothing behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import httpx2
import psutil
import pytest

from programs import missing_program

SCRIPT = Path(__file__).parents[2] / "deploy" / "rerankd.sh"
Say = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=["no", "yes"], ids=["nohup", "tmux"])
def say(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Say]:
    """Call the script as a user would, with a state and a tmux of its own."""
    if request.param == "yes" and shutil.which("tmux") is None:
        missing_program("tmux")
    program = tmp_path / "rerankd"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m rerankd "$@"\n', "utf-8")
    program.chmod(0o755)
    environment = os.environ | {
        "RERANK_PROGRAM": str(program),
        "RERANK_STATE": str(tmp_path / "state"),
        "RERANK_TMUX": str(request.param),
        "TMUX_TMPDIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    environment.pop("TMUX", None)

    def say_(*arguments: str) -> subprocess.CompletedProcess[str]:
        command: Sequence[str] = ["sh", str(SCRIPT), *arguments]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    yield say_
    say_("stop")
    if request.param == "yes":
        subprocess.run(["tmux", "kill-server"], env=environment, capture_output=True, timeout=10, check=False)


def log(tmp_path: Path) -> str:
    return (tmp_path / "state" / "rerankd.log").read_text("utf-8")


def gone(process: psutil.Process) -> bool:
    """Whether it has ended; whoever should bury it may be slow."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def eventually(statement: str, true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 40
    while not true():
        assert time.monotonic() < deadline, f"not within 40 s: {statement}"
        time.sleep(0.1)


def test_it_starts_once_answers_is_started_again_when_it_dies_and_stops(say: Say, tmp_path: Path) -> None:
    assert say("status").returncode == 3
    started = say("start", "--port", "0")
    assert started.returncode == 0, started.stderr
    keeper = psutil.Process(int(re.findall(r"process (\d+)", started.stdout)[0]))
    assert f"runs already (process {keeper.pid})" in say("start").stdout
    eventually("it is ready", lambda: "model ready" in log(tmp_path))
    url = re.findall(r"listening on (\S+)", log(tmp_path))[-1]
    assert httpx2.get(f"{url}/readyz").status_code == 200
    assert oct((tmp_path / "state").stat().st_mode & 0o777) == "0o700"

    (server,) = [child for child in keeper.children() if "serve" in child.cmdline()]
    server.send_signal(signal.SIGKILL)
    eventually("it is started again", lambda: log(tmp_path).count("model ready") == 2)
    assert "ended with code 137: started again in 1 s" in log(tmp_path)
    assert say("status").returncode == 0

    assert "stopped" in say("stop").stdout
    eventually("nobody is left", lambda: gone(keeper))
    assert "stopped" in log(tmp_path).splitlines()[-1], "the server finished what it had"
    assert say("status").returncode == 3
    assert "does not run" in say("stop").stdout


def test_a_wrong_setting_is_told_and_not_tried_again(say: Say, tmp_path: Path) -> None:
    outcome = say("start", "--port", "abc")
    assert outcome.returncode == 1
    assert "server.port = 'abc'" in outcome.stderr
    assert "ended with code 3: not started again" in log(tmp_path)


def test_shellcheck_has_nothing_to_say() -> None:
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed: apt-get install shellcheck")
    done = subprocess.run([program, str(SCRIPT)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
