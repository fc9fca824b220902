"""What is trained on: queries, the documents that answer them, and documents that do not; from JSONL, CSV or BEIR."""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rerankd.errors import InvalidRequest
from rerankd.evaluation import corpus, trec
from rerankd.evaluation.lines import lines, rows, wrong
from rerankd.types import JsonValue

_QUERY = ("query", "q", "question")
_POSITIVE = ("positives", "pos", "positive", "answer")
_NEGATIVE = ("negatives", "neg", "negative")
_DOCUMENT = ("document", "text", "passage")
_LABEL = ("label", "relevance", "gain", "score")


@dataclass(frozen=True, slots=True)
class TrainingList:
    """One query and its documents.

    `soft` holds a teacher's logit for each of positives and negatives, in that order, or nothing.
    """

    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    soft: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The lists, and every document there is: negatives are mined from these."""

    name: str
    lists: tuple[TrainingList, ...]
    documents: tuple[str, ...]


def read(path: Path) -> TrainingData:
    """Read training data: a BEIR folder (qrels/train.tsv if it is there), a .csv or .tsv table, or JSON Lines.

    A line of JSON Lines and a row of a table name a query with its `positives` (and `negatives`), or a query with one
    `document` and its `label`; rows of the same query are put together.

    Raises:
        InvalidRequest: there is nothing there, it has another form, or no query has a relevant document.
    """
    if path.is_dir():
        return _read_beir(path)
    if not path.is_file():
        raise InvalidRequest(f"there is no file or folder {str(path)!r}")
    stem = path.name.removesuffix(".gz")
    numbered = _table(path, "\t" if stem.endswith(".tsv") else ",") if stem.endswith((".csv", ".tsv")) else rows(path)
    return _gathered(path, numbered)


def split(data: TrainingData, share: float, most: int, seed: int) -> tuple[TrainingData, tuple[TrainingList, ...]]:
    """Hold out a share of the queries, at most `most`, chosen by their texts: the same ones whatever the order.

    Raises:
        InvalidRequest: that leaves nothing to train on or nothing to judge.
    """
    count = min(most, round(len(data.lists) * share))
    if not 0 < count < len(data.lists):
        raise InvalidRequest(
            f"{len(data.lists)} queries cannot be split into training and held-out ones: give more, or judge on data "
            "of their own (--eval)"
        )
    ordered = sorted(data.lists, key=lambda one: hashlib.sha256(f"{seed}\n{one.query}".encode()).digest())
    held = set(ordered[:count])
    kept = tuple(one for one in data.lists if one not in held)
    return TrainingData(data.name, kept, data.documents), tuple(ordered[:count])


def _gathered(path: Path, numbered: Iterator[tuple[int, Mapping[str, JsonValue]]]) -> TrainingData:
    positives: dict[str, dict[str, None]] = {}
    negatives: dict[str, dict[str, None]] = {}
    for number, row in numbered:
        query = _first(row, _QUERY)
        if not isinstance(query, str) or not query.strip():
            raise wrong(path, number, 'there is no "query"')
        good, bad = positives.setdefault(query, {}), negatives.setdefault(query, {})
        good |= dict.fromkeys(_texts(row, _POSITIVE, path, number))
        bad |= dict.fromkeys(_texts(row, _NEGATIVE, path, number))
        document, label = _first(row, _DOCUMENT), _first(row, _LABEL)
        if isinstance(document, str):
            relevant = _relevant(label, path, number)
            (good if relevant else bad)[document] = None
        elif not good:
            raise wrong(path, number, 'a query needs "positives", or a "document" and its "label"')
    lists = tuple(
        TrainingList(query, tuple(good), tuple(text for text in negatives[query] if text not in good))
        for query, good in positives.items()
        if good
    )
    return _checked(path, lists, [])


def _read_beir(folder: Path) -> TrainingData:
    if not corpus.is_beir(folder):
        raise InvalidRequest(f"{folder.name} is no BEIR folder: there is no corpus.jsonl; name a JSON Lines file")
    split_ = "train" if list((folder / "qrels").glob("train.tsv*")) else ""
    files = corpus.find_beir(folder, split=split_)
    qrels = trec.read_qrels(files.qrels)
    texts = dict(trec.texts(files.corpus))
    lists: list[TrainingList] = []
    for id_, query in trec.texts(files.queries):
        judged = {texts[one]: gain for one, gain in qrels.get(id_, {}).items() if one in texts}
        good = tuple(text for text, gain in judged.items() if gain > 0)
        if good:
            lists.append(TrainingList(query, good, tuple(text for text, gain in judged.items() if gain <= 0)))
    return _checked(folder, tuple(lists), list(texts.values()))


def _checked(path: Path, lists: tuple[TrainingList, ...], more: Sequence[str]) -> TrainingData:
    if not lists:
        raise InvalidRequest(f"no query of {path.name} has a relevant document")
    pool = {text: None for one in lists for text in (*one.positives, *one.negatives)} | dict.fromkeys(more)
    return TrainingData(path.name.partition(".")[0], lists, tuple(pool))


def _table(path: Path, delimiter: str) -> Iterator[tuple[int, Mapping[str, JsonValue]]]:
    """Read rows below a heading; quoted cells may hold line breaks, so the number counts rows."""
    text = io.StringIO("\n".join(line for _, line in lines(path)))
    reader = csv.DictReader(text, delimiter=delimiter)
    for number, row in enumerate(reader, start=2):
        yield number, {name.strip().lower(): value for name, value in row.items() if name and value}


def _relevant(label: JsonValue, path: Path, number: int) -> bool:
    try:
        return float(label) > 0 if isinstance(label, str | int | float) else True
    except ValueError as error:
        raise wrong(path, number, f'"label" must be a number, not {label!r}') from error


def _texts(row: Mapping[str, JsonValue], names: Sequence[str], path: Path, number: int) -> list[str]:
    value = _first(row, names)
    items = [value] if isinstance(value, str) else value or []
    if not isinstance(items, list):
        raise wrong(path, number, f'"{names[0]}" must be a text or a list of texts')
    texts = [item for item in items if isinstance(item, str)]
    if len(texts) < len(items):
        raise wrong(path, number, f'"{names[0]}" must be a text or a list of texts')
    return texts


def _first(row: Mapping[str, JsonValue], names: Sequence[str]) -> JsonValue:
    return next((row[name] for name in names if name in row), None)
