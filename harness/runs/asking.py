"""One request, until it is over: attempts, what comes of each, and a line of the journal for all.

    room on the disk -> a place in the gate -> sent -> parts, as they come -> ended -> a wait, again

A stream is an answer only when it is whole: with its finish_reason, and with [DONE] where the
engine sends it. What goes wrong has a kind (`retry.Failure`), and we ourselves are the first
suspects: a timeout while this process was late, or its disk full, is not held against the engine.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from harness.base.errors import RequestError
from harness.runs import retry
from harness.runs.assembling import MalformedError, Stream, ToldError
from harness.runs.gate import Gate
from harness.runs.lateness import Lateness
from harness.runs.plan import Request
from harness.runs.retry import Failure
from harness.runs.spec import LimitsTable
from harness.runs.story import ANSWERED, Begun, Story
from harness.runs.transport import Transport, UnansweredError
from harness.runs.watch import Watch
from harness.runs.writer import Writer
from launchers.dialect import Dialect

KEYS_REFUSED = 5  # 401 in a row, and no answer between them: the key is refused, not a request


@dataclass(slots=True, eq=False)
class Timing:
    """When an attempt's tokens came, by the event loop's clock."""

    began: float
    limit: asyncio.Timeout
    heard: float  # when anything came last, if only a comment
    first: float | None = None
    last: float = 0.0
    longest_gap_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Engine:
    """What is known of the engine that is asked."""

    dialect: Dialect
    supervised: bool  # it is ours to start again
    alive: Callable[[], bool]  # whether its process runs; of a URL always
    reachable: Callable[[], bool]  # whether anything answers there; blocks
    heard_at: float = 0.0  # when a piece of any answer came last
    stalls: int = 0  # attempts that stalled since then
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # it does not answer any more
    why_gone: str = ""
    keys_refused: int = 0
    ends_with_done: bool  # every stream of it has to end with [DONE]; of a stranger it is learnt


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """All that a request needs; shared by those of one engine's life."""

    engine: Engine
    transport: Transport
    writer: Writer
    story: Story
    gate: Gate
    limits: LimitsTable
    watch: Watch
    lateness: Lateness
    rng: random.Random
    secret: bytes = b""  # the key; a server may echo it, and it stands in no journal
    open: set[Timing] = field(default_factory=set[Timing])  # attempts under way

    async def ask(self, request: Request) -> None:
        """Returns when the request is over, and the journal says so."""
        begun = self.story.begun.setdefault(request.n, Begun())
        began = self._now()
        if begun.answer.finish_reason is not None:  # we were killed before we could say so
            self._over(request, begun, ANSWERED, began, recovered=True)
            return
        wait: float | None = 0.0
        while wait is not None:
            await asyncio.sleep(wait)
            await self.writer.room()
            async with self.gate:
                self.watch.in_flight = self.gate.inside
                error, timing = await self._attempt(request, begun)
            self.watch.in_flight = self.gate.inside
            if error is None:
                return
            wait = await self._failed(request, begun, error, timing, began)

    async def _attempt(
        self, request: Request, begun: Begun
    ) -> tuple[UnansweredError | None, Timing]:
        """Why there is no answer; None: there is, and its end is written."""
        start = self._start(request, begun)
        begun.attempts += 1
        self.writer.line(
            "sent", n=request.n, id=request.id, attempt=begun.attempts, **{"from": start}
        )
        now = self._now()
        timing = Timing(began=now, heard=now, limit=asyncio.timeout(self.limits.total_s))
        self.open.add(timing)
        try:
            async with timing.limit:
                body = await self._body(request, begun, start)
                timing.began = timing.heard = self._now()
                stream = await self._stream(request, begun, body, timing)
        except UnansweredError as error:
            return error, timing
        except TimeoutError:
            return self._stalled(timing), timing
        except asyncio.CancelledError:
            if not self.engine.alive():
                dead = UnansweredError(Failure.ENGINE, "the engine ended")
                self._tell_failure(request, begun, dead, timing, final=False)
            raise
        finally:
            self.open.discard(timing)
        self._over(request, begun, ANSWERED, timing.began, **self._told(timing), **_counted(stream))
        self.gate.pace.answered(self._first_token_s(timing), self._now())
        self.watch.allowed = self.gate.pace.allowed
        self.engine.keys_refused = 0
        return None, timing

    def end_stalled(self, late_s: float) -> None:
        """Ends the attempts to which nothing has come for the idle time; to be called now and then.

        One look at all of them, for a timer each would be set anew by every piece. `late_s`: by
        which this look is late, and so is all that has come meanwhile.
        """
        now = self._now()
        for timing in self.open:
            timing.heard = now if not self.writer.has_room else timing.heard + late_s
            if now - timing.heard > self.limits.idle_s and not timing.limit.expired():
                timing.limit.reschedule(now)

    def _stalled(self, timing: Timing) -> UnansweredError:
        if self._now() - timing.heard > self.limits.idle_s:
            return UnansweredError(Failure.STALLED, f"nothing came for {self.limits.idle_s:g} s")
        return UnansweredError(Failure.STALLED, f"no whole answer within {self.limits.total_s:g} s")

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

    async def _body(self, request: Request, begun: Begun, start: int) -> bytes:
        """What is sent; of a raw request with its prompt, and with what has come of its answer."""
        if not request.suite.raw:
            return orjson.dumps(request.body)
        prompt = await self._rendered(request)
        most = request.body["max_tokens"] - start
        given = [*prompt, *begun.answer.token_ids]
        return orjson.dumps({**request.body, "prompt": given, "max_tokens": most})

    async def _rendered(self, request: Request) -> tuple[int, ...]:
        asked = self.engine.dialect.render(request.task.chat)
        async with self.transport.stream(asked.path, orjson.dumps(asked.body)) as pieces:
            answer = b"".join([piece async for piece in pieces])
        try:
            return self.engine.dialect.rendered(answer)
        except RequestError as error:
            raise UnansweredError(Failure.MALFORMED, str(error)) from error

    async def _stream(self, request: Request, begun: Begun, body: bytes, timing: Timing) -> Stream:
        """The whole answer, its parts written. Raises UnansweredError where it is not whole."""
        stream, n, writer, secret = Stream(), request.n, self.writer, self.secret
        keep = begun.answer.add if request.continues else None
        now = asyncio.get_running_loop().time
        try:
            async with self.transport.stream(request.path, body) as pieces:
                async for piece in pieces:
                    timing.heard = now()
                    if secret and secret in piece:
                        piece = piece.replace(secret, b"***")
                    part = stream.feed(piece)
                    if part:
                        writer.part(n, part)
                        if keep is not None:
                            keep(part)
                        self._came(part, timing)
                    if stream.done:
                        break
                    if not writer.has_room:
                        await writer.room()
        except MalformedError as error:
            raise UnansweredError(Failure.MALFORMED, str(error)) from error
        except ToldError as error:
            raise UnansweredError(Failure.SERVER, str(error)) from error
        self.engine.ends_with_done |= stream.done
        why = stream.missing(ends_with_done=self.engine.ends_with_done)
        if why is not None and (other := stream.stranger()) is not None:
            raise UnansweredError(Failure.MALFORMED, f"200, and no stream of events: {other!r}")
        if why is not None:
            raise UnansweredError(Failure.TRUNCATED, f"the stream ended {why}")
        return stream

    def _came(self, part: dict[str, Any], timing: Timing) -> None:
        watch, now = self.watch, timing.heard
        if timing.first is None:
            timing.first = now
            watch.first_token_s.add(now - timing.began)
        else:
            gap = now - timing.last
            if gap > timing.longest_gap_s:
                timing.longest_gap_s = gap
            watch.between_tokens_s.add(gap)
        timing.last = self.engine.heard_at = now
        self.engine.stalls = 0
        watch.tokens += len(part["token_ids"]) if "token_ids" in part else 1

    async def _failed(
        self,
        request: Request,
        begun: Begun,
        error: UnansweredError,
        timing: Timing,
        began: float,
    ) -> float | None:
        """Seconds until the next attempt; None: there is none, and the journal says so."""
        error = self._blamed(error, timing)
        self.engine.stalls += error.kind is Failure.STALLED
        if error.kind is Failure.RATE_LIMITED:
            self.gate.pace.refused(self._now())
            self.watch.allowed = self.gate.pace.allowed
        failures = begun.failures.copy()
        failures[error.kind] += 1
        wait = retry.wait_s(
            failures,
            error.kind,
            attempts_left=self.limits.attempts - failures.total(),
            retries_left=self.limits.retries - self.story.retries,
            retry_after_s=error.retry_after_s,
            rng=self.rng,
        )
        if wait is None and await self._engine_is_gone(error):
            self._tell_failure(request, begun, error, timing, final=False)
            await asyncio.Event().wait()  # until this life is ended
        if wait is None:
            self._over(request, begun, error.kind, began, why=str(error), **self._told(timing))
        else:
            self._tell_failure(request, begun, error, timing, final=False)
        return wait

    def _blamed(self, error: UnansweredError, timing: Timing) -> UnansweredError:
        """The same, or another kind where it was the engine's end, or our own doing."""
        if error.kind in (Failure.CONNECT, Failure.TRUNCATED) and not self.engine.alive():
            return UnansweredError(Failure.ENGINE, f"the engine ended: {error}")
        if error.kind is Failure.STALLED:
            late = max(self.lateness.since(timing.began), self.writer.paused_since(timing.began))
            if late >= self.limits.idle_s / 2:
                why = f"{error}; but we ourselves were {late:.1f} s late, or without room"
                return UnansweredError(Failure.CLIENT, why)
        return error

    async def _engine_is_gone(self, error: UnansweredError) -> bool:
        """Whether it is not this request that fails, but all that would come after it."""
        engine = self.engine
        if error.status == 401:
            engine.keys_refused += 1
            gone = engine.keys_refused >= KEYS_REFUSED
        else:
            unheard = error.kind in (Failure.CONNECT, Failure.ENGINE)
            gone = unheard and not await asyncio.to_thread(engine.reachable)
        if gone:
            engine.why_gone = str(error)
            engine.gone.set()
        return gone

    def _tell_failure(
        self, request: Request, begun: Begun, error: UnansweredError, timing: Timing, *, final: bool
    ) -> None:
        begun.failures[error.kind] += 1
        self.watch.failures[error.kind] += 1
        self.story.retries += 1
        self.writer.line(
            "ended",
            n=request.n,
            attempt=begun.attempts,
            outcome=error.kind,
            final=final,
            why=str(error),
            **self._told(timing),
        )

    def _over(
        self, request: Request, begun: Begun, outcome: str, began: float, **more: Any
    ) -> None:
        spent = self._now() - began
        self.writer.line(
            "ended",
            n=request.n,
            attempt=begun.attempts,
            outcome=outcome,
            final=True,
            whole_s=round(spent, 6),
            **more,
        )
        del self.story.begun[request.n]
        self.story.over[request.n] = outcome
        self.watch.ended(outcome, spent)
        self.watch.whole_s.add(spent)
        if outcome != ANSWERED:
            self.watch.failures[Failure(outcome)] += 1

    def _told(self, timing: Timing) -> dict[str, float]:
        """Of the journal's line, in seconds: to the first token, the longest gap, our own delay."""
        late = self.lateness.since(timing.began)
        return {
            **({} if timing.first is None else {"first_token_s": self._first_token_s(timing)}),
            "longest_gap_s": round(timing.longest_gap_s, 6),
            **({"late_s": round(late, 6)} if late else {}),
        }

    def _first_token_s(self, timing: Timing) -> float:
        return round((timing.first or self._now()) - timing.began, 6)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _counted(stream: Stream) -> dict[str, Any]:
    return {"chunks": stream.chunks, **({"usage": stream.usage} if stream.usage else {})}
