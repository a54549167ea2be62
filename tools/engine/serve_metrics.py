"""What a server counts, in Prometheus' text form: requests, tokens, waiting and working, and how long clients wait."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class ServeMetrics:
    """One server's figures. Labels are names of served models and HTTP statuses: nothing of what was asked."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, waiting: Callable[[], float], working: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("luthier_requests", "Requests by model and HTTP status.", ["model", "status"], registry=self._registry)
        self.dropped = Counter("luthier_disconnects", "Answers given up because the client went away.", registry=self._registry)
        self.tokens = Counter("luthier_tokens", "Tokens by model and kind.", ["model", "kind"], registry=self._registry)
        self.first = Histogram("luthier_first_token_seconds", "From the request to its first token.", buckets=SECONDS,
                               registry=self._registry)
        self.whole = Histogram("luthier_answer_seconds", "From the request to the end of its answer.", buckets=SECONDS,
                               registry=self._registry)
        Gauge("luthier_waiting", "Requests that wait for a place.", registry=self._registry).set_function(waiting)
        Gauge("luthier_working", "Answers in the making.", registry=self._registry).set_function(working)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)
