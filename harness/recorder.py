"""Records a trace: what the reference says, and how far apart right answers lie.

render       every prompt of the corpus through the reference's template and tokenizer
continue     the reference's own tokens, sampled at T = 1; `sequences` says when by another engine
score        the logprobs and the top k of prompt and continuation, one sequence at a time
pool         the same sequences by every benign configuration of every numerics class
calibrate    tolerances, per class and stratum
samples      the reference's own texts, for a candidate that gives texts alone
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harness import recording, samples, sequences, templates
from harness.base.case import Case
from harness.base.errors import ConfigError
from harness.candidate import Opened
from harness.checker import forced
from harness.checker.distance import between
from harness.checker.picture import Histogram
from harness.checker.tolerance import ClassTolerances, calibrate
from harness.client import flatten, in_parallel, parts
from harness.recording import PoolUnit, Recorded, Token
from harness.sequences import NEW_TOKENS, SEED, Open, Told
from launchers.dialect import Variant
from launchers.pins import tokenizer_hash
from launchers.reference import ReferenceDialect

Announce = Callable[[str], None]
TOP_K = 20  # vLLM's own limit
RECIPE = 2  # raised when a trace of the same pin and corpus would come out otherwise


def record(
    opened: Opened,
    cases: Sequence[Case],
    *,
    corpus: str,
    path: Path,
    announce: Announce,
    classes: Sequence[str],
    continue_by: Open | None = None,
    texts: bool = True,
) -> None:
    """Writes the trace of a running reference to `path`. Raises before anything is written.

    `continue_by`: opens the engine that continues the prompts instead of the reference.
    `texts`: with texts of the reference's own, for candidates that give nothing else.
    """
    reference = _reference(opened)
    sampling: dict[str, Any] = {"temperature": 1.0, "seed": SEED, "new_tokens": NEW_TOKENS}
    told = sequences.told(opened, cases, TOP_K, announce, continue_by)
    if told.continued_by is not None:
        sampling["continued_by"] = told.continued_by
    rows = _scored(opened, cases, told, announce)
    vocabulary = _vocabulary(opened, told, rows, announce)
    pool: list[PoolUnit] = []
    for numerics in classes:
        for variant in reference.pool(numerics):
            announce(f"pool {numerics}: {variant.name}")
            pool += _pool_units(opened, reference, rows, numerics, variant)
    strata = tuple(dict.fromkeys(case.stratum for case in cases))
    manifest = {
        "top_k": TOP_K,
        "model": _model(opened, told),
        "reference": opened.described(),
        "corpus": {"sha256": corpus, "prompts": len(cases), "strata": list(strata)},
        "sampling": sampling,
        "tolerances": [asdict(t) for t in _tolerances(pool, classes, strata)],
        "benign": {numerics: _band(pool, rows, vocabulary, numerics) for numerics in classes},
    }
    if told.rendered_by is not None:
        manifest["rendered_by"] = told.rendered_by
    more = samples.members(opened, rows, announce) if texts else {}
    announce(f"writing {path}")
    recording.write(
        path,
        manifest=manifest,
        sequences=rows,
        pool=pool,
        vocabulary=vocabulary,
        more={**templates.recorded(opened, announce), **more},
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


def _scored(
    opened: Opened,
    cases: Sequence[Case],
    told: Told,
    announce: Announce,
) -> list[Recorded]:
    pairs = zip(told.prompts, told.generations, strict=True)
    tokens = [prompt + generation.token_ids for prompt, generation in pairs]
    announce(f"scoring {sum(map(len, tokens)):,} tokens")
    scores = opened.asker.score(tokens, TOP_K, at_once=2)
    return [
        Recorded(case=case, token_ids=t, prompt_tokens=len(prompt), scores=s)
        for case, prompt, t, s in zip(cases, told.prompts, tokens, scores, strict=True)
    ]


def _pool_units(
    opened: Opened,
    reference: ReferenceDialect,
    rows: Sequence[Recorded],
    numerics: str,
    variant: Variant,
) -> list[PoolUnit]:
    def ask(part: Sequence[Recorded]) -> list[PoolUnit]:
        tokens = [recorded.token_ids for recorded in part]
        answer = opened.asker.endpoint.send(reference.score_as(tokens, TOP_K, variant))
        scores = reference.scored(answer, tokens, TOP_K)
        return [
            PoolUnit(
                numerics=numerics,
                configuration=variant.name,
                implementation=variant.implementation,
                stratum=recorded.case.stratum,
                case_id=recorded.case.id,
                distance=between(recorded.scores, s),
            )
            for recorded, s in zip(part, scores, strict=True)
        ]

    return flatten(in_parallel(ask, parts(rows, variant.sequences_per_request), 2))


def _tolerances(
    pool: Sequence[PoolUnit], classes: Sequence[str], strata: Sequence[str]
) -> list[ClassTolerances]:
    return [calibrate(n, [u for u in pool if u.numerics == n], strata) for n in classes]


def _band(
    pool: Sequence[PoolUnit],
    rows: Sequence[Recorded],
    vocabulary: dict[int, Token],
    numerics: str,
) -> dict[str, Any]:
    """What the report draws beside a candidate: |d| of the whole pool of a class."""
    classes = np.zeros(max(vocabulary) + 1, dtype=np.int64)
    for i, token in vocabulary.items():
        classes[i] = forced.token_class(token)
    by_case = {recorded.case.id: recorded for recorded in rows}
    histogram, breakdown = Histogram(), forced.Breakdown()
    for unit in pool:
        if unit.numerics == numerics:
            recorded = by_case[unit.case_id]
            histogram.add(unit.distance.d)
            ids = np.array(recorded.token_ids[1:])
            breakdown.add(unit.distance.d, classes[ids], recorded.prompt_tokens)
    return {"histogram": histogram.table(), **breakdown.table()}


def _vocabulary(
    opened: Opened, told: Told, rows: Sequence[Recorded], announce: Announce
) -> dict[int, Token]:
    """How each token id that occurs reads."""
    ids = sorted({i for r in rows for i in (*r.token_ids, *r.scores.top_ids.ravel().tolist())})
    words = sequences.words(opened, ids, announce) if told.words is None else told.words
    return {i: words[i] for i in ids}
