"""Connections that send nothing, or a head byte by byte, are cut: uvicorn itself waits for them without end.

uvicorn's keep-alive timer runs between requests only, and stops at the first byte of the next one. Without this, a
thousand connections that never finish a request line would use up `server.max_connections` for ever.
"""

import time
from collections.abc import Callable, Collection
from typing import Protocol, cast

import uvicorn


class _Cycle(Protocol):
    response_complete: bool


class _Transport(Protocol):
    def abort(self) -> None: ...


class _Connection(Protocol):
    """What uvicorn's protocols have: the last request (None before the first), and the way out."""

    cycle: _Cycle | None
    transport: _Transport


class Reaper:
    """Looked in once a second by uvicorn (`callback_notify`), on its event loop."""

    def __init__(
        self, *, header_timeout_s: float, keep_alive_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._header_timeout_s = header_timeout_s
        self._keep_alive_s = keep_alive_s
        self._now = now
        self._connections: Callable[[], Collection[_Connection]] = tuple
        self._waiting: dict[_Connection, tuple[_Cycle | None, float]] = {}

    def watch(self, server: uvicorn.Server) -> None:
        """Say whose connections."""
        self._connections = lambda: cast("Collection[_Connection]", server.server_state.connections)

    async def __call__(self) -> None:
        """Cut what has been waiting too long: since it was opened, or since its last answer."""
        now = self._now()
        before, self._waiting = self._waiting, {}
        for connection in tuple(self._connections()):
            cycle = connection.cycle
            if cycle is not None and not cycle.response_complete:
                continue
            known, since = before.get(connection, (cycle, now))
            since = since if known is cycle else now
            patience_s = self._header_timeout_s + (0.0 if cycle is None else self._keep_alive_s)
            if now - since > patience_s:
                connection.transport.abort()
            else:
                self._waiting[connection] = cycle, since
