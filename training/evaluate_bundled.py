"""Measure a bundled model on development lists: MRR@10 of the list's own order, of fp32 and of the shipped int8."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import click
import numpy as np
from data import Judged, development_set
from measures import Floats, calibration_error, paired, reciprocal_rank, sigmoid, weights_for_prior
from scoring import Scorer, open_scorer, snapshot
from tqdm import tqdm

from rerankd.convert.convert import write_encoder
from rerankd.training.calibration import Calibration

SETS = {"cmrc_trial_sent": "zh", "nq_held": "en"}
PRIOR = 0.07
Measured = Mapping[str, object]


def rankings(scorer: Scorer, judged: Sequence[Judged], label: str) -> Sequence[Sequence[float]]:
    """Score every list; one array of raw scores per query."""
    return [[float(score) for score in scorer.raw_scores(one.query, one.documents)] for one in tqdm(judged, desc=label)]


def quality(dev: Path, model: Scorer, fp32: Scorer | None, queries: int | None) -> Mapping[str, Measured]:
    """Measure every set; what the card says of each, by its name."""
    rows: dict[str, Measured] = {}
    for name, language in SETS.items():
        judged = development_set(dev, name)[:queries]
        runs = {"bm25": [[-float(place) for place in range(len(one.documents))] for one in judged]}
        if fp32 is not None:
            runs["fp32"] = rankings(fp32, judged, f"{name} fp32")
        runs["int8"] = rankings(model, judged, f"{name} int8")
        measured = _measured(judged, runs, model.calibration)
        rows[name] = {"language": language, "queries": len(judged), **measured}
    return rows


def _measured(
    judged: Sequence[Judged], runs: Mapping[str, Sequence[Sequence[float]]], calibration: Calibration
) -> Measured:
    ranks = {
        name: [reciprocal_rank(scores, one.relevant) for scores, one in zip(run, judged, strict=True)]
        for name, run in runs.items()
    }
    row: dict[str, object] = {
        "candidates": max(len(one.documents) for one in judged),
        "mrr_at_10": {name: round(float(np.mean(values)), 4) for name, values in ranks.items()},
    }
    others = [name for name in ranks if name != "int8"]
    row["int8_minus"] = {name: [round(value, 4) for value in paired(ranks["int8"], ranks[name])] for name in others}
    if "fp32" in runs:
        row["correlation_int8_fp32"] = round(float(np.corrcoef(_flat(runs["int8"]), _flat(runs["fp32"]))[0, 1]), 4)
    relevant = np.array([flag for one in judged for flag in one.relevant])
    after = _flat(runs["int8"])
    row["calibration_error"] = {
        "before": _calibration_errors(calibration.scores(after), relevant),
        "after": _calibration_errors(after, relevant),
    }
    return row


def _calibration_errors(logits: Floats, relevant: np.ndarray) -> Mapping[str, float]:
    """Measure with the list's own share of relevant documents, and with the share that the calibration assumes."""
    weights = {"as_is": np.ones(len(relevant)), "at_prior": weights_for_prior(relevant, PRIOR)}
    return {name: round(calibration_error(sigmoid(logits), relevant, weight), 4) for name, weight in weights.items()}


def _flat(run: Sequence[Sequence[float]]) -> Floats:
    return np.array([score for scores in run for score in scores])


def show(rows: Mapping[str, Measured]) -> None:
    """Print what was measured."""
    fields = ("queries", "mrr_at_10", "int8_minus", "correlation_int8_fp32", "calibration_error")
    for name, row in rows.items():
        print(name, *(f"{field}={row.get(field, '-')}" for field in fields), sep="  ")


@click.command()
@click.option("--model", type=click.Path(path_type=Path, exists=True), required=True, help="A bundled model's folder.")
@click.option("--dev", type=click.Path(path_type=Path, exists=True), required=True, help="Development sets.")
@click.option("--base", type=click.Path(path_type=Path, exists=True), help="Base weights, to measure fp32 as well.")
@click.option("--queries", type=int, help="Only the first so many queries of each set.")
def main(model: Path, dev: Path, base: Path | None, queries: int | None) -> None:
    """Measure a bundled model on the development sets."""
    with tempfile.TemporaryDirectory() if base is not None else nullcontext() as folder:
        fp32 = None
        if base is not None and folder is not None:
            fp32 = open_scorer(model, write_encoder(snapshot(base), Path(folder)))
        show(quality(dev, open_scorer(model), fp32, queries))


if __name__ == "__main__":
    main()
