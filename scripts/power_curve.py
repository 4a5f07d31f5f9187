"""Power against effect size.

    python -m scripts.power_curve TRACE --healthy A.parquet --faulty B.parquet [-o X.json]

Two answer files of `benign_answers`, of a right engine and of a real fault, of which
`effect_sizes` makes engines with 0.5 to 8 tau. Each is judged in many orders of the real prompts.

    a_alone     the mean of A stands there in every stratum, and A alone is judged: by the e-process
                (alpha of L2), and by `fixed_size_test` at the same alpha. Its last column is what
                comes of looking at that test after each round instead of once: at 1 tau and below
                a false alarm
    whole_rule  the furthest of all statistics and strata stands there, and all are judged, as L2
                does; last, the fault as it is

An effect beyond a clip, or smaller than the healthy engine's own error, cannot be made: its row is
empty.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson

from harness import session
from harness.base import atomic
from harness.base.errors import ConfigError, EnginediffError
from harness.checker import forced
from harness.checker.judge import STATISTICS, Statistic
from harness.checker.outcome import Word
from harness.checker.shares import SHARES
from harness.checker.tolerance import ClassTolerances
from harness.levels.state import Settings
from harness.recording import Trace
from scripts.answer_sets import Corpus, Outcome, corpus_of, judged, of_file
from scripts.effect_sizes import A, Distances, Made, furthest, series, with_a_at, with_furthest_at
from scripts.fixed_size_test import Fixed, fixed

EFFECTS = (0.5, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 8.0)  # tau
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What the e-process says: shares of the orders, medians of what was drawn."""

    different: float
    equivalent: float
    inconclusive: float
    prompts: float
    tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OfA:
    """A alone."""

    shares: Mapping[str, float]  # of the fault, in each stratum
    e_process: Drawn
    fixed: Fixed


@dataclass(frozen=True, slots=True, kw_only=True)
class OfAll:
    """The whole rule of L2."""

    share: float  # of the fault
    furthest: str  # which statistic, and in which stratum
    tau: float  # how far that is; `means` are the others, averaged over strata
    means: Mapping[str, float]
    e_process: Drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What engines are judged by."""

    corpus: Corpus
    tolerances: ClassTolerances
    settings: Sequence[Settings]  # one an order

    def drawn(self, made: Made, statistics_: Sequence[Statistic]) -> Drawn:
        return summed(
            [
                judged(made.distances, self.corpus, self.tolerances, one, statistics_)
                for one in self.settings
            ]
        )

    def of_a(self, made: Made) -> OfA:
        found = series(made.distances, self.corpus, self.tolerances)
        values = np.zeros(len(made.distances))  # of A, by row
        for stratum, rows in self.corpus.strata.items():
            values[list(rows)] = found[stratum, A.name]
        orders = np.array([in_turn(self.corpus, one.seed) for one in self.settings])  # (runs, N)
        strata = len(self.corpus.strata)
        return OfA(
            shares=made.shares,
            e_process=self.drawn(made, [A]),
            fixed=fixed(
                values[orders],
                np.array(self.corpus.tokens_of, dtype=np.float64)[orders],
                strata=strata,
                alpha=self.settings[0].alpha * SHARES["L2"],
                looks=[strata * n for n in (2, 4, *range(8, orders.shape[1] // strata + 1, 8))],
            ),
        )

    def of_all(self, made: Made) -> OfAll:
        tau, stratum, name = furthest(made.distances, self.corpus, self.tolerances)
        found = series(made.distances, self.corpus, self.tolerances)
        by_name: dict[str, list[float]] = {}
        for (_, statistic), units in found.items():
            by_name.setdefault(statistic, []).append(float(units.mean()))
        return OfAll(
            share=next(iter(made.shares.values())),
            furthest=f"{name} in {stratum}",
            tau=tau,
            means={statistic: statistics.fmean(means) for statistic, means in by_name.items()},
            e_process=self.drawn(made, STATISTICS),
        )


def in_turn(corpus: Corpus, seed: int) -> list[int]:
    """Rows in the order of a check with that seed, a prompt of each stratum in turn."""
    orders = [forced.permutation(rows, seed=seed, name=s) for s, rows in corpus.strata.items()]
    return [row for places in zip(*orders, strict=False) for row in places]


def summed(outcomes: Sequence[Outcome]) -> Drawn:
    counts = Counter(one.word for one in outcomes)
    return Drawn(
        different=counts[Word.DIFFERENT] / len(outcomes),
        equivalent=counts[Word.EQUIVALENT] / len(outcomes),
        inconclusive=counts[Word.INCONCLUSIVE] / len(outcomes),
        prompts=statistics.median(one.prompts for one in outcomes),
        tokens=statistics.median(one.tokens for one in outcomes),
    )


def curves(
    healthy: Distances, faulty: Distances, judging: Judging
) -> tuple[dict[str, OfA | None], dict[str, OfAll | None]]:
    """Effect -> what is made of it; None where it cannot be made of this fault."""
    of_a: dict[str, OfA | None] = {}
    of_all: dict[str, OfAll | None] = {}
    corpus, tolerances = judging.corpus, judging.tolerances
    for tau in EFFECTS:
        announce(name := f"{tau:g} tau")
        made = with_a_at(tau, healthy, faulty, corpus, tolerances)
        of_a[name] = None if made is None else judging.of_a(made)
        made = with_furthest_at(tau, healthy, faulty, corpus, tolerances)
        of_all[name] = None if made is None else judging.of_all(made)
    announce("as it is")
    whole = Made(distances=faulty, shares=dict.fromkeys(corpus.strata, 1.0))
    of_all["as it is"] = judging.of_all(whole)
    return of_a, of_all


def tables(
    of_a: Mapping[str, OfA | None], of_all: Mapping[str, OfAll | None], rate: float | None
) -> str:
    """Two, in Markdown. `rate`: tokens a second; None: no seconds are shown."""
    words = ["DIFFERENT", "EQUIVALENT", "INCONCLUSIVE"]
    cost = ["prompts", "tokens", "seconds"]
    fixed_ = ["n for 99 %", "its tokens", "its seconds", "all prompts, once", "at each round"]
    more = ["share", "furthest", "tau", *(f"{one.name}, tau" for one in STATISTICS)]
    return "\n".join(
        [
            "A alone: the e-process, and a test of fixed size\n",
            *_table(["A", *words, *cost, *fixed_], of_a, lambda one: _of_a(one, rate)),
            "\nThe whole rule of L2\n",
            *_table(["at", *more, *words, *cost], of_all, lambda one: _of_all(one, rate)),
        ]
    )


def _table(
    header: Sequence[str], rows: Mapping[str, T | None], cells: Callable[[T], list[str]]
) -> list[str]:
    blank = ["-"] * (len(header) - 1)
    return [
        f"| {' | '.join(header)} |",
        f"|---|{'---:|' * len(blank)}",
        *(
            f"| {' | '.join([name, *(blank if one is None else cells(one))])} |"
            for name, one in rows.items()
        ),
    ]


def _of_a(one: OfA, rate: float | None) -> list[str]:
    test = one.fixed
    return [
        *_drawn(one.e_process, rate),
        "-" if test.prompts is None else f"{test.prompts}",
        "-" if test.tokens is None else f"{test.tokens:,.0f}",
        _seconds(test.tokens, rate),
        f"{test.different_with_all:.1%}",
        f"{test.different_by_peeking:.1%}",
    ]


def _of_all(one: OfAll, rate: float | None) -> list[str]:
    means = [f"{one.means[statistic.name]:.3g}" for statistic in STATISTICS]
    return [
        f"{one.share:.3g}",
        one.furthest,
        f"{one.tau:.3g}",
        *means,
        *_drawn(one.e_process, rate),
    ]


def _drawn(one: Drawn, rate: float | None) -> list[str]:
    return [
        *(f"{share:.1%}" for share in (one.different, one.equivalent, one.inconclusive)),
        f"{one.prompts:.0f}",
        f"{one.tokens:,.0f}",
        _seconds(one.tokens, rate),
    ]


def _seconds(tokens: float | None, rate: float | None) -> str:
    return "-" if tokens is None or rate is None else f"{tokens / rate:.1f}"


def announce(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--healthy", required=True, type=Path, metavar="FILE")
    parser.add_argument("--faulty", required=True, type=Path, metavar="FILE")
    parser.add_argument("--permutations", type=int, default=200)
    parser.add_argument("--tokens-per-second", type=float, help="of the engine, for seconds")
    parser.add_argument("-o", "--output", type=Path, help="JSON")
    options = parser.parse_args()
    if options.permutations < 1:
        parser.error(f"--permutations {options.permutations}: must be 1 or more")
    return options


def run(options: argparse.Namespace) -> None:
    trace = Trace(options.trace)
    healthy, faulty = of_file(trace, options.healthy), of_file(trace, options.faulty)
    if healthy.numerics != faulty.numerics:
        raise ConfigError(f"{healthy.name} is {healthy.numerics}, {faulty.name} {faulty.numerics}")
    judging = Judging(
        corpus=corpus_of(trace),
        tolerances=session.tolerances_of(trace, healthy.numerics),
        settings=[
            session.settings(trace, seed=seed, alpha=None, beta=None)
            for seed in range(options.permutations)
        ],
    )
    of_a, of_all = curves(healthy.distances, faulty.distances, judging)
    print(tables(of_a, of_all, options.tokens_per_second))
    if options.output is not None:
        document: dict[str, Any] = {
            "schema": 1,
            "trace": {"name": trace.path.name, "sha256": trace.sha256},
            "numerics": healthy.numerics,
            "healthy": healthy.name,
            "faulty": faulty.name,
            "alpha": judging.settings[0].alpha * SHARES["L2"],
            "beta": judging.settings[0].beta,
            "permutations": options.permutations,
            "tokens_per_second": options.tokens_per_second,
            "a_alone": {k: None if v is None else asdict(v) for k, v in of_a.items()},
            "whole_rule": {k: None if v is None else asdict(v) for k, v in of_all.items()},
        }
        flags = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        atomic.write_bytes(options.output, orjson.dumps(document, option=flags))


def main() -> int:
    try:
        run(arguments())
    except EnginediffError as error:
        announce(f"power_curve: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
