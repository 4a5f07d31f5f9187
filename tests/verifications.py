"""Verifications that were never made, for what shows them: three engines, hostile ones, dead ones.

`made` counts and decides as `enginediff verify` does, so that no page is looked at with numbers
that could not be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.base.held import Held, How, broken, kept
from harness.base.trigger import Trigger
from harness.checker.detected import Counted, Found, counted
from harness.checker.detectors import Detection
from harness.checker.ending import Endings
from harness.checker.outcome import Word
from harness.checker.tasks.triggering import TriggerFinding, compare
from harness.comparison import Row as Checked
from harness.verifying.holding import Row, SuiteCount, counts
from harness.verifying.known import Known, judged
from harness.verifying.verification import (
    Applied,
    Deployment,
    Verification,
    decided,
    exit_code,
    together,
)
from launchers.pins import KnownTable

VLLM, ENFORCED, SGLANG = "tiny-moe/vllm-cpu", "tiny-moe/vllm-cpu enforced", "tiny-moe/sglang-cpu"
NAMES = (VLLM, ENFORCED, SGLANG)
WALLE = "the data 'walle' is not here: ENGINEDIFF_DATA (scripts/fetch_data.py)"
NOT_RUN = {"tool-schemas-walle": WALLE, "prompt-tokens": "the trace holds no prompts"}
SERVED = "answered: stop, 'Yes.'"
REFUSAL = 'refused: {"error": "temperature: the contract of this model has 1.0, not 0.6"}'
HOSTILE = '<script>alert("x")</script>&\x00\x1b[31m\u202e\ud83d [red]red[/red]'
KNOWN = KnownTable(
    cases="features/parallel-calls-*",
    share=1.0,
    why="this release takes no parallel_tool_calls",
)
CHECKED = Checked(
    name=VLLM,
    numerics="fp32",
    word=Word.EQUIVALENT,
    level="L1",
    reasons=("all 24 statistics are within tolerance",),
    tokens=96_426,
    seconds=41.3,
    launch_seconds=22.4,
    report="deployments/0/report.html",
    error=None,
    exit_code=0,
)


def made(rows: Sequence[Row], deployments: Sequence[Deployment]) -> Verification:
    """With the word that follows from `deployments`."""
    word, reasons = together(deployments)
    return Verification(
        schema=1,
        word=word,
        reasons=reasons,
        family="kimi-k2.6",
        against="tiny-moe-reference.trace",
        deployments=tuple(deployments),
        rows=tuple(rows),
        not_run=NOT_RUN,
        command="enginediff verify tiny-moe/vllm-cpu --against tiny-moe-reference.trace",
        exit_code=exit_code(deployments),
        provenance={"enginediff": "0.6.0", "written": "2026-01-01T00:00:00"},
    )


def deployment(
    name: str,
    suites: Sequence[SuiteCount],
    *,
    enforced: bool = False,
    checked: Checked | None = CHECKED,
    unchecked: str | None = None,
    applied: tuple[Applied, ...] = (),
    loops: int = 0,
    endings: Endings | None = None,
    trigger: TriggerFinding | None = None,
    failed: str | None = None,
    known: tuple[Known, ...] = (),
) -> Deployment:
    word, reasons = decided(
        checked, suites, enforced=enforced, failed=failed, unchecked=unchecked, known=known
    )
    silence = Endings(asked=300, answered=0, empty=0, reasoning_only=0, cut=0)
    return Deployment(
        name=name,
        enforced=enforced,
        checked=checked,
        unchecked=unchecked,
        applied=applied,
        suites=tuple(suites),
        known=known,
        noticed=noticed(240, loops) if endings else noticed(0, 0),
        endings=endings or silence,
        trigger=trigger,
        failed=failed,
        word=word,
        reasons=reasons,
    )


def row(suite: str, case: str, what: str, *held: Held, names: Sequence[str] = NAMES) -> Row:
    return Row(suite=suite, case=case, what=what, held=dict(zip(names, held, strict=True)))


def noticed(answered: int, loops: int) -> Counted:
    """Of 260 requests; every answer of the first `loops` turns in a circle."""
    loop = (Detection(name="loop", evidence="'yes yes yes' 40 times"),)
    return counted(
        Found(n=n, case=f"case-{n}", answered=n < answered, detections=loop if n < loops else ())
        for n in range(260)
    )


def trigger(calls: Sequence[bool | None]) -> TriggerFinding:
    """Beside a reference that calls in every second case."""
    ours = [_called(n, n % 2 == 0) for n in range(len(calls))]
    theirs = [_called(n, called) for n, called in enumerate(calls)]
    return compare(ours, theirs, np.random.default_rng(3))


def _called(n: int, called: bool | None) -> Trigger:
    ends = {True: "tool_calls", False: "stop", None: None}
    return Trigger(
        case=f"call-{n}",
        repeat=0,
        finish_reason=ends[called],
        calls=None if called is None else int(called),
        valid=True if called else None,
        prompt_tokens=None if called is None else 120,
        completion_tokens=None if called is None else 31,
    )


def three(differing: int = 9, schemas_broken: int = 3) -> Verification:
    """vLLM as it comes, vLLM that enforces, SGLang that breaks some of what it owes."""
    rows = [*_parameters(differing), *_features(), *_schemas(schemas_broken)]
    calls = [n % 2 == 0 or n % 7 == 0 for n in range(60)]
    some: list[bool | None] = [None if n % 20 == 3 else called for n, called in enumerate(calls)]
    sent = Applied(way="sent", word=Word.EQUIVALENT, reasons=("temperature 1, top-p .95",))
    chat = Applied(
        way="chat", word=Word.DIFFERENT, reasons=("temperature 0.7 is applied, and not 1",)
    )
    silent = Applied(way="chat", word=None, reasons=("no prefix of a chat tells enough",))
    different = replace(
        CHECKED, name=SGLANG, word=Word.DIFFERENT, level="L2", report="deployments/2/report.html"
    )
    return made(
        rows,
        [
            deployment(
                VLLM,
                counts(rows, VLLM),
                applied=(sent, silent),
                loops=3,
                endings=Endings(asked=300, answered=300, empty=0, reasoning_only=1, cut=12),
                trigger=trigger(calls),
            ),
            deployment(
                ENFORCED,
                counts(rows, ENFORCED),
                known=judged(rows, ENFORCED, [KNOWN]),
                enforced=True,
                endings=Endings(asked=300, answered=300, empty=0, reasoning_only=0, cut=11),
            ),
            deployment(
                SGLANG,
                counts(rows, SGLANG),
                checked=replace(different, reasons=("long: A is 0.051, 4.2 times its tolerance",)),
                applied=(sent, chat),
                loops=7,
                endings=Endings(asked=300, answered=287, empty=4, reasoning_only=0, cut=2),
                trigger=trigger(some),
            ),
        ],
    )


def _parameters(differing: int) -> list[Row]:
    """`differing` of 60 ought to be refused, which the one does that enforces."""
    served, refused = Held(how=How.NOT_ENFORCED, why=SERVED), kept(REFUSAL)
    wrong = [
        row(
            "parameters",
            f"thinking/temperature-{n / 10:g}/streamed",
            f"thinking mode, temperature {n / 10:g}: is refused",
            served,
            refused,
            served,
        )
        for n in range(differing)
    ]
    right = [
        row("parameters", f"thinking/top_p-{n}", "thinking mode: is answered", *[kept("yes")] * 3)
        for n in range(differing, 60)
    ]
    return [*wrong, *right]


def _features() -> list[Row]:
    """One is broken by SGLang alone, one by all, one was never finished."""
    cut = Held(how=How.UNFINISHED, why="cut at its length: length, 'The weather in'")
    named = broken("called get_weather, and stock_price was asked for")
    two = broken("refused: 400 parallel_tool_calls is not supported")
    ok = kept("as asked")
    said = [
        ("tool-choice-stock_price", "a call of stock_price", ok, ok, named),
        ("parallel-calls-off", "one call, as declared", two, two, two),
        ("json-schema", "JSON of the schema", cut, cut, cut),
    ]
    more = [(f"stop-{n}", "the answer has no stop string", ok, ok, ok) for n in range(21)]
    return [row("features", case, what, *held) for case, what, *held in [*said, *more]]


def _schemas(broken_: int) -> list[Row]:
    dead = Held(how=How.UNANSWERED, why="stalled: nothing came for 60 s")
    ok, bad = kept("as declared"), broken("/size: 'large' is not of type 'integer'")
    return [
        row("tool-schemas", "valid/deep", "arguments as declared", dead, ok, ok),
        *(
            row("tool-schemas", f"valid/enum-{n}", "arguments as declared", ok, ok, bad)
            for n in range(broken_)
        ),
        *(
            row("tool-schemas", f"valid/one-{n}", "arguments as declared", ok, ok, ok)
            for n in range(66)
        ),
    ]


def equivalent() -> Verification:
    rows = [
        row("parameters", f"right-{n}", "is answered", kept("yes"), names=[VLLM]) for n in "abc"
    ]
    ends = Endings(asked=300, answered=300, empty=0, reasoning_only=0, cut=0)
    return made(rows, [deployment(VLLM, counts(rows, VLLM), endings=ends)])


def nothing() -> Verification:
    """No deployment was checked, and none has answered anything."""
    dead = Held(how=How.UNANSWERED, why="unreachable: connection refused")
    rows = [row("parameters", f"right-{n}", "is answered", dead, dead, dead) for n in range(4)]
    why, failed = "a URL is not checked without a trace", "the engine ended with exit code 1"
    found = made(
        rows,
        [
            deployment(name, counts(rows, name), checked=None, unchecked=why, failed=failed)
            for name in NAMES
        ],
    )
    return replace(found, against=None)


def hostile() -> Verification:
    """Everything that somebody else wrote is hostile, and far too long."""
    evil = HOSTILE + "verylong" * 40
    held = {evil + name: Held(how=how, why=evil) for name, how in zip("abc", How, strict=False)}
    rows = [Row(suite=evil, case=evil, what=evil, held=held)]
    plain = trigger([True, False])
    strange = replace(
        plain, finish_reasons={evil: 2}, reference_finish_reasons={evil: 1}, contradicted=1
    )
    detections = (Detection(name="loop", evidence=evil),)
    deployments = [
        replace(
            deployment(
                name,
                counts(rows, name),
                checked=replace(CHECKED, name=evil, level=evil, error=evil, report=evil),
                applied=(Applied(way=evil, word=Word.DIFFERENT, reasons=(evil,)),),
                trigger=strange,
                known=judged(rows, name, [KnownTable(cases="*", share=0.0, why=evil)]),
                endings=Endings(asked=9, answered=9, empty=1, reasoning_only=0, cut=0),
            ),
            noticed=counted([Found(n=0, case=evil, answered=True, detections=detections)]),
            reasons=(evil,),
            unchecked=evil,
            failed=evil,
        )
        for name in held
    ]
    deployments[0] = replace(deployments[0], checked=None)
    return replace(
        made(rows, deployments),
        reasons=(evil,),
        family=evil,
        against=evil,
        not_run={evil: evil},
        command=evil,
        provenance={evil: evil},
    )
