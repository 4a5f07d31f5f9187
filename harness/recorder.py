"""Records a trace: what the reference says, and how far apart right answers lie.

render       every prompt of the corpus through the reference's template and tokenizer
continue     the reference's own tokens, sampled at T = 1; `sequences` says when by another engine
score        the logprobs and the top k of prompt and continuation
pool         the same sequences by every benign configuration of every numerics class: those that
             the reference computes, and other engines that are known to be right
calibrate    tolerances, per class and stratum
samples      the reference's own texts, for a candidate that gives texts alone

What is scored is written as it comes and read back, a batch of tokens at a time: of what grows with
the trace, the corpus and its token ids alone are held.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from harness import recording, samples, sequences, templates
from harness.base.case import Case
from harness.base.errors import ConfigError
from harness.base.record import Distance
from harness.candidate import Opened
from harness.checker import forced
from harness.checker.calibration import AGREED, Calibration
from harness.checker.distance import between
from harness.checker.picture import Histogram
from harness.checker.tolerance import calibrate, evidently_wrong
from harness.client import BUSY, flatten, in_parallel, parts
from harness.recording import PoolUnit, Recorded, Token
from harness.row_groups import Pool
from harness.sequences import NEW_TOKENS, SEED, Open, Told
from launchers.dialect import Tokens, Variant
from launchers.pins import tokenizer_hash
from launchers.reference import ReferenceDialect

Announce = Callable[[str], None]
T = TypeVar("T")
TOP_K = 20  # vLLM's own limit
RECIPE = 2  # raised when a trace of the same pin and corpus would come out otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A further engine known to be right, whose answers widen the benign pool of its class."""

    title: str
    numerics: str
    open: Open


def record(
    opened: Opened,
    cases: Sequence[Case],
    *,
    corpus: str,
    path: Path,
    announce: Announce,
    classes: Sequence[str],
    continue_by: Open | None = None,
    calibration: Calibration = AGREED,
    further: Sequence[Known] = (),
    longest: int | None = None,
    texts: bool = True,
) -> None:
    """Writes the trace of a running reference to `path`, whole or not at all.

    `continue_by`: opens the engine that continues the prompts instead of the reference.
    `texts`: with texts of the reference's own, for candidates that give nothing else.
    `longest`: tokens up to which strata of long prompts are added to `cases`; None: none is.
    ConfigError where one of `further` is evidently not right.
    """
    reference = _reference(opened)
    told = sequences.told(opened, cases, TOP_K, announce, continue_by, longest)
    with recording.writing(path) as trace:
        rows = trace.sequences(_scored(opened, reference, told, announce))
        vocabulary = _vocabulary(opened, told, rows, announce)
        bands = {numerics: _Band(vocabulary) for numerics in classes}
        pool = trace.pool(_pool_units(opened, reference, rows, classes, further, bands, announce))
        strata = tuple(dict.fromkeys(case.stratum for case in told.cases))
        announce("calibrating")
        _refuse_evidently_wrong(pool, further)
        tolerances = [calibrate(n, pool.only(n), strata, calibration.gamma) for n in classes]
        announce(f"writing {path}")
        trace.finish(
            manifest={
                "top_k": TOP_K,
                "model": _model(opened, told),
                "reference": opened.described(),
                "corpus": {
                    "sha256": corpus,
                    "prompts": len(told.cases),
                    "strata": list(strata),
                    "longest": longest,
                },
                "sampling": _sampling(told),
                "calibration": asdict(calibration),
                "tolerances": [asdict(t) for t in tolerances],
                "benign": {numerics: band.table() for numerics, band in bands.items()},
                **({} if told.rendered_by is None else {"rendered_by": told.rendered_by}),
            },
            vocabulary=vocabulary,
            more={
                **templates.recorded(opened, announce),
                **(samples.members(opened, rows, announce) if texts else {}),
            },
        )


def _reference(opened: Opened) -> ReferenceDialect:
    dialect = opened.asker.dialect
    if not isinstance(dialect, ReferenceDialect):
        raise ConfigError(
            f"{opened.title} is {dialect.engine}; a trace is recorded from the reference engine, "
            "which alone has a second implementation for the benign pool (pin MODEL/reference)"
        )
    return dialect


def _model(opened: Opened, told: Told) -> dict[str, Any]:
    """Of the reference; the tokenizer is that of the engine that rendered the prompts."""
    party = opened.described() if told.rendered_by is None else told.rendered_by
    tokenizer = None if party["pin"] is None else tokenizer_hash(party["pin"]["model_files"])
    if opened.pin is None:
        return {"name": opened.identity["model"], "revision": None, "tokenizer": tokenizer}
    model = opened.pin.pin.model
    return {"name": model.name, "revision": model.revision, "tokenizer": tokenizer}


def _sampling(told: Told) -> dict[str, Any]:
    """How the continuations came about."""
    sampling: dict[str, Any] = {"temperature": 1.0, "seed": SEED, "new_tokens": NEW_TOKENS}
    if told.continued_by is not None:
        sampling["continued_by"] = told.continued_by
    return sampling


def _scored(
    opened: Opened, reference: ReferenceDialect, told: Told, announce: Announce
) -> Iterator[Recorded]:
    """Every sequence with the reference's scores, as they come."""
    whole = (
        (case, prompt, prompt + continuation)
        for case, prompt, continuation in zip(
            told.cases, told.prompts, told.continuations, strict=True
        )
    )
    done = 0
    for batch in _batches(whole, lambda row: len(row[2]), reference.tokens_at_once):
        announce(f"scoring: {done:,} of {len(told.cases):,} sequences")
        scores = opened.asker.score([tokens for _, _, tokens in batch], TOP_K, at_once=2)
        for (case, prompt, tokens), s in zip(batch, scores, strict=True):
            yield Recorded(case=case, token_ids=tokens, prompt_tokens=len(prompt), scores=s)
        done += len(batch)


def _pool_units(
    opened: Opened,
    reference: ReferenceDialect,
    rows: Iterable[Recorded],
    classes: Sequence[str],
    further: Sequence[Known],
    bands: Mapping[str, _Band],
    announce: Announce,
) -> Iterator[PoolUnit]:
    """Every sequence as every benign configuration computes it, the reference's own first."""
    ways = [(numerics, v) for numerics in classes for v in reference.pool(numerics)]
    for numerics, variant in ways:
        announce(f"pool {numerics}: {variant.name}")
        for batch in _batches(rows, _tokens, reference.tokens_at_once):
            distances = _by_variant(opened, reference, batch, variant)
            name, implementation = variant.name, variant.implementation
            yield from _units(batch, distances, numerics, name, implementation, bands)
    for known in further:
        with known.open() as other:
            announce(f"pool {known.numerics}: {known.title}")
            for batch in _batches(rows, _tokens, reference.tokens_at_once):
                distances = _by_another(other, batch)
                implementation = other.asker.dialect.engine
                yield from _units(
                    batch, distances, known.numerics, known.title, implementation, bands
                )


def _by_variant(
    opened: Opened, reference: ReferenceDialect, batch: Sequence[Recorded], variant: Variant
) -> list[Distance]:
    def ask(part: Sequence[Recorded]) -> list[Distance]:
        tokens: list[Tokens] = [recorded.token_ids for recorded in part]
        answer = opened.asker.endpoint.send(reference.score_as(tokens, TOP_K, variant))
        scores = reference.scored(answer, tokens, TOP_K)
        return [between(r.scores, s) for r, s in zip(part, scores, strict=True)]

    return flatten(in_parallel(ask, parts(batch, variant.sequences_per_request), 2))


def _by_another(other: Opened, batch: Sequence[Recorded]) -> list[Distance]:
    scores = other.asker.score([r.token_ids for r in batch], TOP_K, at_once=BUSY)
    return [between(r.scores, s) for r, s in zip(batch, scores, strict=True)]


def _units(
    batch: Sequence[Recorded],
    distances: Sequence[Distance],
    numerics: str,
    configuration: str,
    implementation: str,
    bands: Mapping[str, _Band],
) -> Iterator[PoolUnit]:
    """A unit a sequence; the band of the class is told of each."""
    for recorded, distance in zip(batch, distances, strict=True):
        bands[numerics].add(recorded, distance)
        yield PoolUnit(
            numerics=numerics,
            configuration=configuration,
            implementation=implementation,
            stratum=recorded.case.stratum,
            case_id=recorded.case.id,
            distance=distance,
        )


def _tokens(recorded: Recorded) -> int:
    return len(recorded.token_ids)


def _batches(rows: Iterable[T], tokens_of: Callable[[T], int], most: int) -> Generator[list[T]]:
    """`rows` in runs of about `most` tokens, of a row at least."""
    batch: list[T] = []
    tokens = 0
    for row in rows:
        batch.append(row)
        tokens += tokens_of(row)
        if tokens >= most:
            yield batch
            batch, tokens = [], 0
    if batch:
        yield batch


def _refuse_evidently_wrong(pool: Pool, further: Sequence[Known]) -> None:
    """An engine that is not right would hide every fault that is smaller than its own."""
    for numerics in dict.fromkeys(known.numerics for known in further):
        suspects = {known.title for known in further if known.numerics == numerics}
        found = evidently_wrong(pool.only(numerics), suspects)
        if found:
            raise ConfigError(
                f"the benign pool of {numerics} is not calibrated with an engine that is evidently "
                f"not right: {'; '.join(found)}; leave its --pool out, or mend it"
            )


class _Band:
    """What the report draws beside a candidate: |d| of the whole pool of a class."""

    def __init__(self, vocabulary: Mapping[int, Token]) -> None:
        self._classes = np.zeros(max(vocabulary) + 1, dtype=np.int64)
        for i, token in vocabulary.items():
            self._classes[i] = forced.token_class(token)
        self._histogram, self._breakdown = Histogram(), forced.Breakdown()

    def add(self, recorded: Recorded, distance: Distance) -> None:
        ids = np.array(recorded.token_ids[1:])
        self._histogram.add(distance.d)
        self._breakdown.add(distance.d, self._classes[ids], recorded.prompt_tokens)

    def table(self) -> dict[str, Any]:
        return {"histogram": self._histogram.table(), **self._breakdown.table()}


def _vocabulary(
    opened: Opened, told: Told, rows: Iterable[Recorded], announce: Announce
) -> dict[int, Token]:
    """How each token id that occurs reads."""
    found: set[int] = set()
    for recorded in rows:
        found.update(recorded.token_ids, np.unique(recorded.scores.top_ids).tolist())
    ids = sorted(found)
    words = sequences.words(opened, ids, announce) if told.words is None else told.words
    return {i: words[i] for i in ids}
