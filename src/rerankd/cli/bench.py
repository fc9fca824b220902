"""`rerankd bench`: what this machine can do with a model, and how another server compares."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from rerankd.cli.options import config_option, debug_option, json_option, load_settings, say_failures_once
from rerankd.cli.output import Column, note, print_json, print_rows

if TYPE_CHECKING:
    from rerankd.bench.report import Report
    from rerankd.bench.run import Against, Over

_SECONDS, _QUICK_SECONDS = 60.0, 10.0
_QUICK_DOCUMENTS, _QUICK_CLIENTS = (5, 20), (1, 4)
_CLEAR_LINE = "\r\x1b[K"


class _Numbers(click.ParamType[tuple[int, ...]]):
    """A list of whole numbers from 1 on, with commas between."""

    name = "N,N,…"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        words = [word.strip() for word in str(value).split(",")]
        if not all(word.isdecimal() and int(word) for word in words):
            self.fail(f"{value!r} is no list of numbers from 1 on, such as 5,20,100.", param, ctx)
        return tuple(dict.fromkeys(int(word) for word in words))


@click.command()
@click.argument("model", default="")
@click.option("--documents", type=_Numbers(), help="Documents per request; by default 5,20,100.")
@click.option("--concurrency", "clients", type=_Numbers(), help="Clients at once; by default 1,4,16.")
@click.option(
    "--doc-tokens", type=click.IntRange(min=1), help="Tokens of every document; by default 30 to 500, median 150."
)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Your own requests in place of made-up ones: JSON Lines of {query, documents}.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the made-up requests.")
@click.option("--seconds", type=click.FloatRange(min=1), help="About how long it may take; by default 60.")
@click.option("--quick", is_flag=True, help="About 10 seconds: fewer cells, fewer requests.")
@click.option("--over", type=click.Choice(["process", "http"]), default="process", show_default=True,
              help="Measure the model in this process, or a server started for it.")  # fmt: skip
@click.option(
    "--against",
    multiple=True,
    metavar="URL",
    help="Another rerank server to measure with the same requests; may be repeated.",
)
@click.option("--against-dialect", multiple=True, metavar="NAME",
              help="How it is asked: auto, cohere, infinity, jina, llamacpp, nim, tei, vllm, voyage, xinference.",
)  # fmt: skip
@click.option("--against-model", multiple=True, metavar="NAME", help="The model to ask it for; by default its first.")
@click.option("--against-key", multiple=True, metavar="KEY", help="Its API key; @FILE reads it from a file.")
@click.option(
    "--capacity",
    default="",
    metavar="NxL@R",
    help="What N documents of L tokens at R requests a second need: 20x150@5.",
)
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw it: FILE.svg or FILE.png."
)
@json_option
@config_option
@debug_option
@click.pass_context
def bench(
    context: click.Context, *, model: str, documents: tuple[int, ...] | None, clients: tuple[int, ...] | None,
    doc_tokens: int | None, file: Path | None, seed: int, seconds: float | None, quick: bool, over: str,
    against: tuple[str, ...], against_dialect: tuple[str, ...], against_model: tuple[str, ...],
    against_key: tuple[str, ...], capacity: str, plot: Path | None, as_json: bool, config_file: Path | None,
) -> None:  # fmt: skip
    """Measure MODEL on this machine: speed, response times, memory, start, and share of the matrix peak.

    MODEL is a name from `rerankd list` or a folder; by default the model that `rerankd serve` would serve. Caches are
    off: every pair is computed. Requests are made of words, English and Chinese by turns; none comes twice.
    """
    from rerankd.bench.capacity import read_demand
    from rerankd.bench.plot import check_plot, draw
    from rerankd.bench.run import CLIENTS, DOCUMENTS, Wish
    from rerankd.bench.run import bench as measure

    if file and (documents or doc_tokens):
        raise click.UsageError("--documents and --doc-tokens are for made-up requests: leave out --file.", context)
    if plot:
        check_plot(plot)
    say_failures_once(context)
    wish = Wish(
        model=model,
        settings=load_settings(config_file).settings,
        config_file=config_file,
        over=cast("Over", over),
        documents=documents or (_QUICK_DOCUMENTS if quick else DOCUMENTS),
        clients=clients or (_QUICK_CLIENTS if quick else CLIENTS),
        insist=bool(documents or clients),
        doc_tokens=doc_tokens,
        file=file,
        seed=seed,
        seconds=seconds or (_QUICK_SECONDS if quick else _SECONDS),
        starts=1 if quick else 3,
        against=_against(context, against, against_dialect, against_model, against_key),
        demand=read_demand(capacity) if capacity else None,
    )
    progress = _progress()
    report = measure(wish, progress)
    progress("")
    if plot:
        draw(report, plot)
    _print(report, as_json=as_json)


def _against(
    context: click.Context, urls: Sequence[str], dialects: Sequence[str], models: Sequence[str], keys: Sequence[str]
) -> "tuple[Against, ...]":
    """Pair each URL with its dialect, model and key: the first with the first; one alone is for all."""
    from rerankd.bench.run import Against

    def nth(name: str, given: Sequence[str], place: int, default: str) -> str:
        if given and (not urls or len(given) not in {1, len(urls)}):
            raise click.UsageError(
                f"{name} is given {len(given)} times for {len(urls)} --against: once, or for each.", context
            )
        return given[place if len(given) > 1 else 0] if given else default

    for name, given in (("--against-dialect", dialects), ("--against-model", models), ("--against-key", keys)):
        nth(name, given, 0, "")
    return tuple(
        Against(
            url,
            dialect=nth("--against-dialect", dialects, place, "auto"),
            model=nth("--against-model", models, place, ""),
            key=_key(nth("--against-key", keys, place, "")),
        )
        for place, url in enumerate(urls)
    )


def _key(given: str) -> str:
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"the key file cannot be read: {error}.", param_hint="--against-key") from error


def _progress() -> Callable[[str], None]:
    """Say on one line of the terminal what is being done; say nothing elsewhere. "" clears the line."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda text: click.echo(_CLEAR_LINE + text, err=True, nl=False)


def _print(report: "Report", *, as_json: bool) -> None:
    from rerankd.bench.report import as_json as jsonable
    from rerankd.bench.report import facts, remarks, table

    if as_json:
        print_json(jsonable(report))
        return
    heading, rows = table(report)
    print_rows((Column("fact"), Column("value")), facts(report))
    click.echo()
    texts = {"target"}
    print_rows([Column(title, number=title not in texts) for title in heading], rows)
    for remark in remarks(report):
        note(remark)
