"""The published procedures of causal rerankers, over transformers' own classes, one pair at a time without padding.

Each is written from its source and shares no line with the families it judges: Qwen3-Reranker's model card
(github.com/QwenLM/Qwen3-Embedding, README), mxbai_rerank_v2.py (github.com/mixedbread-ai/mxbai-rerank), and
FlagEmbedding/inference/reranker/decoder_only/base.py (github.com/FlagOpen/FlagEmbedding). Both of the latter cut by
`prepare_for_model(..., truncation="only_second")`, which transformers 5 no longer has: `only_second` stands for it.
`max_length` is each procedure's own parameter of that name.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

_QWEN3_PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct"
    ' provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
_QWEN3_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
_MXBAI_TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. For each "
    "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
    "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
)
_MXBAI_PREFIX = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n"
)
_GEMMA_PROMPT = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the query by "
    "providing a prediction of either 'Yes' or 'No'."
)


class CausalReference(Protocol):
    """One procedure, loaded for one model."""

    def ids(self, query: str, document: str, instruction: str | None = None) -> list[int]:
        """The tokens of a pair."""
        ...

    def score(self, query: str, document: str, instruction: str | None = None) -> float:
        """The probability of relevance."""
        ...


class Qwen3Reference:
    """Qwen3-Reranker. `classifier`: the conversion to one label."""

    def __init__(self, folder: Path, max_length: int = 8192, *, classifier: bool = False) -> None:
        self.classifier = classifier
        self.tokenizer, self.model = _load(folder, classifier=classifier, padding_side="left")
        self.max_length = max_length
        self.token_false_id: int = self.tokenizer.convert_tokens_to_ids("no")
        self.token_true_id: int = self.tokenizer.convert_tokens_to_ids("yes")
        self.prefix_tokens: list[int] = self.tokenizer.encode(_QWEN3_PREFIX, add_special_tokens=False)
        self.suffix_tokens: list[int] = self.tokenizer.encode(_QWEN3_SUFFIX, add_special_tokens=False)

    def ids(self, query: str, document: str, instruction: str | None = None) -> list[int]:
        """As `format_instruction` and `process_inputs` of the model card."""
        if instruction is None:
            instruction = "Given a web search query, retrieve relevant passages that answer the query"
        text = f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"
        inputs = self.tokenizer(
            [text],
            padding=False,
            truncation="longest_first",
            return_attention_mask=False,
            max_length=self.max_length - len(self.prefix_tokens) - len(self.suffix_tokens),
        )
        return self.prefix_tokens + cast("list[int]", inputs["input_ids"][0]) + self.suffix_tokens

    def score(self, query: str, document: str, instruction: str | None = None) -> float:
        """As `compute_logits` of the model card."""
        logits = _logits(self.model, self.ids(query, document, instruction))
        if self.classifier:
            return float(logits[0, 0].sigmoid())
        last = logits[0, -1]
        return float(last[[self.token_false_id, self.token_true_id]].log_softmax(0)[1].exp())


class MxbaiReference:
    """mxbai-rerank v2, `predict(normalize=True)`."""

    def __init__(self, folder: Path, max_length: int = 8192, estimated_max: float = 12.0) -> None:
        self.tokenizer, self.model = _load(folder, padding_side="left")
        self.estimated_max = estimated_max
        self.yes_loc, self.no_loc = self._ids("1")[0], self._ids("0")[0]
        self.task, self.sep, self.prefix = self._ids(_MXBAI_TASK), self._ids("\n"), self._ids(_MXBAI_PREFIX)
        self.suffix = self._ids("<|im_end|>\n<|im_start|>assistant\n")
        self.predefined_length = len(self.prefix) + len(self.task) + len(self.suffix) + len(self.sep)
        self.model_max_length: int = self.model.config.max_position_embeddings
        self.max_length = max_length
        if self.max_length + self.predefined_length > self.model_max_length:
            self.max_length = self.model_max_length - self.predefined_length

    def ids(self, query: str, document: str, instruction: str | None = None) -> list[int]:
        """As `prepare_inputs`."""
        prompt = f"query: {query}"
        if instruction:
            prompt = f"instruction: {instruction}\n{prompt}"
        first = _cut(self.tokenizer, prompt, self.max_length * 3 // 4)
        available = self.model_max_length - len(first) - self.predefined_length
        second = _cut(self.tokenizer, f"document: {document}", min(available, self.max_length))
        joined = only_second(first, self.sep + second, self.max_length)
        return self.prefix + joined + self.sep + self.task + self.suffix

    def score(self, query: str, document: str, instruction: str | None = None) -> float:
        """As `forward` and `normalize_scores`."""
        last = _logits(self.model, self.ids(query, document, instruction))[0, -1]
        return float((last[self.yes_loc] - last[self.no_loc] - self.estimated_max / 2).sigmoid())

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, return_tensors=None, add_special_tokens=False)["input_ids"]


class GemmaReference:
    """bge-reranker-v2-gemma, `compute_score(normalize=True)`."""

    def __init__(self, folder: Path, max_length: int = 1024) -> None:
        self.tokenizer, self.model = _load(folder)
        self.max_length = max_length
        self.yes_loc: int = self.tokenizer("Yes", add_special_tokens=False)["input_ids"][0]
        self.prompt: list[int] = self.tokenizer(_GEMMA_PROMPT, add_special_tokens=False)["input_ids"]
        self.sep: list[int] = self.tokenizer("\n", add_special_tokens=False)["input_ids"]

    def ids(self, query: str, document: str, instruction: str | None = None) -> list[int]:
        """As `compute_score_single_gpu`; there is no instruction."""
        del instruction
        first = _cut(self.tokenizer, f"A: {query}", self.max_length * 3 // 4)
        second = _cut(self.tokenizer, f"B: {document}", self.max_length)
        bos = self.tokenizer.bos_token_id
        if bos is not None and bos != self.tokenizer.pad_token_id:
            first = [bos, *first]
        joined = only_second(first, self.sep + second, self.max_length + len(self.sep) + len(self.prompt))
        return joined + self.sep + self.prompt

    def score(self, query: str, document: str, instruction: str | None = None) -> float:
        """The sigmoid of the logit of "Yes"."""
        return float(_logits(self.model, self.ids(query, document, instruction))[0, -1, self.yes_loc].sigmoid())


def open_reference(family: str, folder: Path, config: Mapping[str, object], max_tokens: int) -> CausalReference:
    """Load a family's procedure, bound so that its longest sequence has `max_tokens`.

    Raises:
        LookupError: it has none here.
    """
    return _OPEN[family](folder, config, max_tokens)


def only_second(first: list[int], second: list[int], max_length: int) -> list[int]:
    """Cut the second of two sequences to what the first leaves."""
    excess = len(first) + len(second) - max_length
    return first + (second[:-excess] if 0 < excess < len(second) else second)


def _open_qwen3(folder: Path, config: Mapping[str, object], max_tokens: int) -> CausalReference:
    classifier = "Qwen3ForSequenceClassification" in str(config.get("architectures"))
    return Qwen3Reference(folder, max_tokens, classifier=classifier)


def _open_mxbai(folder: Path, config: Mapping[str, object], max_tokens: int) -> CausalReference:
    # The package knows the base model by its repository's name, which a folder does not have.
    reference = MxbaiReference(folder, estimated_max=9.0 if config.get("hidden_size") == 896 else 12.0)
    reference.max_length = max_tokens - reference.predefined_length
    return reference


def _open_gemma(folder: Path, config: Mapping[str, object], max_tokens: int) -> CausalReference:
    del config
    reference = GemmaReference(folder)
    reference.max_length = max_tokens - 2 * (len(reference.sep) + len(reference.prompt))
    return reference


_OPEN: Mapping[str, Callable[[Path, Mapping[str, object], int], CausalReference]] = {
    "qwen3": _open_qwen3,
    "mxbai_v2": _open_mxbai,
    "bge_gemma": _open_gemma,
}


def _load(folder: Path, *, classifier: bool = False, **options: str) -> tuple[Any, Any]:
    library: Any = import_module("transformers")
    torch: Any = import_module("torch")
    kind = library.AutoModelForSequenceClassification if classifier else library.AutoModelForCausalLM
    tokenizer = library.AutoTokenizer.from_pretrained(str(folder), local_files_only=True, **options)
    return tokenizer, kind.from_pretrained(str(folder), dtype=torch.float32, local_files_only=True).eval()


def _logits(model: Any, ids: list[int]) -> Any:
    torch: Any = import_module("torch")
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits


def _cut(tokenizer: Any, text: str, length: int) -> list[int]:
    return tokenizer(text, add_special_tokens=False, max_length=length, truncation=True)["input_ids"]
