"""The request that most APIs share, read once for the dialects that answer it in shapes of their own."""

from typing import cast

from pydantic import BaseModel, ConfigDict, Field

from rerankd.dialects.base import Reply
from rerankd.dialects.reading import (
    Count,
    Documents,
    Flag,
    Name,
    Names,
    Priority,
    Seconds,
    Text,
    count_from,
    documents_from,
    read,
)
from rerankd.types import JsonObject, JsonValue, Lane, LongDocuments, OnDeadline, RerankRequest


class StandardRequest(BaseModel):
    """A query and the documents to rank against it. Unknown keys are ignored; null means absent."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    documents: Documents
    """The candidates: strings, or objects with `text`."""
    model: Name = ""
    """A served model's name; absent: the server's default."""
    top_n: Count = None
    """How many to return, best first; absent or 0: all."""
    top_k: Count = None
    """Another name for `top_n`; sending it adds `ranked_results` to the answer."""
    return_documents: Flag = True
    """Whether the answer repeats the documents."""
    rank_fields: Names = Field(default_factory=list[str])
    """For documents that are objects: the fields to rank by, joined by newlines."""
    raw_scores: Flag = False
    """Answer with the model's own numbers instead of probabilities."""
    use_activation: Flag = True
    """vLLM's word for the same: false asks for the model's own numbers."""
    truncation: Flag = True
    """Voyage's word: false makes a document that is too long an error."""
    long_documents: LongDocuments | None = None
    """`chunk` scores overlapping chunks of what is too long, `truncate` cuts it off, `error` refuses; absent: the

    server's setting."""
    max_chunks_per_doc: Count = None
    """At most this many chunks of one document are scored; the server's own limit stays."""
    overlap_tokens: Count = None
    """Tokens that neighbouring chunks share."""
    max_tokens_per_doc: Count = None
    """Cohere's word: every document is cut to this many tokens first."""
    deadline_s: Seconds = None
    """How long the caller waits for the answer; the server's own limit stays. Also the header `X-Request-Timeout`."""
    on_deadline: OnDeadline = OnDeadline.ERROR
    """`partial` asks for what is scored by then instead of an error; the others' indexes are in `meta`."""
    priority: Priority = Lane.INTERACTIVE
    """`background` lets everybody else go first. vLLM's number above 0 is the same."""
    instruction: Name = ""
    """What relevance means, for models that were trained with instructions (Qwen3-Reranker, mxbai-rerank v2)."""
    instruct: Name = ""
    """Another name for `instruction`."""


def read_request(body: JsonValue) -> tuple[RerankRequest, Reply]:
    """Read a body; see `StandardRequest`.

    Raises:
        InvalidRequest: it is not one.
    """
    wire = read(StandardRequest, body)
    sent = cast("JsonObject", body)
    request = RerankRequest(
        model=wire.model,
        query=wire.query,
        documents=documents_from(cast("list[JsonValue]", wire.documents), wire.rank_fields),
        top_n=count_from({"top_n": wire.top_n, "top_k": wire.top_k}),
        raw_scores=wire.raw_scores or not wire.use_activation,
        truncate=wire.truncation,
        instruction=wire.instruction or wire.instruct,
        long_documents=wire.long_documents,
        max_chunks_per_doc=wire.max_chunks_per_doc,
        overlap_tokens=wire.overlap_tokens,
        max_tokens_per_doc=wire.max_tokens_per_doc,
        deadline_s=wire.deadline_s,
        on_deadline=wire.on_deadline,
        lane=wire.priority,
    )
    reply = Reply(
        documents=wire.return_documents, ranked_results="top_k" in sent, input_order_scores="property" in sent
    )
    return request, reply
