"""`rerankd rank`: order documents from a file or a pipe, in this process or by a running server."""

import codecs
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from rerankd.cli import reading
from rerankd.cli.options import config_option, debug_option, json_option, load_settings, say_failures_once
from rerankd.cli.output import Column, note, print_json, print_rows

if TYPE_CHECKING:
    from rerankd.types import Ranking

_COLUMNS = (Column("rank", number=True), Column("score", number=True), Column("document", shortened=True))


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is asked for, whoever answers."""

    query: str
    documents: Sequence[str]
    model: str
    top_n: int | None
    raw_scores: bool
    instruction: str


def _encoding(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        return codecs.lookup(value).name
    except LookupError as error:
        raise click.BadParameter(f"{value!r} is no text encoding.") from error


@click.command()
@click.argument("query")
@click.argument("file", default="-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("-n", "--top-n", type=click.IntRange(min=1), help="How many to print; by default all.")
@click.option("-m", "--model", default="", help="A name from `rerankd list`, or a folder (./my-model).")
@click.option("--instruction", default="", help="What relevance means, for models that take instructions.")
@click.option("--raw-scores", is_flag=True, help="The model's own numbers, not activated.")
@click.option("--format", "form", type=click.Choice(["auto", "lines", "json", "jsonl"]), default="auto",
              help="How FILE is read; auto goes by its ending, else by its first character.")  # fmt: skip
@click.option("--encoding", default="utf-8", callback=_encoding, help="FILE's encoding; by default UTF-8.")
@click.option("--url", default="", help="Ask the rerankd server at this address instead of loading a model.")
@click.option("--api-key", default="", help="The server's API key; @FILE reads it from a file.")
@click.option("--timing", is_flag=True, help="Say how long it took, on standard error (with --json: in the object).")
@json_option
@config_option
@debug_option
@click.pass_context
def rank(
    context: click.Context, *, query: str, file: str, top_n: int | None, model: str, instruction: str,
    raw_scores: bool, form: str, encoding: str, url: str, api_key: str, timing: bool, as_json: bool,
    config_file: Path | None,
) -> None:  # fmt: skip
    """Rank documents by their relevance to QUERY, best first.

    FILE (or standard input) holds one document a line, a JSON list, or JSON Lines; in JSON a document is a text or an
    object with a "text". No server is needed.
    """
    if raw_scores and url:
        raise click.UsageError("--raw-scores needs the model in this process: leave out --url.", context)
    if instruction and url:
        raise click.UsageError("--instruction needs the model in this process: leave out --url.", context)
    if api_key and not url:
        raise click.UsageError("--api-key is for a server: give its --url.", context)
    texts = _read(file, form, encoding)
    wish = _Wish(query, texts, model, top_n, raw_scores, instruction)
    started = time.perf_counter()
    if url:
        ready_s, ranking = 0.0, _rank_remotely(wish, url, read_key(api_key))
    else:
        say_failures_once(context)
        ready_s, ranking = _rank_here(wish, config_file)
    spent = {"model_ready_s": ready_s, "total_s": time.perf_counter() - started}
    _print(ranking, texts, spent if timing else {}, as_json=as_json)


def _read(file: str, form: str, encoding: str) -> list[str]:
    if file == "-" and sys.stdin.isatty():
        note("Reading documents from the keyboard, one a line; Ctrl-D ends.")
    with click.open_file(file, "rb") as stream:
        text = reading.decode(stream.read(), encoding)
    return reading.documents(text, reading.detect(file, text) if form == "auto" else cast("reading.Format", form))


def read_key(given: str) -> str | None:
    """Return an API key given as such or as @FILE; None where there is none."""
    if not given.startswith("@"):
        return given or None
    try:
        return Path(given[1:]).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"the key file cannot be read: {error}.", param_hint="--api-key") from error


def _rank_here(wish: _Wish, config_file: Path | None) -> tuple[float, "Ranking"]:
    """Return the seconds until the model was ready, and the ranking."""
    settings = load_settings(config_file).settings
    started = time.perf_counter()
    from rerankd.reranker import Reranker

    with Reranker(wish.model, settings=settings) as reranker:
        ready_s = time.perf_counter() - started
        return ready_s, reranker.rank(
            wish.query, wish.documents, top_n=wish.top_n, raw_scores=wish.raw_scores, instruction=wish.instruction
        )


def _rank_remotely(wish: _Wish, url: str, api_key: str | None) -> "Ranking":
    from rerankd.client import Client

    with Client(url, api_key=api_key, model=wish.model) as client:
        return client.rank(wish.query, wish.documents, top_n=wish.top_n)


def _print(ranking: "Ranking", documents: Sequence[str], spent: dict[str, float], *, as_json: bool) -> None:
    if as_json:
        print_json(_json(ranking, documents, spent))
        return
    digits = 4 if sys.stdout.isatty() else 6
    rows = [
        (str(place), f"{ranked.score:.{digits}f}", documents[ranked.index])
        for place, ranked in enumerate(ranking, start=1)
    ]
    print_rows(_COLUMNS, rows)
    if ranking.chunked:
        note(f"{len(ranking.chunked)} of {len(documents)} documents were longer than the model reads: scored in chunks")
    if ranking.truncated:
        note(f"{len(ranking.truncated)} of {len(documents)} documents were cut to the model's limit")
    if spent:
        timing = ranking.timing
        note(
            f"{spent['total_s']:.3f} s: model ready {spent['model_ready_s']:.3f} s, ranking {timing.total_s:.3f} s "
            f"(tokenization {timing.tokenization_s:.3f} s, inference {timing.inference_s:.3f} s), "
            f"{ranking.usage.pairs} documents, {ranking.usage.tokens} tokens"
        )


def _json(ranking: "Ranking", documents: Sequence[str], spent: dict[str, float]) -> dict[str, object]:
    shown: dict[str, object] = {
        "results": [
            {"index": ranked.index, "score": ranked.score, "document": documents[ranked.index]} for ranked in ranking
        ],
        "model": ranking.model,
        "score_type": ranking.score_type.value,
        "usage": {
            "tokens": ranking.usage.tokens,
            "pairs": ranking.usage.pairs,
            "cached_pairs": ranking.usage.cached_pairs,
        },
        "truncated": list(ranking.truncated),
        "chunked": list(ranking.chunked),
    }
    if spent:
        timing = ranking.timing
        shown["timing"] = {
            **spent,
            "ranking_s": timing.total_s,
            "tokenization_s": timing.tokenization_s,
            "inference_s": timing.inference_s,
        }
    return shown
