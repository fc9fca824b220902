"""Late interaction: query and documents are encoded apart and meet only in the score.

A document's token states can therefore be kept: a document seen before costs neither tokenisation nor a network run.
The bundled model is of this family; `config.json` holds all that tells one such model from another.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tokenizers import Encoding as TokenizerEncoding
from tokenizers import Tokenizer

from rerankd.engines.base import Array, Encoding
from rerankd.errors import EngineFailure, UnsupportedModel
from rerankd.families._pieces import split_document
from rerankd.families._states import StateCache, States, quantise, similarities
from rerankd.families.base import Pieces, Reader, Snapshot, Splitting, Work
from rerankd.types import ScoreType

_MODEL_TYPE = "rerankd_late_interaction"
_ARCHITECTURE = "RerankdLateInteraction"
_CHARS_PER_TOKEN = 64  # four times the longest piece of the bundled vocabulary: only runs of spaces need more


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SideConfig(_Section):
    """How one side's text is dressed before it is tokenised, and which of its tokens count."""

    prefix: str
    """Put before the text."""
    content_from: Annotated[int, Field(ge=0)]
    """Position of the first content token; what stands before is the start token and the prefix."""


class MixConfig(_Section):
    """score = scale * (cosine * cos + maxsim * MaxSim + bias)."""

    scale: float
    cosine: float
    """Weight of the cosine between the means over all tokens of each side."""
    maxsim: float
    """Weight of the mean over query content tokens of the largest cosine with a document content token."""
    bias: float


class CalibrationConfig(_Section):
    """raw score = slope * score + bias; its sigmoid is a probability of relevance."""

    slope: Annotated[float, Field(gt=0)]
    bias: float


class LateInteractionConfig(_Section):
    """The part of `config.json` named "late_interaction"."""

    similarity: Literal["cosine"]
    max_tokens: Annotated[int, Field(ge=8)]
    """Longest query and longest document in tokens, each with its special tokens and prefix."""
    special_ids: frozenset[int]
    """Tokens that are never content."""
    query: SideConfig
    document: SideConfig
    mix: MixConfig
    calibration: CalibrationConfig


class _LateInteraction:
    def recognises(self, snapshot: Snapshot) -> bool:
        architectures = snapshot.config.get("architectures")
        return snapshot.config.get("model_type") == _MODEL_TYPE or (
            isinstance(architectures, Sequence) and _ARCHITECTURE in architectures
        )

    def open(self, snapshot: Snapshot, *, max_tokens: int | None, cache_bytes: int) -> Reader:
        try:
            config = LateInteractionConfig.model_validate(snapshot.config.get("late_interaction"))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_context=False)[0]
            place = ".".join(str(part) for part in ("late_interaction", *problem["loc"]))
            raise UnsupportedModel(f"config.json is no late-interaction model: {place}: {problem['msg']}") from error
        limit = config.max_tokens if max_tokens is None else min(max_tokens, config.max_tokens)
        return _Reader(config, _tokenizer(snapshot, limit), limit, StateCache(cache_bytes))


FAMILY = _LateInteraction()


def _tokenizer(snapshot: Snapshot, limit: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer((snapshot.folder / "tokenizer.json").read_bytes())
    except (OSError, ValueError) as error:
        raise UnsupportedModel("tokenizer.json is missing or cannot be read: fetch the model again") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    return tokenizer


@dataclass(frozen=True, slots=True)
class _Text:
    """One text of a request: which side it stands on, and the name of its states."""

    side: SideConfig
    text: str
    key: bytes

    @staticmethod
    def of(side: SideConfig, text: str) -> "_Text":
        data = _well_formed(text).encode()
        digest = hashlib.blake2b(data, digest_size=16, key=hashlib.blake2b(side.prefix.encode()).digest())
        return _Text(side, data.decode(), digest.digest())


def _well_formed(text: str) -> str:
    """Replace lone surrogates by U+FFFD: JSON can carry them, UTF-8 and the tokenizer cannot."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class _Reader:
    def __init__(self, config: LateInteractionConfig, tokenizer: Tokenizer, limit: int, cache: StateCache) -> None:
        self._config = config
        self._tokenizer = tokenizer
        self._limit = limit
        self._cache = cache
        self._special = np.array(sorted(config.special_ids), np.int64)

    @property
    def max_tokens(self) -> int:
        """The limit of each side, as a query is never read together with a document."""
        return self._limit

    @property
    def score_type(self) -> ScoreType:
        return ScoreType.PROBABILITY

    def read(self, query: str, documents: Sequence[str]) -> Work[States]:
        """Tokenise what is not known yet. An over-long query is cut in every pair, so it marks every document."""
        asked = _Text.of(self._config.query, query)
        offered = [_Text.of(self._config.document, document) for document in documents]
        texts = {text.key: text for text in (asked, *offered)}
        known = self._cache.get(list(texts))
        missing = [text for key, text in texts.items() if key not in known]
        read = self._tokenise([text.side.prefix + text.text for text in missing])
        fresh = {text.key: encoding for text, encoding in zip(missing, read, strict=True)}
        encodings = [_encoding(encoding) for encoding in read]
        cut = {key for key, states in known.items() if states.cut} | {
            key for key, encoding in fresh.items() if encoding.overflowing
        }
        tokens = {key: states.tokens for key, states in known.items()} | {
            key: len(encoding.ids) for key, encoding in fresh.items()
        }

        def keep(position: int, output: Array) -> States:
            text = missing[position]
            states = self._states(text, encodings[position], output, cut=text.key in cut)
            self._cache.put(text.key, states)
            return states

        def finish(kept: Sequence[States]) -> Array:
            states = known | {text.key: one for text, one in zip(missing, kept, strict=True)}
            return self._raw_scores(states[asked.key], [states[text.key] for text in offered])

        return Work(
            encodings=encodings,
            tokens=[tokens[asked.key] + tokens[text.key] for text in offered],
            truncated=tuple(index for index, text in enumerate(offered) if asked.key in cut or text.key in cut),
            keep=keep,
            finish=finish,
        )

    def split(self, query: str, document: str, splitting: Splitting) -> Pieces:
        """Divide a document; the query is read apart from it and takes no room."""
        del query
        around = len(self._tokenizer.encode(self._config.document.prefix).ids)
        return split_document(self._tokenizer, _well_formed(document), max(1, self._limit - around), splitting)

    def activate(self, raw_scores: Array) -> Array:
        # exp of a negative number only: it can underflow to 0, which is right, and never overflow.
        small = np.exp(-np.abs(raw_scores))
        return np.where(raw_scores >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)

    def _tokenise(self, texts: Sequence[str]) -> Sequence[TokenizerEncoding]:
        """Tokenise the beginning of each text, and the whole where the beginning does not fill the limit.

        What is cut away should not cost time: a book is tokenised as fast as its first pages.
        """
        enough = self._limit * _CHARS_PER_TOKEN
        read = self._tokenizer.encode_batch([text[:enough] for text in texts])
        sparse = [i for i, text in enumerate(texts) if len(text) > enough and not read[i].overflowing]
        for i, encoding in zip(sparse, self._tokenizer.encode_batch([texts[i] for i in sparse]), strict=True):
            read[i] = encoding
        return read

    def _states(self, text: _Text, encoding: Encoding, output: Array, *, cut: bool) -> States:
        if output.ndim != 2 or output.shape[0] != encoding.tokens or not np.isfinite(output).all():
            raise EngineFailure(
                f"the network returned states of shape {output.shape} for {encoding.tokens} tokens, or numbers that "
                "are not finite: check the model with `rerankd doctor`"
            )
        places = np.arange(encoding.tokens)
        content = (places >= text.side.content_from) & ~np.isin(encoding.ids, self._special)
        return quantise(output, content, cut=cut)

    def _raw_scores(self, query: States, documents: Sequence[States]) -> Array:
        mix, calibration = self._config.mix, self._config.calibration
        found = similarities(query, documents)
        score = mix.scale * (mix.cosine * found.cosine + mix.maxsim * found.maxsim + mix.bias)
        return (calibration.slope * score + calibration.bias).astype(np.float32)


def _encoding(read: TokenizerEncoding) -> Encoding:
    ids = np.array(read.ids, np.int64)
    return Encoding(ids, np.zeros_like(ids))
