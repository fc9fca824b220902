"""A sample of the texts that are asked about, for the log of somebody who asked for it (`logging.sample_texts`)."""

import logging
import random
import re

from rerankd.dialects.base import Call

_DOCUMENTS = 3
_CHARS = 200
_RANDOM = random.SystemRandom()
_logger = logging.getLogger("rerankd.samples")

_PRIVATE = (
    (re.compile(r"(?<=://)[^/@\s]{1,100}@"), "[login]@"),
    (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"), "[email]"),
    # Keys, tokens, digests: long, without a space, letters and digits mixed.
    (re.compile(r"(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,}"), "[key]"),
    # Telephone, card, account and identity numbers: six digits or more, however they are grouped.
    (re.compile(r"\+?\d(?:[ ./()-]{0,2}\d){5,30}[\dXx]?"), "[number]"),
)


def write(call: Call, *, share: float) -> None:
    """Log the call's first request, with the given probability."""
    if not share or _RANDOM.random() >= share:
        return
    request = call.requests[0]
    texts = [redacted(document.text) for document in request.documents[:_DOCUMENTS]]
    _logger.info("sample", extra={"query": redacted(request.query), "documents": texts})


def redacted(text: str) -> str:
    """Return a text's beginning without what names a person or opens a door, as far as patterns can tell."""
    # Cut generously first: patterns over megabytes would hold up everybody.
    text = text[: 4 * _CHARS]
    for pattern, instead in _PRIVATE:
        text = pattern.sub(instead, text)
    return text if len(text) <= _CHARS else text[: _CHARS - 1] + "…"
