"""tokenizer.json as the reference (transformers 5, which sentence-transformers reads models with) makes it.

The reference does not take the file whole: for the tokenizer classes below it keeps vocabulary and added tokens and
sets up normaliser, pre-tokeniser and template anew from `tokenizer_config.json`
(transformers/tokenization_utils_tokenizers.py `convert_to_native_format`, and each model's own tokenization file).
Where the file says something else, the reference's scores are those of the class; so are ours.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers, processors

from rerankd.errors import ModelLoadError, UnsupportedModel
from rerankd.families.base import Snapshot
from rerankd.types import JsonObject, JsonValue

TOKENIZER_FILE = "tokenizer.json"
_CONFIG_FILE = "tokenizer_config.json"
_DEFAULT_CLASSES: Mapping[str, str] = {
    "bert": "BertTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
    "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
    "gemma": "GemmaTokenizer",
    "distilbert": "BertTokenizer",
    "electra": "BertTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "gte": "XLMRobertaTokenizer",
}
_FILE_AS_IT_IS = frozenset({"modernbert"})
"""Kinds of models for which the reference takes the file whole, whatever class is named
(transformers/models/auto/tokenization_auto.py `MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS`)."""
_SEGMENT_CLASSES = frozenset({"BertTokenizer", "ElectraTokenizer", "DebertaV2Tokenizer"})
"""Classes whose `model_input_names` hold token_type_ids."""
_BERT_TOKENS = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]"}
_ROBERTA_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
}


@dataclass(frozen=True, slots=True)
class ReferenceTokenizer:
    """A tokenizer without truncation and padding, and what the reference would do around it.

    `segments` tells whether segment ids reach the network; if not, they are all 0. `model_max_length` is None where
    `tokenizer_config.json` sets none. `keeps_end` is true where truncation cuts the beginning.
    """

    tokenizer: Tokenizer
    segments: bool
    model_max_length: int | None
    keeps_end: bool


def load_tokenizer(snapshot: Snapshot) -> ReferenceTokenizer:
    """Read a model's tokenizer.

    Raises:
        UnsupportedModel: there is no tokenizer.json.
        ModelLoadError: a file is damaged.
    """
    if TOKENIZER_FILE not in snapshot.files:
        raise UnsupportedModel(
            f"the model has no {TOKENIZER_FILE}: make it once with "
            "AutoTokenizer.from_pretrained(MODEL).save_pretrained(FOLDER) and put it beside config.json"
        )
    config = read_json(snapshot, _CONFIG_FILE)
    text = (snapshot.folder / TOKENIZER_FILE).read_text("utf-8")
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:
        # tokenizers raises bare Exception; anything of another class is no verdict on the file.
        if type(error) is Exception:
            raise ModelLoadError(f"{TOKENIZER_FILE} cannot be read: fetch the model again") from error
        raise
    named = config.get("tokenizer_class") or snapshot.config.get("tokenizer_class")
    name = str(named or _DEFAULT_CLASSES.get(str(snapshot.config.get("model_type")), "")).removesuffix("Fast")
    if name in _REBUILD and snapshot.config.get("model_type") not in _FILE_AS_IT_IS:
        _REBUILD[name](tokenizer, config, cast("JsonObject", json.loads(text)))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = bool(config.get("split_special_tokens", False))
    inputs = config.get("model_input_names")
    limit = config.get("model_max_length")
    return ReferenceTokenizer(
        tokenizer=tokenizer,
        segments=name in _SEGMENT_CLASSES if not isinstance(inputs, Sequence) else "token_type_ids" in inputs,
        model_max_length=int(limit) if isinstance(limit, int | float) else None,
        keeps_end=config.get("truncation_side") == "left",
    )


def read_json(snapshot: Snapshot, name: str) -> JsonObject:
    """Read one of the model's JSON files that hold an object; {} if there is none.

    Raises:
        ModelLoadError: it is not JSON, or not an object.
    """
    if name not in snapshot.files:
        return {}
    value = _parse(snapshot, name)
    if not isinstance(value, Mapping):
        raise ModelLoadError(f"{name} does not hold a JSON object; fetch the model again")
    return value


def read_list(snapshot: Snapshot, name: str) -> Sequence[JsonValue]:
    """Read one of the model's JSON files that hold a list.

    Raises:
        ModelLoadError: it is missing, not JSON, or not a list.
    """
    value = _parse(snapshot, name)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ModelLoadError(f"{name} does not hold a JSON list; fetch the model again")
    return value


def _parse(snapshot: Snapshot, name: str) -> JsonValue:
    try:
        return cast("JsonValue", json.loads((snapshot.folder / name).read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{name} cannot be read: {type(error).__name__}; fetch the model again") from error


def _rebuild_bert(tokenizer: Tokenizer, config: JsonObject, _file: JsonObject) -> None:
    accents = config.get("strip_accents")
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
        strip_accents=None if accents is None else bool(accents),
        lowercase=bool(config.get("do_lower_case", True)),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokens = _special_tokens(tokenizer, config, _BERT_TOKENS)
    cls, sep = tokens["cls_token"], tokens["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(token, _id(tokenizer, token)) for token in (cls, sep)],
    )


def _rebuild_roberta(tokenizer: Tokenizer, config: JsonObject, _file: JsonObject) -> None:
    add_prefix_space = bool(config.get("add_prefix_space", False))
    # The property takes None; its stub does not say so.
    tokenizer.normalizer = cast("normalizers.Normalizer", None)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokens = _special_tokens(tokenizer, config, _ROBERTA_TOKENS)
    cls, sep = tokens["cls_token"], tokens["sep_token"]
    tokenizer.post_processor = processors.RobertaProcessing(
        (sep, _id(tokenizer, sep)), (cls, _id(tokenizer, cls)), add_prefix_space=add_prefix_space
    )


def _rebuild_sentencepiece(tokenizer: Tokenizer, config: JsonObject, file: JsonObject) -> None:
    charsmap = _charsmap(file.get("normalizer"))
    precompiled = None if charsmap is None else normalizers.Precompiled(base64.b64decode(charsmap))
    tokenizer.normalizer = cast("normalizers.Normalizer", precompiled)
    scheme = "always" if config.get("add_prefix_space", True) else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)]
    )
    tokens = _special_tokens(tokenizer, config, _ROBERTA_TOKENS)
    bos, eos = tokens["bos_token"], tokens["eos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(token, _id(tokenizer, token)) for token in (bos, eos)],
    )


def _rebuild_qwen(tokenizer: Tokenizer, config: JsonObject, _file: JsonObject) -> None:
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False)
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=bool(config.get("add_prefix_space")), use_regex=False)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_])


def _rebuild_gemma(tokenizer: Tokenizer, _config: JsonObject, _file: JsonObject) -> None:
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern=" ", behavior="merged_with_previous", invert=False)


def _rebuild_deberta(tokenizer: Tokenizer, config: JsonObject, _file: JsonObject) -> None:
    steps: list[normalizers.Normalizer] = [normalizers.Lowercase()] if config.get("do_lower_case") else []
    steps += [
        normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
        normalizers.NFC(),
        normalizers.Strip(left=False, right=True),
    ]
    tokenizer.normalizer = normalizers.Sequence(steps)
    scheme = "always" if config.get("add_prefix_space", True) else "first"
    pieces: list[pre_tokenizers.PreTokenizer] = []
    if config.get("split_by_punct"):
        pieces.append(pre_tokenizers.Punctuation(behavior="isolated"))
    pieces.append(pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(pieces)
    tokens = _special_tokens(tokenizer, config, _BERT_TOKENS | {"bos_token": "[CLS]", "eos_token": "[SEP]"})
    cls, sep = tokens["cls_token"], tokens["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(token, _id(tokenizer, token)) for token in (cls, sep)],
    )


_REBUILD: Mapping[str, Callable[[Tokenizer, JsonObject, JsonObject], None]] = {
    "BertTokenizer": _rebuild_bert,
    "ElectraTokenizer": _rebuild_bert,
    "DistilBertTokenizer": _rebuild_bert,
    "RobertaTokenizer": _rebuild_roberta,
    "XLMRobertaTokenizer": _rebuild_sentencepiece,
    "CamembertTokenizer": _rebuild_sentencepiece,
    "DebertaV2Tokenizer": _rebuild_deberta,
    "Qwen2Tokenizer": _rebuild_qwen,
    "GemmaTokenizer": _rebuild_gemma,
}


def _charsmap(normalizer: JsonValue) -> str | None:
    """The first precompiled SentencePiece table among a file's normalisers."""
    if not isinstance(normalizer, Mapping):
        return None
    inner = normalizer.get("normalizers")
    members = inner if isinstance(inner, Sequence) and not isinstance(inner, str) else [normalizer]
    for member in members:
        if isinstance(member, Mapping) and member.get("type") == "Precompiled":
            table = member.get("precompiled_charsmap")
            return table if isinstance(table, str) else None
    return None


def _special_tokens(tokenizer: Tokenizer, config: JsonObject, defaults: Mapping[str, str]) -> Mapping[str, str]:
    """The special tokens by role; those that the file does not list as added tokens are added, as there."""
    found = {role: _content(config.get(role)) or default for role, default in defaults.items()}
    added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    known = [token for token in dict.fromkeys(found.values()) if tokenizer.token_to_id(token) is not None]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in known if token not in added])
    return found


def _content(value: JsonValue) -> str:
    """A token is written as text, or as an object that holds it."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ModelLoadError(f"{TOKENIZER_FILE} has no token {token!r}, which its class needs; fetch the model again")
    return found
