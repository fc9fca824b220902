"""`rerankd list` and `rerankd show`: which models there are, and what is known of one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

import click

from rerankd.cli.options import (
    config_option,
    debug_option,
    json_option,
    open_store,
    say_failures_once,
    server_options,
)
from rerankd.cli.output import Column, as_text, print_json, print_rows
from rerankd.cli.progress import megabytes, progress_bar
from rerankd.types import JsonObject, JsonValue

if TYPE_CHECKING:
    from rerankd.types import ModelInfo

_COLUMNS = (
    Column("model"),
    Column("languages"),
    Column("family"),
    Column("millions", number=True),
    Column("max tokens", number=True),
    Column("licence"),
    Column("served"),
    Column("from"),
    Column("here", number=True),
    Column("description", shortened=True),
)


def _millions(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Read a number of parameters as people write it."""
    if value is None:
        return None
    units = {"m": 1.0, "b": 1000.0}
    digits, factor = (value[:-1], units[value[-1].lower()]) if value[-1:].lower() in units else (value, 1e-6)
    try:
        return float(digits) * factor
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no number of parameters: write 300M or 1.5B.") from error


@click.command("list")
@click.option("--here", "only_here", is_flag=True, help="Only those that are on this machine.")
@click.option("--catalog", "only_catalog", is_flag=True, help="Only those with a card, whether they are here or not.")
@click.option("--lang", default="", help="Only models for this language (zh, en, …), multilingual ones among them.")
@click.option("--max-size", callback=_millions, default=None, help="At most this many parameters: 300M, 1.5B.")
@click.option("--licence", default="", help="Only licences with this in their name: MIT, Apache.")
@server_options()
@config_option
@json_option
@debug_option
def list_models(
    *, only_here: bool, only_catalog: bool, lang: str, max_size: float | None, licence: str, url: str, api_key: str,
    config_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """List the models that rerankd knows by name, and those on this machine, with the room they take.

    Any model of a hub (org/name) and any folder (./my-model) can be served too. With --url it is what the server knows,
    and what lies on its machine.
    """
    from rerankd.models import inventory

    facts = [
        item
        for item in (_items_there(url, api_key) if url else inventory.items(open_store(config_file)[2]))
        if (item["here_bytes"] is not None or not only_here)
        and (item["served"] is not None or not only_catalog)
        and inventory.matches(item, lang=lang, max_millions=max_size, licence=licence)
    ]
    if as_json:
        print_json({"models": facts})
        return
    names = ("id", "languages", "family", "parameters_millions", "max_tokens", "licence", "served", "source")
    rows = [
        [*(as_text(item[name]) for name in names), _room(item["here_bytes"]), as_text(item["description"])]
        for item in facts
    ]
    print_rows(_COLUMNS, rows)


def _items_there(url: str, api_key: str) -> "Sequence[Mapping[str, JsonValue]]":
    from rerankd.cli.remote import look

    return cast("Sequence[Mapping[str, JsonValue]]", look(url, api_key, "list")["models"])


def _room(size: JsonValue) -> str:
    return megabytes(size) if isinstance(size, int) else "-"


@click.command()
@click.argument("model", default="")
@server_options()
@config_option
@json_option
@debug_option
@click.pass_context
def show(
    context: click.Context, *, model: str, url: str, api_key: str, config_file: Path | None, as_json: bool
) -> None:
    """Show what is known of MODEL: card, files, family, engine, limits, fingerprint, measured quality.

    MODEL is a name or a folder; by default the model that `rerankd serve` would serve. It is loaded to be sure. With
    --url it is what the server knows of it: card, files, revisions; nothing is loaded.
    """
    say_failures_once(context)
    facts = _known_there(url, api_key, model) if url else _known_here(model, config_file)
    if as_json:
        print_json(facts)
        return
    rows = [(name, text) for name, value in facts.items() for text in _lines(value)]
    print_rows((Column("fact"), Column("value")), rows)


def _known_there(url: str, api_key: str, model: str) -> JsonObject:
    from rerankd.cli.remote import look

    return look(url, api_key, f"show?model={quote(model)}")


def _known_here(model: str, config_file: Path | None) -> JsonObject:
    from rerankd.models.inventory import card_facts, changes, files_of
    from rerankd.registry.obtain import obtain
    from rerankd.registry.resolve import resolve
    from rerankd.reranker import Reranker

    settings, _, access = open_store(config_file)
    entry = resolve(model or settings.models.default)
    with progress_bar(entry.id) as report:
        folder = obtain(entry, access, report, prefer=settings.models.first_hub)
    with Reranker(model, settings=settings) as reranker:
        info = reranker.info
    return {
        **(card_facts(entry.card) if entry.card else {}),
        **_info_facts(info),
        "files": files_of(folder),
        "history": changes(entry, access),
        "quality": entry.card.quality if entry.card else {},
    }


def _info_facts(info: "ModelInfo") -> dict[str, JsonValue]:
    return {
        "id": info.id,
        "names": info.names,
        "family": info.family,
        "engine": info.engine,
        "precision": info.precision,
        "precision_reason": info.precision_reason,
        "agreement": info.agreement,
        "score_type": info.score_type.value,
        "score_from": info.score_from,
        "max_tokens": info.max_tokens,
        "fingerprint": info.fingerprint,
        "revision": info.revision,
        "verified": {
            "max_abs_diff": info.verified.max_abs_diff,
            "reference": info.verified.reference,
            "precision": info.verified.precision,
        }
        if info.verified
        else None,
        "golden": info.golden.facts() if info.golden else None,
    }


def _lines(value: JsonValue) -> list[str]:
    """One line for a plain value, one line an entry for an object."""
    if isinstance(value, Mapping) and value:
        return [f"{name}: {as_text(each)}" for name, each in cast("Mapping[str, JsonValue]", value).items()]
    return [as_text(value)]
