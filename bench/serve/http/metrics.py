"""What a Prometheus server scrapes: requests, tokens, batches, and how many wait."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The measured values of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "bench_requests", "Requests answered", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "bench_request_seconds", "Seconds from request to answer", ["path"], registry=self.registry
        )
        self.tokens = Counter(
            "bench_tokens", "Tokens read and written", ["model", "kind"], registry=self.registry
        )
        self.batches = Histogram(
            "bench_batch_size", "Asks decoded together", buckets=SIZES, registry=self.registry
        )

    def wait_is(self, length: Callable[[], int]) -> None:
        """Read how many asks wait when it is scraped."""
        Gauge("bench_waiting", "Asks that wait", registry=self.registry).set_function(length)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    def answered(self, model: str, prompt: int, completion: int) -> None:
        """Count an answer's tokens."""
        self.tokens.labels(model, "prompt").inc(prompt)
        self.tokens.labels(model, "completion").inc(completion)

    def text(self) -> bytes:
        """All values in Prometheus' text form."""
        return bytes(generate_latest(self.registry))
