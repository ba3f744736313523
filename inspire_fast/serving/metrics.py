"""Prometheus metrics of a policy server, at `GET /metrics`."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from inspire_fast.core.types import ActionChunk
from inspire_fast.serving.batcher import Reply

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30)
_WORDS = 32  # answers of a question with a series of their own; positions have thousands
_ROWS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters and histograms of one server. Times are seconds.

    | name | labels | |
    | --- | --- | --- |
    | `inspire_fast_phase_seconds` | phase | histogram: `wait`, `infer`, `total`, the policy's phases |
    | `inspire_fast_batch_rows` | | histogram of requests per call, one entry per request |
    | `inspire_fast_chunks_total` | status | sent chunks: `ok`, `held` |
    | `inspire_fast_answers_total` | question, answer | sent answers; beyond 32 words of a question, `other` |
    | `inspire_fast_errors_total` | code | sent error frames |
    | `inspire_fast_lost_total` | | requests whose client left before the answer |
    | `inspire_fast_waiting`, `inspire_fast_connections` | | gauges |
    """

    def __init__(self, *, waiting: Callable[[], float], connections: Callable[[], float]) -> None:
        """Takes the functions that the gauges read."""
        self._registry = CollectorRegistry()
        self._words: dict[str, set[str]] = {}
        common = {"registry": self._registry, "namespace": "inspire_fast"}
        self._phases = Histogram("phase_seconds", "Time per phase of a request.", ["phase"], buckets=_SECONDS, **common)
        self._rows = Histogram("batch_rows", "Requests in the batch of a request.", buckets=_ROWS, **common)
        self._chunks = Counter("chunks", "Chunks sent.", ["status"], **common)
        self._answers = Counter("answers", "Answers sent.", ["question", "answer"], **common)
        self._errors = Counter("errors", "Error frames sent.", ["code"], **common)
        self._lost = Counter("lost", "Requests whose client left before the answer.", **common)
        Gauge("waiting", "Requests that wait.", **common).set_function(waiting)
        Gauge("connections", "Open connections.", **common).set_function(connections)

    def answered(self, reply: Reply, total_s: float) -> None:
        """Counts a sent chunk; `total_s` is the time since its request arrived."""
        chunk: ActionChunk = reply.chunk
        times = {phase.removesuffix("_ms"): ms for phase, ms in chunk.timing_ms.items() if phase.endswith("_ms")}
        times |= {"wait": reply.wait_ms, "infer": reply.infer_ms, "total": 1e3 * total_s}
        for phase, ms in times.items():
            self._phases.labels(phase).observe(ms / 1e3)
        self._rows.observe(reply.rows)
        self._chunks.labels(str(chunk.status)).inc()
        for answer in chunk.answers:
            known = self._words.setdefault(answer.question, set())
            if len(known) < _WORDS:
                known.add(answer.answer)
            self._answers.labels(answer.question, answer.answer if answer.answer in known else "other").inc()

    def failed(self, code: str) -> None:
        """Counts a sent error."""
        self._errors.labels(code).inc()

    def lost(self) -> None:
        """Counts a request whose client left before the answer."""
        self._lost.inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
