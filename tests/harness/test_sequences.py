"""Who renders, continues and reads ids for a trace, over real sockets; what L0 then claims."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from harness import candidate, sequences, session
from harness.base.case import Case
from harness.base.errors import ConfigError, RequestError
from harness.candidate import Opened
from harness.checker.outcome import Word
from harness.client import Asker, Endpoint
from harness.evidence import written
from harness.levels import contract
from harness.levels.state import Check, Settings
from harness.recording import Token, Trace
from launchers.dialect import Dialect
from launchers.openai import OpenAiDialect
from launchers.reference import ReferenceDialect
from launchers.sglang_dialect import SglangDialect
from launchers.vllm import VllmDialect
from tests import building
from tests.building import answer, serving, write_trace
from tests.engines import checkpoints

CASES = [Case(id=f"text-{n}", stratum="text", prompt="a" * n) for n in (3, 1, 2)]
WORDS = {0: "a", 1: "<|im_end|>", 2: "", 3: "\ufffd"}
REFERENCE = ReferenceDialect(model="tiny", streamed=True)
VLLM = VllmDialect(model="tiny")
ENTRY = {"token_id:2": -0.5, "token_id:3": -1.0}


def quiet(_line: str) -> None:
    """Announces nothing."""


@dataclass(slots=True, kw_only=True)
class Fake:
    """The token-level endpoints of the reference, vLLM and SGLang: a prompt is a 0 a letter."""

    asked: list[str] = field(default_factory=list[str])
    lost: int = 0  # texts that are left out of a list of them
    rendered: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        answer(handler, 200, json.dumps(self._answer(handler.path, body)).encode())

    def _answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/tokenize":
            prompt = body.get("prompt") or body["text"]
            tokens = self.rendered.get(prompt, [0] * len(prompt))
            return {"tokens": tokens, "token_ids": tokens}
        if path == "/detokenize":
            if isinstance(body["tokens"][0], int):
                return {"prompt": "".join(WORDS[i] for i in body["tokens"])}
            assert body["skip_special_tokens"] is False
            texts = [WORDS[i] for (i,) in body["tokens"]]
            return {"text": texts[: len(texts) - self.lost]}
        (prompt,) = body["prompt"]
        logprobs = {"token_logprobs": [-0.5], "top_logprobs": [ENTRY]}
        choice = {"index": 0, "token_ids": [len(prompt)], "logprobs": logprobs}
        return {"choices": [{**choice, "finish_reason": "length"}]}


@contextmanager
def running(fake: Fake, dialect: Dialect, **identity: Any) -> Generator[Opened]:
    with serving(fake) as url, Endpoint(url) as endpoint:
        yield Opened(
            asker=Asker(endpoint, dialect),
            title=f"the {dialect.engine}",
            url=url,
            pin=None,
            identity=identity,
            launch_seconds=None,
            running=None,
        )


def test_an_engine_tells_all_for_a_reference_without_a_tokenizer() -> None:
    own, other = Fake(), Fake()
    lacking = "no tokenizer.json"
    with running(own, REFERENCE, no_tokenizer=lacking, vocab_size=4) as reference:
        found = sequences.told(reference, CASES, 2, quiet, lambda: running(other, VLLM))
    assert own.asked == []
    assert list(found.prompts) == [(0, 0, 0), (0,), (0, 0)]
    assert list(found.continuations) == [(3,), (1,), (2,)]
    assert found.words == {i: Token(text=text, special=False) for i, text in WORDS.items()}
    assert found.rendered_by is not None
    assert found.rendered_by["title"] == "the vllm"
    assert found.continued_by == found.rendered_by
    assert other.asked.count("/detokenize") == 4


def test_a_reference_with_a_tokenizer_renders_although_another_engine_continues() -> None:
    own, other = Fake(), Fake()
    with running(own, REFERENCE, no_tokenizer=None, vocab_size=4) as reference:
        found = sequences.told(reference, CASES, 2, quiet, lambda: running(other, VLLM))
    assert set(own.asked) == {"/tokenize"}
    assert set(other.asked) == {"/v1/completions"}
    assert (found.words, found.rendered_by) == (None, None)
    assert found.continued_by is not None


def test_nobody_to_render_is_said_with_what_to_do() -> None:
    own = Fake()
    with (
        running(own, REFERENCE, no_tokenizer="x: no tokenizer.json", vocab_size=4) as reference,
        pytest.raises(ConfigError, match=r"\(x: no tokenizer\.json\).*--tokens-from PIN\|URL"),
    ):
        sequences.told(reference, CASES, 2, quiet, None)
    assert own.asked == []


def test_an_engine_that_cannot_read_ids_is_refused_before_it_is_asked_for_anything() -> None:
    other = Fake()
    plain = OpenAiDialect(model="tiny", echo=False, tool_choice=None, switches_thinking=True)
    with (
        running(Fake(), REFERENCE, no_tokenizer="none", vocab_size=4) as reference,
        pytest.raises(ConfigError, match="openai-compatible, which cannot be asked how token ids"),
    ):
        sequences.told(reference, CASES, 2, quiet, lambda: running(other, plain))
    assert other.asked == []


def test_a_list_of_texts_is_one_request_and_none_may_be_missing() -> None:
    fake = Fake()
    with running(fake, SglangDialect(model="tiny")) as opened:
        found = sequences.words(opened, range(4), quiet)
        assert {i: token.text for i, token in found.items()} == WORDS
        assert fake.asked == ["/detokenize"]
        fake.lost = 1
        with pytest.raises(RequestError, match="3 texts came for 4 token ids"):
            sequences.words(opened, range(4), quiet)


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ought to be refused before would take minutes, and succeed."""

    def opened(name: str, *_: object, **__: object) -> None:
        raise AssertionError(f"{name} would be started")

    monkeypatch.setattr(candidate, "opened", opened)


@pytest.mark.usefixtures("nothing_starts")
def test_a_pin_without_a_tokenizer_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    changes = [f"model.path={checkpoints.without_tokenizer(tmp_path / 'model')}"]
    with pytest.raises(ConfigError, match=r"no tokenizer\.json.*--tokens-from"):
        session.record_trace(
            "tiny-moe/reference", changes, path=tmp_path / "x.trace", announce=quiet
        )


@pytest.mark.usefixtures("nothing_starts")
def test_tokens_of_another_model_are_refused_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="serves 'tiny-k2', but tiny-moe/reference is of"):
        session.record_trace(
            "tiny-moe/reference",
            (),
            path=tmp_path / "x.trace",
            announce=quiet,
            tokens_from="tiny-k2/vllm-cpu",
        )


@pytest.mark.parametrize("wrong", [0, 1])
def test_l0_says_whose_renderings_it_compared(tmp_path: Path, wrong: int) -> None:
    written_rows = building.sequences(3)
    party = {"title": "k/vllm"}
    write_trace(tmp_path / "x.trace", written_rows, rendered_by=party)
    trace = Trace(tmp_path / "x.trace")
    right = {str(r.case.prompt): list(r.token_ids[: r.prompt_tokens]) for r in written_rows}
    for prompt in list(right)[:wrong]:
        right[prompt] = [0, *right[prompt]]
    with running(Fake(rendered=right), VLLM) as opened, written(tmp_path / "e") as evidence:
        check = Check(
            opened=opened,
            trace=trace,
            tolerances=session.tolerances_of(trace, "fp32"),
            settings=Settings(seed=0, alpha=0.005, beta=0.005),
            evidence=evidence,
            announce=quiet,
        )
        word, reasons = contract.run(check)
    if wrong:
        assert word is Word.DIFFERENT
        assert reasons[-1] == "the other rendering is k/vllm's"
    else:
        assert word is Word.EQUIVALENT
        assert reasons[0].endswith("as those of k/vllm, which rendered them for the reference")
