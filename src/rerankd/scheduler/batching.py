"""Whose turn it is: which sequences run next. Pure bookkeeping, no threads.

Start-time fair queueing (Goyal, Vin, Cheng, 1996), with tokens as the cost: a job's sequences are placed one after
another on a line of virtual time, beginning where the line stands when the job arrives. The sequence with the lowest
place is next. So a small job behind a huge one takes turns with it instead of waiting for its end, and no job starves.

A job's first tokens are cheaper than the rest: equal turns would make five documents beside four requests of hundreds
take five times as long as alone. With this weight they take about twice as long, and a huge job still gets its share
beside any number of small ones, since what is cheap is not free.

Jobs stand in groups (models), and a group may be bounded: so many batches of it at once, each taking so many cores. A
job whose group is at its bound is passed over, and gets no credit for that: its group's places move on with the line,
all by as much, so that the order within the group stays.
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


@dataclass(frozen=True, slots=True)
class Bound:
    """How much of the machine one model may take: batches `at_once` (0: any number), each on `cores` of the cores."""

    at_once: int = 0
    cores: int = 1


UNBOUNDED = Bound()


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


_Waiting = list[tuple[int, int, _Line[J]]]


@dataclass(slots=True, eq=False)
class _Group(Generic[J]):
    """One model's jobs. Its heap holds one entry per waiting job, with places less `shift`."""

    heap: _Waiting[J] = field(default_factory=list[tuple[int, int, _Line[J]]])
    bound: Bound = UNBOUNDED
    shift: int = 0
    running: int = 0

    def head(self) -> tuple[int, int, _Line[J]] | None:
        """Return place, ticket and line of the job that is next here; what was cancelled goes."""
        while self.heap and self.heap[0][2].cancelled:
            heapq.heappop(self.heap)
        if not self.heap:
            return None
        place, ticket, line = self.heap[0]
        return place + self.shift, ticket, line

    def push(self, place: int, ticket: int, line: _Line[J]) -> None:
        heapq.heappush(self.heap, (place - self.shift, ticket, line))

    @property
    def full(self) -> bool:
        """Whether as much of it runs as may."""
        return 0 < self.bound.at_once <= self.running


class Turns(Generic[J]):
    """Jobs in virtual time. A job of 1,000 sequences costs as little as one of 1, and groups are few."""

    def __init__(self, cores: int = 1) -> None:
        """`cores` are what `Bound.cores` is taken from."""
        self._cores = cores
        self._groups: dict[str, _Group[J]] = {}
        self._lines: dict[int, _Line[J]] = {}
        self._now = 0
        self._arrivals = count()

    def add(
        self, job: J, costs: Sequence[int], share: Share | None = None, *, group: str = "", bound: Bound = UNBOUNDED
    ) -> int:
        """Queue a job of at least one sequence; return a ticket for `cancel`.

        Its longest sequences run first: the short ones at the end keep all workers busy to the last. `bound` is its
        group's from now on.
        """
        share = share or Share()
        share.place = max(share.place, self._now)
        order = sorted(range(len(costs)), key=lambda i: -costs[i])
        ticket = next(self._arrivals)
        line = _Line(job, share, costs, order, sum(costs))
        self._lines[ticket] = line
        home = self._groups.setdefault(group, _Group())
        home.bound = bound
        home.push(share.place, ticket, line)
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
        """Return the next turn without taking it; None when nothing waits that may run now."""
        found = self._next()
        return _turn(found[2]) if found else None

    def take(self) -> Turn[J] | None:
        """Take the next turn; None when nothing waits that may run now."""
        found = self._next()
        if found is None:
            return None
        place, ticket, line, group = found
        turn = _turn(line)
        heapq.heappop(group.heap)
        self._now = place
        line.next += 1
        line.left -= turn.cost
        line.share.place = max(line.share.place, place)
        line.share.spend(turn.cost)
        if line.next < len(line.order):
            group.push(line.share.place, ticket, line)
        else:
            del self._lines[ticket]
        return turn

    def began(self, group: str) -> None:
        """Note that a batch of a group runs from now on."""
        self._groups[group].running += 1

    def ended(self, group: str) -> None:
        """Note that it does no longer."""
        home = self._groups[group]
        home.running -= 1
        if not home.running and not home.heap:
            del self._groups[group]

    @property
    def bounded(self) -> bool:
        """Whether a turn may wait for more than a worker: one that finds none may have to be woken again."""
        return any(group.bound != UNBOUNDED for group in self._groups.values())

    def _next(self) -> tuple[int, int, _Line[J], _Group[J]] | None:
        """Find whose turn it is among those that may run. Where that one needs more cores than are free, all wait."""
        first: tuple[int, int, _Line[J], _Group[J]] | None = None
        for group in self._groups.values():
            head = None if group.full else group.head()
            if head is None:
                continue
            place, ticket, line = head
            if place < self._now:  # it was passed over meanwhile
                group.shift += self._now - place
                place = self._now
            if first is None or (place, ticket) < first[:2]:
                first = (place, ticket, line, group)
        if first is None:
            return None
        taken = sum(group.running * group.bound.cores for group in self._groups.values())
        return None if taken and taken + first[3].bound.cores > self._cores else first

    def __len__(self) -> int:
        return len(self._lines)


def _turn(line: _Line[J]) -> Turn[J]:
    position = line.order[line.next]
    return Turn(line.job, position, line.costs[position])
