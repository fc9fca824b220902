"""`rerankd verify`: the parity certificate of a model."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rerankd.cli.options import config_option, debug_option, json_option, load_settings, say_failures_once
from rerankd.cli.output import Column, note, print_json, print_rows
from rerankd.types import JsonValue

if TYPE_CHECKING:
    from rerankd.verification.verify import Verification

_COLUMNS = (
    Column("engine"),
    Column("precision"),
    Column("largest difference", number=True),
    Column("allowed", number=True),
    Column("shown by"),
)


@click.command()
@click.argument("model", default="")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(["fp32", "fp16", "bf16"]),
              help="Compare this precision of the torch engine, too; may be given more than once.")  # fmt: skip
@click.option("--max-tokens", type=click.IntRange(min=16), help="A lower limit, for both sides.")
@json_option
@config_option
@debug_option
@click.pass_context
def verify(
    context: click.Context, *, model: str, precisions: tuple[str, ...], max_tokens: int | None, as_json: bool,
    config_file: Path | None,
) -> None:  # fmt: skip
    """Compare MODEL's scores with its reference implementation's, and sign off what is equal.

    It is compared as it would be served; where that is in int8, in fp32 too, and both are signed.

    The fixed pairs are short, long, over-long, empty, emoji, code and identical texts in several languages. The
    certificate lies in the store; `rerankd show` and /v1/models tell of it as long as files, precision and engine are
    the same. Needs rerankd[verify].
    """
    from rerankd.assembly import make_loader
    from rerankd.registry.resolve import resolve
    from rerankd.verification.verify import verify as compare

    say_failures_once(context)
    settings = load_settings(config_file).settings
    if max_tokens is not None:
        models = settings.models.model_copy(update={"max_tokens": max_tokens})
        settings = settings.model_copy(update={"models": models})
    entry = resolve(model or settings.models.default)
    with click.progressbar(length=1, label="pairs", file=sys.stderr, show_pos=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        found = compare(entry, make_loader(settings), precisions=precisions, progress=progress)
    _print(found, as_json=as_json)
    if found.certificate is None:
        context.exit(1)


def _print(found: "Verification", *, as_json: bool) -> None:
    if as_json:
        print_json(_facts(found))
        return
    rows = [
        [one.engine, one.precision, f"{one.max_abs_diff:.2e}", f"{one.tolerance:g}", one.worst]
        for one in found.differences
    ]
    print_rows(_COLUMNS, rows)
    verdict = "signed off" if found.certificate else "NOT signed off: the scores are further apart than allowed"
    note(f"{found.model} against {found.reference}, {found.pairs} pairs: {verdict}.")


def _facts(found: "Verification") -> dict[str, JsonValue]:
    from dataclasses import asdict

    return {
        "model": found.model,
        "reference": found.reference,
        "pairs": found.pairs,
        "differences": [asdict(one) for one in found.differences],
        "certificate": asdict(found.certificate) if found.certificate else None,
    }
