"""`rerankd ps`: what a running server has in memory."""

from typing import TYPE_CHECKING

import click

from rerankd.cli.options import debug_option, json_option
from rerankd.cli.output import Column, print_json, print_rows
from rerankd.cli.progress import megabytes
from rerankd.types import JsonValue

if TYPE_CHECKING:
    from rerankd.types import ModelInfo

_COLUMNS = (
    Column("model"),
    Column("state"),
    Column("memory", number=True),
    Column("in flight", number=True),
    Column("engine"),
    Column("precision"),
)


@click.command()
@click.option("--url", default="http://127.0.0.1:8036", show_default=True, help="The server's address.")
@click.option("--api-key", default="", help="The server's API key.")
@json_option
@debug_option
def ps(url: str, api_key: str, as_json: bool) -> None:
    """Show the models of a running server: state, memory of the weights, requests that use them now."""
    from rerankd.client import Client

    with Client(url, api_key=api_key or None) as client:
        models = client.models()
    if as_json:
        print_json({"models": [_facts(info) for info in models]})
        return
    print_rows(_COLUMNS, [_row(info) for info in models])


def _row(info: "ModelInfo") -> tuple[str, ...]:
    loaded = info.state.value in {"ready", "draining"}
    memory = megabytes(info.memory_bytes) if loaded else "-"
    return (info.id, _state(info), memory, str(info.in_flight), info.engine or "-", info.precision or "-")


def _state(info: "ModelInfo") -> str:
    state = f"{info.state.value}, newer one {info.updating.value}" if info.updating else info.state.value
    if info.progress and info.progress.total_bytes:
        return f"{state} {info.progress.done_bytes / info.progress.total_bytes:.0%}"
    return state


def _facts(info: "ModelInfo") -> dict[str, JsonValue]:
    progress = info.progress
    return {
        "id": info.id,
        "state": info.state.value,
        "memory_bytes": info.memory_bytes,
        "in_flight": info.in_flight,
        "engine": info.engine,
        "precision": info.precision,
        "failure": info.failure,
        "revision": info.revision,
        "updating": info.updating.value if info.updating else None,
        "progress": {"done_bytes": progress.done_bytes, "total_bytes": progress.total_bytes} if progress else None,
    }
