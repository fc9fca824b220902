"""bge-reranker-v2-gemma: the logit of "Yes" to whether a passage answers a query.

The procedure of FlagEmbedding's FlagLLMReranker (inference/reranker/decoder_only/base.py) with the model card's
max_length of 1,024. Raw scores are those of `compute_score`, scores those of `compute_score(normalize=True)`.
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
    special_token,
)
from rerankd.families._pairs import encode
from rerankd.families.base import Reader, Snapshot

_PROMPT = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a "
    "prediction of either 'Yes' or 'No'."
)
_MAX_LENGTH = 1024
_NAME = re.compile("bge[-_]reranker[-_]v2[-_]gemma", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Template:
    """`longest` is the reference's max_length: that of a passage; the whole may be longer by the template."""

    tokenizer: Tokenizer
    start: Ids
    separator: Ids
    prompt: Ids
    longest: int
    takes_instruction: bool = False

    @property
    def max_tokens(self) -> int:
        return self.longest + 2 * (len(self.separator) + len(self.prompt))

    def write(self, query: str, documents: Sequence[str], instruction: str) -> Sequence[Written]:
        del instruction
        whole, *found = encode(self.tokenizer, [f"A: {query}", *(f"B: {document}" for document in documents)])
        query_ids = np.concatenate((self.start, whole[: self.longest * 3 // 4]))
        # The first truncation leaves room for the closing prompt a second time; so does the reference.
        room = self.longest + len(self.prompt) - len(query_ids)
        room = max(0, min(self.longest, room))
        return [
            Written(
                np.concatenate((query_ids, self.separator, ids[:room], self.separator, self.prompt)),
                cut=len(ids) > room or len(whole) > self.longest * 3 // 4,
            )
            for ids in found
        ]


@dataclass(frozen=True, slots=True)
class BgeGemmaFamily:
    """Recognises and opens bge-reranker-v2-gemma and its fine-tunes."""

    def recognises(self, snapshot: Snapshot) -> bool:
        return is_causal(snapshot, "gemma") and is_called(snapshot, _NAME)

    def open(self, snapshot: Snapshot, *, max_tokens: int | None, cache_bytes: int) -> Reader:
        """Read the tokenizer; nothing is kept between requests.

        Raises:
            UnsupportedModel: `max_tokens` is below the template's length.
        """
        del cache_bytes
        tokenizer = open_tokenizer(snapshot)
        separator, prompt = plain(tokenizer, "\n"), plain(tokenizer, _PROMPT)
        start = special_token(snapshot, tokenizer, "bos_token", "<bos>")
        padding = special_token(snapshot, tokenizer, "pad_token", "<pad>")
        begins = start is not None and start != padding
        around = 2 * (len(separator) + len(prompt))
        limit = limit_for(max_tokens, _MAX_LENGTH + around, around)
        template = _Template(
            tokenizer, np.array([start] if begins else [], np.int64), separator, prompt, limit - around
        )
        return PromptReader(template, (int(plain(tokenizer, "Yes")[0]),))


FAMILY = BgeGemmaFamily()
