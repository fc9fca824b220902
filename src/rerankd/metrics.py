"""Every Prometheus metric, declared once. One `Metrics` per service, so that two services in a process do not mix.

Labels take few values, and none that a caller can make up: dialects and models that are served here, kinds of error,
phases. What is not served is counted under the model "".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics

from rerankd import __version__, machine, metrics_files

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_FINE_SECONDS = (0.0005, 0.001, 0.0025, *_SECONDS)
_DOCUMENTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_PAIRS = (*_DOCUMENTS, 2000.0, 5000.0)
_TOKENS = (100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6)
_SEQUENCES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator as it is now. `busy` is the share of time that it computed, None where that is not known."""

    name: str
    total_bytes: int
    free_bytes: int
    ours_bytes: int
    busy: float | None = None


class Metrics:
    """The metrics of one running service, and their text form."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._devices: Callable[[], Sequence[Device]] = tuple
        self._scraped = self._registry
        if folder := metrics_files.shared_folder():
            self._scraped = CollectorRegistry()
            metrics_files.collect(folder, self._scraped)
        else:
            ProcessCollector(registry=self._registry)
        self._scraped.register(_WhenAsked(self._machine))
        self._declare_requests()
        self._declare_work()
        self._declare_models()
        self._declare_canary()

    def _declare_requests(self) -> None:
        """What the rim counts, by dialect and model."""
        by = ["dialect", "model"]
        self.requests = self._counter("rerankd_requests", "Rerank calls answered.", [*by, "outcome"])
        self.request_seconds = self._histogram(
            "rerankd_request_seconds", "From the body read to the answer.", by, _SECONDS
        )
        self.phase_seconds = self._histogram(
            "rerankd_phase_seconds", "Where a call's time went.", [*by, "phase"], _FINE_SECONDS
        )
        self.documents = self._histogram("rerankd_request_documents", "Documents in a call.", by, _DOCUMENTS)
        self.request_pairs = self._histogram("rerankd_request_pairs", "Pairs of a call, chunks one by one.", by, _PAIRS)
        self.request_tokens = self._histogram("rerankd_request_tokens", "Tokens that a call cost.", by, _TOKENS)
        self.chunked = self._counter("rerankd_chunked_documents", "Documents scored by several chunks of theirs.", by)
        self.truncated = self._counter("rerankd_truncated_documents", "Documents of which something was not read.", by)

    def _declare_work(self) -> None:
        """What the scheduler and the service count, by model."""
        self.pairs = self._counter("rerankd_pairs", "Pairs scored, by where the score came from.", ["model", "source"])
        self.tokens = self._counter("rerankd_tokens", "Tokens run through a network.", ["model"])
        self.queue_seconds = self._histogram(
            "rerankd_queue_seconds", "From admission to the first batch.", ["model"], _FINE_SECONDS
        )
        self.batch_seconds = self._histogram("rerankd_batch_seconds", "One run of a network.", ["model"], _FINE_SECONDS)
        self.batch_sequences = self._histogram(
            "rerankd_batch_sequences", "Sequences in a run of a network.", ["model"], _SEQUENCES
        )
        self.batch_fill = self._histogram(
            "rerankd_batch_fill_ratio", "Tokens of a run, over the most that the engine takes.", ["model"], _SHARES
        )
        self.queued_tokens = self._gauge("rerankd_queued_tokens", "Tokens admitted and not yet done.")
        self.queue_limit = self._gauge("rerankd_queue_limit_tokens", "Tokens that may be admitted at once.")
        self.busy_workers = self._gauge("rerankd_busy_workers", "Worker threads running a network.")
        self.workers = self._gauge("rerankd_workers", "Worker threads there are.")
        self.engine_failures = self._counter(
            "rerankd_engine_failures", "Requests on which a network failed twice.", ["model"]
        )
        self.lost_workers = self._counter(
            "rerankd_lost_workers", "Worker threads that hung or died in a batch and were replaced."
        )

    def _declare_models(self) -> None:
        self.model_state = self._gauge("rerankd_model_state", "1 for the state a model is in.", ["model", "state"])
        self.model_memory = self._gauge("rerankd_model_memory_bytes", "What a loaded model's weights take.", ["model"])
        self.model_loads = self._counter("rerankd_model_loads", "Loads that were begun.", ["model"])
        self.model_unloads = self._counter("rerankd_model_unloads", "Models unloaded, by why.", ["model", "reason"])
        self.model_renewals = self._counter(
            "rerankd_model_renewals", "Revisions changed, by how it ended.", ["model", "outcome"]
        )
        self.fallbacks = self._counter(
            "rerankd_fallbacks", "Requests answered by another, while their model loads.", ["model", "by"]
        )

    def _declare_canary(self) -> None:
        by = ["model"]
        self.canary_mrr = self._gauge("rerankd_canary_mrr", "MRR@10 of the golden set when it was last ranked.", by)
        self.canary_runs = self._counter("rerankd_canary_runs", "Rankings of the golden set.", [*by, "outcome"])
        self.canary_last = self._gauge(
            "rerankd_canary_last_success_timestamp_seconds", "When the golden set was last ranked.", by
        )
        self.canary_interval = self._gauge(
            "rerankd_canary_interval_seconds", "How often the golden set is to be ranked.", by
        )

    def watch_devices(self, devices: Callable[[], Sequence[Device]]) -> None:
        """Show accelerators: `devices` is called at every scrape, off the event loop."""
        self._devices = devices

    def text(self) -> bytes:
        """Return the exposition format that every Prometheus reads."""
        return generate_latest(self._scraped)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return what a scraper gets and its media type: OpenMetrics, which carries exemplars, where it is accepted."""
        if "application/openmetrics-text" in accept:
            return cast("bytes", openmetrics.generate_latest(self._scraped)), OPENMETRICS
        return self.text(), TEXT

    def _machine(self) -> Iterator[Metric]:
        """What is read anew at every scrape."""
        memory = machine.memory()
        yield _family("rerankd_build_info", "1; the version is a label.", "version", {__version__: 1.0})
        yield _family("rerankd_usable_cores", "Cores that this process may use.", "", {"": machine.usable_cores()})
        yield _family(
            "rerankd_usable_memory_bytes",
            "Memory that this process may use.",
            "",
            {"": memory.usable} if memory else {},
        )
        devices = self._devices()
        for name, doc, read in _DEVICE_GAUGES:
            yield _family(name, doc, "device", {device.name: read(device) for device in devices})

    def _counter(self, name: str, doc: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, doc, labels, registry=self._registry)

    def _histogram(self, name: str, doc: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
        return Histogram(name, doc, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, doc: str, labels: Sequence[str] = ()) -> Gauge:
        # Of several processes, those that live are added up.
        return Gauge(name, doc, labels, registry=self._registry, multiprocess_mode="livesum")


class _WhenAsked:
    """A collector that is a function."""

    def __init__(self, read: Callable[[], Iterator[Metric]]) -> None:
        self.collect = read


def _family(name: str, doc: str, label: str, values: Mapping[str, float | None]) -> Metric:
    """Make a gauge; what is None has no sample. Without a label its only value stands under ""."""
    family = GaugeMetricFamily(name, doc, labels=[label] if label else [])
    for key, value in values.items():
        if value is not None:
            family.add_metric([key] if label else [], value)
    return family


_DEVICE_GAUGES: tuple[tuple[str, str, Callable[[Device], float | None]], ...] = (
    ("rerankd_gpu_memory_total_bytes", "Memory of a GPU.", lambda device: device.total_bytes),
    ("rerankd_gpu_memory_free_bytes", "Memory of a GPU that no process holds.", lambda device: device.free_bytes),
    ("rerankd_gpu_memory_held_bytes", "Memory of a GPU that this process holds.", lambda device: device.ours_bytes),
    ("rerankd_gpu_busy_ratio", "Share of time in which a GPU computed.", lambda device: device.busy),
)
