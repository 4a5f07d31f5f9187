"""Counts false alarms over right answers.

    python -m scripts.error_rates TRACE... --answers DIR [--seeds 5] [-o X.json]

No engine is asked. Three kinds of checks, each by the product's own rule (L2 with its share of
alpha):

    A/A                    each answer set of `benign_answers` against the trace's tolerances, over
                           all prompts in several orders, and over a random half of each stratum
    a configuration out    the tolerances come from all other configurations of the class, those of
                           the pool and those asked; the one left out, at all its loads, is judged
    an implementation out  the same, with all of vLLM, or all of Transformers, left out: the harder
                           question, which is counted apart

Whatever is equal to the bit to what is left out is left out with it: it would do the work.
Checks of one answer set are not independent, so a second bound counts answer sets that differ
in a bit, each once. Exit code 1 where more than 1 check in 200 of the first two kinds is
DIFFERENT, or where there are fewer than 200 of them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness import session
from harness.base import atomic
from harness.base.errors import EnginediffError
from harness.checker.calibration import of_trace
from harness.checker.outcome import Word
from harness.checker.tolerance import ClassTolerances, calibrate
from harness.levels.state import Settings
from harness.recording import Trace
from scripts.answer_sets import (
    AnswerSet,
    Corpus,
    Outcome,
    corpus_of,
    judged,
    of_file,
    of_pool,
    units,
)
from scripts.benign_answers import folder_of
from scripts.repeat_checks import bounds
from scripts.zoo.benign import BENIGN

WHOLE, HALF = "A/A", "A/A, half of the prompts"
LESS_ONE, LESS_ALL = "a configuration out", "an implementation out"
COUNTED = (WHOLE, HALF, LESS_ONE)
ONE_IN = 200  # checks: what may be DIFFERENT, and how many are needed
Calibrate = Callable[[Sequence[AnswerSet]], ClassTolerances]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One check: which answers, how, and what was said."""

    kind: str
    of: str  # the model and the class
    answers: str
    digest: str
    seed: int
    outcome: Outcome


def against_trace(
    sets: Sequence[AnswerSet],
    corpus: Corpus,
    tolerances: ClassTolerances,
    settings: Sequence[Settings],
    of: str,
) -> Iterator[Checked]:
    """A/A, over all prompts and over halves."""
    for one in sets:
        for how in settings:
            for kind, part in ((WHOLE, corpus), (HALF, corpus.half(how.seed))):
                outcome = judged(one.distances, part, tolerances, how)
                yield _checked(kind, of, one, how, outcome)


def left_out(
    sets: Sequence[AnswerSet],
    corpus: Corpus,
    calibrated: Calibrate,
    settings: Sequence[Settings],
    of: str,
    kind: str,
) -> Iterator[Checked]:
    """One configuration, or implementation, after the other, by the tolerances of the rest."""
    for out, rest in leaving_out(sets, kind):
        tolerances = calibrated(rest)
        for one in out:
            for how in settings:
                outcome = judged(one.distances, corpus, tolerances, how)
                yield _checked(kind, of, one, how, outcome)


def leaving_out(
    sets: Sequence[AnswerSet], kind: str
) -> Iterator[tuple[list[AnswerSet], list[AnswerSet]]]:
    """What is judged, and what its tolerances come from: never a twin, to the bit, of the first.

    A configuration with one twin among its loads goes with all of them. Where nothing is left,
    nothing is judged.
    """
    for name in dict.fromkeys(_side(one, kind) for one in sets):
        out = [one for one in sets if _side(one, kind) == name]
        digests = {one.digest for one in out}
        twins = {one.configuration for one in sets if one.digest in digests}  # and itself
        rest = [one for one in sets if one.configuration not in twins]
        if rest:
            yield out, rest


def _side(one: AnswerSet, kind: str) -> str:
    return one.configuration if kind == LESS_ONE else one.implementation


def _checked(kind: str, of: str, one: AnswerSet, how: Settings, outcome: Outcome) -> Checked:
    return Checked(
        kind=kind, of=of, answers=one.name, digest=one.digest, seed=how.seed, outcome=outcome
    )


def summary(checks: Sequence[Checked]) -> dict[str, Any]:
    """Counts and one-sided bounds of each word, over checks and over distinct answer sets."""
    counts = Counter(one.outcome.word for one in checks)
    words: dict[str, Any] = {}
    for word in Word:
        lower, upper = bounds(counts[word], len(checks))
        words[word.value] = {"count": counts[word], "lower_95": lower, "upper_95": upper}
    distinct = {one.digest for one in checks}
    alarmed = {one.digest for one in checks if one.outcome.word is Word.DIFFERENT}
    return {
        "checks": len(checks),
        "words": words,
        "answer_sets": len(distinct),
        "answer_sets_ever_different": len(alarmed),
        "answer_sets_ever_different_upper_95": bounds(len(alarmed), len(distinct))[1],
        "median_tokens": statistics.median(one.outcome.tokens for one in checks),
    }


def acceptable(checks: Sequence[Checked]) -> bool:
    """At least 200 checks, and at most 1 in 200 DIFFERENT."""
    alarms = sum(one.outcome.word is Word.DIFFERENT for one in checks)
    return len(checks) >= ONE_IN and alarms * ONE_IN <= len(checks)


def grouped(checks: Sequence[Checked]) -> dict[tuple[str, str], list[Checked]]:
    """(kind, model and class) -> its checks."""
    groups: dict[tuple[str, str], list[Checked]] = {}
    for one in checks:
        groups.setdefault((one.kind, one.of), []).append(one)
    return groups


def table(checks: Sequence[Checked]) -> str:
    """Markdown; a bound stands in brackets beside its count."""
    lines = [
        "| kind | of | checks | DIFFERENT (at most, 95 %) | EQUIVALENT (at least, 95 %) | "
        "INCONCLUSIVE | answer sets | ever DIFFERENT (at most) | tokens, median |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    parts = [(*key, part) for key, part in grouped(checks).items()]
    counted = [one for one in checks if one.kind in COUNTED]
    if counted:
        parts.append(("A/A and configurations out", "all", counted))
    for kind, of, part in parts:
        found = summary(part)
        differ, equal, open_ = (found["words"][word.value] for word in _WORDS)
        cells = [
            kind,
            of,
            f"{found['checks']:,}",
            f"{differ['count']} ({differ['upper_95']:.2%})",
            f"{equal['count']} ({equal['lower_95']:.2%})",
            f"{open_['count']}",
            f"{found['answer_sets']}",
            f"{found['answer_sets_ever_different']} "
            f"({found['answer_sets_ever_different_upper_95']:.2%})",
            f"{found['median_tokens']:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


_WORDS = (Word.DIFFERENT, Word.EQUIVALENT, Word.INCONCLUSIVE)


def alarms(checks: Sequence[Checked]) -> list[str]:
    """Each DIFFERENT with its strongest statistic."""
    return [
        f"DIFFERENT: {one.kind}, {one.of}, {one.answers}, seed {one.seed}: {_strongest(one)}"
        for one in checks
        if one.outcome.word is Word.DIFFERENT
    ]


def _strongest(one: Checked) -> str:
    row = one.outcome.rows[0]
    assert row.value is not None and row.raw is not None
    return (
        f"{row.statistic} in {row.group} is {row.raw / row.tolerance:.3g} tau (clipped "
        f"{row.value / row.tolerance:.3g}) over {row.units} prompts, "
        f"log10 E {row.log10_different:.1f}"
    )


def checks_of(trace: Trace, answers: Path | None, seeds: int) -> Iterator[Checked]:
    """All checks of one trace, class by class."""
    corpus = corpus_of(trace)
    settings = [session.settings(trace, seed=s, alpha=None, beta=None) for s in range(seeds)]
    gamma = of_trace(trace.manifest, str(trace.path)).gamma
    asked = [] if answers is None else [of_file(trace, f) for f in _files(trace, answers)]
    for row in trace.manifest["tolerances"]:
        numerics: str = row["numerics"]
        of = f"{trace.manifest['model']['name']} {numerics}"
        own = [one for one in asked if one.numerics == numerics]
        sets = [*of_pool(trace, numerics), *own]

        def calibrated(
            rest: Sequence[AnswerSet], numerics: str = numerics, of: str = of
        ) -> ClassTolerances:
            announce(f"{of}: tolerances of {len(rest)} answer sets")
            return calibrate(numerics, units(rest, corpus), tuple(corpus.strata), gamma)

        announce(f"{of}: {len(sets)} answer sets, {len(own)} of them asked")
        yield from against_trace(own, corpus, session.tolerances_of(trace, numerics), settings, of)
        yield from left_out(sets, corpus, calibrated, settings, of, LESS_ONE)
        yield from left_out(sets, corpus, calibrated, settings, of, LESS_ALL)


def _files(trace: Trace, answers: Path) -> list[Path]:
    """The answers of configurations that are right, in the order of their table."""
    folders = [folder_of(answers, trace, row.name) for row in BENIGN]
    return [file for folder in folders for file in sorted(folder.glob("at-*.parquet"))]


def document(checks: Sequence[Checked], traces: Sequence[Trace]) -> dict[str, Any]:
    return {
        "schema": 1,
        "traces": [{"name": trace.path.name, "sha256": trace.sha256} for trace in traces],
        "counted": summary([one for one in checks if one.kind in COUNTED]),
        "groups": [
            {"kind": kind, "of": of, **summary(part)}
            for (kind, of), part in grouped(checks).items()
        ],
        "checks": [
            {
                "kind": one.kind,
                "of": one.of,
                "answers": one.answers,
                "seed": one.seed,
                "word": one.outcome.word.value,
                "prompts": one.outcome.prompts,
                "tokens": one.outcome.tokens,
                "strongest": _strongest(one),
            }
            for one in checks
        ],
    }


def announce(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("traces", nargs="+", type=Path, metavar="TRACE")
    parser.add_argument("--answers", type=Path, metavar="DIR", help="of benign_answers")
    parser.add_argument("--seeds", type=int, default=5, help="orders of each answer set")
    parser.add_argument("-o", "--output", type=Path, help="JSON")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"--seeds {options.seeds}: must be 1 or more")
    return options


def run(options: argparse.Namespace) -> int:
    traces = [Trace(path) for path in options.traces]
    checks = [one for trace in traces for one in checks_of(trace, options.answers, options.seeds)]
    print(table(checks))
    print("\n".join(["", *alarms(checks)]))
    counted = [one for one in checks if one.kind in COUNTED]
    if options.output is not None:
        flags = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        content = orjson.dumps(document(checks, traces), option=flags)
        atomic.write_bytes(options.output, content)
    if not acceptable(counted):
        announce(
            f"error_rates: {ONE_IN} checks are needed, of which 1 in {ONE_IN} may be DIFFERENT"
        )
        return 1
    return 0


def main() -> int:
    try:
        return run(arguments())
    except EnginediffError as error:
        announce(f"error_rates: {error}")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
