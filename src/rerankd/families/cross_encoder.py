"""Cross-encoders: BERT and RoBERTa classifiers of one label, which read query and document in one sequence.

Exact to `sentence_transformers.CrossEncoder`: the same tokens, the same truncation, the same activation.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from rerankd.convert.architecture import KINDS, read_architecture
from rerankd.engines.base import Array, Ids
from rerankd.errors import EngineFailure
from rerankd.families._pairs import Layout, encode, find_layout, longest_first
from rerankd.families._pieces import split_document
from rerankd.families._reference_settings import check_model, is_classifier, longest_pair, score_type
from rerankd.families._reference_tokenizer import load_tokenizer
from rerankd.families.base import Pieces, Reader, Snapshot, Splitting, Work
from rerankd.types import ScoreType

_SURROGATES = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class CrossEncoderReader:
    """One cross-encoder's tokenizer, layout of a pair, limit and activation; see `families.base.Reader`.

    `keeps_end` is true where truncation cuts a text's beginning, as some tokenizers are set up to do.
    """

    tokenizer: Tokenizer
    layout: Layout
    max_tokens: int
    score_type: ScoreType
    keeps_end: bool

    def read(self, query: str, documents: Sequence[str]) -> Work[float]:
        """Tokenise one request.

        A document counts as truncated when its pair did not fit, even if only the query was cut.
        """
        query_ids, *document_ids = encode(self.tokenizer, [_clean(text) for text in (query, *documents)])
        limit = max(0, self.max_tokens - self.layout.special_tokens)
        kept = [longest_first(len(query_ids), len(ids), limit) for ids in document_ids]
        encodings = [
            self.layout.join(self._cut(query_ids, of_query), self._cut(ids, of_document))
            for ids, (of_query, of_document) in zip(document_ids, kept, strict=True)
        ]
        truncated = tuple(
            index
            for index, (ids, lengths) in enumerate(zip(document_ids, kept, strict=True))
            if lengths != (len(query_ids), len(ids))
        )
        return Work(encodings, tuple(encoding.tokens for encoding in encodings), truncated, _logit, _raw_scores)

    def split(self, query: str, document: str, splitting: Splitting) -> Pieces:
        """Divide a document. A query of more than half of the room leaves half to the document and is cut itself."""
        room = max(0, self.max_tokens - self.layout.special_tokens)
        asked = len(encode(self.tokenizer, [_clean(query)])[0])
        return split_document(self.tokenizer, _clean(document), max(1, room - min(asked, room // 2)), splitting)

    def activate(self, raw_scores: Array) -> Array:
        """A sigmoid, or nothing where the model's own files ask for logits."""
        if self.score_type is ScoreType.LOGIT:
            return raw_scores
        # In double precision, where exp(-x) of a float32 logit below -88 does not overflow.
        return (1 / (1 + np.exp(-np.clip(raw_scores.astype(np.float64), -700, 700)))).astype(np.float32)

    def _cut(self, ids: Ids, count: int) -> Ids:
        return ids[len(ids) - count :] if self.keeps_end else ids[:count]


@dataclass(frozen=True, slots=True)
class CrossEncoderFamily:
    """Recognises and opens cross-encoders."""

    def recognises(self, snapshot: Snapshot) -> bool:
        """Tell by `model_type` and architecture; embedding models are recognised too, to be refused with a reason."""
        return snapshot.config.get("model_type") in KINDS and is_classifier(snapshot)

    def open(self, snapshot: Snapshot, *, max_tokens: int | None, cache_bytes: int) -> Reader:
        """Read tokenizer and configuration; nothing is kept between requests, so `cache_bytes` is not used.

        Raises:
            UnsupportedModel: the model gives no single score per pair, or has no tokenizer.json.
            ModelLoadError: a file is damaged.
        """
        del cache_bytes
        check_model(snapshot)
        architecture = read_architecture(snapshot.config)
        reference = load_tokenizer(snapshot)
        limit = longest_pair(snapshot, reference, architecture.max_tokens)
        return CrossEncoderReader(
            tokenizer=reference.tokenizer,
            layout=find_layout(reference.tokenizer, segments=reference.segments and architecture.segments > 1),
            max_tokens=limit if max_tokens is None else min(limit, max_tokens),
            score_type=score_type(snapshot),
            keeps_end=reference.keeps_end,
        )


FAMILY = CrossEncoderFamily()


def _clean(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON can hold and UTF-8 cannot."""
    return _SURROGATES.sub(_REPLACEMENT, text)


def _logit(_: int, output: Array) -> float:
    """The one logit of a pair.

    Raises:
        EngineFailure: the output is not one number.
    """
    if output.shape != (1,):
        raise EngineFailure(f"the network returned an output of shape {output.shape} instead of one logit")
    return float(output[0])


def _raw_scores(logits: Sequence[float]) -> Array:
    return np.array(logits, np.float32)
