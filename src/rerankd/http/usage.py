"""Limits per key and per address at the rim: who is charged, and the headers that tell a caller how it stands."""

import ipaddress
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from rerankd.settings import LimitsSettings
from rerankd.types import Caller, Unit

if TYPE_CHECKING:
    from rerankd.service.quotas import Quotas, Standing

_IPV6_SITE_BITS = 64
"""A home or a virtual machine usually has all addresses of such a network."""


def open_quotas(settings: LimitsSettings, *, keys_may_have_own: bool = False) -> "Quotas | None":
    """Read the quotas of the settings; None where there are none and can be none, so that nothing is counted.

    Raises:
        ConfigError: one of them, or the place to count in, cannot be understood.
    """
    if not settings.per_key and not settings.per_address and not keys_may_have_own:
        return None
    # Only now: the library is a tenth of a second of a start.
    from rerankd.service.counters import open_counters
    from rerankd.service.quotas import Quotas, read_quota

    per_key = [read_quota(text) for text in settings.per_key]
    per_address = [read_quota(text) for text in settings.per_address]
    return Quotas(open_counters(settings.storage), per_key=per_key, per_address=per_address)


class Meter:
    """What one call uses. Without quotas it does nothing."""

    def __init__(self, quotas: "Quotas | None" = None, address: str = "") -> None:
        self._account = quotas.account(address) if quotas is not None else None

    async def admit(self, who: Callable[[], Caller]) -> Caller:
        """Count the call for its address, then for the key that `who` finds; so wrong keys are counted, too.

        Raises:
            RateLimited: one of them has none left.
            RerankError: what `who` raises.
        """
        if self._account is None:
            return who()
        await self._account.take(Unit.REQUESTS, 1)
        caller = who()
        if not caller.anonymous:
            await self._account.identify(caller.name, caller.limits)
        return caller

    async def take_pairs(self, pairs: int) -> None:
        """Count the pairs that are about to be scored, and make sure that tokens are left.

        Raises:
            RateLimited, RequestTooLarge: see `Account.take`.
        """
        if self._account is not None:
            await self._account.check(Unit.TOKENS)
            await self._account.take(Unit.PAIRS, pairs)

    async def settle(self, response: Response, tokens: int) -> Response:
        """Charge the tokens that were read, and tell the caller how it stands."""
        if self._account is not None:
            await self._account.charge(Unit.TOKENS, tokens)
            response.headers.update(headers(tuple(self._account.standings.values())))
        return response


def address_of(request: Request) -> str:
    """Return the caller's IPv4 address or IPv6 network; "" where there is none, as on a Unix socket."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_SITE_BITS), strict=False))


def headers(standings: "Sequence[Standing]") -> Mapping[str, str]:
    """Write `RateLimit-*` (draft-ietf-httpapi-ratelimit-headers, versions 3 to 6) and the same as `X-RateLimit-*`.

    The numbers are those of the quota of which least is left; times are seconds from now.
    """
    if not standings:
        return {}
    tightest = min(standings, key=lambda each: (each.remaining / each.quota.item.amount, -each.reset_s))
    numbers = {
        "limit": str(tightest.quota.item.amount),
        "remaining": str(max(tightest.remaining, 0)),
        "reset": str(math.ceil(tightest.reset_s)),
    }
    policy = ", ".join(dict.fromkeys(
        f'{each.quota.item.amount};w={each.quota.item.get_expiry()};comment="{each.quota.unit}"' for each in standings
    ))  # fmt: skip
    plain = {f"ratelimit-{name}": value for name, value in numbers.items()}
    return {**plain, **{f"x-{name}": value for name, value in plain.items()}, "ratelimit-policy": policy}
