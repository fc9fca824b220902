"""What sequences took is given back: a long one's when it is done, that of others when the engine rests."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, resource, sys
from pathlib import Path
import numpy as np, psutil
from rerankd.convert.convert import convert
from rerankd.engines.base import Encoding
from rerankd.engines.onnx import ENGINE
from tiny import snapshot, tiny_xlmr

folder = Path(sys.argv[1])
model = tiny_xlmr(folder / "model", hidden_size=256, intermediate_size=2048, max_position_embeddings=4098)
(folder / "graph").mkdir()
engine = ENGINE.open(convert(snapshot(model), folder / "graph"))

def run(tokens):
    ids = np.full(tokens, 5, np.int64)
    engine.run([Encoding(ids, np.zeros_like(ids))])

def now():
    return psutil.Process().memory_info().rss / 2**20

for tokens in (100, 500, 100):
    run(tokens)
before = now()
if sys.argv[2] == "rests":
    run(1000)
    engine.rest()
else:
    run(4000)
    run(100)
print(json.dumps([before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, now()]))
"""


def measured(folder: Path, what: str) -> tuple[float, float, float]:
    """Return memory in MiB before the sequence, at the peak and after it."""
    command = [sys.executable, "-c", SCRIPT, str(folder), what]
    tests = Path(__file__).parent.parent
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True, cwd=tests)
    return json.loads(done.stdout)


def test_a_long_sequences_memory_is_given_back(tmp_path: Path) -> None:
    before, peak, after = measured(tmp_path, "long")
    assert peak > before + 40, "the long sequence took too little for this test to mean anything"
    assert after < before + (peak - before) / 3


def test_a_resting_engine_gives_the_memory_of_all_sequences_back(tmp_path: Path) -> None:
    before, peak, after = measured(tmp_path, "rests")
    assert peak > before + 10, "the sequence took too little for this test to mean anything"
    assert after < before + (peak - before) / 3
