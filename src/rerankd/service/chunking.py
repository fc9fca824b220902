"""Long documents: the chunks that are scored in their place, and how the chunks' scores become the document's."""

from collections.abc import Sequence
from dataclasses import dataclass

from rerankd.cache.base import PairScore
from rerankd.families.base import Pieces, Reader, Splitting, SplittingReader
from rerankd.types import ChunkScores, LongDocuments, RerankRequest

_AROUND = 16
"""More than the special tokens and prefixes of any family's pair."""


@dataclass(frozen=True, slots=True)
class Chunking:
    """What happens to documents that are too long, where a request does not say otherwise."""

    long_documents: LongDocuments = LongDocuments.CHUNK
    chunk_scores: ChunkScores = ChunkScores.MAX
    max_chunks_per_doc: int = 64
    overlap_tokens: int = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """Per document, the texts that are scored for it, and whether some of it is in none of them."""

    pieces: Sequence[Pieces]
    chunk_scores: ChunkScores

    @property
    def texts(self) -> list[str]:
        """All texts to score, document by document."""
        return [text for one in self.pieces for text in one.texts]

    @property
    def chunked(self) -> tuple[int, ...]:
        """Indexes of documents of which more than one chunk is scored."""
        return tuple(i for i, one in enumerate(self.pieces) if len(one.texts) > 1)

    def combine(self, scores: Sequence[PairScore]) -> list[PairScore]:
        """Make one score per document of those of `texts`, in the same order."""
        rest = iter(scores)
        return [self._combined([next(rest) for _ in one.texts], cut=one.cut) for one in self.pieces]

    def _combined(self, chunks: Sequence[PairScore], *, cut: bool) -> PairScore:
        best = sorted((chunk.raw for chunk in chunks), reverse=True)
        best = best[:2] if self.chunk_scores is ChunkScores.MEAN_TOP_2 else best[:1]
        return PairScore(
            raw=sum(best) / len(best),
            tokens=sum(chunk.tokens for chunk in chunks),
            truncated=cut or any(chunk.truncated for chunk in chunks),
        )


def plan(reader: Reader, request: RerankRequest, chunking: Chunking) -> Plan:
    """Decide what is scored for each document. Tokenises what may be too long: call it off the event loop."""
    texts = [document.text for document in request.documents]
    mode = request.long_documents or chunking.long_documents
    chunks = mode is LongDocuments.CHUNK and request.truncate
    most = request.max_tokens_per_doc or None
    if not isinstance(reader, SplittingReader) or not (chunks or most):
        return Plan([Pieces((text,), cut=False) for text in texts], chunking.chunk_scores)
    whole = chunks and chunking.chunk_scores is not ChunkScores.FIRST
    splitting = Splitting(
        overlap_tokens=chunking.overlap_tokens if request.overlap_tokens is None else request.overlap_tokens,
        max_pieces=min(request.max_chunks_per_doc or chunking.max_chunks_per_doc, chunking.max_chunks_per_doc)
        if whole
        else 1,
        max_tokens=most,
    )
    # A token stands for at least a byte, so what has few bytes fits without being looked at.
    fits = min(reader.max_tokens - len(request.query.encode("utf-8", "replace")) - _AROUND, most or reader.max_tokens)
    pieces = [
        Pieces((text,), cut=False)
        if len(text.encode("utf-8", "replace")) <= fits
        else reader.split(request.query, text, splitting)
        for text in texts
    ]
    return Plan(pieces, chunking.chunk_scores)
