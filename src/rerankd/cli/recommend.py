"""`rerankd recommend`: measures this machine, and advises a model with reasons."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rerankd.cli.options import config_option, debug_option, json_option, load_settings, say_failures_once
from rerankd.cli.output import Column, note, print_json, print_rows
from rerankd.types import JsonValue

if TYPE_CHECKING:
    from rerankd.registry.advice import Advice
    from rerankd.settings import Settings

_COLUMNS = (
    Column("model"),
    Column("in time"),
    Column("seconds", number=True),
    Column("licence"),
    Column("reasons", shortened=True),
)
_UNITS = {"ms": 0.001, "s": 1.0}
_BUNDLED = "rerankd-zh-en"
_QUERY = "how does a database survive a power failure?"
_TEXT = "A database writes what it is about to do to a log before it changes its pages. "
_NEAREST = 3
_SERVED_SHARE = 0.85
"""What a served fp32 model reaches of the matrix products: 0.9 to 1.05 alone (docs/benchmarks.md), less a margin."""
_ROUNDS = 3


def _seconds(_: click.Context, __: click.Parameter, value: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s)", value.strip().lower())
    if not found or float(found[1]) == 0:
        raise click.BadParameter(f"{value!r} is no time: write 300ms or 2s.")
    return float(found[1]) * _UNITS[found[2]]


@click.command()
@click.option("--lang", default="", help="Language of the texts (zh, en, …); by default any.")
@click.option("--latency", default="1s", callback=_seconds, help="How soon a ranking is wanted: 300ms, 2s.")
@click.option("--docs", "documents", type=click.IntRange(min=1), default=20, help="Documents in a request.")
@click.option("--tokens", type=click.IntRange(min=8), default=200, help="Tokens of a query and a document together.")
@click.option("--all", "every", is_flag=True, help="Show those that are too slow or too big for this machine, too.")
@json_option
@config_option
@debug_option
@click.pass_context
def recommend(
    context: click.Context, *, lang: str, latency: float, documents: int, tokens: int, every: bool, as_json: bool,
    config_file: Path | None,
) -> None:  # fmt: skip
    """Measure this machine for a few seconds and advise a model, with reasons.

    Measured are the cores' matrix products and the bundled model; other models' times are scaled from the products by
    their parameters, in fp32 on the CPU. They are estimates: measure the model you choose with `rerankd bench`, judge
    it on your own data with `rerankd evaluate`.
    """
    from rerankd import machine
    from rerankd.models.coverage import served
    from rerankd.registry.advice import Wanted, advise
    from rerankd.registry.catalog import cards

    say_failures_once(context)
    rate, bundled = _rates(load_settings(config_file).settings)
    memory = machine.memory()
    wanted = Wanted(lang.lower(), documents, tokens, latency, memory.usable if memory else 1 << 62)
    advice = advise([card for card in cards() if served(card)], wanted, rate, {_BUNDLED: bundled})
    shown = [one for one in advice if one.fits or every]
    if none_fits := not any(one.fits for one in advice):
        shown = shown or sorted(advice, key=lambda one: one.latency_s)[:_NEAREST]
    if as_json:
        print_json({"operations_per_s": rate, "models": [_facts(one) for one in shown]})
        return
    _print(shown, rate, left_out=len(advice) - len(shown))
    if none_fits:
        note(f"None does it within {latency:g} s here; a cascade (fast>MODEL) lets a large one score the best in time.")


def _rates(settings: "Settings") -> tuple[float, float]:
    """Operations per second that an fp32 model can be expected to reach here, and that the bundled one reaches."""
    import time

    from rerankd import machine
    from rerankd.bench.peak import MatrixPeak
    from rerankd.registry.catalog import find
    from rerankd.reranker import Reranker

    card = find(_BUNDLED)
    assert card
    assert card.active_millions
    plain = settings.models.model_copy(update={"document_cache_mb": 0.0, "default": _BUNDLED, "served": ()})
    cache = settings.cache.model_copy(update={"url": "off://"})
    alone = settings.model_copy(update={"models": plain, "cache": cache})
    texts = [_TEXT * 8 + str(number) for number in range(8)]
    with Reranker(settings=alone) as reranker:
        best = float("inf")
        tokens = 0
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            tokens = reranker.rank(_QUERY, texts).usage.tokens
            best = min(best, time.perf_counter() - started)
    reached = tokens * 2 * card.active_millions * 1e6 / best
    with MatrixPeak(machine.usable_cores(), "fp32", sizes=((256, 1024, 1024),)) as peak:
        products = max(peak.sample(0.3) for _ in range(_ROUNDS))
    return _SERVED_SHARE * products, reached


def _print(shown: "Sequence[Advice]", rate: float, *, left_out: int) -> None:
    rows = [
        [one.card.id, "yes" if one.fits else "no", f"{one.latency_s:.2g}", one.card.licence, "; ".join(one.reasons)]
        for one in shown
    ]
    print_rows(_COLUMNS, rows)
    note(f"This machine reaches about {rate / 1e9:.0f} GFLOP/s in a served fp32 model.")
    if left_out:
        note(f"{left_out} more are too slow or too big here: --all shows them.")


def _facts(one: "Advice") -> dict[str, JsonValue]:
    return {
        "model": one.card.id,
        "fits": one.fits,
        "seconds": one.latency_s,
        "licence": one.card.licence,
        "figure": one.figure,
        "reasons": one.reasons,
    }
