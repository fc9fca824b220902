"""int8 against rerankd's own fp32, graph against graph in process: speed, and how far the scores agree.

Random weights agree badly, so that rerankd would serve them in fp32 or leave the fifth of their layers in fp32 that
eight bits hurt most. Models with real weights have passed with every layer in eight bits; both graphs are measured.

    python benchmarks/int8_gain.py
"""

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from comparison import places, shapes, work
from comparison.results import Entry, Goal
from comparison.running import Options, command, interleave, record
from comparison.work import Work
from rerankd import machine
from rerankd.bench.statistics import spearman
from rerankd.convert.convert import convert
from rerankd.convert.eight_bits import EightBits
from rerankd.convert.formats import Format
from rerankd.convert.quantise import FULL_LIMIT, SAFE_LIMIT
from rerankd.engines.base import Array, Encoding, Engine, Graph
from rerankd.engines.onnx import ENGINE
from rerankd.families.base import Reader, Snapshot
from rerankd.models.loader import recognise, take_snapshot
from rerankd.models.precision import hurt_most, observe

NAME = "int8"
GOAL = 1.5
EVERY, FIFTH, FULL = "int8, every layer", "int8, a fifth of the layers in fp32", "fp32"
_REQUESTS = {"minilm-l6": 4, "bge-base": 1}
_DOCUMENTS = {"minilm-l6": 50, "bge-base": 40}


@dataclass(frozen=True, slots=True)
class _Subject:
    name: str
    engine: Engine


def run(options: Options) -> None:
    """Measure every chosen model."""
    for model in options.chosen(*_REQUESTS):
        record(options, _measure(model, options))


def _measure(model: str, options: Options) -> Entry:
    load = work.make(model, documents=_DOCUMENTS[model], count=1 if options.quick else _REQUESTS[model])
    snapshot = take_snapshot(Path(shapes.reference(model)))
    reader = recognise(snapshot)[1].open(snapshot, max_tokens=None, cache_bytes=0)
    scores: dict[str, Sequence[float]] = {}
    places.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=places.CACHE) as folder:
        subjects = [_Subject(name, ENGINE.open(graph)) for name, graph in _graphs(snapshot, reader, Path(folder))]

        def measure(subject: _Subject, _number: int) -> dict[str, float]:
            started = time.perf_counter()
            scores[subject.name] = _scores(subject.engine, reader, load)
            seconds = time.perf_counter() - started
            return {"tokens_per_s": load.tokens / seconds, "pairs_per_s": load.pairs / seconds}

        samples = interleave(subjects, measure, rounds=options.repeats(5), called=lambda subject: subject.name)
        for subject in subjects:
            subject.engine.close()
    entry = Entry(NAME, model, f"{len(load.requests)} x {_DOCUMENTS[model]} documents", samples)
    ratio = entry.ratio(EVERY, FULL, "tokens_per_s")
    goals = [Goal(f"{model}: int8 by fp32, tokens/s", ">=", GOAL, ratio.median)] if ratio else []
    figures = {f"{name}: {what}": value for name in (EVERY, FIFTH) for what, value in _agreement(scores, name).items()}
    return replace(entry, figures=figures, goals=goals, notes=["random weights"])


def _graphs(snapshot: Snapshot, reader: Reader, folder: Path) -> Sequence[tuple[str, Graph]]:
    """Convert as `rerankd convert` does, whatever its guard would say."""

    def write(to: Path, number_format: Format) -> Graph:
        to.mkdir(exist_ok=True)
        return convert(snapshot, to, number_format)

    full, seen = observe(folder / "fp32", write, reader)
    every = EightBits(seen, FULL_LIMIT if machine.sums_bytes_exactly() else SAFE_LIMIT)
    graphs = [(EVERY, write(folder / "every", every))]
    fifth = replace(every, full=hurt_most(every, 0.2))
    return [*graphs, (FIFTH, write(folder / "fifth", fifth)), (FULL, full)]


def _scores(engine: Engine, reader: Reader, load: Work) -> list[float]:
    found: list[float] = []

    def output(encoding: Encoding) -> Array:
        return engine.run([encoding])[0]

    with ThreadPoolExecutor(machine.usable_cores()) as pool:
        for request in load.requests:
            taken = reader.read(request.query, request.documents)
            outputs = pool.map(output, taken.encodings)
            found += [float(score) for score in taken.score(list(outputs))]
    return found


def _agreement(scores: dict[str, Sequence[float]], name: str) -> dict[str, float]:
    small, whole = scores[name], scores[FULL]
    error = float(np.std(np.subtract(small, whole)) / np.std(whole))
    order = spearman(small, whole)
    return {"error (deviation of the differences by that of the scores)": error} | (
        {} if order is None else {"Spearman": order}
    )


main = command(run, "Compare int8 with fp32, interleaved; print and write the figures.")

if __name__ == "__main__":
    main()
