"""An application over a fake service; a test that uses it fails if our code blocks the event loop."""

from collections.abc import AsyncGenerator

import httpx2
import pytest

from fake_service import FakeService
from http_app import opened


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
async def http(service: FakeService) -> AsyncGenerator[httpx2.AsyncClient]:
    async with opened(service) as client:
        yield client
