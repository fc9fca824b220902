"""Training sets of lists and queries that were written for this project, one by one, in training/written.

Lists come whole: a query, what answers it, and texts that share its words and do not. Pages come with queries for
their single texts; what does not answer one of them is its negatives. Queries for real documentation get the passage
they were written for, and as negatives those of the same documentation that BM25 finds and the model ranks next below
it; what the model ranks above it is left out, for that may answer too.
"""

import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from scoring import Scorer, open_scorer
from tqdm import tqdm

from rerankd.evaluation.bm25 import Bm25

HERE = Path(__file__).parent / "written"
LISTS: Mapping[str, Sequence[str]] = {
    "written_zh": ("everyday_zh", "technical_zh", "sentences_zh"),
    "written_en": ("everyday_en", "sentences_en"),
    "written_zh_en": ("across",),
    "aimed_zh": ("aimed_zh",),
    "aimed_en": ("aimed_en",),
}
PAGES = "pages_*.jsonl"
NEGATIVES = 7
DEPTH = 30
_GRAM = 8
Row = Mapping[str, Any]


@click.command()
@click.option("--synthetic", type=click.Path(path_type=Path, exists=True), required=True, help="synthetic.py's sets.")
@click.option("--model", type=click.Path(path_type=Path, exists=True), required=True, help="Finds negatives.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(synthetic: Path, model: Path, out: Path) -> None:
    """Write `written_*`, `aimed_*`, `paged_*` and `asked_*`, each `NAME.jsonl.gz` with `q`, `pos`, `neg`."""
    out.mkdir(parents=True, exist_ok=True)
    for name, files in LISTS.items():
        write(out / f"{name}.jsonl.gz", [row for file in files for row in _lines(HERE / f"{file}.jsonl")])
    pages = [page for file in sorted(HERE.glob(PAGES)) for page in _lines(file)]
    for name, rows in paged(pages).items():
        write(out / f"paged_{name}.jsonl.gz", rows)
    found = asked(_lines(HERE / "questions.jsonl"), synthetic, open_scorer(model))
    for name, rows in found.items():
        write(out / f"asked_{name}.jsonl.gz", rows)


def name_of(passage: str) -> str:
    """Give the name by which the questions know a passage."""
    return hashlib.sha256(passage.encode()).hexdigest()[:16]


def paged(pages: Sequence[Row]) -> Mapping[str, Sequence[Row]]:
    """Make a list of every query for a page; what does not answer is its negatives. By the languages of both."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for page in pages:
        texts = page["texts"]
        for query in page["queries"]:
            own = _language(query["q"])
            kind = own if own == _language("".join(texts)) else "zh_en"
            positives = [texts[place] for place in query["pos"]]
            rows[kind].append(
                {"q": query["q"], "pos": positives, "neg": [text for text in texts if text not in positives]}
            )
    return rows


def _language(text: str) -> str:
    """Return `zh` for a text with at least a Chinese character in ten: names and commands are Latin in both."""
    return "zh" if sum("\u4e00" <= one <= "\u9fff" for one in text) * 10 >= len(text) else "en"


def asked(questions: Sequence[Row], synthetic: Path, scorer: Scorer) -> Mapping[str, Sequence[Row]]:
    """Find each question's passage and its hard neighbours; by the languages of both."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for language in ("zh", "en"):
        passages = list(dict.fromkeys(row["pos"][0] for row in _zipped(synthetic / f"docs_{language}.jsonl.gz")))
        places = {name_of(one): place for place, one in enumerate(passages)}
        index = Bm25.build(passages)
        known = [row for row in questions if row["passage"] in places]
        plain = {row["passage"]: row["q"] for row in known if row["language"] == language}
        for row in tqdm(known, desc=language, disable=None):
            place = places[row["passage"]]
            words = row["q"] if row["language"] == language else plain.get(row["passage"], passages[place])
            near = [passages[other] for other in index.top(words, DEPTH)]
            others = [text for text in near if not _alike(text, passages[place])]
            negatives = _below(scorer, row["q"], passages[place], others)
            kind = language if row["language"] == language else "zh_en"
            rows[kind].append({"q": row["q"], "pos": [passages[place]], "neg": negatives})
    return rows


def _alike(left: str, right: str) -> bool:
    """Say whether half of the shorter text stands in the other: manuals repeat themselves."""
    first, second = ({text[at : at + _GRAM] for at in range(len(text) - _GRAM + 1)} for text in (left, right))
    return len(first & second) > 0.5 * min(len(first), len(second))


def _below(scorer: Scorer, query: str, passage: str, others: Sequence[str]) -> Sequence[str]:
    """Return the best of the others that the model ranks below the passage."""
    own, *scores = scorer.raw_scores(query, [passage, *others])
    ranked = sorted(zip(scores, others, strict=True), reverse=True)
    return [text for score, text in ranked if score < own][:NEGATIVES]


def write(file: Path, rows: Sequence[Row]) -> None:
    """Write the rows that have negatives; the same rows give the same bytes."""
    kept = [row for row in rows if row["neg"]]
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept).encode()
    file.write_bytes(gzip.compress(data, mtime=0))
    print(file.name, len(kept), "queries")


def _zipped(file: Path) -> Iterator[Row]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _lines(file: Path) -> Sequence[Row]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


if __name__ == "__main__":
    main()
