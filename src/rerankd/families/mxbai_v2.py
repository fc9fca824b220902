"""mxbai-rerank v2: Qwen2 models that answer "1" or "0".

The procedure of the package mxbai_rerank (github.com/mixedbread-ai/mxbai-rerank, mxbai_rerank_v2.py). Raw scores are
those of its `predict`, scores those of `predict(normalize=True)`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from rerankd.engines.base import Ids
from rerankd.families._causal import (
    PromptReader,
    Written,
    is_called,
    is_causal,
    limit_for,
    open_tokenizer,
    plain,
)
from rerankd.families._pairs import encode
from rerankd.families.base import Reader, Snapshot

_PREFIX = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n"
)
_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n"
_TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. For each query-document "
    "pair, carefully analyze the semantic relationship between them, then provide your binary relevance judgment (0 "
    "for not relevant, 1 for relevant).\nRelevance:"
)
_MAX_LENGTH = 8192
_NAME = re.compile("mxbai[-_]rerank", re.IGNORECASE)
_BASE_WIDTH = 896
_BASE_LARGEST, _LARGEST = 9.0, 12.0
"""The package's `estimated_max`: mxbai-rerank-base-v2's (known here by its width), and every other model's."""


@dataclass(frozen=True, slots=True)
class _Template:
    """`longest` bounds query, separator and document together; `positions` is the network's own limit."""

    tokenizer: Tokenizer
    prefix: Ids
    separator: Ids
    task: Ids
    suffix: Ids
    longest: int
    positions: int
    takes_instruction: bool = True

    @property
    def around(self) -> int:
        return len(self.prefix) + len(self.separator) + len(self.task) + len(self.suffix)

    @property
    def max_tokens(self) -> int:
        return self.longest + self.around

    def write(self, query: str, documents: Sequence[str], instruction: str) -> Sequence[Written]:
        asked = f"instruction: {instruction}\nquery: {query}" if instruction else f"query: {query}"
        whole, *found = encode(self.tokenizer, [asked, *(f"document: {document}" for document in documents)])
        query_ids = whole[: self.longest * 3 // 4]
        room = min(self.positions - len(query_ids) - self.around, self.longest)
        room = min(room, self.longest - len(query_ids) - len(self.separator))
        return [
            Written(
                np.concatenate(
                    (self.prefix, query_ids, self.separator, ids[:room], self.separator, self.task, self.suffix)
                ),
                cut=len(ids) > room or len(whole) > len(query_ids),
            )
            for ids in found
        ]


@dataclass(frozen=True, slots=True)
class MxbaiFamily:
    """Recognises and opens mxbai-rerank-base-v2, -large-v2 and their fine-tunes."""

    def recognises(self, snapshot: Snapshot) -> bool:
        return is_causal(snapshot, "qwen2") and is_called(snapshot, _NAME)

    def open(self, snapshot: Snapshot, *, max_tokens: int | None, cache_bytes: int) -> Reader:
        """Read the tokenizer; nothing is kept between requests.

        Raises:
            UnsupportedModel: `max_tokens` is below the template's length.
        """
        del cache_bytes
        tokenizer = open_tokenizer(snapshot)
        prefix, separator, task, suffix = (plain(tokenizer, text) for text in (_PREFIX, "\n", _TASK, _SUFFIX))
        positions = snapshot.config.get("max_position_embeddings")
        positions = positions if isinstance(positions, int) else 32_768
        around = len(prefix) + len(separator) + len(task) + len(suffix)
        limit = limit_for(max_tokens, min(_MAX_LENGTH + around, positions), around)
        template = _Template(tokenizer, prefix, separator, task, suffix, limit - around, positions)
        answers = (int(plain(tokenizer, "1")[0]), int(plain(tokenizer, "0")[0]))
        largest = _BASE_LARGEST if snapshot.config.get("hidden_size") == _BASE_WIDTH else _LARGEST
        return PromptReader(template, answers, middle=largest / 2)


FAMILY = MxbaiFamily()
