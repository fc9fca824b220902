"""From base weights to the folder that ships in the wheel: graph, calibration, measured quality, card."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from data import Judged, training_sample
from eight_bits import quantise
from evaluate_bundled import PRIOR, quality, show
from measures import Floats, calibration_error, log_loss, sigmoid, weights_for_prior
from scoring import Scorer, open_scorer, snapshot
from tqdm import tqdm

from rerankd.convert import trial
from rerankd.convert.convert import write_encoder
from rerankd.training.calibration import Calibration, fit

HERE = Path(__file__).parent
TRAINING_SETS = {
    "zh": ("cmrc", "drcd", "docs_zh", "docs_zh_en"),
    "en": ("medquad", "nq", "pgpydocs", "squad_nqg", "docs_en"),
}
Sample = tuple[Floats, np.ndarray, Floats]


@click.command()
@click.option("--base", type=click.Path(path_type=Path, exists=True), required=True, help="Base weights and tokenizer.")
@click.option("--train", type=click.Path(path_type=Path, exists=True), multiple=True, required=True, help="Data sets.")
@click.option("--dev", type=click.Path(path_type=Path, exists=True), required=True, help="Development sets.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
@click.option("--fit-queries", default=100, show_default=True, help="Queries per training set to calibrate on.")
@click.option("--check-queries", default=40, show_default=True, help="Other queries per set to check the calibration.")
@click.option("--seed", default=1, show_default=True)
def main(
    *, base: Path, train: Sequence[Path], dev: Path, out: Path, fit_queries: int, check_queries: int, seed: int
) -> None:
    """Build the bundled model; the same inputs give the same bytes with the same versions of the libraries."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, fp32 = Path(temporary, "model"), Path(temporary, "fp32")
        folder.mkdir()
        fp32.mkdir()
        shutil.copyfile(base / "tokenizer.json", folder / "tokenizer.json")
        config = json.loads((HERE / "config.json").read_text("utf-8"))
        _write(folder / "config.json", config)
        config["graph"]["agreement"] = quantise(base, folder)
        _write(folder / "config.json", config)
        full = open_scorer(folder, write_encoder(snapshot(base), fp32))
        mix = config["late_interaction"]["mix"]
        mix["bias"] = round(mix["bias"] - shift(open_scorer(folder), full) / mix["scale"], 4)
        _write(folder / "config.json", config)
        found, report = calibrate(open_scorer(folder), train, fit_queries, check_queries, seed)
        config["late_interaction"]["calibration"] = {"slope": round(found.slope, 4), "bias": round(found.bias, 4)}
        _write(folder / "config.json", config)
        print(report)
        measured = quality(dev, open_scorer(folder), full, None)
        show(measured)
        card = json.loads((HERE / "card.json").read_text("utf-8"))
        files = {file.name: _described(file) for file in sorted(folder.iterdir())}
        _write(folder / "card.json", card | {"calibration": report, "quality": measured, "files": files})
        _move(folder, out)


def shift(model: Scorer, full: Scorer) -> float:
    """Measure by how much eight bits raise the scores of the built-in texts: quantised states have errors in common."""
    pairs = [(one.query, one.documents) for one in trial.measured()]
    gaps = [model.raw_scores(*pair).astype(np.float64) - full.raw_scores(*pair) for pair in pairs]
    return float(np.concatenate(gaps).mean())


def calibrate(
    scorer: Scorer, train: Sequence[Path], fit_queries: int, check_queries: int, seed: int
) -> tuple[Calibration, Mapping[str, Any]]:
    """Fit slope and bias on one part of a sample of the training sets, and measure them on the other."""
    drawn = {
        name: training_sample(train, name, fit_queries + check_queries, seed)
        for names in TRAINING_SETS.values()
        for name in names
    }
    scored = {name: [(one, _scores(scorer, one)) for one in tqdm(sample, desc=name)] for name, sample in drawn.items()}
    fitted = _pooled({name: pairs[:fit_queries] for name, pairs in scored.items()})
    held = _pooled({name: pairs[fit_queries:] for name, pairs in scored.items()})
    found = fit(*fitted)
    rounded = Calibration(round(found.slope, 4), round(found.bias, 4))
    report = {
        "slope": rounded.slope,
        "bias": rounded.bias,
        "prior": PRIOR,
        "sets": sorted(drawn),
        "pairs_fitted": len(fitted[0]),
        "pairs_checked": len(held[0]),
        "checked": {"before": _errors(Calibration(1.0, 0.0), held), "after": _errors(rounded, held)},
    }
    return rounded, report


def _scores(scorer: Scorer, one: Judged) -> Floats:
    return scorer.raw_scores(one.query, one.documents).astype(np.float64)


def _pooled(scored: Mapping[str, list[tuple[Judged, Floats]]]) -> Sample:
    """Put the sets together: the two languages weigh the same, within one its sets do, each set at the prior."""
    scores, relevant, weights = [], [], []
    for names in TRAINING_SETS.values():
        for name in names:
            scores.append(np.concatenate([found for _, found in scored[name]]))
            relevant.append(np.concatenate([one.relevant for one, _ in scored[name]]).astype(np.bool_))
            share = 1 / len(TRAINING_SETS) / len(names)
            weights.append(share * weights_for_prior(relevant[-1], PRIOR))
    return np.concatenate(scores), np.concatenate(relevant), np.concatenate(weights)


def _errors(calibration: Calibration, sample: Sample) -> Mapping[str, float]:
    scores, relevant, weights = sample
    logits = calibration.logits(scores)
    return {
        "calibration_error": round(calibration_error(sigmoid(logits), relevant, weights), 4),
        "log_loss": round(log_loss(logits, relevant, weights), 4),
    }


def _write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")


def _described(file: Path) -> Mapping[str, object]:
    data = file.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _move(folder: Path, out: Path) -> None:
    """Put every file in its place by renaming, the card last: a card names whole files only."""
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(folder.iterdir(), key=lambda file: (file.name == "card.json", file.name)):
        part = out / f".{file.name}.part"
        shutil.copyfile(file, part)
        part.replace(out / file.name)


if __name__ == "__main__":
    main()
