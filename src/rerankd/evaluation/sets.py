"""A path to judged queries, whatever the form of the data: JSON Lines, or a BEIR folder."""

from pathlib import Path

from rerankd.errors import InvalidRequest
from rerankd.evaluation import corpus, plain
from rerankd.evaluation.corpus import TOP_K, Watch, unwatched
from rerankd.evaluation.judged import JudgedSet

SAMPLE = "sample"
"""The name of the set that ships with rerankd."""


def load(
    path: Path,
    *,
    split: str = "",
    run: Path | None = None,
    limit: int | None = None,
    top_k: int = TOP_K,
    watch: Watch = unwatched,
) -> JudgedSet:
    """Read judged queries: a folder is BEIR's, a file is JSON Lines (see `plain`); gzip is recognised.

    `split`, `run` and `top_k` are for folders: which qrels, and which candidates (see `corpus.read`).

    Raises:
        InvalidRequest: there is nothing there, or it has another form.
    """
    if path.is_dir():
        if not corpus.is_beir(path):
            raise InvalidRequest(f"{path.name} is no BEIR folder: there is no corpus.jsonl; name a JSON Lines file")
        return corpus.read(corpus.find_beir(path, split=split, run=run), limit=limit, top_k=top_k, watch=watch)
    if not path.is_file():
        raise InvalidRequest(f"there is no file or folder {str(path)!r}")
    return plain.read(path, limit=limit)


def sample(*, limit: int | None = None) -> JudgedSet:
    """Read the small Chinese and English set that ships with rerankd:

    our own texts in no order, to try the command with.
    """
    read = plain.read(Path(__file__).with_name("sample.jsonl"), limit=limit)
    return JudgedSet(SAMPLE, read.queries, "none")
