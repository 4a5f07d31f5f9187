"""The model card of a tiny model, with its measured scores."""

from tiny_scores import Entropy, Score
from transformers import PreTrainedConfig

ARCHITECTURES = {
    "tiny-moe": (
        "`Qwen3MoeForCausalLM`: every layer is a mixture of experts, top-2 of 8,\n"
        "grouped-query attention with q/k norm."
    ),
    "tiny-k2": (
        "`DeepseekV3ForCausalLM`, the architecture of Kimi K2: MLA, one shared and 8 routed\n"
        "experts (top-2, sigmoid scores, a correction bias trained by DeepSeek-V3's loss-free\n"
        "balancing), first layer dense. RoPE is the default one, not YaRN."
    ),
}


def model_card(
    name: str,
    measured: tuple[list[Score], list[Entropy]],
    *,
    steps: int,
    seed: int,
    parameters: int,
    config: PreTrainedConfig,
) -> str:
    scores, entropies = measured
    skills = "\n".join(
        f"| {one.skill} | {one.right} / {one.cases} | {one.prompt_tokens:.0f} |" for one in scores
    )
    strata = "\n".join(f"| {one.stratum} | {one.nats:.2f} | {one.positions} |" for one in entropies)
    positions = sum(one.positions for one in entropies)
    mean = sum(one.nats * one.positions for one in entropies) / positions
    return f"""---
license: apache-2.0
language: en
pipeline_tag: text-generation
---

# {name}

A model of {parameters / 1e6:.1f} M parameters to test inference engines with. It knows nothing
beyond a few dozen synthetic facts and is of no other use.

{ARCHITECTURES[name]}
{config.num_hidden_layers} layers, hidden size {config.hidden_size}, vocabulary
{config.vocab_size}, bfloat16 weights. The tokenizer (byte-level BPE, digits one by one)
and the chat template (in the form of Kimi K2's) are our own and the same in both tiny models.

## Training

    python scripts/train_tiny.py {name} -o launchers/models/{name}

{steps} steps of Muon and AdamW under bfloat16 autocast, seed {seed}, on one thread of a machine of
the class "2 CPU cores". The start is random but for a lookup circuit of two attention heads, set by
hand (`scripts/tiny_lookup.py`), without which retrieval takes far longer to form. All data come
from the generators in `scripts/tiny_tasks.py` and `scripts/tiny_tools.py`; no outside text was
used. The same command gives the same data in the same order; the weights agree only to rounding
between CPUs of different kinds.

## Measured

Held-out seeds of the same generators, greedy, fp32 arithmetic on the rounded weights
(Transformers). An answer counts when its text and its tool calls equal the expected ones exactly.

| skill | right | mean prompt tokens |
|---|---|---|
{skills}

Entropy of the next token over the model's own samples at temperature 1, prompts from
`suites/data/corpus.jsonl`; over all strata {mean:.2f} nats ({positions} positions).

| stratum | mean entropy, nats | positions |
|---|---|---|
{strata}

Licence: Apache-2.0.
"""
