"""Whether a failed request is sent again, and when. Pure.

    connect        no connection, or none that lived to the first byte   sent again
    rate limited   429                                                    sent again, as told to
    server         5xx                                                    sent again
    stalled        nothing came for the idle time                         sent again
    truncated      a stream that is no whole answer                       sent again
    engine         the engine died under it                               sent again
    client         we were late, or out of disk: the engine is not blamed sent again
    refused        400, 401, 403, 404, and any other status but 200       not sent again
                   (and 200 with an error of code 400 or 422 in its stream)
    malformed      200, and not the API's answer                          sent again

Waits grow exponentially, with full jitter (Brooker, "Exponential backoff and jitter", 2015): a wait
is uniform between 0 and base x 2^n, so that what failed together does not come back together.
A server that says how long to wait (Retry-After) is waited for at least so long.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Failure(StrEnum):
    """Why an attempt is no answer."""

    CONNECT = "connect"
    RATE_LIMITED = "rate limited"
    SERVER = "server"
    STALLED = "stalled"
    TRUNCATED = "truncated"
    ENGINE = "engine"
    CLIENT = "client"
    REFUSED = "refused"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How often a request that failed so is sent again, and after how long."""

    retries: int
    base_s: float
    most_s: float  # of one wait, unless the server asks for more


RULES: Mapping[Failure, Rule] = {
    Failure.CONNECT: Rule(retries=6, base_s=0.5, most_s=30.0),
    Failure.RATE_LIMITED: Rule(retries=20, base_s=1.0, most_s=60.0),
    Failure.SERVER: Rule(retries=4, base_s=1.0, most_s=30.0),
    Failure.STALLED: Rule(retries=3, base_s=1.0, most_s=30.0),
    Failure.TRUNCATED: Rule(retries=4, base_s=0.2, most_s=10.0),
    Failure.ENGINE: Rule(retries=6, base_s=0.2, most_s=10.0),
    Failure.CLIENT: Rule(retries=10, base_s=0.2, most_s=10.0),
    Failure.REFUSED: Rule(retries=0, base_s=0.0, most_s=0.0),
    Failure.MALFORMED: Rule(retries=4, base_s=1.0, most_s=10.0),
}
# These count neither against a request's attempts nor against the run's retries.
NO_REQUESTS_FAULT = (Failure.ENGINE, Failure.CLIENT)
LONGEST_WAIT_S = 600.0  # that a server may ask for


def counted(failures: Mapping[Failure, int]) -> int:
    """How many of a request's failures are held against it."""
    return sum(n for kind, n in failures.items() if kind not in NO_REQUESTS_FAULT)


def of_status(status: int) -> Failure | None:
    """What an HTTP status is; None: an answer."""
    if status == 200:
        return None
    if status == 429:
        return Failure.RATE_LIMITED
    if status >= 500:
        return Failure.SERVER
    return Failure.REFUSED


def wait_s(
    failures: Mapping[Failure, int],
    last: Failure,
    *,
    attempts_left: int,
    retries_left: int,
    retry_after_s: float | None,
    rng: random.Random,
) -> float | None:
    """Seconds until the next attempt; None: it has failed for good.

    `failures`: of this request so far, by kind, the last one counted. `attempts_left`: that this
    request may still make. `retries_left`: of the whole run.
    """
    rule = RULES[last]
    if failures[last] > rule.retries or attempts_left < 1 or retries_left < 1:
        return None
    drawn = rng.uniform(0.0, min(rule.most_s, rule.base_s * 2.0 ** (failures[last] - 1)))
    told = min(retry_after_s or 0.0, LONGEST_WAIT_S)
    return told + drawn
