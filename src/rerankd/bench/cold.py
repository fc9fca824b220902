"""A cold start in a fresh process: how long from starting it to the first score, and how much memory it comes to take.

`python -m rerankd.bench.cold` is that process; it reads its task from standard input as JSON and answers with JSON.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from rerankd.bench.process import memory_use
from rerankd.bench.requests import BenchRequest
from rerankd.errors import EngineFailure
from rerankd.settings import Settings

_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds since the process was started, until the model could score and until it had scored; resident memory.

    Memory is in bytes: of the bare process, with the model loaded, after the requests, and the most there was. None
    where the system does not tell.
    """

    ready_s: float
    first_score_s: float
    bare_bytes: int | None
    loaded_bytes: int | None
    after_bytes: int | None
    peak_bytes: int | None


def cold_start(
    model: str, settings: Settings, requests: Sequence[BenchRequest] = (), *, load_s: float = 60
) -> ColdStart:
    """Start Python, load the model, score one pair, then rank `requests` one after another for `load_s` at most.

    The files are in the system's cache where they were read before: this is the start of a process, not of a machine.

    Raises:
        EngineFailure: the process failed, or took a quarter of an hour.
    """
    parts = {"models", "scheduling", "cache", "limits"}  # the rest is the server's, and holds keys
    task = {
        "model": model,
        "settings": settings.model_dump(mode="json", include=parts),
        "requests": [(request.query, request.documents) for request in requests],
        "load_s": load_s,
        "started": time.monotonic(),
    }
    command = [sys.executable, "-m", "rerankd.bench.cold"]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and a module of ours
            command, input=json.dumps(task), capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise EngineFailure(f"a fresh process did not score anything within {_TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        last = str(cast("object", error.stderr)).strip().splitlines()[-1:]
        raise EngineFailure(f"a fresh process could not score: {''.join(last)}") from error
    return ColdStart(**cast("dict[str, Any]", json.loads(done.stdout)))


def main() -> None:
    """Do the task of `cold_start` in this process."""
    bare = memory_use()
    task = cast("dict[str, Any]", json.load(sys.stdin))
    from rerankd.reranker import Reranker

    with Reranker(task["model"], settings=Settings.model_validate(task["settings"])) as reranker:
        ready = time.monotonic()
        reranker.rank("a", ["b"])
        scored = time.monotonic()
        loaded = memory_use()
        for query, documents in task["requests"]:
            reranker.rank(query, documents)
            if time.monotonic() > scored + task["load_s"]:
                break
        after = memory_use()
    found = ColdStart(
        ready_s=ready - task["started"],
        first_score_s=scored - task["started"],
        bare_bytes=bare and bare.now,
        loaded_bytes=loaded and loaded.now,
        after_bytes=after and after.now,
        peak_bytes=after and after.peak,
    )
    sys.stdout.write(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
