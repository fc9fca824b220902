"""How much of the machine's fp32 matrix peak rerankd reaches in process; the peak is measured between the rounds.

Counted are the multiplications of the full model: what is saved without changing a score shows as speed. The share that
counts is the median speed by the best peak of the whole run: a peak measured low, by chance or because of others, must
not make the share high.

    python benchmarks/peak_share.py
"""

import time
from dataclasses import replace

from comparison import precision, work
from comparison.processes import Failed
from comparison.results import Entry, Goal
from comparison.running import Options, command, interleave, record
from comparison.work import Work
from rerankd import Reranker, machine
from rerankd.bench.peak import MatrixPeak

NAME = "peak-share"
GOALS = {"minilm-l6": 0.82, "bge-base": 0.90}
_DOCUMENTS = {"minilm-l6": 60, "bge-base": 20}
_PEAK_S = 0.6


def run(options: Options) -> None:
    """Measure every chosen model."""
    for model in options.chosen(*GOALS):
        record(options, _measure(model, options))


def _measure(model: str, options: Options) -> Entry:
    load = work.make(model, documents=_DOCUMENTS[model], count=1)
    chosen = precision.in_process(model, "fp32")
    with MatrixPeak(machine.usable_cores()) as peak, Reranker(settings=chosen) as reranker:
        warm = load.requests[0]
        reranker.rank(warm.query, warm.documents[:10])

        def measure(_name: str, _number: int) -> dict[str, float]:
            before = peak.sample(_PEAK_S)
            seconds = _seconds(reranker, load)
            around = (before + peak.sample(_PEAK_S)) / 2
            speed = _flops(load) / seconds
            return {"tokens_per_s": load.tokens / seconds, "gflops": speed / 1e9, "peak_gflops": around / 1e9,
                    "share": speed / around}  # fmt: skip

        samples = interleave(["rerankd"], measure, rounds=options.repeats(9, quick=2), called=str)
    entry = Entry(NAME, model, f"{_DOCUMENTS[model]} documents a call, fp32", samples)
    speed = entry.spread("rerankd", "gflops")
    if speed is None:
        raise Failed("nothing was measured")
    share = speed.median / max(samples["rerankd"]["peak_gflops"])
    goals = [Goal(f"{model}: share of the matrix peak, in process", ">=", GOALS[model], share)]
    return replace(entry, figures={"median speed by the best peak of the run": share}, goals=goals)


def _seconds(reranker: Reranker, load: Work) -> float:
    started = time.perf_counter()
    for request in load.requests:
        reranker.rank(request.query, request.documents)
    return time.perf_counter() - started


def _flops(load: Work) -> int:
    if load.flops is None:
        raise Failed("the operations of this model are not known")
    return load.flops


main = command(run, "Print rerankd's share of the matrix peak and write it to the results.")

if __name__ == "__main__":
    main()
