"""`rerankd list` and `rerankd show`: which models there are, and what is known of one."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from rerankd.cli.options import config_option, debug_option, json_option, load_settings, say_failures_once
from rerankd.cli.output import Column, as_text, print_json, print_rows
from rerankd.types import JsonValue

if TYPE_CHECKING:
    from rerankd.registry.catalog import Card
    from rerankd.types import ModelInfo

_COLUMNS = (
    Column("model"),
    Column("languages"),
    Column("family"),
    Column("max tokens", number=True),
    Column("licence"),
    Column("from"),
    Column("description", shortened=True),
)


@click.command("list")
@json_option
@debug_option
def list_models(as_json: bool) -> None:
    """List the models that rerankd knows by name. A folder (./my-model) can be served too."""
    from rerankd.registry.catalog import cards

    facts = [_card_facts(card) for card in cards()]
    if as_json:
        print_json({"models": facts})
        return
    names = ("id", "languages", "family", "max_tokens", "licence", "source", "description")
    print_rows(_COLUMNS, [[as_text(card[name]) for name in names] for card in facts])


@click.command()
@click.argument("model", default="")
@config_option
@json_option
@debug_option
@click.pass_context
def show(context: click.Context, model: str, config_file: Path | None, as_json: bool) -> None:
    """Show what is known of MODEL: card, files, family, engine, limits, fingerprint, measured quality.

    MODEL is a name or a folder; by default the model that `rerankd serve` would serve. It is loaded to be sure.
    """
    from rerankd import plugins
    from rerankd.registry.resolve import resolve
    from rerankd.reranker import Reranker
    from rerankd.sources.base import Source

    say_failures_once(context)
    settings = load_settings(config_file).settings
    entry = resolve(model or settings.models.default)
    source = cast("Source", plugins.load("sources", entry.reference.source))
    with Reranker(model, settings=settings) as reranker:
        info = reranker.info
    facts: dict[str, JsonValue] = {
        **(_card_facts(entry.card) if entry.card else {}),
        **_info_facts(info),
        "files": _files(source.fetch(entry.reference)),
        "quality": entry.card.quality if entry.card else {},
    }
    if as_json:
        print_json(facts)
        return
    rows = [(name, text) for name, value in facts.items() for text in _lines(value)]
    print_rows((Column("fact"), Column("value")), rows)


def _card_facts(card: "Card") -> dict[str, JsonValue]:
    return {
        "id": card.id,
        "names": card.names,
        "title": card.title,
        "description": card.description,
        "languages": card.languages,
        "licence": card.licence,
        "family": card.family,
        "max_tokens": card.max_tokens,
        "source": card.source.source,
        "base": card.base,
    }


def _info_facts(info: "ModelInfo") -> dict[str, JsonValue]:
    return {
        "id": info.id,
        "names": info.names,
        "family": info.family,
        "engine": info.engine,
        "precision": info.precision,
        "score_type": info.score_type.value,
        "max_tokens": info.max_tokens,
        "fingerprint": info.fingerprint,
    }


def _files(folder: Path) -> dict[str, JsonValue]:
    """Name every file with its size in bytes."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}


def _lines(value: JsonValue) -> list[str]:
    """One line for a plain value, one line an entry for an object."""
    if isinstance(value, Mapping) and value:
        return [f"{name}: {as_text(each)}" for name, each in cast("Mapping[str, JsonValue]", value).items()]
    return [as_text(value)]
