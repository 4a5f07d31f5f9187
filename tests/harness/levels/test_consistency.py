"""L1 against a toy engine: each comparison finds its own fault, and no failure is a verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import RequestError
from harness.base.record import Floats
from harness.checker.consistency import kept, schedule
from harness.checker.outcome import Word
from harness.levels import consistency, forced
from harness.levels.state import Check
from harness.recording import Trace
from tests.checks import checking
from tests.toy_engine import Moment, Toy, opened, trace_of

PROMPTS = 60


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return trace_of(tmp_path_factory.mktemp("trace") / "toy.trace", PROMPTS)


def asked(
    toy: Toy, trace: Trace, folder: Path, promise: str | None = None
) -> tuple[Word, list[str], Check]:
    with opened(toy, promise) as candidate, checking(candidate, trace, folder) as check:
        word, reasons = consistency.run(check)
        return word, reasons, check


def shifted(logits: Floats, by: float) -> Floats:
    """The first token more probable."""
    bent = logits.copy()
    bent[0] += by
    return bent


def test_a_healthy_engine_agrees_with_itself_and_its_hits_are_shown(
    trace: Trace, tmp_path: Path
) -> None:
    word, reasons, check = asked(Toy(), trace, tmp_path)
    assert word is Word.EQUIVALENT, reasons
    found = check.findings["L1"]
    groups = {one["group"]: one for one in found["groups"]}
    assert set(groups) == {
        *("repeat", "busy at 2", "busy at 16", "busy at 32"),
        *("decode", "cache hit", "cache hit, decoding", "chunks"),
    }
    assert groups["repeat"]["equal"] == groups["repeat"]["prompts"]
    cache = {one["group"]: one for one in found["cache"]}
    assert cache["cache hit"]["cached_tokens"] == cache["cache hit"]["prompt_tokens"] > 0
    assert cache["decode"]["cached_tokens"] < cache["decode"]["prompt_tokens"] / 2  # some overtake
    assert any(reason.startswith("cache hit: ") for reason in reasons)
    assert found["pairs"] == groups["cache hit, decoding"]["prompts"]


def test_an_engine_that_says_nothing_of_its_cache_is_not_said_to_have_hit_it(
    trace: Trace, tmp_path: Path
) -> None:
    _, reasons, _ = asked(Toy(tells_cache=False), trace, tmp_path)
    said = "not shown to be a hit, for the engine does not say what came from its cache"
    assert f"cache hit: {said}" in reasons


def test_a_fault_of_a_full_server_is_found_at_that_load(trace: Trace, tmp_path: Path) -> None:
    def bend(moment: Moment, logits: Floats) -> Floats:
        return shifted(logits, 2.0 if moment.in_flight > 17 else 0.0)

    word, reasons, check = asked(Toy(bend=bend, gathers_s=1.5), trace, tmp_path)
    assert word is Word.DIFFERENT
    assert reasons[0].startswith("busy at 32: ")
    groups = {one["group"]: one for one in check.findings["L1"]["groups"]}
    assert groups["busy at 16"]["equal"] == groups["busy at 16"]["prompts"]


def test_a_fault_of_the_prefix_cache_is_found_by_what_hits_it(trace: Trace, tmp_path: Path) -> None:
    def bend(moment: Moment, logits: Floats) -> Floats:
        return shifted(logits, 2.0 if moment.generating and moment.hit else 0.0)

    word, reasons, check = asked(Toy(bend=bend), trace, tmp_path)
    assert word is Word.DIFFERENT
    assert reasons[0].startswith("cache")
    groups = {one["group"]: one for one in check.findings["L1"]["groups"]}
    assert groups["decode"]["equal"] > groups["decode"]["prompts"] / 2  # some are overtaken
    assert groups["cache hit"]["equal"] == 0


def jitter(moment: Moment, logits: Floats) -> Floats:
    """Far below any tolerance, of a server that is busy."""
    return shifted(logits, 1e-9 if moment.in_flight > 1 else 0.0)


def test_one_unequal_bit_breaks_a_promise_and_the_first_case_is_named(
    trace: Trace, tmp_path: Path
) -> None:
    toy = Toy(bend=jitter, busy_s=0.01)
    word, reasons, _ = asked(toy, trace, tmp_path, "env.VLLM_BATCH_INVARIANT")
    assert word is Word.DIFFERENT
    assert "env.VLLM_BATCH_INVARIANT promises scores that are equal to the last bit" in reasons[0]
    first = trace.case_ids[schedule(range(PROMPTS), 0)[0].rows[0]]
    assert f"busy at 16, case {first}: " in reasons[0]


def test_where_nothing_is_promised_the_same_bits_are_within_tolerance(
    trace: Trace, tmp_path: Path
) -> None:
    word, reasons, _ = asked(Toy(bend=jitter, busy_s=0.002), trace, tmp_path)
    assert word is Word.EQUIVALENT, reasons


def test_a_promise_that_is_kept_is_said(trace: Trace, tmp_path: Path) -> None:
    word, reasons, _ = asked(Toy(), trace, tmp_path, "env.VLLM_BATCH_INVARIANT")
    assert word is Word.EQUIVALENT
    assert any("equal to the last bit, as env.VLLM_BATCH_INVARIANT promises" in r for r in reasons)


def omitted(table: dict[str, Any], generating: bool) -> None:
    """Only the alternatives, and not the token that stands there."""
    if not generating:
        for position in table["choices"][0]["prompt_logprobs"][1:]:
            for name in [name for name, one in position.items() if one["rank"] > 2]:
                del position[name]


def shorter(table: dict[str, Any], generating: bool) -> None:
    if generating:
        lists = table["choices"][0]["logprobs"]["top_logprobs"]
        lists[0] = dict(list(lists[0].items())[:1])


def with_value(value: float | None, of_generation: bool) -> Callable[[dict[str, Any], bool], None]:
    def spoil(table: dict[str, Any], generating: bool) -> None:
        if generating != of_generation:
            return
        choice = table["choices"][0]
        if generating:
            choice["logprobs"]["token_logprobs"][0] = value
            choice["logprobs"]["top_logprobs"][0] |= {"token_id:0": value}
        else:
            for one in choice["prompt_logprobs"][1].values():
                one["logprob"] = value

    return spoil


@pytest.mark.parametrize(
    "toy",
    [
        pytest.param(lambda: Toy(spoil=omitted), id="the chosen token is left out"),
        pytest.param(lambda: Toy(spoil=shorter), id="top-k is shorter than asked"),
        pytest.param(lambda: Toy(spoil=with_value(float("nan"), False)), id="a score is NaN"),
        pytest.param(lambda: Toy(spoil=with_value(None, False)), id="a score is null"),
        pytest.param(lambda: Toy(spoil=with_value(float("-inf"), False)), id="a score is -inf"),
        pytest.param(lambda: Toy(spoil=with_value(float("nan"), True)), id="a decode is NaN"),
        pytest.param(lambda: Toy(spoil=with_value(None, True)), id="a decode is null"),
        pytest.param(lambda: Toy(spoil=with_value(-1e999, True)), id="a decode is -inf"),
        pytest.param(lambda: Toy(dies_after=100), id="it dies"),
    ],
)
def test_what_is_no_answer_is_no_verdict(
    toy: Callable[[], Toy], trace: Trace, tmp_path: Path
) -> None:
    with pytest.raises(RequestError):
        asked(toy(), trace, tmp_path)


def test_l2_keeps_what_l1_can_draw_and_no_more(tmp_path: Path) -> None:
    trace = trace_of(tmp_path / "t.trace", 150)
    with opened(Toy()) as candidate, checking(candidate, trace, tmp_path) as check:
        check.kept = kept(schedule(range(150), 0))
        check.classes = check.classes.repeat(0)
        check.classes.resize(30)
        assert forced.run(check)[0] is Word.INCONCLUSIVE  # of one stratum alone
    assert 0 < len(check.scores) <= len(check.kept) == 116
    assert {scores.top_ids.shape[1] for scores in check.scores.values()} == {2}
    assert all(scores.top_ids.base is None for scores in check.scores.values())
