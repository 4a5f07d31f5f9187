"""The sequences that a trace is of: prompts and their continuations, and how their tokens read.

The reference tells all three. Another engine may continue the prompts: a token costs a streamed
reference a pass over all the weights. Where the reference has no tokenizer, as with Kimi's, which
is code of its own that it does not run, that engine renders the prompts and reads the ids as well.

Trade-off accepted: it is then asked for every id of the vocabulary before anything is scored, in
vLLM's case with a request for each, and not later for those that occur. A streamed reference scores
for hours: the engine need not be held that long, nor be there at the end.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, overload

from harness.base.case import Case
from harness.base.errors import ConfigError, RequestError
from harness.candidate import Opened
from harness.client import BUSY, flatten, in_parallel, parts
from harness.recording import Token
from launchers.dialect import Detokenizing, Tokens
from launchers.pins import OWN
from suites import long_contexts

Announce = Callable[[str], None]
Open = Callable[[], AbstractContextManager[Opened]]
NEW_TOKENS = 48  # after each prompt
AT_ONCE = 256  # prompts rendered before their tokens are packed
SEED = 20260101  # of the sampled continuations: case i has SEED + i


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What engines said before anything was scored, and who they were if not the reference."""

    cases: Sequence[Case]  # those that were given, and the long ones
    prompts: Sequence[Tokens]  # one a case
    continuations: Sequence[Tokens]  # one a prompt
    words: Mapping[int, Token] | None  # of the whole vocabulary; None: ask the reference
    continued_by: dict[str, Any] | None  # as `Opened.described`, and so is the other
    rendered_by: dict[str, Any] | None


def told(
    reference: Opened,
    cases: Sequence[Case],
    top_k: int,
    announce: Announce,
    elsewhere: Open | None,
    longest: int | None = None,
) -> Told:
    """`elsewhere`: opens the engine that continues the prompts; None: the reference does.
    `longest`: tokens up to which strata of long prompts are added; None: none is.

    Of the corpus and its tokens all is held, four bytes a token. ConfigError where nobody can
    render the prompts, or say how token ids read.
    """
    lacking: str | None = reference.identity["no_tokenizer"]
    if lacking is not None and elsewhere is None:
        raise ConfigError(without_tokenizer(reference.title, lacking))
    vocabulary, rendered_by = None, None
    with nullcontext(reference) if elsewhere is None else elsewhere() as other:
        renderer = reference
        if lacking is not None:
            vocabulary = words(other, range(reference.identity["vocab_size"]), announce)
            renderer, rendered_by = other, other.described()
        cases = [*cases, *_long(reference, renderer, longest, announce)]
        prompts = _rendered(renderer, cases, announce)
        return Told(
            cases=cases,
            prompts=prompts,
            continuations=_continued(other, prompts, top_k, announce),
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


def _long(
    reference: Opened, renderer: Opened, longest: int | None, announce: Announce
) -> list[Case]:
    """The strata of long prompts. ConfigError where the reference takes fewer tokens."""
    if longest is None:
        return []

    def tokens_of(prompts: Sequence[str]) -> list[int]:
        return [len(tokens) for tokens in renderer.asker.render(prompts)]

    made: list[Case] = []
    for length in long_contexts.lengths(longest, reference.identity["max_length"]):
        announce(f"making long prompts: {length:,} tokens")
        made += long_contexts.cases(length, tokens_of)
    return made


def _rendered(opened: Opened, cases: Sequence[Case], announce: Announce) -> Packed:
    rendered = Packed()
    for part in parts(cases, AT_ONCE):
        announce(f"rendering prompts: {len(rendered)} of {len(cases)}")
        rendered.extend(opened.asker.render([case.prompt for case in part]))
    return rendered


def _continued(opened: Opened, prompts: Sequence[Tokens], top_k: int, announce: Announce) -> Packed:
    """Each prompt's continuation, sampled at T = 1 with a seed of its own."""
    asker = opened.asker
    size = asker.dialect.sequences_per_request
    lengths = [len(prompt) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lengths.__getitem__)  # alike ones batch well
    found = Packed()
    for part in parts(order, size):
        announce(f"continuing prompts: {len(found)} of {len(prompts)}")
        generations = asker.generate(
            [prompts[i] for i in part],
            max_new_tokens=NEW_TOKENS,
            sampling=OWN,
            seeds=[SEED + i for i in part],
            top_k=top_k,
            at_once=BUSY,
        )
        found.extend(generation.token_ids for generation in generations)
    return found.put_back(order)


class Packed(Sequence[Tokens]):
    """Token ids of many sequences, four bytes each."""

    def __init__(self) -> None:
        self._rows: list[array[int]] = []

    def extend(self, rows: Iterable[Tokens]) -> None:
        self._rows += [array("i", row) for row in rows]

    def put_back(self, order: Sequence[int]) -> Packed:
        """Row n becomes row order[n]."""
        found = Packed()
        found._rows = [row for _, row in sorted(zip(order, self._rows, strict=True))]
        return found

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Tokens: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tokens]: ...
    def __getitem__(self, index: int | slice) -> Tokens | list[Tokens]:
        if isinstance(index, slice):
            return [tuple(row) for row in self._rows[index]]
        return tuple(self._rows[index])
