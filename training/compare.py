"""Measure several encoders on development sets, pair them by query, and keep every query's result for later pairs."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from data import Judged, development_set
from eight_bits import quantise
from measures import reciprocal_rank
from scoring import Scorer, open_scorer, snapshot
from tqdm import tqdm

from rerankd.convert.convert import write_encoder

HERE = Path(__file__).parent
RESAMPLES = 10_000
Ranks = Mapping[str, Sequence[float]]


@click.command()
@click.option("--dev", type=click.Path(path_type=Path, exists=True), required=True, help="Development sets.")
@click.option("--sets", default="office_zh,django_en,desktop_zh_en,cmrc_trial_sent,nq_held", show_default=True)
@click.option("--queries", default=150, show_default=True, help="Only the first so many queries of each set.")
@click.option("--model", "models", multiple=True, help="NAME=FOLDER (as shipped), NAME=FOLDER:int8 or :fp32 (weights).")
@click.option("--kept", type=click.Path(path_type=Path), required=True, help="JSON of every query's reciprocal rank.")
@click.option("--against", help="The name that the others are compared with, in the table.")
def main(*, dev: Path, sets: str, queries: int, models: Sequence[str], kept: Path, against: str | None) -> None:
    """Measure what is not in `--kept` yet, and print the table of everything that is."""
    found: dict[str, dict[str, list[float]]] = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    for name in sets.split(","):
        judged = development_set(dev, name)[:queries]
        rows = found.setdefault(name, {})
        if "bm25" not in rows:
            rows["bm25"] = [
                reciprocal_rank([-place for place in range(len(one.documents))], one.relevant) for one in judged
            ]
        for model in models:
            label, _, place = model.partition("=")
            if label in rows:
                continue
            with tempfile.TemporaryDirectory() as temporary:
                rows[label] = _ranks(_open(place, Path(temporary)), judged, f"{name} {label}")
            part = kept.with_suffix(".part")
            part.write_text(json.dumps(found), "utf-8")
            part.replace(kept)
    for name in sets.split(","):
        _show(name, found[name], against)


def _ranks(scorer: Scorer, judged: Sequence[Judged], label: str) -> list[float]:
    return [
        reciprocal_rank(scorer.raw_scores(one.query, one.documents), one.relevant)
        for one in tqdm(judged, desc=label, disable=None)
    ]


def _open(place: str, temporary: Path) -> Scorer:
    folder, _, precision = place.partition(":")
    if not precision:
        return open_scorer(Path(folder))
    (temporary / "config.json").write_bytes((HERE / "config.json").read_bytes())
    (temporary / "tokenizer.json").write_bytes((Path(folder) / "tokenizer.json").read_bytes())
    if precision == "int8":
        quantise(Path(folder), temporary)
        return open_scorer(temporary)
    return open_scorer(temporary, write_encoder(snapshot(Path(folder)), temporary))


def _show(name: str, rows: Ranks, against: str | None) -> None:
    print(name)
    base = np.array(rows[against]) if against in rows else None
    for label, ranks in rows.items():
        values = np.array(ranks)
        line = f"  {label:24} n={len(values)} MRR@10 {values.mean():.3f} {_interval(values)}"
        if base is not None and label != against:
            gaps = values - base
            line += f"  minus {against}: {gaps.mean():+.3f} {_interval(gaps)}"
        print(line)


def _interval(values: np.ndarray) -> str:
    """Give the 95 % interval of the mean by the bootstrap over queries."""
    picks = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[picks].mean(axis=1), [2.5, 97.5])
    return f"[{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    main()
