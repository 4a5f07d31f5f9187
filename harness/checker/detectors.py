"""What an answer shows by itself that it should not: one small detector each. Pure.

A detector finds signs, and no proof: each states its threshold, and what it may take for a sign.
How often it finds one is for comparing: an engine with others, a day with the day before. Where a
detector is wrong it is so for every engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.base.arguments import Kind
from harness.base.excerpt import excerpt
from harness.base.reply import Reply
from harness.checker import (
    detectors_calls,
    detectors_ending,
    detectors_language,
    detectors_loops,
    detectors_markup,
)
from harness.checker.asked import Asked

SHOWN = 120  # characters of evidence

Detector = Callable[[Reply, Asked], str | None]  # what it finds, of any length; None: nothing

DETECTORS: dict[str, Detector] = {  # in the order in which they are told
    "reasoning_only": detectors_ending.reasoning_only,
    "empty": detectors_ending.empty,
    "truncated": detectors_ending.truncated,
    "think_tags": detectors_markup.think_tags,
    "control_tokens": detectors_markup.control_tokens,
    "call_in_text": detectors_markup.call_in_text,
    "unknown_name": detectors_calls.of_kind(Kind.UNKNOWN_NAME),
    "invalid_json": detectors_calls.of_kind(Kind.INVALID_JSON),
    "schema_mismatch": detectors_calls.of_kind(Kind.SCHEMA_MISMATCH),
    "unjudged_call": detectors_calls.unjudged,
    "property_order": detectors_calls.reordered_properties,
    "language_leak": detectors_language.leak,
    "stray_letters": detectors_language.stray,
    "loop": detectors_loops.loop,
    "repetition": detectors_loops.repetition,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What one detector found in one answer."""

    name: str  # of DETECTORS
    evidence: str  # a printable line


def detect(reply: Reply, asked: Asked) -> tuple[Detection, ...]:
    """All that is found, in the order of DETECTORS; nothing where no whole answer came, for a
    request that failed is no empty answer."""
    if not reply.answered:
        return ()
    found = ((name, detector(reply, asked)) for name, detector in DETECTORS.items())
    return tuple(
        Detection(name=name, evidence=excerpt(evidence, characters=SHOWN))
        for name, evidence in found
        if evidence is not None
    )
