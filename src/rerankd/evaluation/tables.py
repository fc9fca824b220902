"""The result as tables of short texts, for a terminal and for a page."""

from collections.abc import Sequence
from dataclasses import dataclass

from rerankd.evaluation.calibration import Threshold
from rerankd.evaluation.metrics import Measure
from rerankd.evaluation.results import Group, Speed, Standing

_NONE = "-"


@dataclass(frozen=True, slots=True)
class Table:
    """Titles and rows; the first column is a name, the others are figures."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def standing_table(group: Group) -> Table:
    """One row per system; the first measure with its interval. Columns that nobody has a figure for are left out."""
    measures = list(group.standings[0].estimates)
    titles = ("system", *(str(measure) for measure in measures), "ECE", *_SPEED)
    rows = [
        (
            standing.system,
            *(_estimate(standing, measure, with_interval=measure == measures[0]) for measure in measures),
            f"{standing.calibration.error:.3f}" if standing.calibration else _NONE,
            *_speed(standing.speed),
        )
        for standing in group.standings
    ]
    return _without_empty(titles, rows)


def duel_table(group: Group, measure: Measure) -> Table:
    """One row per pair of systems; a star marks what is significant after correction."""
    titles = ("comparison", str(measure), "95 % interval", "p", "p (Holm)", "won", "drawn", "lost")
    rows: list[tuple[str, ...]] = []
    for duel in group.duels:
        found = duel.differences[measure]
        star = " *" if found.significant else ""
        rows.append(
            (
                f"{duel.first} − {duel.second}", f"{found.mean:+.3f}{star}", f"{found.low:+.3f} … {found.high:+.3f}",
                _p(found.p), _p(found.p_holm), str(found.wins), str(found.draws), str(found.losses),
            )
        )  # fmt: skip
    return Table(titles, tuple(rows))


def threshold_table(suggested: Sequence[Threshold]) -> Table:
    """One row per suggestion."""
    titles = ("for", "threshold", "precision", "recall", "kept per query", "queries without any")
    return Table(
        titles,
        tuple(
            (
                "best F1" if each.wanted is None else f"{each.target} {each.wanted:g}",
                f"{each.score:.4g}", f"{each.precision:.3f}", f"{each.recall:.3f}", f"{each.kept:.2f}",
                f"{100 * each.empty:.1f} %",
            )
            for each in suggested
        ),
    )  # fmt: skip


_SPEED = ("ms p50", "ms p95", "pairs/s", "tokens", "cost/1000")


def _speed(speed: Speed | None) -> tuple[str, ...]:
    if speed is None:
        return (_NONE,) * len(_SPEED)
    return (
        _milliseconds(speed.p50_ms),
        _milliseconds(speed.p95_ms),
        f"{speed.pairs_per_s:.0f}",
        _NONE if speed.tokens is None else str(speed.tokens),
        _NONE if speed.cost_per_1000 is None else f"{speed.cost_per_1000:.4f}",
    )


def _estimate(standing: Standing, measure: Measure, *, with_interval: bool) -> str:
    found = standing.estimates[measure]
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]" if with_interval else f"{found.mean:.3f}"


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.0f}"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _without_empty(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    kept = [i for i in range(len(titles)) if i == 0 or any(row[i] != _NONE for row in rows)]
    return Table(tuple(titles[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in rows))
