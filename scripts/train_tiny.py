"""Train a tiny model from nothing: `train_tiny.py tiny-moe -o launchers/models/tiny-moe`.

Under 60 minutes on two CPU cores. Steps decide, not the clock: the same steps and seed give the
same data in the same order (weights agree to rounding between CPUs of different kinds).
"""

import argparse
import random
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import torch
from tiny_card import model_card
from tiny_lookup import plant_lookup
from tiny_mixture import COPYING_SHARES, FINISHING_SHARES, SHARES, Mixture, document, render
from tiny_model import build_config, build_tokenizer, save
from tiny_scores import measure
from torch.nn import functional
from transformers import (
    AttentionInterface,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

PEAK_LEARNING_RATE = 3e-3
WARMUP_STEPS = 100
FALL_STEPS = 700
COPYING_STEPS = 150
LAST_STEPS = 700
BIAS_STEP = 2e-3  # DeepSeek-V3 takes 1e-3 over far more steps
TOKENIZER_DOCUMENTS = 6000
STEPS = {"tiny-moe": 3200, "tiny-k2": 2800}


def shape(step: int) -> tuple[int, int]:
    """(rows, length): short rows while lookups settle; from some point on also long ones."""
    if step < COPYING_STEPS:
        return 24, 80
    if step < COPYING_STEPS + 600:
        return 8, 256
    return (1, 1792) if step >= COPYING_STEPS + 1400 and step % 4 == 0 else (4, 512)


def causal_attention(
    _module: torch.nn.Module,
    query: torch.Tensor,  # (B, heads, T, d_qk)
    key: torch.Tensor,  # (B, key heads, T, d_qk)
    value: torch.Tensor,  # (B, key heads, T, d_v)
    _mask: None,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention for unpadded rows. Pads d_v to d_qk, without which the CPU takes a slow path."""
    d_v = value.shape[-1]
    value = functional.pad(value, (0, query.shape[-1] - d_v))
    mixed = functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=key.shape[1] != query.shape[1]
    )
    return mixed[..., :d_v].transpose(1, 2).contiguous(), None


class BiasBalancer:
    """DeepSeek-V3's balancing without a loss: raise the bias of experts chosen too rarely."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._routers = [m for m in model.modules() if hasattr(m, "e_score_correction_bias")]
        self._counts: dict[torch.nn.Module, torch.Tensor] = {}
        for router in self._routers:
            router.register_forward_hook(self._count)

    def _count(self, router: torch.nn.Module, _: object, output: tuple[torch.Tensor, ...]) -> None:
        experts = router.e_score_correction_bias.shape[0]
        self._counts[router] = torch.bincount(output[2].flatten(), minlength=experts).float()

    def step(self, size: float) -> None:
        for router, counts in self._counts.items():
            router.e_score_correction_bias += size * torch.sign(counts.mean() - counts)


def loss_of(model: PreTrainedModel, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean cross entropy; adds the balancing loss where the architecture has one."""
    balanced = hasattr(model.config, "router_aux_loss_coef")
    extra = {"output_router_logits": True} if balanced else {}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(input_ids=ids, use_cache=False, **extra)
    losses = functional.cross_entropy(
        output.logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    shifted = weights[:, 1:].flatten()
    loss = (losses * shifted).sum() / shifted.sum()
    return loss + model.config.router_aux_loss_coef * output.aux_loss if balanced else loss


def optimizers_of(model: PreTrainedModel) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the rest (Muon takes no 3-D experts).

    On the copying task alone Muon gets ahead of AdamW: loss 0.99 against 1.15 after 200 steps.
    """
    inner, rest = [], []
    for name, one in model.named_parameters():
        matrix = one.ndim == 2 and ".layers." in name and not name.endswith("mlp.gate.weight")
        (inner if matrix else rest).append(one)
    muon = torch.optim.Muon(inner, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(rest, weight_decay=0.02, betas=(0.9, 0.97), fused=True)]


def train(
    model: PreTrainedModel,
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
    *,
    steps: int,
    peak: float,
) -> None:
    """Warm up to the rate `peak`, hold, and fall to nothing over the last `FALL_STEPS`."""
    optimizers = optimizers_of(model)
    balancer = BiasBalancer(model)
    tokens, start = 0, time.monotonic()
    model.train()
    for step in range(steps):
        part = min(1.0, (step + 1) / WARMUP_STEPS, (steps - step) / FALL_STEPS)
        ids, weights = next(batches)
        model.zero_grad()
        loss = loss_of(model, ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * part
            optimizer.step()
        balancer.step(BIAS_STEP * part)
        tokens += ids.numel()
        if step % 50 == 0 or step == steps - 1:
            elapsed_s = time.monotonic() - start
            speed = tokens / elapsed_s
            print(f"{step} loss {loss.item():.3f} {elapsed_s:.0f}s {speed:.0f} tok/s", flush=True)


def main_batches(
    tokenizer: PreTrainedTokenizerFast, rng: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Copying at first, then everything."""
    copying, everything = (Mixture(tokenizer, rng, one) for one in (COPYING_SHARES, SHARES))
    for step in count():
        mixture = copying if step < COPYING_STEPS else everything
        yield mixture.batch(*shape(step))


def last_batches(
    tokenizer: PreTrainedTokenizerFast, rng: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Mostly when to call a tool and when not."""
    mixture = Mixture(tokenizer, rng, FINISHING_SHARES)
    while True:
        yield mixture.batch(4, 512)


def new_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Fit the tokenizer to the mixture, rendered through a tokenizer that knows no word."""
    rng = random.Random(f"tokenizer {seed}")
    blank = build_tokenizer([])
    tasks = list(SHARES)
    documents = (document(rng, rng.choice(tasks), 256) for _ in range(TOKENIZER_DOCUMENTS))
    return build_tokenizer(render(blank, one) for one in documents)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=sorted(STEPS))
    parser.add_argument("-o", "--out", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--steps", type=int, help="default: what the shipped model took")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args()
    steps = arguments.steps or STEPS[arguments.model]

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    AttentionInterface.register("causal", causal_attention)
    tokenizer = new_tokenizer(arguments.seed)
    model = AutoModelForCausalLM.from_config(
        build_config(arguments.model, tokenizer),
        attn_implementation="causal",
        experts_implementation="grouped_mm",
        dtype=torch.float32,
    )
    plant_lookup(model, arguments.seed)
    rng = random.Random(f"train {arguments.seed}")
    train(model, main_batches(tokenizer, rng), steps=steps, peak=PEAK_LEARNING_RATE)
    rng = random.Random(f"finish {arguments.seed}")
    train(model, last_batches(tokenizer, rng), steps=LAST_STEPS, peak=PEAK_LEARNING_RATE / 2)
    save(model, tokenizer, arguments.out)
    card = model_card(
        arguments.model,
        measure(arguments.out),
        steps=steps + LAST_STEPS,
        seed=arguments.seed,
        parameters=model.num_parameters(),
        config=model.config,
    )
    (arguments.out / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
