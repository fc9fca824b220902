"""What one key, or one address, may use in a window of time: requests, pairs and tokens.

The window slides, by the usual approximation: what was used in the window before counts by the share of it that the
sliding window still covers. So there is no border at which twice the amount is there at once: in any time of `t` at
most `amount * (1 + t / window) + 1` is let through. Two numbers are kept of a caller, the time to come back is exact if
nothing is used meanwhile, and tokens, which are known only after the fact, can be charged beyond what was left.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

from limits import RateLimitItem, parse

from rerankd.errors import ConfigError, RateLimited, RequestTooLarge
from rerankd.service.counters import Counters, Uses
from rerankd.types import Unit

_A_MOMENT_S = 0.001
_KNOWN_QUOTAS = 1024

_FORM = re.compile(
    r"\s*([1-9]\d*)\s+(requests|pairs|tokens)\s*(?:/|per)\s*((?:[1-9]\d*\s+)?(?:second|minute|hour|day)s?)\s*"
)


@dataclass(frozen=True, slots=True)
class Quota:
    """So many of a unit in a window. `text` is how somebody wrote it."""

    unit: Unit
    item: RateLimitItem
    text: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands with one quota after the last use."""

    quota: Quota
    uses: Uses

    @property
    def remaining(self) -> int:
        """What is left; below 0 where more was charged than there was."""
        window_s = self.quota.item.get_expiry()
        return self.quota.item.amount - self.uses.current - int(self.uses.previous * (1 - self.uses.into_s / window_s))

    @property
    def reset_s(self) -> float:
        """Seconds until all is there again."""
        return self.wait_s(self.quota.item.amount)

    def wait_s(self, amount: int) -> float:
        """Return the seconds until so much can be used, at most what a window holds, if nothing is used meanwhile."""
        if amount <= self.remaining:
            return 0.0
        window_s = self.quota.item.get_expiry()
        room = self.quota.item.amount - amount
        if room >= self.uses.current:
            return _faded_s(self.uses.previous, room - self.uses.current, window_s) - self.uses.into_s + _A_MOMENT_S
        return window_s - self.uses.into_s + _faded_s(self.uses.current, room, window_s) + _A_MOMENT_S


def _faded_s(uses: int, room: int, window_s: int) -> float:
    """Return how far into the window after it a window's uses count for no more than `room`, in whole ones."""
    return window_s * max(0.0, 1 - (room + 1) / uses)


@lru_cache(_KNOWN_QUOTAS)
def read_quota(text: str) -> Quota:
    """Read "600 requests/minute", "100000 pairs/hour", "5 requests per 10 seconds".

    Raises:
        ConfigError: it is none.
    """
    found = _FORM.fullmatch(text.lower())
    if not found:
        raise ConfigError(f"limit {text!r} is none: write a number, requests, pairs or tokens, and a time, "
                          "such as 600 requests/minute")  # fmt: skip
    return Quota(Unit(found[2]), parse(f"{found[1]} per {found[3]}"), f"{found[1]} {found[2]}/{found[3]}")


class Quotas:
    """The quotas of a server, and where uses are counted."""

    def __init__(self, counters: Counters, *, per_key: Sequence[Quota] = (), per_address: Sequence[Quota] = ()) -> None:
        self._counters = counters
        self._per_key = tuple(per_key)
        self._per_address = tuple(per_address)

    def account(self, address: str) -> "Account":
        """Open the account of one call; "" is an address that is not known."""
        claims = [_Claim(quota, ("address", address)) for quota in self._per_address if address]
        return Account(self._counters, self._per_key, claims)

    async def close(self) -> None:
        """Let go of the counters."""
        await self._counters.close()


@dataclass(frozen=True, slots=True)
class _Claim:
    quota: Quota
    holder: tuple[str, str]

    @property
    def counter(self) -> str:
        return self.quota.item.key_for(*self.holder, self.quota.unit.value)


@dataclass(slots=True)
class Account:
    """One call's uses. `standings` tells how its caller stands with each quota that was touched."""

    _counters: Counters
    _per_key: Sequence[Quota]
    _claims: list[_Claim]
    standings: dict[str, Standing] = field(default_factory=dict[str, Standing])

    async def identify(self, key: str, own: Sequence[str] = ()) -> None:
        """Charge the key, too, from now on; its request at once.

        `own` are quotas of this key alone; of the units that they speak of, those of all keys do not hold for it.

        Raises:
            RateLimited: it has none left.
            ConfigError: one of its own is no quota.
        """
        quotas = [read_quota(text) for text in own]
        units = {quota.unit for quota in quotas}
        quotas += [quota for quota in self._per_key if quota.unit not in units]
        claims = [_Claim(quota, ("key", key)) for quota in quotas]
        self._claims += claims
        await self._take([claim for claim in claims if claim.quota.unit is Unit.REQUESTS], 1)

    async def take(self, unit: Unit, amount: int) -> None:
        """Use an amount, or nothing of it.

        Raises:
            RateLimited: it is more than is left; it says when so much is there again.
            RequestTooLarge: it is more than any window holds.
        """
        await self._take([claim for claim in self._claims if claim.quota.unit is unit], amount)

    async def _take(self, claims: Sequence[_Claim], amount: int) -> None:
        for claim in claims:
            if amount > claim.quota.item.amount:
                raise RequestTooLarge(
                    f"{amount} {claim.quota.unit} at once, and {claim.quota.text} are allowed: send fewer at once"
                )
        await self._use(claims, amount)
        spent = [claim for claim in claims if self.standings[claim.counter].remaining < 0]
        if spent:
            await self._use(claims, -amount)
            self._refuse(spent, amount)

    async def check(self, unit: Unit) -> None:
        """Make sure that something is left, where the amount is not known yet.

        Raises:
            RateLimited: nothing is.
        """
        claims = [claim for claim in self._claims if claim.quota.unit is unit]
        await self._use(claims, 0)
        spent = [claim for claim in claims if self.standings[claim.counter].remaining <= 0]
        if spent:
            self._refuse(spent, 1)

    async def charge(self, unit: Unit, amount: int) -> None:
        """Use an amount that has been used already, whatever is left."""
        await self._use([claim for claim in self._claims if claim.quota.unit is unit], amount)

    async def _use(self, claims: Sequence[_Claim], amount: int) -> None:
        await asyncio.gather(*map(partial(self._use_one, amount=amount), claims))

    async def _use_one(self, claim: _Claim, amount: int) -> None:
        uses = await self._counters.add(claim.counter, amount, window_s=claim.quota.item.get_expiry())
        self.standings[claim.counter] = Standing(claim.quota, uses)

    def _refuse(self, spent: Sequence[_Claim], amount: int) -> None:
        standing = max((self.standings[claim.counter] for claim in spent), key=lambda standing: standing.wait_s(amount))
        wait_s = max(standing.wait_s(amount), _A_MOMENT_S)
        raise RateLimited(
            f"{standing.quota.text} are allowed, and they are used up: come back in {wait_s:.0f} s",
            retry_after_s=wait_s,
        )
