"""The program: exit codes, one line for each failure, and a quick start."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_pages import commands
from cli_runs import Run
from rerankd import __version__
from rerankd.cli.main import app

PROGRAM = [sys.executable, "-m", "rerankd"]


def test_without_a_command_there_is_help(run: Run) -> None:
    assert run().code == 0
    assert "serve" in run().out
    assert run().out == run("--help").out
    assert run("config").out == run("config", "--help").out


@pytest.mark.parametrize("arguments", [("version",), ("--version",)])
def test_the_version_is_told_both_ways(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).out == f"rerankd {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("serv",), "'serve'"),
        (("rank", "q", "--top-m", "3"), "'--top-n'"),
        (("serve", "--server.prot", "3"), "'--server.port'"),
        (("config", "shwo"), "'show'"),
    ],
)
def test_a_typing_mistake_is_answered_with_what_was_meant(run: Run, arguments: tuple[str, ...], meant: str) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert meant in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_every_command_has_help_and_a_debug_option() -> None:
    for path, command in commands():
        assert command.help, path
        assert "debug" in [parameter.name for parameter in command.params], path


def test_a_failure_of_ours_is_one_line_and_a_traceback_on_request(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(app.commands["version"], "callback", fail)
    outcome = run("version")
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert "internal error: ZeroDivisionError: by zero" in outcome.err
    assert "--debug" in outcome.err
    assert "Traceback" in run("version", "--debug").err
    assert "Traceback" in run("--debug", "version").err


def test_a_reader_that_goes_away_is_no_fault(workdir: Path) -> None:
    with subprocess.Popen([*PROGRAM, "serve", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(30) == 1


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell that runs us in the background ignores SIGINT, and whatever we start would inherit that."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_quietly(workdir: Path) -> None:
    with subprocess.Popen(
        [*PROGRAM, "rank", "query"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        time.sleep(1)  # it waits for documents that do not come
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
        assert (running.returncode, out, err.strip()) == (130, b"", b"")


@pytest.mark.parametrize("arguments", [("version",), ("--help",)])
def test_the_program_starts_without_anything_heavy(workdir: Path, arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rerankd", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "click" in imported
    assert not imported & {"pydantic", "numpy", "onnxruntime", "tokenizers", "fastapi", "uvicorn", "rich", "httpx2"}


def test_completion_knows_the_settings(workdir: Path) -> None:
    environ = {**os.environ, "_RERANKD_COMPLETE": "bash_complete", "COMP_WORDS": "rerankd serve --server.p"}
    done = subprocess.run(
        [Path(sys.executable).parent / "rerankd"], env={**environ, "COMP_CWORD": "2"}, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert "--server.port" in done.stdout
