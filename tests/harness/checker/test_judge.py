"""When the judge says which word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.record import Distance, Distances
from harness.checker.judge import OF_GIVEN_TOKENS, STATISTICS, Judge
from harness.checker.outcome import StatisticRow, Word
from tests.building import TOLERANCE, distance

STRATA = ("chat", "tools", "thinking", "long", "text", "code")
ALPHA = BETA = 0.005
PROMPTS = 80
QUIET = distance([0.001] * 20)
LOUD = distance([0.1] * 20)  # A is ten times its tolerance


def judge(groups: tuple[str, ...] = STRATA, population: int = PROMPTS) -> Judge:
    members = dict.fromkeys(groups, (population, TOLERANCE))
    return Judge(level="L2", groups=members, alpha=ALPHA, beta=BETA)


def test_no_data_is_inconclusive() -> None:
    none = judge()
    assert none.word() is Word.INCONCLUSIVE
    assert none.log_different() == pytest.approx(0.0)
    assert not none.settled("chat")
    assert none.drawn("chat") == 0
    assert {(row.value, row.raw, row.units) for row in none.rows()} == {(None, None, 0)}


def test_equivalent_needs_every_group() -> None:
    some = judge()
    for _ in range(PROMPTS):
        for name in STRATA[:-1]:
            some.add(name, QUIET)
    assert all(some.settled(name) for name in STRATA[:-1])
    assert some.word() is Word.INCONCLUSIVE
    for _ in range(63):
        some.add(STRATA[-1], QUIET)
    assert some.word() is Word.INCONCLUSIVE  # the sparse statistic takes 64
    some.add(STRATA[-1], QUIET)
    assert some.word() is Word.EQUIVALENT


def test_equivalent_needs_the_sparse_statistic() -> None:
    """4 of 80 sequences with one bad segment: 5 %, the bulk means far inside their tolerance."""
    bad = distance([0.25] * 16 + [0.0] * 2000)
    some = judge(("chat",))
    for number in range(PROMPTS):
        some.add("chat", bad if number % 20 == 10 else QUIET)
    assert {r.statistic for r in some.rows() if not r.equivalent} == {"S"}
    assert some.word() is not Word.EQUIVALENT


@pytest.mark.parametrize(
    ("statistic", "loud"),
    [
        ("A", distance([0.1] * 20)),
        ("K", distance([0.001] * 20, divergence=0.1)),
        ("F", distance([0.001] * 20, flips=10)),
        ("S", distance([0.25] * 16 + [0.0] * 2000)),
    ],
)
def test_each_statistic_alone_finds_its_fault(statistic: str, loud: object) -> None:
    assert isinstance(loud, type(QUIET))
    some = judge(("chat",))
    for _ in range(20):
        some.add("chat", loud)
    assert some.word() is Word.DIFFERENT
    assert some.rows()[0].statistic == statistic
    assert sum(row.log10_different > 1 for row in some.rows()) == 1


def test_one_bad_stratum_of_six_is_found_and_named_first() -> None:
    some = judge()
    while some.word() is Word.INCONCLUSIVE:
        for name in STRATA:
            some.add(name, LOUD if name == "long" else QUIET)
    assert some.word() is Word.DIFFERENT
    assert some.drawn("long") <= 10
    assert (some.rows()[0].group, some.rows()[0].statistic) == ("long", "A")


def test_different_needs_the_weighted_sum_and_not_one_series() -> None:
    """One series passes 1/alpha before the sum over 24 does: its weight is 1/24."""
    some = judge()
    met: list[tuple[float, Word]] = []
    for _ in range(10):
        some.add("chat", LOUD)
        met.append((max(row.log10_different for row in some.rows()), some.word()))
    alone = -math.log10(ALPHA)
    assert any(best >= alone and word is Word.INCONCLUSIVE for best, word in met)
    for best, word in met:  # the other 23 stay near 1 and add nothing to speak of
        if best < alone + math.log10(4 * len(STRATA)) - 0.1:
            assert word is Word.INCONCLUSIVE
    assert met[-1][1] is Word.DIFFERENT


def test_the_order_of_strata_is_of_no_account() -> None:
    """20 noisy prompts come first, all of one stratum whose mean is at its tolerance: one stream
    over all strata would call this DIFFERENT, a stream per stratum must not."""
    values = np.concatenate([np.full(20, 3.9), np.full(60, 2 / 60)]) * TOLERANCE.tau_a
    assert values.mean() == pytest.approx(TOLERANCE.tau_a)
    noisy = [distance([v] * 20) for v in np.random.default_rng(1).permutation(values)]
    first, last = judge(), judge()
    words: set[Word] = set()
    for one in noisy:
        first.add("chat", one)
        words.add(first.word())
    for _ in range(PROMPTS):
        for name in STRATA[1:]:
            first.add(name, QUIET)
            last.add(name, QUIET)
        words.add(first.word())
    for one in noisy:
        last.add("chat", one)
    assert words == {Word.INCONCLUSIVE}
    assert first.rows() == last.rows()


def test_a_noisy_stratum_alone_uses_up_nothing_of_the_others() -> None:
    """20 noisy prompts of `text`, each 3 tolerances off, are DIFFERENT by themselves and show in
    `text` only: evidence does not leak between strata."""
    some = judge()
    for _ in range(20):
        some.add("text", distance([3 * TOLERANCE.tau_a] * 20))
    assert some.word() is Word.DIFFERENT
    assert {row.group for row in some.rows() if row.log10_different > 0.01} == {"text"}


def test_a_row_says_what_was_found_against_what() -> None:
    some = judge(("chat",))
    for value in (0.01, 0.3):  # the second unit counts as four tolerances at most
        some.add("chat", distance([value] * 20))
    row = next(row for row in some.rows() if row.statistic == "A")
    assert row.value == pytest.approx((0.01 + 0.04) / 2)
    assert row.raw == pytest.approx((0.01 + 0.3) / 2)
    assert (row.tolerance, row.units, row.population) == (TOLERANCE.tau_a, 2, PROMPTS)
    assert (row.level, row.group, row.equivalent) == ("L2", "chat", False)


def test_rows_and_paths_hold_no_infinity() -> None:
    some = judge(("chat",), population=8)
    for _ in range(8):
        some.add("chat", LOUD)
    assert max(row.log10_different for row in some.rows()) == 1e6
    paths = some.paths()
    assert sorted(paths) == sorted(f"chat {s.name}" for s in STATISTICS)
    assert all(len(path) == 8 and np.isfinite(path).all() for path in paths.values())


def test_the_units_needed_are_those_of_a_candidate_that_stays_as_it_is() -> None:
    some = judge(("chat",))
    for _ in range(10):
        some.add("chat", QUIET)
    needed = {row.statistic: row.units_needed for row in some.rows()}
    assert needed["S"] == 54
    for _ in range(54):
        some.add("chat", QUIET)
    assert some.word() is Word.EQUIVALENT


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(STRATA), st.integers(1, 40)), min_size=1, max_size=30),
    st.sampled_from([1e-4, 0.01, 1.0]),
    st.integers(0, 2**31),
)
def test_many_prompts_at_once_are_judged_as_one_after_the_other(
    shapes: list[tuple[str, int]], size: float, seed: int
) -> None:
    """Their groups are interleaved, and each goes to the judge as one batch."""
    rng = np.random.default_rng(seed)
    drawn = [(group, random_distance(rng, size, tokens)) for group, tokens in shapes]
    single, batch = judge(), judge()
    for group, one in drawn:
        single.add(group, one)
    every = end_to_end([one for _, one in drawn])
    for group in STRATA:
        rows = np.flatnonzero([name == group for name, _ in drawn])
        if len(rows):
            batch.extend(group, every.picked(rows))
    assert batch.word() is single.word()
    numbers = ("value", "raw", "log10_different", "log10_equivalent")
    for ours, theirs in zip(by_name(batch), by_name(single), strict=True):
        for name in numbers:
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-9, abs=1e-9)
        same = dict.fromkeys(numbers, 0.0)
        assert replace(ours, **same) == replace(theirs, **same)
    for name, points in batch.paths().items():
        np.testing.assert_allclose(points, single.paths()[name], rtol=1e-9, atol=1e-9)


def random_distance(rng: np.random.Generator, size: float, tokens: int) -> Distance:
    d = size * rng.standard_cauchy(tokens)
    return Distance(
        d=d,
        divergence=np.abs(d) / 2,
        flip=rng.random(tokens) < 0.3,
        margin=rng.random(tokens) / 5,
        margin_change=np.abs(d),
    )


def end_to_end(distances: Sequence[Distance]) -> Distances:
    parts = [Distances.of(one) for one in distances]
    return Distances(
        d=np.concatenate([part.d for part in parts]),
        divergence=np.concatenate([part.divergence for part in parts]),
        flip=np.concatenate([part.flip for part in parts]),
        margin=np.concatenate([part.margin for part in parts]),
        bounds=np.cumsum([0, *(len(part.d) for part in parts)]),
    )


def by_name(one: Judge) -> list[StatisticRow]:
    rows = [row for row in one.rows() if row.units]
    return sorted(rows, key=lambda row: (row.group, row.statistic))


def test_without_alternatives_only_the_given_tokens_are_judged() -> None:
    few = Judge(
        level="L2",
        groups={"chat": (PROMPTS, TOLERANCE)},
        alpha=ALPHA,
        beta=BETA,
        statistics=OF_GIVEN_TOKENS,
    )
    for _ in range(20):
        few.add("chat", distance([0.1] * 20, divergence=math.nan))
    assert few.word() is Word.DIFFERENT
    assert {row.statistic for row in few.rows()} == {"A", "S"}


def test_a_fault_in_every_stratum_shows_in_a_few_prompts_of_all_together() -> None:
    """Six strata of sequences far off: a prompt of each decides where the groups share none."""
    words: dict[bool, list[Word]] = {}
    for together in (False, True):
        groups = {str(s): (80, TOLERANCE) for s in range(6)}
        found = Judge(level="L2", groups=groups, alpha=0.002, beta=BETA, together=together)
        for group in groups:
            found.add(group, distance(np.full(64, 1.0)))
        words.setdefault(together, []).append(found.word())
    assert words == {False: [Word.INCONCLUSIVE], True: [Word.DIFFERENT]}


def test_one_bad_stratum_is_not_hidden_by_the_others() -> None:
    groups = {str(s): (80, TOLERANCE) for s in range(6)}
    found = Judge(level="L2", groups=groups, alpha=0.002, beta=BETA, together=True)
    for _ in range(8):
        for group in groups:
            found.add(group, distance(np.full(64, 1.0 if group == "3" else 0.0)))
    assert found.word() is Word.DIFFERENT
