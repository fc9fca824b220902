"""Applications over a fake service, called without sockets."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
from blockbuster import blockbuster_ctx

from rerankd.http.app import create_app
from rerankd.http.ports import Service
from rerankd.settings import Settings

QUERY = "What is the capital of France?"
DOCUMENTS = ["bananas are yellow", "Paris is the capital of France", "France is a country", "bananas are yellow"]


@asynccontextmanager
async def opened(service: Service, settings: Settings | None = None) -> AsyncGenerator[httpx2.AsyncClient]:
    """Open a client on an application; from then on a call of ours that blocks the event loop fails the test."""
    transport = httpx2.ASGITransport(app=create_app(service, settings or Settings()))
    with blockbuster_ctx("rerankd"):
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client
