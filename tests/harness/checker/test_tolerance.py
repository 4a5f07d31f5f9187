"""Tolerances are what the worst right configuration needs, and never nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base import strict_toml
from harness.base.record import Floats
from harness.checker.distance import worst_segment
from harness.checker.quantiles import STEP
from harness.checker.tolerance import (
    ALL,
    CAP,
    FLOOR,
    GAMMA,
    SPARSE_FLOOR,
    ClassTolerances,
    calibrate,
    clipped_mean,
    decisive_flips,
    evidently_wrong,
)
from harness.recording import PoolUnit
from tests.building import CONFIGURATIONS, distance

Shape = Callable[[np.random.Generator, int], Floats]


def unit(configuration: str, d: Sequence[float] | Floats, stratum: str = "chat") -> PoolUnit:
    return PoolUnit(
        numerics="fp32",
        configuration=configuration,
        implementation=dict(CONFIGURATIONS)[configuration],
        stratum=stratum,
        case_id="c",
        distance=distance(d, divergence=float(np.abs(d).mean())),
    )


def pool(scales: dict[str, float]) -> list[PoolUnit]:
    """Each configuration with |d| constant over 2 sequences of 20 tokens."""
    return [unit(name, [scale] * 20) for name, scale in scales.items() for _ in range(2)]


def test_the_worst_configuration_sets_the_tolerance() -> None:
    scales = dict.fromkeys("abcdef", 0.01) | {"d": 0.04}
    found = calibrate("fp32", pool(scales), ["chat"]).of("chat")
    assert found.tau_a == pytest.approx(GAMMA * 0.04)
    assert found.tau_k == pytest.approx(GAMMA * 0.04)
    assert found.s0 == pytest.approx(GAMMA * 0.04)
    assert found.benign_mean_d == pytest.approx(0.04)
    assert found.benign_d_999 == pytest.approx(0.04)


def test_a_configurations_mean_counts_and_not_its_worst_sequence() -> None:
    units = [*pool(dict.fromkeys("abcdef", 0.01)), unit("a", [0.03] * 20), unit("a", [0.03] * 20)]
    assert calibrate("fp32", units, ["chat"]).of("chat").tau_a == pytest.approx(GAMMA * 0.02)


def test_a_pool_that_agrees_to_the_bit_still_leaves_a_tolerance() -> None:
    found = calibrate("fp32", pool(dict.fromkeys("abcdef", 0.0)), ["chat"]).of("chat")
    assert (found.tau_a, found.tau_k, found.tau_f) == (FLOOR, FLOOR, FLOOR)
    assert (found.c_token, found.s0) == (CAP * FLOOR, SPARSE_FLOOR)


SHAPES: dict[str, Shape] = {
    "normal": lambda rng, n: rng.normal(scale=0.01, size=n),
    # What is above 1e4 nats counts as the largest: quantiles.HIGHEST.
    "cauchy": lambda rng, n: np.clip(rng.standard_cauchy(size=n), -9e3, 9e3),
    "one huge": lambda rng, n: np.where(np.arange(n) == rng.integers(n), 1e3, 1e-9),
    "zero": lambda rng, n: np.zeros(n) * rng.random(),
}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(sorted(SHAPES)), st.integers(1, 400))
def test_a_tolerance_always_lies_between_nothing_and_its_clip(
    seed: int, shape: str, tokens: int
) -> None:
    rng = np.random.default_rng(seed)
    units = [unit(name, SHAPES[shape](rng, tokens)) for name in "abcdef" for _ in range(3)]
    for found in calibrate("fp32", units, ["chat"]).strata:
        assert 0 < found.tau_a < found.c_token
        assert CAP * found.tau_a <= found.c_token
        assert min(found.tau_k, found.tau_f, found.s0) > 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(sorted(SHAPES)))
def test_every_configuration_of_the_pool_is_within_its_own_tolerances(
    seed: int, shape: str
) -> None:
    rng = np.random.default_rng(seed)
    units = [unit(name, SHAPES[shape](rng, 100)) for name in "abcdef" for _ in range(3)]
    found = calibrate("fp32", units, ["chat"]).of("chat")
    for name in "abcdef":
        own = [u.distance for u in units if u.configuration == name]
        assert np.mean([clipped_mean(x.d, found.c_token) for x in own]) <= found.tau_a
        assert np.mean([x.divergence.mean() for x in own]) <= found.tau_k


def means(units: Sequence[PoolUnit], of: Callable[[PoolUnit], float]) -> float:
    """The worst configuration's mean over its units."""
    return max(
        float(np.mean([of(u) for u in units if u.configuration == name])) for name in "abcdef"
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(sorted(SHAPES)), st.floats(1, 5))
def test_tolerances_are_those_of_the_whole_pool_at_once_within_the_stated_bound(
    seed: int, shape: str, gamma: float
) -> None:
    """The definition with every unit in memory: c_token, m0 and tau_a may be 0.1 % above it."""
    rng = np.random.default_rng(seed)
    units = [unit(n, SHAPES[shape](rng, int(rng.integers(1, 90)))) for n in "abcdef" for _ in "123"]
    found = calibrate("fp32", units, ["chat"], gamma).of("chat")
    every = np.abs(np.concatenate([u.distance.d for u in units]))
    quantile = float(np.quantile(every, 0.999))
    clip = max(3 * quantile, CAP * FLOOR)
    tau_a = max(gamma * means(units, lambda u: clipped_mean(u.distance.d, clip)), FLOOR)
    m0 = float(np.quantile(np.concatenate([u.distance.margin_change for u in units]), 0.999))
    exact = {"benign_d_999": quantile, "m0": m0, "tau_a": tau_a, "c_token": max(clip, CAP * tau_a)}
    for name, value in exact.items():
        assert value * (1 - 1e-9) <= getattr(found, name) <= value * (1 + STEP + 1e-9) + 1e-12
    assert found.tau_k == pytest.approx(
        max(gamma * means(units, lambda u: float(u.distance.divergence.mean())), FLOOR)
    )
    assert found.tau_f == pytest.approx(
        max(
            gamma
            * means(units, lambda u: decisive_flips(u.distance.flip, u.distance.margin, found.m0)),
            FLOOR,
        )
    )
    worst = max(worst_segment(u.distance.d)[0] for u in units)
    assert found.s0 == pytest.approx(max(gamma * worst, SPARSE_FLOOR))
    assert found.benign_mean_d == pytest.approx(
        means(units, lambda u: float(np.abs(u.distance.d).mean()))
    )


def test_a_wider_gamma_is_a_wider_tolerance_and_is_written_down() -> None:
    units = pool(dict.fromkeys("abcdef", 0.01))
    found = calibrate("fp32", units, ["chat"], 5.0)
    assert found.gamma == 5.0
    assert found.of("chat").tau_a == pytest.approx(0.05)


def test_a_pool_that_agrees_to_the_bit_cannot_support_equivalent() -> None:
    found = calibrate("fp32", pool(dict.fromkeys("abcdef", 0.0)), ["chat"])
    assert "agrees with the reference to the bit" in str(found.weakness)


def test_an_engine_ten_times_as_far_off_as_the_rest_is_evidently_not_right() -> None:
    right = dict.fromkeys("abcde", 0.01)
    assert evidently_wrong(pool({**right, "f": 0.099}), {"f"}) == []
    (said,) = evidently_wrong(pool({**right, "f": 0.2}), {"f"})
    assert said.startswith("f: mean |d| in chat is 0.2 nats, 20 times the 0.01 of the worst")


def test_one_stratum_alone_gives_a_wrong_engine_away_and_no_other_suspect_excuses_it() -> None:
    right = pool(dict.fromkeys("abcd", 0.01))
    code = [unit(name, [0.01] * 20, "code") for name in "abcd"]
    suspects = [unit(n, [0.01] * 20) for n in "ef"] + [unit(n, [0.5] * 20, "code") for n in "ef"]
    said = evidently_wrong([*right, *code, *suspects], {"e", "f"})
    assert len(said) == 2
    assert all("in code is 0.5 nats, 50 times" in line for line in said)


def test_what_is_below_the_floor_accuses_nobody() -> None:
    assert evidently_wrong(pool({**dict.fromkeys("abcde", 0.0), "f": 5 * FLOOR}), {"f"}) == []


def test_one_implementation_or_five_configurations_cannot_support_equivalent() -> None:
    every = pool(dict.fromkeys("abcdef", 0.01))
    assert calibrate("fp32", every, ["chat"]).weakness is None
    five = [u for u in every if u.configuration != "f"]
    assert "5 configurations" in str(calibrate("fp32", five, ["chat"]).weakness)
    alone = [replace(u, implementation="one") for u in every]
    assert "1 implementation" in str(calibrate("fp32", alone, ["chat"]).weakness)


def test_each_stratum_has_its_own_and_all_of_them_together_one_more() -> None:
    units = [
        *pool(dict.fromkeys("abcdef", 0.01)),
        *(unit(name, [0.03] * 20, stratum="code") for name in "abcdef" for _ in range(2)),
    ]
    found = calibrate("fp32", units, ["chat", "code"])
    assert [t.stratum for t in found.strata] == ["chat", "code", ALL]
    taus = [found.of(name).tau_a for name in ("chat", "code", ALL)]
    assert taus == pytest.approx([GAMMA * 0.01, GAMMA * 0.03, GAMMA * 0.02])


def test_a_stratum_that_the_pool_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="'code'"):
        calibrate("fp32", pool({"a": 0.01}), ["chat", "code"])


def test_tolerances_survive_json_unchanged() -> None:
    written = calibrate("fp32", pool({"a": 0.01, "d": 1 / 3}), ["chat"])
    table = json.loads(json.dumps(asdict(written)))
    assert strict_toml.convert(ClassTolerances, table, "x.trace: tolerances") == written
    whole = calibrate("fp32", pool(dict.fromkeys("abcdef", 0.1)), ["chat"])
    assert whole.weakness is None
    table = json.loads(json.dumps(asdict(whole)))
    assert strict_toml.convert(ClassTolerances, table, "x.trace: tolerances") == whole


def test_a_near_tie_is_no_decisive_flip() -> None:
    flip, margin = np.array([True, True, False, False]), np.array([0.5, 0.1, 0.5, 0.1])
    assert decisive_flips(flip, margin, 0.1) == 0.25
    assert clipped_mean(np.array([-3.0, 1.0]), 2.0) == 1.5
