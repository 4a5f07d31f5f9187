"""Causes in how a model is served: caches, kernels, batches."""

from __future__ import annotations

from harness.checker.cause import BY_POSITION, OWN, Cause

CAUSES = (
    Cause(
        name="kernel length",
        words="a kernel that is wrong above a length",
        weights={
            **BY_POSITION,
            "step": 2.5,
            "only long": 1.5,
            "L1 chunks": 1.0,
            "L1 agrees": -0.5,
        },
        next_step="another attention backend; shorter prefill chunks "
        "(--max-num-batched-tokens, --chunked-prefill-size)",
    ),
    Cause(
        name="operator",
        words="a compiled operator or attention kernel that is wrong on this machine",
        weights={
            "gone: operators": 9.0,
            "gone: attention backend": 9.0,
            "bulk": 0.5,
            "gross": 1.0,
            "marked": 0.5,
            "L1 decode": 1.0,
        },
        next_step="narrow it: check PIN --against ... --narrow",
    ),
    Cause(
        name="kv precision",
        words="a KV cache of less precision (fp8), or without its scale",
        weights={
            "pin KV cache": 4.0,
            "L1 decode": 1.5,
            "L1 chunks": 1.5,
            "L1 prefill agrees": 1.0,
            "L2b differs": 0.5,
            "L2 agrees": 1.0,
            "first token right": 0.5,
            **OWN,
        },
        next_step="--kv-cache-dtype auto, and the scales in the checkpoint",
    ),
    Cause(
        name="prefix cache",
        words="a prefix cache that gives stale or foreign blocks",
        weights={
            "gone: prefix cache": 9.0,
            "sparse": 3.0,
            "L1 cache": 3.0,
            "L1 chunks": 1.0,
            "L1 repeat": 1.0,
            **OWN,
        },
        next_step="narrow it: without the prefix cache (--no-enable-prefix-caching, "
        "--disable-radix-cache)",
    ),
    Cause(
        name="transfer",
        words="KV pages that are lost or mixed between prefill and decode",
        weights={
            "L1 decode": 1.5,
            "L2b differs": 1.0,
            "L1 prefill agrees": 1.0,
            "sparse": 2.0,
            "gross": 0.5,
            **OWN,
        },
        next_step="serve prefill and decode in one instance",
    ),
    Cause(
        name="decode kernel",
        words="the decode path: its attention kernel, or a graph that was captured wrongly",
        weights={
            "gone: graphs": 9.0,
            "L1 decode": 2.5,
            "L1 prefill agrees": 1.0,
            "L2 agrees": 0.5,
            **OWN,
        },
        next_step="narrow it: eager (--enforce-eager, --disable-cuda-graph), another attention "
        "backend",
    ),
    Cause(
        name="batch kernel",
        words="a kernel whose answer depends on what else is in the batch",
        weights={"L1 busy": 3.0, "L1 repeat": 0.5, "L1 decode": 0.5, "sparse": 2.25, **OWN},
        next_step="ask one request at a time (--max-num-seqs 1), or a batch-invariant mode",
    ),
    Cause(
        name="not deterministic",
        words="a race or memory that was freed: the same request gets other answers",
        weights={"L1 repeat": 3.0, "L1 busy": 0.5, "sparse": 2.5, **OWN},
        next_step="repeat it with one thread and without overlap scheduling",
    ),
)
