"""The reference's own texts: what a candidate is held to that gives texts and nothing else.

A member of the trace, recorded with it. Of some 48 short prompts: the greedy answer, with how far
the reference was from choosing otherwise; answers at T = 1; and answers at lower temperatures, from
which the test's own power is known. Those prompts are taken whose recorded continuation the
reference was least sure of: an answer that is always the same shows no sampling.

A streamed reference draws none: a token costs it a pass over all the weights. The trace says so.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.base.case import Chat
from harness.base.record import Generation
from harness.candidate import Opened
from harness.client import flatten, in_parallel, parts
from harness.recording import Recorded, Trace
from launchers.dialect import Tokens
from launchers.pins import OWN
from launchers.reference import ReferenceDialect

Announce = Callable[[str], None]
MEMBER = "samples.parquet"
EACH, MORE = 8, 16  # prompts: of every stratum, and wherever they are least certain
LONGEST = 128  # tokens of a prompt
NEW_TOKENS = 16  # of a sampled answer
GREEDY_TOKENS = 32
OWN_ANSWERS = 36  # at T = 1
CANDIDATE_ANSWERS = 12  # that are asked of a candidate, a prompt
GROUPS = 2  # of as many, at each lower temperature
LOWER = (0.8, 0.6)
SEED = 20260202
AT_ONCE = 128  # sequences in a request and in a batch: half the time of 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What the reference answers to one prompt."""

    row: int  # of the trace
    prefixes: tuple[str, ...]  # (n,) the greedy answer up to each token
    margins: tuple[float, ...]  # (n,) nats: top-1 less top-2
    stopped: bool  # the greedy answer ended by itself
    answers: Mapping[float, tuple[str, ...]]  # temperature -> texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """All of them; none, and why not."""

    prompts: tuple[Sampled, ...]
    left_out: str | None


def members(opened: Opened, rows: Iterable[Recorded], announce: Announce) -> dict[str, bytes]:
    """What is to be added to a trace of `rows`: the texts of its running reference."""
    dialect = opened.asker.dialect
    assert isinstance(dialect, ReferenceDialect)
    if dialect.streamed:
        why = "its reference streams its weights, and each token would cost a pass over them all"
        return {MEMBER: written(Samples(prompts=(), left_out=why))}
    chosen = _chosen(_able(rows))
    announce(f"texts of the reference's own, of {len(chosen)} prompts")
    return {MEMBER: written(_drawn(opened, dialect, chosen))}


def read(trace: Trace) -> Samples:
    """Those of a trace; none where an older enginediff recorded it."""
    content = trace.member(MEMBER)
    if content is None:
        return Samples(prompts=(), left_out="it was recorded before there were any")
    table = pq.read_table(io.BytesIO(content))
    why = (table.schema.metadata or {}).get(b"left_out")
    return Samples(
        prompts=tuple(map(_sampled, table.to_pylist())),
        left_out=None if why is None else why.decode(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prompt:
    """One prompt of the trace that could be taken."""

    row: int
    stratum: str
    tokens: Tokens
    entropy: float  # nats a token, of what follows


def _able(rows: Iterable[Recorded]) -> list[_Prompt]:
    """Short prompts without tools, the least certain first."""
    able = [
        _Prompt(
            row=row,
            stratum=one.case.stratum,
            tokens=one.token_ids[: one.prompt_tokens],
            entropy=_entropy(one),
        )
        for row, one in enumerate(rows)
        if one.prompt_tokens <= LONGEST
        and not (isinstance(one.case.prompt, Chat) and one.case.prompt.tools)
    ]
    return sorted(able, key=lambda one: -one.entropy)


def _chosen(able: Sequence[_Prompt]) -> list[_Prompt]:
    """Some of every stratum, and more of the least certain; those alike in length batch well."""
    by_stratum: dict[str, list[_Prompt]] = {}
    for one in able:
        by_stratum.setdefault(one.stratum, []).append(one)
    of_each = {one.row: one for members in by_stratum.values() for one in members[:EACH]}
    further = [one for one in able if one.row not in of_each][:MORE]
    return sorted([*of_each.values(), *further], key=lambda one: (len(one.tokens), one.row))


def _entropy(one: Recorded) -> float:
    """Of what follows the prompt: nats a token, by the alternatives that were recorded."""
    top = one.scores.slice(one.prompt_tokens - 1, one.prompt_tokens - 1 + NEW_TOKENS).top_logprobs
    return float(-(np.exp(top) * top).sum(axis=1).mean())


def _drawn(opened: Opened, dialect: ReferenceDialect, chosen: Sequence[_Prompt]) -> Samples:
    prompts = [one.tokens for one in chosen]

    def generations(temperature: float, count: int, new_tokens: int) -> list[list[Generation]]:
        found = _generations(opened, dialect, prompts, temperature, count, new_tokens)
        return [found[start : start + count] for start in range(0, len(found), count)]

    greedy = flatten(generations(0.0, 1, GREEDY_TOKENS))
    counts = {1.0: OWN_ANSWERS, **dict.fromkeys(LOWER, GROUPS * CANDIDATE_ANSWERS)}
    drawn = {t: generations(t, count, NEW_TOKENS) for t, count in counts.items()}
    spelt = _spelt(opened, dialect, [*greedy, *flatten([flatten(of) for of in drawn.values()])])
    return Samples(
        prompts=tuple(
            Sampled(
                row=one.row,
                prefixes=tuple(spelt[greedy[at].token_ids[:n]] for n in _lengths(greedy[at])),
                margins=tuple(_margins(greedy[at])),
                stopped=greedy[at].finish_reason == "stop",
                answers={
                    temperature: tuple(spelt[drawn_one.token_ids] for drawn_one in of[at])
                    for temperature, of in drawn.items()
                },
            )
            for at, one in enumerate(chosen)
        ),
        left_out=None,
    )


def _generations(
    opened: Opened,
    dialect: ReferenceDialect,
    prompts: Sequence[Tokens],
    temperature: float,
    count: int,
    new_tokens: int,
) -> list[Generation]:
    """`count` of each prompt, a seed each."""

    def ask(part: Sequence[tuple[int, Tokens]]) -> list[Generation]:
        request = dialect.generate(
            [prompt for _, prompt in part],
            max_new_tokens=new_tokens,
            sampling=replace(OWN, temperature=temperature),
            seeds=[SEED + round(1000 * temperature) * 1_000_000 + number for number, _ in part],
            top_k=2,
            batch=AT_ONCE,
        )
        return dialect.generated(opened.asker.endpoint.send(request), 2)

    every = list(enumerate(prompt for prompt in prompts for _ in range(count)))
    return flatten(in_parallel(ask, parts(every, AT_ONCE), 1))


def _lengths(one: Generation) -> range:
    return range(1, len(one.token_ids) + 1)


def _margins(one: Generation) -> list[float]:
    return (one.scores.top_logprobs[:, 0] - one.scores.top_logprobs[:, 1]).tolist()


def _spelt(
    opened: Opened, dialect: ReferenceDialect, generations: Sequence[Generation]
) -> dict[Tokens, str]:
    """How every beginning of the greedy answers and every other answer reads."""
    order = sorted({one.token_ids[:n] for one in generations for n in _lengths(one)})
    answer = opened.asker.endpoint.send(dialect.decode(order))
    return dict(zip(order, dialect.decoded(answer, len(order)), strict=True))


SCHEMA = pa.schema(
    [
        ("row", pa.int32()),
        ("prefixes", pa.list_(pa.string())),  # (n,)
        ("margins", pa.list_(pa.float64())),  # (n,)
        ("stopped", pa.bool_()),
        ("temperatures", pa.list_(pa.float64())),  # (T,)
        ("texts", pa.list_(pa.list_(pa.string()))),  # (T,)
    ]
)


def written(samples: Samples) -> bytes:
    """The member of a trace."""
    rows: list[dict[str, Any]] = [
        {
            "row": one.row,
            "prefixes": one.prefixes,
            "margins": one.margins,
            "stopped": one.stopped,
            "temperatures": list(one.answers),
            "texts": list(one.answers.values()),
        }
        for one in samples.prompts
    ]
    schema = SCHEMA
    if samples.left_out is not None:
        schema = schema.with_metadata({"left_out": samples.left_out})
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def _sampled(row: Mapping[str, Any]) -> Sampled:
    texts = zip(row["temperatures"], map(tuple, row["texts"]), strict=True)
    return Sampled(
        row=row["row"],
        prefixes=tuple(row["prefixes"]),
        margins=tuple(row["margins"]),
        stopped=row["stopped"],
        answers=dict(texts),
    )
