"""What a verification asks of every deployment, as the spec of a run. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.base.sampling_rules import INSTANT, THINKING, Rules

OWED = "owed.toml"
SHORT, LONG = 512, 4096  # tokens of an answer: of the tiny models, and of those that think long


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A deployment, as it is asked."""

    name: str
    changes: tuple[str, ...]
    enforce: bool
    url: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """All that is asked."""

    engines: tuple[Engine, ...]
    rules: Rules
    max_tokens: int
    quick: bool
    prompt_tokens: str | None  # a file of cases; None: there is no truth
    trigger: str | None  # a file of cases; None: none was named
    outside: tuple[str, ...]  # data from outside that is here
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A suite of the spec, or why it is not run."""

    name: str
    cases: int | None = None  # its first ones
    file: str | None = None
    not_run: str | None = None


def suites(asked: Asked) -> Iterator[Chosen]:
    """In the order in which they are told."""
    few = asked.quick
    yield Chosen(name="parameters")
    yield Chosen(name="thinking-history")
    yield Chosen(name="features")
    yield Chosen(name="tool-schemas", cases=60 if few else None)
    walle = "tool-schemas-walle"
    if few:
        yield Chosen(name=walle, not_run="--quick leaves it out")
    elif "walle" in asked.outside:
        yield Chosen(name=walle)
    else:
        yield Chosen(name=walle, not_run=_nowhere("walle"))
    if asked.prompt_tokens is None:
        why = "the trace holds no prompts that the model's own tokenizer has counted"
        yield Chosen(name="prompt-tokens", not_run=why)
    else:
        yield Chosen(name="prompt-tokens", file=asked.prompt_tokens)
    if asked.rules.family == "kimi-k3":
        name, data = "prompt-tokens-kimi-k3", "prompt_tokens"
        there = data in asked.outside
        yield Chosen(name=name) if there else Chosen(name=name, not_run=_nowhere(data))
    yield Chosen(name="ending", cases=50 if few else 300)
    if asked.trigger is None:
        yield Chosen(name="tool-trigger", not_run="--trigger names no file of cases")
    else:
        yield Chosen(name="tool-trigger", file=asked.trigger)


def spec_text(asked: Asked) -> str:
    """TOML that `enginediff run` takes too."""
    run = [one for one in suites(asked) if one.not_run is None]
    lines = [
        "# Written by `enginediff verify`; `enginediff run` takes it as well.",
        "schema = 1",
        f"seed = {asked.seed}",
        "epochs = 1",
        'transport = "openai" # what customers use',
        'nodes = ["local"]',
        *(line for one in run for line in _suite(one, asked.rules.family)),
        *(line for one in asked.engines for line in _engine(one, asked.rules.family)),
        *_sampling(asked),
        *_limits(asked),
    ]
    return "\n".join([*lines, ""])


def _suite(one: Chosen, family: str) -> Iterator[str]:
    yield from ("", "[[suites]]", f"name = {json.dumps(one.name)}")
    yield f"contract = {json.dumps(family)}"
    if one.cases is not None:
        yield f"cases = {one.cases}"
    if one.file is not None:
        yield f"file = {json.dumps(one.file)}"


def _engine(one: Engine, family: str) -> Iterator[str]:
    yield from ("", "[[engines]]", f"name = {json.dumps(one.name)}")
    if one.url:
        yield f"contract = {json.dumps(family)}"
    else:
        yield f"changes = {json.dumps(list(one.changes))}"
        yield f"enforce = {json.dumps(one.enforce)}"


def _sampling(asked: Asked) -> Iterator[str]:
    """Of what is sampled by the spec: nothing here, but a spec says it."""
    yield from ("", "[sampling]", f"max_tokens = {asked.max_tokens}", "seeded = false")
    for mode in (THINKING, INSTANT):
        own: Mapping[str, float] = asked.rules.modes.get(
            mode, asked.rules.modes[asked.rules.default]
        )
        yield f"{mode} = {{ temperature = {own['temperature']}, top_p = {own['top_p']} }}"


def _limits(asked: Asked) -> Sequence[str]:
    del asked
    return (
        "",
        "[limits]",
        "in_flight = 8",
        "attempts = 3",
        "retries = 200",
        "idle_s = 60.0",
        "total_s = 600.0",
        "restarts = 1",
    )


def _nowhere(name: str) -> str:
    return f"the data {name!r} is not here: ENGINEDIFF_DATA (scripts/fetch_data.py)"
