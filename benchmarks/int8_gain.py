"""int8 against rerankd's own fp32, in process: speed, and how far the scores agree.

On random weights the agreement says nothing of trained models; `rerankd show` has that of a model with its own.

    python benchmarks/int8_gain.py
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from comparison import precision, work
from comparison.processes import Failed
from comparison.results import Entry, Goal
from comparison.running import Options, command, interleave, record
from comparison.work import Work
from rerankd import Reranker
from rerankd.bench.statistics import spearman

NAME = "int8"
GOAL = 1.5
_REQUESTS = {"minilm-l6": 4, "bge-base": 1}
_DOCUMENTS = {"minilm-l6": 50, "bge-base": 40}


@dataclass(frozen=True, slots=True)
class _Subject:
    name: str
    reranker: Reranker


def run(options: Options) -> None:
    """Measure every chosen model."""
    for model in options.chosen(*_REQUESTS):
        record(options, _measure(model, options))


def _measure(model: str, options: Options) -> Entry:
    load = work.make(model, documents=_DOCUMENTS[model], count=1 if options.quick else _REQUESTS[model])
    scores: dict[str, Sequence[float]] = {}
    with (
        Reranker(settings=precision.in_process(model, "int8")) as small,
        Reranker(settings=precision.in_process(model, "fp32")) as whole,
    ):
        _check_precisions(small, whole)

        def measure(subject: _Subject, _number: int) -> dict[str, float]:
            started = time.perf_counter()
            scores[subject.name] = _scores(subject.reranker, load)
            seconds = time.perf_counter() - started
            return {"tokens_per_s": load.tokens / seconds, "pairs_per_s": load.pairs / seconds}

        subjects = [_Subject("int8", small), _Subject("fp32", whole)]
        samples = interleave(subjects, measure, rounds=options.repeats(5), called=lambda subject: subject.name)
    entry = Entry(NAME, model, f"{len(load.requests)} x {_DOCUMENTS[model]} documents", samples)
    ratio = entry.ratio("int8", "fp32", "tokens_per_s")
    goals = [Goal(f"{model}: int8 by fp32, tokens/s", ">=", GOAL, ratio.median)] if ratio else []
    figures = _agreement(scores["int8"], scores["fp32"])
    return replace(entry, figures=figures, goals=goals, notes=["random weights"])


def _check_precisions(small: Reranker, whole: Reranker) -> None:
    found = small.info.precision, whole.info.precision
    if found != ("int8", "fp32"):
        raise Failed(f"asked for int8 and fp32, the rerankers compute in {found[0]} and {found[1]}")


def _scores(reranker: Reranker, load: Work) -> list[float]:
    found: list[float] = []
    for request in load.requests:
        scores = [0.0] * len(request.documents)
        for hit in reranker.rank(request.query, request.documents, raw_scores=True):
            scores[hit.index] = hit.score
        found += scores
    return found


def _agreement(small: Sequence[float], whole: Sequence[float]) -> dict[str, float]:
    error = float(np.std(np.subtract(small, whole)) / np.std(whole))
    order = spearman(small, whole)
    return {"error (deviation of the differences by that of the scores)": error} | (
        {} if order is None else {"Spearman": order}
    )


main = command(run, "Compare int8 with fp32, interleaved; print and write the figures.")

if __name__ == "__main__":
    main()
