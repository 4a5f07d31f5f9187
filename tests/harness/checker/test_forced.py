"""The order of drawing, the classes of tokens, and |d| by position and class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.checker.forced import CLASSES, Breakdown, permutation, rounds, token_class
from harness.checker.judge import Judge
from harness.checker.outcome import Word
from harness.recording import Token
from tests.building import TOLERANCE, distance


@given(st.lists(st.integers(), unique=True, max_size=50), st.integers(0, 2**40), st.text())
def test_an_order_holds_each_member_once_and_is_fixed_by_seed_and_name(
    members: list[int], seed: int, name: str
) -> None:
    order = permutation(members, seed=seed, name=name)
    assert sorted(order) == sorted(members)
    assert permutation(members, seed=seed, name=name) == order


def test_an_order_is_pinned_for_good() -> None:
    """A published verdict names its seed: the order must not change under it."""
    assert permutation(range(8), seed=0, name="chat") == [6, 4, 0, 3, 2, 5, 7, 1]


def test_another_seed_or_another_stratum_is_another_order() -> None:
    orders = [
        permutation(range(80), seed=seed, name=name)
        for seed in (0, 1)
        for name in ("chat", "tools", "text")
    ]
    assert len({tuple(order) for order in orders}) == len(orders)


def judged(d: dict[str, float]) -> tuple[Judge, list[list[int]]]:
    """80 prompts of each stratum, |d| as given everywhere; the rounds in which they were drawn."""
    groups = dict.fromkeys(d, (80, TOLERANCE))
    judge = Judge(level="L2", groups=groups, alpha=0.002, beta=0.005)
    starts = {stratum: 1000 * number for number, stratum in enumerate(d)}
    orders = {stratum: range(start, start + 80) for stratum, start in starts.items()}
    drawn: list[list[int]] = []
    for rows in rounds(judge, orders):
        drawn.append(rows)
        for row in rows:
            stratum = list(d)[row // 1000]
            judge.add(stratum, distance([d[stratum]] * 20))
    return judge, drawn


def test_strata_are_drawn_in_turn_few_at_first_and_no_further_than_the_word() -> None:
    judge, drawn = judged({"chat": 10.0, "text": 0.0})
    assert judge.word() is Word.DIFFERENT
    assert drawn[:3] == [[0, 1000], [1, 1001], [2, 3, 1002, 1003]]
    assert len(drawn) < 6


def test_a_settled_stratum_is_not_drawn_on() -> None:
    """|d| of 0.9 tau settles late, of 0 as early as S allows."""
    judge, drawn = judged({"chat": 0.0, "text": 0.9 * TOLERANCE.tau_a})
    assert judge.settled("chat")
    last = [row for row in drawn[-1] if row < 1000]
    assert not last
    assert judge.drawn("chat") < judge.drawn("text") == 80
    assert [row for rows in drawn for row in rows if row >= 1000] == list(range(1000, 1080))


def test_orders_are_uniform_over_seeds() -> None:
    """All 24 orders of 4 members, 4 800 seeds: chi-square with 23 degrees of freedom above 49.7
    happens to right code in 1 of 1 000 choices of the seeds; these are fixed."""
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(4800):
        order = tuple(permutation(range(4), seed=seed, name="chat"))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert sum((n - 200) ** 2 / 200 for n in counts.values()) < 49.7


@pytest.mark.parametrize(
    ("text", "special", "name"),
    [
        ("<think>", True, "think"),
        ("</think>\n", False, "think"),
        ("<|im_end|>", True, "special"),
        ("<|tool_call_begin|>", False, "special"),
        ("[EOS]", True, "special"),
        ("", False, "space"),
        (" \n\t", False, "space"),
        (" 42", False, "digit"),
        ("4a", False, "word"),
        ("Grüße", False, "word"),
        ("中文", False, "word"),
        ("+=", False, "other"),
        ("3.1", False, "other"),
    ],
)
def test_each_token_has_its_class(text: str, special: bool, name: str) -> None:
    assert CLASSES[token_class(Token(text=text, special=special))] == name


def naive(d: list[float], classes: list[int]) -> dict[str, dict[Any, tuple[int, float]]]:
    """Tokens and mean |d| by the power of two below a position, and by class."""
    found: dict[str, dict[Any, list[float]]] = {"from": {}, "class": {}}
    for position, (value, index) in enumerate(zip(d, classes, strict=True), 1):
        found["from"].setdefault(2 ** (position.bit_length() - 1), []).append(abs(value))
        found["class"].setdefault(CLASSES[index], []).append(abs(value))
    return {
        key: {name: (len(v), sum(v) / len(v)) for name, v in table.items()}
        for key, table in found.items()
    }


def as_table(rows: list[dict[str, Any]], key: str) -> dict[Any, Any]:
    return {row[key]: (row["tokens"], pytest.approx(row["mean_absolute_d"])) for row in rows}


TOKENS = st.tuples(st.floats(-5, 5), st.integers(0, len(CLASSES) - 1))


@settings(max_examples=60)
@given(st.lists(TOKENS, min_size=1, max_size=70), st.data())
def test_the_breakdown_is_what_loops_over_tokens_find(
    tokens: list[tuple[float, int]], data: st.DataObject
) -> None:
    d, classes = [value for value, _ in tokens], [index for _, index in tokens]
    generated_from = data.draw(st.integers(1, len(d) + 1))
    breakdown = Breakdown()
    breakdown.add(np.array(d), np.array(classes), generated_from)
    table = breakdown.table()
    expected = naive(d, classes)
    assert expected["from"] == as_table(table["positions"], "from")
    assert expected["class"] == as_table(table["classes"], "class")
    assert table["mean_absolute_d"] == pytest.approx(float(np.abs(d).mean()))
    own = d[generated_from - 1 :]  # position t stands in row t - 1
    assert table["mean_d"] == (pytest.approx(sum(own) / len(own)) if own else None)


def test_a_breakdown_of_nothing_has_no_numbers() -> None:
    table = Breakdown().table()
    assert (table["mean_d"], table["mean_absolute_d"], table["slope_per_doubling"]) == (None,) * 3
    assert (table["positions"], table["classes"]) == ([], [])


def test_the_slope_is_how_much_d_grows_when_the_position_doubles() -> None:
    powers = np.floor(np.log2(np.arange(1, 128)))
    grows, flat = Breakdown(), Breakdown()
    classes = np.zeros(127, dtype=np.int64)
    grows.add(-(0.1 + 0.02 * powers), classes, 1)
    flat.add(np.full(127, 0.3), classes, 1)
    assert grows.table()["slope_per_doubling"] == pytest.approx(0.02)
    assert flat.table()["slope_per_doubling"] == pytest.approx(0.0)
