"""The published procedures of causal rerankers, over transformers' own classes, one pair at a time without padding.

Each is written from its source and shares no line with the package: Qwen3-Reranker's model card
(github.com/QwenLM/Qwen3-Embedding, README), mxbai_rerank_v2.py (github.com/mixedbread-ai/mxbai-rerank), and
FlagEmbedding/inference/reranker/decoder_only/base.py (github.com/FlagOpen/FlagEmbedding). Both of the latter cut by
`prepare_for_model(..., truncation="only_second")`, which transformers 5 no longer has: `only_second` stands for it.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer


def only_second(first: list[int], second: list[int], max_length: int) -> list[int]:
    excess = len(first) + len(second) - max_length
    if excess > 0:
        assert len(second) > excess
        second = second[:-excess]
    return first + second


class Qwen3Reference:
    def __init__(self, folder: Path, max_length: int = 8192, *, classifier: bool = False) -> None:
        kind: Any = AutoModelForSequenceClassification if classifier else AutoModelForCausalLM
        self.classifier = classifier
        self.tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), padding_side="left")
        self.model: Any = kind.from_pretrained(str(folder), dtype=torch.float32).eval()
        self.max_length = max_length
        self.token_false_id = self.tokenizer.convert_tokens_to_ids("no")
        self.token_true_id = self.tokenizer.convert_tokens_to_ids("yes")
        prefix = (
            "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct"
            ' provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
        )
        suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        self.prefix_tokens = self.tokenizer.encode(prefix, add_special_tokens=False)
        self.suffix_tokens = self.tokenizer.encode(suffix, add_special_tokens=False)

    def ids(self, query: str, document: str, instruction: str | None = None) -> list[int]:
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
        return self.prefix_tokens + inputs["input_ids"][0] + self.suffix_tokens

    @torch.no_grad()
    def score(self, query: str, document: str, instruction: str | None = None) -> float:
        logits = self.model(input_ids=torch.tensor([self.ids(query, document, instruction)])).logits
        if self.classifier:
            return torch.sigmoid(logits[0, 0]).item()
        last = logits[:, -1, :]
        both = torch.stack([last[:, self.token_false_id], last[:, self.token_true_id]], dim=1)
        return torch.nn.functional.log_softmax(both, dim=1)[:, 1].exp().item()


class MxbaiReference:
    def __init__(self, folder: Path, max_length: int = 8192, estimated_max: float = 12.0) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), padding_side="left")
        self.model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
        self.estimated_max = estimated_max

        def get_input_ids(text: str) -> list[int]:
            return self.tokenizer(text, return_tensors=None, add_special_tokens=False)["input_ids"]

        self.yes_loc, self.no_loc = get_input_ids("1")[0], get_input_ids("0")[0]
        self.task = get_input_ids(
            "You are a search relevance expert who evaluates how well documents match search queries. For each "
            "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
            "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
        )
        self.sep = get_input_ids("\n")
        self.prefix = get_input_ids(
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\n"
        )
        self.suffix = get_input_ids("<|im_end|>\n<|im_start|>assistant\n")
        self.predefined_length = len(self.prefix) + len(self.task) + len(self.suffix) + len(self.sep)
        self.model_max_length = self.model.config.max_position_embeddings
        self.max_length = max_length
        if self.max_length + self.predefined_length > self.model_max_length:
            self.max_length = self.model_max_length - self.predefined_length

    def ids(self, query: str, document: str, instruction: str | None = None) -> list[int]:
        prompt = f"query: {query}"
        if instruction:
            prompt = f"instruction: {instruction}\n{prompt}"
        first = self._cut(prompt, self.max_length * 3 // 4)
        available = self.model_max_length - len(first) - self.predefined_length
        second = self._cut(f"document: {document}", min(available, self.max_length))
        joined = only_second(first, self.sep + second, self.max_length)
        return self.prefix + joined + self.sep + self.task + self.suffix

    @torch.no_grad()
    def score(self, query: str, document: str, instruction: str | None = None) -> float:
        logits = self.model(input_ids=torch.tensor([self.ids(query, document, instruction)])).logits
        raw = logits[:, -1, self.yes_loc] - logits[:, -1, self.no_loc]
        return torch.sigmoid(raw - self.estimated_max / 2).item()

    def _cut(self, text: str, length: int) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, max_length=length, truncation=True)["input_ids"]


class GemmaReference:
    def __init__(self, folder: Path, max_length: int = 1024) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
        self.model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
        self.max_length = max_length
        self.yes_loc = self.tokenizer("Yes", add_special_tokens=False)["input_ids"][0]
        prompt = (
            "Given a query A and a passage B, determine whether the passage contains an answer to the query by "
            "providing a prediction of either 'Yes' or 'No'."
        )
        self.prompt = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        self.sep = self.tokenizer("\n", add_special_tokens=False)["input_ids"]

    def ids(self, query: str, document: str, instruction: str | None = None) -> list[int]:
        first = self._cut(f"A: {query}", self.max_length * 3 // 4)
        second = self._cut(f"B: {document}", self.max_length)
        bos = self.tokenizer.bos_token_id
        if bos is not None and bos != self.tokenizer.pad_token_id:
            first = [bos, *first]
        joined = only_second(first, self.sep + second, self.max_length + len(self.sep) + len(self.prompt))
        return joined + self.sep + self.prompt

    @torch.no_grad()
    def score(self, query: str, document: str, instruction: str | None = None) -> float:
        logits = self.model(input_ids=torch.tensor([self.ids(query, document)])).logits
        return torch.sigmoid(logits[:, -1, self.yes_loc]).item()

    def _cut(self, text: str, length: int) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, max_length=length, truncation=True)["input_ids"]
