"""Tokenizers with the published algorithms and special tokens, of the bundled model's English and Chinese pieces.

The published tokenizers are not needed to compare speed, and would have to be fetched; what counts is that everybody
reads the same tokens.
"""

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import cast

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

import rerankd

_MARK = "▁"
_PUNCTUATION = ",.;:!?-()'\"/，。；：！？、"
_BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_ROBERTA_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")


def unigram(size: int) -> Tokenizer:
    """XLM-RoBERTa's kind of tokenizer, of the `size` most frequent pieces, as transformers builds it."""
    known = {piece for piece, _ in _pieces()}
    letters = [piece for piece, _ in _pieces() if len(piece.removeprefix(_MARK)) <= 1]
    frequent = [piece for piece, _ in sorted(_pieces(), key=lambda item: -item[1])]
    chosen = list(dict.fromkeys([*(mark for mark in _PUNCTUATION if mark in known), *letters, *frequent]))
    chosen = chosen[: size - len(_ROBERTA_SPECIALS) - 1]
    scores = dict(_pieces())
    vocabulary = [(piece, 0.0) for piece in _ROBERTA_SPECIALS] + [(piece, scores[piece]) for piece in chosen]
    tokenizer = Tokenizer(models.Unigram([*vocabulary, ("<mask>", 0.0)], unk_id=3, byte_fallback=False))
    metaspace = pre_tokenizers.Metaspace(replacement=_MARK, prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace])
    tokenizer.decoder = decoders.Metaspace(replacement=_MARK, prepend_scheme="always")
    tokenizer.add_special_tokens([*_ROBERTA_SPECIALS, "<mask>"])
    ids = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ids
    )
    return tokenizer


def wordpiece(size: int) -> Tokenizer:
    """BERT's kind of tokenizer, uncased, with at most `size` pieces."""
    pieces = sorted(_pieces(), key=lambda item: -item[1])
    single = [piece.removeprefix(_MARK) for piece, _ in pieces if len(piece.removeprefix(_MARK)) == 1]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(digit) for digit in range(10)]
    starts = [piece.removeprefix(_MARK) for piece, _ in pieces if re.fullmatch(r"▁[a-z]+", piece)]
    ends = [f"##{piece}" for piece, _ in pieces if re.fullmatch(r"[a-z]+", piece)]
    ordered = [
        *_BERT_SPECIALS,
        *letters,
        *(f"##{letter}" for letter in letters),
        *_PUNCTUATION,
        *starts,
        *ends,
        *single,
    ]
    vocabulary = {piece: place for place, piece in enumerate(list(dict.fromkeys(ordered))[:size])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(_BERT_SPECIALS))
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ids
    )
    return tokenizer


def bundled_folder() -> Path:
    """Where the bundled model's files are."""
    return Path(rerankd.__file__).parent / "bundled" / "rerankd-zh-en"


@cache
def _pieces() -> Sequence[tuple[str, float]]:
    """The bundled tokenizer's pieces with the logarithm of their frequency."""
    file = json.loads((bundled_folder() / "tokenizer.json").read_text("utf-8"))
    listed = cast("list[tuple[str, float]]", file["model"]["vocab"])
    return [(piece, score) for piece, score in listed if score < 0]
