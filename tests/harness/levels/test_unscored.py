"""The black box on endpoints that do what no healthy engine does. None is EQUIVALENT, a failure is
no answer, and what cannot be asked is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import samples, session
from harness.base.case import Case, Chat
from harness.base.errors import RequestError
from harness.checker.outcome import LevelResult, Word
from harness.levels.state import Settings
from harness.recording import Recorded, Trace
from harness.samples import CANDIDATE_ANSWERS, GROUPS, OWN_ANSWERS, Sampled, Samples
from tests.building import answer, recorded, serving, write_trace

# Fewer permutations; what this fake owes at L0 is no matter here.
SETTINGS = Settings(seed=0, alpha=0.05, beta=0.005, every_level=True)
PROMPTS = 24
Body = dict[str, Any]


def said_at(rng: np.random.Generator, temperature: float) -> str:
    """A fake model: letters, the first of them the likeliest."""
    chances = np.exp(-np.arange(6) / temperature)
    return "".join(rng.choice(list("abcdef"), 24, p=chances / chances.sum()))


def greedy_of(prompt: str) -> str:
    return f"of course {prompt}"


def rows(thinking: bool | None, texts: bool = False) -> list[Recorded]:
    rng = np.random.default_rng(7)
    found: list[Recorded] = []
    for number in range(PROMPTS):
        row = recorded(number, "chat", rng, "")
        switched_off = thinking is False and not texts  # one token of the fake's template
        words = f"word{number} " + "word " * (row.prompt_tokens - 1 - switched_off)
        text = words.strip()
        chat = Chat(messages=({"role": "user", "content": text},), tools=None, thinking=thinking)
        case = Case(id=row.case.id, stratum="chat", prompt=text if texts else chat)
        found.append(replace(row, case=case))
    return found


def prompt_of(one: Recorded) -> str:
    prompt = one.case.prompt
    return prompt if isinstance(prompt, str) else str(prompt.messages[0]["content"])


def own_texts(of: Sequence[Recorded]) -> Samples:
    rng = np.random.default_rng(8)

    def sampled(row: int, one: Recorded) -> Sampled:
        words = greedy_of(prompt_of(one)).split(" ")
        counts = {
            1.0: OWN_ANSWERS,
            0.8: GROUPS * CANDIDATE_ANSWERS,
            0.6: GROUPS * CANDIDATE_ANSWERS,
        }
        return Sampled(
            row=row,
            prefixes=tuple(" ".join(words[: n + 1]) for n in range(len(words))),
            margins=(2.0,) * len(words),
            stopped=True,
            answers={t: tuple(said_at(rng, t) for _ in range(n)) for t, n in counts.items()},
        )

    return Samples(prompts=tuple(sampled(r, one) for r, one in enumerate(of)), left_out=None)


def trace_of(path: Path, thinking: bool | None = False, texts: bool = False) -> Trace:
    of = rows(thinking, texts)
    members = {samples.MEMBER: samples.written(own_texts(of))}
    write_trace(path, of, members, benign={"fp32": {}})
    return Trace(path)


Odd = Callable[[Body, int], tuple[int, bytes] | None]


@dataclass(slots=True, kw_only=True)
class Talker:
    """Serves chats by the same fake model, and completions of texts where `completes`."""

    temperature: float = 1.0  # in place of 1.0
    several: bool = True  # honours n
    switches: bool = True  # thinking off is a token of the prompt
    finish: str = "length"
    changed: Callable[[str], str] = lambda text: text
    odd: Odd = lambda body, number: None  # noqa: ARG005
    completes: bool = False
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(9))
    asked: list[Body] = field(default_factory=list[Body])

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length", 0))
        body: Body = json.loads(handler.rfile.read(length)) if length else {}
        chat = handler.path == "/v1/chat/completions"
        if handler.path == "/v1/models":
            answer(handler, 200, json.dumps({"data": [{"id": "talker"}]}).encode())
        elif chat or (self.completes and isinstance(body.get("prompt"), str)):
            prompt = body["messages"][-1]["content"] if chat else body["prompt"]
            self.asked.append(body)
            odd = self.odd(body, len(self.asked)) if body["max_tokens"] > 1 else None
            status, content = odd or (200, json.dumps(self._answer(body, prompt, chat)).encode())
            if status == 0:  # cut off in the middle
                handler.send_response(200)
                handler.send_header("content-length", "1000")
                handler.end_headers()
                handler.wfile.write(content)
            else:
                answer(handler, status, content)
        else:
            answer(handler, 404, b"not found")

    def _answer(self, body: Body, prompt: str, chat: bool) -> Body:
        count = body.get("n", 1) if self.several else 1
        choices = [
            {
                "index": i,
                **({"message": {"content": text}} if chat else {"text": text}),
                "finish_reason": self.finish,
            }
            for i, text in enumerate(self._text(body, prompt) for _ in range(count))
        ]
        off = body.get("chat_template_kwargs", {}).get("thinking") is False
        counted = len(prompt.split()) + (off and self.switches)
        return {"choices": choices, "usage": {"prompt_tokens": counted, "completion_tokens": 9}}

    def _text(self, body: Body, prompt: str) -> str:
        if body.get("temperature") == 0:
            return self.changed(greedy_of(prompt))
        return self.changed(said_at(self.rng, self.temperature))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINEDIFF_HOME", str(tmp_path / "home"))


def black_box(talker: Talker, trace: Trace) -> LevelResult:
    with serving(talker) as url:
        verdict, run = session.check_candidate(
            url, (), against=trace, numerics=None, settings=SETTINGS, announce=lambda _: None
        )
    page = (run / "report.html").read_text()
    level = next(level for level in verdict.levels if level.level == "black box")
    assert ("Texts alone" in page) == bool(level.findings)
    assert level.word is not Word.EQUIVALENT
    return level


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return trace_of(tmp_path / "t.trace")


def sampled_requests(talker: Talker) -> list[Body]:
    return [b for b in talker.asked if b.get("max_tokens") == samples.NEW_TOKENS]


def test_the_same_model_is_inconclusive_and_the_power_is_said(trace: Trace) -> None:
    talker = Talker()
    level = black_box(talker, trace)
    assert level.word is Word.INCONCLUSIVE
    assert f"{PROMPTS} of {PROMPTS} answers are the reference's own" in level.reasons[0]
    assert "could be the reference's" in level.reasons[1]
    assert "of 100 such tests, by the reference's own answers, about" in level.reasons[2]
    asked = sampled_requests(talker)
    assert len(asked) == PROMPTS
    assert {(b["temperature"], b["top_p"], b["n"]) for b in asked} == {
        (1.0, 1.0, CANDIDATE_ANSWERS)
    }


def test_a_lower_temperature_is_different(trace: Trace) -> None:
    level = black_box(Talker(temperature=0.6), trace)
    assert level.word is Word.DIFFERENT
    assert "as at a lower temperature" in level.reasons[2]
    assert level.findings["exact"]["departed"] == 0


def test_other_greedy_texts_are_different_and_shown_inert(trace: Trace) -> None:
    hostile = "<script>alert(1)</script>"
    level = black_box(Talker(changed=lambda text: hostile + text), trace)
    assert level.word is Word.DIFFERENT
    assert f"{PROMPTS} of {PROMPTS} answers depart" in level.reasons[0]
    with serving(Talker(changed=lambda text: hostile + text)) as url:
        _, run = session.check_candidate(
            url, (), against=trace, numerics=None, settings=SETTINGS, announce=lambda _: None
        )
    page = (run / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("refused", [False, True])
def test_an_endpoint_that_gives_one_answer_at_a_time_is_asked_more_often(
    trace: Trace, refused: bool
) -> None:
    def odd(body: Body, number: int) -> tuple[int, bytes] | None:
        del number
        return (400, b"n must be 1") if refused and body.get("n", 1) > 1 else None

    talker = Talker(several=False, odd=odd)
    level = black_box(talker, trace)
    assert level.word is Word.INCONCLUSIVE
    assert level.findings["equality"]["prompts"] == PROMPTS
    answered = [b for b in sampled_requests(talker) if not (refused and "n" in b)]
    assert len(answered) == PROMPTS * CANDIDATE_ANSWERS


@pytest.mark.parametrize("how", [(500, b"out of memory"), (0, b'{"choices": [')])
def test_an_endpoint_that_fails_in_the_middle_has_answered_nothing(
    trace: Trace, how: tuple[int, bytes]
) -> None:
    def odd(body: Body, number: int) -> tuple[int, bytes] | None:
        return how if body.get("n") and number % 5 == 0 else None

    with pytest.raises(RequestError):
        black_box(Talker(odd=odd), trace)


def test_a_prompt_that_is_refused_is_said_and_the_others_are_judged(trace: Trace) -> None:
    def odd(body: Body, number: int) -> tuple[int, bytes] | None:
        del number
        return (400, b"not that word") if "word3 " in body["messages"][0]["content"] else None

    level = black_box(Talker(odd=odd), trace)
    assert level.word is Word.INCONCLUSIVE
    assert f"cannot be asked: 1 of {PROMPTS} prompts (400: not that word)" in level.reasons
    assert level.findings["equality"]["prompts"] == PROMPTS - 1


def test_where_greedy_decoding_is_refused_the_sampled_answers_are_judged(trace: Trace) -> None:
    def odd(body: Body, number: int) -> tuple[int, bytes] | None:
        del number
        return (400, b"temperature is fixed") if body.get("temperature") == 0 else None

    level = black_box(Talker(odd=odd, temperature=0.6), trace)
    assert level.word is Word.DIFFERENT
    assert "T = 0: there is no answer to compare" in level.reasons


def test_answers_that_are_not_shown_are_no_empty_answers(trace: Trace) -> None:
    """Cut at their length, and nothing in them: the tokens went somewhere."""
    level = black_box(Talker(changed=lambda _: ""), trace)
    assert level.word is Word.INCONCLUSIVE
    assert any("none of it is shown" in reason for reason in level.reasons)
    assert not level.findings


def test_empty_answers_that_ended_by_themselves_are_answers(trace: Trace) -> None:
    level = black_box(Talker(changed=lambda _: "", finish="stop"), trace)
    assert level.word is Word.DIFFERENT


def test_a_filtered_answer_is_none(trace: Trace) -> None:
    level = black_box(Talker(finish="content_filter"), trace)
    assert level.word is Word.INCONCLUSIVE
    assert any("finish_reason 'content_filter'" in reason for reason in level.reasons)


def test_thinking_that_never_comes_is_hidden_and_not_another_text(tmp_path: Path) -> None:
    trace = trace_of(tmp_path / "t.trace", thinking=None)
    level = black_box(Talker(changed=lambda text: text[4:]), trace)
    assert level.word is Word.INCONCLUSIVE
    assert any("no thinking comes with the answers" in reason for reason in level.reasons)


def test_chats_that_need_a_switch_are_left_out_where_it_is_not_passed_on(tmp_path: Path) -> None:
    """It counts no switch, so nobody can tell whether it does anything."""
    level = black_box(Talker(switches=False), trace_of(tmp_path / "t.trace", thinking=True))
    assert level.word is Word.INCONCLUSIVE
    assert f"cannot be asked: {PROMPTS} of {PROMPTS} prompts" in level.reasons[0]


def test_prompts_that_the_server_adds_to_are_not_compared(tmp_path: Path) -> None:
    trace = trace_of(tmp_path / "t.trace", texts=True)
    talker = Talker(completes=True)
    assert black_box(talker, trace).findings["equality"]["prompts"] == PROMPTS
    level = black_box(_Adding(completes=True), trace)
    assert any("counted as another number of tokens" in reason for reason in level.reasons)
    assert not level.findings


class _Adding(Talker):
    """Puts a token of its own before every text."""

    def _answer(self, body: Body, prompt: str, chat: bool) -> Body:
        return super()._answer(body, prompt if chat else f"BOS {prompt}", chat)


@pytest.mark.parametrize("left_out", [None, "its reference streams"])
def test_a_trace_without_texts_says_so(tmp_path: Path, left_out: str | None) -> None:
    members = {} if left_out is None else {samples.MEMBER: samples.written(_none(left_out))}
    write_trace(tmp_path / "old.trace", rows(False), members, benign={"fp32": {}})
    level = black_box(Talker(), Trace(tmp_path / "old.trace"))
    assert level.word is Word.INCONCLUSIVE
    assert "the trace holds no texts of the reference's own" in level.reasons[0]
    assert (left_out or "recorded before") in level.reasons[0]


def _none(why: str) -> Samples:
    return Samples(prompts=(), left_out=why)


def test_texts_come_back_from_a_trace_as_they_were_written(trace: Trace) -> None:
    assert samples.read(trace) == own_texts(rows(False))
