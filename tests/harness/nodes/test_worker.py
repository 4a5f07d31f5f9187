"""A worker whose engine nobody answers for: which orders it heeds, and what it says at its end."""

from __future__ import annotations

import time
from pathlib import Path

from harness.base.errors import ConfigError
from harness.nodes import prepared
from harness.nodes.worker import Errand, Orders, Worker
from harness.runs.life import End
from launchers.process import free_port
from tests.harness.runs.made_up import SPEC, cases, suite


def orders(*keep: int, number: int = 0) -> Orders:
    return Orders(keep=keep, recalled=(), closed=False, have=0, number=number)


def test_orders_that_come_behind_later_ones_are_not_heeded_and_its_end_is_told(
    tmp_path: Path,
) -> None:
    table = SPEC.engines[0]
    engine = prepared.Prepared(
        table=type(table)(name=f"http://127.0.0.1:{free_port()}"),
        loaded=None,
        file="1-e",
        breaches=(),
    )
    errand = Errand(
        spec=SPEC,
        cases=cases(suite(9)),
        engine=engine,
        placed=None,
        journal=tmp_path / "j.jsonl",
        log=tmp_path / "log",
    )
    worker = Worker(errand, fetched=True)
    assert worker.exchange(orders(4, 2, number=5)).unbegun == (4, 2)
    assert worker.exchange(orders(7, number=4)).unbegun == (4, 2)
    assert worker.exchange(orders(2, 8, number=6)).unbegun == (2, 8)
    assert worker.join(20.0)
    deadline = time.monotonic() + 5
    while (news := worker.exchange(orders(number=7))).end is None:
        assert time.monotonic() < deadline
    assert (news.end, news.room, news.lines) == (End.GONE, 0, b"")
    assert isinstance(news.problem, ConfigError) and news.bug is None
