"""One attempt of a request: what is sent, and the stream that comes back, read as it comes.

A stream is an answer only when it is whole: with its finish_reason, and with [DONE] where the
engine sends it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from harness.base.errors import RequestError
from harness.runs.answer import Answer
from harness.runs.assembling import MalformedError, Stream, ToldError
from harness.runs.engine import Engine
from harness.runs.hiding import hidden
from harness.runs.plan import Request
from harness.runs.retry import Failure
from harness.runs.spec import LimitsTable
from harness.runs.transport import Transport, UnansweredError
from harness.runs.watch import Watch
from harness.runs.whole import Whole
from harness.runs.writer import Writer


@dataclass(slots=True, eq=False)
class Timing:
    """When an attempt's tokens came, by time.monotonic."""

    began: float
    limit: asyncio.Timeout
    heard: float  # when anything came last, if only a comment
    first: float | None = None
    last: float = 0.0
    longest_gap_s: float = 0.0
    idle: bool = False  # it was ended because nothing came
    silent: bool = False  # nothing is to come before its end: it is not streamed

    @property
    def first_token_s(self) -> float | None:
        """From the request to its first token; None: there was none."""
        return None if self.first is None else self.first - self.began


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """All that an attempt needs; shared by those of one engine's life."""

    engine: Engine
    transport: Transport
    writer: Writer
    limits: LimitsTable
    watch: Watch
    secret: str = ""  # the key; a server may echo it, and it stands in no journal
    under_way: set[Timing] = field(default_factory=set[Timing])

    def begun(self) -> Timing:
        """The clock of an attempt that is to begin now."""
        now = time.monotonic()
        return Timing(began=now, heard=now, limit=asyncio.timeout(self.limits.total_s))

    async def answered(
        self, request: Request, answer: Answer, start: int, timing: Timing
    ) -> Stream | Whole:
        """The whole answer behind `start` tokens of `answer`, its parts written.

        Raises UnansweredError where there is none, or no whole one.
        """
        self.under_way.add(timing)
        try:
            async with timing.limit:
                body = await self._body(request, answer, start)
                timing.began = timing.heard = time.monotonic()
                timing.silent = not request.streamed
                return await self._stream(request, answer, body, timing)
        except TimeoutError as error:
            limits = self.limits
            if timing.idle:
                why = f"nothing came for {limits.idle_s:g} s"
            else:
                why = f"no whole answer within {limits.total_s:g} s"
            raise UnansweredError(Failure.STALLED, why) from error
        finally:
            self.under_way.discard(timing)

    def end_stalled(self, late_s: float) -> None:
        """Ends the attempts to which nothing has come for the idle time; to be called now and then.

        One look at all of them, for a timer each would be set anew by every piece. `late_s`: by
        which this look is late, and so is all that has come meanwhile.
        """
        self.transport.end_broken()
        now = time.monotonic()
        for timing in self.under_way:
            timing.heard = now if not self.writer.has_room else timing.heard + late_s
            ended = timing.idle or timing.silent or timing.limit.expired()
            if now - timing.heard > self.limits.idle_s and not ended:
                timing.idle = True
                timing.limit.reschedule(asyncio.get_running_loop().time())

    async def _body(self, request: Request, answer: Answer, start: int) -> bytes:
        """What is sent; of a raw request with its prompt, and with what has come of its answer."""
        if not request.suite.raw:
            return orjson.dumps(request.body)
        given = [*await self._rendered(request), *answer.token_ids]
        most = request.body["max_tokens"] - start
        return orjson.dumps({**request.body, "prompt": given, "max_tokens": most})

    async def _rendered(self, request: Request) -> tuple[int, ...]:
        asked = self.engine.dialect.render(request.task.chat)
        async with self.transport.stream(asked.path, orjson.dumps(asked.body)) as pieces:
            answer = hidden(b"".join([piece async for piece in pieces]), self.secret)
        try:
            tokens = self.engine.dialect.rendered(answer)
        except (RequestError, TypeError) as error:
            raise UnansweredError(Failure.MALFORMED, f"no token ids: {answer[:200]!r}") from error
        if not tokens or not all(type(token) is int for token in tokens):
            raise UnansweredError(Failure.MALFORMED, f"no token ids: {answer[:200]!r}")
        return tokens

    async def _stream(
        self, request: Request, answer: Answer, body: bytes, timing: Timing
    ) -> Stream | Whole:
        stream, n, writer = _reading(request, self.secret), request.n, self.writer
        keep = answer.add if request.continues else None
        now = time.monotonic
        try:
            async with self.transport.stream(request.path, body) as pieces:
                async for piece in pieces:
                    timing.heard = now()
                    part = stream.feed(piece)
                    if part:
                        writer.part(n, part)
                        if keep is not None:
                            keep(part)
                        if len(part) > ("done" in part):
                            self._came(part, timing)
                    if stream.done:
                        break
                    if not writer.has_room:
                        await writer.room()
            if part := stream.end():
                writer.part(n, part)
                self._came(part, timing)
        except MalformedError as error:
            raise UnansweredError(Failure.MALFORMED, str(error)) from error
        except ToldError as error:
            kind = Failure.REFUSED if error.refused else Failure.SERVER
            raise UnansweredError(kind, str(error)) from error
        if request.streamed:
            self.engine.ends_with_done |= stream.done
        _require_whole(stream, ends_with_done=self.engine.ends_with_done)
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
        timing.last = now
        self.engine.heard(now)
        if "token_ids" in part:
            watch.tokens += len(part["token_ids"])
        elif len(part) > ("finish_reason" in part):
            watch.tokens += 1


def _reading(request: Request, secret: str) -> Stream | Whole:
    more = request.task.exact is not None
    return Stream(secret, more=more) if request.streamed else Whole(secret)


def _require_whole(stream: Stream | Whole, *, ends_with_done: bool) -> None:
    why = stream.missing(ends_with_done=ends_with_done)
    if why is None:
        return
    if (other := stream.stranger()) is not None:
        raise UnansweredError(Failure.MALFORMED, f"200, and no stream of events: {other!r}")
    raise UnansweredError(Failure.TRUNCATED, f"the stream ended {why}")
