"""L0, exact: the same prompt becomes the same token ids, and is counted right. No statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONTEXT = 6  # tokens shown around the first difference


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderDifference:
    """Where the candidate's rendering of one case leaves the reference's."""

    case_id: str
    position: int
    expected: tuple[int, ...]  # a few ids from shortly before the difference
    found: tuple[int, ...]
    expected_length: int
    found_length: int


def compare_rendering(
    case_id: str, expected: Sequence[int], found: Sequence[int]
) -> RenderDifference | None:
    """None where the ids are the same."""
    if tuple(expected) == tuple(found):
        return None
    pairs = zip(expected, found, strict=False)
    shorter = min(len(expected), len(found))
    position = next((i for i, (a, b) in enumerate(pairs) if a != b), shorter)
    window = slice(max(0, position - CONTEXT), position + CONTEXT)
    return RenderDifference(
        case_id=case_id,
        position=position,
        expected=tuple(expected[window]),
        found=tuple(found[window]),
        expected_length=len(expected),
        found_length=len(found),
    )


def describe(difference: RenderDifference, texts: Mapping[int, str]) -> str:
    """One line; ids that the trace has never seen read as `<id 123>`."""

    def read(ids: Sequence[int]) -> str:
        return "".join(texts.get(i, f"<id {i}>") for i in ids)

    return (
        f"case {difference.case_id}: the prompt is rendered otherwise from token "
        f"{difference.position} on: reference {read(difference.expected)!r} "
        f"({difference.expected_length} tokens in all), candidate "
        f"{read(difference.found)!r} ({difference.found_length})"
    )
