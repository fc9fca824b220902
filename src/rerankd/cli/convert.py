"""`rerankd convert`: make a model ready ahead of time, and tell which precision was chosen and why."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rerankd.cli.options import config_option, debug_option, json_option, load_settings, say_failures_once
from rerankd.cli.output import Column, as_text, print_json, print_rows
from rerankd.cli.progress import downloads, progress_bar, steps
from rerankd.types import JsonValue

if TYPE_CHECKING:
    from rerankd.models.choosing import Prepared
    from rerankd.models.loader import Loader
    from rerankd.models.notes import Wanted
    from rerankd.registry.resolve import Entry


@click.command()
@click.argument("model", default="")
@click.option(
    "--precision",
    type=click.Choice(("auto", "fp32", "int8")),
    help="In place of models.precision, this once; the server goes by the setting.",
)
@config_option
@json_option
@debug_option
@click.pass_context
def convert(
    context: click.Context, model: str, precision: "Wanted | None", config_file: Path | None, as_json: bool
) -> None:
    """Convert MODEL ahead of time, so that the server starts at once, and find out whether int8 serves it as well.

    MODEL is a name or a folder; by default the model that `rerankd serve` would serve. int8 is made and measured
    against fp32 on built-in texts, about a minute for a model of 280 million parameters on two cores, and from then on
    served where it agrees and is faster. What was converted before is not converted again. With fp32 as the precision
    nothing is measured.
    """
    from rerankd.assembly import make_loader
    from rerankd.registry.resolve import resolve

    say_failures_once(context)
    settings = load_settings(config_file).settings
    loader = make_loader(settings)
    if precision:
        loader = replace(loader, precision=precision)
    entry = resolve(model or settings.models.default)
    prepared = prepare(entry, loader)
    facts: dict[str, JsonValue] = {"id": entry.id, **precision_facts(prepared)}
    if as_json:
        print_json(facts)
        return
    print_rows((Column("fact"), Column("value")), [(name, as_text(value)) for name, value in facts.items()])


def prepare(entry: "Entry", loader: "Loader") -> "Prepared":
    """Fetch a model if it is not here and convert it, showing how far that is."""
    with progress_bar(entry.id) as show:
        folder = loader.fetch(entry, downloads(show))
    with steps(entry.id) as say:
        return loader.prepare(entry, folder, say)


def precision_facts(prepared: "Prepared") -> dict[str, JsonValue]:
    """Tell which precision was chosen and why."""
    return {
        "precision": prepared.graph.precision,
        "precision_reason": prepared.why,
        "agreement": prepared.agreement,
    }
