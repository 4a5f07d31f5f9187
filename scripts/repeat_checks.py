"""Checks one running candidate many times: `repeat_checks.py CANDIDATE --against TRACE -o X.json`.

The engine is launched once; each check is the whole real one (L0, L2, L1) with a seed of its own,
so another order of prompts. What is counted is conditional on this candidate, its server and this
trace: the bounds say how often a verdict errs over orders and the server's own noise.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from scipy import stats

from harness import candidate, session, verdict
from harness.base import atomic
from harness.base.errors import EnginediffError
from harness.candidate import Opened
from harness.checker.outcome import Word
from harness.checker.tolerance import ClassTolerances
from harness.levels.state import Settings
from harness.recording import Trace

CONFIDENCE = 0.95  # of each one-sided bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one check said."""

    seed: int
    word: Word
    level: str  # the level that decided
    reasons: tuple[str, ...]  # of that level
    tokens: int
    seconds: float


def check_once(
    opened: Opened, trace: Trace, tolerances: ClassTolerances, settings: Settings
) -> Outcome:
    """One whole check against the running server. Its evidence is thrown away."""
    with TemporaryDirectory() as folder:
        state, seconds = session.checked(
            opened,
            trace,
            tolerances,
            settings,
            file=Path(folder) / "evidence.parquet",
            announce=lambda _: None,
        )
    word, level = verdict.combine(state.levels, tolerances.weakness)
    reasons = [r for result in state.levels if result.level == level for r in result.reasons]
    return Outcome(
        seed=settings.seed,
        word=word,
        level=level,
        reasons=tuple(reasons),
        tokens=state.tokens,
        seconds=seconds,
    )


def bounds(hits: int, runs: int) -> tuple[float, float]:
    """The one-sided Clopper-Pearson bounds of a rate, lower and upper."""
    lower = 0.0 if hits == 0 else float(stats.beta.ppf(1 - CONFIDENCE, hits, runs - hits + 1))
    upper = 1.0 if hits == runs else float(stats.beta.ppf(CONFIDENCE, hits + 1, runs - hits))
    return lower, upper


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Counts and bounds of each word, and medians."""
    counts = Counter(outcome.word for outcome in outcomes)
    words = {}
    for word in Word:
        lower, upper = bounds(counts[word], len(outcomes))
        words[word.value] = {"count": counts[word], "lower_95": lower, "upper_95": upper}
    return {
        "checks": len(outcomes),
        "words": words,
        "median_seconds": statistics.median(outcome.seconds for outcome in outcomes),
        "median_tokens": statistics.median(outcome.tokens for outcome in outcomes),
    }


def report(outcomes: list[Outcome]) -> str:
    found = summary(outcomes)
    lines = [
        f"{word:13}{row['count']:4} of {len(outcomes)}, rate {row['lower_95']:.3f} or more, "
        f"{row['upper_95']:.3f} or less (95 % each)"
        for word, row in found["words"].items()
    ]
    return "\n".join(
        [*lines, f"median {found['median_seconds']:.1f} s, {found['median_tokens']:,.0f} tokens"]
    )


def repeat(options: argparse.Namespace) -> None:
    """All checks, a line each; the file is rewritten after each, so it survives an interrupt."""
    changes: list[str] = options.set
    classes = (session.promise(options.candidate, changes, options.numerics),)
    trace = session.trace_of(options.against, classes=classes, announce=announce)
    loaded = candidate.prepared(options.candidate, changes)
    tolerances = session.promised(loaded, options.numerics, trace)
    outcomes: list[Outcome] = []
    with (
        TemporaryDirectory() as folder,
        candidate.opened(
            options.candidate, loaded, log=Path(folder) / "engine.log", announce=announce
        ) as opened,
    ):
        for seed in range(options.times):
            settings = Settings(seed=seed, alpha=options.alpha, beta=options.beta)
            outcome = check_once(opened, trace, tolerances, settings)
            outcomes.append(outcome)
            print(
                f"seed {seed:3}  {outcome.word:12}  {outcome.level}  {outcome.tokens:9,} tokens  "
                f"{outcome.seconds:6.1f} s",
                flush=True,
            )
            if options.output is not None:
                document = {
                    "schema": 1,
                    "candidate": opened.described(),
                    "trace": {"name": trace.path.name, "sha256": trace.sha256},
                    "numerics": tolerances.numerics,
                    "alpha": options.alpha,
                    "beta": options.beta,
                    "asked": options.times,
                    **summary(outcomes),
                    "outcomes": [asdict(outcome) for outcome in outcomes],
                }
                flags = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
                atomic.write_bytes(options.output, orjson.dumps(document, option=flags))
    print(report(outcomes))


def announce(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("candidate", help="a pin (MODEL/NAME or a path) or a URL")
    parser.add_argument("--against", required=True, help="a trace")
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--numerics", help="what a URL promises")
    parser.add_argument("--alpha", type=float, default=0.005)
    parser.add_argument("--beta", type=float, default=0.005)
    parser.add_argument("-o", "--output", type=Path, help="JSON")
    options = parser.parse_args()
    if options.times < 1:
        parser.error(f"--times {options.times}: must be 1 or more")
    return options


def main() -> int:
    options = arguments()
    # A shell starts background jobs with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        repeat(options)
    except EnginediffError as error:
        print(f"repeat_checks: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("repeat_checks: interrupted; what was started is stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
