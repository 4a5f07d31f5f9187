"""The spec of a run as a user writes it, of what a test says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

LIMITS: Mapping[str, float] = {
    "in_flight": 4,
    "attempts": 6,
    "retries": 1000,
    "idle_s": 30.0,
    "total_s": 300.0,
    "restarts": 3,
}
ALL = None  # cases of a suite


def spec_text(
    engines: Sequence[tuple[str, Sequence[str]]],
    suites: Mapping[str, int | None],
    *,
    nodes: Sequence[str] = ("local",),
    epochs: int = 1,
    max_tokens: int = 64,
    limits: Mapping[str, float],
) -> str:
    """`engines`: each with its changes. `suites`: with how many cases. `limits`: over LIMITS."""
    lines = [
        "schema = 1",
        "seed = 0",
        f"epochs = {epochs}",
        'transport = "aiohttp"',
        f"nodes = {json.dumps(list(nodes))}",
    ]
    for name, cases in suites.items():
        lines += ["[[suites]]", f'name = "{name}"']
        lines += [] if cases is ALL else [f"cases = {cases}"]
    for name, changes in engines:
        lines += ["[[engines]]", f"name = {json.dumps(name)}"]
        lines += [f"changes = {json.dumps(list(changes))}"]
    lines += [
        "[sampling]",
        f"max_tokens = {max_tokens}",
        "seeded = false",
        "thinking = { temperature = 1.0, top_p = 0.95 }",
        "instant = { temperature = 0.6, top_p = 0.95 }",
        "[limits]",
        *(f"{key} = {value}" for key, value in {**LIMITS, **limits}.items()),
    ]
    return "\n".join([*lines, ""])
