"""Every Prometheus metric, declared once. One `Metrics` per service, so that two services in a process do not mix."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_DOCUMENTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class Metrics:
    """The metrics of one running service, and their text form."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._registry = registry
        self.requests = Counter(
            "rerankd_requests", "Rerank calls answered.", ["dialect", "model", "outcome"], registry=registry
        )
        self.request_seconds = Histogram(
            "rerankd_request_seconds", "From the body read to the answer.", ["dialect"], buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.documents = Histogram(
            "rerankd_request_documents", "Documents in a request.", ["dialect"], buckets=_DOCUMENTS, registry=registry
        )
        self.queue_seconds = Histogram(
            "rerankd_queue_seconds", "From admission to the first batch.", ["model"], buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.pairs = Counter("rerankd_pairs", "Pairs scored, by where the score came from.", ["model", "source"],
                             registry=registry)  # fmt: skip
        self.tokens = Counter("rerankd_tokens", "Tokens run through a network.", ["model"], registry=registry)
        self.chunked = Counter(
            "rerankd_chunked_documents", "Documents scored by several chunks of theirs.", ["model"], registry=registry
        )
        self.truncated = Counter(
            "rerankd_truncated_documents", "Documents cut to a model's limit.", ["model"], registry=registry
        )
        self.queued_tokens = Gauge("rerankd_queued_tokens", "Tokens admitted and not yet done.", registry=registry)
        self.busy_workers = Gauge("rerankd_busy_workers", "Worker threads running a network.", registry=registry)
        self.model_state = Gauge("rerankd_model_state", "1 for the state a model is in.", ["model", "state"],
                                 registry=registry)  # fmt: skip

        self.model_memory = Gauge(
            "rerankd_model_memory_bytes", "What a loaded model's weights take.", ["model"], registry=registry
        )
        self.model_loads = Counter("rerankd_model_loads", "Loads that were begun.", ["model"], registry=registry)
        self.model_unloads = Counter(
            "rerankd_model_unloads", "Models unloaded, by why.", ["model", "reason"], registry=registry
        )

    def text(self) -> bytes:
        """Return the exposition format that Prometheus scrapes."""
        return generate_latest(self._registry)
