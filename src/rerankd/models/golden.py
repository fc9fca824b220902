"""Known scores of a model's card, compared before the model serves: wrong weights or a wrong template show at once."""

from rerankd.engines.base import Engine
from rerankd.errors import ScoresDisagree
from rerankd.families.base import Reader
from rerankd.registry.catalog import Card


def check_golden(card: Card, reader: Reader, engine: Engine, slack: float = 0.0) -> None:
    """Score the card's pairs; raw scores are compared. `slack` is added to what the card allows: int8 is less exact.

    Raises:
        ScoresDisagree: one is further from the known score than the card allows.
    """
    for known in card.golden:
        work = reader.read(known.query, [known.document])
        found = float(work.score(engine.run(work.encodings))[0])
        if not abs(found - known.score) <= card.golden_tolerance + slack:
            raise ScoresDisagree(
                f"a pair known to score {known.score:g} ({card.golden_source}) scores {found:.4g} here: the files are "
                f"not those of {card.id}, or its template is written wrongly; fetch it again, or serve it as "
                "it is with models.check_golden = false"
            )
