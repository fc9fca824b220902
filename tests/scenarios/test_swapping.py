"""Many loads and unloads of real networks: memory comes back, and the budget holds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tiny import tiny_bert

CYCLES = """
import asyncio, json, sys, threading, time
from pathlib import Path
import psutil
from rerankd.metrics import Metrics
from rerankd.models.loader import Loader
from rerankd.models.pool import ModelPool
from rerankd.models.residence import Policy
from rerankd.registry.resolve import resolve
from rerankd.registry.store import Store

names = ["first", "second"]
entries = [resolve(f"{name}={folder}") for name, folder in zip(names, sys.argv[2:])]
rss = psutil.Process().memory_info
highest = [0]

def watch():
    while True:
        highest[0] = max(highest[0], rss().rss)
        time.sleep(0.002)

threading.Thread(target=watch, daemon=True).start()

async def main():
    policy = Policy(preload="none", memory_bytes=40 << 20)
    pool = ModelPool(entries, Loader(Store(Path(sys.argv[1]))).load, Metrics(), policy)
    await pool.start()
    await pool.wait(names[0])  # converts; what that takes is not counted
    await pool.wait(names[1])
    pool.unload(names[1])
    await asyncio.sleep(0.5)
    empty, highest[0] = rss().rss, 0
    await pool.wait(names[0])
    one, load_peak = rss().rss, highest[0] - empty
    after, peak, highest[0] = [], 0, 0
    for _ in range(25):
        for name in names:
            async with pool.use(name) as model:
                work = model.reader.read("what is it", ["it is a test"])
                model.engine.run(work.encodings)
                peak = max(peak, sum(info.memory_bytes for info in pool.infos() if info.state == "ready"))
            del model
        after.append(rss().rss)
    await pool.close()
    print(json.dumps({"after": after, "most_loaded": peak, "empty": empty, "one": one, "load_peak": load_peak,
                      "highest": highest[0]}))

asyncio.run(main())
"""


@pytest.mark.slow
def test_fifty_loads_and_unloads_leave_memory_as_it_was_and_never_two_models_where_one_fits(tmp_path: Path) -> None:
    size = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8}
    folders = [str(tiny_bert(tmp_path / name, seed=seed, **size)) for seed, name in enumerate(("one", "two"))]
    command = [sys.executable, "-c", CYCLES, str(tmp_path / "store"), *folders]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    after: list[int] = told["after"]
    print(f"RSS after the first cycle {after[0] / 1e6:.1f} MB, after fifty loads {after[-1] / 1e6:.1f} MB")
    print(
        f"one model loaded: {told['one'] / 1e6:.1f} MB, none {told['empty'] / 1e6:.1f} MB; peak of a load "
        f"{told['load_peak'] / 1e6:.1f} MB above none; highest RSS of fifty loads {told['highest'] / 1e6:.1f} MB"
    )
    assert abs(after[-1] - after[0]) <= 0.05 * after[0]
    assert told["highest"] <= told["one"] + told["load_peak"], "one load's peak above one model, never more"
    assert told["most_loaded"] > 80e6, "one model is over the budget alone, and still served"
    assert told["most_loaded"] < 150e6, "two never are"
