"""L0 and L0b on a real socket: each fault of an answer is DIFFERENT with its sentence, and none is
made of what a healthy server may do."""

from __future__ import annotations

import json
import random
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import evidence, templates
from harness.base.case import Case, Chat
from harness.candidate import Opened
from harness.checker.outcome import Word
from harness.checker.tolerance import calibrate
from harness.client import Asker, Endpoint
from harness.levels import answering, contract, rendering, served
from harness.levels.state import Check, Settings
from harness.recording import Recorded, Trace
from launchers import pins
from launchers.pins import LoadedPin
from launchers.vllm import VllmDialect
from tests.building import log_softmax, pool_of, serving, top, write_trace
from tests.talker import Talker, tokens

TOOL = {"type": "function", "function": {"name": "find", "parameters": {}}}
FURTHER: dict[str, Any] = {"empty": "", "list": [{"type": "text", "text": "a"}]}


def recorded(
    number: int,
    tools: tuple[dict[str, Any], ...] | None,
    earlier: tuple[dict[str, Any], ...] = (),
) -> Recorded:
    """A chat whose recorded prompt is what a healthy server renders, and two tokens more."""
    chat = Chat(
        messages=(*earlier, {"role": "user", "content": f"question {number}"}),
        tools=tools,
        thinking=None,
    )
    prompt = tuple(tokens(chat.messages, 0))
    ids = (*prompt, 1, 2)
    rng = np.random.default_rng(number)
    stratum = "chat" if tools is None else "tools"
    return Recorded(
        case=Case(id=f"{stratum}-{number}", stratum=stratum, prompt=chat),
        token_ids=ids,
        prompt_tokens=len(prompt),
        scores=top(log_softmax(rng.normal(size=(len(ids) - 1, 30))), ids[1:], 4),
    )


ROWS = [recorded(number, tools) for tools in (None, (TOOL,)) for number in range(4)]


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    """Four chats and four with a tool; two further chats are rendered alone."""
    chats = {name: [{"role": "user", "content": content}] for name, content in FURTHER.items()}
    rows = [
        {"id": n, "messages": m, "tools": None, "thinking": None, "token_ids": tokens(m, 0)}
        for n, m in chats.items()
    ]
    member = "".join(json.dumps(row) + "\n" for row in rows).encode()
    write_trace(tmp_path / "t.trace", ROWS, {templates.MEMBER: member})
    return Trace(tmp_path / "t.trace")


@contextmanager
def checking(talker: Talker, trace: Trace, pin: LoadedPin | None = None) -> Generator[Check]:
    """Of a server that speaks vLLM's language."""
    path = trace.path.with_name("evidence.parquet")
    with serving(talker) as url, Endpoint(url) as endpoint, evidence.written(path) as written:
        opened = Opened(
            asker=Asker(endpoint, VllmDialect(model="m")),
            title="a talker",
            url=url,
            pin=pin,
            identity={},
            launch_seconds=None,
            running=None,
        )
        yield Check(
            opened=opened,
            trace=trace,
            tolerances=calibrate("fp32", pool_of(ROWS), trace.strata),
            settings=Settings(seed=0, alpha=0.005, beta=0.005),
            evidence=written,
            announce=lambda _: None,
        )


def asked(talker: Talker, trace: Trace) -> tuple[Word, list[str]]:
    """L0 and L0b."""
    with checking(talker, trace) as check:
        found = [contract.run(check), served.run(check)]
    for word in (Word.DIFFERENT, Word.INCONCLUSIVE):
        if any(said is word for said, _ in found):
            return word, [reason for said, part in found if said is word for reason in part]
    return Word.EQUIVALENT, [reason for _, part in found for reason in part]


def test_a_healthy_server_is_equivalent_and_what_was_asked_is_said(trace: Trace) -> None:
    talker = Talker()
    assert asked(talker, trace) == (
        Word.EQUIVALENT,
        [
            "all 8 prompts become the same token ids",
            "2 further chats (thinking, tools, turns, odd content) become the same token ids",
            "cannot be asked: the parsers of somebody else's server cannot be replayed",
            "usage.prompt_tokens is right of 8 chats",
            "4 of 4 chats say the same streamed and unstreamed, 2 end at a stop string, all within "
            "max_tokens; 2 call tools",
        ],
    )
    chats = [body for body in talker.asked if "max_tokens" in body]
    assert len(chats) < 60
    assert all(body["temperature"] == 0 for body in chats)


@pytest.mark.parametrize(
    ("talker", "sentence"),
    [
        (Talker(ignores_stop=True), "case chat-1: unstreamed, the stop string"),
        (Talker(keeps_stop=True), "stands in the answer"),
        (Talker(half_stop=True), "a part of the stop string"),
        (Talker(eats_before_stop=True), "is lost"),
        (Talker(stop_reason="length"), "at a stop string finish_reason is 'length'"),
        (Talker(ignores_limit=True), "max_tokens is 1, and 12 tokens come"),
        (
            Talker(cut_reason="stop"),
            "an answer cut off after max_tokens = 1 has finish_reason 'stop'",
        ),
        (Talker(cut_reason="eos"), "finish_reason is 'eos', which is none of stop, length"),
        (Talker(call_reason="stop"), "tools are called, and finish_reason is 'stop'"),
        (Talker(loses_first_chunk=True), "content is "),
        (Talker(streams_no_call=True), "tool calls is [('find', {'key': 'a'})] unstreamed and []"),
        (Talker(stream_reason="length"), "streamed, finish_reason is 'length' after 12 of 96"),
        (Talker(stream_count=2), "usage.completion_tokens is 12 unstreamed and 14 streamed"),
        (Talker(ends_stream=False), "streamed, no whole answer comes: a stream that ends without"),
        (Talker(renders=1), "case empty: the prompt is rendered otherwise from token"),
        (
            Talker(refuses='"text": "a"'),
            "case list: a chat that the reference renders is refused with 400: 'no such content'",
        ),
    ],
)
def test_each_fault_is_different_with_its_sentence(
    talker: Talker, sentence: str, trace: Trace
) -> None:
    word, reasons = asked(talker, trace)
    assert word is Word.DIFFERENT
    assert any(sentence in reason for reason in reasons), reasons


def test_a_trace_larger_than_memory_is_rendered_a_batch_at_a_time(
    trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    talker, ahead = Talker(renders=1), list[int]()
    read = Trace.__getitem__

    def watched(self: Trace, row: int) -> Recorded:
        rendered = sum("max_tokens" not in body for body in talker.asked)
        if row >= rendered:  # not yet rendered
            ahead.append(row + 1 - rendered)
        return read(self, row)

    monkeypatch.setattr(Trace, "__getitem__", watched)
    monkeypatch.setattr(rendering, "BATCH_PROMPTS", 3)
    word, reasons = asked(talker, trace)
    assert word is Word.DIFFERENT
    assert [reason.split(":")[0] for reason in reasons[:3]] == [f"case chat-{n}" for n in range(3)]
    assert reasons[3] == "8 of 8 prompts are rendered otherwise"
    assert max(ahead) == 3


@pytest.mark.parametrize("talker", [Talker(ids=True), Talker(spaced=True)])
def test_new_ids_and_white_space_between_arguments_are_no_fault(
    talker: Talker, trace: Trace
) -> None:
    assert asked(talker, trace)[0] is Word.EQUIVALENT


CALLED: tuple[dict[str, Any], ...] = (
    {"role": "assistant", "content": "", "tool_calls": [{"id": "functions.find:0"}]},
    {"role": "tool", "tool_call_id": "functions.find:0", "content": "nothing"},
)


@pytest.mark.parametrize(
    ("pin", "earlier", "word"),
    [
        ("tiny-moe/ktransformers-cpu-bf16", CALLED, Word.EQUIVALENT),  # which declares it
        ("tiny-moe/ktransformers-cpu-bf16", (), Word.DIFFERENT),  # in a first turn it is no excuse
        ("tiny-moe/sglang-cpu", CALLED, Word.DIFFERENT),
    ],
)
def test_other_ids_in_a_stream_are_excused_where_a_release_is_known_for_them_and_nowhere_else(
    pin: str, earlier: tuple[dict[str, Any], ...], word: Word, tmp_path: Path
) -> None:
    write_trace(tmp_path / "t.trace", [recorded(0, None), recorded(0, (TOOL,), earlier)])
    trace = Trace(tmp_path / "t.trace")
    with checking(Talker(streams_other_ids=True), trace, pins.read(pin)) as check:
        found, reasons = answering.run(check)
    assert found is word, reasons
    said = "whose ids are not compared" if word is Word.EQUIVALENT else "ids of tool calls is"
    assert said in reasons[-1]


def test_a_call_cut_off_at_the_limit_is_half_a_call_in_a_stream_and_no_fault(trace: Trace) -> None:
    word, reasons = asked(Talker(calls_long=True), trace)
    assert word is Word.EQUIVALENT, reasons
    assert "2 of 4 chats say the same" in reasons[-1]


@pytest.mark.parametrize("seed", range(5))
def test_another_text_now_and_then_is_no_fault(seed: int, trace: Trace) -> None:
    """One answer of three has another text: under 2 / 4^8 for each of four chats is an accusation,
    a chance of 1e-4 a run, and the seeds are fixed."""
    word, reasons = asked(Talker(flips=random.Random(seed)), trace)
    assert word is not Word.DIFFERENT, reasons


def test_a_server_that_refuses_tools_is_told_so_and_is_not_equivalent(trace: Trace) -> None:
    word, reasons = asked(Talker(takes_tools=False), trace)
    assert word is Word.INCONCLUSIVE
    assert reasons[0] == "cannot be asked: 2 of 4 chats (400: no tools here)"


def test_a_trace_without_further_chats_says_so(tmp_path: Path) -> None:
    write_trace(tmp_path / "old.trace", ROWS)
    word, reasons = asked(Talker(), Trace(tmp_path / "old.trace"))
    assert word is Word.EQUIVALENT
    assert "this trace holds no further chats for the template" in reasons
