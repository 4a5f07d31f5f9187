"""The sequences that a trace is of: prompts and their continuations, and how their tokens read.

The reference tells all three. Another engine may continue the prompts: a token costs a streamed
reference a pass over all the weights. Where the reference has no tokenizer, as with Kimi's, which
is code of its own that it does not run, that engine renders the prompts and reads the ids as well.

Trade-off accepted: it is then asked for every id of the vocabulary before anything is scored, in
vLLM's case with a request for each, and not later for those that occur. A streamed reference scores
for hours: the engine need not be held that long, nor be there at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from harness.base.case import Case
from harness.base.errors import ConfigError, RequestError
from harness.base.record import Generation
from harness.candidate import Opened
from harness.client import BUSY, flatten, in_parallel, parts
from harness.recording import Token
from launchers.dialect import Detokenizing, Tokens
from launchers.pins import OWN

Announce = Callable[[str], None]
Open = Callable[[], AbstractContextManager[Opened]]
NEW_TOKENS = 48  # after each prompt
SEED = 20260101  # of the sampled continuations: case i has SEED + i


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What engines said before anything was scored, and who they were if not the reference."""

    prompts: list[Tokens]
    generations: list[Generation]  # one a prompt
    words: Mapping[int, Token] | None  # of the whole vocabulary; None: ask the reference
    continued_by: dict[str, Any] | None  # as `Opened.described`, and so is the other
    rendered_by: dict[str, Any] | None


def told(
    reference: Opened,
    cases: Sequence[Case],
    top_k: int,
    announce: Announce,
    elsewhere: Open | None,
) -> Told:
    """`elsewhere`: opens the engine that continues the prompts; None: the reference does.

    Raises ConfigError where nobody can render the prompts, or say how token ids read.
    """
    lacking: str | None = reference.identity["no_tokenizer"]
    if lacking is not None and elsewhere is None:
        raise ConfigError(without_tokenizer(reference.title, lacking))
    prompts = None if lacking is not None else _rendered(reference, cases, announce)
    vocabulary, rendered_by = None, None
    with nullcontext(reference) if elsewhere is None else elsewhere() as other:
        if prompts is None:
            vocabulary = words(other, range(reference.identity["vocab_size"]), announce)
            prompts = _rendered(other, cases, announce)
            rendered_by = other.described()
        return Told(
            prompts=prompts,
            generations=_continued(other, prompts, top_k, announce),
            words=vocabulary,
            continued_by=None if other is reference else other.described(),
            rendered_by=rendered_by,
        )


def without_tokenizer(title: str, why: str) -> str:
    """What to do about a reference that takes and gives token ids only, in words."""
    return (
        f"{title} has no tokenizer that the reference reads ({why}), so it cannot render prompts: "
        "name a pin or the URL of an engine that serves this model, which then renders and "
        f"continues them: enginediff record {title} --tokens-from PIN|URL -o NAME.trace"
    )


def words(opened: Opened, ids: Sequence[int], announce: Announce) -> dict[int, Token]:
    """How each token id reads, by an engine. ConfigError where it cannot be asked that."""
    asker, dialect = opened.asker, opened.asker.dialect
    if not isinstance(dialect, Detokenizing):
        raise ConfigError(
            f"{opened.title} is {dialect.engine}, which cannot be asked how token ids read; name "
            "a vLLM, SGLang or KTransformers that serves this model"
        )

    def ask(part: Sequence[int]) -> list[Token]:
        texts, special = dialect.detokenized(asker.endpoint.send(dialect.detokenize(part)))
        if len(texts) != len(part):
            raise RequestError(f"{opened.title}: {len(texts)} texts came for {len(part)} token ids")
        return [Token(text=t, special=s) for t, s in zip(texts, special, strict=True)]

    announce(f"reading the vocabulary: {len(ids):,} token ids")
    read = flatten(in_parallel(ask, parts(ids, dialect.ids_per_request), BUSY))
    return dict(zip(ids, read, strict=True))


def _rendered(opened: Opened, cases: Sequence[Case], announce: Announce) -> list[Tokens]:
    announce(f"rendering {len(cases)} prompts")
    return opened.asker.render([case.prompt for case in cases])


def _continued(
    opened: Opened, prompts: Sequence[Tokens], top_k: int, announce: Announce
) -> list[Generation]:
    """Each prompt's continuation, sampled at T = 1 with a seed of its own."""
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
            top_k=top_k,
            at_once=BUSY,
        )
        found |= dict(zip(part, generations, strict=True))
    return [found[i] for i in range(len(prompts))]
