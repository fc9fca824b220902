"""Options that several commands share, and what they leave behind for `main`."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rerankd.config import Loaded
    from rerankd.models.loader import Loader
    from rerankd.registry.store import Store
    from rerankd.settings import Settings
    from rerankd.sources.base import Access

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


@dataclass(slots=True)
class State:
    """What one run of the program has been told, whichever command was told it."""

    debug: bool = False


def debug_option(decorated: _Decorated) -> _Decorated:
    """Add `--debug`: after a failure, the traceback too."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        state = context.find_object(State)
        if state is not None and value:
            state.debug = True

    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=remember, help="Show the traceback of a failure."
    )(decorated)


def json_option(decorated: _Decorated) -> _Decorated:
    """Add `--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(decorated)


def config_option(decorated: _Decorated) -> _Decorated:
    """Add `--config FILE`, as `config_file`."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Settings file; by default $RERANKD_CONFIG, else ./rerankd.toml if there is one.",
    )(decorated)


def server_options(url: str = "") -> Callable[[_Decorated], _Decorated]:
    """Add `--url` and `--api-key`: a running server to tell. `url` is that by default; "": none, this machine."""

    def add(decorated: _Decorated) -> _Decorated:
        key = click.option("--api-key", default="", help="A key with the scope admin; @FILE reads it from a file.")
        about = "The server's address." if url else "Let the server at this address do it, while it serves."
        return click.option("--url", default=url, show_default=bool(url), help=about)(key(decorated))

    return add


def say_failures_once(context: click.Context) -> None:
    """Keep the library's log quiet: a failure reaches the user as the program's own message. Not with `--debug`."""
    state = context.find_object(State)
    logging.getLogger("rerankd").setLevel(logging.DEBUG if state and state.debug else logging.CRITICAL)


def load_settings(config_file: Path | None) -> "Loaded":
    """Read file and environment.

    Raises:
        ConfigError: a setting is unknown or out of bounds, or the file cannot be read.
    """
    from rerankd import config

    return config.load(config_file)


def open_store(config_file: Path | None) -> "tuple[Settings, Store, Access]":
    """Read the settings, and open the store and the ways out that they describe.

    Raises:
        ConfigError: see `load_settings`.
    """
    from rerankd.assembly import open_access
    from rerankd.registry.store import Store

    settings = load_settings(config_file).settings
    store = Store(settings.models.store)
    return settings, store, open_access(settings, store)


def open_loader(config_file: Path | None) -> "Loader":
    """Read the settings, and say how models are made ready.

    Raises:
        ConfigError: see `load_settings`.
    """
    from rerankd.assembly import make_loader

    return make_loader(load_settings(config_file).settings)
