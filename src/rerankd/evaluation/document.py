"""The result as one JSON document; `docs/reference/evaluation.md` describes it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rerankd import __version__
from rerankd.evaluation.calibration import Threshold
from rerankd.evaluation.judging import Evaluation
from rerankd.evaluation.results import Duel, Group, Standing
from rerankd.evaluation.statistics import CONFIDENCE

FORMAT = 1
"""Raised when a field changes its meaning; new fields do not count."""


def document(
    evaluation: Evaluation,
    found: Sequence[Group],
    *,
    left_out: Mapping[str, int],
    suggested: Mapping[str, Sequence[Threshold]] | None = None,
) -> dict[str, object]:
    """Write everything down. `left_out` counts, per set, the queries without a relevant document."""
    rules = evaluation.rules
    written: dict[str, object] = {
        "format": FORMAT,
        "rerankd": __version__,
        "rules": {
            "measures": [str(measure) for measure in rules.measures],
            "ties": rules.ties,
            "relevant_from": rules.relevant_from,
            "resamples": rules.resamples,
            "confidence": CONFIDENCE,
            "seed": rules.seed,
        },
        "sets": [
            {"name": one.name, "queries": len(one.queries), "left_out": left_out[one.name], "order": one.order}
            for one in evaluation.sets
        ],
        "groups": [_group(group) for group in found],
    }
    if suggested is not None:
        written["thresholds"] = {name: [asdict(each) for each in rows] for name, rows in suggested.items()}
    return written


def _group(group: Group) -> dict[str, object]:
    return {
        "name": group.name,
        "set": group.set,
        "subset": group.subset,
        "queries": len(group.rows),
        "candidates": group.candidates,
        "systems": [_standing(standing) for standing in group.standings],
        "comparisons": [_duel(duel) for duel in group.duels],
    }


def _standing(standing: Standing) -> dict[str, object]:
    return {
        "name": standing.system,
        "kind": standing.kind,
        "measures": {str(measure): asdict(estimate) for measure, estimate in standing.estimates.items()},
        "speed": asdict(standing.speed) if standing.speed else None,
        "calibration": asdict(standing.calibration) if standing.calibration else None,
    }


def _duel(duel: Duel) -> dict[str, object]:
    return {
        "first": duel.first,
        "second": duel.second,
        "measures": {
            str(measure): {**asdict(difference), "significant": difference.significant}
            for measure, difference in duel.differences.items()
        },
    }
