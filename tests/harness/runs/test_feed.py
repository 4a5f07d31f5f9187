"""A feed gives out each number once, in the order that was said last, whatever is said again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.runs.feed import Feed, Listed
from harness.runs.plan import Plan
from launchers.vllm import VllmDialect
from tests.harness.runs.made_up import SPEC, cases, suite


def taken(feed: Feed) -> int | None:
    """What the next one is, without a wait."""
    waiting = feed.next()
    try:
        waiting.send(None)
    except StopIteration as done:
        return done.value
    waiting.close()
    raise LookupError("it waits")


def ran(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


def test_what_is_kept_is_begun_in_that_order_and_the_end_is_told_to_everyone() -> None:
    feed = Feed()
    feed.keep([3, 1, 2], closed=True)
    assert [taken(feed) for _ in range(5)] == [3, 1, 2, None, None]


def test_what_is_begun_stays_though_it_is_not_kept_and_is_not_begun_again_though_it_is() -> None:
    feed = Feed()
    feed.keep([1, 2, 3], closed=False)
    assert taken(feed) == 1
    feed.keep([], closed=False)
    assert feed.held(()) == ([], [1])
    feed.keep([2, 1], closed=True)
    assert feed.held(()) == ([2], [1])
    assert [taken(feed), taken(feed)] == [2, None]


def test_what_is_over_is_held_no_more() -> None:
    feed = Feed()
    feed.keep([1, 2], closed=False)
    assert (taken(feed), taken(feed)) == (1, 2)
    assert feed.held({1: "answered"}) == ([], [2])
    assert feed.held({2: "stalled"}) == ([], [])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_number_is_begun_twice_and_what_is_held_is_what_was_said_and_not_begun(
    data: st.DataObject,
) -> None:
    """Whatever is kept and taken in whichever order: against a list and a set."""
    feed, begun = Feed(), list[int]()
    queue = list[int]()
    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans()):
            numbers = data.draw(st.lists(st.integers(0, 8), unique=True))
            feed.keep(numbers, closed=False)
            queue = [n for n in numbers if n not in begun]
        elif queue:
            assert taken(feed) == queue[0]
            begun.append(queue.pop(0))
        assert feed.held(()) == (queue, begun)
    assert len(set(begun)) == len(begun)


def test_whoever_waits_is_woken_from_another_thread_and_each_gets_another_number() -> None:
    feed = Feed()

    async def waited() -> None:
        with feed.bound():
            waiting = [asyncio.create_task(feed.next()) for _ in range(4)]
            await asyncio.sleep(0.01)
            assert not any(task.done() for task in waiting)
            for numbers, closed in (([5], False), ([5, 6], False), ([5, 6, 7], True)):
                thread = threading.Thread(
                    target=feed.keep, args=(numbers,), kwargs={"closed": closed}
                )
                thread.start()
                await asyncio.to_thread(thread.join)
            found = await asyncio.gather(*waiting)
            assert sorted(found, key=str) == [5, 6, 7, None]

    ran(waited())


def test_a_loop_that_sleeps_is_woken_at_once() -> None:
    """Nothing else goes on in it: it would sleep on until the twenty seconds are over."""
    feed = Feed()

    async def waited() -> None:
        with feed.bound() as stop:
            threading.Timer(0.05, feed.keep, ([5],), {"closed": False}).start()
            assert await feed.next() == 5
            threading.Timer(0.05, feed.stop).start()
            await stop.wait()

    ran(waited())


def test_numbers_that_come_while_it_is_read_are_all_read_once() -> None:
    """Three readers, and a thread that says more and more: no waking is lost."""
    feed, found, count = Feed(), list[int](), 300

    def led() -> None:
        for end in range(0, count + 1, 3):
            feed.keep(range(end), closed=False)
        feed.keep(range(count), closed=True)

    async def read() -> None:
        while (n := await feed.next()) is not None:
            found.append(n)
            await asyncio.sleep(0)

    async def all_read() -> None:
        with feed.bound():
            leading = asyncio.create_task(asyncio.to_thread(led))
            await asyncio.gather(*(read() for _ in range(3)))
            await leading

    ran(all_read())
    assert sorted(found) == list(range(count))


def test_an_engine_that_was_started_again_asks_first_what_it_had_begun() -> None:
    feed = Feed()
    feed.keep([1, 2, 3, 4], closed=True)

    async def life(count: int) -> None:
        with feed.bound():
            for _ in range(count):
                await feed.next()

    ran(life(3))
    assert feed.held({2: "answered"}) == ([4], [1, 3])

    async def again() -> None:
        with feed.bound():
            assert feed.held(()) == ([1, 3, 4], [])
            assert [await feed.next() for _ in range(4)] == [1, 3, 4, None]

    ran(again())


def test_a_stop_is_heard_by_the_loop_that_is_bound_and_by_one_that_comes_later() -> None:
    feed = Feed()

    async def stopped() -> None:
        with feed.bound() as stop:
            assert not stop.is_set()
            threading.Thread(target=feed.stop).start()
            await stop.wait()

    async def later() -> None:
        with feed.bound() as stop:
            assert stop.is_set()

    ran(stopped())
    assert feed.stopped.is_set()
    ran(later())


def test_what_is_said_between_two_loops_is_there_in_the_next() -> None:
    feed = Feed()

    async def nothing() -> None:
        with feed.bound():
            pass

    ran(nothing())
    feed.keep([9], closed=True)
    feed.stop()

    async def read() -> None:
        with feed.bound():
            assert [await feed.next(), await feed.next()] == [9, None]

    ran(read())


def test_requests_that_are_all_known_are_given_one_by_one_to_many_readers() -> None:
    plan = Plan(SPEC, cases(suite(5)), VllmDialect(model="m"), "e")
    requests = [plan.request(n) for n in range(5)]
    listed, found = Listed(requests), list[int]()

    async def read() -> None:
        async for request in listed:
            found.append(request.n)
            await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(read(), read())

    ran(both())
    assert found == [0, 1, 2, 3, 4]


def test_it_is_drained_when_nothing_is_left_and_no_more_will_come() -> None:
    feed = Feed()
    feed.keep([1], closed=False)
    assert not feed.drained
    feed.keep([1], closed=True)
    assert not feed.drained
    feed.keep([], closed=False)
    assert not feed.drained
    feed.keep([], closed=True)
    assert feed.drained
