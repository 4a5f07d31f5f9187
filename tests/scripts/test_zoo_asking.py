"""A probe asked of a toy engine on a real socket: what fails is told by name, the rest is asked."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from harness.base.case import Chat
from harness.candidate import Opened
from harness.client import Asker, Endpoint
from harness.recording import Trace
from launchers.capabilities import Able, Capabilities, Capability
from launchers.vllm import VllmDialect
from scripts.zoo import asking, probe, rules
from scripts.zoo.asking import Asking
from scripts.zoo.changes import changed
from scripts.zoo.rules import Word
from tests import toy_engine
from tests.building import recorded, serving
from tests.talker import Talker
from tests.toy_engine import Toy

ABLE = {"score", "generate"}


@contextmanager
def opened(toy: Toy) -> Generator[Opened]:
    """The toy, known to score and to generate and to do nothing else."""
    given: dict[str, Any] = {
        field.name: Capability(able=Able.YES if field.name in ABLE else Able.NO, evidence="")
        for field in fields(Capabilities)
        if field.name != "requests"
    }
    with toy_engine.opened(toy) as engine:
        yield replace(engine, capabilities=Capabilities(**given, requests=1))


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return toy_engine.trace_of(tmp_path_factory.mktemp("trace") / "toy.trace", 12)


def test_two_probes_of_one_engine_are_asked_the_same_and_answer_the_same(trace: Trace) -> None:
    with opened(Toy()) as engine:
        first, second = (probe.ask(engine, trace, seed=3, draws=False) for _ in range(2))
    assert not changed(first, second, None)
    assert first.prompts == second.prompts and len(first.prompts) == asking.ROWS
    assert first.scores is not None and first.greedy is not None and not first.failures
    assert first.rendered is None and first.texts is None and first.answers is None


def test_another_seed_asks_other_sequences(trace: Trace) -> None:
    chosen = [[row.case.id for row in asking.rows_of(trace, seed)] for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_long_sequences_are_fewer_and_one_at_least(trace: Trace) -> None:
    asked: list[int] = []
    for most in (1, 35, 1_000):
        rows = asking.rows_of(trace, 1, most)
        asked.append(len(rows))
        assert len(rows) == 1 or sum(len(row.token_ids) for row in rows) <= most
    assert asked[0] == 1 < asked[1] < asked[2] == asking.ROWS


def test_an_engine_that_fails_while_generating_is_scored_all_the_same(trace: Trace) -> None:
    def spoil(table: dict[str, Any], generating: bool) -> None:
        if generating:
            del table["choices"]

    with opened(Toy()) as engine:
        healthy = probe.ask(engine, trace, seed=3, draws=False)
    with opened(Toy(spoil=spoil)) as engine:
        dead = probe.ask(engine, trace, seed=3, draws=False)
    assert dead.greedy == {} and dead.scores is not None and len(dead.scores) == asking.ROWS
    assert {f"greedy {name}" for name in healthy.prompts} <= set(dead.failures)
    assert all(dead.failures.values())
    assert changed(dead, healthy, healthy)
    assert rules.vllm(healthy, dead).word is Word.CAUGHT


def test_a_request_that_fails_once_and_succeeds_again_is_no_failure(trace: Trace) -> None:
    faults = [1]

    def spoil(table: dict[str, Any], generating: bool) -> None:
        if generating and faults:
            faults.pop()
            del table["choices"]

    with opened(Toy(spoil=spoil)) as engine:
        found = probe.ask(engine, trace, seed=3, draws=False)
    assert not faults and not found.failures
    assert found.greedy is not None and found.prompts.keys() == found.greedy.keys()


def test_a_reference_scores_the_answers_and_not_their_prompts(trace: Trace) -> None:
    """The toy's own answers at T = 0 are its own best tokens: no margin. Another's are not."""

    def second_best(logprobs: Any) -> int:
        return int(logprobs.argsort()[-2])

    with opened(Toy(listed=5)) as reference, opened(Toy(choose=second_best)) as fault:
        own = probe.rescored(reference, probe.ask(reference, trace, seed=3, draws=False))
        other = probe.rescored(reference, probe.ask(fault, trace, seed=3, draws=False))
    assert own.rescored is not None and own.greedy is not None and other.rescored is not None
    for name, scores in own.rescored.items():
        assert len(scores.logprobs) == len(own.greedy[name].token_ids) == asking.ANSWER_TOKENS
    assert rules.margins(own.rescored).max() == 0
    assert rules.margins(other.rescored).min() > 0
    assert rules.token_difr(own, [own]).word is Word.EQUAL
    assert rules.token_difr(other, [own]).word is Word.CAUGHT


@pytest.mark.parametrize("whole", [True, False])
def test_a_stream_that_ends_in_its_middle_is_a_failure_and_the_whole_answers_are_none(
    whole: bool,
) -> None:
    chat = Chat(messages=({"role": "user", "content": "well?"},), tools=None, thinking=None)
    rng = np.random.default_rng(0)
    rows = [recorded(i, "chat", rng, chat) for i in range(3)]
    with serving(Talker(ends_stream=whole)) as url, Endpoint(url) as endpoint:
        engine = Asking(
            Opened(
                asker=(asker := Asker(endpoint, VllmDialect(model="m"))),
                title="a talker",
                url=url,
                pin=None,
                identity={},
                launch_seconds=None,
                running=None,
            ),
            asker,
        )
        texts, streams = engine.texts(rows), engine.streams(rows)
    assert texts is not None and len(texts) == len(rows)
    assert streams == (texts if whole else {})
    assert len(engine.failures) == (0 if whole else len(rows))
    assert all(name.startswith("streams ") for name in engine.failures)
