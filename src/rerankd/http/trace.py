"""What is known of a request while it is served: written by the endpoint, read for the access log and the metrics."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.types import Scope

from rerankd.http.usage import Meter
from rerankd.phases import Phases
from rerankd.types import Caller, Ranking

_KEY = "rerankd.trace"


@dataclass(slots=True)
class Trace:
    """One request. `outcome` is "ok", an error's kind, or "" while it is open; no texts are ever kept here.

    `model` is the id of a served model, or ""; `fallback` is who answered in its place. `trace_id` is the distributed
    trace's, where it is recorded.
    """

    started: float = field(default_factory=time.perf_counter)
    body_read: float = 0.0
    dialect: str = ""
    model: str = ""
    caller: Caller = field(default_factory=Caller)
    documents: int = 0
    pairs: int = 0
    cached_pairs: int = 0
    tokens: int = 0
    truncated: int = 0
    chunked: int = 0
    unscored: int = 0
    fallback: str = ""
    outcome: str = ""
    status: int = 0
    phases: Phases = field(default_factory=Phases)
    trace_id: str = ""
    meter: Meter = field(default_factory=Meter)

    def add(self, rankings: Sequence[Ranking]) -> None:
        """Take over what the answers counted."""
        for ranking in rankings:
            self.pairs += ranking.usage.pairs
            self.cached_pairs += ranking.usage.cached_pairs
            self.tokens += ranking.usage.tokens
            self.truncated += len(ranking.truncated)
            self.chunked += len(ranking.chunked)
            self.unscored += len(ranking.unscored)
            self.fallback = ranking.fallback or self.fallback


def attach(scope: Scope, phases: Phases | None = None) -> Trace:
    """Begin a trace and keep it with the request."""
    trace = Trace(phases=phases or Phases())
    scope[_KEY] = trace
    return trace


def of(scope: Scope) -> Trace:
    """Return the request's trace; a fresh one where the rim did not begin it."""
    found = scope.get(_KEY)
    return found if isinstance(found, Trace) else attach(scope)
