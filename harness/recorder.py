"""Records a trace: what the reference says, and how far apart right answers lie.

render       every prompt of the corpus through the reference's template and tokenizer
continue     the reference's own tokens, sampled at T = 1, a seed per case; or another engine's: a
             token costs a streamed reference a pass over all the weights
score        the logprobs and the top k of prompt and continuation, one sequence at a time
pool         the same sequences by every benign configuration of every numerics class
calibrate    tolerances, per class and stratum
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harness import recording
from harness.base.case import Case
from harness.base.errors import ConfigError
from harness.base.record import Generation
from harness.candidate import Opened
from harness.checker import forced
from harness.checker.distance import between
from harness.checker.picture import Histogram
from harness.checker.tolerance import ClassTolerances, calibrate
from harness.client import BUSY, flatten, in_parallel, parts
from harness.recording import PoolUnit, Recorded, Token
from launchers.dialect import Tokens, Variant
from launchers.pins import OWN, tokenizer_hash
from launchers.reference import ReferenceDialect

Announce = Callable[[str], None]
# Prompts -> their continuations, and who made them: title, pin and identity.
Continue = Callable[[Sequence[Tokens]], tuple[list[Generation], dict[str, Any]]]
TOP_K = 20  # vLLM's own limit
NEW_TOKENS = 48  # of the reference's own, after each prompt
SEED = 20260101  # of the sampled continuations: case i has SEED + i
RECIPE = 1  # raised when a trace of the same pin and corpus would come out otherwise


def record(
    opened: Opened,
    cases: Sequence[Case],
    *,
    corpus: str,
    path: Path,
    announce: Announce,
    classes: Sequence[str],
    continue_by: Continue | None = None,
) -> None:
    """Writes the trace of a running reference to `path`. Raises before anything is written.

    `continue_by`: instead of the reference itself.
    """
    reference = _reference(opened)
    sampling: dict[str, Any] = {"temperature": 1.0, "seed": SEED, "new_tokens": NEW_TOKENS}
    prompts = _prompts(opened, cases, announce)
    if continue_by is None:
        generations = continued(opened, prompts, announce)
    else:
        generations, sampling["continued_by"] = continue_by(prompts)
    sequences = _scored(opened, cases, prompts, generations, announce)
    vocabulary = _vocabulary(opened, reference, sequences, announce)
    pool: list[PoolUnit] = []
    for numerics in classes:
        for variant in reference.pool(numerics):
            announce(f"pool {numerics}: {variant.name}")
            pool += _pool_units(opened, reference, sequences, numerics, variant)
    strata = tuple(dict.fromkeys(case.stratum for case in cases))
    manifest = {
        "top_k": TOP_K,
        "model": _model(opened),
        "reference": opened.described(),
        "corpus": {"sha256": corpus, "prompts": len(cases), "strata": list(strata)},
        "sampling": sampling,
        "tolerances": [asdict(t) for t in _tolerances(pool, classes, strata)],
        "benign": {numerics: _band(pool, sequences, vocabulary, numerics) for numerics in classes},
    }
    announce(f"writing {path}")
    recording.write(path, manifest=manifest, sequences=sequences, pool=pool, vocabulary=vocabulary)


def _reference(opened: Opened) -> ReferenceDialect:
    dialect = opened.asker.dialect
    if not isinstance(dialect, ReferenceDialect):
        raise ConfigError(
            f"{opened.title} is {dialect.engine}; a trace is recorded from the reference engine, "
            "which alone has a second implementation for the benign pool (pin MODEL/reference)"
        )
    return dialect


def _model(opened: Opened) -> dict[str, Any]:
    assert opened.pin is not None or opened.identity
    if opened.pin is None:
        return {"name": opened.identity["model"], "revision": None, "tokenizer": None}
    model = opened.pin.pin.model
    return {
        "name": model.name,
        "revision": model.revision,
        "tokenizer": tokenizer_hash(model.files),
    }


def _prompts(opened: Opened, cases: Sequence[Case], announce: Announce) -> list[Tokens]:
    announce(f"rendering {len(cases)} prompts")
    return opened.asker.render([case.prompt for case in cases])


def continued(opened: Opened, prompts: Sequence[Tokens], announce: Announce) -> list[Generation]:
    """Each prompt's continuation by an engine, sampled at T = 1 with a seed of its own."""
    asker = opened.asker
    size = asker.dialect.sequences_per_request
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # alike ones batch well
    found: dict[int, Generation] = {}
    for done, part in enumerate(parts(order, size)):
        announce(f"continuing prompts: {done * size} of {len(prompts)}")
        generations = asker.generate(
            [prompts[i] for i in part],
            max_new_tokens=NEW_TOKENS,
            sampling=OWN,
            seeds=[SEED + i for i in part],
            top_k=TOP_K,
            at_once=BUSY,
        )
        found |= dict(zip(part, generations, strict=True))
    return [found[i] for i in range(len(prompts))]


def _scored(
    opened: Opened,
    cases: Sequence[Case],
    prompts: Sequence[Tokens],
    generations: Sequence[Generation],
    announce: Announce,
) -> list[Recorded]:
    pairs = zip(prompts, generations, strict=True)
    tokens = [prompt + generation.token_ids for prompt, generation in pairs]
    announce(f"scoring {sum(map(len, tokens)):,} tokens")
    scores = opened.asker.score(tokens, TOP_K, at_once=2)
    return [
        Recorded(case=case, token_ids=t, prompt_tokens=len(prompt), scores=s)
        for case, prompt, t, s in zip(cases, prompts, tokens, scores, strict=True)
    ]


def _pool_units(
    opened: Opened,
    reference: ReferenceDialect,
    sequences: Sequence[Recorded],
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

    return flatten(in_parallel(ask, parts(sequences, variant.sequences_per_request), 2))


def _tolerances(
    pool: Sequence[PoolUnit], classes: Sequence[str], strata: Sequence[str]
) -> list[ClassTolerances]:
    return [calibrate(n, [u for u in pool if u.numerics == n], strata) for n in classes]


def _band(
    pool: Sequence[PoolUnit],
    sequences: Sequence[Recorded],
    vocabulary: dict[int, Token],
    numerics: str,
) -> dict[str, Any]:
    """What the report draws beside a candidate: |d| of the whole pool of a class."""
    classes = np.zeros(max(vocabulary) + 1, dtype=np.int64)
    for i, token in vocabulary.items():
        classes[i] = forced.token_class(token)
    by_case = {recorded.case.id: recorded for recorded in sequences}
    histogram, breakdown = Histogram(), forced.Breakdown()
    for unit in pool:
        if unit.numerics == numerics:
            recorded = by_case[unit.case_id]
            histogram.add(unit.distance.d)
            ids = np.array(recorded.token_ids[1:])
            breakdown.add(unit.distance.d, classes[ids], recorded.prompt_tokens)
    return {"histogram": histogram.table(), **breakdown.table()}


def _vocabulary(
    opened: Opened,
    reference: ReferenceDialect,
    sequences: Sequence[Recorded],
    announce: Announce,
) -> dict[int, Token]:
    announce("reading the vocabulary")
    ids = sorted({i for r in sequences for i in (*r.token_ids, *r.scores.top_ids.ravel().tolist())})
    texts, special = reference.detokenized(opened.asker.endpoint.send(reference.detokenize(ids)))
    return {i: Token(text=t, special=s) for i, t, s in zip(ids, texts, special, strict=True)}
