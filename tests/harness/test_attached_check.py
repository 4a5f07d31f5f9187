"""A whole check of endpoints that can do little: what they get wrong is DIFFERENT, and what they
cannot be asked is said; none is EQUIVALENT, and none is a crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import session
from harness.base.case import Case, Chat
from harness.base.errors import ConfigError
from harness.checker.outcome import Word
from harness.levels.state import Settings
from harness.recording import Recorded, Trace
from harness.verdict import Verdict, exit_code
from tests.building import recorded, serving, write_trace
from tests.vendor import Body, Vendor, words

SETTINGS = Settings(seed=0, alpha=0.005, beta=0.005)
KEY = "sk-very-secret"


def chats(count: int, thinking: Callable[[int], bool | None]) -> list[Recorded]:
    """Chats of as many words as their recorded prompt has tokens; thinking off is one token."""
    rng = np.random.default_rng(7)
    rows: list[Recorded] = []
    for number in range(count):
        row = recorded(number, "chat", rng, "")
        switch = thinking(number)
        text = " ".join(["word"] * (row.prompt_tokens - (switch is False)))
        chat = Chat(messages=({"role": "user", "content": text},), tools=None, thinking=switch)
        case = Case(id=row.case.id, stratum="chat", prompt=chat)
        rows.append(replace(row, case=case))
    return rows


def switched(body: Body) -> int:
    """As `words`, and the switch is honoured."""
    kwargs: Mapping[str, Any] = body.get("chat_template_kwargs", {})
    return words(body) + (kwargs.get("thinking") is False)


BENIGN: dict[str, Any] = {"benign": {"fp32": {}}}  # nothing is scored, so nothing is drawn


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    write_trace(tmp_path / "t.trace", chats(24, lambda number: number % 2 == 0), **BENIGN)
    return Trace(tmp_path / "t.trace")


def check(vendor: Vendor, trace: Trace, said: list[str] | None = None) -> Verdict:
    lines: list[str] = [] if said is None else said
    with serving(vendor) as url:
        verdict, run = session.check_candidate(
            f"{url}/v1",
            (),
            against=trace,
            numerics=None,
            settings=SETTINGS,
            announce=lines.append,
        )
    lines.append((run / "verdict.json").read_text())
    lines.append((run / "report.html").read_text())
    return verdict


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINEDIFF_HOME", str(tmp_path / "home"))


def test_the_right_counts_are_one_weak_pass_and_no_equivalence(trace: Trace) -> None:
    verdict = check(Vendor(count=switched), trace)
    assert (verdict.verdict, exit_code(verdict.verdict)) == (Word.INCONCLUSIVE, 3)
    assert verdict.level == "L0"
    words = {level.level: level.word for level in verdict.levels}
    assert words["pin"] is None
    assert [words[name] for name in ("L0", "L2", "L1")] == [Word.INCONCLUSIVE] * 3
    asked = [level for level in verdict.levels if level.level in ("L0", "L2", "L1")]
    assert all(level.reasons[0].startswith("cannot be asked: ") for level in asked)
    assert "20 chats are counted as the reference's: a weak pass" in verdict.reasons
    (answers,) = (level.reasons for level in verdict.levels if level.level == "L0b")
    assert answers[-1].startswith("no answer at T = 0 was met again")
    assert verdict.candidate["capabilities"]["thinking"]["able"] == "yes"
    assert [level.level for level in verdict.levels if level.tokens] == ["L0b"]


def test_a_count_that_is_one_off_is_different(trace: Trace) -> None:
    verdict = check(Vendor(count=lambda body: switched(body) + 1), trace)
    assert (verdict.verdict, verdict.level) == (Word.DIFFERENT, "L0")
    assert "usage.prompt_tokens is" in verdict.reasons[0]
    assert verdict.reasons[-1] == "20 of 20 chats are counted otherwise"


def test_a_single_chat_that_is_counted_otherwise_is_different(trace: Trace) -> None:
    longest = max(trace[row].prompt_tokens for row in range(len(trace)))

    def count(body: Body) -> int:
        counted = switched(body)
        return counted - 1 if counted == longest else counted

    assert check(Vendor(count=count), trace).verdict is Word.DIFFERENT


def test_a_switch_that_is_not_passed_on_is_not_held_against_the_model(trace: Trace) -> None:
    """The chats with thinking off are counted as with it on, every one; the others are right."""
    verdict = check(Vendor(count=words), trace)
    assert verdict.verdict is Word.INCONCLUSIVE
    assert any("cannot be asked: thinking off" in reason for reason in verdict.reasons)
    assert verdict.candidate["capabilities"]["thinking"]["able"] == "unknown"


def test_a_switch_that_is_refused_is_not_sent_again(trace: Trace) -> None:
    vendor = Vendor(count=words, strict=True)
    verdict = check(vendor, trace)
    assert verdict.verdict is Word.INCONCLUSIVE
    assert verdict.candidate["capabilities"]["thinking"]["able"] == "no"
    assert any("cannot be asked: thinking off" in reason for reason in verdict.reasons)
    assert any(reason.endswith("a weak pass") for reason in verdict.reasons)
    assert sum("chat_template_kwargs" in body for _, body in vendor.asked) == 1


def test_a_switch_does_not_excuse_what_it_cannot_explain(trace: Trace) -> None:
    verdict = check(Vendor(count=lambda body: words(body) + 2), trace)
    assert verdict.verdict is Word.DIFFERENT


def test_some_of_one_side_is_no_switch(trace: Trace) -> None:
    def count(body: Body) -> int:
        off = body.get("chat_template_kwargs", {}).get("thinking") is False
        return words(body) + (off and words(body) > 3)

    assert check(Vendor(count=count), trace).verdict is Word.DIFFERENT


def test_an_endpoint_that_counts_nothing_is_inconclusive(trace: Trace) -> None:
    verdict = check(Vendor(count=None), trace)
    assert verdict.verdict is Word.INCONCLUSIVE
    assert any("usage" in reason for reason in verdict.reasons)


def test_chats_that_are_refused_are_said_and_the_others_judged(trace: Trace) -> None:
    def special(path: str, number: int) -> tuple[int, bytes, Mapping[str, str]] | None:
        late = path.endswith("chat/completions") and number > 40
        return (400, b"too long", {}) if late and number % 2 else None

    verdict = check(Vendor(count=switched, special=special), trace)
    assert verdict.verdict is Word.INCONCLUSIVE
    assert any("of 20 chats (400: too long)" in reason for reason in verdict.reasons)


def test_the_report_shows_what_the_endpoint_can_do(trace: Trace) -> None:
    said: list[str] = []
    check(Vendor(count=switched), trace, said)
    page = said[-1]
    assert 'id="capabilities"' in page
    assert "a tool adds 10 prompt tokens" in page
    assert "could not be asked to score a token" in page


def test_the_key_is_in_no_record(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINEDIFF_API_KEY", KEY)
    said: list[str] = []
    echoing = f"refused: Bearer {KEY}".encode()
    vendor = Vendor(
        count=switched,
        key=KEY,
        special=lambda path, _: (404, echoing, {}) if path == "/tokenize" else None,
    )
    check(vendor, trace, said)
    assert "Bearer ***" in "".join(said)
    assert KEY not in "".join(said)
    with pytest.raises(ConfigError, match="ENGINEDIFF_API_KEY") as caught:
        check(Vendor(key="sk-other"), trace)
    assert KEY not in str(caught.value)
