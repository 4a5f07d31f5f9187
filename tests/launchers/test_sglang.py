"""SGLang's command line from a pin, its requests, and its answers as version 0.5.23 gives them."""

from __future__ import annotations

import copy
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from harness.base.case import Chat
from harness.base.errors import RequestError
from launchers import pins, shimmed
from launchers.pins import GREEDY, SamplingTable
from launchers.sglang import SglangLauncher, flags
from launchers.sglang_dialect import SglangDialect

DIALECT = SglangDialect(model="tiny")
SAMPLING = {field.name for field in fields(SamplingTable)}
CHAT = Chat(messages=({"role": "user", "content": "hi"},), tools=None, thinking=None)

# Prompts (5, 17, 300) and (764, 327), top 2, no new token: what meta_info holds beside is cut.
SCORED: list[dict[str, Any]] = [
    {
        "text": "",
        "output_ids": [],
        "meta_info": {
            "finish_reason": {"type": "length", "length": 0},
            "prompt_tokens": 3,
            "input_token_logprobs": [
                [None, 5, None],
                [-19.96034812927246, 17, None],
                [-20.882369995117188, 300, None],
            ],
            "output_token_logprobs": [],
            "input_top_logprobs": [
                None,
                [[-0.000038742269680369645, 764, None], [-12.097443580627441, 1120, None]],
                [[-0.00005411955135059543, 764, None], [-11.8793363571167, 13, None]],
            ],
            "output_top_logprobs": [
                [[-0.000017762025890988298, 764, None], [-13.177651405334473, 660, None]]
            ],
            "completion_tokens": 0,
            "cached_tokens": 0,
        },
    },
    {
        "text": "",
        "output_ids": [],
        "meta_info": {
            "finish_reason": {"type": "length", "length": 0},
            "prompt_tokens": 2,
            "input_token_logprobs": [[None, 764, None], [-0.0005040090763941407, 327, None]],
            "output_token_logprobs": [],
            "input_top_logprobs": [
                None,
                [[-0.0005040090763941407, 327, None], [-9.219635009765625, 13, None]],
            ],
            "output_top_logprobs": [
                [[-0.00001883488948806189, 266, None], [-13.051366806030273, 1629, None]]
            ],
            "completion_tokens": 0,
            "cached_tokens": 0,
        },
    },
]
# The end of a greedy answer: token 1629 is the end-of-sequence token.
GENERATED: list[dict[str, Any]] = [
    {
        "text": "slow.",
        "output_ids": [1624, 13, 1629],
        "meta_info": {
            "finish_reason": {"type": "stop", "matched": 1629},
            "prompt_tokens": 70,
            "input_token_logprobs": [],
            "output_token_logprobs": [
                [-0.023369362577795982, 1624, None],
                [-0.00010156115604331717, 13, None],
                [-9.059865078597795e-6, 1629, None],
            ],
            "input_top_logprobs": [],
            "output_top_logprobs": [
                [[-0.023369362577795982, 1624, None], [-5.917339324951172, 1602, None]],
                [[-0.00010156115604331717, 13, None], [-9.430822372436523, 327, None]],
                [[-9.059865078597795e-6, 1629, None], [-13.16065788269043, 324, None]],
            ],
            "completion_tokens": 3,
            "cached_tokens": 1,
        },
    }
]
SEQUENCES = [(5, 17, 300), (764, 327)]


def scored(answer: object, sequences: list[tuple[int, ...]] = SEQUENCES, top_k: int = 2) -> Any:
    return DIALECT.scored(json.dumps(answer).encode(), sequences, top_k)


def changed(answer: list[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    """A copy with other fields in its first meta_info; one that is None is taken away."""
    answer = copy.deepcopy(answer)
    meta = answer[0]["meta_info"] | changes
    answer[0]["meta_info"] = {name: value for name, value in meta.items() if value is not None}
    return answer


def test_the_command_line_is_the_pins_and_its_shims_stand_first_on_pythons_path() -> None:
    loaded = pins.load("tiny-moe/sglang-cpu")
    args = {"dtype": "float32", "disable-radix-cache": True, "enable-mixed-chunk": False}
    loaded = replace(loaded, pin=replace(loaded.pin, args=args))
    command = SglangLauncher().command(loaded, python=Path("/e/bin/python"), port=8123)
    assert command.argv == (
        *("/e/bin/python", "-m", "sglang.launch_server"),
        *("--model-path", str(pins.MODELS / "tiny-moe"), "--served-model-name", "tiny-moe"),
        *("--host", "127.0.0.1", "--port", "8123"),
        *("--dtype", "float32", "--disable-radix-cache"),
    )
    shims = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    assert set(command.env) == {"PATH", "HOME", *shims, *loaded.pin.env}
    assert command.env["PYTHONPATH"].startswith(str(shimmed.SHIMS / "sglang"))
    assert command.env["HOME"] == "/e/home"
    plain = replace(loaded, pin=replace(loaded.pin, engine=replace(loaded.pin.engine, shims=())))
    without = SglangLauncher().command(plain, python=Path("/e/bin/python"), port=8123)
    assert not shims & set(without.env)


def test_flags_are_written_as_sglang_takes_them() -> None:
    args = {"on": True, "off": False, "list": ["a", 1], "table": {"a": [True]}, "number": 1.5}
    assert flags(args) == [
        *("--on", "--list", "a", "1", "--table", '{"a": [true]}', "--number", "1.5"),
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
    request = DIALECT.generate(
        [(1, 2), (3,)], max_new_tokens=4, sampling=odd, seeds=[9, 8], top_k=2
    )
    assert request.body is not None
    sent: list[dict[str, Any]] = request.body["sampling_params"]
    for table, seed in zip(sent, (9, 8), strict=True):
        assert {name: table[name] for name in SAMPLING} == {n: getattr(odd, n) for n in SAMPLING}
        assert (table["sampling_seed"], table["max_new_tokens"]) == (seed, 4)
    assert request.body["input_ids"] == [[1, 2], [3]]
    off = {n: getattr(GREEDY, n) for n in SAMPLING} | {"top_k": -1}  # SGLang refuses 0
    score, usage = DIALECT.score([(1, 2)], 2).body, DIALECT.usage(CHAT).body
    assert score is not None and usage is not None
    for table in (*score["sampling_params"], usage):
        assert {n: table[n] for n in SAMPLING} == off


def test_a_score_asks_for_the_logprobs_of_every_token_and_for_no_new_one() -> None:
    request = DIALECT.score(SEQUENCES, 20)
    assert request.path == "/generate"
    assert request.body is not None
    assert request.body["input_ids"] == [[5, 17, 300], [764, 327]]
    assert (request.body["logprob_start_len"], request.body["top_logprobs_num"]) == (0, 20)
    assert [table["max_new_tokens"] for table in request.body["sampling_params"]] == [0, 0]


def test_a_generation_may_take_its_prompt_from_the_prefix_cache() -> None:
    body = DIALECT.generate([(1,)], max_new_tokens=1, sampling=GREEDY, seeds=[0], top_k=2).body
    assert body is not None
    assert body["logprob_start_len"] == -1
    assert len(DIALECT.generated(json.dumps(GENERATED).encode(), 2)) == 1


def test_a_text_is_tokenized_as_it_is_and_a_chat_through_the_template() -> None:
    text = DIALECT.render("hello")
    assert text.body == {"model": "tiny", "prompt": "hello", "add_special_tokens": False}
    tools = ({"type": "function", "function": {"name": "f"}},)
    asked = replace(CHAT, tools=tools, thinking=False)
    chat, usage = DIALECT.render(asked), DIALECT.usage(asked)
    assert chat.path == text.path == "/tokenize"
    assert chat.body == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "tools": list(tools),
        "chat_template_kwargs": {"thinking": False},
    }
    assert usage.path == "/v1/chat/completions"
    assert chat.body is not None and usage.body is not None
    assert {name: usage.body[name] for name in chat.body} == chat.body
    assert usage.body["max_tokens"] == 1
    plain = DIALECT.render(CHAT).body
    assert plain is not None
    assert not {"tools", "chat_template_kwargs"} & set(plain)


def test_what_it_counts_and_renders_is_read() -> None:
    answer = b'{"tokens":[1632,405,1633],"count":3,"max_model_len":4096}'
    assert DIALECT.rendered(answer) == (1632, 405, 1633)
    answer = b'{"usage":{"prompt_tokens":89,"total_tokens":90,"completion_tokens":1}}'
    assert DIALECT.prompt_tokens(answer) == 89
    assert DIALECT.identity().path == "/server_info"
    assert DIALECT.identified(b'{"version":"0.5.23","tp_size":1}') == {
        "engine": "sglang",
        "version": "0.5.23",
        "model": "tiny",
    }


def test_scores_are_those_of_the_tokens_sent_but_for_the_first() -> None:
    first, second = scored(SCORED)
    assert first.logprobs.tolist() == [-19.96034812927246, -20.882369995117188]
    assert first.top_ids.tolist() == [[764, 1120], [764, 13]]
    assert second.top_logprobs.tolist() == [[-0.0005040090763941407, -9.219635009765625]]


def test_a_sequence_of_one_token_has_no_scores() -> None:
    answer = changed(SCORED[:1], input_token_logprobs=[[None, 5, None]], input_top_logprobs=[None])
    (found,) = scored(answer, [(5,)])
    assert (found.logprobs.shape, found.top_ids.shape) == ((0,), (0, 2))


def test_a_score_from_the_prefix_cache_is_refused() -> None:
    with pytest.raises(RequestError, match="took 2 tokens of a score from its prefix cache"):
        scored(changed(SCORED, cached_tokens=2))


def test_a_generation_is_its_tokens_with_the_last_and_their_logprobs() -> None:
    (found,) = DIALECT.generated(json.dumps(GENERATED).encode(), 2)
    assert (found.token_ids, found.finish_reason) == ((1624, 13, 1629), "stop")
    assert found.scores.logprobs.tolist()[0] == -0.023369362577795982
    assert found.scores.top_ids.tolist() == [[1624, 1602], [13, 327], [1629, 324]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_token_logprobs": [[None, 5, None]]}, "scored 1 tokens, not the 3"),
        (
            {"input_token_logprobs": [[None, 5, None], [-1.0, 17, None], [-1.0, 301, None]]},
            "scored 3 tokens, not the 3",
        ),
        ({"input_token_logprobs": "none"}, "gave none for input_token_logprobs"),
        ({"input_token_logprobs": None}, "has no input_token_logprobs"),
        ({"input_top_logprobs": None}, "has no input_top_logprobs"),
        ({"input_top_logprobs": 3}, "gave 3 for input_top_logprobs"),
        ({"input_top_logprobs": [None, None, None]}, "0 alternatives at 0, not 2"),
        ({"input_top_logprobs": [None, [[-1.0, 2, None]]]}, "2 logprobs and 1 lists"),
        (
            {"input_token_logprobs": [[None, 5, None], [None, 17, None], [-1.0, 300, None]]},
            "null for a logprob",
        ),
        ({"cached_tokens": None}, "has no cached_tokens"),
    ],
)
def test_scores_that_lack_something_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        scored(changed(SCORED, **changes))


def test_fewer_alternatives_or_answers_than_asked_for_are_refused() -> None:
    with pytest.raises(RequestError, match="2 alternatives at 0, not 3"):
        scored(SCORED, top_k=3)
    with pytest.raises(RequestError, match="1 answers for 2 sequences"):
        scored(SCORED[:1])
    with pytest.raises(RequestError, match="is no list"):
        scored(SCORED[0])


@pytest.mark.parametrize("reason", [{"type": "abort", "message": "x"}, {"type": None}])
def test_a_generation_that_ended_otherwise_is_refused(reason: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="finish_reason"):
        DIALECT.generated(json.dumps(changed(GENERATED, finish_reason=reason)).encode(), 2)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b'{"error": "x"}', b""])
def test_an_answer_without_the_asked_field_is_refused(body: bytes) -> None:
    for read in (DIALECT.rendered, DIALECT.prompt_tokens, DIALECT.identified):
        with pytest.raises(RequestError, match=r"has no |no JSON"):
            read(body)


def test_token_ids_are_read_one_by_one_and_special_ones_too() -> None:
    request = DIALECT.detokenize([7, 8])
    assert request.path == "/detokenize"
    body = {"model": "tiny", "tokens": [[7], [8]], "skip_special_tokens": False}
    assert request.body == body
    assert DIALECT.detokenized(b'{"text": ["a", "<|b|>"]}') == (["a", "<|b|>"], [False, False])
    with pytest.raises(RequestError, match="one text of all token ids"):
        DIALECT.detokenized(b'{"text": "a<|b|>"}')
