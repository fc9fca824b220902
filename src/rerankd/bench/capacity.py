"""What a load needs: documents of so many tokens at so many requests a second, in cores, utilisation and waiting time.

Arrivals are taken as independent (Poisson) and requests as equal. Waiting is simulated with the scheduler's own
turn-taking, in which requests share the cores; for comparison stands the textbook figure of a server that takes them
one after another.
"""

import heapq
import math
import re
from dataclasses import dataclass

import numpy as np

from rerankd.errors import InvalidRequest
from rerankd.scheduler.batching import Turns

TARGET_UTILISATION = 0.7
"""Above this, waiting times grow faster than load does: cores are counted for it."""

_FORM = re.compile(r"(\d+)x(\d+)@(\d+(?:\.\d+)?)")
_TURNS = 60_000
_LEAST_REQUESTS, _MOST_REQUESTS = 400, 20_000


@dataclass(frozen=True, slots=True)
class Demand:
    """Documents per request, tokens per document (without the query and special tokens), requests per second."""

    documents: int
    doc_tokens: int
    requests_per_s: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """Whether this machine carries a demand. Times are seconds from sending a request to its answer.

    `core_s_per_request` and `tokens_per_s_per_core` were measured with these very requests and all workers busy.
    `cores_needed` is for a utilisation of 0.7. Expected times are None where the queue would grow without end;
    `expected_p95_first_come_s` is that of an M/D/1 queue.
    """

    demand: Demand
    tokens_per_request: float
    tokens_per_s_per_core: float
    core_s_per_request: float
    workers: int
    cores_busy: float
    cores_needed: int
    utilisation: float
    carried: bool
    highest_requests_per_s: float
    expected_p50_s: float | None
    expected_p95_s: float | None
    expected_p95_first_come_s: float | None
    remedies: tuple[str, ...] = ()


def read_demand(text: str) -> Demand:
    """Read "20x150@5": 20 documents of 150 tokens, 5 requests a second.

    Raises:
        InvalidRequest: it is written in another way, or something in it is 0.
    """
    match = _FORM.fullmatch(text.replace(" ", ""))
    demand = Demand(int(match[1]), int(match[2]), float(match[3])) if match else None
    if demand is None or not (demand.documents and demand.doc_tokens and demand.requests_per_s):
        raise InvalidRequest(
            f"{text!r} is no capacity question: write DOCUMENTSxTOKENS@REQUESTS_PER_SECOND, such as 20x150@5"
        )
    return demand


def answer(demand: Demand, *, pairs_per_s: float, tokens_per_s: float, workers: int) -> Capacity:
    """Work out what a demand needs, from the rates measured with such requests and all workers busy."""
    core_s = workers * demand.documents / pairs_per_s
    busy = demand.requests_per_s * core_s
    utilisation = busy / workers
    p50 = p95 = first_come = None
    if utilisation < 1:
        times = simulate(demand, core_s_per_request=core_s, workers=workers)
        p50, p95 = (float(value) for value in np.quantile(times, [0.5, 0.95]))
        first_come = first_come_quantile(core_s / workers, utilisation, 0.95)
    return Capacity(
        demand=demand,
        tokens_per_request=tokens_per_s / pairs_per_s * demand.documents,
        tokens_per_s_per_core=tokens_per_s / workers,
        core_s_per_request=core_s,
        workers=workers,
        cores_busy=busy,
        cores_needed=math.ceil(busy / TARGET_UTILISATION),
        utilisation=utilisation,
        carried=utilisation <= TARGET_UTILISATION,
        highest_requests_per_s=TARGET_UTILISATION * workers / core_s,
        expected_p50_s=p50,
        expected_p95_s=p95,
        expected_p95_first_come_s=first_come,
    )


def first_come_quantile(service_s: float, utilisation: float, quantile: float) -> float:
    """Return a quantile of the response time of an M/D/1 queue: Poisson arrivals, equal requests, first come first.

    The mean wait is Pollaczek and Khinchine's, W = u S / (2 (1 - u)); its tail is taken as exponential,
    P(wait > t) = u exp(-u t / W), which keeps that mean and the probability u of waiting at all.
    """
    mean_wait = utilisation * service_s / (2 * (1 - utilisation))
    waits = max(0.0, math.log(utilisation / (1 - quantile))) * mean_wait / utilisation if utilisation else 0.0
    return service_s + waits


def simulate(demand: Demand, *, core_s_per_request: float, workers: int, seed: int = 1) -> list[float]:
    """Let requests arrive at the scheduler's queue and be served by workers; return their response times in seconds.

    The first tenth, when the queue was still filling, is left out.
    """
    count = min(_MOST_REQUESTS, max(_LEAST_REQUESTS, _TURNS // demand.documents))
    gaps = np.random.default_rng(seed).exponential(1 / demand.requests_per_s, count)
    arrivals = [float(time) for time in np.cumsum(gaps)]
    pair_s = core_s_per_request / demand.documents
    turns: Turns[int] = Turns()
    running: list[tuple[float, int]] = []
    missing = [demand.documents] * count
    times = [0.0] * count
    now, arrived = 0.0, 0
    while arrived < count or running:
        while len(running) < workers and (turn := turns.take()):
            heapq.heappush(running, (now + pair_s, turn.job))
        if arrived < count and (not running or arrivals[arrived] <= running[0][0]):
            now = arrivals[arrived]
            turns.add(arrived, [demand.doc_tokens] * demand.documents)
            arrived += 1
            continue
        now, job = heapq.heappop(running)
        missing[job] -= 1
        if not missing[job]:
            times[job] = now - arrivals[job]
    return times[count // 10 :]
