"""How the time is spent: how many requests a cell gets, and which cells do not fit."""

from collections.abc import Sequence
from dataclasses import dataclass

ROUNDS = 3
_TOLERANCE = 2.5  # a cell may take that many times its share of the time before it is left out


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds of so many requests each; `rounds` 0: the cell is left out, and `seconds` is what it would have taken."""

    rounds: int
    requests: int
    seconds: float


def plan_cell(documents: float, clients: int, speeds: Sequence[float], budget_s: float, *, insist: bool) -> Plan:
    """Fill a budget; never fewer requests in a round than clients, or they would not all be there at once.

    `speeds` are the targets' pairs per second. `insist`: the user named this cell, so it is measured whatever it takes.
    """
    per_request = sum(documents / speed for speed in speeds)
    least = per_request * clients
    rounds = min(ROUNDS, max(1, int(budget_s / least)))
    requests = max(clients, int(budget_s / rounds / per_request))
    seconds = rounds * requests * per_request
    if seconds > _TOLERANCE * budget_s and not insist:
        return Plan(0, 0, seconds)
    return Plan(rounds, requests, seconds)
