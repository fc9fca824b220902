"""FlashRank in process: all documents of a request in one padded batch through ONNX Runtime, as the package does it."""

import math
import sys

from flashrank import Ranker, RerankRequest
from loop import answer_all

ranker = Ranker("ms-marco-TinyBERT-L-2-v2", cache_dir=sys.argv[1], max_length=512)


def score(query, documents):
    """FlashRank gives probabilities; back to logits."""
    passages = [{"id": place, "text": document} for place, document in enumerate(documents)]
    ranked = ranker.rerank(RerankRequest(query=query, passages=passages))
    probability = {passage["id"]: float(passage["score"]) for passage in ranked}
    return [math.log(probability[i] / (1 - probability[i])) for i in range(len(documents))]


answer_all(score)
