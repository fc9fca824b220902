"""Joining a query's tokens with each document's: special tokens, segment ids and truncation.

The same as `Tokenizer.encode(query, document)` under truncation "longest_first", but the query is tokenised once and
the tokens that are cut off cost nothing: tokenizers builds an encoding for every piece of the overflow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from rerankd.engines.base import Encoding, Ids
from rerankd.errors import UnsupportedModel

_PROBES = ("", "a", "hello, world", "你好，世界", "x y z [SEP] </s> <pad> " * 3)


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands before, between and after the two texts, and each text's segment id."""

    before: Encoding
    between: Encoding
    after: Encoding
    query_segment: int
    document_segment: int

    @property
    def special_tokens(self) -> int:
        """How many tokens are added to a pair."""
        return self.before.tokens + self.between.tokens + self.after.tokens

    def join(self, query: Ids, document: Ids) -> Encoding:
        """Build the sequence of one pair."""
        parts = (self.before.ids, query, self.between.ids, document, self.after.ids)
        segments = (
            self.before.type_ids,
            np.full(query.shape, self.query_segment, np.int64),
            self.between.type_ids,
            np.full(document.shape, self.document_segment, np.int64),
            self.after.type_ids,
        )
        return Encoding(np.concatenate(parts), np.concatenate(segments))


def longest_first(query: int, document: int, limit: int) -> tuple[int, int]:
    """How many tokens to keep of each, at most `limit` together.

    The longer one is cut to what the shorter leaves; if the shorter is over half itself, each gets half, and the odd
    token goes to the longer one. As `truncate_encodings` in tokenizers/src/utils/truncation.rs.
    """
    if query + document <= limit:
        return query, document
    shorter, longer = min(query, document), max(query, document)
    longer = shorter if shorter > limit else max(shorter, limit - shorter)
    if shorter + longer > limit:
        shorter = limit // 2
        longer = shorter + limit % 2
    return (longer, shorter) if query > document else (shorter, longer)


def find_layout(tokenizer: Tokenizer, *, segments: bool) -> Layout:
    """Learn a tokenizer's template from what it does to a pair, and check it on others.

    Raises:
        UnsupportedModel: the template is no "special tokens, query, special tokens, document, special tokens".
    """
    joined = tokenizer.encode("a", "b")
    sequences = joined.sequence_ids
    if 0 not in sequences or 1 not in sequences:
        raise UnsupportedModel("the tokenizer gives no tokens for the letters a and b: no pair can be read")
    first = [sequences.index(number) for number in (0, 1)]
    stop = [len(sequences) - sequences[::-1].index(number) for number in (0, 1)]
    ids = np.array(joined.ids, np.int64)
    types = np.array(joined.type_ids, np.int64) * int(segments)
    layout = Layout(
        before=Encoding(ids[: first[0]], types[: first[0]]),
        between=Encoding(ids[stop[0] : first[1]], types[stop[0] : first[1]]),
        after=Encoding(ids[stop[1] :], types[stop[1] :]),
        query_segment=int(types[first[0]]),
        document_segment=int(types[first[1]]),
    )
    if not all(_agrees(tokenizer, layout, segments, a, b) for a in _PROBES for b in _PROBES):
        raise UnsupportedModel(
            "the tokenizer's template for pairs is not of the form: special tokens, query, special tokens, document, "
            "special tokens; a tokenizer.json of the BERT or RoBERTa form works"
        )
    return layout


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Sequence[Ids]:
    """Token ids of each text, without special tokens."""
    encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array(encoding.ids, np.int64) for encoding in encodings]


def _agrees(tokenizer: Tokenizer, layout: Layout, segments: bool, query: str, document: str) -> bool:
    truth = tokenizer.encode(query, document)
    ours = layout.join(*encode(tokenizer, (query, document)))
    same_segments = not segments or np.array_equal(ours.type_ids, truth.type_ids)
    return np.array_equal(ours.ids, truth.ids) and same_segments
