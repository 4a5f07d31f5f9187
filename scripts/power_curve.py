"""Power against effect size: `power_curve.py TRACE --healthy A.parquet --faulty B.parquet`.

Two answer files of `benign_answers`, of a right engine and of a real fault: `effect_sizes` makes
engines of them whose mean of A stands at 0.5 to 8 tau in every stratum, and, last, the fault as it
is. Each is judged in many orders of the real prompts, by the product's own rule (L2 with its share
of alpha) and by `fixed_size_test` at the same alpha.

The e-process is shown with the effect in A alone, where 1 tau and less are nulls, and with K and F
as the fault has them. The last column of the second table is what comes of looking at the fixed
test after each round of the product instead of once: at 1 tau and below a false alarm.

A is clipped at c_token: an effect beyond it is no effect of A, and its row is empty.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from harness import session
from harness.base import atomic
from harness.base.errors import ConfigError, EnginediffError
from harness.base.record import Distance
from harness.checker import forced
from harness.checker.outcome import Word
from harness.checker.shares import SHARES
from harness.checker.tolerance import CAP, ClassTolerances
from harness.levels.state import Settings
from harness.recording import Trace
from scripts.answer_sets import AnswerSet, Corpus, Outcome, corpus_of, judged, of_file
from scripts.effect_sizes import in_tau, of_a_alone, scaled
from scripts.fixed_size_test import Fixed, fixed

EFFECTS = (0.5, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 8.0)  # mean of A, in tau


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequential:
    """The e-process: shares of orders, medians of what was drawn."""

    different: float
    equivalent: float
    inconclusive: float
    prompts: float
    tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One effect size, and what both make of it."""

    a_tau: float  # mean over all sequences, as are the following three
    k_tau: float
    f_tau: float
    bad: float  # share of sequences
    shares: Mapping[str, float]  # of the fault, in each stratum
    sequential: Sequential  # the effect in A (and S) alone
    with_k_and_f: Sequential
    fixed: Fixed


def measured(
    healthy: Sequence[Distance],
    made: Sequence[Distance],
    shares: Mapping[str, float],
    corpus: Corpus,
    tolerances: ClassTolerances,
    settings: Sequence[Settings],
) -> Effect:
    """One engine, in all orders."""
    values = in_tau(made, corpus, tolerances)
    orders = np.array([in_turn(corpus, one.seed) for one in settings])  # (runs, N)
    strata = len(corpus.strata)

    def in_all(distances: Sequence[Distance]) -> Sequential:
        return sequential([judged(distances, corpus, tolerances, one) for one in settings])

    return Effect(
        a_tau=float(values["A"].mean()),
        k_tau=float(values["K"].mean()),
        f_tau=float(values["F"].mean()),
        bad=float(values["S"].mean()),
        shares=shares,
        sequential=in_all(of_a_alone(healthy, made)),
        with_k_and_f=in_all(made),
        fixed=fixed(
            np.minimum(values["A"], CAP)[orders],
            np.array(corpus.tokens_of, dtype=np.float64)[orders],
            strata=strata,
            alpha=settings[0].alpha * SHARES["L2"],
            looks=[strata * n for n in (2, 4, *range(8, orders.shape[1] // strata + 1, 8))],
        ),
    )


def in_turn(corpus: Corpus, seed: int) -> list[int]:
    """Rows in the order of a check with that seed, a prompt of each stratum in turn."""
    orders = [forced.permutation(rows, seed=seed, name=s) for s, rows in corpus.strata.items()]
    return [row for places in zip(*orders, strict=False) for row in places]


def sequential(outcomes: Sequence[Outcome]) -> Sequential:
    counts = Counter(one.word for one in outcomes)
    return Sequential(
        different=counts[Word.DIFFERENT] / len(outcomes),
        equivalent=counts[Word.EQUIVALENT] / len(outcomes),
        inconclusive=counts[Word.INCONCLUSIVE] / len(outcomes),
        prompts=statistics.median(one.prompts for one in outcomes),
        tokens=statistics.median(one.tokens for one in outcomes),
    )


def curve(
    healthy: AnswerSet,
    faulty: AnswerSet,
    corpus: Corpus,
    tolerances: ClassTolerances,
    settings: Sequence[Settings],
) -> dict[str, Effect | None]:
    """Effect -> what is made of it; None where it cannot be made of this fault."""
    found: dict[str, Effect | None] = {}
    for tau in EFFECTS:
        announce(f"{tau:g} tau")
        made = scaled(healthy.distances, faulty.distances, corpus, tolerances, tau)
        found[f"{tau:g} tau"] = (
            None
            if made is None
            else measured(healthy.distances, *made, corpus, tolerances, settings)
        )
    announce("as it is")
    whole = dict.fromkeys(corpus.strata, 1.0)
    found["as it is"] = measured(
        healthy.distances, faulty.distances, whole, corpus, tolerances, settings
    )
    return found


def tables(effects: Mapping[str, Effect | None], rate: float | None) -> str:
    """Two, in Markdown. `rate`: tokens a second; None: no seconds are shown."""
    said = "DIFFERENT | EQUIVALENT | INCONCLUSIVE | prompts | tokens | seconds"
    return "\n".join(
        [
            "The e-process, the effect in A alone; and with K and F of the fault\n",
            f"| A | bad | {said} | K, tau | F, tau | {said} |",
            f"|---|{'---:|' * 15}",
            *_rows(effects, lambda one: _of_e_process(one, rate), 15),
            "\nA test of fixed size\n",
            "| A | prompts | tokens | seconds | with all prompts | looked at in each round |",
            f"|---|{'---:|' * 5}",
            *_rows(effects, lambda one: _of_fixed(one.fixed, rate), 5),
        ]
    )


def _rows(
    effects: Mapping[str, Effect | None], cells: Callable[[Effect], list[str]], width: int
) -> list[str]:
    return [
        f"| {' | '.join([name, *(['-'] * width if one is None else cells(one))])} |"
        for name, one in effects.items()
    ]


def _of_e_process(one: Effect, rate: float | None) -> list[str]:
    def said(drawn: Sequential) -> list[str]:
        return [
            *(f"{share:.1%}" for share in (drawn.different, drawn.equivalent, drawn.inconclusive)),
            f"{drawn.prompts:.0f}",
            f"{drawn.tokens:,.0f}",
            _seconds(drawn.tokens, rate),
        ]

    more = [f"{one.k_tau:.3g}", f"{one.f_tau:.3g}"]
    return [f"{one.bad:.1%}", *said(one.sequential), *more, *said(one.with_k_and_f)]


def _of_fixed(test: Fixed, rate: float | None) -> list[str]:
    return [
        "-" if test.prompts is None else f"{test.prompts}",
        "-" if test.tokens is None else f"{test.tokens:,.0f}",
        _seconds(test.tokens, rate),
        f"{test.different_with_all:.1%}",
        f"{test.different_by_peeking:.1%}",
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
    return parser.parse_args()


def run(options: argparse.Namespace) -> None:
    trace = Trace(options.trace)
    healthy, faulty = of_file(trace, options.healthy), of_file(trace, options.faulty)
    if healthy.numerics != faulty.numerics:
        raise ConfigError(f"{healthy.name} is {healthy.numerics}, {faulty.name} {faulty.numerics}")
    settings = [
        session.settings(trace, seed=seed, alpha=None, beta=None)
        for seed in range(options.permutations)
    ]
    tolerances = session.tolerances_of(trace, healthy.numerics)
    effects = curve(healthy, faulty, corpus_of(trace), tolerances, settings)
    print(tables(effects, options.tokens_per_second))
    if options.output is not None:
        document: dict[str, Any] = {
            "schema": 1,
            "trace": {"name": trace.path.name, "sha256": trace.sha256},
            "numerics": healthy.numerics,
            "healthy": healthy.name,
            "faulty": faulty.name,
            "alpha": settings[0].alpha * SHARES["L2"],
            "beta": settings[0].beta,
            "permutations": len(settings),
            "tokens_per_second": options.tokens_per_second,
            "effects": {k: None if v is None else asdict(v) for k, v in effects.items()},
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
