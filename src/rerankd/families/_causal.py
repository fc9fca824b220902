"""Language models as rerankers: a prompt per pair, and the logits of its answers after the last token.

All pairs of a request begin alike (system text, instruction, query). They are tokenised whole, as the references do,
and what their tokens have in common is then declared once, so that an engine computes it once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer

from rerankd.convert.modular import MODULES_FILE
from rerankd.engines.base import Array, Encoding, Ids, SharedPrefix
from rerankd.errors import EngineFailure, UnsupportedModel
from rerankd.families._reference_tokenizer import load_tokenizer, read_json, read_list
from rerankd.families.base import CausalReader, Snapshot, Work
from rerankd.types import JsonValue, ScoreType

_LEAST_SHARED = 8
"""Fewer common tokens are not worth the bookkeeping."""
_LEAST_CONTENT = 16
_README_CHARS = 65_536
_SURROGATES = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class Written:
    """One pair as the model reads it, and whether something of it had to be cut."""

    ids: Ids
    cut: bool


class Template(Protocol):
    """How one kind of model wants its pairs written. Texts are clean; "" is no instruction."""

    @property
    def max_tokens(self) -> int:
        """The longest sequence it writes."""
        ...

    @property
    def takes_instruction(self) -> bool:
        """Whether the model was trained with instructions."""
        ...

    def write(self, query: str, documents: Sequence[str], instruction: str) -> Sequence[Written]:
        """Write the pairs of a request."""
        ...


@dataclass(frozen=True, slots=True)
class PromptReader:
    """See `families.base.CausalReader`. The score is the sigmoid of the raw score less `middle`."""

    template: Template
    answers: tuple[int, ...]
    middle: float = 0.0
    instruction: str = ""

    @property
    def max_tokens(self) -> int:
        """The template's limit."""
        return self.template.max_tokens

    @property
    def score_type(self) -> ScoreType:
        """A probability."""
        return ScoreType.PROBABILITY

    def instructed(self, instruction: str) -> CausalReader:
        """The same reader with an instruction for its model; itself where the model knows none."""
        return replace(self, instruction=_clean(instruction)) if self.template.takes_instruction else self

    def read(self, query: str, documents: Sequence[str]) -> Work[float]:
        """Write and tokenise one request."""
        written = self.template.write(_clean(query), [_clean(text) for text in documents], self.instruction)
        prefix = share([one.ids for one in written])
        encodings = [Encoding(one.ids, np.zeros_like(one.ids), prefix) for one in written]
        truncated = tuple(index for index, one in enumerate(written) if one.cut)
        return Work(encodings, tuple(one.tokens for one in encodings), truncated, _raw_score, _as_array)

    def activate(self, raw_scores: Array) -> Array:
        """A sigmoid in double precision, where exp(-x) does not overflow."""
        shifted = raw_scores.astype(np.float64) - self.middle
        return (1 / (1 + np.exp(-np.clip(shifted, -700, 700)))).astype(np.float32)


def share(sequences: Sequence[Ids]) -> SharedPrefix | None:
    """What all sequences begin with, at least one token of each left over; None where that is little or only one."""
    if len(sequences) < 2:
        return None
    first = sequences[0]
    common = min(len(ids) for ids in sequences) - 1
    for ids in sequences[1:]:
        differing = first[:common] != ids[:common]
        if differing.any():
            common = int(differing.argmax())
    return SharedPrefix(common) if common >= _LEAST_SHARED else None


def open_tokenizer(snapshot: Snapshot) -> Tokenizer:
    """The model's tokenizer.

    Raises:
        UnsupportedModel, ModelLoadError: see `load_tokenizer`.
    """
    return load_tokenizer(snapshot).tokenizer


def plain(tokenizer: Tokenizer, text: str) -> Ids:
    """A piece of a template, without special tokens around it."""
    return np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int64)


def token(tokenizer: Tokenizer, text: str) -> int:
    """The one token that a text is.

    Raises:
        UnsupportedModel: the vocabulary has none.
    """
    found = tokenizer.token_to_id(text)
    if found is None:
        raise UnsupportedModel(f"the tokenizer has no token {text!r}, which this kind of reranker answers with")
    return found


def special_token(snapshot: Snapshot, tokenizer: Tokenizer, role: str, default: str) -> int | None:
    """The id of the token that `tokenizer_config.json` gives a role; None where the role is null there."""
    config = read_json(snapshot, "tokenizer_config.json")
    value = config.get(role, default)
    value = value.get("content") if isinstance(value, Mapping) else value
    return tokenizer.token_to_id(value) if isinstance(value, str) else None


def limit_for(max_tokens: int | None, own: int, around: int) -> int:
    """The longest sequence: the model's own limit or a lower one, as long as some text fits into the template.

    Raises:
        UnsupportedModel: it does not.
    """
    limit = own if max_tokens is None else min(own, max_tokens)
    if limit < around + _LEAST_CONTENT:
        raise UnsupportedModel(
            f"models.max_tokens = {limit} leaves no room: this model's template alone takes {around} tokens"
        )
    return limit


def is_causal(snapshot: Snapshot, model_type: str, *, classifier: bool = False) -> bool:
    """Tell a language model of this type by its configuration; embedding models are none."""
    names = snapshot.config.get("architectures")
    architecture = str(names[0]) if isinstance(names, Sequence) and not isinstance(names, str) and names else ""
    endings = ("ForCausalLM", "ForSequenceClassification") if classifier else ("ForCausalLM",)
    fits = snapshot.config.get("model_type") == model_type and architecture.endswith(endings)
    pooled = MODULES_FILE in snapshot.files and any(map(_pools, read_list(snapshot, MODULES_FILE)))
    return fits and not pooled


def is_called(snapshot: Snapshot, name: re.Pattern[str]) -> bool:
    """Tell by names, since a chat model of the same kind has the very same configuration: by the folder's, or by the

    model card's head in README.md (its front matter, which names the base model, and its title).
    """
    if any(name.search(part) for part in snapshot.folder.resolve().parts[-4:]):
        return True
    if "README.md" not in snapshot.files:
        return False
    with (snapshot.folder / "README.md").open(encoding="utf-8", errors="replace") as stream:
        return name.search(_head(stream.read(_README_CHARS))) is not None


def _head(card: str) -> str:
    """A model card's front matter and its first heading."""
    front, _, rest = card.removeprefix("---").partition("\n---") if card.startswith("---") else ("", "", card)
    return front + next((line for line in rest.splitlines() if line.startswith("#")), "")


def _pools(module: JsonValue) -> bool:
    return isinstance(module, Mapping) and str(module.get("type")).endswith("Pooling")


def _clean(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON can hold and UTF-8 cannot."""
    return _SURROGATES.sub(_REPLACEMENT, text)


def _raw_score(_: int, output: Array) -> float:
    """The logit of a yes, less that of a no where the model was asked for both.

    Raises:
        EngineFailure: the output is neither.
    """
    if output.shape not in {(1,), (2,)}:
        raise EngineFailure(f"the network returned an output of shape {output.shape} instead of one or two logits")
    return float(output[0]) if output.shape == (1,) else float(output[0]) - float(output[1])


def _as_array(scores: Sequence[float]) -> Array:
    return np.array(scores, np.float32)
