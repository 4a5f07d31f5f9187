"""A real scrape, read by Prometheus' own parser."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.base.errors import ConfigError
from harness.runs import metrics
from harness.runs.retry import Failure
from harness.runs.watch import Watch

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(url: str) -> Samples:
    """Every sample by its name and labels."""
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"enginediff_run_{name}", frozenset(labels.items())]


def test_what_is_scraped_is_what_goes_on_and_engines_may_come_meanwhile() -> None:
    odd = 'a "pin" --set x=1\\2\nü'
    watch = Watch(engine=odd, total=9, in_flight=3, allowed=4, tokens=700, paused=True)
    watches = [watch]
    with metrics.served(lambda: watches, 0) as url:
        for outcome, seconds in (("answered", 0.7), ("stalled", 3.0)):
            watch.asked(0.0)
            watch.ended(outcome, 0.0, seconds)
        watch.failures[Failure.STALLED] = 4
        for seconds in (0.005, 0.01, 7.0, 9999.0):
            watch.first_token_s.add(seconds)
        watches.append(Watch(engine="b", total=5, restarts=2))
        found = scraped(url)
    assert value(found, "requests", engine=odd) == 9
    assert value(found, "requests_in_flight", engine=odd) == 3
    assert value(found, "requests_allowed", engine=odd) == 4
    assert value(found, "without_room", engine=odd) == 1
    assert value(found, "tokens_received_total", engine=odd) == 700
    assert value(found, "requests_over_total", engine=odd, outcome="answered") == 1
    assert value(found, "requests_over_total", engine=odd, outcome="stalled") == 1
    assert value(found, "attempts_failed_total", engine=odd, kind="stalled") == 4
    assert value(found, "attempts_failed_total", engine=odd, kind="rate limited") == 0
    assert value(found, "engine_restarts_total", engine="b") == 2
    counts = [
        value(found, "first_token_seconds_bucket", engine=odd, le=le)
        for le in ("0.01", "5.0", "10.0", "1800.0", "+Inf")
    ]
    assert counts == [2, 2, 3, 3, 4]
    assert value(found, "first_token_seconds_count", engine=odd) == 4
    assert value(found, "first_token_seconds_sum", engine=odd) == pytest.approx(10006.015)


def test_it_listens_on_loopback_and_no_longer_than_the_block() -> None:
    with metrics.served(list, 0) as url:
        assert url.startswith("http://127.0.0.1:")
        scraped(url)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


def test_a_port_that_is_taken_is_the_users_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"--metrics {port}: cannot be listened on"),
            metrics.served(list, port),
        ):
            pass
