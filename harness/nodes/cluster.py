"""The servers of a Ray cluster that a run names, opened and looked at.

A server is named by its label `enginediff-node`, by a resource of that name, by its host name or
address: `ray start --labels enginediff-node=server-a`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

from harness.base.errors import ConfigError
from harness.nodes import raylets
from harness.nodes.node import LostError
from harness.nodes.remote import Remote
from harness.nodes.survey import Survey
from harness.runs.spec import RunSpec

TOLD_S = 30.0  # between two lines of whom is waited for
Announce = Callable[[str], None]


@contextmanager
def opened(
    names: Sequence[str] | None, stopped: Callable[[], bool], *, away: bool = False
) -> Generator[list[Remote]]:
    """The cluster that this machine is in, or that RAY_ADDRESS names; None: all of its servers.
    `away`: all but one of `names` may be. Raises ConfigError.
    """
    with raylets.joined():
        _refuse_wrong(names or (), away=away)
        yield [Remote(name, stopped) for name in names or raylets.names()]


def _refuse_wrong(names: Sequence[str], *, away: bool) -> None:
    known = raylets.alive()
    ids = [known[name]["NodeID"] for name in names if name in known]
    if len(set(ids)) < len(ids):
        raise ConfigError(f"nodes: {', '.join(names)}: two of them are one server")
    for name in names:
        if name not in known and not (away and known.keys() & set(names)):
            raise ConfigError(
                f"nodes: {name!r} is not in the Ray cluster; there are {', '.join(raylets.names())}"
            )


def surveyed(
    nodes: Sequence[Remote], spec: RunSpec, stop: Callable[[], None], announce: Announce
) -> list[Survey]:
    """All at once, which takes as long as models are read. Raises what the first of them raises.

    `stop`: has who waits for a node stop waiting, where this is interrupted.
    """
    with ThreadPoolExecutor(len(nodes)) as pool:
        asked = {pool.submit(node.survey, spec): node.name for node in nodes}
        try:
            while waiting := wait(asked, TOLD_S).not_done:
                announce(f"waiting for {', '.join(sorted(asked[one] for one in waiting))}")
            return [one.result() for one in asked]
        except LostError as error:
            raise LostError(f"while it was looked at: {error}") from error
        except BaseException:
            stop()
            raise
