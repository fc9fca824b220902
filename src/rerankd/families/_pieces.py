"""A long document to overlapping pieces that fit beside the query, cut at sentence ends where one is near."""

import re
from collections.abc import Sequence

from tokenizers import Encoding as TokenizerEncoding
from tokenizers import Tokenizer

from rerankd.families.base import Pieces, Splitting

_SENTENCE_END = re.compile(r"[。！？!?；;]+[”’\"')\]]*|\.(?=\s)|\n+")
_NEAR = 0.25
"""How far back from a full piece's end, as a share of the piece, a sentence end is looked for."""

_SLACK = 4
"""Tokens left free: a piece read alone can have a few more than it had inside the document."""

_CHARS_PER_TOKEN = 12
"""More characters than this per token are not read: a document of 16 MB should cost what its pieces cost."""

Spans = Sequence[tuple[int, int]]


def split_document(tokenizer: Tokenizer, document: str, room: int, splitting: Splitting) -> Pieces:
    """Split a text into pieces of at most `room` tokens; one that fits comes back whole.

    `room` is the tokens there are for a document, special tokens and the query already taken off.
    """
    most = splitting.max_tokens
    wanted = splitting.max_pieces * room if most is None else min(most, splitting.max_pieces * room)
    readable = document[: (wanted + room) * _CHARS_PER_TOKEN]
    spans = _token_spans(tokenizer.encode(readable, add_special_tokens=False))
    cut = len(readable) < len(document)
    if most is not None and len(spans) > most:
        spans, cut = spans[:most], True
    if len(spans) <= room:
        return Pieces((document[: spans[-1][1]] if cut and spans else document,), cut)
    windows = _windows(readable, spans, max(1, room - _SLACK), splitting.overlap_tokens)
    kept = windows[: splitting.max_pieces]
    return Pieces(tuple(readable[start:stop] for start, stop in kept), cut or len(kept) < len(windows))


def _token_spans(encoding: TokenizerEncoding) -> Spans:
    """Each token's place in the text. A tokenizer that is set to truncate gives the rest as further encodings."""
    parts = (encoding, *encoding.overflowing)
    return [span for part in parts for span, special in zip(part.offsets, part.special_tokens_mask, strict=True)
            if not special]  # fmt: skip


def _windows(text: str, spans: Spans, size: int, overlap: int) -> Spans:
    """Windows of at most `size` tokens, each beginning `overlap` tokens before the end of the one before."""
    windows: list[tuple[int, int]] = []
    overlap = min(overlap, size // 2)
    first = 0
    while True:
        last = min(first + size, len(spans))
        if last == len(spans):
            windows.append((spans[first][0], spans[-1][1]))
            return windows
        last = _sentence_end(text, spans, first + max(1, round(size * (1 - _NEAR))), last)
        windows.append((spans[first][0], spans[last - 1][1]))
        first = max(first + 1, last - overlap)


def _sentence_end(text: str, spans: Spans, earliest: int, latest: int) -> int:
    """The last token boundary in `earliest` … `latest` that follows a sentence; `latest` where there is none."""
    start, stop = spans[earliest][0], spans[latest - 1][1]
    ends = [start + match.end() for match in _SENTENCE_END.finditer(text[start:stop])]
    if not ends:
        return latest
    return next((i for i in range(latest, earliest, -1) if spans[i - 1][1] <= ends[-1]), latest)
