"""Which requests a run makes of one engine: every task of every suite, once an epoch. Pure.

A request's number is its place in suites, tasks and epochs; the order of asking is drawn by the
run's seed, so that what an engine is asked first is no kind of task. Its id is the same for the
same request in any run.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import accumulate
from typing import Any

import orjson

from harness.base.errors import ConfigError
from harness.base.suite import Suite, Task
from harness.runs.spec import RunSpec
from launchers import contracts, openai_api
from launchers.contracts import Contract, Refusal
from launchers.dialect import Chatting, Dialect
from launchers.json_object import parse
from launchers.pins import OWN, SamplingTable

STREAMED = openai_api.STREAMED
RAW = {"return_token_ids": True, "skip_special_tokens": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A suite as a spec has it asked."""

    suite: Suite
    tasks: Sequence[Task]
    continues: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. A raw one's body lacks its prompt: the token ids of `chat`, as rendered."""

    n: int
    id: str
    suite: Suite
    task: Task
    epoch: int
    path: str
    body: Mapping[str, Any]
    continues: bool

    @property
    def streamed(self) -> bool:
        return self.task.exact is None or self.task.exact.streamed


class Cases:
    """All that a run asks of each of its engines, by number."""

    def __init__(self, asked: Sequence[Asked], epochs: int) -> None:
        self.asked, self.epochs = asked, epochs
        self._ends = list(accumulate(len(one.tasks) * epochs for one in asked))

    def __len__(self) -> int:
        return self._ends[-1]

    def __iter__(self) -> Iterator[Asked]:
        return iter(self.asked)

    def at(self, n: int) -> tuple[Asked, Task, int]:
        """Suite, task and epoch of request `n`."""
        place = bisect_right(self._ends, n)
        asked = self.asked[place]
        start = self._ends[place - 1] if place else 0
        epoch, index = divmod(n - start, len(asked.tasks))
        return asked, asked.tasks[index], epoch


class Plan:
    """The requests of one engine; each is made when it is asked for."""

    def __init__(self, spec: RunSpec, cases: Cases, dialect: Dialect, engine: str) -> None:
        """`engine`: what names it, a pin's hash or a URL.

        Raises ConfigError where the engine has no chat API.
        """
        if not isinstance(dialect, Chatting):
            raise ConfigError(f"{dialect.engine} has no chat API, and a run asks by it")
        self._spec, self._cases, self._dialect, self._engine = spec, cases, dialect, engine

    def order(self) -> array[int]:
        """The numbers of all requests, in the order of asking."""
        numbers = array("l", range(len(self._cases)))
        random.Random(f"order {self._spec.seed}").shuffle(numbers)
        return numbers

    def request(self, n: int) -> Request:
        asked, task, epoch = self._cases.at(n)
        body = self._body(asked.suite, task, epoch)
        path = openai_api.COMPLETIONS if asked.suite.raw else openai_api.CHAT
        chat = task.chat
        said = [chat.messages, chat.tools, chat.thinking]  # of a raw request, in no body
        named = [asked.suite.name, task.id, self._engine, epoch, path, body, said]
        digest = blake2b(orjson.dumps(named, option=orjson.OPT_SORT_KEYS), digest_size=8)
        return Request(
            n=n,
            id=digest.hexdigest(),
            suite=asked.suite,
            task=task,
            epoch=epoch,
            path=path,
            body=body,
            continues=asked.continues and asked.suite.raw,
        )

    def _body(self, suite: Suite, task: Task, epoch: int) -> dict[str, Any]:
        if (exact := task.exact) is not None:
            own = {"model": self._dialect.model, **exact.body}
            return {**own, **STREAMED} if exact.streamed else own
        body = self._dialect.chat(task.chat)
        assert body is not None
        fields = {
            **self._dialect.sampling(sampling(self._spec, task)),
            "max_tokens": self._spec.sampling.max_tokens,
            **STREAMED,
        }
        if self._spec.sampling.seeded:
            fields["seed"] = _seed(self._spec.seed, suite.name, task.id, epoch)
        if suite.raw:
            return {"model": self._dialect.model, **fields, **RAW}
        return {**body, **fields}


def sampling(spec: RunSpec, task: Task) -> SamplingTable:
    """How an answer is drawn, by the mode that a task asks for; nothing else bends it."""
    mode = spec.sampling.instant if task.chat.thinking is False else spec.sampling.thinking
    return replace(OWN, temperature=mode.temperature, top_p=mode.top_p)


def breaches(spec: RunSpec, asked: Sequence[Asked], contract: Contract) -> list[str]:
    """What of the spec's sampling a model's contract does not allow, each once. What a task
    sends of its own is not the spec's."""
    found: dict[str, None] = {}
    modes = {task.chat.thinking: task for one in asked for task in one.tasks if not task.exact}
    for thinking, task in modes.items():
        said = {} if thinking is None else {"chat_template_kwargs": {"thinking": thinking}}
        table = sampling(spec, task)
        body = {**said, "temperature": table.temperature, "top_p": table.top_p}
        decided = contracts.decide(contract, parse(orjson.dumps(body)), chat=True)
        if isinstance(decided, Refusal):
            found[decided.message] = None
    return list(found)


def _seed(seed: int, suite: str, task: str, epoch: int) -> int:
    named = orjson.dumps([seed, suite, task, epoch])
    return int.from_bytes(blake2b(named, digest_size=4).digest()) >> 1  # 31 bits
