"""The files of TREC: qrels (who judged what), runs (who ranked what), and the texts beside them."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from rerankd.errors import InvalidRequest
from rerankd.evaluation.lines import lines, rows, wrong

Qrels: TypeAlias = Mapping[str, Mapping[str, float]]
"""Query id -> document id -> gain."""
Run: TypeAlias = Mapping[str, Sequence[tuple[str, float]]]
"""Query id -> (document id, score), best first; equal scores in the order of the file."""


def read_qrels(file: Path) -> Qrels:
    """Read TREC's four columns (query, iteration, document, gain) or BEIR's three with their heading.

    Raises:
        InvalidRequest: a line has other columns, or a gain is no number.
    """
    found: dict[str, dict[str, float]] = {}
    for number, line in lines(file):
        columns = line.split("\t") if "\t" in line else line.split()
        if len(columns) not in {3, 4}:
            raise wrong(file, number, "qrels have the columns query, 0, document, gain (BEIR: query, document, gain)")
        try:
            gain = float(columns[-1])
        except ValueError as error:
            if number == 1:
                continue  # BEIR's heading
            raise wrong(file, number, f"the gain {columns[-1]!r} is no number") from error
        found.setdefault(columns[0].strip(), {})[columns[-2].strip()] = gain
    if not found:
        raise InvalidRequest(f"{file.name} holds no judgements")
    return found


def read_run(file: Path) -> Run:
    """Read TREC's six columns: query, Q0, document, rank, score, tag. The order is the scores', not the ranks'.

    Raises:
        InvalidRequest: a line has other columns, a score is no number, or a document stands twice under a query.
    """
    found: dict[str, dict[str, float]] = {}
    for number, line in lines(file):
        columns = line.split()
        if len(columns) != 6:
            raise wrong(file, number, "a run has the columns query, Q0, document, rank, score, tag")
        query, _, document, _, written, _ = columns
        try:
            score = float(written)
        except ValueError as error:
            raise wrong(file, number, f"the score {written!r} is no number") from error
        if math.isnan(score):
            raise wrong(file, number, "the score is not a number (NaN)")
        scored = found.setdefault(query, {})
        if document in scored:
            raise wrong(file, number, f"document {document!r} stands twice under query {query!r}")
        scored[document] = score
    if not found:
        raise InvalidRequest(f"{file.name} holds no ranking")
    return {query: sorted(scored.items(), key=lambda item: -item[1]) for query, scored in found.items()}


def is_run(file: Path) -> bool:
    """Tell whether a file looks like a run: six columns, the second Q0, as programs write it."""
    if not file.is_file():
        return False
    try:
        columns = next((line for _, line in lines(file)), "").split()
    except InvalidRequest:
        return False
    return len(columns) == 6 and columns[1].upper() == "Q0"


def write_run(file: Path, rankings: Iterable[tuple[str, Sequence[tuple[str, float]]]], tag: str) -> None:
    """Write a run, best first, atomically; scores are written so that they read back the same."""
    word = "_".join(tag.split()) or "rerankd"
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            for query, ranking in rankings:
                for rank, (document, score) in enumerate(ranking, start=1):
                    stream.write(f"{query} Q0 {document} {rank} {score!r} {word}\n")
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def texts(file: Path) -> Iterator[tuple[str, str]]:
    """Yield (id, text) from JSON Lines (`_id` or `id`, `text`, perhaps `title`) or from lines `id<TAB>text`.

    A title is put before the text with a space between, as BEIR does.

    Raises:
        InvalidRequest: a line has neither form.
    """
    first = next((line for _, line in lines(file)), "")
    yield from _json_texts(file) if first.lstrip().startswith("{") else _tab_texts(file)


def _json_texts(file: Path) -> Iterator[tuple[str, str]]:
    for number, row in rows(file):
        id_ = row.get("_id", row.get("id"))
        text = row.get("text", row.get("query"))
        if not isinstance(id_, str | int) or not isinstance(text, str):
            raise wrong(file, number, 'an entry needs an "_id" (or "id") and a "text"')
        yield str(id_), f"{row.get('title') or ''} {text}".strip()


def _tab_texts(file: Path) -> Iterator[tuple[str, str]]:
    for number, line in lines(file):
        id_, tab, text = line.partition("\t")
        if not tab:
            raise wrong(file, number, "texts are JSON Lines, or lines of an id, a tab and the text")
        yield id_.strip(), text.strip()
