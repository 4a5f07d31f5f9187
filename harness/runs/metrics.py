"""What goes on in a run, for Prometheus: on loopback, read from the numbers that the run keeps."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from harness.base.errors import ConfigError
from harness.runs.retry import Failure
from harness.runs.watch import Histogram, Watches

if TYPE_CHECKING:
    from http.server import HTTPServer

LOOPBACK = "127.0.0.1"
PREFIX = "enginediff_run"


@contextmanager
def served(watches: Watches, port: int) -> Generator[str]:
    """Serves `/metrics` for the length of the block; 0: on any free port. Yields its URL.

    `watches` is asked each time. ConfigError where the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(watches))
    try:
        server, thread = start_http_server(port, addr=LOOPBACK, registry=registry)
    except OSError as error:
        raise ConfigError(f"--metrics {port}: cannot be listened on: {error.strerror}") from error
    try:
        yield f"http://{LOOPBACK}:{_port(server)}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Collector(Collector):
    def __init__(self, watches: Watches) -> None:
        self._watches = watches

    def collect(self) -> Iterator[Metric]:
        over = CounterMetricFamily(
            f"{PREFIX}_requests_over", "Requests that are over", labels=["engine", "outcome"]
        )
        failures = CounterMetricFamily(
            f"{PREFIX}_attempts_failed", "Attempts that failed", labels=["engine", "kind"]
        )
        yield from (self._gauge(*row) for row in GAUGES)
        yield from (self._counter(*row) for row in COUNTERS)
        yield from (self._histogram(*row) for row in HISTOGRAMS)
        for watch in self._watches():
            for outcome, count in list(watch.outcomes.items()):
                over.add_metric([watch.engine, outcome], count)
            for kind in Failure:
                failures.add_metric([watch.engine, kind], watch.failures[kind])
        yield over
        yield failures
        yield from (self._of_nodes(*row) for row in NODES)

    def _of_nodes(self, name: str, field: str, words: str) -> Metric:
        family = GaugeMetricFamily(f"{PREFIX}_{name}", words, labels=["engine", "node"])
        for watch in self._watches():
            for node, there in watch.nodes.items():
                family.add_metric([watch.engine, node], float(getattr(there, field)))
        return family

    def _gauge(self, name: str, field: str, words: str) -> Metric:
        family = GaugeMetricFamily(f"{PREFIX}_{name}", words, labels=["engine"])
        for watch in self._watches():
            family.add_metric([watch.engine], float(getattr(watch, field)))
        return family

    def _counter(self, name: str, field: str, words: str) -> Metric:
        family = CounterMetricFamily(f"{PREFIX}_{name}", words, labels=["engine"])
        for watch in self._watches():
            family.add_metric([watch.engine], float(getattr(watch, field)))
        return family

    def _histogram(self, name: str, field: str, words: str) -> Metric:
        family = HistogramMetricFamily(f"{PREFIX}_{name}", words, labels=["engine"])
        for watch in self._watches():
            histogram: Histogram = getattr(watch, field)
            family.add_metric([watch.engine], histogram.cumulative(), histogram.sum)
        return family


GAUGES = (
    ("requests", "total", "Requests of this run"),
    ("requests_in_flight", "in_flight", "Requests that the engine has"),
    ("requests_allowed", "allowed", "Requests that it may have, by its answers so far"),
    ("client_late_worst_seconds", "late_worst_s", "The worst delay of this process itself"),
    ("without_room", "paused", "Whether the run waits for room on the disk"),
)
NODES = (
    ("node_requests_in_flight", "in_flight", "Requests that the engine has on a node"),
    ("node_tokens_received", "tokens", "Tokens received on a node by its worker"),
)
COUNTERS = (
    ("tokens_received", "tokens", "Tokens received by this process"),
    ("answers_continued", "continued", "Times that an answer was gone on with"),
    ("engine_restarts", "restarts", "Times that the engine was started again"),
)
HISTOGRAMS = (
    ("first_token_seconds", "first_token_s", "From an attempt's request to its first token"),
    ("between_tokens_seconds", "between_tokens_s", "Between two pieces of an answer"),
    ("whole_answer_seconds", "whole_s", "From a request's first attempt to its end"),
)


def _port(server: HTTPServer) -> int:
    return int(server.server_address[1])
