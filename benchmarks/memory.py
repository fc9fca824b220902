"""Memory of a serving process: over its weights, and after ten thousand requests.

What runs need is given back some seconds after the last one, so memory is looked at at once and again at rest.

python benchmarks/memory.py --model minilm-l6 --requests 10000
"""

import time
from typing import Any

import click

from comparison import http_rounds, shapes, work
from comparison.results import Entry, Goal
from comparison.running import Options, failing_clearly, record, scenario_options
from comparison.servers import RERANKD, Running, serving

NAME = "memory"
OVER_WEIGHTS_MB = 150.0
GROWTH = 1.05
""""The same": which lengths meet on two workers is chance, and moves the figure by some percent."""
REQUESTS = 10_000
_QUICK_REQUESTS = 500
_CLIENTS = 4
_SHORT_TOKENS = 16
_LIMIT_S = 1800.0
_REST_S = 8.0
"""Longer than a server waits for work before its engines give back what only runs need."""
_MODELS = ("minilm-l6", "bge-base", shapes.BUNDLED)


def run(options: Options, requests: int = 0) -> None:
    """Measure every chosen model."""
    count = requests or (_QUICK_REQUESTS if options.quick else REQUESTS)
    for model in options.chosen(*_MODELS, "bge-base-250k"):
        if model != "bge-base-250k" or model in options.models:
            record(options, _measure(model, count))


def _measure(model: str, count: int) -> Entry:
    usual = work.make(model, documents=20, count=2)
    small = work.make(model, documents=1, count=count, first=100, doc_tokens=_SHORT_TOKENS)
    with serving([RERANKD], model) as (server,):
        ready = _mb(server)
        http_rounds.measure(server, work.Work(usual.requests[:1], usual.lengths[:1], None), 1)
        first = _mb(server)
        time.sleep(_REST_S)
        first_rested = _mb(server)
        http_rounds.measure(server, small, _CLIENTS, limit_s=_LIMIT_S)
        http_rounds.measure(server, work.Work(usual.requests[1:], usual.lengths[1:], None), 1)
        last = _mb(server)
        time.sleep(_REST_S)
        rested = _mb(server)
        peak = server.memory().peak / 1e6
    weights = shapes.weight_bytes(model) / 1e6
    figures = {
        "weights, MB": weights,
        "RSS when ready, MB": ready,
        "RSS after 1 request of 20 documents, MB": first,
        "RSS at rest after it, MB": first_rested,
        f"RSS after {count:,} more, MB": last,
        "RSS at rest after them, MB": rested,
        "peak RSS, MB": peak,
    }
    goals = [
        Goal(
            f"{model}: RSS at rest beyond the weights after {count:,} requests, MB",
            "<=",
            OVER_WEIGHTS_MB,
            rested - weights,
        ),
        Goal(f"{model}: RSS after {count:,} requests by RSS after 1", "<=", GROWTH, last / first),
        Goal(
            f"{model}: RSS at rest after {count:,} requests by RSS at rest after 1", "<=", GROWTH, rested / first_rested
        ),
    ]
    return Entry(NAME, model, "server, fp32 unless the model is int8", {}, figures, goals)


def _mb(server: Running) -> float:
    return server.memory().now / 1e6


@click.command()
@scenario_options
@click.option("--requests", default=0, help=f"Short requests to send [default: {REQUESTS:,}].")
def main(requests: int, **options: Any) -> None:
    """Print how much memory a server takes after 1 and after many requests, and write it to the results."""
    with failing_clearly():
        run(Options(**options), requests)


if __name__ == "__main__":
    main()
