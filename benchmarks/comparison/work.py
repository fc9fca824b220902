"""The requests that everybody gets: rerankd's own bench makes them; here they are fitted to the models' limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from comparison import shapes
from rerankd.bench.requests import BenchRequest, RequestMaker
from rerankd.bench.texts import ModelTexts, open_texts

_MOST_PAIR_TOKENS = 510
"""Two below the limit of 512: infinity's optimum engine cuts XLM-R at 514, one position more than there are."""


@dataclass(frozen=True, slots=True)
class Work:
    """Requests for one model, and the tokens that the network reads for them without padding."""

    requests: Sequence[BenchRequest]
    lengths: Sequence[Sequence[int]]
    flops: int | None
    """Floating-point operations of the full model; None where they are not known."""

    @property
    def tokens(self) -> int:
        """Tokens of all pairs."""
        return sum(map(sum, self.lengths))

    @property
    def pairs(self) -> int:
        """Pairs of all requests."""
        return sum(len(request.documents) for request in self.requests)


def make(model: str, *, documents: int, count: int, first: int = 0, doc_tokens: int | None = None) -> Work:
    """Make `count` requests of so many documents for a model; `first` is the number of the first of them."""
    texts = _texts(model)
    maker = RequestMaker(seed=1, doc_tokens=doc_tokens, count=texts.count)
    requests = [_fit(request, texts) for request in maker.batch(documents, first, count)]
    lengths = [texts.lengths(request) for request in requests]
    flops = texts.shape.flops(tokens for listed in lengths for tokens in listed) if texts.shape else None
    return Work(requests, lengths, flops)


def _fit(request: BenchRequest, texts: ModelTexts) -> BenchRequest:
    """Shorten documents whose pair would be cut: cutting differs between servers, and is not what is compared."""
    around = texts.count(request.query) + 4
    return BenchRequest(request.query, tuple(_shorten(text, texts, around) for text in request.documents))


def _shorten(text: str, texts: ModelTexts, around: int) -> str:
    while texts.count(text) + around > _MOST_PAIR_TOKENS:
        text = text[: len(text) * 9 // 10]
    return text


@cache
def _texts(model: str) -> ModelTexts:
    return open_texts(shapes.reference(model))
