"""Judged queries over a corpus: BEIR folders, and TREC's qrels with texts; candidates from a run or from BM25.

The corpus is read as a stream: once for a run's documents, twice where BM25 chooses them. Memory holds the index and
the texts of the candidates, never the corpus.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rerankd.errors import InvalidRequest
from rerankd.evaluation.bm25 import Bm25
from rerankd.evaluation.judged import JudgedQuery, JudgedSet
from rerankd.evaluation.trec import Qrels, Run, read_qrels, read_run, texts

TOP_K = 100
"""How many candidates BM25 chooses, and how many of a run's are taken."""

Watch = Callable[[Iterable[tuple[str, str]], str], Iterable[tuple[str, str]]]
"""Shows a long read: called with the (id, text) stream and what is being done."""


def unwatched(stream: Iterable[tuple[str, str]], what: str) -> Iterable[tuple[str, str]]:
    """Show nothing."""
    del what
    return stream


@dataclass(frozen=True, slots=True)
class Files:
    """Where everything lies. Without `run`, BM25 over the corpus chooses the candidates."""

    name: str
    queries: Path
    corpus: Path
    qrels: Path
    run: Path | None = None


def find_beir(folder: Path, *, split: str = "", run: Path | None = None) -> Files:
    """Find the files of a BEIR folder; `split` "" is test, else dev, else the only one there is.

    Raises:
        InvalidRequest: a file is missing.
    """
    name = folder.resolve().name
    splits = {path.name.partition(".")[0]: path for path in sorted((folder / "qrels").glob("*.tsv*"))}
    chosen = [split] if split else ["test", "dev", *splits]
    qrels = next((splits[each] for each in chosen if each in splits), None)
    if qrels is None:
        there = ", ".join(splits) or "none"
        raise InvalidRequest(f"{name} has no qrels/{split or 'test'}.tsv (splits there: {there})")
    return Files(name, _packed_or_not(folder, "queries"), _packed_or_not(folder, "corpus"), qrels, run)


def is_beir(folder: Path) -> bool:
    """Tell whether a folder is laid out as BEIR's are."""
    return any((folder / f"corpus.jsonl{packed}").exists() for packed in ("", ".gz"))


def read(files: Files, *, limit: int | None = None, top_k: int = TOP_K, watch: Watch = unwatched) -> JudgedSet:
    """Read the judged queries, at most `limit`, each with at most `top_k` candidates.

    Raises:
        InvalidRequest: the files do not fit together.
    """
    qrels = read_qrels(files.qrels)
    queries = dict(islice(((id_, text) for id_, text in texts(files.queries) if id_ in qrels), limit))
    if not queries:
        raise InvalidRequest(f"no query of {files.queries.name} is judged in {files.qrels.name}")
    if files.run is not None:
        chosen = _of_run(read_run(files.run), queries, top_k)
    else:
        chosen = _by_bm25(watch(texts(files.corpus), "BM25 index"), queries, top_k)
    wanted = {id_ for ids in chosen.values() for id_ in ids}
    found = {id_: text for id_, text in watch(texts(files.corpus), "texts") if id_ in wanted}
    missing = wanted - found.keys()
    if missing:
        raise InvalidRequest(
            f"{len(missing)} documents of the run are not in {files.corpus.name}, {min(missing)!r} among them"
        )
    judged = tuple(_judged(id_, query, chosen.get(id_, ()), found, qrels) for id_, query in queries.items())
    return JudgedSet(files.name, judged, "given" if files.run is not None else "bm25")


def _judged(id_: str, query: str, ids: Sequence[str], texts_: Mapping[str, str], qrels: Qrels) -> JudgedQuery:
    return JudgedQuery(id_, query, tuple(ids), tuple(texts_[each] for each in ids), qrels[id_])


def _of_run(run: Run, queries: Mapping[str, str], top_k: int) -> dict[str, list[str]]:
    chosen = {id_: [document for document, _ in run[id_][:top_k]] for id_ in queries if id_ in run}
    if not chosen:
        raise InvalidRequest("the run ranks none of the judged queries: are its ids those of the queries' file?")
    return chosen


def _by_bm25(corpus: Iterable[tuple[str, str]], queries: Mapping[str, str], top_k: int) -> dict[str, list[str]]:
    ids: list[str] = []

    def documents() -> Iterator[str]:
        for id_, text in corpus:
            ids.append(id_)
            yield text

    index = Bm25.build(documents())
    return {id_: [ids[place] for place in index.top(query, top_k)] for id_, query in queries.items()}


def _packed_or_not(folder: Path, name: str) -> Path:
    for packed in ("", ".gz"):
        path = folder / f"{name}.jsonl{packed}"
        if path.exists():
            return path
    raise InvalidRequest(f"{folder.resolve().name} has no {name}.jsonl: a BEIR folder has corpus, queries and qrels")
