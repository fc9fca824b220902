"""sentence-transformers in process, as its documentation shows it: CrossEncoder.predict on all pairs of a request."""

import sys

import torch
from loop import answer_all
from sentence_transformers import CrossEncoder

model = CrossEncoder(sys.argv[1], max_length=512, device="cpu")


def score(query, documents):
    """Logits: the activation is left out, so that differences are not squeezed."""
    return model.predict([(query, document) for document in documents], activation_fn=torch.nn.Identity())


answer_all(score)
