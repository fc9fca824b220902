"""Whose turn it is: which sequences run next. Pure bookkeeping, no threads.

Start-time fair queueing (Goyal, Vin, Cheng, 1996), with tokens as the cost: a job's sequences are placed one after
another on a line of virtual time, beginning where the line stands when the job arrives. The sequence with the lowest
place is next. So a small job behind a huge one takes turns with it instead of waiting for its end, and no job starves.

A job's first tokens are cheaper than the rest: equal turns would make five documents beside four requests of hundreds
take five times as long as alone. With this weight they take about twice as long, and a huge job still gets its share
beside any number of small ones, since what is cheap is not free.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

J = TypeVar("J")

_FIRST_TOKENS = 4096
"""How much of a job is cheap: a usual request, twenty documents of 150 to 200 tokens."""

_WEIGHT = 4
"""How many times a token after those counts. Simulated with two workers, five documents beside four closed loops of
200: the median of the five is 4.4 times that alone with weight 1, 1.9 with 4, 1.5 with 8; the others slow down in turn.
"""


BACKGROUND = 16
"""How many times a token of the background lane counts: beside one job that waits it gets a seventeenth of the machine
(a fifth while that job is past its cheap tokens), and all of it where nobody waits. So it never starves.
"""


@dataclass(slots=True, eq=False)
class Share:
    """One caller's place in virtual time, carried from a job to its next: many small jobs get no more than a big one.

    `weight` multiplies what a token costs.
    """

    weight: int = 1
    place: int = 0
    taken: int = 0

    def spend(self, tokens: int) -> None:
        """Move on by what these tokens cost: the first ones are cheap."""
        cheap = max(0, min(tokens, _FIRST_TOKENS - self.taken))
        self.taken += tokens
        self.place += self.weight * (cheap + _WEIGHT * (tokens - cheap))


@dataclass(slots=True, eq=False)
class _Line(Generic[J]):
    """A job's sequences that wait, in the order they will run; `left` is what they cost together."""

    job: J
    share: Share
    costs: Sequence[int]
    order: Sequence[int]
    left: int
    next: int = 0
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Turn(Generic[J]):
    """One sequence to run: the job it belongs to, its position there, its cost in tokens."""

    job: J
    position: int
    cost: int


@dataclass(slots=True)
class Turns(Generic[J]):
    """Jobs in virtual time. The heap holds one entry per waiting job, so a job of 1,000 costs as little as one of 1."""

    _heap: list[tuple[int, int, _Line[J]]] = field(default_factory=list[tuple[int, int, _Line[J]]])
    _lines: dict[int, _Line[J]] = field(default_factory=dict[int, _Line[J]])
    _now: int = 0
    _arrivals: "count[int]" = field(default_factory=count)

    def add(self, job: J, costs: Sequence[int], share: Share | None = None) -> int:
        """Queue a job of at least one sequence; return a ticket for `cancel`.

        Its longest sequences run first: the short ones at the end keep all workers busy to the last.
        """
        share = share or Share()
        share.place = max(share.place, self._now)
        order = sorted(range(len(costs)), key=lambda i: -costs[i])
        ticket = next(self._arrivals)
        line = _Line(job, share, costs, order, sum(costs))
        self._lines[ticket] = line
        heapq.heappush(self._heap, (share.place, ticket, line))
        return ticket

    def ahead(self, cost: int) -> list[tuple[J, int]]:
        """Estimate what runs before a job of `cost` that came now would end: of every other job as much as of it."""
        return [(line.job, min(line.left, cost)) for line in self._lines.values()]

    def cancel(self, ticket: int) -> int:
        """Take back what has not been given out; return its cost. A ticket that is done or unknown costs nothing."""
        line = self._lines.pop(ticket, None)
        if line is None:
            return 0
        line.cancelled = True
        return line.left

    def peek(self) -> Turn[J] | None:
        """Return the next turn without taking it; None when nothing waits."""
        while self._heap and self._heap[0][2].cancelled:
            heapq.heappop(self._heap)
        if not self._heap:
            return None
        line = self._heap[0][2]
        position = line.order[line.next]
        return Turn(line.job, position, line.costs[position])

    def take(self) -> Turn[J] | None:
        """Take the next turn; None when nothing waits."""
        turn = self.peek()
        if turn is None:
            return None
        place, ticket, line = heapq.heappop(self._heap)
        self._now = place
        line.next += 1
        line.left -= turn.cost
        line.share.spend(turn.cost)
        if line.next < len(line.order):
            heapq.heappush(self._heap, (max(place, line.share.place), ticket, line))
        else:
            del self._lines[ticket]
        return turn

    def __len__(self) -> int:
        return len(self._lines)
