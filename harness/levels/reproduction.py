"""What somebody else needs to see a difference for himself: one token, or one prompt, and the
request that shows it. Nothing is asked here: it was all heard before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import evidence
from harness.base.record import Scores
from harness.checker.contract import RenderDifference
from harness.levels import askable
from harness.levels.state import Check
from harness.recording import Recorded
from launchers.dialect import Request
from launchers.pins import OWN, LoadedPin
from launchers.registry import launcher

PORT = 8000  # a placeholder
DECODED = 16  # tokens that a request generates
TOP = 5  # alternatives of a position that are shown


def of(check: Check, file: Path) -> dict[str, Any]:
    """`rendering`, `token` and `own`, each None where no difference of that kind was met; and
    `command`, None of somebody else's server. JSON.

    `file`: the evidence, closed; it knows where L1 was furthest off.
    """
    difference = check.misrendered
    return {
        "rendering": None if difference is None else _rendering(check, difference),
        "token": first_bad_token(check),
        "own": furthest_from_itself(check, file),
        "command": None if check.opened.pin is None else launch_command(check.opened.pin),
    }


def launch_command(loaded: LoadedPin) -> str:
    """How the engine was started, as one line for any machine: no path of this one, no secret."""
    command = launcher(loaded.pin.engine.name).command(loaded, python=Path("python"), port=PORT)
    argv = tuple("MODEL" if part == str(loaded.model_path) else part for part in command.argv)
    return replace(command, argv=argv, env=loaded.pin.env).shown()


def furthest_from_itself(check: Check, file: Path) -> dict[str, Any] | None:
    """The prompt at which two answers of the candidate lie furthest apart, and how it was asked to
    decode. The request is that of `decode`; a score of prompt and answer is its other side."""
    found = evidence.furthest(file, level="L1")
    if found is None or found.size == 0:
        return None
    row = check.trace.case_ids.index(found.case_id)
    recorded = check.trace[row]
    prompt = recorded.token_ids[: recorded.prompt_tokens]
    request = check.asker.dialect.generate(
        [prompt],
        max_new_tokens=DECODED,
        sampling=OWN,
        seeds=None,
        top_k=TOP,
    )
    return {
        "case_id": found.case_id,
        "comparison": found.group,
        "size": found.size,
        "token_ids": list(prompt),
        "request": _request(request),
    }


def first_bad_token(check: Check) -> dict[str, Any] | None:
    """The first token of the worst sequence that lies further off than its stratum allows a token.

    The worst sequence is that of the worst 16-token segment; the limit is c_token, three times what
    999 in 1000 benign tokens stay under. Where no single token passes it (many a little off), the
    one furthest off. The request scores the whole sequence, for some faults come with its length.

    `alone`: the numbers are those of the sequence asked by itself, so the request shows them again.
    False: by itself it is within the limit, and the numbers are those that it got in company.
    """
    worst = check.worst
    if worst.whole is None:
        return None
    recorded = check.trace[worst.row]
    limit = check.tolerances.of(recorded.case.stratum).c_token
    met = _beyond(recorded, worst.whole, limit)
    again = met[:0] if worst.alone is None else _beyond(recorded, worst.alone, limit)
    alone = worst.alone is not None and (again.size > 0 or met.size == 0)
    scores, beyond = (worst.alone, again) if alone else (worst.whole, met)
    assert scores is not None
    size = np.abs(scores.logprobs - recorded.scores.logprobs)  # (N,)
    row = int(beyond[0]) if beyond.size else int(size.argmax())
    tokens = recorded.token_ids  # position t stands in row t - 1
    given = askable.alternatives(check, "score", TOP)
    return {
        "case_id": recorded.case.id,
        "stratum": recorded.case.stratum,
        "position": row + 1,
        "limit": limit,
        "beyond_limit": bool(beyond.size),
        "alone": alone,
        "token": _token(check, tokens[row + 1]),
        "reference_logprob": float(recorded.scores.logprobs[row]),
        "candidate_logprob": float(scores.logprobs[row]),
        "reference_top": _top(check, recorded.scores, row),
        "candidate_top": _top(check, scores, row),
        "token_ids": list(tokens),
        "request": _request(check.asker.dialect.score([tokens], given)),
    }


def _beyond(recorded: Recorded, scores: Scores, limit: float) -> NDArray[np.intp]:
    """Rows (N,) whose given token is further off than `limit` nats."""
    return np.flatnonzero(np.abs(scores.logprobs - recorded.scores.logprobs) > limit)


def _top(check: Check, scores: Scores, row: int) -> list[dict[str, Any]]:
    """The most probable tokens; empty where an endpoint names no alternatives."""
    best = scores.best(TOP)
    pairs = zip(best.top_ids[row], best.top_logprobs[row], strict=True)
    return [{**_token(check, int(i)), "logprob": float(lp)} for i, lp in pairs]


def _token(check: Check, token_id: int) -> dict[str, Any]:
    """`text` None: an id that the trace has never seen."""
    return {"id": token_id, "text": check.texts.get(token_id)}


def _rendering(check: Check, difference: RenderDifference) -> dict[str, Any]:
    case = check.trace[check.trace.case_ids.index(difference.case_id)].case
    return {
        "case_id": difference.case_id,
        "position": difference.position,
        "expected": _read(check, difference.expected),
        "found": _read(check, difference.found),
        "expected_length": difference.expected_length,
        "found_length": difference.found_length,
        "request": _request(check.asker.dialect.render(case.prompt)),
    }


def _read(check: Check, ids: Sequence[int]) -> list[dict[str, Any]]:
    return [_token(check, i) for i in ids]


def _request(request: Request) -> dict[str, Any]:
    """No header is in it, and so no key."""
    return {"path": request.path, "body": request.body}
