"""Long documents are scored whole: in chunks, with one score for the document."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest

from letters import MAX_TOKENS, CountingEngine, LetterReader, entry
from rerankd.assembly import open_cache
from rerankd.errors import InvalidRequest, Overloaded
from rerankd.families.base import Pieces, Splitting
from rerankd.metrics import Metrics
from rerankd.models.loaded import LoadedModel
from rerankd.models.pool import ModelPool
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.chunking import Chunking
from rerankd.service.limits import Limits
from rerankd.service.service import RerankService
from rerankd.types import (
    Caller,
    ChunkScores,
    Document,
    LongDocuments,
    ModelInfo,
    ModelState,
    Ranking,
    RerankRequest,
    ScoreType,
)

pytestmark = pytest.mark.anyio

ROOM = MAX_TOKENS - 1
LONG = "x" * 30 + "aaaa" + "x" * 30
"""More than three chunks, and what is looked for in the middle."""


class SplittingLetters(LetterReader):
    """Splits by letters."""

    def split(self, query: str, document: str, splitting: Splitting) -> Pieces:
        del query
        text = document if splitting.max_tokens is None else document[: splitting.max_tokens]
        step = ROOM - splitting.overlap_tokens
        starts = range(0, max(1, len(text) - splitting.overlap_tokens), step)
        pieces = [text[start : start + ROOM] for start in starts]
        kept = pieces[: splitting.max_pieces]
        return Pieces(tuple(kept), cut=len(text) < len(document) or len(kept) < len(pieces))


class CountedLetters(SplittingLetters):
    """Says how often it was asked to look at a text."""

    looked = 0

    def split(self, query: str, document: str, splitting: Splitting) -> Pieces:
        self.looked += 1
        return super().split(query, document, splitting)


@asynccontextmanager
async def nearly_full(reader: LetterReader, cache: str) -> AsyncGenerator[RerankService]:
    """A service whose queue of 20 tokens holds 12, of a request that is held up."""
    info = ModelInfo("letters", ("letters",), ModelState.READY, "letters", "fake", "fp32",
                     ScoreType.PROBABILITY, MAX_TOKENS, "print")  # fmt: skip
    engine = CountingEngine()
    model = LoadedModel(info, reader, engine)
    service = RerankService(
        pool=ModelPool([entry("letters")], lambda *_: model, Metrics()),
        scheduler=Scheduler(workers=1, queue_tokens=20), cache=open_cache(cache, 1 << 20), limits=Limits(),
        metrics=Metrics(), chunking=Chunking(overlap_tokens=4),
    )  # fmt: skip
    await service.start()
    await service.wait_ready()
    engine.gate.clear()
    held = RerankRequest("a", (Document("b" * 5), Document("c" * 5)))
    first = asyncio.create_task(service.rerank(held, Caller("test")))
    await asyncio.sleep(0.2)
    assert not first.done()
    asyncio.get_running_loop().call_later(0.5, engine.gate.set)
    try:
        yield service
        await first
    finally:
        engine.gate.set()
        await service.close()


@pytest.mark.parametrize(("cache", "looked"), [("off://", 0), ("memory://", 1)])
async def test_a_full_queue_refuses_before_long_documents_are_looked_into_unless_they_may_be_known(
    cache: str, looked: int
) -> None:
    reader = CountedLetters()
    async with nearly_full(reader, cache) as service:
        before = reader.looked
        with pytest.raises(Overloaded):
            await service.rerank(asked(LONG), Caller("test"))
        assert reader.looked - before == looked


@pytest.mark.parametrize("cache", ["off://", "memory://"])
async def test_what_is_cut_or_stands_twice_is_not_refused_for_the_room_it_would_take_whole_and_twice(
    cache: str,
) -> None:
    cut = RerankRequest("a", (Document(LONG), Document(LONG), Document(LONG)), max_tokens_per_doc=2)
    async with nearly_full(CountedLetters(), cache) as service:
        assert len(await service.rerank(cut, Caller("test"))) == 3


@asynccontextmanager
async def running(chunking: Chunking) -> AsyncGenerator[RerankService]:
    info = ModelInfo("letters", ("letters",), ModelState.READY, "letters", "fake", "fp32",
                     ScoreType.PROBABILITY, MAX_TOKENS, "print")  # fmt: skip
    model = LoadedModel(info, SplittingLetters(), CountingEngine())
    service = RerankService(
        pool=ModelPool([entry("letters")], lambda *_: model, Metrics()), scheduler=Scheduler(workers=2),
        cache=open_cache("memory://", 1 << 20), limits=Limits(), metrics=Metrics(), chunking=chunking,
    )  # fmt: skip
    await service.start()
    await service.wait_ready()
    try:
        yield service
    finally:
        await service.close()


async def rank(chunking: Chunking, request: RerankRequest) -> Ranking:
    async with running(chunking) as service:
        return await service.rerank(request, Caller("test"))


def asked(*documents: str) -> RerankRequest:
    return RerankRequest("a", tuple(map(Document, documents)), raw_scores=True)


def scores(ranking: Ranking) -> Sequence[float]:
    return [ranked.score for ranked in sorted(ranking, key=lambda ranked: ranked.index)]


CHUNKS = Chunking(overlap_tokens=5)


async def test_what_stands_in_the_middle_of_a_long_document_is_found() -> None:
    ranking = await rank(CHUNKS, asked("aaa", LONG, "x"))
    assert scores(ranking) == [3, 4, 0]
    assert (ranking.chunked, ranking.truncated) == ((1,), ())
    assert ranking.usage.pairs == 7  # two short ones and five chunks


@pytest.mark.parametrize(
    ("chunk_scores", "expected"), [(ChunkScores.MAX, 4.0), (ChunkScores.MEAN_TOP_2, 3.0), (ChunkScores.FIRST, 0.0)]
)
async def test_a_documents_score_is_made_of_its_chunks_as_the_setting_says(
    chunk_scores: ChunkScores, expected: float
) -> None:
    document = "x" * 20 + "aaaa" + "x" * 20 + "aa" + "x" * 20
    ranking = await rank(Chunking(chunk_scores=chunk_scores, overlap_tokens=0), asked(document))
    assert scores(ranking) == [expected]
    assert ranking.truncated == ((0,) if chunk_scores is ChunkScores.FIRST else ())


async def test_truncating_cuts_and_says_so() -> None:
    ranking = await rank(Chunking(long_documents=LongDocuments.TRUNCATE), asked(LONG, "aaa"))
    assert scores(ranking) == [0, 3]
    assert (ranking.chunked, ranking.truncated) == ((), (0,))


@pytest.mark.parametrize("chunking", [Chunking(long_documents=LongDocuments.ERROR), CHUNKS])
async def test_a_document_that_is_too_long_is_refused_where_server_or_caller_want_that(chunking: Chunking) -> None:
    refusing = RerankRequest("a", (Document(LONG),), long_documents=LongDocuments.ERROR)
    with pytest.raises(InvalidRequest, match="longer than the model's 20 tokens"):
        await rank(chunking, refusing)
    with pytest.raises(InvalidRequest, match="longer than the model's 20 tokens"):
        await rank(chunking, RerankRequest("a", (Document(LONG),), truncate=False))


async def test_a_request_decides_over_the_server_and_never_gets_more_chunks_than_the_server_allows() -> None:
    server = Chunking(long_documents=LongDocuments.TRUNCATE, max_chunks_per_doc=2, overlap_tokens=5)
    own = RerankRequest(
        "a", (Document(LONG),), raw_scores=True, long_documents=LongDocuments.CHUNK, max_chunks_per_doc=1000
    )
    ranking = await rank(server, own)
    assert (ranking.usage.pairs, ranking.truncated, ranking.chunked) == (2, (0,), (0,))
    fewer = await rank(CHUNKS, RerankRequest("a", (Document(LONG),), max_chunks_per_doc=3))
    assert fewer.usage.pairs == 3


async def test_a_documents_tokens_are_limited_where_the_caller_asks() -> None:
    request = RerankRequest("a", (Document("x" * 10 + "aa"), Document("aaa")), raw_scores=True, max_tokens_per_doc=10)
    ranking = await rank(CHUNKS, request)
    assert scores(ranking) == [0, 3]
    assert ranking.truncated == (0,)


async def test_chunks_are_remembered_one_by_one() -> None:
    async with running(CHUNKS) as service:
        long = "".join(chr(ord("A") + i) for i in range(50))
        first = await service.rerank(asked(long), Caller("test"))
        again = await service.rerank(asked(long + "aaaaa"), Caller("test"))
    assert first.usage.cached_pairs == 0
    assert again.usage.cached_pairs >= 3
    assert scores(again) == [5]
