"""A stop wakes whoever waits, and a full disk is waited out until there is one."""

from __future__ import annotations

import threading
import time

import pytest

from harness.nodes import stop as stops
from harness.nodes.stop import Stop
from harness.runs.journal import NoRoomError


def test_whoever_waits_is_woken_by_a_stop() -> None:
    stop = Stop(lambda _: None)
    assert not stop.is_set() and not stop.wait(0.001)
    threading.Timer(0.02, stop.set).start()
    began = time.monotonic()
    assert stop.wait(30.0) and stop.is_set()
    assert time.monotonic() - began < 10.0


def test_a_full_disk_is_told_once_and_tried_again_until_the_user_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stops, "AGAIN_S", 0.001)
    said = list[str]()
    stop = Stop(said.append)
    for _ in range(3):
        stop.full(NoRoomError("a.jsonl: no room"))
    stop.full(NoRoomError("b.jsonl: no room"))
    assert said == [
        "a.jsonl: no room; the run waits until there is",
        "b.jsonl: no room; the run waits until there is",
    ]
    stop.set()
    with pytest.raises(NoRoomError, match=r"b\.jsonl"):
        stop.full(NoRoomError("b.jsonl: no room"))
