"""vLLM's command line from a pin, its requests, and its answers as it gives them."""

from __future__ import annotations

import copy
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from harness.base.case import Chat
from harness.base.errors import RequestError
from launchers import pins
from launchers.pins import GREEDY, SamplingTable
from launchers.vllm import VllmDialect, VllmLauncher, flags

DIALECT = VllmDialect(model="tiny")
SAMPLING = {field.name for field in fields(SamplingTable)}
CHAT = Chat(messages=({"role": "user", "content": "hi"},), tools=None, thinking=None)


def entry(logprob: float, rank: int) -> dict[str, Any]:
    return {"logprob": logprob, "rank": rank, "decoded_token": "x"}


# One prompt (7, 8, 9), prompt_logprobs = 2: token 9 is not among the two best, and stands first.
SCORED: dict[str, Any] = {
    "id": "cmpl-1",
    "choices": [
        {
            "index": 0,
            "text": "x",
            "token_ids": [3],
            "finish_reason": "length",
            "logprobs": None,
            "prompt_logprobs": [
                None,
                {"8": entry(-0.25, 1), "4": entry(-2.0, 2)},
                {"9": entry(-5.5, 11), "5": entry(-0.5, 1), "6": entry(-1.5, 2)},
            ],
        }
    ],
    "usage": {"prompt_tokens": 3, "total_tokens": 4, "completion_tokens": 1},
}
GENERATED: dict[str, Any] = {
    "choices": [
        {
            "index": 0,
            "text": "xy",
            "token_ids": [5, 2],
            "finish_reason": "stop",
            "logprobs": {
                "tokens": ["token_id:5", "token_id:2"],
                "token_logprobs": [-3.0, -0.125],
                "top_logprobs": [
                    {"token_id:5": -3.0, "token_id:8": -0.25, "token_id:1": -2.0},
                    {"token_id:2": -0.125, "token_id:9": -2.5},
                ],
            },
        }
    ]
}


def scored(table: dict[str, Any], tokens: tuple[int, ...] = (7, 8, 9)) -> Any:
    return DIALECT.scored(json.dumps(table).encode(), [tokens], 2)


def changed(table: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy with other fields in its first choice."""
    table = copy.deepcopy(table)
    table["choices"][0].update(changes)
    return table


def test_the_command_line_is_the_pins_and_what_changes_no_output() -> None:
    loaded = pins.load("tiny-moe/vllm-cpu")
    args = {
        "dtype": "float32",
        "max-model-len": 2048,
        "enforce-eager": True,
        "enable-prefix-caching": False,
        "hf-overrides": {"rope_theta": 20000.0},
    }
    loaded = replace(loaded, pin=replace(loaded.pin, args=args))
    command = VllmLauncher().command(loaded, python=Path("/e/bin/python"), port=8123)
    assert command.argv == (
        *("/e/bin/python", "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(pins.MODELS / "tiny-moe"), "--served-model-name", "tiny-moe"),
        *("--host", "127.0.0.1", "--port", "8123", "--enable-prompt-tokens-details"),
        *("--dtype", "float32", "--max-model-len", "2048"),
        *("--enforce-eager", "--no-enable-prefix-caching"),
        *("--hf-overrides", '{"rope_theta": 20000.0}'),
    )
    assert set(command.env) == {"PATH", "HOME", *loaded.pin.env}
    assert command.env["HOME"] == "/e/home"
    assert command.env["PATH"].startswith("/e/bin:")


def test_flags_are_written_as_vllm_takes_them() -> None:
    args = {"on": True, "off": False, "list": ["a", 1], "table": {"a": [True]}, "number": 1.5}
    assert flags(args) == [
        *("--on", "--no-off", "--list", "a", "1"),
        *("--table", '{"a": [true]}', "--number", "1.5"),
    ]


def test_every_sampling_parameter_is_sent_in_every_request_that_samples() -> None:
    odd = SamplingTable(
        temperature=0.5,
        top_p=0.75,
        top_k=3,
        min_p=0.125,
        repetition_penalty=1.5,
        presence_penalty=0.25,
        frequency_penalty=-0.25,
    )
    sent = DIALECT.generate([(1, 2)], max_new_tokens=4, sampling=odd, seeds=[9], top_k=2).body
    assert sent is not None
    assert {name: sent[name] for name in SAMPLING} == {n: getattr(odd, n) for n in SAMPLING}
    assert (sent["seed"], sent["max_tokens"], sent["logprobs"]) == (9, 4, 2)
    assert sent["prompt"] == [[1, 2]]
    assert sent["skip_special_tokens"] is False
    for request in (DIALECT.score([(1, 2)], 2), DIALECT.usage(CHAT)):
        assert request.body is not None
        assert {n: request.body[n] for n in SAMPLING} == {n: getattr(GREEDY, n) for n in SAMPLING}


def test_a_score_asks_for_the_prompts_own_logprobs_by_token_ids() -> None:
    request = DIALECT.score([(7, 8, 9)], 20)
    assert request.path == "/v1/completions"
    assert request.body is not None
    assert request.body["prompt"] == [[7, 8, 9]]
    assert (request.body["prompt_logprobs"], request.body["max_tokens"]) == (20, 1)


def test_a_text_is_tokenized_as_it_is_and_a_chat_through_the_template() -> None:
    text = DIALECT.render("hello")
    assert text.body == {"model": "tiny", "prompt": "hello", "add_special_tokens": False}
    tools = ({"type": "function", "function": {"name": "f"}},)
    chat = DIALECT.render(replace(CHAT, tools=tools, thinking=False))
    assert chat.path == text.path == "/tokenize"
    assert chat.body == {
        "model": "tiny",
        "add_generation_prompt": True,
        "messages": [{"role": "user", "content": "hi"}],
        "tools": list(tools),
        "chat_template_kwargs": {"thinking": False},
    }
    plain = DIALECT.render(CHAT).body
    assert plain is not None
    assert not {"tools", "chat_template_kwargs"} & set(plain)
    assert DIALECT.rendered(b'{"count": 2, "tokens": [4, 5]}') == (4, 5)


def test_earlier_thinking_is_sent_under_both_names() -> None:
    message = {"role": "assistant", "content": "4", "reasoning_content": "2 + 2"}
    for request in (
        DIALECT.render(replace(CHAT, messages=(message,))),
        DIALECT.usage(replace(CHAT, messages=(message,))),
    ):
        assert request.body is not None
        assert request.body["messages"] == [{**message, "reasoning": "2 + 2"}]
    assert "reasoning" not in message


def test_usage_asks_for_one_token_and_no_tool_call() -> None:
    body = DIALECT.usage(replace(CHAT, tools=({"type": "function"},))).body
    assert body is not None
    assert (body["max_tokens"], body["tool_choice"]) == (1, "none")
    assert "tool_choice" not in (DIALECT.usage(CHAT).body or {})
    assert DIALECT.prompt_tokens(json.dumps(SCORED).encode()) == 3


def test_scores_are_read_by_rank_and_the_tokens_own_logprob_wherever_it_stands() -> None:
    (found,) = scored(SCORED)
    assert found.logprobs.tolist() == [-0.25, -5.5]
    assert found.top_ids.tolist() == [[8, 4], [5, 6]]
    assert found.top_logprobs.tolist() == [[-0.25, -2.0], [-0.5, -1.5]]


def test_choices_are_put_in_the_order_of_their_prompts() -> None:
    table = copy.deepcopy(SCORED)
    second = changed(SCORED, index=1, prompt_logprobs=[None, {"5": entry(-1, 2), "6": entry(0, 1)}])
    table["choices"].insert(0, second["choices"][0])
    first, last = DIALECT.scored(json.dumps(table).encode(), [(7, 8, 9), (4, 5)], 2)
    assert (len(first.logprobs), len(last.logprobs)) == (2, 1)
    assert last.top_ids.tolist() == [[6, 5]]


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (None, "no prompt_logprobs for 3 tokens"),
        ([None, {"8": entry(-1, 1), "4": entry(-2, 2)}], "2 prompt_logprobs for 3 tokens"),
        (
            [None, {"4": entry(-1, 1), "5": entry(-2, 2)}, {"9": entry(-1, 1), "4": entry(-2, 2)}],
            "no logprob for token 8 at position 1",
        ),
        (
            [None, {"8": entry(-1, 1), "4": entry(-2, 2)}, {"9": entry(-1, 1)}],
            "1 alternatives at position 2",
        ),
    ],
)
def test_scores_that_lack_something_are_refused(positions: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        scored(changed(SCORED, prompt_logprobs=positions))


def test_another_number_of_choices_is_refused() -> None:
    with pytest.raises(RequestError, match="1 choices for 2 prompts"):
        DIALECT.scored(json.dumps(SCORED).encode(), [(7, 8, 9), (7, 8)], 2)
    with pytest.raises(RequestError, match="has no choices"):
        DIALECT.scored(b"<html>", [(7, 8, 9)], 2)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b'{"error": "x"}', b""])
def test_an_answer_without_the_asked_field_is_refused(body: bytes) -> None:
    def generated(answer: bytes) -> object:
        return DIALECT.generated(answer, 2)

    for read in (
        DIALECT.rendered,
        DIALECT.prompt_tokens,
        DIALECT.identified,
        generated,
    ):
        with pytest.raises(RequestError, match="has no "):
            read(body)


def test_a_generation_is_its_tokens_their_logprobs_and_the_best_alternatives() -> None:
    (found,) = DIALECT.generated(json.dumps(GENERATED).encode(), 2)
    assert (found.token_ids, found.finish_reason) == ((5, 2), "stop")
    assert found.scores.logprobs.tolist() == [-3.0, -0.125]
    assert found.scores.top_ids.tolist() == [[8, 1], [2, 9]]
    assert found.scores.top_logprobs.tolist() == [[-0.25, -2.0], [-0.125, -2.5]]


@pytest.mark.parametrize(
    ("changes", "top_k", "message"),
    [
        ({"finish_reason": None}, 2, "finish_reason None"),
        ({"finish_reason": "abort"}, 2, "finish_reason 'abort'"),
        ({"token_ids": [5]}, 2, "1 token ids, 2 logprobs and 2 lists"),
        ({}, 3, "fewer than the 3 alternatives"),
    ],
)
def test_a_generation_that_lacks_something_is_refused(
    changes: dict[str, Any], top_k: int, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        DIALECT.generated(json.dumps(changed(GENERATED, **changes)).encode(), top_k)


def test_the_identity_names_engine_version_and_model() -> None:
    assert DIALECT.identity().path == "/version"
    assert DIALECT.identified(b'{"version": "0.32.0"}') == {
        "engine": "vllm",
        "version": "0.32.0",
        "model": "tiny",
    }


@pytest.mark.parametrize(
    "choice",
    ['{"index": 0, "token_ids": [1], "logprobs": null, "finish_reason": "stop"}', "{}"],
)
def test_a_choice_without_what_was_asked_is_refused(choice: str) -> None:
    with pytest.raises(RequestError):
        DIALECT.generated(f'{{"choices": [{choice}]}}'.encode(), 2)


def test_a_position_without_logprobs_is_refused() -> None:
    answer = b'{"choices": [{"index": 0, "prompt_logprobs": [null, null]}]}'
    with pytest.raises(RequestError, match="position 1"):
        DIALECT.scored(answer, [(1, 2)], 2)


def test_each_token_id_is_read_by_a_request_of_its_own() -> None:
    request = DIALECT.detokenize([7])
    assert (request.path, request.body) == ("/detokenize", {"model": "tiny", "tokens": [7]})
    assert DIALECT.ids_per_request == 1
    assert DIALECT.detokenized(b'{"prompt": "<|im_end|>"}') == (["<|im_end|>"], [False])
    with pytest.raises(RequestError, match="has no prompt"):
        DIALECT.detokenized(b'{"error": "unknown model"}')
