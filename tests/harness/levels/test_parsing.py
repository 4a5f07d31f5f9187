"""The part of L0 that replays parsers: when it is not asked, and what it says when it is."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.base.errors import BuildError
from harness.base.stream import Parsed, ParsedCall
from harness.checker.outcome import Word
from harness.levels import contract, parsing
from harness.levels.state import Check
from launchers import pins, replay
from launchers.pins import LoadedPin
from launchers.replay import Replayed
from suites import streams

NAME = "tiny-moe/vllm-cpu"
NONE_KNOWN = "serving.known_deviations=[]"


def check(loaded: LoadedPin | None) -> Check:
    fields: Any = SimpleNamespace(
        opened=SimpleNamespace(pin=loaded), announce=print, findings=dict[str, Any]()
    )
    return cast("Check", fields)


def right(**changed: str) -> dict[str, tuple[Parsed, ...]]:
    """What every stream holds, in two cuttings; the contents `changed` in the one token by token"""
    answers: dict[str, tuple[Parsed, ...]] = {}
    for stream in streams.load():
        calls = tuple(
            ParsedCall(id=call.id or "x", name=call.name, arguments=json.dumps(call.arguments))
            for call in stream.calls or ()
        )
        content = stream.content or ""
        contents = {
            "unstreamed": content,
            "token by token": changed.get(stream.id.replace("-", "_"), content),
        }
        answers[stream.id] = tuple(
            Parsed(
                cuttings=(cutting,),
                error=None,
                reasoning=stream.reasoning or "",
                content=content,
                calls=calls,
            )
            for cutting, content in contents.items()
        )
    return answers


def asked(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, tuple[Parsed, ...]], *changes: str
) -> tuple[Word | None, list[str]]:
    def replayed(*_: object) -> Replayed:
        return Replayed(version="9", unknown=(), answers=answers, kept=False)

    monkeypatch.setattr(replay, "replayed", replayed)
    return parsing.run(check(pins.read(NAME, changes)))


def test_somebody_elses_server_is_not_asked() -> None:
    word, reasons = parsing.run(check(None))
    assert word is None
    assert reasons == ["cannot be asked: the parsers of somebody else's server cannot be replayed"]


def test_a_pin_without_parsers_or_with_another_models_tokenizer_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    word, reasons = parsing.run(check(pins.read("tiny-moe/reference")))
    assert (word, len(reasons)) == (None, 1)

    def other(*_: object) -> Replayed:
        return Replayed(version="9", unknown=("<think>",), answers={}, kept=False)

    monkeypatch.setattr(replay, "replayed", other)
    assert parsing.run(check(pins.read(NAME))) == (
        None,
        ["cannot be asked: the tokenizer has no <think>"],
    )


def test_a_replay_that_fails_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> Replayed:
        raise BuildError("no module")

    monkeypatch.setattr(replay, "replayed", failing)
    word, reasons = parsing.run(check(pins.read(NAME)))
    assert (word, reasons) == (
        Word.INCONCLUSIVE,
        ["the parsers could not be replayed: no module"],
    )


def test_parsers_that_are_right_are_equivalent(monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(streams.load())
    assert asked(monkeypatch, right(), NONE_KNOWN) == (
        Word.EQUIVALENT,
        [f"vllm 9 parses {count} of {count} raw answers rightly, in {2 * count} cuttings of them"],
    )


def test_a_difference_names_the_stream_and_the_cutting(monkeypatch: pytest.MonkeyPatch) -> None:
    word, reasons = asked(monkeypatch, right(plain="Paris"), NONE_KNOWN)
    assert word is Word.DIFFERENT
    assert reasons == [
        'stream plain, token by token: content "Paris", where it ought to be '
        '"Paris is the capital of France."'
    ]


def test_a_declared_deviation_is_told_and_is_no_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = 'serving.known_deviations=["plain/tokens", "call"]'
    word, reasons = asked(monkeypatch, right(plain="Paris"), known)
    assert word is Word.EQUIVALENT
    assert reasons[1:] == [
        "its release is known to parse otherwise (serving.known_deviations): plain",
        "in serving.known_deviations, and not so here: call",
    ]
    word, _ = asked(monkeypatch, right(plain="Paris"), known.replace("/tokens", "/pieces"))
    assert word is Word.DIFFERENT


def test_a_part_that_is_not_asked_does_not_keep_the_contract_from_equivalent() -> None:
    def rendered(_: Check) -> tuple[Word | None, list[str]]:
        return Word.EQUIVALENT, ["rendered"]

    word, reasons = contract.together(check(None), (rendered, parsing.run))
    assert word is Word.EQUIVALENT
    assert reasons[0] == "rendered"
    assert "somebody else's server" in reasons[1]
