"""`rerankd evaluate`: how well models, servers and runs rank, beside what costs nothing, and how sure that is."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from rerankd.cli.options import config_option, debug_option, json_option, load_settings, say_failures_once
from rerankd.cli.output import Column, note, print_json, print_table
from rerankd.cli.progress import watched
from rerankd.cli.rank import read_key
from rerankd.errors import ConfigError

if TYPE_CHECKING:
    from rerankd.evaluation.calibration import Threshold
    from rerankd.evaluation.judged import JudgedSet
    from rerankd.evaluation.judging import Evaluation, Rules, Verdict
    from rerankd.evaluation.opening import Spec
    from rerankd.evaluation.results import Group
    from rerankd.evaluation.tables import Table
    from rerankd.settings import Settings

_PATIENCE_S = 3600.0
"""A slow model is measured, not interrupted."""


@dataclass(frozen=True, slots=True)
class _Data:
    """Where the judged queries are."""

    paths: Sequence[Path]
    queries: Path | None
    corpus: Path | None
    qrels: Path | None
    candidates: Path | None
    split: str
    top_k: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class _Wish:
    """What to do with the answers."""

    as_json: bool
    report: Path | None
    texts: bool
    save_run: Path | None
    suggest: bool
    price_per_hour: float | None
    api_key: str
    timeout_s: float
    cold: bool


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("systems", nargs=-1, metavar="[SYSTEM]...")
@click.option("--data", "paths", multiple=True, type=click.Path(exists=True, path_type=Path), metavar="PATH",
              help="A BEIR folder, or JSON Lines of judged queries; may be given several times.")  # fmt: skip
@click.option("--against", multiple=True, metavar="SYSTEM", help="One more system: the same as naming it first.")
@click.option("--qrels", type=_FILE, help="TREC judgements; with --queries, --corpus and perhaps --candidates.")
@click.option("--queries", type=_FILE, help="Texts of the queries: JSON Lines, or id, tab, text.")
@click.option("--corpus", type=_FILE, help="Texts of the documents, likewise.")
@click.option("--candidates", type=_FILE, help="A TREC run whose documents are reranked; else BM25 chooses them.")
@click.option("--split", default="", help="Which qrels of a BEIR folder; by default test.")
@click.option("--top-k", default=100, type=click.IntRange(1, 1000), show_default=True, help="Candidates per query.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many queries of each set.")
@click.option("--metrics", default="ndcg@10,mrr@10,map,recall@1,recall@5", show_default=True,
              help="The first decides comparisons; also ndcg, mrr, recall@K, precision@K.")  # fmt: skip
@click.option("--relevant-from", default=1.0, show_default=True, help="The least gain that counts as relevant.")
@click.option("--ties", type=click.Choice(["given", "trec_eval"]), default="given", show_default=True,
              help="Equal scores: in the order given, or by id as trec_eval does.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Seed of intervals and tests.")
@click.option("--no-baselines", is_flag=True, help="Neither the given order nor BM25, unless named.")
@click.option("--cold", is_flag=True, help="Keep no document states between queries: the speed of new documents.")
@click.option("--price-per-hour", type=click.FloatRange(min=0), help="What the machine costs: adds cost per 1,000.")
@click.option("--suggest-threshold", is_flag=True, help="Suggest score thresholds for a wanted precision or recall.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.html",
              help="Write one HTML page with figures (needs rerankd[plots]).")  # fmt: skip
@click.option("--no-texts", is_flag=True, help="Leave queries and documents out of the report.")
@click.option("--save-run", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Write each system's rankings as TREC run files.")  # fmt: skip
@click.option("--api-key", default="", help="The servers' API key; @FILE reads it from a file.")
@click.option("--timeout", "timeout_s", default=300.0, type=click.FloatRange(min=0.1), show_default=True,
              help="Seconds to wait for one answer of a server.")  # fmt: skip
@json_option
@config_option
@debug_option
@click.pass_context
def evaluate(
    context: click.Context, *, systems: tuple[str, ...], paths: tuple[Path, ...], against: tuple[str, ...],
    qrels: Path | None, queries: Path | None, corpus: Path | None, candidates: Path | None, split: str, top_k: int,
    limit: int | None, metrics: str, relevant_from: float, ties: str, seed: int, no_baselines: bool, cold: bool,
    price_per_hour: float | None, suggest_threshold: bool, report: Path | None, no_texts: bool, save_run: Path | None,
    api_key: str, timeout_s: float, as_json: bool, config_file: Path | None,
) -> None:  # fmt: skip
    """Measure how well SYSTEMs rank judged queries: nDCG, MRR, MAP, recall, with intervals, tests, speed and cost.

    A SYSTEM is a model's name or folder, the URL of a server (http://host:8036, with #MODEL; or the whole URL of any
    rerank endpoint), a TREC run file ({set} in its path stands for the set's name), bm25 or given; NAME=SYSTEM chooses
    the name shown. Without one it is the default model, without data a small Chinese and English sample. The given
    order and BM25 stand beside it.
    """
    if (report is not None) and find_spec("matplotlib") is None:
        raise ConfigError("--report needs matplotlib: install rerankd[plots]")
    _check_data(context, paths, [qrels, queries, corpus])
    data = _Data(paths, queries, corpus, qrels, candidates, split, top_k, limit)
    wish = _Wish(as_json, report, not no_texts, save_run, suggest_threshold, price_per_hour, api_key, timeout_s, cold)
    from rerankd.evaluation import metrics as measures
    from rerankd.evaluation.judging import Rules
    from rerankd.evaluation.opening import baselines, check_runs, distinct, specify

    say_failures_once(context)
    read = [measures.parse(each) for each in metrics.split(",")]
    rules = Rules(tuple(dict.fromkeys(read)), cast("measures.Ties", ties), relevant_from, seed=seed)
    settings = load_settings(config_file).settings
    named = [specify(text) for text in (*systems, *against)] or [specify(settings.models.default)]
    sets, left_out = _sets(data, relevant_from)
    check_runs(named, sets)
    chosen = distinct([*named, *([] if no_baselines else baselines(sets, named))])
    _show(_judged(chosen, sets, rules, settings, wish), left_out, wish)


def _check_data(context: click.Context, paths: Sequence[Path], trec: Sequence[Path | None]) -> None:
    if any(trec) and not all(trec):
        raise click.UsageError("--qrels, --queries and --corpus belong together: give all three.", context)
    if any(trec) and paths:
        raise click.UsageError("give --data, or --qrels with --queries and --corpus, not both.", context)


def _sets(data: _Data, relevant_from: float) -> tuple[list["JudgedSet"], dict[str, int]]:
    """Return the sets, and how many queries of each have nothing relevant and are left out."""
    from rerankd.evaluation import corpus, sets
    from rerankd.evaluation.judging import judgeable

    if data.qrels and data.queries and data.corpus:
        files = corpus.Files(data.qrels.name, data.queries, data.corpus, data.qrels, data.candidates)
        read = [corpus.read(files, limit=data.limit, top_k=data.top_k, watch=watched)]
    elif data.paths:
        read = [
            sets.load(path, split=data.split, run=data.candidates, limit=data.limit, top_k=data.top_k, watch=watched)
            for path in data.paths
        ]
    else:
        read = [sets.sample(limit=data.limit)]
        note("no --data: measuring on the small sample set that ships with rerankd")
    kept = [judgeable(judged, relevant_from=relevant_from) for judged in read]
    left_out = {a.name: len(a.queries) - len(b.queries) for a, b in zip(read, kept, strict=True)}
    for name, count in left_out.items():
        if count:
            note(f"{name}: {count} queries without a relevant document are left out")
    return kept, left_out


def _judged(
    specs: Sequence["Spec"], sets: Sequence["JudgedSet"], rules: "Rules", settings: "Settings", wish: _Wish
) -> "Evaluation":
    from rerankd.evaluation.judging import Evaluation, judge
    from rerankd.evaluation.opening import opened
    from rerankd.reranker import Reranker

    # Every pair is new once: a cache of scores would only measure itself.
    models = settings.models.model_copy(update={"document_cache_mb": 0.0} if wish.cold else {})
    changed = {
        "models": models,
        "cache": settings.cache.model_copy(update={"url": "off://"}),
        "limits": settings.limits.model_copy(update={"deadline_s": _PATIENCE_S, "max_documents": 1 << 20}),
    }
    measured = settings.model_copy(update=changed)
    key = read_key(wish.api_key)
    verdicts: list[Verdict] = []
    for spec in specs:
        with opened(
            spec, open_model=lambda name: Reranker(name, settings=measured), api_key=key, timeout_s=wish.timeout_s
        ) as system:
            verdicts.append(judge(system, sets, rules, watched))
    return Evaluation(tuple(sets), rules, tuple(verdicts))


def _show(evaluation: "Evaluation", left_out: Mapping[str, int], wish: _Wish) -> None:
    from rerankd.evaluation import results
    from rerankd.evaluation.document import document

    found = results.groups(evaluation, price_per_hour=wish.price_per_hour)
    suggested = {
        verdict.system: results.suggestions(evaluation, verdict)
        for verdict in evaluation.verdicts
        if wish.suggest and verdict.kind != "baseline"
    }
    if wish.save_run is not None:
        _save_runs(evaluation, wish.save_run)
    if wish.report is not None:
        from rerankd.evaluation.report import page

        _write(wish.report, page(evaluation, found, suggested=suggested, texts=wish.texts))
        note(f"report written to {wish.report}")
    if wish.as_json:
        print_json(document(evaluation, found, left_out=left_out, suggested=suggested if wish.suggest else None))
        return
    for group in found:
        _print_group(group, evaluation)
    for name, rows in suggested.items():
        _print_thresholds(name, rows)


def _print_group(group: "Group", evaluation: "Evaluation") -> None:
    from rerankd.evaluation.tables import duel_table, standing_table

    click.echo(f"\n{group.name}: {len(group.rows)} queries, {group.candidates:.1f} candidates each")
    _print(standing_table(group))
    if group.duels and not group.subset:
        click.echo()
        _print(duel_table(group, evaluation.rules.measures[0]))


def _print_thresholds(name: str, rows: Sequence["Threshold"]) -> None:
    from rerankd.evaluation.tables import threshold_table

    click.echo(f"\n{name}: thresholds over the judged pairs")
    _print(threshold_table(rows))


def _print(table: "Table") -> None:
    # A name gives way on a narrow terminal, never in a file.
    shortened = sys.stdout.isatty()
    columns = [Column(title, number=i > 0, shortened=shortened and i == 0) for i, title in enumerate(table.titles)]
    print_table(columns, table.rows)


def _save_runs(evaluation: "Evaluation", folder: Path) -> None:
    from rerankd.evaluation.judging import ranking
    from rerankd.evaluation.trec import write_run

    folder.mkdir(parents=True, exist_ok=True)
    for verdict in evaluation.verdicts:
        start = 0
        for judged in evaluation.sets:
            answers = verdict.answers[start : start + len(judged.queries)]
            start += len(judged.queries)
            rankings = (
                (query.id, ranking(answer, evaluation.rules.ties))
                for query, answer in zip(judged.queries, answers, strict=True)
            )
            write_run(folder / f"{_file_name(judged.name)}.{_file_name(verdict.system)}.trec", rankings, verdict.system)
    note(f"runs written to {folder}")


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("_") or "run"


def _write(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(text, "utf-8")
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
