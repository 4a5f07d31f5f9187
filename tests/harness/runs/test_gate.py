"""Never more inside than allowed, and who waits gets in, whoever else gives up."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.runs.gate import Gate
from harness.runs.pace import HOLD_S, Pace

Visit = tuple[int, int, bool]  # turns of the loop before it comes, inside, and whether it gives up


async def visited(gate: Gate, visits: list[Visit], refusals: list[int]) -> set[int]:
    """Which visits got in, at the end of all; each is looked at when it enters."""
    entered: set[int] = set()
    most = gate.pace.allowed

    async def visit(n: int, before: int, inside: int) -> None:
        for _ in range(before):
            await asyncio.sleep(0)
        async with gate:
            # Who was let in stays in, though fewer are allowed by the time that it notices.
            assert gate.inside <= (most if refusals else gate.pace.allowed)
            entered.add(n)
            for _ in range(inside):
                await asyncio.sleep(0)
            gate.pace.answered(0.1, 1e9)

    async def refuse() -> None:
        now = 0.0
        for turns in refusals:
            for _ in range(turns):
                await asyncio.sleep(0)
            gate.pace.refused(now)
            now += HOLD_S

    tasks = [asyncio.create_task(visit(n, v[0], v[1])) for n, v in enumerate(visits)]
    refusing = asyncio.create_task(refuse())
    rng = random.Random(0)
    for task, (_, _, gives_up) in zip(tasks, visits, strict=True):
        if gives_up:
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, refusing, return_exceptions=True), 5)
    for task in tasks:
        if not task.cancelled():
            task.result()
    return entered


@settings(deadline=None)
@given(
    most=st.integers(1, 4),
    visits=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.booleans()), max_size=14),
    refusals=st.lists(st.integers(0, 6), max_size=4),
)
def test_nobody_is_forgotten_and_never_are_more_inside_than_allowed(
    most: int, visits: list[Visit], refusals: list[int]
) -> None:
    gate = Gate(Pace(most))
    entered = asyncio.run(visited(gate, visits, refusals))
    assert {n for n, (_, _, gives_up) in enumerate(visits) if not gives_up} <= entered
    assert gate.inside == 0


def test_who_waits_gets_in_in_the_order_of_coming() -> None:
    async def order() -> list[int]:
        gate, found = Gate(Pace(1)), list[int]()

        async def visit(n: int) -> None:
            async with gate:
                found.append(n)
                await asyncio.sleep(0)

        await asyncio.gather(*map(visit, range(9)))
        return found

    assert asyncio.run(order()) == list(range(9))


def test_a_turn_that_was_given_to_one_who_gave_up_is_passed_on() -> None:
    async def passed() -> bool:
        gate = Gate(Pace(1))
        entered = asyncio.Event()

        async def visit() -> None:
            async with gate:
                entered.set()

        async with gate:
            first = asyncio.create_task(visit())
            second = asyncio.create_task(visit())
            await asyncio.sleep(0)
        first.cancel()  # its turn has come, and it has not taken it yet
        await asyncio.wait_for(second, 1)
        return first.cancelled() and entered.is_set()

    assert asyncio.run(passed())


def test_a_limit_that_fell_lets_nobody_in_until_enough_have_left() -> None:
    async def inside() -> list[int]:
        gate = Gate(Pace(4))
        leave = [asyncio.Event() for _ in range(4)]

        async def visit(event: asyncio.Event) -> None:
            async with gate:
                await event.wait()

        tasks = [asyncio.create_task(visit(event)) for event in leave]
        late = asyncio.create_task(visit(asyncio.Event()))
        await asyncio.sleep(0)
        gate.pace.refused(0.0)  # 4 -> 2
        seen: list[int] = []
        for event in leave[:3]:
            event.set()
            for _ in range(4):
                await asyncio.sleep(0)
            seen.append(gate.inside)
        for task in (*tasks, late):
            task.cancel()
        await asyncio.gather(*tasks, late, return_exceptions=True)
        return seen

    assert asyncio.run(inside()) == [3, 2, 2]  # the fifth comes in where the third leaves


def test_where_one_leaves_and_the_limit_has_risen_two_come_in() -> None:
    async def inside() -> int:
        pace = Pace(2)
        pace.refused(0.0)  # 2 -> 1
        gate = Gate(pace)

        async def visit() -> None:
            async with gate:
                await asyncio.Event().wait()

        async with gate:
            tasks = [asyncio.create_task(visit()) for _ in range(3)]
            await asyncio.sleep(0)
            pace.answered(0.1, 0.0)  # 1 -> 2
        for _ in range(4):
            await asyncio.sleep(0)
        found = gate.inside
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return found

    assert asyncio.run(inside()) == 2
