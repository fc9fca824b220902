"""Tokens computed for one request of a causal reranker, with its common prefix shared and without.

    PYTHONPATH=src:tests python benchmarks/prefix_sharing.py --documents 50 --words 100

Builds a Qwen3 model of random weights and a tokenizer trained on a few sentences (so texts take more tokens than with
the published one), scores one request both ways on the CPU, and prints what was computed, how long it took and by how
much the scores differ.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from rerankd.engines.base import Encoding, Graph
from rerankd.engines.torch import ENGINE, TorchEngine
from rerankd.families.base import CausalReader
from rerankd.models.loader import recognise, take_snapshot
from tiny import CORPUS
from tiny_causal import tiny_qwen3


def main() -> None:
    """Build the model, measure, print JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--documents", type=int, default=50)
    options.add_argument("--words", type=int, default=100, help="words in a document")
    options.add_argument("--width", type=int, default=256, help="hidden size of the model")
    options.add_argument("--layers", type=int, default=8)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"hidden_size": given.width, "intermediate_size": 3 * given.width, "num_hidden_layers": given.layers}
        model = tiny_qwen3(Path(folder) / "Qwen3-Reranker-random", **sizes)
        print(json.dumps(measure(model, given.documents, given.words), indent=2))


def measure(folder: Path, documents: int, words: int) -> dict[str, float]:
    """Score one request twice and count the tokens computed."""
    snapshot = take_snapshot(folder)
    reader = recognise(snapshot)[1].open(snapshot, max_tokens=None, cache_bytes=0)
    assert isinstance(reader, CausalReader)
    engine = ENGINE.open(Graph(folder, "fp32", "weights", reader.answers))
    assert isinstance(engine, TorchEngine)
    random = np.random.default_rng(0)
    vocabulary = " ".join(CORPUS).split()
    texts = [" ".join(random.choice(vocabulary, words)) for _ in range(documents)]
    work = reader.read("How do I reset my password?", texts)
    plain = [Encoding(one.ids, one.type_ids) for one in work.encodings]
    seconds: list[float] = []
    scores: list[np.ndarray] = []
    for batch in (plain, work.encodings):
        started = time.perf_counter()
        outputs = [out for i in range(0, documents, 8) for out in engine.run(batch[i : i + 8])]
        seconds.append(time.perf_counter() - started)
        scores.append(reader.activate(work.score(outputs)))
    own = sum(one.cost for one in work.encodings)
    return {
        "documents": documents,
        "tokens_plain": sum(one.tokens for one in plain),
        "tokens_shared": own + engine.prefixes.computed_tokens,
        "prefix_tokens": engine.prefixes.computed_tokens,
        "seconds_plain": round(seconds[0], 3),
        "seconds_shared": round(seconds[1], 3),
        "largest_score_difference": float(np.abs(scores[0] - scores[1]).max()),
    }


if __name__ == "__main__":
    main()
