"""What a caller may say in headers whatever API it speaks: how long it waits, what then, and how much it hurries."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from rerankd.errors import InvalidRequest
from rerankd.types import Lane, OnDeadline, RerankRequest

TIMEOUT = "x-request-timeout"
ON_DEADLINE = "x-rerankd-on-deadline"
PRIORITY = "x-rerankd-priority"

_SHOWN = 40

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Wishes:
    """Headers, read. None: the header was not sent, and what the body says holds."""

    timeout_s: float | None = None
    on_deadline: OnDeadline | None = None
    lane: Lane | None = None

    def applied(self, request: RerankRequest, left_s: float) -> RerankRequest:
        """Say in a request what the headers say; `left_s` is what remains of the time for the whole call.

        Where nobody says how long the caller waits, it stays unsaid: a cascade then takes less than a call may.
        """
        said = self.timeout_s is not None or request.deadline_s is not None
        return replace(
            request,
            deadline_s=min(request.deadline_s or left_s, left_s) if said else None,
            left_s=left_s,
            on_deadline=self.on_deadline or request.on_deadline,
            lane=self.lane or request.lane,
        )


def read_wishes(headers: Mapping[str, str]) -> Wishes:
    """Read the headers; their names are matched in any case by the mapping.

    Raises:
        InvalidRequest: one of them says nothing that is known here.
    """
    return Wishes(_seconds(headers), _word(headers, ON_DEADLINE, OnDeadline), _word(headers, PRIORITY, Lane))


def _seconds(headers: Mapping[str, str]) -> float | None:
    sent = headers.get(TIMEOUT, "").strip()
    if not sent:
        return None
    try:
        seconds = float(sent.removesuffix("s"))
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidRequest(f"the header {TIMEOUT} must be seconds above 0, got {sent[:_SHOWN]!r}", field=TIMEOUT)
    return seconds


def _word(headers: Mapping[str, str], name: str, words: type[E]) -> E | None:
    sent = headers.get(name, "").strip().lower()
    if not sent:
        return None
    if sent not in set(words):
        allowed = " or ".join(word.value for word in words)
        raise InvalidRequest(f"the header {name} must be {allowed}, got {sent[:_SHOWN]!r}", field=name)
    return words(sent)
