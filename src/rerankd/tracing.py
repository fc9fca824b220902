"""Distributed traces by OpenTelemetry: an extra, off unless an address is set.

A call becomes spans when it is over, from the phases that were noted, so that nothing is done for it meanwhile.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rerankd.errors import ConfigError
from rerankd.phases import Phases

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

_CLOSE_S = 2.0
_EXPORT_S = 5.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A call that is over. Times are of `time.perf_counter`; `headers` have lower-case names; `attributes` hold no

    texts. `failed`: the fault was the server's.
    """

    name: str
    began: float
    ended: float
    phases: Phases
    attributes: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    failed: bool = False


class Tracer(Protocol):
    """Where finished calls are told."""

    def record(self, call: Finished) -> str:
        """Hand over a call; never waits. Returns its trace's id, "" where this call is not traced."""
        ...

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        ...


def open_tracer(endpoint: str, *, service_name: str, sample_ratio: float) -> Tracer:
    """Send traces to an OTLP collector by HTTP; `endpoint` is its address without `/v1/traces`.

    Headers for the collector come from OTEL_EXPORTER_OTLP_HEADERS, as for any OpenTelemetry program.

    Raises:
        ConfigError: the extra is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise ConfigError("tracing.otlp_endpoint needs OpenTelemetry: pip install 'rerankd[otel]'") from error
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_S)
    return SpanTracer(exporter, service_name=service_name, sample_ratio=sample_ratio)


class SpanTracer:
    """Makes spans of calls. A caller's `traceparent` is continued, and its decision whether to trace is kept."""

    def __init__(self, exporter: "SpanExporter", *, service_name: str, sample_ratio: float) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service_name}),
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("rerankd")
        self._propagator = TraceContextTextMapPropagator()

    def record(self, call: Finished) -> str:
        """Make a span of the call, and one below it for each phase."""
        from opentelemetry import trace

        offset = time.time() - time.perf_counter()
        outer = self._tracer.start_span(
            call.name,
            context=self._propagator.extract(call.headers),
            kind=trace.SpanKind.SERVER,
            attributes=call.attributes,
            start_time=_ns(call.began + offset),
        )
        if not outer.get_span_context().trace_flags.sampled:
            return ""
        inside = trace.set_span_in_context(outer)
        for phase in call.phases.kept:
            span = self._tracer.start_span(phase.name, context=inside, start_time=_ns(phase.began + offset))
            span.end(_ns(phase.ended + offset))
        if call.failed:
            outer.set_status(trace.StatusCode.ERROR)
        outer.end(_ns(call.ended + offset))
        return trace.format_trace_id(outer.get_span_context().trace_id)

    def close(self) -> None:
        """Send what is left; a collector that does not answer is given up after some seconds."""
        # The SDK waits up to 30 s and cannot be told otherwise (open-telemetry/opentelemetry-python, BatchProcessor).
        sending = threading.Thread(target=self._provider.shutdown, name="rerankd-traces", daemon=True)
        sending.start()
        sending.join(_CLOSE_S)


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
