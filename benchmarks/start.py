"""From the command `rerankd serve` to the first score over HTTP; and what the conversion before it takes, once.

The store of converted models is a new, empty one; the first start converts, the others find the graph. Files are in
the system's cache: they were written or read just before.

    python benchmarks/start.py
"""

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import httpx2

from comparison import places, shapes
from comparison.processes import Command, Failed, free_port, running, wait_until
from comparison.results import Entry, Goal
from comparison.running import Options, command, interleave, record
from rerankd.bench.process import memory_use

NAME = "start"
START_GOALS = {"minilm-l6": 1.0, "bge-base-250k": 5.0}
CONVERSION_GOALS = {"bge-base-250k": (60.0, 2.0)}
"""Seconds, and memory at the peak by the size of the weights."""
_LIMIT_S = 240.0
_COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""Python keeps the compiled modules, as installing them with pip does."""
_BODY = {"query": "What is a reranker?", "documents": ["It puts the best documents first."]}


def run(options: Options) -> None:
    """Measure every chosen model."""
    for model in options.chosen(*START_GOALS, shapes.BUNDLED):
        record(options, _measure(model, options))


def _measure(model: str, options: Options) -> Entry:
    shapes.reference(model)
    places.CACHE.mkdir(parents=True, exist_ok=True)
    store = Path(tempfile.mkdtemp(prefix="start.", dir=places.CACHE))
    try:
        converts = model != shapes.BUNDLED
        figures = _converted(model, store / "alone") if converts else {}
        first = first_score(model, store)
        figures |= {"first start, conversion included, s": first["seconds"]} if converts else {}

        def measure(_name: str, _number: int) -> dict[str, float]:
            return first_score(model, store)

        samples = interleave(["rerankd"], measure, rounds=options.repeats(5, quick=2), called=str)
    finally:
        shutil.rmtree(store, ignore_errors=True)
    entry = Entry(NAME, model, "command to first score over HTTP", samples, figures)
    return replace(entry, goals=_goals(entry))


def _goals(entry: Entry) -> list[Goal]:
    goals: list[Goal] = []
    started = entry.spread("rerankd", "seconds")
    if started and entry.model in START_GOALS:
        goals.append(Goal(f"{entry.model}: start to first score, s", "<=", START_GOALS[entry.model], started.median))
    if entry.model in CONVERSION_GOALS:
        seconds, times = CONVERSION_GOALS[entry.model]
        goals.append(Goal(f"{entry.model}: conversion, s", "<=", seconds, entry.figures["conversion, s"]))
        goals.append(
            Goal(f"{entry.model}: peak memory of the conversion by the weights", "<=", times,
                 entry.figures["peak RSS of the conversion by the weights"])
        )  # fmt: skip
    return goals


def first_score(model: str, store: Path) -> dict[str, float]:
    """Start a server and ask until it scores; return seconds and memory at the peak.

    Raises:
        Failed: it does not.
    """
    port = free_port()
    words = [sys.executable, "-m", "rerankd", "serve", shapes.reference(model), "--port", str(port)]
    words += ["--models.store", str(store)]
    started = time.perf_counter()
    made = Command(words, variables=_COMPILED)
    with running("start", made) as process, httpx2.Client(timeout=_LIMIT_S, trust_env=False) as http:
        url = f"http://127.0.0.1:{port}/v1/rerank"
        wait_until("rerankd", process, lambda: _scores(http, url), _LIMIT_S)
        seconds = time.perf_counter() - started
        memory = memory_use(process.pid)
    return {"seconds": seconds, "peak_rss_mb": memory.peak / 1e6 if memory else 0.0}


def _scores(http: httpx2.Client, url: str) -> bool:
    try:
        return http.post(url, json=_BODY).is_success
    except httpx2.HTTPError:
        return False


def _converted(model: str, folder: Path) -> dict[str, float]:
    """Convert in a process of its own; its seconds are those of the conversion, without the interpreter's start."""
    folder.mkdir(parents=True)
    words = [sys.executable, str(places.SUBJECTS / "convert.py"), shapes.reference(model), str(folder)]
    try:
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=_LIMIT_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Failed(f"the conversion failed: {error.stderr}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds, peak = (float(word) for word in done.stdout.split())
    weights = shapes.weight_bytes(model)
    return {
        "weights, MB": weights / 1e6,
        "conversion, s": seconds,
        "peak RSS of the conversion, MB": peak / 1e6,
        "peak RSS of the conversion by the weights": peak / weights,
    }


main = command(run, "Print the time to the first score and what a conversion takes, and write them to the results.")

if __name__ == "__main__":
    main()
