"""The result as one HTML page that needs nothing else: tables, figures, and the queries that went worst."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources

from rerankd import __version__
from rerankd.evaluation import plots
from rerankd.evaluation.calibration import Threshold
from rerankd.evaluation.judged import JudgedQuery
from rerankd.evaluation.judging import Evaluation, Verdict, ranking
from rerankd.evaluation.results import Group, worst
from rerankd.evaluation.tables import Table, duel_table, standing_table, threshold_table

WORST = 20
"""How many queries are shown."""
_SHOWN = 5
_LONGEST = 300


def page(
    evaluation: Evaluation,
    found: Sequence[Group],
    *,
    suggested: Mapping[str, Sequence[Threshold]],
    texts: bool = True,
) -> str:
    """Write the page. Without `texts` it holds ids only: for results that leave the house when texts must not.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    rules = evaluation.rules
    about = (
        f"<p>{len(evaluation.queries)} queries in {len(evaluation.sets)} set(s). Bars and brackets are 95 % intervals "
        f"(bootstrap over queries, {rules.resamples:,} samples); p-values are of paired permutation tests, corrected "
        f"by Holm's method. Equal scores: {escape(_TIES[rules.ties])}.</p>"
    )
    parts = [about, *(_group(evaluation, group) for group in found)]
    for system, rows in suggested.items():
        if rows:
            parts += [f"<h2>Thresholds: {escape(system)}</h2>", _table(threshold_table(rows))]
    subject = next((verdict for verdict in evaluation.verdicts if verdict.kind != "baseline"), evaluation.verdicts[0])
    parts.append(_worst(evaluation, subject, texts=texts))
    style = resources.files("rerankd.evaluation").joinpath("report.css").read_text("utf-8")
    title = "Evaluation: " + ", ".join(judged.name for judged in evaluation.sets)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{style}</style></head><body><main><h1>{escape(title)}</h1>\n"
        + "\n".join(parts)
        + f"\n<footer>rerankd {__version__}</footer></main></body></html>\n"
    )


_TIES = {"given": "keep the order given", "trec_eval": "the greater id first, as in trec_eval"}


def _group(evaluation: Evaluation, group: Group) -> str:
    first = evaluation.rules.measures[0]
    parts = [
        f"<h2>{escape(group.name)}</h2>",
        f"<p>{len(group.rows)} queries, {group.candidates:.1f} candidates each.</p>",
        _table(standing_table(group)),
    ]
    if group.subset:
        return "\n".join(parts)
    parts.append(_drawn(plots.bars({standing.system: standing.estimates for standing in group.standings})))
    if group.duels:
        parts += ["<h3>Comparisons</h3>", _table(duel_table(group, first))]
    rows, top = list(group.rows), evaluation.verdicts[0]
    parts += [
        _drawn(plots.gaps(top.system, other.system, first, top.values[rows, 0] - other.values[rows, 0]))
        for other in evaluation.verdicts[1:]
    ]
    calibrations = {each.system: each.calibration for each in group.standings if each.calibration is not None}
    if calibrations:
        parts += ["<h3>Scores as probabilities</h3>", _drawn(plots.reliability(calibrations))]
    return "\n".join(parts)


def _worst(evaluation: Evaluation, verdict: Verdict, *, texts: bool) -> str:
    numbers = worst(verdict, WORST)
    if not numbers:
        return ""
    queries = evaluation.queries
    head = f"<h2>Where {escape(verdict.system)} did worst</h2><p>By {evaluation.rules.measures[0]}, worst first. "
    head += "Relevant documents are marked; those below the first five are added with their place.</p>"
    return head + "\n".join(
        _case(queries[number], verdict.values[number, 0], ranking(verdict.answers[number], evaluation.rules.ties),
              evaluation.rules.relevant_from, texts=texts)
        for number in numbers
    )  # fmt: skip


def _case(
    query: JudgedQuery, value: float, ranked: Sequence[tuple[str, float]], relevant_from: float, *, texts: bool
) -> str:
    documents = dict(zip(query.ids, query.documents, strict=True)) if texts else {}
    shown: list[str] = []
    for place, (id_, score) in enumerate(ranked, start=1):
        relevant = query.judgements.get(id_, 0.0) >= relevant_from
        if place <= _SHOWN or relevant:
            mark = ' class="relevant"' if relevant else ""
            text = escape(_shortened(documents.get(id_, "")))
            shown.append(
                f"<tr{mark}><td>{place}</td><td>{score:.4g}</td><td>{escape(id_)}</td><td class='text'>{text}</td></tr>"
            )
    ranked_ids = {id_ for id_, _ in ranked}
    missing = sum(gain >= relevant_from and id_ not in ranked_ids for id_, gain in query.judgements.items())
    note = f"<p>{missing} relevant document(s) were not among the candidates.</p>" if missing else ""
    title = escape(query.query) if texts else f"query {escape(query.id)}"
    return f"<section><h3>{title} <small>{value:.3f}</small></h3><table>{''.join(shown)}</table>{note}</section>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in table.titles)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in table.rows)
    return f"<table class='figures'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Iterable[str]) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in row)


def _drawn(svg: str) -> str:
    return f"<figure>{svg}</figure>"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
