"""The end-of-sequence probe: an answer that ends before it has begun is broken."""

from __future__ import annotations

import pytest

from harness.base.held import How
from harness.base.reply import Reply
from suites.ending import REPEATS
from tests.suites.replies import CUT, STALLED, STATUS_401, STATUS_500, bodies, held, refusal, suite
from tests.suites.replies import answer as said
from tests.suites.replies import calling as called

MADE = suite("ending")
THOUGHT = "The user asks for the capital of France."


@pytest.mark.parametrize(
    ("reply", "how"),
    [
        (said("Paris."), How.KEPT),
        (said("\n Paris "), How.KEPT),
        (said("Paris.", reasoning=THOUGHT), How.KEPT),
        (said("Par", "length"), How.KEPT),
        (said("", "length"), How.KEPT),
        (said("", "length", reasoning=THOUGHT), How.KEPT),
        (called(("capital", "{}")), How.KEPT),
        (called(("capital", "{}"), finish_reason="stop"), How.KEPT),
        (said(""), How.BROKEN),
        (said(" \n\t"), How.BROKEN),
        (said("", reasoning=THOUGHT), How.BROKEN),
        (said("", "tool_calls"), How.BROKEN),
        (said("", "content_filter"), How.BROKEN),
        (refusal("messages: not supported"), How.BROKEN),
        (refusal("messages: not supported", 422), How.BROKEN),
        (refusal("aborted", None), How.BROKEN),
        (STATUS_500, How.UNANSWERED),
        (STATUS_401, How.UNANSWERED),
        (CUT, How.UNANSWERED),
        (STALLED, How.UNANSWERED),
    ],
)
def test_each_answer_is_held_by_whether_it_says_something(reply: Reply, how: How) -> None:
    made = MADE.hold
    assert made is not None
    assert made(MADE.tasks[0], reply).how is how
    assert made(MADE.tasks[-1], reply).how is how


def test_what_is_kept_shows_what_was_said_and_what_is_broken_how_it_ended() -> None:
    assert held(MADE, "repeat-7", said("Paris.")).why == "Paris."
    silent = held(MADE, "repeat-7", said("", reasoning=THOUGHT))
    assert silent.why == "finish_reason 'stop', and nothing is said"


def test_one_request_is_asked_again_and_again_and_streamed() -> None:
    found = bodies(MADE)
    assert list(found) == [f"repeat-{n}/streamed" for n in range(REPEATS)]
    assert all(body == found["repeat-0/streamed"] for body in found.values())
    assert found["repeat-0/streamed"]["max_tokens"] == 64
    assert all(task.exact is not None and task.exact.streamed for task in MADE.tasks)
