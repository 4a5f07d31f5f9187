"""The table of causes: what each would show, how much that weighs, and what to try next.

A feature (`features.observed`) that is there adds its weight; one that contradicts takes away. The
weights are judgement, checked on real faults by scripts/diagnosis_score.py: 3 is what hardly
anything else shows, 2 what is typical, 1 what fits, and below 0 what speaks against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One kind of root cause. Its words go on after “may be” or “points to”."""

    name: str
    words: str
    weights: Mapping[str, float]  # feature -> weight
    next_step: str  # a command or a flag


# What holds of every cause that sits in the attention over positions: the first token attends to
# itself alone, so it is right whatever is done to positions.
_BY_POSITION = {"first token right": 2.0, "first token wrong": -3.0, "bulk": 0.5}
# ... and of every cause that sits in the weights or the arithmetic of each token.
_EVERYWHERE = {"first token wrong": 2.0, "first token right": -3.0, "level": 0.5, "bulk": 0.5}
_OWN = {"L1 agrees": -2.0}  # what an engine that agrees with itself has not

CAUSES = (
    Cause(
        name="chat template",
        words="another chat template, or one that is called otherwise (generation prompt, "
        "tools, thinking)",
        weights={
            "L0 rendering": 3.0,
            "rendering ends early": 1.0,
            "rendering begins with more": -1.0,
            "class special": 1.0,
            "class think": 0.5,
        },
        next_step="compare the engine's chat template with the model's own: --chat-template "
        "MODEL/chat_template.jinja",
    ),
    Cause(
        name="double BOS",
        words="a BOS token that is added twice, by the template and by the tokenizer",
        weights={"rendering begins with more": 4.0, "L0 rendering": 1.0},
        next_step="send add_special_tokens: false, or take bos_token out of the template",
    ),
    Cause(
        name="parser",
        words="the tool-call or reasoning parser: another one than the model's, or one that "
        "depends on how a stream is cut",
        weights={"L0 parsing": 3.0, "L0 answering": 1.0, "L2 agrees": 0.5},
        next_step="name the model's own: --tool-call-parser, --reasoning-parser; ask once "
        "without a stream",
    ),
    Cause(
        name="answering",
        words="the server's defaults of an answer: its length, stop strings, finish reason",
        weights={"L0 answering": 3.0, "L0 defaults": 1.0, "L2 agrees": 0.5},
        next_step="send max_tokens and stop with every request, and look at finish_reason",
    ),
    Cause(
        name="sampling",
        words="sampling parameters other than those asked for: a generation_config.json, or "
        "defaults of the server",
        weights={
            "sampler differs": 2.0,
            "sampler temperature": 1.5,
            "sampler truncation": 1.0,
            "sampler penalty": 1.5,
            "L0 defaults": 2.0,
            "black box differs": 0.5,
            "L2 agrees": 1.0,
            "L2 differs": -1.5,
        },
        next_step="--generation-config vllm (vLLM) or --sampling-defaults openai (SGLang), and "
        "send every parameter",
    ),
    Cause(
        name="sampler kernel",
        words="the sampler's own code: top-p left out, top-k approximate, ranks out of step",
        weights={
            "sampler differs": 1.5,
            "sampler truncation": 1.5,
            "L2 agrees": 0.5,
            "L2 differs": -1.5,
        },
        next_step="another sampling backend: --sampling-backend pytorch (SGLang), "
        "VLLM_USE_FLASHINFER_SAMPLER=0 (vLLM)",
    ),
    Cause(
        name="speculative",
        words="speculative decoding that accepts too much",
        weights={
            "sampler differs": 1.0,
            "L2b differs": 1.0,
            "L1 decode": 1.0,
            "L2 agrees": 0.5,
            "L2 differs": -1.5,
        },
        next_step="serve without a draft model: leave --speculative-config out",
    ),
    Cause(
        name="rope",
        words="the position encoding: another RoPE base, or a scaling (YaRN) factor that is not "
        "the model's",
        weights={
            **_BY_POSITION,
            "grows": 2.0,
            "slight": 0.5,
            "falls": -1.0,
            "gross": -1.0,
            "only long": 1.0,
            "L1 agrees": 0.5,
        },
        next_step="compare rope_parameters in config.json with what the engine's log says; set "
        "them by --hf-overrides (vLLM), --json-model-override-args (SGLang)",
    ),
    Cause(
        name="rope style",
        words="the position encoding's style: neighbouring pairs rotated for halves, or a wrong "
        "rotary kernel",
        weights={
            **_BY_POSITION,
            "gross": 2.0,
            "marked": 0.5,
            "falls": 1.0,
            "level": 0.5,
            "slight": -1.0,
            "L1 agrees": 0.5,
        },
        next_step="narrow it: without compiled operators (--set "
        "'args.compilation-config.custom_ops=[\"none\"]'); rope_interleave in config.json",
    ),
    Cause(
        name="attention weights",
        words="the attention's own weights: queries or keys not loaded, or a shard loaded twice",
        weights={**_BY_POSITION, "gross": 1.5, "marked": 0.5, "slight": -1.5, "L1 agrees": 0.5},
        next_step="search the engine's log for weights that were skipped; serve with "
        "--tensor-parallel-size 1",
    ),
    Cause(
        name="sliding window",
        words="a sliding window that is on where it should be off, or of another size",
        weights={**_BY_POSITION, "step": 3.0, "only long": 1.0, "grows": 0.5, "gross": -0.5},
        next_step="compare sliding_window and layer_types in config.json with the engine's log",
    ),
    Cause(
        name="kernel length",
        words="a kernel that is wrong above a length",
        weights={
            **_BY_POSITION,
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
        weights={"bulk": 0.5, "gross": 1.0, "marked": 0.5, "L1 decode": 1.0, "L1 agrees": 0.0},
        next_step="narrow it: check PIN --against ... --narrow",
    ),
    Cause(
        name="routed scaling",
        words="routed_scaling_factor left out, or applied twice",
        weights={**_EVERYWHERE, "marked": 1.0, "gross": 1.0, "slight": -1.0, "L1 agrees": 0.5},
        next_step="compare routed_scaling_factor in config.json with --hf-overrides",
    ),
    Cause(
        name="router",
        words="the router: its bias not loaded or rounded, or scores computed in another way",
        weights={**_EVERYWHERE, "marked": 1.0, "uneven": 0.5, "class": 0.5, "L1 agrees": 0.5},
        next_step="compare e_score_correction_bias, scoring_func and norm_topk_prob; the "
        "router's dtype must be float32",
    ),
    Cause(
        name="experts mapped",
        words="experts that are mapped wrongly (expert parallelism, a loader's renaming)",
        weights={
            **_EVERYWHERE,
            "marked": 1.0,
            "gross": 0.5,
            "slight": -1.0,
            "uneven": 0.5,
            "class": 1.0,
            "falls": 0.5,
            "L1 agrees": 0.5,
        },
        next_step="serve without expert parallelism and redundant experts; compare checksums of "
        "the loaded experts",
    ),
    Cause(
        name="weights missing",
        words="weights that were not loaded, or a shard loaded twice",
        weights={
            **_EVERYWHERE,
            "gross": 1.5,
            "marked": 1.5,
            "slight": -1.5,
            "uneven": 0.5,
            "L1 agrees": 0.5,
        },
        next_step="search the engine's log for weights that were skipped or not initialised; "
        "serve with --tensor-parallel-size 1",
    ),
    Cause(
        name="quantisation",
        words="weights of less precision: quantised where the pin says otherwise, or an "
        "ignore-list that does not match their names",
        weights={
            **_EVERYWHERE,
            "slight": 1.0,
            "marked": 0.5,
            "gross": -2.0,
            "even": 1.5,
            "uneven": -1.0,
            "pin quantisation": 4.0,
            "L1 agrees": 0.5,
        },
        next_step="look for the quantisation in the engine's log; compare the checkpoint's "
        "ignore-list with the names of its modules",
    ),
    Cause(
        name="precision",
        words="arithmetic of less precision than was promised (dtype)",
        weights={
            **_EVERYWHERE,
            "slight": 1.0,
            "gross": -2.0,
            "even": 1.0,
            "uneven": -1.0,
            "pin dtype": 4.0,
            "L1 agrees": 0.0,
        },
        next_step="say --dtype, or the promise that holds: --set numerics=bf16",
    ),
    Cause(
        name="constant",
        words="a constant of the model's configuration: the norm's epsilon, a softcap, a scale",
        weights={
            **_EVERYWHERE,
            "slight": 1.5,
            "falls": 0.5,
            "gross": -1.5,
            "uneven": 0.5,
            "L1 agrees": 0.5,
        },
        next_step="compare config.json with what the engine reads (its log, --hf-overrides)",
    ),
    Cause(
        name="all-reduce",
        words="the sum over ranks: done twice, or in less precision",
        weights={**_EVERYWHERE, "gross": 0.5, "L1 busy": 1.0},
        next_step="serve with --tensor-parallel-size 1, or --disable-custom-all-reduce",
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
            **_OWN,
        },
        next_step="--kv-cache-dtype auto, and the scales in the checkpoint",
    ),
    Cause(
        name="prefix cache",
        words="a prefix cache that gives stale or foreign blocks",
        weights={
            "sparse": 2.0,
            "L1 cache": 3.0,
            "L1 chunks": 1.0,
            "L1 repeat": 1.0,
            **_OWN,
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
            "sparse": 0.5,
            "gross": 0.5,
            **_OWN,
        },
        next_step="serve prefill and decode in one instance",
    ),
    Cause(
        name="decode kernel",
        words="the decode path: its attention kernel, or a graph that was captured wrongly",
        weights={"L1 decode": 2.5, "L1 prefill agrees": 1.0, "L2 agrees": 0.5, **_OWN},
        next_step="narrow it: eager (--enforce-eager, --disable-cuda-graph), another attention "
        "backend",
    ),
    Cause(
        name="batch kernel",
        words="a kernel whose answer depends on what else is in the batch",
        weights={"L1 busy": 3.0, "L1 repeat": 0.5, "L1 decode": 0.5, **_OWN},
        next_step="ask one request at a time (--max-num-seqs 1), or a batch-invariant mode",
    ),
    Cause(
        name="not deterministic",
        words="a race or memory that was freed: the same request gets other answers",
        weights={"L1 repeat": 3.0, "L1 busy": 0.5, "sparse": 0.5, **_OWN},
        next_step="repeat it with one thread and without overlap scheduling",
    ),
    Cause(
        name="configuration",
        words="a flag that the engine did not take, or corrected",
        weights={"pin differs": 2.0, "pin flag": 2.0},
        next_step="enginediff doctor PIN, and the lines of the engine's log about that flag",
    ),
    Cause(
        name="other model",
        words="other weights: another version or size of the model behind the same name",
        weights={
            "black box differs": 1.0,
            "gross": 1.0,
            "first token wrong": 1.0,
            "sampler differs": 0.3,
        },
        next_step="ask the vendor which revision is served; compare the weights' sha256",
    ),
    Cause(
        name="client",
        words="what stands before the engine: a gateway or client that changes requests or cuts "
        "answers",
        weights={"L0 answering": 1.0, "L0 rendering": 0.5, "black box differs": 0.3},
        next_step="ask the engine itself, with no gateway between",
    ),
)
