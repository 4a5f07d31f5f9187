"""Asks an endpoint one small thing after another, and says what each reply shows.

A probe has PROBE_TIMEOUT_S, all of them together DEADLINE_S; what is not asked by then is unknown.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.base.errors import RequestError
from launchers.capabilities import Able, Capability
from launchers.dialect import Reply, Request

Ask = Callable[[Request], Reply]
Read = Callable[[bytes], str]  # says what came back; raises where it is not what was asked for

MOST_REQUESTS = 29
PROBE_TIMEOUT_S = 60.0
DEADLINE_S = 300.0
PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses that say nothing of what a server can do
# A stranger's JSON may have any shape: a list for a table, a word for a number.
NOT_AS_ASKED = (RequestError, KeyError, TypeError, ValueError, IndexError, AttributeError)
SHOWN = 160  # characters of a body


class Prober:
    """Counts requests, and stops asking when the time is over."""

    def __init__(self, ask: Ask, *, model: str, now: Callable[[], float]) -> None:
        self.model = model
        self.requests = 0
        self._ask = ask
        self._now = now
        self._began = now()

    def reply(self, request: Request) -> Reply:
        if self._now() - self._began > DEADLINE_S:
            problem = f"not asked: {DEADLINE_S:.0f} s were spent on what was asked before"
            return Reply(status=None, body=b"", problem=problem)
        self.requests += 1
        assert self.requests <= MOST_REQUESTS
        return self._ask(request)

    def __call__(self, request: Request, read: Read) -> Capability:
        return judged(self.reply(request), read)


def judged(reply: Reply, read: Read) -> Capability:
    """What one reply shows of one capability."""
    if reply.status is None:
        return unknown(str(reply.problem))
    if reply.status != 200:
        able = Able.UNKNOWN if reply.status in PASSING else Able.NO
        return Capability(able=able, evidence=f"{reply.status}: {excerpt(reply.body)}")
    try:
        return Capability(able=Able.YES, evidence=f"200, {read(reply.body)}")
    except NOT_AS_ASKED as error:
        what = str(error) if isinstance(error, RequestError) else excerpt(reply.body)
        return no(f"200, but ignored or answered otherwise: {what}")


def no(evidence: str) -> Capability:
    return Capability(able=Able.NO, evidence=evidence)


def unknown(evidence: str) -> Capability:
    return Capability(able=Able.UNKNOWN, evidence=evidence)


def excerpt(body: bytes) -> str:
    """The beginning of a body on one line: an error page may be long."""
    text = " ".join(body.decode(errors="replace").split())
    return (text if len(text) <= SHOWN else text[:SHOWN] + " ...") or "(an empty body)"
