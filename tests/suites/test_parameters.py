"""Sampling parameters: a right value is taken, every other is refused by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from harness.base.errors import ConfigError
from harness.base.held import How
from harness.base.reply import Reply
from harness.base.suite import Given
from suites import registry
from tests.suites.replies import CUT, NEITHER, answer, bodies, held, refusal, suite

FIELDS = ("temperature", "top_p", "n", "presence_penalty", "frequency_penalty")
PENALTIES = (0, 0.5, -0.5)
TAKEN: Mapping[str, Mapping[str, float]] = {  # mode -> field -> its only value
    mode: {
        "temperature": temperature,
        "top_p": 0.95,
        "n": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
    }
    for mode, temperature in (("thinking", 1.0), ("instant", 0.6))
}
ASKED: Mapping[str, tuple[float, ...]] = {
    "temperature": (0, 0.6, 1, 1.1, 2, -0.1),
    "top_p": (0.8, 0.95, 1),
    "n": (1, 2),
    "presence_penalty": PENALTIES,
    "frequency_penalty": PENALTIES,
}
ASKED_BY = {  # as the vendor's API reads it and as engines do, both at once
    "thinking": {"thinking": {"type": "enabled"}, "chat_template_kwargs": {"thinking": True}},
    "instant": {"thinking": {"type": "disabled"}, "chat_template_kwargs": {"thinking": False}},
}
MODES = {
    "kimi-k2.6": ("thinking", "instant"),
    "tiny": ("thinking", "instant"),
    "kimi-k3": ("thinking",),
}
BOTH = suite("parameters")
ONE = suite("parameters", "kimi-k3")
BAD_REQUEST = refusal("unknown_field: extra fields not permitted")


def cases(mode: str, *, right: bool) -> Iterator[tuple[str, str, float]]:
    """The id, the field and the value of each that is right, or wrong."""
    for field, values in ASKED.items():
        for value in values:
            if (value == TAKEN[mode][field]) == right:
                yield f"{mode}/{field}-{value}", field, value


ANSWERED = [
    *("nothing", "thinking/none", "thinking/all", "instant/none", "instant/all"),
    *(case for mode in TAKEN for case, _, _ in cases(mode, right=True)),
]
REFUSED = [(case, field) for mode in TAKEN for case, field, _ in cases(mode, right=False)]


@pytest.mark.parametrize("family", MODES)
def test_each_value_of_each_parameter_is_asked_in_each_mode_streamed_and_whole(
    family: str,
) -> None:
    fields: dict[str, Mapping[str, object]] = {"nothing": {}}
    for mode, by in ASKED_BY.items():
        fields[f"{mode}/none"] = by
        if mode in MODES[family]:
            fields[f"{mode}/all"] = {**by, **TAKEN[mode]}
            for case, field, value in (*cases(mode, right=True), *cases(mode, right=False)):
                fields[case] = {**by, field: value}
    found = bodies(suite("parameters", family))
    assert set(found) == {f"{case}/{way}" for case in fields for way in ("streamed", "whole")}
    for name, body in found.items():
        assert body["messages"] and body["max_tokens"] == 16
        rest = {key: body[key] for key in body if key not in ("messages", "max_tokens")}
        assert rest == fields[name.rpartition("/")[0]], name


def test_how_many_answers_are_wanted_is_asked_as_an_integer() -> None:
    found = bodies(BOTH)
    for case in ("thinking/n-1", "thinking/n-2", "instant/n-1", "instant/n-2"):
        assert type(found[f"{case}/whole"]["n"]) is int


@pytest.mark.parametrize("case", ANSWERED)
def test_what_is_right_is_answered(case: str) -> None:
    for reply, how in (
        (answer(), How.KEPT),
        (answer("", "length", reasoning="The user"), How.KEPT),  # 16 tokens are few
        (refusal("invalid temperature: only 1 is allowed"), How.BROKEN),
        (refusal("top_p: not supported", 422), How.BROKEN),
        (refusal("n must be 1", None), How.BROKEN),
        *((neither, How.UNANSWERED) for neither in NEITHER),
    ):
        assert held(BOTH, case, reply).how is how, reply


@pytest.mark.parametrize(("case", "field"), REFUSED)
def test_what_is_wrong_is_refused_by_the_name_of_its_parameter(case: str, field: str) -> None:
    for reply, how in (
        (answer(), How.NOT_ENFORCED),
        (answer("Ye", "length"), How.NOT_ENFORCED),
        (refusal(f"invalid {field}: only one value is allowed for this model"), How.KEPT),
        (refusal(f"{field}: Input should be another", 422), How.KEPT),
        (refusal(f"invalid {field}", None), How.NOT_ENFORCED),
        (BAD_REQUEST, How.UNANSWERED),
        *((refusal(f"invalid {other}"), How.UNANSWERED) for other in FIELDS if other != field),
        (refusal("", 422), How.UNANSWERED),
        *((neither, How.UNANSWERED) for neither in NEITHER),
    ):
        assert held(BOTH, case, reply).how is how, reply


def test_each_wrong_value_of_each_mode_is_held_so() -> None:
    assert {case for case, _ in REFUSED} >= {
        *("thinking/temperature-0.6", "instant/temperature-1", "thinking/top_p-0.8"),
        *("thinking/n-2", "instant/presence_penalty-0.5", "instant/frequency_penalty--0.5"),
    }
    assert len(REFUSED) == 24 and len(ANSWERED) == 15


@pytest.mark.parametrize(
    ("reply", "how"),
    [
        (answer(), How.NOT_ENFORCED),
        (refusal("thinking cannot be disabled"), How.KEPT),
        (refusal("chat_template_kwargs: the model always thinks", 422), How.KEPT),
        (refusal("invalid temperature"), How.UNANSWERED),
        (refusal("thinking cannot be disabled", None), How.NOT_ENFORCED),
        (CUT, How.UNANSWERED),
    ],
)
def test_a_mode_that_the_family_has_not_is_refused(reply: Reply, how: How) -> None:
    assert held(ONE, "instant/none", reply).how is how


@pytest.mark.parametrize("case", ["nothing", "thinking/none", "thinking/all"])
def test_a_mode_that_the_family_has_is_answered(case: str) -> None:
    assert held(ONE, case, answer()).how is How.KEPT
    assert held(ONE, case, refusal("thinking cannot be enabled")).how is How.BROKEN


def test_without_a_family_there_is_nothing_to_ask() -> None:
    with pytest.raises(ConfigError, match="parameters: contract is missing"):
        registry.suite(Given(name="parameters"))
