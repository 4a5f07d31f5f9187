"""A text ready to be pasted into an upstream issue, in Markdown that does nothing (`inert`).

What is too long to be pasted is cut, and lies whole in a file beside it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from harness.checker.outcome import Word
from harness.report import repeat
from harness.report.inert import fenced, quoted, readable, word
from harness.verdict import Verdict

NAME, REQUEST, IDS = "issue.md", "issue-request.json", "issue-token-ids.json"
URL = "http://127.0.0.1:8000"  # a placeholder: where the command below listens
LONGEST_BODY = 6000  # characters of a request in the text
MOST_IDS = 400  # token ids in the text
LONGEST_REASON = 1000  # characters


def files(verdict: Verdict) -> dict[str, bytes]:
    """What to write into the run directory: name -> content. Nothing unless it is DIFFERENT."""
    if verdict.verdict is not Word.DIFFERENT:
        return {}
    found = {NAME: text(verdict).encode()}
    shown = _of_level(verdict)
    if shown is not None:
        body = shown["request"]["body"]
        if len(quoted(body)) > LONGEST_BODY:
            found[REQUEST] = orjson.dumps(body)
        if len(shown.get("token_ids", ())) > MOST_IDS:
            found[IDS] = orjson.dumps(shown["token_ids"])
    return found


def text(verdict: Verdict) -> str:
    """The whole text, in ASCII."""
    shown = _of_level(verdict)
    parts = [
        f"# {_finding(verdict)}",
        fenced([readable(reason[:LONGEST_REASON]) for reason in verdict.reasons]),
        "## Versions",
        fenced(_versions(verdict)),
        "## Command",
        *_commands(verdict),
        *(() if shown is None else _evidence(verdict, shown)),
        *_likely(verdict),
    ]
    return "\n\n".join(parts) + "\n"


def _of_level(verdict: Verdict) -> Mapping[str, Any] | None:
    """What shows the difference that decided; None where no request of ours shows it."""
    known = verdict.reproduction or {}
    chosen = {"L0": "rendering", "L1": "own", "L2": "token"}.get(verdict.level)
    return None if chosen is None else known.get(chosen)


def _finding(verdict: Verdict) -> str:
    identity = verdict.candidate["identity"]
    engine = word(f"{identity.get('engine', '?')} {identity.get('version', '?')}")
    return f"{engine} serving {word(identity.get('model', '?'))}: {_what(verdict)}"


def _what(verdict: Verdict) -> str:
    rows = [r for r in verdict.statistics if r.level == verdict.level and r.above()]
    # K and A say how far off it is; F and S have hardly any tolerance, and only say that it is.
    bulk = [row for row in rows if row.statistic in "AK"] or rows
    worst = max(bulk, key=lambda row: (row.raw or 0) / row.tolerance, default=None)
    size = (
        ""
        if worst is None or worst.raw is None
        else f" ({word(worst.group)}: {worst.statistic} is {worst.raw / worst.tolerance:.3g} times "
        "what engines known to be right differ by)"
    )
    return {
        "pin": "it does not run as it was configured",
        "L0": "the same request becomes another prompt, or a raw answer other parts",
        "L0b": "its answers break what a request asked of them",
        "L1": f"it disagrees with itself about the same tokens{size}",
        "L2": f"other logprobs than a reference implementation's for the same tokens{size}",
        "L2b": f"what it generates is not what the reference's probabilities support{size}",
        "sampler": "what it draws is not distributed as the sampling parameters promise",
        "black box": "its texts are not the reference's",
    }.get(verdict.level, "it differs from the reference")


def _versions(verdict: Verdict) -> Iterator[str]:
    for name, party in (("candidate", verdict.candidate), ("reference", verdict.reference)):
        yield f"{name}: {quoted(party['identity'])}"
        if party["pin"] is not None:
            yield f"  environment {readable(str(party['pin']['environment']))}"
            yield from (f"  shim {readable(shim)}" for shim in party["pin"]["shims"])
    yield f"judged as {readable(verdict.numerics)}"
    yield f"enginediff {quoted(verdict.provenance)}"


def _commands(verdict: Verdict) -> Iterator[str]:
    launch = (verdict.reproduction or {}).get("command")
    if launch is not None:
        yield "How the engine was started, `MODEL` being the folder of its weights:"
        yield fenced([readable(launch)], "sh")
    yield "How the difference was found:"
    yield fenced([readable(repeat.command(verdict))], "sh")


def _evidence(verdict: Verdict, shown: Mapping[str, Any]) -> Iterator[str]:
    yield from {"L0": _rendering, "L1": _own, "L2": _token}[verdict.level](shown)
    if "token_ids" in shown:
        yield from _token_ids(shown["token_ids"])
    yield "## One request that shows it"
    yield from _curl(shown["request"])


def _token(shown: Mapping[str, Any]) -> Iterator[str]:
    yield "## The first bad token"
    which = (
        "this is the first token that is further off"
        if shown["beyond_limit"]
        else "no token alone is further off; this one comes nearest"
    )
    yield (
        f"Case {word(shown['case_id'])} of {word(shown['stratum'])}, the worst sequence that was "
        f"met. A token may be off by {shown['limit']:.3g} nats here: {which}."
    )
    if not shown["alone"]:
        yield (
            "It was met with other requests in flight; asked by itself the sequence was within "
            "the limit, or could not be asked. The request below has to be sent beside others."
        )
    yield fenced(
        [
            f"position {shown['position']}, token {_named(shown['token'])}",
            f"reference {shown['reference_logprob']:10.4f}",
            f"candidate {shown['candidate_logprob']:10.4f}",
            "",
            *_top("reference", shown["reference_top"]),
            "",
            *_top("candidate", shown["candidate_top"]),
        ]
    )


def _top(whose: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"{whose}'s top {len(rows)}" if rows else f"the {whose} names no alternatives"
    for row in rows:
        yield f"{row['logprob']:10.4f}  {_named(row)}"


def _named(token: Mapping[str, Any]) -> str:
    text = "(a text that the trace has not)" if token["text"] is None else quoted(token["text"])
    return f"{token['id']:>7} {text}"


def _rendering(shown: Mapping[str, Any]) -> Iterator[str]:
    yield "## Where the prompt differs"
    yield (
        f"Case {word(shown['case_id'])}, from token {shown['position']} on. A few tokens around "
        f"the first difference; the reference's prompt has {shown['expected_length']} tokens, the "
        f"candidate's {shown['found_length']}."
    )
    yield fenced(
        [
            "reference",
            *(_named(token) for token in shown["expected"]),
            "",
            "candidate",
            *(_named(token) for token in shown["found"]),
        ]
    )


def _own(shown: Mapping[str, Any]) -> Iterator[str]:
    yield "## Where it disagrees with itself"
    yield (
        f"Case {word(shown['case_id'])}, comparison {word(shown['comparison'])}: the same token is "
        f"off by {shown['size']:.3g} nats when it is asked in another way."
    )


def _token_ids(ids: Sequence[int]) -> Iterator[str]:
    yield "## The prompt's token ids"
    if len(ids) > MOST_IDS:
        yield f"The last {MOST_IDS} of {len(ids)}; all are in {word(IDS)}, beside this text."
    yield fenced([quoted(list(ids[-MOST_IDS:]))], "json")


def _curl(request: Mapping[str, Any]) -> Iterator[str]:
    body = quoted(request["body"])
    if len(body) > LONGEST_BODY:
        yield f"The body has {len(body)} characters, and is in {word(REQUEST)}, beside this text."
        body = f"@{REQUEST}"
    words = ["curl", "-s", f"{URL}{request['path']}"]
    if request["body"] is not None:
        words += ["-H", "content-type: application/json", "-d", body]
    yield fenced([shlex.join(words)], "sh")


def _likely(verdict: Verdict) -> Iterator[str]:
    if not verdict.diagnosis:
        return
    yield "## What it may be"
    yield "Likely causes by what was measured, the likeliest first; none of them is shown."
    lines: list[str] = []
    for number, likely in enumerate(verdict.diagnosis[:3], 1):
        lines.append(readable(f"{number}. {likely.words}"))
        lines += [readable(f"   {why}") for why in likely.why]
    yield fenced(lines)
    if verdict.narrowing is not None and verdict.narrowing.rows:
        yield "With a part of the engine left out, the same prompts asked again:"
        yield fenced(
            readable(f"{row.toggle} ({' '.join(row.changes)}): {row.effect}; {row.why}")
            for row in verdict.narrowing.rows
        )
