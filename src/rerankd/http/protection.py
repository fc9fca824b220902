"""What browsers are told, and which of their pages may call: security headers on every answer, CORS off by default."""

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    # The pages' own scripts and styles; nothing from elsewhere, and no other page around them.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    ),
}
_NOT_STORED = "no-store"
_TOLD = ("x-request-id", "retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy")
_PREFLIGHT_S = 600


class SecurityHeaders:
    """Adds the headers to whatever is answered. Answers are the caller's alone: no cache keeps them by default."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; only HTTP answers are touched."""

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", _NOT_STORED)
            await send(message)

        await self._app(scope, receive, send_more if scope["type"] == "http" else send)


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of these origins call with whatever headers they send; none by default."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=list(_TOLD),
            max_age=_PREFLIGHT_S,
        )
