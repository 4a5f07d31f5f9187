"""An answer put together from parts, and cut where it can be gone on with."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.runs.answer import HALF, Answer, called


def test_calls_are_told_apart_by_index_and_not_by_id() -> None:
    """KVV sorts ids as texts: f:10 comes before f:2."""
    pieces = [
        {"index": n, "id": f"f:{n}", "function": {"name": f"g{n}", "arguments": '{"a"'}}
        for n in range(11)
    ]
    more = [
        {"index": n, "id": None, "function": {"name": None, "arguments": f":{n}}}"}}
        for n in reversed(range(11))
    ]
    found = called([*pieces, *more])
    assert [one["id"] for one in found] == [f"f:{n}" for n in range(11)]
    assert found[10] == {"id": "f:10", "name": "g10", "arguments": '{"a":10}'}


def test_texts_of_both_kinds_are_kept_apart() -> None:
    answer = Answer()
    for part in ({"reasoning": "r1"}, {"content": "a"}, {"reasoning": "r2", "content": "b"}):
        answer.add(part)
    answer.add({"finish_reason": "stop"})
    assert answer.whole() == {"reasoning": "r1r2", "content": "ab", "finish_reason": "stop"}
    assert answer.finish_reason == "stop" and answer.safe == 0  # no ids: nothing to go on behind


@given(
    pieces=st.lists(st.tuples(st.sampled_from(["", "a", "é", HALF]), st.integers(1, 3))),
    ends=st.booleans(),
)
def test_what_is_left_after_a_cut_is_a_beginning_that_ends_with_a_whole_character(
    pieces: list[tuple[str, int]], ends: bool
) -> None:
    answer, texts, ids = Answer(), "", list[int]()
    safe = 0, ""
    for place, (text, count) in enumerate(pieces):
        last = ends and place == len(pieces) - 1
        answer.add(
            {
                **({"content": text} if text else {"half": True}),
                "token_ids": [place] * count,
                **({"finish_reason": "stop"} if last else {}),
            }
        )
        texts, ids = texts + text, ids + [place] * count
        if text in ("a", "é") and not last:
            safe = len(ids), texts
    assert answer.whole().get("content", "") == texts
    assert answer.token_ids.tolist() == ids
    assert answer.cut() == safe[0]
    assert answer.whole().get("content", "") == safe[1]
    assert answer.token_ids.tolist() == ids[: safe[0]]
    assert answer.finish_reason is None


def test_an_answer_some_of_whose_text_has_no_ids_is_begun_anew() -> None:
    answer = Answer()
    answer.add({"content": "a", "token_ids": [1]})
    answer.add({"content": "b", "bare": True})
    answer.add({"content": "c", "token_ids": [3]})
    assert answer.cut() == 0 and answer.whole() == {}


def test_an_answer_of_100_000_tokens_takes_few_bytes() -> None:
    import tracemalloc

    tracemalloc.start()
    answer = Answer()
    for token in range(98_304):
        answer.add({"content": " word", "token_ids": [token]})
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 4_000_000
