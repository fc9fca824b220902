"""What a long sequence took is given back when it is done."""

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
run(4000)
run(100)
print(json.dumps([before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, now()]))
"""


def test_a_long_sequences_memory_is_given_back(tmp_path: Path) -> None:
    tests = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True, cwd=tests
    )
    before, peak, after = json.loads(done.stdout)
    assert peak > before + 40, "the long sequence took too little for this test to mean anything"
    assert after < before + (peak - before) / 3
