"""What one request may ask."""

from dataclasses import dataclass

from rerankd.errors import EmptyDocuments, InvalidRequest, RequestTooLarge
from rerankd.types import RerankRequest


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a request; `deadline_s` is wall-clock seconds from its arrival at the service."""

    max_documents: int = 1024
    max_query_chars: int = 32_768
    deadline_s: float = 300.0

    def check(self, request: RerankRequest) -> None:
        """Refuse what is out of bounds.

        Raises:
            EmptyDocuments, InvalidRequest, RequestTooLarge: with the value and the bound.
        """
        if not request.documents:
            raise EmptyDocuments
        if len(request.documents) > self.max_documents:
            raise RequestTooLarge(
                f"{len(request.documents)} documents in one request, and {self.max_documents} are allowed: "
                "send fewer, or raise limits.max_documents",
                field="documents",
            )
        if len(request.query) > self.max_query_chars:
            raise RequestTooLarge(
                f"the query has {len(request.query)} characters, and {self.max_query_chars} are allowed: "
                "shorten it, or raise limits.max_query_chars",
                field="query",
            )
        if request.top_n is not None and request.top_n < 0:
            raise InvalidRequest(f"`top_n` must be 0 or more, got {request.top_n}", field="top_n")
