"""L0, second part: chats that are rendered and not scored, one for each thing that goes wrong."""

from __future__ import annotations

from harness import templates
from harness.base.errors import RequestError
from harness.checker import contract
from harness.checker.outcome import Word
from harness.client import BUSY, in_parallel
from harness.levels import askable
from harness.levels.state import Check
from harness.templates import Rendered

SHOWN = 3  # differences that are told in full


def run(check: Check) -> tuple[Word | None, list[str]]:
    """Token ids of each chat; one that is refused, and rendered by the reference, is a fault."""
    unrendered = askable.missing(check, "render_chat")
    if unrendered:
        return None, unrendered
    member = check.trace.member(templates.MEMBER)
    if member is None:
        return None, ["this trace holds no further chats for the template"]
    chats = list(templates.read(member))
    check.announce(f"L0 contract: rendering {len(chats)} chats for the template alone")
    told = in_parallel(lambda chat: _difference(check, chat), chats, BUSY)
    differences = [difference for difference in told if difference is not None]
    if not differences:
        return Word.EQUIVALENT, [
            f"{len(chats)} further chats (thinking, tools, turns, odd content) become the same "
            "token ids"
        ]
    reasons = differences[:SHOWN]
    if len(differences) > SHOWN:
        reasons.append(
            f"{len(differences)} of {len(chats)} further chats are rendered otherwise or refused"
        )
    return Word.DIFFERENT, reasons


def _difference(check: Check, rendered: Rendered) -> str | None:
    asker = check.asker
    request = asker.dialect.render(rendered.chat)
    reply = asker.endpoint.ask(request)
    if reply.status is None:
        raise RequestError(f"{asker.endpoint.url}{request.path}: {reply.problem}")
    if reply.status != 200:
        said = " ".join(reply.body.decode(errors="replace").split())
        return (
            f"case {rendered.case_id}: a chat that the reference renders is refused with "
            f"{reply.status}: {said[:160]!r}"
        )
    found = asker.dialect.rendered(reply.body)
    difference = contract.compare_rendering(rendered.case_id, rendered.token_ids, found)
    return None if difference is None else contract.describe(difference, check.texts)
