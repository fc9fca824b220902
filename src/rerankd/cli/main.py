"""The program `rerankd`: its commands, its exit codes, and the one door where every failure becomes one line.

Command modules import click only; what is heavy they import when they run, so that `rerankd --help` answers at once.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper

import click

from rerankd import __version__
from rerankd.cli.bench import bench
from rerankd.cli.bundle import bundle
from rerankd.cli.connect import connect
from rerankd.cli.convert import convert
from rerankd.cli.dialects import dialects
from rerankd.cli.doctor import doctor
from rerankd.cli.evaluate import evaluate
from rerankd.cli.keys import keys
from rerankd.cli.models import list_models, show
from rerankd.cli.options import State, debug_option
from rerankd.cli.ps import ps
from rerankd.cli.pull import pull, rm
from rerankd.cli.rank import rank
from rerankd.cli.recommend import recommend
from rerankd.cli.renew import load, rollback, unload, update
from rerankd.cli.serve import serve
from rerankd.cli.settings import config
from rerankd.cli.train import train
from rerankd.cli.verify import verify
from rerankd.errors import ConfigError, ModelLoadError, ModelNotFound, RerankError

FAILED = 1
WRONG_USAGE = 2
COULD_NOT_START = 3
INTERRUPTED = 130


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a setting or model is wrong, 130 interrupted.",
)
@click.version_option(__version__, message="rerankd %(version)s")
@debug_option
@click.pass_context
def app(context: click.Context) -> None:
    """The local rerank server: Chinese and English out of the box, every client's API."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@app.command()
@debug_option
def version() -> None:
    """Print the version."""
    click.echo(f"rerankd {__version__}")


for _command in (
    serve, rank, evaluate, train, bench, pull, list_models, show, recommend, convert, ps, load, unload, update,
    rollback, verify, rm, bundle, connect, dialects, keys, config, doctor,
):  # fmt: skip
    app.add_command(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (by default the process's) and return its exit code. Messages go to standard error."""
    state = State()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A character that this terminal cannot show is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments = None if argv is None else list(argv)
        code: object = app.main(arguments, prog_name="rerankd", standalone_mode=False, obj=state)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return FAILED
    except Exception as error:  # noqa: BLE001 - the last door: a user gets a line, and asks for a traceback with --debug
        if state.debug:
            traceback.print_exc()
        _say(error)
        return _exit_code(error)
    return code if isinstance(code, int) else 0


def _exit_code(error: Exception) -> int:
    match error:
        case click.ClickException():
            return error.exit_code
        case ConfigError() | ModelLoadError() | ModelNotFound():
            return COULD_NOT_START
        case _:
            return FAILED


def _say(error: Exception) -> None:
    program = "rerankd"
    match error:
        case click.UsageError():
            program = error.ctx.command_path if error.ctx else program
            message = f"{error.format_message()} See `{program} --help`."
        case click.ClickException():
            message = error.format_message()
        case RerankError():
            message = str(error)
        case _:
            name = type(error).__name__
            message = f"internal error: {name}: {error} — please report it, with the output of --debug"
    for line in message.splitlines():
        click.echo(f"{program}: {line}", err=True)


def _forget_output() -> None:
    """Send what is left to nowhere: whoever read it (`| head`) has gone, and the interpreter flushes at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
