"""A transport that answers as it is told to, in this process; and what asks through it."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from harness.runs import journal, story
from harness.runs.asking import Asking
from harness.runs.attempt import Attempts
from harness.runs.engine import Engine
from harness.runs.feed import Listed
from harness.runs.gate import Gate
from harness.runs.journal import Journal
from harness.runs.lateness import Lateness
from harness.runs.life import End, live
from harness.runs.pace import Pace
from harness.runs.plan import Plan, Request
from harness.runs.spec import LimitsTable, RunSpec
from harness.runs.story import Ended, Story
from harness.runs.transport import UnansweredError
from harness.runs.watch import Watch
from harness.runs.writer import Writer
from launchers.dialect import Dialect
from launchers.vllm import VllmDialect
from tests.harness.runs import made_up

PROMPT = (901, 902, 903)
DONE = b"data: [DONE]\n\n"
HANG = 3600.0
Step = bytes | float | UnansweredError | Callable[[], object]  # a piece, a sleep, an end, a call
Body = Mapping[str, Any]


def raw(text: str, *ids: int, finish: str | None = None) -> bytes:
    """A piece of a raw answer."""
    return event({"text": text, "token_ids": list(ids), "finish_reason": finish})


def chat(text: str, finish: str | None = None) -> bytes:
    """A piece of a chat's answer."""
    return event({"delta": {"content": text}, "finish_reason": finish})


def event(choice: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **choice}]}).encode() + b"\n\n"


WHOLE: tuple[Step, ...] = (raw("a", 1), raw("b", 2), raw("c", 3, finish="stop"), DONE)
CHATTED: tuple[Step, ...] = (chat("a"), chat("b"), chat("c", "stop"), DONE)


class Scripted:
    """What it was asked, and answers: `script` has the steps of the nth answer."""

    def __init__(self, script: Callable[[int, Body], Sequence[Step]]) -> None:
        self._script = script
        self.bodies: list[dict[str, Any]] = []  # of all but the prompts to be rendered
        self.paths: list[str] = []
        self.inside = self.most_inside = 0
        self.rendered = json.dumps({"tokens": PROMPT}).encode()  # the answer to /tokenize

    def end_broken(self) -> None:
        """Nothing breaks that does not say so."""

    async def status(self, path: str, within_s: float) -> int | None:
        del path, within_s
        return 200

    @asynccontextmanager
    async def stream(self, path: str, body: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        if path == "/tokenize":
            yield _steps((self.rendered,))
            return
        self.bodies.append(json.loads(body))
        self.paths.append(path)
        steps = self._script(len(self.bodies) - 1, self.bodies[-1])
        if steps and isinstance(steps[0], UnansweredError):
            raise steps[0]
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            yield _steps(steps)
        finally:
            self.inside -= 1

    async def close(self) -> None:
        pass


async def _steps(steps: Sequence[Step]) -> AsyncIterator[bytes]:
    for step in steps:
        if isinstance(step, bytes):
            yield step
        elif isinstance(step, UnansweredError):
            raise step
        elif isinstance(step, float | int):
            await asyncio.sleep(step)
        else:
            step()


def in_order(*scripts: Sequence[Step]) -> Scripted:
    """The scripts one after another; the last one ever again."""
    return Scripted(lambda n, _: scripts[min(n, len(scripts) - 1)])


def always(script: Callable[[], Sequence[Step]]) -> Scripted:
    """The script, as it is when it is asked for."""

    def answered(n: int, body: Body) -> Sequence[Step]:
        del n, body
        return script()

    return Scripted(answered)


class NoWait(random.Random):
    """Draws the shortest wait each time."""

    def uniform(self, a: float, b: float) -> float:
        del b
        return a


@dataclass(slots=True, kw_only=True)
class Rig:
    """A run's parts, on a journal of their own; `lived` once a life."""

    path: Path
    transport: Scripted
    requests: Sequence[Request]
    limits: LimitsTable
    supervised: bool = False
    alive: bool = True
    reachable: bool = True
    key_refused: bool = False
    ends_with_done: bool = True
    engine: Engine | None = None
    asking: Asking | None = None
    told: Story = field(default_factory=Story)
    watch: Watch = field(default_factory=lambda: Watch(engine="e", total=1))
    announced: list[str] = field(default_factory=list[str])
    stop: asyncio.Event | None = None  # of the life that goes on

    def lived(self, *, again: bool = False) -> End:
        """One life; `again`: of another process, that knows what the journal tells it."""
        if again:
            self.told = Story()
        with Journal(self.path, self.told.tell if again else None) as opened:
            return uvloop.run(self._live(opened))

    async def _reachable(self) -> bool:
        return self.reachable

    async def _key_refused(self) -> bool:
        return self.key_refused

    async def _live(self, opened: Journal) -> End:
        self.engine = Engine(
            dialect=VllmDialect(model="m"),
            supervised=self.supervised,
            alive=lambda: self.alive,
            reachable=self._reachable,
            heard_at=time.monotonic(),
            ends_with_done=self.ends_with_done,
            key_refused=self._key_refused,
        )
        writer = Writer(opened, lambda: 0.0, self.announced.append)
        self.asking = Asking(
            attempts=Attempts(
                engine=self.engine,
                transport=self.transport,
                writer=writer,
                limits=self.limits,
                watch=self.watch,
            ),
            engine=self.engine,
            writer=writer,
            story=self.told,
            gate=Gate(Pace(self.limits.in_flight)),
            limits=self.limits,
            watch=self.watch,
            lateness=Lateness(),
            rng=NoWait(),
        )
        self.stop = asyncio.Event()
        left = [one for one in self.requests if one.n not in self.told.over]
        return await asyncio.wait_for(live(self.asking, Listed(left), self.stop), 20)

    def lines(self, kind: str) -> list[Mapping[str, Any]]:
        return made_up.kinds(list(journal.read(self.path)), kind)

    def outcomes(self) -> list[tuple[str, bool]]:
        """Of every attempt that ended, and whether it was the last."""
        return [(line["outcome"], line["final"]) for line in self.lines("ended")]

    def answers(self) -> dict[int, Ended]:
        """As the journal tells them; each once."""
        found = list(story.told(journal.read(self.path)))
        assert len({one.n for one in found}) == len(found)
        return {one.n: one for one in found}


def requests(
    count: int = 1,
    *,
    raw: bool = True,
    continues: bool = True,
    spec: RunSpec = made_up.SPEC,
    dialect: Dialect | None = None,
) -> list[Request]:
    suite = made_up.suite(count, raw=raw)
    plan = Plan(
        spec,
        made_up.Cases([made_up.asked(suite, continues=continues)], spec.epochs),
        dialect or VllmDialect(model="m"),
        "e",
    )
    return [plan.request(n) for n in range(count)]
