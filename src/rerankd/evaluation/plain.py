"""Judged queries in plain JSON Lines: texts in the line itself, or ids of passages in a file beside it.

{"query": "…", "positives": ["…"], "negatives": ["…"]}
{"query": "…", "candidates": ["…", {"id": "d7", "text": "…", "gain": 2}], "positives": ["…"]}
{"q": "…", "cands": [3, 1, 2], "gold": [1]}          with NAME.passages.jsonl: {"id": 3, "text": "…"}
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import cast

from rerankd.errors import InvalidRequest
from rerankd.evaluation.judged import JudgedQuery, JudgedSet
from rerankd.evaluation.lines import Row, rows, wrong
from rerankd.types import JsonValue

_NAMES: Mapping[str, Sequence[str]] = {
    "query": ("query", "q", "question"),
    "positives": ("positives", "pos", "positive"),
    "negatives": ("negatives", "neg", "negative"),
    "candidates": ("candidates", "documents", "passages"),
    "gain": ("gain", "relevance", "label"),
    "subset": ("subset", "language", "lang"),
    "id": ("id", "_id", "query_id", "qid"),
}


def read(file: Path, *, limit: int | None = None) -> JudgedSet:
    """Read one file; the kind of its first line is the kind of all. At most `limit` queries.

    Without `candidates` there is no order given: positives and negatives are shuffled, always the same way, so that no
    tie favours the positives.

    Raises:
        InvalidRequest: a line lacks its query, its documents or its judgements.
    """
    name = file.name.removesuffix(".gz").removesuffix(".jsonl")
    first = next((row for _, row in rows(file)), None)
    if first is None:
        raise InvalidRequest(f"{file.name} holds no queries")
    by_ids = "cands" in first
    found = _by_ids(file) if by_ids else _by_texts(file)
    given = by_ids or _get(first, "candidates") is not None
    return JudgedSet(name, tuple(islice(found, limit)), "given" if given else "none")


def _by_ids(file: Path) -> Iterator[JudgedQuery]:
    stem = file.name.removesuffix(".gz").removesuffix(".jsonl")
    beside = [file.with_name(f"{stem}.passages.jsonl{packed}") for packed in ("", ".gz")]
    passages = next((path for path in beside if path.exists()), None)
    if passages is None:
        raise InvalidRequest(f"{file.name} names passages by id: put {beside[0].name} beside it")
    texts = {str(row["id"]): str(row["text"]) for _, row in rows(passages)}
    for number, row in rows(file):
        ids = [str(each) for each in _list(row, "cands", file, number)]
        gold = [str(each) for each in _list(row, "gold", file, number)]
        unknown = next((id_ for id_ in ids if id_ not in texts), None)
        if unknown is not None:
            raise wrong(file, number, f"passage {unknown!r} is not in {passages.name}")
        judgements = dict.fromkeys(ids, 0.0) | dict.fromkeys(gold, 1.0)
        yield JudgedQuery(
            _id(row, number), _query(row, file, number), tuple(ids), tuple(texts[id_] for id_ in ids), judgements,
            _subset(row),
        )  # fmt: skip


def _by_texts(file: Path) -> Iterator[JudgedQuery]:
    for number, row in rows(file):
        id_ = _id(row, number)
        positives = _texts(row, "positives", file, number)
        negatives = _texts(row, "negatives", file, number)
        listed = _get(row, "candidates")
        if listed is None and not (positives and negatives):
            raise wrong(file, number, 'a query needs "positives" and "negatives", or "candidates"')
        gains = dict.fromkeys(negatives, 0.0) | dict.fromkeys(positives, 1.0)
        if listed is None:
            texts = sorted(gains, key=lambda text: hashlib.sha256(f"{id_}\n{text}".encode()).digest())
            names = [f"{id_}.{place}" for place in range(len(texts))]
        else:
            names, texts, graded = _candidates(listed, id_, file, number)
            gains |= graded
            if positives:
                gains = dict.fromkeys(texts, 0.0) | gains
        if not any(gain > 0 for gain in gains.values()):
            raise wrong(file, number, 'nothing is relevant: give "positives", or candidates with a "gain"')
        by_text = dict(zip(texts, names, strict=True))
        judgements = {by_text.get(text, f"{id_}.+{place}"): gain for place, (text, gain) in enumerate(gains.items())}
        # A text that stands twice among the candidates is judged twice.
        judgements |= {name: gains[text] for name, text in zip(names, texts, strict=True) if text in gains}
        yield JudgedQuery(id_, _query(row, file, number), tuple(names), tuple(texts), judgements, _subset(row))


def _candidates(
    listed: JsonValue, query_id: str, file: Path, number: int
) -> tuple[list[str], list[str], dict[str, float]]:
    if not isinstance(listed, list) or not listed:
        raise wrong(file, number, '"candidates" must be a list of documents')
    names: list[str] = []
    texts: list[str] = []
    gains: dict[str, float] = {}
    for place, item in enumerate(listed):
        fields = cast("Row", item) if isinstance(item, Mapping) else cast("Row", {"text": item})
        text, gain = fields.get("text"), _get(fields, "gain")
        if not isinstance(text, str) or (gain is not None and not isinstance(gain, int | float)):
            raise wrong(file, number, 'a candidate is a text, or an object with a "text" and perhaps a number "gain"')
        names.append(str(_get(fields, "id") or f"{query_id}.{place}"))
        texts.append(text)
        if gain is not None:
            gains[text] = float(gain)
    if len(set(names)) < len(names):
        raise wrong(file, number, "two candidates have the same id")
    return names, texts, gains


def _texts(row: Row, name: str, file: Path, number: int) -> list[str]:
    value = _get(row, name)
    if value is None:
        return []
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise wrong(file, number, f'"{name}" must be a list of texts')
    return list(dict.fromkeys(cast("list[str]", items)))


def _list(row: Row, name: str, file: Path, number: int) -> list[JsonValue]:
    value = row.get(name)
    if not isinstance(value, list):
        raise wrong(file, number, f'"{name}" must be a list of passage ids')
    return value


def _query(row: Row, file: Path, number: int) -> str:
    query = _get(row, "query")
    if not isinstance(query, str):
        raise wrong(file, number, 'there is no "query"')
    return query


def _id(row: Row, number: int) -> str:
    given = _get(row, "id")
    return str(number) if given is None else str(given)


def _subset(row: Row) -> str:
    given = _get(row, "subset")
    return "" if given is None else str(given)


def _get(row: Row, name: str) -> JsonValue:
    return next((row[key] for key in _NAMES[name] if key in row), None)
