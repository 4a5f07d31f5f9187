"""One request, until it is over: attempts, what comes of each, and a line of the journal for all.

    room on the disk -> a place in the gate -> sent -> parts, as they come -> ended -> a wait, again

What goes wrong has a kind (`retry.Failure`), and we ourselves are the first suspects: a timeout
while this process was late, or its disk full, is not held against the engine.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any

from harness.base.reply import token_count
from harness.runs import retry
from harness.runs.assembling import REASONS, Stream
from harness.runs.attempt import Attempts, Timing
from harness.runs.engine import Engine
from harness.runs.gate import Gate
from harness.runs.lateness import Lateness
from harness.runs.plan import Request
from harness.runs.retry import NO_REQUESTS_FAULT, Failure
from harness.runs.spec import LimitsTable
from harness.runs.story import ANSWERED, Begun, Story
from harness.runs.transport import UnansweredError
from harness.runs.watch import Watch
from harness.runs.whole import Whole
from harness.runs.writer import Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """All that a request needs; shared by those of one engine's life."""

    attempts: Attempts
    engine: Engine
    writer: Writer
    story: Story
    gate: Gate
    limits: LimitsTable
    watch: Watch
    lateness: Lateness
    rng: random.Random

    async def ask(self, request: Request) -> None:
        """Returns when the request is over, and the journal says so."""
        begun = self.story.begun.setdefault(request.n, Begun())
        began = time.monotonic()
        self.watch.asked(began)
        try:
            if begun.answer.done and begun.answer.finish_reason in REASONS:
                # It was whole, and we were killed before we could say so.
                self._over(request, begun, ANSWERED, began, recovered=True)
                return
            await self._until_over(request, begun, began)
        except BaseException:  # cancelled, as a rule: it is under way no more
            self.watch.left(began)
            raise

    async def _until_over(self, request: Request, begun: Begun, began: float) -> None:
        wait: float | None = 0.0
        while wait is not None:
            await asyncio.sleep(wait)
            await self.writer.room()
            async with self.gate:
                self.watch.in_flight = self.gate.inside
                timing = self.attempts.begun()
                result = await self._attempt(request, begun, timing)
            self.watch.in_flight = self.gate.inside
            if not isinstance(result, UnansweredError):
                behind = begun.continued[-1] if begun.continued else 0
                told = {**self._told(timing), **_counted(result, behind)}
                self._over(request, begun, ANSWERED, began, **told)
                return
            wait = await self._failed(request, begun, result, timing, began)

    async def _attempt(
        self, request: Request, begun: Begun, timing: Timing
    ) -> Stream | Whole | UnansweredError:
        """The answer, or why there is none."""
        start = self._start(request, begun)
        begun.attempts += 1
        self.writer.line(
            "sent", n=request.n, id=request.id, attempt=begun.attempts, **{"from": start}
        )
        try:
            stream = await self.attempts.answered(request, begun.answer, start, timing)
        except UnansweredError as error:
            return error
        except asyncio.CancelledError:
            self._tell_if_dead(request, begun, timing)
            raise
        now = time.monotonic()
        self.gate.pace.answered((timing.first or now) - timing.began, now)
        self.watch.allowed = self.gate.pace.allowed
        self.engine.keys_refused = 0
        return stream

    def _start(self, request: Request, begun: Begun) -> int:
        """Behind how many tokens this attempt goes on."""
        start = begun.answer.cut() if request.continues else 0
        if not 0 < start < request.body["max_tokens"]:
            begun.answer.clear()
            begun.continued.clear()
            return 0
        begun.continued.append(start)
        self.watch.continued += 1
        return start

    async def _failed(
        self,
        request: Request,
        begun: Begun,
        error: UnansweredError,
        timing: Timing,
        began: float,
    ) -> float | None:
        """Seconds until the next attempt; None: there is none, and the journal says so."""
        try:
            error = await self._blamed(error, timing)
        except asyncio.CancelledError:  # while it was asked who is to blame, this life was ended
            self._tell_if_dead(request, begun, timing)
            raise
        self.engine.stalls += error.kind is Failure.STALLED
        if error.kind is Failure.RATE_LIMITED:
            self.gate.pace.refused(time.monotonic())
            self.watch.allowed = self.gate.pace.allowed
        wait = self._wait_s(begun, error)
        if wait is not None:
            self._tell_failure(request, begun, error, timing)
            if error.kind is Failure.ENGINE and not self.engine.alive():
                await asyncio.Event().wait()  # until this life is ended
            return wait
        unheard = error.kind in (Failure.CONNECT, Failure.TRUNCATED, Failure.ENGINE)
        if await self.engine.is_gone(str(error), status=error.status, unheard=unheard):
            self._tell_failure(request, begun, error, timing)
            await asyncio.Event().wait()  # until this life is ended
        self.watch.failures[error.kind] += 1
        status = {} if error.status is None else {"status": error.status}
        told = {"why": str(error), **status, **self._told(timing)}
        self._over(request, begun, error.kind, began, **told)
        return None

    def _wait_s(self, begun: Begun, error: UnansweredError) -> float | None:
        failures = begun.failures.copy()
        failures[error.kind] += 1
        return retry.wait_s(
            failures,
            error.kind,
            attempts_left=self.limits.attempts - retry.counted(failures),
            retries_left=self.limits.retries - self.story.retries,
            retry_after_s=error.retry_after_s,
            rng=self.rng,
        )

    async def _blamed(self, error: UnansweredError, timing: Timing) -> UnansweredError:
        """The same, or another kind where it was the engine's end, or our own doing."""
        broken = error.kind in (Failure.CONNECT, Failure.TRUNCATED)
        if broken and await self.engine.is_dead():
            return UnansweredError(Failure.ENGINE, f"the engine ended: {error}")
        if error.kind is Failure.STALLED:
            since = timing.heard if timing.idle else timing.began
            late = max(self.lateness.since(since), self.writer.paused_since(since))
            if late >= self.limits.idle_s / 2:
                why = f"{error}; but we ourselves were {late:.1f} s late, or without room"
                return UnansweredError(Failure.CLIENT, why)
        return error

    def _tell_if_dead(self, request: Request, begun: Begun, timing: Timing) -> None:
        """Of an attempt that is cancelled: it is no fault of its own where the engine has ended."""
        if not self.engine.alive():
            dead = UnansweredError(Failure.ENGINE, "the engine ended")
            self._tell_failure(request, begun, dead, timing)

    def _tell_failure(
        self, request: Request, begun: Begun, error: UnansweredError, timing: Timing
    ) -> None:
        """Of an attempt that is not the last. As the story tells it."""
        begun.failures[error.kind] += 1
        begun.answer.cut()
        self.watch.failures[error.kind] += 1
        self.story.retries += error.kind not in NO_REQUESTS_FAULT
        self.writer.line(
            "ended",
            n=request.n,
            attempt=begun.attempts,
            outcome=error.kind,
            final=False,
            why=str(error),
            **self._told(timing),
        )

    def _over(
        self, request: Request, begun: Begun, outcome: str, began: float, **more: Any
    ) -> None:
        now = time.monotonic()
        self.writer.line(
            "ended",
            n=request.n,
            attempt=begun.attempts,
            outcome=outcome,
            final=True,
            whole_s=round(now - began, 6),
            **more,
        )
        del self.story.begun[request.n]
        self.story.over[request.n] = outcome
        self.watch.ended(outcome, began, now)

    def _told(self, timing: Timing) -> dict[str, float]:
        """Of the journal's line, in seconds: to the first token, the longest gap, our own delay."""
        told = {"longest_gap_s": round(timing.longest_gap_s, 6)}
        if timing.first_token_s is not None:
            told["first_token_s"] = round(timing.first_token_s, 6)
        if late := self.lateness.since(timing.began):
            told["late_s"] = round(late, 6)
        return told


def _counted(stream: Stream | Whole, behind: int) -> dict[str, Any]:
    """Of the whole answer, in chunks where the engine does not say."""
    usage = stream.usage or {}
    own = token_count(usage, "completion_tokens")
    tokens = behind + (stream.chunks if own is None else own)
    return {"tokens": tokens, "chunks": stream.chunks, **({"usage": usage} if usage else {})}
