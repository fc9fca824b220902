"""Known scores of a model's card, compared before the model serves: wrong weights or a wrong template show at once."""

import logging
import math
from collections.abc import Mapping

import numpy as np

from rerankd.engines.base import Engine
from rerankd.errors import ScoresDisagree
from rerankd.families.base import Reader
from rerankd.registry.catalog import Card
from rerankd.registry.golden import Golden
from rerankd.types import GoldenScores, ScoreType

logger = logging.getLogger(__name__)

_ROUNDING: Mapping[str, float] = {"fp32": 0.0, "fp16": 0.1, "bf16": 0.5}
"""How far a precision may move a logit. Published runs in fp32 and in fp16 of one model are 0.03 apart at most; bf16

keeps eight bits, so that neighbours of 10 are 0.06 apart, in every layer.
"""
_UNMEASURED = 1.0
"""The same for a graph in eight bits or fewer that somebody else made."""
_SHOWN = 60


def check_golden(
    card: Card, reader: Reader, engine: Engine, *, precision: str = "fp32", slack: float = 0.0, refuse: bool = True
) -> GoldenScores | None:
    """Score the card's pairs as the model would be served; None where there is nothing to compare.

    A pair is passed over that does not fit into the limit that was set for this model. `slack` is how far logits were
    measured to be from those of fp32; where it is 0 the `precision` tells.

    Raises:
        ScoresDisagree: one is further from the known score than is allowed, and `refuse` says not to serve it then.
    """
    compared = [
        (known, abs(found - known.score), _allowed(known, precision, slack), found)
        for known in card.golden
        if (found := _score(known, reader, engine)) is not None
    ]
    if not compared:
        return None
    known, difference, allowed, found = max(compared, key=lambda one: _share(one[1], one[2]))
    agree = difference <= allowed
    if not agree:
        complaint = _complaint(card, known, found, allowed)
        if refuse:
            raise ScoresDisagree(
                f"{complaint}. The files are not the published ones, or they are read wrongly: fetch the model again; "
                "serve a model of your own from its own folder; or serve it as it is with models.check_golden = false, "
                f"or for it alone with models.options: {card.id}: check_golden=false"
            )
        logger.warning("%s; it is served because check_golden is false", complaint)
    sources = tuple(dict.fromkeys(known.source for known, *_ in compared))
    return GoldenScores(agree, len(compared), difference, allowed, sources)


def _score(known: Golden, reader: Reader, engine: Engine) -> float | None:
    """Score one pair on the scale of what is known of it; None where it was cut."""
    work = reader.read(known.query, [known.document])
    if work.truncated:
        return None
    raw = work.score(engine.run(work.encodings))
    if known.scale == "logit":
        return float(raw[0])
    if reader.score_type is ScoreType.PROBABILITY:
        return float(reader.activate(raw)[0])
    return float(1 / (1 + np.exp(-raw[0])))


def _allowed(known: Golden, precision: str, slack: float) -> float:
    """Add to a tolerance what the precision of this model adds to that of the known score."""
    here = _ROUNDING.get(precision, _UNMEASURED)
    more = slack or max(0.0, here - _ROUNDING.get(known.precision, _UNMEASURED))
    steepest = 0.25  # of the sigmoid
    return known.tolerance + more * (steepest if known.scale == "probability" else 1.0)


def _share(difference: float, allowed: float) -> float:
    return math.inf if math.isnan(difference) else difference / max(allowed, 1e-9)


def _complaint(card: Card, known: Golden, found: float, allowed: float) -> str:
    return (
        f"a pair known to score {known.score:.5g} ± {allowed:.2g} ({known.scale}; {known.source}) scores {found:.5g} "
        f"with these files of {card.id}: {_short(known.query)!r} with {_short(known.document)!r}"
    )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
