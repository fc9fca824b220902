"""Rerankers called in process: each a script of `subjects/` in an environment of its own, fed requests over a pipe.

A worker measures its own time, so that the pipe is no part of it.
"""

import json
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison import environments, exports, places, precision, shapes
from comparison.processes import Command, Failed, Lines, last_words, running
from rerankd.bench.requests import BenchRequest

_START_TIMEOUT_S = 300.0
_ANSWER_TIMEOUT_S = 240.0

RERANKD = "rerankd"
SENTENCE_TRANSFORMERS = "sentence-transformers"
FLASHRANK = "FlashRank"


@dataclass(frozen=True, slots=True)
class Answer:
    """Seconds that the requests took together, raw scores per request, and the process's memory now and at its peak."""

    seconds: float
    scores: Sequence[Sequence[float]]
    rss: int
    peak_rss: int


class Worker:
    """A running worker."""

    def __init__(self, name: str, lines: Lines, write: Any) -> None:
        self.name = name
        self._lines = lines
        self._write = write

    def score(self, requests: Sequence[BenchRequest]) -> Answer:
        """Have requests scored, one after another.

        Raises:
            Failed: the worker ended or took too long.
        """
        listed = [{"query": request.query, "documents": list(request.documents)} for request in requests]
        self._write.write(json.dumps({"requests": listed}) + "\n")
        self._write.flush()
        return Answer(**self._answer(_ANSWER_TIMEOUT_S))

    def wait_ready(self) -> None:
        """Wait until the model is loaded.

        Raises:
            Failed: it could not be.
        """
        self._answer(_START_TIMEOUT_S)

    def _answer(self, limit_s: float) -> dict[str, Any]:
        try:
            return json.loads(self._lines.next(limit_s))
        except Failed as error:
            raise Failed(f"{self.name}: {error}: {last_words(self.name)}") from error


def command(name: str, model: str) -> Command:
    """Say how a worker is started on a model (a name in `shapes`).

    Raises:
        KeyError: there is no worker of that name.
    """
    words = {
        RERANKD: lambda: [sys.executable, _script("rerankd_worker"), shapes.reference(model), str(places.store()),
                          precision.compared(model)],
        SENTENCE_TRANSFORMERS: lambda: [
            environments.python("tutorial"), _script("sentence_transformers_worker"), str(shapes.prepare(model))
        ],
        FLASHRANK: lambda: [
            environments.python("flashrank"), _script("flashrank_worker"), str(exports.flashrank_folder(model))
        ],
    }[name]()  # fmt: skip
    return Command(words, variables={"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"})


@contextmanager
def working(names: Sequence[str], model: str) -> Generator[Sequence[Worker]]:
    """Run workers side by side until the block ends; all are ready and idle when it begins."""
    with ExitStack() as stack:
        yield [stack.enter_context(_working(name, model)) for name in names]


@contextmanager
def _working(name: str, model: str) -> Generator[Worker]:
    with running(name, command(name, model), pipes=True) as process:
        if process.stdin is None or process.stdout is None:
            raise Failed(f"{name} has no pipes")
        worker = Worker(name, Lines(process.stdout), process.stdin)
        worker.wait_ready()
        yield worker


def _script(name: str) -> str:
    return str(Path(places.SUBJECTS) / f"{name}.py")
