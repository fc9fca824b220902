"""In process: rerankd's library against sentence-transformers and FlashRank, and whether scores are the reference's.

python benchmarks/in_process.py --model minilm-l6
"""

from collections.abc import Sequence

from comparison import shapes, work
from comparison.results import Entry, Goal
from comparison.running import Options, command, interleave, largest_difference, record
from comparison.workers import FLASHRANK, RERANKD, SENTENCE_TRANSFORMERS, Worker, working

NAME = "in-process"
_SUBJECTS = {
    "minilm-l6": (RERANKD, SENTENCE_TRANSFORMERS, FLASHRANK),
    "bge-base": (RERANKD, SENTENCE_TRANSFORMERS, FLASHRANK),
    "bge-m3": (RERANKD, SENTENCE_TRANSFORMERS),
    shapes.BUNDLED: (RERANKD,),
}
_REQUESTS = {"minilm-l6": 4, "bge-base": 1, "bge-m3": 1, shapes.BUNDLED: 6}
_DOCUMENTS = {"bge-m3": 8}


def run(options: Options) -> None:
    """Measure every chosen model."""
    for model in options.chosen(*_SUBJECTS):
        record(options, _measure(model, options))


def _measure(model: str, options: Options) -> Entry:
    documents = _DOCUMENTS.get(model, 20)
    load = work.make(model, documents=documents, count=1 if options.quick else _REQUESTS[model])
    warm = work.make(model, documents=4, count=1, first=1000)
    scores: dict[str, Sequence[Sequence[float]]] = {}

    def measure(worker: Worker, _number: int) -> dict[str, float]:
        answer = worker.score(load.requests)
        scores[worker.name] = answer.scores
        figures = {"tokens_per_s": load.tokens / answer.seconds, "pairs_per_s": load.pairs / answer.seconds}
        if load.flops:
            figures["gflops"] = load.flops / answer.seconds / 1e9
        return {**figures, "peak_rss_mb": answer.peak_rss / 1e6}

    with working(_SUBJECTS[model], model) as workers:
        for worker in workers:
            worker.score(warm.requests)
        samples = interleave(workers, measure, rounds=options.repeats(5), called=lambda worker: worker.name)
    differences = {
        name: largest_difference(scores[RERANKD], found) for name, found in scores.items() if name != RERANKD
    }
    figures = {f"largest difference of logits, rerankd and {name}": value for name, value in differences.items()}
    every = [score for request in scores[RERANKD] for score in request]
    figures["spread of the logits (largest - smallest)"] = max(every) - min(every)
    goals = [
        Goal(f"{model}: largest difference from sentence-transformers", "<=", 1e-5, differences[SENTENCE_TRANSFORMERS])
    ] if SENTENCE_TRANSFORMERS in differences else []  # fmt: skip
    case = f"{len(load.requests)} x {documents} documents"
    return Entry(NAME, model, case, samples, figures, goals)


main = command(run, "Compare in-process reranking, same pairs, interleaved; print and write the figures.")

if __name__ == "__main__":
    main()
