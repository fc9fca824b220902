"""Which model to take: cards, a machine's speed, and what is wanted, to an order with reasons. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rerankd.registry.catalog import Card

_MEASURES = {
    "zh": ("CMTEB-R, top 100 of Qwen3-Embedding-0.6B", "C-MTEB reranking, mean of 6"),
    "en": ("MTEB(eng, v2) retrieval, NDCG@10", "BEIR, NDCG@10, 17 sets"),
}
"""The published figures that are compared, per language: two models by the first that both have."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A language, how many documents of how many tokens (query included), how soon, and in how many bytes."""

    lang: str
    documents: int
    tokens: int
    latency_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Advice:
    """One model: what a request would take, whether that is soon enough and fits, and what speaks for and against."""

    card: Card
    latency_s: float
    fits: bool
    figure: float | None
    reasons: tuple[str, ...]


def advise(
    cards: Sequence[Card], wanted: Wanted, operations_per_s: float, measured: Mapping[str, float] | None = None
) -> list[Advice]:
    """Order the models for a language: those in time first, the best published figure first among them.

    `operations_per_s` is what this machine reaches in a network that is served, two operations a multiply-add;
    `measured` has the same for models, by id, that were measured themselves. The
    time is documents * tokens * 2 * active parameters / that; attention, which grows with length, is left out, so long
    documents take longer. A model without a known size is left out.
    """
    measure = _common_measure(cards, wanted.lang)
    rates = measured or {}
    found = [
        _judge(card, wanted, rates.get(card.id, operations_per_s), measure)
        for card in cards
        if _speaks(card, wanted.lang)
    ]
    known = [one for one in found if one is not None]
    return sorted(known, key=lambda one: (not one.fits, -(one.figure or 0.0), one.latency_s))


def _judge(card: Card, wanted: Wanted, rate: float, measure: str) -> Advice | None:
    active = card.active_millions or card.parameters_millions
    if active is None or card.parameters_millions is None:
        return None
    seconds = wanted.documents * wanted.tokens * 2 * active * 1e6 / rate
    room = card.parameters_millions * 4e6
    in_time, in_memory = seconds <= wanted.latency_s, room < wanted.memory_bytes
    reasons = [f"about {seconds:.2g} s for {wanted.documents} documents of {wanted.tokens} tokens"]
    reasons += [] if in_time else [f"later than the {wanted.latency_s:g} s wanted"]
    reasons += [] if in_memory else [f"its weights take {room / 1e9:.1f} GB in fp32, more than there is"]
    figure = _figure(card, measure)
    reasons.append(f"{measure}: {figure:g}" if figure is not None else _otherwise(card, wanted.lang))
    reasons += ["not for commercial use"] if "NC" in card.licence else []
    reasons += ["in the package, nothing to download"] if card.source.source == "bundled" else []
    return Advice(card, seconds, in_time and in_memory, figure, tuple(reasons))


def _otherwise(card: Card, lang: str) -> str:
    """What is published of a card by another measure, which nothing here can be compared by."""
    for measure in _MEASURES.get(lang, _MEASURES["en"]):
        figure = _figure(card, measure)
        if figure is not None:
            return f"{measure}: {figure:g}, another measure than the others'"
    return "no published figure to compare by"


def _speaks(card: Card, lang: str) -> bool:
    return not lang or lang in card.languages or "multilingual" in card.languages


def _common_measure(cards: Sequence[Card], lang: str) -> str:
    """The measure of a language that most cards have; English ones for languages without any."""
    measures = _MEASURES.get(lang, _MEASURES["en"])
    return max(measures, key=lambda measure: sum(_figure(card, measure) is not None for card in cards))


def _figure(card: Card, measure: str) -> float | None:
    row = card.quality.get(measure)
    value = row.get("figure") if isinstance(row, dict) else None
    return float(value) if isinstance(value, int | float) else None
