"""Convert a model once: convert.py MODEL_FOLDER NEW_FOLDER; prints seconds and the most memory this process had."""

import sys
import time
from pathlib import Path

from rerankd.bench.process import memory_use
from rerankd.convert.convert import convert
from rerankd.models.loader import take_snapshot

started = time.perf_counter()
convert(take_snapshot(Path(sys.argv[1])), Path(sys.argv[2]))
seconds = time.perf_counter() - started
memory = memory_use()
print(seconds, memory.peak if memory else 0)
