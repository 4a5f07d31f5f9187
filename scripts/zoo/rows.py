"""All rows of the zoo, faults and what is benign, and the slice of them that CI runs."""

from __future__ import annotations

from dataclasses import replace

from scripts.zoo import edits
from scripts.zoo.benign import BENIGN as CONFIGURATIONS
from scripts.zoo.benign import Benign as Configuration
from scripts.zoo.fault import BENIGN, BFLOAT16, CUSTOM_OPS, K2, MOE, Fault
from scripts.zoo.faults import FAULTS

# Those that are checked, in words; all of them are asked for the error rates.
CHECKED = {
    "vllm": "vLLM as pinned",
    "vllm-blocks-of-64": "pages of the KV cache of 64 tokens for 32",
    "vllm-chunks-of-256": "prefill in chunks of 256 tokens",
    "vllm-no-prefix-cache": "no prefix cache",
    "vllm-4-at-once": "4 requests in a batch for 16",
    "vllm-seed-7": "another seed",
    "vllm-longer-context": "a longer context limit",
    "vllm-0.31": "another release of it, 0.31.0",
    "sglang": "SGLang as pinned, against a reference that vLLM equals too",
    "vllm-bf16": "vLLM in bf16, declared",
    "ktransformers-bf16": "KTransformers in bf16, as pinned",
    "k2-vllm-plain-torch": "vLLM on tiny-k2 without the compiled operators, which are wrong there",
    "k2-sglang": "SGLang on tiny-k2",
}
SHARDS = Fault(
    name="vllm-two-shards",
    number=30,
    kind=BENIGN,
    what="the same weights in two files",
    seen="",
    pin=MOE,
    causes=(),
    copy=edits.in_two_shards,
)


def _row(one: Configuration) -> Fault:
    held = (*BFLOAT16, *((CUSTOM_OPS,) if one.pin == K2 else ()))  # what healthy means there
    return replace(
        SHARDS,
        name=one.name,
        what=CHECKED[one.name],
        pin=one.pin,
        base=tuple(change for change in one.changes if change in held),
        changes=tuple(change for change in one.changes if change not in held),
        copy=None,
    )


BENIGN_ROWS = (*(_row(one) for one in CONFIGURATIONS if one.name in CHECKED), SHARDS)
ROWS: tuple[Fault, ...] = (*FAULTS, *BENIGN_ROWS)
SLICE = (
    "no-generation-prompt",
    "rope-base-10-percent",
    "kv-fp8",
    "page-not-delivered",
    "one-letter-lost",
    "vllm-two-shards",
    "sglang",
)


def chosen(names: list[str] | None, *, only_slice: bool) -> tuple[Fault, ...]:
    """The rows of these names; None: all, or those of the slice."""
    if names is None:
        return tuple(row for row in ROWS if not only_slice or row.name in SLICE)
    known = {row.name: row for row in ROWS}
    return tuple(known[name] for name in names)
