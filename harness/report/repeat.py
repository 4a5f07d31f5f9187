"""The commands that show a verdict's finding again."""

from __future__ import annotations

import shlex

from harness.verdict import Verdict


def command(verdict: Verdict) -> str:
    """The same check as one line for a shell; a secret that a pin was changed by is ***."""
    pin = verdict.candidate["pin"]
    words = ["enginediff", "check", verdict.candidate["title"] if pin is None else pin["name"]]
    for change in () if pin is None else pin["changes"]:
        words += ["--set", change]
    words += ["--against", verdict.live or verdict.reference["trace"]]
    words += ["--live"] if verdict.live else []
    words += ["--every-level"] if verdict.every_level else []
    words += ["--seed", str(verdict.seed)]
    words += ["--alpha", f"{verdict.alpha:g}", "--beta", f"{verdict.beta:g}"]
    if pin is None:
        words += ["--numerics", verdict.numerics]
    return shlex.join(words)
