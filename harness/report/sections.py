"""What a level has to show beside its line in the table of levels: one section of the page each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.checker.outcome import LevelResult
from harness.report import blackbox, consistency_section, decoded_section, forced_section, sampler

# level -> its findings as HTML; a level without a row here has no section.
SECTIONS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "L2": forced_section.html,
    "L1": consistency_section.section,
    "L2b": decoded_section.section,
    "sampler": sampler.section,
    "black box": blackbox.section,
}


def of(level: LevelResult) -> str:
    """Nothing where the level found nothing to show."""
    section = SECTIONS.get(level.level)
    return section(level.findings) if section is not None and level.findings else ""
