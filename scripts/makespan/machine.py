"""A node of eight GPUs with one engine: how fast it decodes, by how many requests are under way.

A point is what a named source measured. Between points the time of a decoding step is on a straight
line, as it is for a memory that is read once a step and once a request; beyond the last nothing is
known, and a node has no more under way than that. Prefill is in the measurements, whose requests
had prompts of 1,000 to 8,192 tokens, and is charged nowhere else.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, kw_only=True)
class Machine:
    name: str
    step_ms: Mapping[int, float]  # a request's time per token, by requests under way; from 1 on
    source: str  # what was read where
    assumed: str

    @cached_property
    def limit(self) -> int:
        """Requests under way, at most."""
        return max(self.step_ms)

    @cached_property
    def steps_s(self) -> list[float]:
        """(limit + 1,): seconds a token of each, by requests under way; of none: 0."""
        known = sorted(self.step_ms)
        steps = [0.0]
        for under_way in range(1, self.limit + 1):
            after = bisect_left(known, under_way)
            high = known[after]
            low = known[max(0, after - 1)]
            part = (under_way - low) / (high - low) if high > low else 0.0
            ms = self.step_ms[low] + part * (self.step_ms[high] - self.step_ms[low])
            steps.append(ms / 1000)
        return steps

    def rate(self, under_way: int) -> float:
        """Tokens a second, of all together."""
        return under_way / self.steps_s[under_way]

    @cached_property
    def best(self) -> float:
        return max(map(self.rate, range(1, self.limit + 1)))

    @cached_property
    def alone(self) -> float:
        """Tokens a second of one request, at the most."""
        return 1 / min(self.steps_s[1:])

    @cached_property
    def _hull(self) -> list[tuple[float, float]]:
        """Speed of each and rate of all, fastest last: the upper hull over all mixtures."""
        points = [(1 / self.steps_s[n], self.rate(n)) for n in range(1, self.limit + 1)]
        hull: list[tuple[float, float]] = []
        for x, y in sorted([(0.0, self.best), *points]):
            while len(hull) > 1 and _left(hull[-2], hull[-1], (x, y)):
                hull.pop()
            hull.append((x, y))
        return hull

    def rate_beside(self, speed: float) -> float:
        """Tokens a second of all at the most, where one has `speed` of them on average."""
        hull = self._hull
        place = bisect_left(hull, (speed, 0.0))
        if place == len(hull):
            return 0.0
        (x0, y0), (x1, y1) = hull[max(0, place - 1)], hull[place]
        return y1 if x1 == x0 else y0 + (speed - x0) / (x1 - x0) * (y1 - y0)


def _left(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether `b` is on or below the line from `a` to `c`."""
    return (b[0] - a[0]) * (c[1] - a[1]) >= (b[1] - a[1]) * (c[0] - a[0])


MACHINES = (
    Machine(
        name="8 x H20, DeepSeek-V3.2, vLLM",
        step_ms={1: 1000 / 30, 100: 100_000 / 791.73},
        source="100 at once: 791.73 tokens/s (vllm-project/recipes, DeepSeek/DeepSeek-V3_2.md, "
        '"Benchmarking", 2,048 in, 1,024 out, its prefill counted in); one: 30 tokens/s '
        "(vllm-project/vllm#30832)",
        assumed="all between the two; that the recipe names the machine rightly, which "
        "vllm-project/vllm#40592 asks",
    ),
    Machine(
        name="8 x H200, Kimi K2.5 INT4, vLLM",
        step_ms={
            1: 1000 / 96,
            4: 1000 / 91.2,
            8: 1000 / 70.3,
            16: 1000 / 46.6,
            32: 1000 / 28.9,
            64: 1000 / 16.7,
        },
        source="4 to 64 at once: 91.2, 70.3, 46.6, 28.9, 16.7 tokens/s of each (SemiAnalysis "
        "InferenceX, 8,192 in, 1,024 out, as kimi-capacity-report.pages.dev quotes it); one: 96 "
        "(Kimi-K2.7-Code, aarora79/agentic-coding-harness-benchmarks#56)",
        assumed="that K2.7's one is K2.5's",
    ),
    Machine(
        name="8 x H200, DeepSeek-R1 FP8, SGLang",
        step_ms={1: 8.95, 8: 12.8, 16: 17.2, 32: 25.6, 64: 34.6},
        source="8 to 64 at once: 12.8, 17.2, 25.6, 34.6 ms a token (SemiAnalysisAI/InferenceX#870, "
        "1,024 in and out)",
        assumed="8.95 ms for one, on the line through the first two points",
    ),
)
