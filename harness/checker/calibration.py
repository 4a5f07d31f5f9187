"""What a trace fixes before any candidate is asked: how wide, and how sure.

A trace without the table (schema 1) was recorded under `AGREED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.base import strict_toml
from harness.base.errors import ConfigError
from harness.checker.shares import SHARES
from harness.checker.tolerance import (
    GAMMA,
    MINIMUM_CONFIGURATIONS,
    MINIMUM_IMPLEMENTATIONS,
    MINIMUM_PROMPTS,
    SPARSE_SHARE,
)

WIDEST = 100.0  # gamma


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The spec of a trace's verdicts."""

    gamma: float  # a tolerance as a multiple of the worst benign mean
    alpha: float  # the chance of a wrong DIFFERENT at most, given the tolerances
    beta: float  # the chance of a wrong EQUIVALENT at most, given the tolerances
    q: float  # a share of bad sequences below this is not excluded
    alpha_shares: Mapping[str, float]  # level -> its part of alpha
    minimum_configurations: int  # of a benign pool that supports EQUIVALENT
    minimum_implementations: int
    minimum_prompts: int  # of a stratum


AGREED = Calibration(
    gamma=GAMMA,
    alpha=0.005,
    beta=0.005,
    q=SPARSE_SHARE,
    alpha_shares=SHARES,
    minimum_configurations=MINIMUM_CONFIGURATIONS,
    minimum_implementations=MINIMUM_IMPLEMENTATIONS,
    minimum_prompts=MINIMUM_PROMPTS,
)


def chosen(
    gamma: float | None, alpha: float | None, beta: float | None, agreed: Calibration = AGREED
) -> Calibration:
    """`agreed` with what the user says instead; ConfigError names the option that is wrong."""
    for name, chance in (("--alpha", alpha), ("--beta", beta)):
        if chance is not None and not 0 < chance < 1:
            raise ConfigError(f"{name} is {chance}; it must lie between 0 and 1")
    if gamma is not None and not 1 <= gamma <= WIDEST:
        raise ConfigError(
            f"--gamma is {gamma}; it must lie between 1 (a candidate may be as far off as the "
            f"worst benign configuration) and {WIDEST:g}"
        )
    said = {"gamma": gamma, "alpha": alpha, "beta": beta}
    return replace(agreed, **{name: value for name, value in said.items() if value is not None})


def of_trace(manifest: Mapping[str, object], where: str) -> Calibration:
    """What a trace was recorded under; ConfigError where its table cannot be read."""
    table = manifest.get("calibration")
    if table is None:
        return AGREED
    return strict_toml.convert(Calibration, table, f"{where}: calibration")


def changed(recorded: Calibration, *, alpha: float, beta: float) -> list[str]:
    """What a check decides otherwise than its trace says, in words."""
    pairs = (("alpha", alpha, recorded.alpha), ("beta", beta, recorded.beta))
    said = [
        f"{name} is {used:g} in this check; the trace says {agreed:g}"
        for name, used, agreed in pairs
        if used != agreed
    ]
    own = (AGREED.q, dict(AGREED.alpha_shares))
    if (recorded.q, dict(recorded.alpha_shares)) != own:
        said.append(
            f"the trace was recorded for q {recorded.q:g} and shares of alpha "
            f"{_shares(recorded)}; this enginediff judges by q {AGREED.q:g} and {_shares(AGREED)}"
        )
    return said


def few_prompts(prompts: Mapping[str, int]) -> list[str]:
    """`prompts`: how many each stratum has. What fewer than enough mean, in words."""
    few = [f"{name} {n}" for name, n in prompts.items() if n < MINIMUM_PROMPTS]
    if not few:
        return []
    return [
        f"fewer than {MINIMUM_PROMPTS} prompts in a stratum ({', '.join(few)}): the claim is about "
        "these alone, and more of it stays undecided"
    ]


def _shares(calibration: Calibration) -> str:
    return ", ".join(f"{level} {share:g}" for level, share in calibration.alpha_shares.items())
