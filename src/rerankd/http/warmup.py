"""Frequent queries scored when the server starts, so that their first callers find the answers in the cache."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import cast

from rerankd.errors import InvalidRequest, RerankError, TryLater
from rerankd.http.ports import Service
from rerankd.types import Caller, Document, Lane, RerankRequest

_AT_ONCE = 64
_LONGEST_PAUSE_S = 30.0
_CALLER = Caller("warmup")

_logger = logging.getLogger("rerankd.http")


@asynccontextmanager
async def warming_up(service: Service, file: Path | None) -> AsyncGenerator[None]:
    """Score the file's requests beside the block, in the background lane; what is left at its end is left."""
    if file is None:
        yield
        return
    warming = asyncio.create_task(_warm_up(service, file))
    try:
        yield
    finally:
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)


async def _warm_up(service: Service, file: Path) -> None:
    began = time.perf_counter()
    done = failed = 0
    requests = _requests(file)
    try:
        while some := await asyncio.to_thread(lambda: list(islice(requests, _AT_ONCE))):
            for request in some:
                if await _score(service, request):
                    done += 1
                else:
                    failed += 1
    except (OSError, InvalidRequest) as error:
        reason = str(error) if isinstance(error, InvalidRequest) else type(error).__name__
        _logger.error("cache.warmup stopped: %s", reason, extra={"queries": done})
        return
    seconds = round(time.perf_counter() - began, 1)
    _logger.info("the cache is warm", extra={"queries": done, "failed": failed, "seconds": seconds})


async def _score(service: Service, request: RerankRequest) -> bool:
    """Score one request, as soon as the server has time for it."""
    while True:
        try:
            await service.rerank(request, _CALLER)
        except TryLater as error:  # the model still loads, or callers come first
            await asyncio.sleep(min(max(error.retry_after_s, 0.1), _LONGEST_PAUSE_S))
        except RerankError as error:
            _logger.warning("a query of cache.warmup was not scored: %s", error.kind)
            return False
        else:
            return True


def _requests(file: Path) -> Iterator[RerankRequest]:
    """Read a request a line: {"query": "…", "documents": ["…"], "model": "…"}.

    Raises:
        OSError: the file cannot be read.
        InvalidRequest: a line is none; the message names it.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _request(line, number)


def _request(line: bytes, number: int) -> RerankRequest:
    with suppress(ValueError, KeyError, TypeError):
        fields = cast("dict[str, object]", json.loads(line))
        query, documents, model = fields["query"], fields["documents"], fields.get("model", "")
        if isinstance(query, str) and isinstance(model, str) and isinstance(documents, list) and documents:
            texts = cast("list[object]", documents)
            if all(isinstance(text, str) for text in texts):
                found = tuple(Document(str(text)) for text in texts)
                return RerankRequest(query=query, documents=found, model=model, lane=Lane.BACKGROUND)
    raise InvalidRequest(f'line {number} is no request: write {{"query": "…", "documents": ["…"]}} on one line')
