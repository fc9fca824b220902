"""A word on the command line to the system it means."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

from rerankd.errors import InvalidRequest
from rerankd.evaluation.judged import JudgedSet
from rerankd.evaluation.systems import Bm25Order, GivenOrder, Ranker, RunFile, System
from rerankd.evaluation.trec import is_run, read_run
from rerankd.reranker import Reranker

if TYPE_CHECKING:
    from rerankd.client import Client
    from rerankd.evaluation.endpoints import Endpoint

Meaning: TypeAlias = Literal["given", "bm25", "server", "run", "model"]

SET = "{set}"
"""Stands for the name of the set in the path of a run, where every set has a run of its own."""

OpenModel = Callable[[str], AbstractContextManager[Reranker]]
"""Loads a model by name or folder."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What was asked for: the name shown, what it is, and where. `target` of a server is its URL, perhaps #MODEL."""

    name: str
    meaning: Meaning
    target: str


def specify(text: str) -> Spec:
    """Read `bm25`, `given`, a URL, a run file, or else a model; NAME= before it chooses the name shown.

    Raises:
        InvalidRequest: the name or the target is empty.
    """
    label, equals, target = text.partition("=")
    if not equals or "/" in label or "?" in label or ":" in label:
        label, target = "", text
    if not target or (equals and not label and target != text):
        raise InvalidRequest(f"{text!r} names no system: give a model, a URL, a run file, bm25 or given")
    meaning = _meaning(target)
    return Spec(label or _name(meaning, target), meaning, target)


def baselines(sets: Sequence[JudgedSet], named: Sequence[Spec]) -> list[Spec]:
    """Choose the orders that cost nothing, and that nobody named: the one given, if there is one, and BM25.

    Where BM25 over the whole corpus chose the candidates of every set, the given order is BM25's.
    """
    orders = {judged.order for judged in sets}
    if orders == {"bm25"}:
        chosen = [Spec("BM25 (corpus)", "given", "given")]
    else:
        chosen = [Spec("given order", "given", "given")] if orders != {"none"} else []
        chosen.append(Spec("BM25", "bm25", "bm25"))
    there = {spec.meaning for spec in named}
    return [spec for spec in chosen if spec.meaning not in there]


def check_runs(specs: Sequence[Spec], sets: Sequence[JudgedSet]) -> None:
    """Make sure that no run is read for a set that it is not of: query ids of two sets may be the same.

    Raises:
        InvalidRequest: there are several sets and one run for all of them.
    """
    for spec in specs:
        if spec.meaning == "run" and SET not in spec.target and len(sets) > 1:
            raise InvalidRequest(
                f"{spec.name} is one run for {len(sets)} sets: name one run per set, with {SET} in the path for the "
                f"set's name (runs/{SET}.{spec.name}.trec)"
            )


def distinct(specs: Sequence[Spec]) -> list[Spec]:
    """Give systems of the same name numbers, so that results name one each."""
    taken: set[str] = set()
    renamed: list[Spec] = []
    for spec in specs:
        name, number = spec.name, 2
        while name in taken:
            name, number = f"{spec.name} ({number})", number + 1
        taken.add(name)
        renamed.append(Spec(name, spec.meaning, spec.target))
    return renamed


@contextmanager
def opened(
    spec: Spec, *, open_model: OpenModel, api_key: str | None = None, timeout_s: float = 60
) -> Generator[System]:
    """Open a system, and close it afterwards; one at a time bounds the memory.

    Raises:
        RerankError: the model cannot be loaded, the run not read; a server is asked later.
    """
    match spec.meaning:
        case "given":
            yield GivenOrder(spec.name)
        case "bm25":
            yield Bm25Order(spec.name)
        case "run":
            yield RunFile(spec.name, lambda name: read_run(_run_of(spec, name)))
        case "server":
            url, _, model = spec.target.partition("#")
            with _server(url, api_key, model, timeout_s) as server:
                yield Ranker(spec.name, "server", server.rank)
        case "model":
            with open_model(spec.target) as reranker:
                yield Ranker(spec.name, "model", reranker.rank)


def _server(url: str, api_key: str | None, model: str, timeout_s: float) -> "Client | Endpoint":
    from rerankd.client import Client
    from rerankd.evaluation.endpoints import Endpoint

    if urlsplit(url).path.rstrip("/") in {"", "/v1"}:
        return Client(url, api_key=api_key, model=model, timeout_s=timeout_s)
    return Endpoint(url, api_key=api_key, model=model, timeout_s=timeout_s)


def _meaning(target: str) -> Meaning:
    if target.lower() == "given":
        return "given"
    if target.lower() == "bm25":
        return "bm25"
    if target.startswith(("http://", "https://")):
        return "server"
    return "run" if SET in target or is_run(Path(target).expanduser()) else "model"


def _run_of(spec: Spec, name: str) -> Path:
    return Path(spec.target.replace(SET, name)).expanduser()


def _name(meaning: Meaning, target: str) -> str:
    match meaning:
        case "given":
            return "given order"
        case "bm25":
            return "BM25"
        case "server":
            parts = urlsplit(target)
            return parts.netloc.rpartition("@")[2] + (f" {parts.fragment}" if parts.fragment else "")
        case "run":
            return Path(target).name.replace(SET, "").strip(".-_").removesuffix(".gz").removesuffix(".trec")
        case "model":
            return Path(target).expanduser().resolve().name if "/" in target or target == "." else target
