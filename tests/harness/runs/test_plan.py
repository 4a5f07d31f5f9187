"""What is asked, in which order, under which id, and in each engine's own words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import ConfigError
from harness.base.suite import Suite
from harness.runs import plan
from harness.runs.plan import Cases, Plan, Request
from harness.runs.spec import ModeTable, RunSpec
from launchers import contracts, openai_api
from launchers.dialect import Dialect
from launchers.openai import OpenAiDialect
from launchers.reference import ReferenceDialect
from launchers.sglang_dialect import SglangDialect
from launchers.vllm import VllmDialect
from tests.harness.runs import made_up
from tests.harness.runs.made_up import SPEC, asked, cases, suite, task

VLLM, SGLANG = VllmDialect(model="m"), SglangDialect(model="m")
OPENAI = OpenAiDialect(model="m", echo=False, tool_choice=None, switches_thinking=True)


def planned(
    asked_of: Cases, spec: RunSpec = SPEC, *, dialect: Dialect = VLLM, engine: str = "e"
) -> list[Request]:
    """All requests, by number."""
    made = Plan(spec, asked_of, dialect, engine)
    return [made.request(n) for n in range(len(asked_of))]


def of_modes(*, raw: bool = False) -> Suite:
    """Tasks that are to be thought about, not to be, and do not say; the first has a tool."""
    tasks = (task("thinks", True, tools=True), task("instant", False), task("open", None))
    return replace(suite(1, raw=raw), tasks=tasks)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 2**40),
)
def test_every_task_of_every_suite_is_asked_once_an_epoch(
    sizes: list[int], epochs: int, seed: int
) -> None:
    made = cases(*(suite(size, name=f"s{i}") for i, size in enumerate(sizes)), epochs=epochs)
    spec = replace(SPEC, epochs=epochs, seed=seed)
    order = Plan(spec, made, VLLM, "e").order()
    assert sorted(order) == list(range(len(made))) == list(range(sum(sizes) * epochs))
    requests = planned(made, spec)
    assert {(one.suite.name, one.task.id, one.epoch) for one in requests} == {
        (f"s{i}", f"t{j}", epoch)
        for i, size in enumerate(sizes)
        for j in range(size)
        for epoch in range(epochs)
    }
    assert len({one.id for one in requests}) == len(requests)
    assert [one.n for one in requests] == list(range(len(requests)))


def test_the_same_spec_asks_in_the_same_order_and_another_seed_in_another() -> None:
    made = cases(suite(40))
    first = Plan(SPEC, made, VLLM, "e").order()
    assert first == Plan(SPEC, made, SGLANG, "other").order()  # each engine the same
    assert first != Plan(replace(SPEC, seed=8), made, VLLM, "e").order()
    assert list(first) != sorted(first)


def test_an_id_is_the_same_in_any_run_that_asks_the_same() -> None:
    few, many = cases(suite(2)), cases(suite(3, name="before"), suite(5))
    of_few = {one.task.id: one.id for one in planned(few)}
    other = replace(SPEC, seed=99, limits=replace(made_up.LIMITS, in_flight=1))
    of_many = {one.task.id: one.id for one in planned(many, other) if one.suite.name == "made-up"}
    assert of_few == {name: of_many[name] for name in of_few}
    assert of_few["t0"] == "a5a2bb04ffde76ff"  # in any version, too


@pytest.mark.parametrize(
    ("spec", "engine", "dialect"),
    [
        (SPEC, "other", VLLM),
        (SPEC, "e", SGLANG),
        (replace(SPEC, sampling=replace(SPEC.sampling, max_tokens=9)), "e", VLLM),
        (
            replace(
                SPEC,
                sampling=replace(SPEC.sampling, thinking=ModeTable(temperature=0.9, top_p=0.95)),
            ),
            "e",
            VLLM,
        ),
        (replace(SPEC, sampling=replace(SPEC.sampling, seeded=True)), "e", VLLM),
    ],
)
def test_another_engine_or_sampling_is_another_request(
    spec: RunSpec, engine: str, dialect: Dialect
) -> None:
    before = planned(cases(suite(3)))
    after = planned(cases(suite(3)), spec, engine=engine, dialect=dialect)
    assert not {one.id for one in before} & {one.id for one in after}


def test_an_answer_is_sampled_by_the_mode_that_its_task_asks_for() -> None:
    found = {
        one.task.id: (one.body["temperature"], one.body["top_p"])
        for one in planned(cases(of_modes()))
    }
    assert found == {"thinks": (1.0, 0.95), "instant": (0.6, 0.9), "open": (1.0, 0.95)}


def test_a_seed_is_sent_only_where_the_spec_says_so_and_belongs_to_its_request() -> None:
    made = cases(suite(20), epochs=2)
    assert all("seed" not in one.body for one in planned(made))
    seeded = replace(SPEC, epochs=2, sampling=replace(SPEC.sampling, seeded=True))
    seeds = [one.body["seed"] for one in planned(made, seeded)]
    assert len(set(seeds)) == 40 and all(0 <= seed < 2**31 for seed in seeds)
    assert seeds == [one.body["seed"] for one in planned(made, seeded, dialect=SGLANG)]
    others = [one.body["seed"] for one in planned(made, replace(seeded, seed=8))]
    assert not set(seeds) & set(others)


def test_a_chat_goes_out_as_a_chat_and_a_raw_task_without_its_prompt() -> None:
    thinks, instant, open_ = planned(cases(of_modes()))
    assert {one.path for one in (thinks, instant, open_)} == {openai_api.CHAT}
    assert thinks.body["messages"] == [{"role": "user", "content": "Say thinks."}]
    assert thinks.body["tools"][0]["function"]["name"] == "now"
    assert thinks.body["chat_template_kwargs"] == {"thinking": True}
    assert instant.body["chat_template_kwargs"] == {"thinking": False}
    assert "chat_template_kwargs" not in open_.body
    assert not thinks.continues
    for one in planned(cases(of_modes(raw=True))):
        assert (one.path, one.continues) == (openai_api.COMPLETIONS, True)
        assert not {"messages", "tools", "prompt", "chat_template_kwargs"} & set(one.body)
        assert one.body["return_token_ids"] and not one.body["skip_special_tokens"]
        assert one.body["stream"] and one.body["stream_options"] == {"include_usage": True}
        assert one.body["max_tokens"] == 8
    kept = Cases([asked(of_modes(raw=True), continues=False)], 1)
    assert not any(one.continues for one in planned(kept))


KNOBS = {"top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"}


def test_an_engine_is_sent_every_knob_and_a_stranger_what_openai_has() -> None:
    bodies: dict[str, Any] = {
        dialect.engine: planned(cases(suite(1)), dialect=dialect)[0].body
        for dialect in (VLLM, SGLANG, OPENAI)
    }
    vllm, sglang, stranger = bodies["vllm"], bodies["sglang"], bodies["openai-compatible"]
    assert set(vllm) >= KNOBS and set(sglang) >= KNOBS
    assert (vllm["top_k"], sglang["top_k"]) == (0, -1)  # each its own word for off
    assert not {"top_k", "min_p", "repetition_penalty"} & set(stranger)
    assert set(stranger) >= {"temperature", "top_p", "presence_penalty", "frequency_penalty"}


def test_an_engine_without_a_chat_api_is_refused() -> None:
    with pytest.raises(ConfigError, match="reference has no chat API"):
        Plan(SPEC, cases(suite(1)), ReferenceDialect(model="m"), "e")


def test_what_a_contract_does_not_allow_is_told_once_each() -> None:
    contract = contracts.load("kimi-k2.6")  # 1.0 and 0.95 thinking, 0.6 and 0.95 instant
    found = plan.breaches(SPEC, cases(of_modes(), of_modes()).asked, contract)
    assert len(found) == 1 and "top_p" in found[0] and "0.9" in found[0]
    right = replace(
        SPEC, sampling=replace(SPEC.sampling, instant=ModeTable(temperature=0.6, top_p=0.95))
    )
    assert plan.breaches(right, cases(of_modes()).asked, contract) == []
    hot = ModeTable(temperature=1.5, top_p=0.95)
    wrong = replace(SPEC, sampling=replace(SPEC.sampling, thinking=hot, instant=hot))
    assert len(plan.breaches(wrong, cases(of_modes()).asked, contract)) == 2
    only = [asked(replace(suite(1), tasks=(task("t", True),)))]
    assert plan.breaches(SPEC, only, contract) == []  # a mode that nobody asks for binds nobody


def test_a_raw_request_that_renders_otherwise_has_another_id() -> None:
    """Tools and thinking are in the prompt that the template makes, and in no body."""
    tasks = (task("t"), task("t", True), task("t", tools=True))
    ids = {planned(cases(replace(suite(1, raw=True), tasks=(one,))))[0].id for one in tasks}
    assert len(ids) == 3
