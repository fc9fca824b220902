"""What the HTTP rim needs of the service behind it."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from rerankd.metrics import Metrics
from rerankd.service.operator import Operator
from rerankd.types import Caller, Health, ModelInfo, Ranking, RerankRequest


class Service(Protocol):
    """Ranks documents with the models it serves. Made and used on one event loop."""

    @property
    def metrics(self) -> Metrics:
        """Where the rim counts, too."""
        ...

    @property
    def health(self) -> Health:
        """Whether requests should come."""
        ...

    @property
    def beyond_help(self) -> bool:
        """Only a new process helps."""
        ...

    @property
    def operator(self) -> Operator | None:
        """What changes its models while it serves; None where nothing does."""
        ...

    def drain(self) -> None:
        """Say from now on that no more requests should come; those that do are still answered."""
        ...

    async def rerank(self, request: RerankRequest, caller: Caller) -> Ranking:
        """Answer one request.

        Raises:
            RerankError: it cannot; the kind says why.
        """
        ...

    def models(self) -> Sequence[ModelInfo]:
        """All served models, the default first."""
        ...

    def model(self, name: str) -> ModelInfo:
        """Find one by any of its names; "" is the default.

        Raises:
            ModelNotFound: none has that name.
        """
        ...

    async def start(self) -> None:
        """Begin to load the models; returns at once."""
        ...

    async def close(self) -> None:
        """Stop; requests that still wait are answered with an error."""
        ...


class Companion(Protocol):
    """Something that runs beside the service for as long as the server does."""

    @property
    def healthy(self) -> bool:
        """Whether, for all it knows, requests should come."""
        ...

    def beside(self, service: Service) -> AbstractAsyncContextManager[None]:
        """Run while the block does; entered once the service has been started."""
        ...
