"""Causes before and behind the model: templates, parsers, sampling, configuration."""

from __future__ import annotations

from harness.checker.cause import Cause

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
        weights={"L0 parsing": 3.0, "L0b parsing": 2.0, "L2 agrees": 0.5},
        next_step="name the model's own: --tool-call-parser, --reasoning-parser; ask once "
        "without a stream",
    ),
    Cause(
        name="answering",
        words="the server's defaults of an answer: its length, stop strings, finish reason",
        weights={"L0b limits": 3.0, "L2 agrees": 0.5},
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
            "pin sampling": 4.0,
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
        name="configuration",
        words="a flag that the engine did not take, or corrected",
        weights={"pin differs": 2.0, "pin flag": 2.0},
        next_step="enginediff doctor PIN, and the lines of the engine's log about that flag",
    ),
    Cause(
        name="client",
        words="what stands before the engine: a gateway or client that changes requests or cuts "
        "answers",
        weights={"L0b limits": 1.0, "sparse": 1.5, "L0 rendering": 0.5, "black box differs": 0.3},
        next_step="ask the engine itself, with no gateway between",
    ),
)
