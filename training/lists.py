"""What one step of the recipe trains on: a pure function of the seed and the step, so a resumed run sees the same."""

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SHARES: Mapping[str, float] = {
    "squad_nqg": 0.25,
    "drcd": 0.20,
    "cmrc": 0.15,
    "nq": 0.15,
    "pgpydocs": 0.13,
    "medquad": 0.12,
    "docs_zh": 0.15,
    "docs_en": 0.15,
    "docs_zh_en": 0.10,
    "written_zh": 0.25,
    "written_en": 0.20,
    "written_zh_en": 0.15,
    "aimed_zh": 0.50,
    "aimed_en": 0.40,
    "paged_zh": 0.45,
    "paged_en": 0.40,
    "paged_zh_en": 0.30,
    "asked_zh": 0.12,
    "asked_en": 0.12,
    "asked_zh_en": 0.12,
}
"""How often each set is drawn; one that is not there leaves its share to the rest.

synthetic.py makes `docs_*`, written.py `written_*`, `aimed_*`, `paged_*` and `asked_*`.
"""

HELD = 40
"""Queries of every set that no step trains on: the run's own held-out lists."""


@dataclass(frozen=True, slots=True)
class Row:
    """One query, its relevant passages, and hard negatives."""

    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """The lists of a step (the first document of each is the relevant one), and texts without a query."""

    queries: tuple[str, ...]
    documents: tuple[tuple[str, ...], ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """The sets to draw from, with their shares, and loose texts."""

    sets: Mapping[str, tuple[Row, ...]]
    shares: Mapping[str, float]
    texts: tuple[str, ...]

    def step(self, number: int, *, seed: int, queries: int, negatives: int, texts: int) -> Step:
        """Draw a step. Long texts are two to four loose ones joined: the served model reads up to 512 tokens."""
        rng = random.Random(f"{seed}:{number}")
        names = rng.choices(list(self.shares), list(self.shares.values()), k=queries)
        rows = [rng.choice(self.sets[name]) for name in names]
        lists = tuple((rng.choice(row.positives), *_some(row.negatives, negatives, rng)) for row in rows)
        loose = tuple("\n".join(rng.choices(self.texts, k=rng.choice((1, 1, 2, 4)))) for _ in range(texts))
        return Step(tuple(row.query for row in rows), lists, loose)


def read_corpus(folders: Sequence[Path], texts: Sequence[Path]) -> tuple[Corpus, Corpus]:
    """Read the training sets (`NAME.jsonl.gz`: `q`, `pos`, `neg`) and loose texts; the second corpus is held out."""
    taken: dict[str, tuple[Row, ...]] = {}
    held: dict[str, tuple[Row, ...]] = {}
    found = [(name, folder / f"{name}.jsonl.gz") for folder in folders for name in SHARES]
    files = {name: file for name, file in found if file.exists()}
    shares = {name: share for name, share in SHARES.items() if name in files}
    for name in shares:
        rows = [Row(row["q"], tuple(row["pos"]), tuple(row["neg"])) for row in _lines(files[name])]
        random.Random(f"held:{name}").shuffle(rows)
        held[name], taken[name] = tuple(rows[:HELD]), tuple(rows[HELD:])
    loose = tuple(str(row["text"]) for file in texts for row in _lines(file))
    if not loose:
        loose = tuple(row.negatives[0] for rows in taken.values() for row in rows if row.negatives)
    return Corpus(taken, shares, loose), Corpus(held, shares, loose[:64])


def _some(texts: Sequence[str], count: int, rng: random.Random) -> Sequence[str]:
    return rng.sample(texts, min(count, len(texts)))


def _lines(file: Path) -> list[dict[str, list[str] | str]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
