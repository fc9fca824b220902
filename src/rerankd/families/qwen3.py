"""Qwen3-Reranker: is the document what instruction and query ask for? The odds of "yes" against "no".

The procedure of its model card (github.com/QwenLM/Qwen3-Embedding, README, "Reranker Model"). Conversions to a
classifier of one label (Qwen3ForSequenceClassification) hold the difference of the two rows and read the same prompt.
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
    token,
)
from rerankd.families.base import Reader, Snapshot

_PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
_MAX_TOKENS = 8192
_NAME = re.compile("qwen3[-_.]?reranker", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Template:
    """`begin` and `end` are what the tokenizer itself puts around a text: nothing, in the published files."""

    tokenizer: Tokenizer
    prefix: Ids
    suffix: Ids
    begin: Ids
    end: Ids
    max_tokens: int
    takes_instruction: bool = True

    def write(self, query: str, documents: Sequence[str], instruction: str) -> Sequence[Written]:
        texts = [
            f"<Instruct>: {instruction or _INSTRUCTION}\n<Query>: {query}\n<Document>: {document}"
            for document in documents
        ]
        around = (self.prefix, self.begin, self.end, self.suffix)
        room = max(0, self.max_tokens - sum(map(len, around)))
        written: list[Written] = []
        for encoding in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            ids = np.array(encoding.ids, np.int64)
            parts = (self.prefix, self.begin, ids[:room], self.end, self.suffix)
            written.append(Written(np.concatenate(parts), cut=len(ids) > room))
        return written


@dataclass(frozen=True, slots=True)
class Qwen3Family:
    """Recognises and opens Qwen3-Reranker of any size."""

    def recognises(self, snapshot: Snapshot) -> bool:
        return is_causal(snapshot, "qwen3", classifier=True) and is_called(snapshot, _NAME)

    def open(self, snapshot: Snapshot, *, max_tokens: int | None, cache_bytes: int) -> Reader:
        """Read the tokenizer; nothing is kept between requests.

        Raises:
            UnsupportedModel: the tokenizer has no "yes" and "no", or `max_tokens` is below the template's length.
        """
        del cache_bytes
        tokenizer = open_tokenizer(snapshot)
        prefix, suffix = plain(tokenizer, _PREFIX), plain(tokenizer, _SUFFIX)
        bare, whole = (list(tokenizer.encode("a", add_special_tokens=special).ids) for special in (False, True))
        start = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
        begin, end = np.array(whole[:start], np.int64), np.array(whole[start + len(bare) :], np.int64)
        limit = limit_for(max_tokens, _MAX_TOKENS, sum(map(len, (prefix, begin, end, suffix))))
        template = _Template(tokenizer, prefix, suffix, begin, end, limit)
        classifier = "Qwen3ForSequenceClassification" in str(snapshot.config.get("architectures"))
        answers = () if classifier else (token(tokenizer, "yes"), token(tokenizer, "no"))
        return PromptReader(template, answers)


FAMILY = Qwen3Family()
