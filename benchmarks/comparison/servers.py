"""The servers compared: how each is started, and when it is ready."""

import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx2

from comparison import environments, exports, places, precision, shapes
from comparison.processes import Command, Failed, free_port, running, wait_until
from rerankd.bench.process import MemoryUse, memory_use

_START_TIMEOUT_S = 300.0

RERANKD = "rerankd"
TUTORIAL = "tutorial server"
INFINITY_TORCH = "infinity torch"
INFINITY_OPTIMUM = "infinity optimum"
RIVALS: Mapping[str, str] = {
    "tutorial": TUTORIAL,
    "infinity-torch": INFINITY_TORCH,
    "infinity-optimum": INFINITY_OPTIMUM,
}
"""By the name that the command line knows."""

_OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers. `start_s` is from its command to its first good answer on its health path."""

    name: str
    url: str
    pid: int
    start_s: float

    def memory(self) -> MemoryUse:
        """Resident memory.

        Raises:
            Failed: this system does not tell.
        """
        found = memory_use(self.pid)
        if found is None:
            raise Failed(f"{self.name}: the memory of a process cannot be read on this system")
        return found


def command(name: str, model: str, port: int) -> Command:
    """Say how a server is started on a model (a name in `shapes`).

    Raises:
        KeyError: there is no server of that name.
    """
    makers = {
        RERANKD: _rerankd,
        TUTORIAL: _tutorial,
        INFINITY_TORCH: _infinity_torch,
        INFINITY_OPTIMUM: _infinity_optimum,
    }
    return makers[name](model, port)


@contextmanager
def serving(names: Sequence[str], model: str) -> Generator[Sequence[Running]]:
    """Run servers side by side until the block ends; all are ready and idle when it begins."""
    with ExitStack() as stack:
        yield [stack.enter_context(_serving(name, model)) for name in names]


@contextmanager
def _serving(name: str, model: str) -> Generator[Running]:
    port = free_port()
    made = command(name, model, port)
    started = time.perf_counter()
    url = f"http://127.0.0.1:{port}"
    with running(name, made) as process, httpx2.Client(timeout=5, trust_env=False) as http:
        path = "/readyz" if name == RERANKD else "/health"
        wait_until(name, process, lambda: _answers(http, url + path), _START_TIMEOUT_S)
        yield Running(name, url, process.pid, time.perf_counter() - started)


def _answers(http: httpx2.Client, url: str) -> bool:
    try:
        return http.get(url).is_success
    except httpx2.HTTPError:
        return False


def _rerankd(model: str, port: int) -> Command:
    # Neither scores nor documents' states are remembered: rounds repeat the same pairs, and computing is compared.
    words = [sys.executable, "-m", "rerankd", "serve", shapes.reference(model), "--port", str(port)]
    words += ["--models.store", str(places.store()), "--models.precision", precision.compared(model)]
    return Command([*words, "--cache.url", "off://", "--models.document_cache_mb", "0"])


def _tutorial(model: str, port: int) -> Command:
    words = [environments.python("tutorial"), "-m", "uvicorn", "tutorial_server:app", "--port", str(port)]
    variables = {**_OFFLINE, "RERANK_MODEL": str(shapes.prepare(model))}
    return Command([*words, "--log-level", "warning"], places.SUBJECTS, variables)


def _infinity_torch(model: str, port: int) -> Command:
    return _infinity(Command([str(shapes.prepare(model)), "--engine", "torch"]), port)


def _infinity_optimum(model: str, port: int) -> Command:
    # With a folder's path its optimum engine does not start (FileNotFoundError in optimum); from inside it does.
    return _infinity(Command([".", "--engine", "optimum"], exports.onnx_folder(model)), port)


def _infinity(model: Command, port: int) -> Command:
    words = [environments.program("infinity", "infinity_emb"), "v2", "--host", "127.0.0.1", "--port", str(port)]
    # Its own warm-up runs the largest batches there are, which takes minutes on two cores; ours warms everybody up.
    words += ["--no-model-warmup", "--device", "cpu", "--dtype", "float32", "--log-level", "warning"]
    words += ["--model-id", *model.words]
    return Command(words, model.folder, _OFFLINE)
