"""Something outside this process that may be slow or gone: asked only while it answers in time."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_PROBE_TIMEOUT_S = 1.0
_QUIET_S = 60.0

_logger = logging.getLogger("rerankd")


class Breaker:
    """Stands between requests and, say, Redis. Lives on one event loop.

    The first question that fails, or has no answer within `timeout_s`, opens it: from then on the answer is
    `otherwise`, at once, while a task asks `probe` again and again, less and less often. When that is answered, it
    closes. So what is slow or gone costs the requests of one moment `timeout_s`, and all others nothing.
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], Awaitable[object]],
        *,
        errors: tuple[type[Exception], ...],
        timeout_s: float,
    ) -> None:
        self._name = name
        self._probe = probe
        self._errors = (*errors, OSError, TimeoutError)
        self._timeout_s = timeout_s
        self._mending: asyncio.Task[None] | None = None
        self._told = True
        self._next_words = 0.0

    @property
    def _level(self) -> int:
        return logging.WARNING if self._told else logging.DEBUG

    @property
    def open(self) -> bool:
        """Whether nothing is asked now."""
        return self._mending is not None

    def connect(self) -> None:
        """Begin by probing: nothing is asked until the first answer."""
        if not self.open:
            self._mending = asyncio.create_task(self._mend(0.0))

    async def ask(self, question: Callable[[], Awaitable[T]], otherwise: T, *, extra_s: float = 0.0) -> T:
        """Return the answer, or `otherwise`. Never raises what the other side can cause.

        `extra_s` is how much longer than usual this answer may take.
        """
        if self.open:
            return otherwise
        try:
            async with asyncio.timeout(self._timeout_s + extra_s):
                return await question()
        except self._errors as error:
            self._trip(error)
            return otherwise

    async def close(self) -> None:
        """Ask no more."""
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.gather(self._mending, return_exceptions=True)

    def _trip(self, error: Exception) -> None:
        if self.open:
            return
        what = (
            f"no answer in {self._timeout_s * 1000:g} ms" if isinstance(error, TimeoutError) else type(error).__name__
        )
        # On a machine that is busy it may come and go: said once a minute.
        self._told = time.monotonic() > self._next_words
        if self._told:
            self._next_words = time.monotonic() + _QUIET_S
        _logger.log(self._level, "%s is not used for now (%s)", self._name, what)
        self._mending = asyncio.create_task(self._mend(_FIRST_PAUSE_S))

    async def _mend(self, pause_s: float) -> None:
        told = pause_s > 0
        while True:
            await asyncio.sleep(pause_s)
            try:
                async with asyncio.timeout(_PROBE_TIMEOUT_S):
                    await self._probe()
            except self._errors as error:
                if not told:
                    _logger.warning("%s cannot be used yet (%s)", self._name, type(error).__name__)
                told = True
                pause_s = min(max(2 * pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
                continue
            self._mending = None
            _logger.log(min(self._level, logging.INFO), "%s is used", self._name)
            return
