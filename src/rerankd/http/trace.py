"""What is known of a request while it is served: written by the endpoint, read for the access log and the metrics."""

import time
from dataclasses import dataclass, field

from starlette.types import Scope

from rerankd.types import Caller

_KEY = "rerankd.trace"


@dataclass(slots=True)
class Trace:
    """One request. `outcome` is "ok", an error's kind, or "" while it is open; no texts are ever kept here."""

    started: float = field(default_factory=time.perf_counter)
    body_read: float = 0.0
    dialect: str = ""
    model: str = ""
    caller: Caller = field(default_factory=Caller)
    documents: int = 0
    tokens: int = 0
    outcome: str = ""


def attach(scope: Scope) -> Trace:
    """Begin a trace and keep it with the request."""
    trace = Trace()
    scope[_KEY] = trace
    return trace


def of(scope: Scope) -> Trace:
    """Return the request's trace; a fresh one where the rim did not begin it."""
    found = scope.get(_KEY)
    return found if isinstance(found, Trace) else attach(scope)
