"""The rerank server that tutorials teach: FastAPI, a `def` endpoint, CrossEncoder.predict.

RERANK_MODEL=FOLDER uvicorn tutorial_server:app
"""

import os

from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import CrossEncoder

app = FastAPI()
model = CrossEncoder(os.environ["RERANK_MODEL"], max_length=512, device="cpu")


class RerankRequest(BaseModel):
    """A query and its documents."""

    query: str
    documents: list[str]


@app.get("/health")
def health():
    """Answer once the model is loaded."""
    return {"status": "ok"}


@app.post("/rerank")
def rerank(request: RerankRequest):
    """Score every document and sort."""
    scores = model.predict([(request.query, document) for document in request.documents])
    results = [{"index": i, "relevance_score": float(score)} for i, score in enumerate(scores)]
    return {"results": sorted(results, key=lambda result: result["relevance_score"], reverse=True)}
