"""Causes in what is computed: positions, weights, experts, precision."""

from __future__ import annotations

from harness.checker.cause import BY_POSITION, EVERYWHERE, Cause

CAUSES = (
    Cause(
        name="rope",
        words="the position encoding: another RoPE base, or a scaling (YaRN) factor that is not "
        "the model's",
        weights={
            **BY_POSITION,
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
            **BY_POSITION,
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
        weights={**BY_POSITION, "gross": 1.5, "marked": 0.5, "slight": -1.5, "L1 agrees": 0.5},
        next_step="search the engine's log for weights that were skipped; serve with "
        "--tensor-parallel-size 1",
    ),
    Cause(
        name="sliding window",
        words="a sliding window that is on where it should be off, or of another size",
        weights={**BY_POSITION, "step": 3.0, "only long": 1.0, "grows": 0.5, "gross": -0.5},
        next_step="compare sliding_window and layer_types in config.json with the engine's log",
    ),
    Cause(
        name="routed scaling",
        words="routed_scaling_factor left out, or applied twice",
        weights={**EVERYWHERE, "marked": 1.0, "gross": 1.0, "slight": -1.0, "L1 agrees": 0.5},
        next_step="compare routed_scaling_factor in config.json with --hf-overrides",
    ),
    Cause(
        name="router",
        words="the router: its bias not loaded or rounded, or scores computed in another way",
        weights={**EVERYWHERE, "marked": 1.0, "uneven": 0.5, "class": 0.5, "L1 agrees": 0.5},
        next_step="compare e_score_correction_bias, scoring_func and norm_topk_prob; the "
        "router's dtype must be float32",
    ),
    Cause(
        name="experts mapped",
        words="experts that are mapped wrongly (expert parallelism, a loader's renaming)",
        weights={
            **EVERYWHERE,
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
            **EVERYWHERE,
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
            **EVERYWHERE,
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
            **EVERYWHERE,
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
            **EVERYWHERE,
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
        weights={**EVERYWHERE, "gross": 0.5, "L1 busy": 1.0},
        next_step="serve with --tensor-parallel-size 1, or --disable-custom-all-reduce",
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
)
