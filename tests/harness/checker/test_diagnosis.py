"""Causes are ranked by what was seen, never stated as facts, and named only where one fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checker.causes import CAUSES
from harness.checker.contract import RenderDifference
from harness.checker.diagnosis import LEAST, MOST, Likely, diagnose
from harness.checker.features import PARTS, Seen, observed
from harness.checker.narrowed import Effect, Narrowed, Narrowing
from harness.checker.outcome import LevelResult, StatisticRow, Word

D, E = Word.DIFFERENT, Word.EQUIVALENT
BENIGN = 3e-7  # nats: mean |d| of engines that are right, in fp32


def level(name: str, word: Word | None, *reasons: str) -> LevelResult:
    return LevelResult(
        level=name, title=name, word=word, reasons=reasons or ("…",), tokens=0, seconds=0.0
    )


def row(group: str, statistic: str, times: float, of: str = "L2") -> StatisticRow:
    """A mean that is `times` its tolerance."""
    return StatisticRow(
        level=of,
        group=group,
        statistic=statistic,
        value=times * 1e-5,
        raw=times * 1e-5,
        tolerance=1e-5,
        units=4,
        population=80,
        log10_different=0.0,
        log10_equivalent=0.0,
        equivalent=times < 1,
        units_needed=None,
    )


def breakdown(positions: Mapping[int, float], classes: Mapping[str, float] | None = None) -> Any:
    """|d| of 100 tokens at each position, and of 100 of each class."""

    def rows(key: str, table: Mapping[Any, float]) -> list[dict[str, Any]]:
        return [{key: k, "tokens": 100, "mean_absolute_d": v} for k, v in table.items()]

    return {
        "mean_absolute_d": sum(positions.values()) / max(len(positions), 1),
        "positions": rows("from", positions),
        "classes": rows("class", classes or {"word": 0.01, "other": 0.01}),
        "benign": {"positions": rows("from", dict.fromkeys(positions, BENIGN))},
    }


def scored(
    positions: Mapping[int, float], classes: Mapping[str, float] | None = None, times: float = 400
) -> Seen:
    """L2 is DIFFERENT with this profile, and L1 agrees."""
    return Seen(
        levels=[level("L0", E), level("L2", D), level("L1", E)],
        rows=[row(s, "K", times) for s in ("chat", "text", "code")],
        breakdown=breakdown(positions, classes),
    )


def own(*groups: str, l2: Word = E) -> Seen:
    """L1 is DIFFERENT in these comparisons."""
    all_groups = ("repeat", "busy", "decode", "chunks", "cache hit")
    return Seen(
        levels=[level("L0", E), level("L2", l2), level("L1", D)],
        rows=[row(g, "A", 9 if g in groups else 0.1, "L1") for g in all_groups],
        breakdown={},
    )


def rendered(position: int, expected: tuple[int, ...], found: tuple[int, ...]) -> Seen:
    said = "case x: the prompt is rendered otherwise from token 3 on"
    difference = RenderDifference(
        case_id="x",
        position=position,
        expected=expected,
        found=found,
        expected_length=len(expected),
        found_length=len(found),
    )
    return Seen(levels=[level("L0", D, said)], rows=[], breakdown={}, misrendered=difference)


SLOWLY = {1: BENIGN, 2: 1e-3, 8: 3e-3, 32: 6e-3, 128: 9e-3, 1024: 1e-2}
AT_ONCE = {1: BENIGN, 2: BENIGN, 8: BENIGN, 32: BENIGN, 128: 2e-2, 1024: 3e-2}
FROM_THE_FIRST = {1: 9e-3, 2: 8e-3, 8: 8e-3, 32: 9e-3, 1024: 8e-3}
GROSSLY = {1: BENIGN, 2: 0.9, 8: 2.0, 32: 2.2, 1024: 1.6}
SAID = {
    "sampler": "temperature: promised 1.0, estimated 0.6 (0.58 to 0.62)",
    "pin": "KV cache dtype (numerics bf16): the pin says bfloat16, the engine runs fp8_e4m3",
}
CASES = {
    "rope": scored(SLOWLY),
    "sliding window": scored(AT_ONCE),
    "quantisation": scored(FROM_THE_FIRST, times=20),
    "rope style": scored(GROSSLY),
    "experts mapped": scored(
        {1: 0.3, 2: 0.1, 8: 0.08, 32: 0.05, 1024: 0.02}, {"think": 0.9, "word": 0.02}, times=9000
    ),
    "batch kernel": own("busy"),
    "not deterministic": own("repeat"),
    "prefix cache": own("cache hit"),
    "decode kernel": own("decode"),
    "kv precision": own("decode", "chunks"),
    "chat template": rendered(3, (7, 8, 9, 1, 2), (7, 8, 9)),
    "double BOS": rendered(0, (7, 8, 9, 1, 2), (5, 7, 8, 9, 1, 2)),
    "sampling": Seen(
        levels=[level("L2", E), level("L1", E), level("sampler", D, SAID["sampler"])],
        rows=[],
        breakdown={},
    ),
    "parser": Seen(
        levels=[level("L0", D, "a tool call is parsed as content"), level("L2", E)],
        rows=[],
        breakdown={},
    ),
}


@pytest.mark.parametrize("cause", CASES)
def test_a_signature_names_its_cause_first(cause: str) -> None:
    assert diagnose(CASES[cause])[0].cause == cause


def test_what_the_engine_says_of_itself_weighs_most() -> None:
    seen = Seen(levels=[level("pin", D, SAID["pin"])], rows=[], breakdown={})
    named = diagnose(seen)[0]
    assert named.cause == "kv precision"
    assert "the engine runs fp8_e4m3" in named.why[0]


def test_a_group_of_L1_may_name_its_load_or_its_way() -> None:  # noqa: N802
    groups = ("busy, 32 at once", "cache hit, decoding")
    seen = Seen(levels=[level("L1", D)], rows=[row(g, "A", 9, "L1") for g in groups], breakdown={})
    assert {"L1 busy", "L1 cache"} <= observed(seen).keys()
    assert "L1 decode" not in observed(seen)


@pytest.mark.parametrize("cause", CASES)
def test_no_cause_is_stated_as_a_fact_and_each_says_why_and_what_next(cause: str) -> None:
    for named in diagnose(CASES[cause]):
        assert named.words.startswith(("may be ", "points to "))
        assert named.why
        assert named.next_step


@pytest.mark.parametrize(
    ("toggle", "cause"),
    [
        ("without the prefix cache", "prefix cache"),
        ("without its own compiled operators", "operator"),
        ("with the attention backend triton", "operator"),
        ("without CUDA graphs", "decode kernel"),
    ],
)
def test_what_the_difference_went_away_without_is_named_first(toggle: str, cause: str) -> None:
    gone = Narrowed(
        toggle=toggle, changes=("x=1",), effect=Effect.GONE, factor=None, why="…", seconds=1.0
    )
    stays = replace(gone, effect=Effect.STAYS)
    for row_, first in ((gone, cause), (stays, "rope style")):
        narrowing = Narrowing(level="L2", rows=(row_,), note=None)
        assert diagnose(replace(scored(GROSSLY), narrowing=narrowing))[0].cause == first


def test_what_is_right_names_no_cause() -> None:
    agreed = [level(name, E) for name in ("pin", "L0", "L2", "L1")]
    assert diagnose(Seen(levels=agreed, rows=[], breakdown={})) == ()


def test_the_numbers_that_were_seen_are_told() -> None:
    found = observed(scored(SLOWLY))
    assert found["grows"] == "mean |d| grows with position, from 0.003 to 0.0083 nats"
    assert "from position 2 on" in found["first token right"]


def test_a_position_with_few_tokens_says_nothing() -> None:
    seen = scored(FROM_THE_FIRST)
    seen.breakdown["positions"][0]["tokens"] = 3  # type: ignore[index]
    assert observed(seen)["first token wrong"].endswith("0.008 nats")


def test_names_of_causes_are_unique_and_every_weighed_feature_can_be_seen() -> None:
    assert len({cause.name for cause in CAUSES}) == len(CAUSES)
    seen = set[str]().union(*(observed(case) for case in CASES.values()))
    weighed = set[str]().union(*(cause.weights for cause in CAUSES))
    # Those that no case above shows, by the names that the observers give them.
    rest = {"sparse", "only long", "class special", "black box differs", "L2b differs"}
    rest |= {"L0b parsing", "L0b limits", "sampler truncation", "sampler penalty"}
    rest |= {
        "pin differs",
        "pin flag",
        "pin dtype",
        "pin quantisation",
        "pin KV cache",
        "pin sampling",
    }
    rest |= {f"gone: {part}" for part in PARTS}
    assert weighed - seen == rest


words = st.sampled_from([None, *Word])
sizes = st.floats(0, 50, allow_nan=False)


@given(
    st.lists(st.tuples(st.sampled_from(["pin", "L0", "L2", "L1", "sampler", "L2b"]), words)),
    st.lists(
        st.tuples(
            st.sampled_from(["chat", "cache hit", "busy at 32"]), st.sampled_from("AKFS"), sizes
        )
    ),
    st.dictionaries(st.sampled_from([1, 2, 4, 8, 16, 1024]), sizes),
)
def test_whatever_was_seen_the_causes_are_in_order_and_few(
    levels: list[tuple[str, Word | None]],
    rows: list[tuple[str, str, float]],
    positions: dict[int, float],
) -> None:
    seen = Seen(
        levels=[level(name, word) for name, word in levels],
        rows=[row(g, s, v, "L2" if g == "chat" else "L1") for g, s, v in rows],
        breakdown=breakdown(positions),
    )
    named: tuple[Likely, ...] = diagnose(seen)
    weights = [one.weight for one in named]
    assert weights == sorted(weights, reverse=True)
    assert len(named) <= MOST
    assert all(weight >= LEAST for weight in weights)
