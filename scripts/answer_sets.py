"""Answers to all sequences of a trace, and what a check's L2 says of them: no engine is asked.

An answer set is what one configuration computed at one load. It is judged as in a check: the same
rounds, strata in turn, the same share of alpha, no further than the word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness import evidence
from harness.base.errors import ConfigError
from harness.base.record import Distance
from harness.checker import forced
from harness.checker.judge import STATISTICS, Judge, Statistic
from harness.checker.outcome import StatisticRow, Word
from harness.checker.shares import SHARES
from harness.checker.tolerance import ClassTolerances
from harness.levels.state import Settings
from harness.recording import PoolUnit, Trace

KIN = {"ktransformers": "sglang"}  # whose fork it is: not independent of each other


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What was asked. A subset holds fewer rows, and is a population of its own."""

    strata: Mapping[str, Sequence[int]]  # the rows of each
    tokens_of: Sequence[int]  # by row of the trace

    def half(self, seed: int) -> Corpus:
        """A random half of each stratum."""
        return Corpus(
            strata={
                name: sorted(
                    forced.permutation(rows, seed=seed, name=f"half of {name}")[: len(rows) // 2]
                )
                for name, rows in self.strata.items()
            },
            tokens_of=self.tokens_of,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSet:
    """All sequences of a trace as one configuration computed them, against the reference."""

    configuration: str
    load: int | None  # requests in flight; None: as the recorder asked
    implementation: str
    numerics: str
    distances: tuple[Distance, ...]  # by row of the trace
    digest: str  # equal where answers are equal to the bit

    @property
    def name(self) -> str:
        return self.configuration if self.load is None else f"{self.configuration} at {self.load}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What L2 said of one answer set in one order."""

    word: Word
    prompts: int
    tokens: int  # of the sequences drawn
    rows: tuple[StatisticRow, ...]  # the strongest evidence for DIFFERENT first


def judged(
    distances: Sequence[Distance],
    corpus: Corpus,
    tolerances: ClassTolerances,
    settings: Settings,
    statistics: Sequence[Statistic] = STATISTICS,
) -> Outcome:
    """As `levels.forced` does while it asks."""
    judge = Judge(
        level="L2",
        statistics=statistics,
        groups={s: (len(rows), tolerances.of(s)) for s, rows in corpus.strata.items()},
        alpha=settings.alpha * SHARES["L2"],
        beta=settings.beta,
        together=True,
    )
    stratum_of = {row: s for s, rows in corpus.strata.items() for row in rows}
    orders = {
        s: forced.permutation(rows, seed=settings.seed, name=s) for s, rows in corpus.strata.items()
    }
    drawn: list[int] = []
    for rows in forced.rounds(judge, orders):
        for row in rows:
            judge.add(stratum_of[row], distances[row])
        drawn += rows
    tokens = sum(corpus.tokens_of[row] for row in drawn)
    return Outcome(word=judge.word(), prompts=len(drawn), tokens=tokens, rows=judge.rows())


def corpus_of(trace: Trace) -> Corpus:
    return Corpus(strata={s: trace.members(s) for s in trace.strata}, tokens_of=trace.tokens_of)


def of_pool(trace: Trace, numerics: str) -> list[AnswerSet]:
    """The configurations that a class of the trace was calibrated with."""
    found: dict[tuple[str, str], dict[str, Distance]] = {}
    for unit in trace.pool().only(numerics):
        key = (unit.configuration, unit.implementation)
        found.setdefault(key, {})[unit.case_id] = unit.distance
    return [
        answer_set(trace.case_ids, by_case, name, None, implementation, numerics)
        for (name, implementation), by_case in found.items()
    ]


def of_file(trace: Trace, file: Path) -> AnswerSet:
    """What `benign_answers` wrote; ConfigError where a sequence of the trace is missing."""
    engine_file = file.parent / "engine.json"
    if not (file.is_file() and engine_file.is_file()):
        raise ConfigError(
            f"{file}: there is no answer file of `scripts.benign_answers` (at-LOAD.parquet, beside "
            "its engine.json)"
        )
    described: dict[str, Any] = orjson.loads(engine_file.read_bytes())
    engine = described["pin"]["environment"].partition("-")[0]
    by_case = {one.case_id: one.distance for one in evidence.answered(file, level="L2")}
    missing = len(set(trace.case_ids) - by_case.keys())
    if missing:
        raise ConfigError(f"{file}: {missing} of {len(trace)} sequences of {trace.path} are not in")
    load = int(file.stem.removeprefix("at-"))
    name, numerics = file.parent.name, described["numerics"]
    return answer_set(trace.case_ids, by_case, name, load, KIN.get(engine, engine), numerics)


def answer_set(
    case_ids: Sequence[str],
    by_case: Mapping[str, Distance],
    configuration: str,
    load: int | None,
    implementation: str,
    numerics: str,
) -> AnswerSet:
    distances = tuple(by_case[case] for case in case_ids)
    digest = hashlib.sha256()
    for distance in distances:
        digest.update(distance.d.astype("f4"))
        digest.update(distance.divergence.astype("f4"))
    return AnswerSet(
        configuration=configuration,
        load=load,
        implementation=implementation,
        numerics=numerics,
        distances=distances,
        digest=digest.hexdigest(),
    )


def units(sets: Iterable[AnswerSet], corpus: Corpus) -> list[PoolUnit]:
    """A benign pool of answer sets; each load of a configuration is one of its own."""
    return [
        PoolUnit(
            numerics=one.numerics,
            configuration=one.name,
            implementation=one.implementation,
            stratum=stratum,
            case_id=str(row),
            distance=one.distances[row],
        )
        for one in sets
        for stratum, rows in corpus.strata.items()
        for row in rows
    ]
