"""What a run did, in figures: held-out quality before and after, and the card of the new model."""

from collections.abc import Mapping, Sequence

import numpy as np

from rerankd.evaluation import metrics, statistics
from rerankd.evaluation.judged import JudgedQuery
from rerankd.evaluation.statistics import Difference
from rerankd.training.mining import Score
from rerankd.training.plan import Plan, Trained

MEASURES = (metrics.NDCG_10, metrics.MRR_10)

PerQuery = Sequence[Sequence[float]]


def measured(held: Sequence[JudgedQuery], score: Score | None) -> PerQuery:
    """Measure every held-out query: `MEASURES` of each; without a scorer, of the order the candidates come in."""
    return [metrics.of_query(one, score(one.query, one.documents) if score else _given(one), MEASURES) for one in held]


def means(values: PerQuery) -> dict[str, float]:
    """Average over queries."""
    found = np.asarray(values).mean(axis=0)
    return {str(measure): round(float(value), 4) for measure, value in zip(MEASURES, found, strict=True)}


def difference(after: PerQuery, before: PerQuery) -> Difference:
    """Compare nDCG@10 query by query."""
    gaps = np.array([[one[0]] for one in after], np.float64) - np.array([[one[0]] for one in before], np.float64)
    return statistics.differences(gaps, np.zeros(len(gaps), np.int64))[0]


def card(
    name: str,
    *,
    start: str,
    data: str,
    sizes: Mapping[str, int],
    plan: Plan,
    trained: Trained,
    rows: Mapping[str, Mapping[str, float]],
    gain: Difference,
    notes: Sequence[str],
) -> str:
    """Write the card in Markdown."""
    counts = ", ".join(f"{count} {what}" for what, count in sizes.items())
    how = f"{trained.steps} steps, the weights of step {trained.best_step} kept"
    parts = [
        f"# {name}",
        f"A reranker trained with `rerankd train`, from `{start}` on `{data}` ({counts}).",
        f"    rerankd serve ./{name}",
        "## Quality on held-out queries",
        _table(("", "nDCG@10", "MRR@10"), [(label, row["nDCG@10"], row["MRR@10"]) for label, row in rows.items()]),
        _said(gain),
        "## Training",
        how + (", stopped early." if trained.stopped_early else "."),
        _table(("step", "held-out"), [(str(one.step), one.ndcg) for one in trained.checks]),
        "\n".join(f"- {note}" for note in notes),
        "Settings: " + ", ".join(f"{key} {value}" for key, value in plan.as_json().items()) + ".",
        "The licences of the starting model and of the data apply; add them here before you pass the model on.",
    ]
    return "\n\n".join(parts) + "\n"


def _table(heading: Sequence[str], rows: Sequence[tuple[str, *tuple[float, ...]]]) -> str:
    lines = [f"| {' | '.join(heading)} |", "|---" * len(heading) + "|"]
    lines += [f"| {label} | {' | '.join(f'{value:.4f}' for value in values)} |" for label, *values in rows]
    return "\n".join(lines)


def _said(gain: Difference) -> str:
    return (
        f"nDCG@10 after - before: {gain.mean:+.4f}, 95 % interval {gain.low:+.4f} to {gain.high:+.4f} "
        f"(bootstrap over queries), p = {gain.p:.3f}. "
        "These queries chose the step whose weights were kept, so expect a little less."
    )


def _given(one: JudgedQuery) -> list[float]:
    return [-float(place) for place in range(len(one.documents))]
