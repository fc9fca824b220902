"""Read the data sets that the recipe takes: development lists with their gold, and training triples."""

import gzip
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Judged:
    """One query, its candidate documents in the order they came, and which of them are relevant."""

    query: str
    documents: tuple[str, ...]
    relevant: tuple[bool, ...]


def development_set(folder: Path, name: str) -> Sequence[Judged]:
    """Read `NAME.jsonl.gz` (`q`, `cands` in BM25 order, `gold`) with `NAME.passages.jsonl.gz` (`id`, `text`)."""
    texts = {row["id"]: row["text"] for row in _rows(folder / f"{name}.passages.jsonl.gz")}
    return [
        Judged(
            row["q"],
            tuple(texts[place] for place in row["cands"]),
            tuple(place in row["gold"] for place in row["cands"]),
        )
        for row in _rows(folder / f"{name}.jsonl.gz")
    ]


def training_sample(folders: Sequence[Path], name: str, queries: int, seed: int) -> Sequence[Judged]:
    """Draw queries from `NAME.jsonl.gz` (`q`, `pos`, `neg`): one relevant document each, and its hard negatives."""
    [file] = [file for folder in folders if (file := folder / f"{name}.jsonl.gz").exists()]
    rows = list(_rows(file))
    drawn = random.Random(f"{seed}:{name}").sample(rows, queries)
    return [Judged(row["q"], (row["pos"][0], *row["neg"]), (True, *(False for _ in row["neg"]))) for row in drawn]


def _rows(file: Path) -> Iterator[Mapping[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
