"""Many loads and unloads of real networks: memory comes back, and the budget holds."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from long_runs import FULL, told
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

async def asked(pool, metrics, rounds):
    after, most, before, highest[0] = [], 0, evicted(metrics), 0
    for _ in range(rounds):
        for name in names:
            async with pool.use(name) as model:
                work = model.reader.read("what is it", ["it is a test"])
                model.engine.run(work.encodings)
                most = max(most, sum(info.memory_bytes for info in pool.infos() if info.state == "ready"))
            del model
        after.append(rss().rss)
    return {"after": after, "most_loaded": most, "highest": highest[0], "evicted": evicted(metrics) - before}

def evicted(metrics):
    return sum(float(line.split()[-1]) for line in metrics.text().decode().splitlines()
               if line.startswith("rerankd_model_unloads_total") and 'reason="memory"' in line)

async def serving(budget, rounds):
    metrics = Metrics()
    policy = Policy(preload="none", memory_bytes=budget)
    pool = ModelPool(entries, Loader(Store(Path(sys.argv[1]))).load, metrics, policy)
    await pool.start()
    await pool.wait(names[0])  # converts, the first time; what that takes is not counted
    await pool.wait(names[1])
    for name in names:
        pool.unload(name)
    await asyncio.sleep(0.5)
    empty, highest[0] = rss().rss, 0
    info = await pool.wait(names[0])
    told = {"budget": budget, "empty": empty, "one": rss().rss, "load_peak": highest[0] - empty,
            "weights": info.memory_bytes, **await asked(pool, metrics, rounds)}
    await pool.close()
    return told

async def main():
    below = await serving(40 << 20, 25)
    print(json.dumps([below, await serving(below["weights"] * 3 // 2, ROUNDS)]))

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_loads_and_unloads_leave_memory_as_it_was_and_never_two_models_where_one_fits(tmp_path: Path) -> None:
    size = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8}
    folders = [str(tiny_bert(tmp_path / name, seed=seed, **size)) for seed, name in enumerate(("one", "two"))]
    rounds = 25 if FULL else 5
    command = [sys.executable, "-c", CYCLES.replace("ROUNDS", str(rounds)), str(tmp_path / "store"), *folders]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    below, between = json.loads(done.stdout)
    _tell("less than one model", below)
    _tell("one model and a half", between)
    after: list[int] = below["after"]
    assert abs(after[-1] - after[0]) <= 0.05 * after[0]
    assert below["highest"] <= below["one"] + below["load_peak"], "one load's peak above one model, never more"
    assert below["most_loaded"] == below["weights"], "one model is over the budget alone, and still served; two never"
    assert between["weights"] < between["budget"] < 2 * between["weights"]
    assert between["most_loaded"] == between["weights"] <= between["budget"], "two never stand beside each other"
    assert between["evicted"] == 2 * rounds - 1, "the one before, at each request, and never the one that is asked for"
    assert between["highest"] - between["empty"] <= between["budget"] + between["load_peak"]
    assert abs(between["after"][-1] - between["after"][0]) <= 0.05 * between["after"][0]


def _tell(budget: str, found: dict[str, Any]) -> None:
    peak, above = found["load_peak"], found["highest"] - found["empty"] - found["budget"]
    told(
        f"budget {found['budget'] / 1e6:.1f} MB ({budget}, of {found['weights'] / 1e6:.1f} MB of weights): RSS with "
        f"none loaded {found['empty'] / 1e6:.1f} MB, with one {found['one'] / 1e6:.1f} MB; peak of one load "
        f"{peak / 1e6:.1f} MB above none. {2 * len(found['after'])} requests to two models in turn: "
        f"{found['evicted']:.0f} evictions, weights loaded at most {found['most_loaded'] / 1e6:.1f} MB, highest RSS "
        f"{found['highest'] / 1e6:.1f} MB ({above / 1e6:+.1f} MB against none and the budget, {peak / 1e6:.1f} MB are "
        f"allowed); RSS after the first round {found['after'][0] / 1e6:.1f} MB, after the last "
        f"{found['after'][-1] / 1e6:.1f} MB"
    )
