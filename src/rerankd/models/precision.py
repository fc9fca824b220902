"""int8 made of a model, and measured: do its scores agree with those of fp32, and is it faster on this machine?"""

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from rerankd import machine
from rerankd.convert import calibration, trial
from rerankd.convert.agreement import agreement
from rerankd.convert.convert import WATCHED_FILE
from rerankd.convert.eight_bits import EightBits
from rerankd.convert.formats import Format, FullPrecision
from rerankd.convert.quantise import FULL_LIMIT, SAFE_LIMIT
from rerankd.convert.weights import Floats
from rerankd.engines.base import Array, Encoding, Engine, EngineFactory, Graph
from rerankd.errors import EngineFailure, ModelLoadError
from rerankd.families.base import Reader
from rerankd.models.notes import EightBitNote, Note

Write = Callable[[Path, Format], Graph]
"""Writes the model into an empty folder, in the numbers asked for."""
Say = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and of how much. What it raises ends the work."""

_LEFT_OUT = (0.0, 0.2)
"""Shares of the layers to leave in fp32, tried in turn until scores agree."""
_ROUNDS = 3


class NoEightBits(ModelLoadError):
    """There is no int8 of this model: its graph does not run here."""


def make_eight_bits(
    folder: Path, write: Write, reader: Reader, factory: EngineFactory, say: Say, *, weight_limit: int | None = None
) -> Note:
    """Write an int8 graph into an empty folder and measure it against fp32, which is written for that and removed.

    `reader` must keep nothing between requests: states cached from one graph would pass for the other's. With a
    `weight_limit` the graph is made for other CPUs than this one.

    Raises:
        NoEightBits: the engine cannot run it.
        ModelLoadError: the model cannot be written at all.
    """
    limit = weight_limit or (FULL_LIMIT if machine.sums_bytes_exactly() else SAFE_LIMIT)
    # Inside the folder, so that the weights go where there is meant to be room for them.
    with tempfile.TemporaryDirectory(dir=folder, prefix="fp32-") as temporary:
        reference, seen = observe(Path(temporary), write, reader, say)
        full = factory.open(reference)
        try:
            truth = score(reader, full, "scoring the built-in texts in fp32", say)
            return _fit(_Trial(reader, factory, full, truth), folder, write, EightBits(seen, limit), say)
        finally:
            full.close()


def _unheard(_step: str, _done: int, _of: int) -> None:
    """Say nothing."""


def observe(folder: Path, write: Write, reader: Reader, say: Say = _unheard) -> tuple[Graph, Mapping[str, Floats]]:
    """Write the fp32 graph into an empty folder; return it, and the states that its layers met: see `EightBits`."""
    say("writing fp32", 0, 1)
    watched = FullPrecision(watched=True)
    reference = write(folder, watched)
    say("looking at states", 0, 1)
    texts = encodings(reader, trial.fitted())
    return reference, calibration.observe(folder / WATCHED_FILE, watched.inputs, texts, machine.usable_cores())


@dataclass(frozen=True, slots=True)
class _Trial:
    """What int8 is measured against: the fp32 engine and its scores of the built-in texts."""

    reader: Reader
    factory: EngineFactory
    full: Engine
    truth: Sequence[Array]


def _fit(work: _Trial, folder: Path, write: Write, number_format: EightBits, say: Say) -> Note:
    """Write int8 graphs, each with more layers left in fp32, until one agrees; the last is kept if none does."""
    note: Note | None = None
    for share in _LEFT_OUT:
        say("fitting int8", 0, 1)
        number_format = replace(number_format, full=hurt_most(number_format, share))
        note = _measure(work, write(folder, number_format), number_format, say)
        if note.eight_bits is not None and note.eight_bits.agreement.passes:
            return note
    assert note is not None
    return note


def _measure(work: _Trial, graph: Graph, number_format: EightBits, say: Say) -> Note:
    try:
        engine = work.factory.open(graph)
    except ModelLoadError as error:
        raise NoEightBits(f"int8 does not run here: {error}") from error
    try:
        found = agreement(work.truth, score(work.reader, engine, "scoring the built-in texts in int8", say))
        say("measuring speed", 0, 1)
        gain = measure_gain(encodings(work.reader, trial.measured()), work.full, engine)
    except EngineFailure as error:
        raise NoEightBits(f"int8 does not run here: {error}") from error
    finally:
        engine.close()
    measured = EightBitNote(found, gain, number_format.limit, tuple(sorted(number_format.full)))
    return Note(graph.precision, graph.path.name, measured)


def score(reader: Reader, engine: Engine, step: str, say: Say) -> Sequence[Array]:
    """Raw scores of the built-in texts, request by request, on all cores."""
    scores: list[Array] = []
    requests = trial.measured()
    with ThreadPoolExecutor(machine.usable_cores()) as pool:
        for place, request in enumerate(requests):
            say(step, place, len(requests))
            work = reader.read(request.query, request.documents)
            ran = pool.map(engine.run, ([encoding] for encoding in work.encodings))
            scores.append(work.score([outputs[0] for outputs in ran]))
    return scores


def measure_gain(encodings: Sequence[Encoding], full: Engine, small: Engine) -> float:
    """Time of `full` over that of `small`: a short, a middling and a long sequence, in turns, medians."""
    by_length = sorted(encodings, key=lambda encoding: encoding.tokens)
    picked = [by_length[math.floor(share * (len(by_length) - 1))] for share in (0.1, 0.6, 0.95)]
    totals = [0.0, 0.0]
    for encoding in picked:
        times: tuple[list[float], list[float]] = ([], [])
        for turn in range(_ROUNDS + 1):
            for engine, taken in zip((full, small), times, strict=True):
                start = time.perf_counter()
                engine.run([encoding])
                if turn:  # the first run of a length allocates
                    taken.append(time.perf_counter() - start)
        totals = [total + statistics.median(taken) for total, taken in zip(totals, times, strict=True)]
    return totals[0] / max(totals[1], 1e-9)


def encodings(reader: Reader, requests: Sequence[trial.Request]) -> Sequence[Encoding]:
    """Everything that some requests make the network run."""
    return [encoding for request in requests for encoding in reader.read(request.query, request.documents).encodings]


def hurt_most(number_format: EightBits, share: float) -> frozenset[str]:
    """Name the share of the layers fitted so far whose outputs eight bits change most."""
    by_error = sorted(number_format.fits, key=lambda stem: -number_format.fits[stem].error)
    return frozenset(by_error[: math.ceil(share * len(by_error))])
