"""The simulated makespan: what a node does in a time, what cannot be beaten, and its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.makespan import __main__ as script
from scripts.makespan import account, bounds, page, schedules
from scripts.makespan.machine import MACHINES, Machine
from scripts.makespan.plan import KINDS, answers, cases

MACHINE = Machine(name="toy", step_ms={1: 10.0, 3: 14.0, 4: 18.0}, source="", assumed="")
FEW = tuple(replace(kind, tasks=10, epochs=min(kind.epochs, 4)) for kind in KINDS)


def fifo(nodes: int, tokens: Sequence[int], machine: Machine = MACHINE) -> float:
    return schedules.sharded(machine, nodes, tokens, range(len(tokens)))


def test_a_step_takes_what_was_measured_and_between_that_a_part() -> None:
    assert MACHINE.steps_s[1:] == pytest.approx([0.010, 0.012, 0.014, 0.018])
    assert MACHINE.best == pytest.approx(4 / 0.018)
    assert MACHINE.alone == pytest.approx(100)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_more_at_once_is_faster_in_all_and_slower_for_each(machine: Machine) -> None:
    rates = [machine.rate(n) for n in range(1, machine.limit + 1)]
    assert rates == sorted(rates)
    assert machine.steps_s == sorted(machine.steps_s)


def test_two_answers_share_a_node_until_the_shorter_is_over() -> None:
    assert fifo(1, [100, 300]) == pytest.approx(100 * 0.012 + 200 * 0.010)


def test_a_fifth_answer_waits_for_a_place() -> None:
    assert fifo(1, [50, 100, 100, 100, 70]) == pytest.approx(
        50 * 0.018 + 50 * 0.018 + 20 * 0.010  # the fifth goes on where the first was
    )


def test_sequential_waits_for_the_last_of_each_kind() -> None:
    kinds = [replace(KINDS[0], tasks=2), replace(KINDS[1], tasks=1)]
    took = schedules.sequential(MACHINE, 2, [100, 300, 50], kinds)
    assert took == pytest.approx(300 * 0.010 + 50 * 0.010)


def test_the_longest_answer_alone_bounds_what_many_nodes_take() -> None:
    assert bounds.lower(MACHINE, 100, [1_000, 10]) == pytest.approx(10)
    assert bounds.lower(MACHINE, 1, [1_000] * 8) == pytest.approx(8_000 * 0.018 / 4)


def test_beside_a_fast_answer_a_node_is_slower_in_all() -> None:
    assert MACHINE.rate_beside(1 / 0.018) == pytest.approx(MACHINE.best)
    assert MACHINE.rate_beside(100) == pytest.approx(100)
    assert MACHINE.rate_beside(101) == 0


@settings(deadline=None)  # of a machine that others use
@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=40), st.integers(1, 5))
def test_no_order_beats_the_bounds(tokens: list[int], nodes: int) -> None:
    for order in (tokens, sorted(tokens), sorted(tokens, reverse=True)):
        took = fifo(nodes, order)
        assert bounds.lower(MACHINE, nodes, tokens) <= took * (1 + 1e-9)
        assert bounds.foreseen(MACHINE, nodes, tokens) <= took * (1 + 1e-9)


def test_answers_are_drawn_the_same_again_and_a_tasks_are_alike() -> None:
    first, other = answers(KINDS, 1), answers(KINDS, 1, engine=1)
    assert first == answers(KINDS, 1) != other
    assert len(first) == len(cases(KINDS)) == 11_380
    start = sum(kind.requests for kind in KINDS[:4])
    aime = first[start : start + 960]
    assert sum(aime) / 960 == pytest.approx(24_000, rel=0.1)
    assert max(aime) == 98_304


def test_ours_asks_all_of_two_engines_and_beats_the_sequential_run() -> None:
    plan = cases(FEW)
    one, two = answers(FEW, 1), answers(FEW, 1, engine=1)
    took = schedules.ours(MACHINE, 2, one, plan)
    assert bounds.lower(MACHINE, 2, one) < took < schedules.sequential(MACHINE, 2, one, FEW)
    both = schedules.compared(MACHINE, 2, [one, two], plan)
    assert took < both.seconds
    assert len(plan) / 2 < both.same_node <= len(plan)


def test_ours_is_within_five_percent_on_two_nodes() -> None:
    row = account.row(MACHINES[1], 2, [1])
    assert row.worst <= account.WITHIN


def test_the_page_names_every_machine_and_the_picture_is_svg(tmp_path: Path) -> None:
    rows = [account.row(machine, 2, [1], FEW) for machine in MACHINES]
    pairs = [account.pair(MACHINES[0], 2, 1, FEW)]
    script.write(tmp_path, rows, pairs, range(1, 2))
    text = (tmp_path / "README.md").read_text()
    assert all(machine.source in text for machine in MACHINES)
    assert "15 h on 2 nodes" in "\n".join(page.summary(rows))
    assert ElementTree.parse(tmp_path / "makespan.svg").getroot().tag.endswith("svg")
