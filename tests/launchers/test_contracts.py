"""What a contract lets through, what it fills in, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import ConfigError
from harness.base.sampling_rules import History
from launchers import contracts, pins
from launchers.contracts import Refusal, hold
from launchers.json_object import Fill, filled, parse
from launchers.open_paths import Access, access

K26 = contracts.load("kimi-k2.6")
FAMILIES = ["kimi-k2-thinking", "kimi-k2.5", "kimi-k2.6", "kimi-k2.7", "kimi-k3", "tiny"]
ALWAYS = {"n": 1, "presence_penalty": 0, "frequency_penalty": 0}
KNOBS = {"top_k": -1, "min_p": 0, "repetition_penalty": 1}
THINKS = {"temperature": 1, "top_p": 0.95, **ALWAYS, **KNOBS}
ANSWERS = {"temperature": 0.6, "top_p": 0.95, **ALWAYS, **KNOBS}
ON, OFF = {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}
SWITCH_ON = {"chat_template_kwargs": {"thinking": True}}
KEEP = {
    "chat_template_kwargs": {"preserve_thinking": True},
    "thinking": {"type": "enabled", "keep": "all"},
}
SWITCH_OFF = {"chat_template_kwargs": {"thinking": False}}


def held(body: dict[str, Any] | str, family: str = "kimi-k2.6", *, chat: bool = True) -> Any:
    """What is forwarded, parsed; or the refusal."""
    sent = body if isinstance(body, str) else json.dumps(body)
    result = hold(contracts.load(family), sent.encode(), chat=chat)
    return result if isinstance(result, Refusal) else json.loads(result)


def refusal(body: dict[str, Any] | str, family: str = "kimi-k2.6", *, chat: bool = True) -> Refusal:
    result = held(body, family, chat=chat)
    assert isinstance(result, Refusal), result
    return result


@pytest.mark.parametrize("family", FAMILIES)
def test_an_open_request_is_filled_in(family: str) -> None:
    switch = {} if family == "kimi-k2-thinking" else SWITCH_ON
    assert held({"seed": 3}, family) == {"seed": 3, **THINKS, **switch}
    assert held({"seed": 3}, family, chat=False) == {"seed": 3, **THINKS}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_verifiers_wrong_values_are_refused_in_every_family(family: str) -> None:
    """Kimi-Vendor-Verifier's params suite."""
    wrong: dict[str, list[Any]] = {
        "temperature": [0, 0.6, 1.1, 2.0, -0.1],
        "top_p": [0.8, 1],
        "presence_penalty": [0.5],
        "frequency_penalty": [0.5],
        "n": [2],
    }
    for field, values in wrong.items():
        for value in values:
            assert refusal({field: value}, family).param == field
            assert refusal({field: value}, family, chat=False).param == field


@pytest.mark.parametrize("family", ["kimi-k2.5", "kimi-k2.6", "tiny"])
def test_a_model_that_can_answer_at_once_has_another_temperature_then(family: str) -> None:
    for off in (OFF, SWITCH_OFF, {"reasoning_effort": "none"}):
        assert held({**off, "temperature": 0.6}, family) == {**off, **ANSWERS, **SWITCH_OFF}
        assert held(off, family) == {**off, **ANSWERS, **SWITCH_OFF}
        for temperature in (1, 0, 1.1, 2.0, -0.1):
            assert refusal({**off, "temperature": temperature}, family).param == "temperature"
    for on in (ON, SWITCH_ON, {"reasoning_effort": "high"}, {}):
        assert held({**on, "temperature": 1.0}, family) == {**on, **THINKS, **SWITCH_ON}


@pytest.mark.parametrize("family", ["kimi-k2-thinking", "kimi-k3"])
def test_a_model_that_always_thinks_cannot_be_told_not_to(family: str) -> None:
    for off in (OFF, SWITCH_OFF, {"reasoning_effort": "none"}):
        assert "not served in instant mode" in refusal({**off, "temperature": 0.6}, family).message
        assert refusal(off, family).code == "unsupported_value"
    assert held({**ON, "temperature": 1.0}, family)["temperature"] == 1.0


def test_a_raw_prompt_is_held_to_the_default_mode_whatever_it_says() -> None:
    for off in (OFF, SWITCH_OFF):
        assert held({**off, "temperature": 1}, chat=False) == {**off, **THINKS}
        assert refusal({**off, "temperature": 0.6}, chat=False).param == "temperature"


@pytest.mark.parametrize("value", ["1", "1.0", "1e0", "10e-1", "null"])
def test_one_is_one_however_it_is_written(value: str) -> None:
    assert held(f'{{"temperature": {value}}}')["temperature"] == 1


@pytest.mark.parametrize(
    "value", ['"1.0"', "true", "[1]", "{}", "1.0000001", "1e400", "-1", '""', "1" + "0" * 400]
)
def test_what_an_engine_might_take_for_one_is_refused(value: str) -> None:
    assert refusal(f'{{"temperature": {value}}}').param == "temperature"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "Expecting value"),
        ("{", "double quotes"),
        ('{"a" 1}', "colon"),
        ('{"a": 1 "b": 2}', "comma"),
        ('{"a": 1,}', "double quotes"),
        ('{"a": 1} x', "nothing may follow"),
        ("{'a': 1}", "double quotes"),
        ("[]", "JSON object"),
        ("null", "JSON object"),
        ('{"temperature": NaN}', "NaN"),
        ('{"temperature": Infinity}', "Infinity"),
        ('{"temperature": 1, "temperature": 0}', "'temperature' stands twice"),
        ('{"temperature": 1, "tempe\\u0072ature": 0}', "'temperature' stands twice"),
        ('{"chat_template_kwargs": {"thinking": true, "thinking": false}}', "stands twice"),
        ('{"messages": ' + "[" * 100000, "nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", "digits"),
        ("\ufeff{}", "BOM"),
    ],
)
def test_what_engines_could_read_differently_is_refused(body: str, why: str) -> None:
    found = refusal(body)
    assert (found.param, found.code) == (None, "invalid_json")
    assert why in found.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_another_encoding_than_utf_8_is_refused(encoding: str) -> None:
    body = '{"user": "é", "temperature": 0}'.encode(encoding)
    assert isinstance(hold(K26, body, chat=True), Refusal)


@pytest.mark.parametrize(
    "more",
    [
        {**ON, **SWITCH_OFF},
        {**OFF, **SWITCH_ON},
        {**SWITCH_ON, "reasoning_effort": "none"},
        {"chat_template_kwargs": {"thinking": True, "enable_thinking": False}},
    ],
)
def test_ways_of_asking_that_disagree_are_refused(more: dict[str, Any]) -> None:
    assert "the opposite" in refusal(more).message


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"thinking": True}, "thinking"),
        ({"thinking": {"type": "adaptive"}}, "thinking.type"),
        ({"thinking": {"type": None}}, "thinking.type"),
        ({"chat_template_kwargs": "thinking"}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"thinking": "false"}}, "chat_template_kwargs.thinking"),
        ({"chat_template_kwargs": {"thinking": None}}, "chat_template_kwargs.thinking"),
        ({"chat_template_kwargs": {"thinking": 0}}, "chat_template_kwargs.thinking"),
        ({"reasoning_effort": 0.5}, "reasoning_effort"),
        ({"reasoning": {"enabled": True}}, "reasoning"),
        ({"input_ids": [1]}, "input_ids"),
        ({"chat_template": "x"}, "chat_template"),
        ({"chat_template_kwargs": {"chat_template": "x"}}, "chat_template_kwargs.chat_template"),
    ],
)
def test_a_way_of_asking_that_could_be_misread_is_refused(more: dict[str, Any], param: str) -> None:
    assert refusal(more).param == param


@pytest.mark.parametrize("knob", K26.knobs, ids=lambda knob: knob.field)
def test_every_knob_takes_its_neutral_values_alone(knob: contracts.Knob) -> None:
    def asked(value: Any) -> dict[str, Any]:
        table, _, inner = knob.field.partition(".")
        return {table: {inner: value} if inner else value}

    for value in knob.neutral:
        assert not isinstance(held(asked(value)), Refusal)
    for value in (7, 0.5, "x", True, {"5": 10}, [5]):
        assert refusal(asked(value)).param == knob.field
        assert isinstance(held(asked(value), chat=False), Refusal) is not knob.chat_only


def test_a_null_is_filled_in_where_it_stands_and_nothing_else_moves() -> None:
    body = '{ "top_p" :null ,"x":[ 1.50 ], "chat_template_kwargs" : { } }'
    open_ones = json.dumps({k: v for k, v in THINKS.items() if k != "top_p"})[1:-1]
    expected = '"top_p" :0.95 ,"x":[ 1.50 ], "chat_template_kwargs" : {"thinking": true } }'
    got = hold(K26, body.encode(), chat=True)
    assert got == ("{" + open_ones + ", " + " " + expected).encode()


def test_a_whole_request_is_forwarded_as_the_same_bytes() -> None:
    body = json.dumps({**THINKS, **SWITCH_ON, "extra_body": {"temperature": 0}}).encode()
    assert hold(K26, body, chat=True) is body


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    body=st.dictionaries(st.text(), json_values, max_size=5),
    indent=st.none() | st.integers(0, 3),
    ascii_only=st.booleans(),
)
def test_whatever_else_a_body_holds_is_kept(
    body: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(body, indent=indent, ensure_ascii=ascii_only)
    try:
        sent = text.encode()
    except UnicodeEncodeError:  # half a pair of surrogates, unescaped: no such body can be sent
        return
    request = parse(sent)
    assert filled(request, ()) == sent
    assert {name: member.value for name, member in request.members.items()} == body
    for name, member in request.members.items():
        assert json.loads(request.text[member.start : member.end]) == body[name]
    more = filled(request, (Fill(path=("a new one",), value=1), Fill(path=("t", "u"), value=2)))
    if "t" not in body and "a new one" not in body:
        assert json.loads(more) == {**body, "a new one": 1, "t": {"u": 2}}
        assert more.endswith(sent[1:])


def test_an_unknown_family_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"no contract 'k9'; known are kimi-k2-thinking, "):
        contracts.load("k9")


def test_the_contracts_that_pins_name_exist() -> None:
    named = {pins.load(name).pin.serving.contract for name in pins.shipped()} - {None}
    assert named and named <= set(FAMILIES)
    assert sorted(path.stem for path in contracts.FOLDER.glob("*.toml")) == FAMILIES


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [
        ("[modes.thinking]", "[modes.thinks]", "modes must be among"),
        ('rendered = "all"', 'rendered = "some"', "history.rendered must be loop or all"),
        ('rendered = "all"', 'dropped = "none"', "unknown key 'dropped'"),
    ],
)
def test_what_is_misspelt_in_a_contract_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: str, wrong: str, why: str
) -> None:
    text = (contracts.FOLDER / "kimi-k3.toml").read_text()
    (tmp_path / "own.toml").write_text(text.replace(right, wrong))
    monkeypatch.setattr(contracts, "FOLDER", tmp_path)
    with pytest.raises(ConfigError, match=why):
        contracts.load("own")


@pytest.mark.parametrize(
    ("family", "rendered", "kept_by"),
    [
        ("kimi-k2-thinking", "loop", None),
        ("kimi-k2.5", "loop", None),
        ("kimi-k2.6", "loop", KEEP),
        ("kimi-k2.7", "all", KEEP),
        ("kimi-k3", "all", KEEP),
        ("tiny", "all", None),
    ],
)
def test_the_thinking_of_earlier_turns_is_kept_as_kimi_has_it(
    family: str, rendered: str, kept_by: dict[str, Any] | None
) -> None:
    """As Kimi-Vendor-Verifier asks for it, and Kimi's guide tells the models apart."""
    assert contracts.rules(family).history == History(rendered=rendered, keep=kept_by)


@pytest.mark.parametrize("family", ["kimi-k2.6", "kimi-k2.7", "kimi-k3"])
def test_asking_for_the_thinking_of_earlier_turns_is_no_breach(family: str) -> None:
    kwargs = {**KEEP["chat_template_kwargs"], **SWITCH_ON["chat_template_kwargs"]}
    assert held(KEEP, family) == {**KEEP, **THINKS, "chat_template_kwargs": kwargs}


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("POST", "/v1/chat/completions", Access.CHAT),
        ("POST", "/v1/chat/completions?a=b", Access.CHAT),
        ("POST", "/v1/completions", Access.TEXT),
        ("GET", "/v1/models/a/b", Access.OPEN),
        ("GET", "/v1/models/a/../../slow_down", Access.SHUT),
        ("POST", "/v1/models", Access.SHUT),
        ("POST", "http://host/v1/chat/completions", Access.SHUT),
        ("OPTIONS", "/v1/chat/completions", Access.OPEN),
        ("OPTIONS", "*", Access.SHUT),
        ("POST", "/generate", Access.SHUT),
    ],
)
def test_what_is_not_listed_is_shut(method: str, target: str, expected: Access) -> None:
    assert access(method, target) is expected
