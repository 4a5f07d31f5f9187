"""The real data's shape, taken from a trace: what is simulated is what a check would see."""

from __future__ import annotations

import numpy as np
import pytest

from harness import session
from harness.checker.tolerance import CAP, clipped_mean
from harness.recording import Trace
from scripts import simulate_error_rates as simulated
from tests import building
from tests.harness.levels import test_forced as level

SIZE = (50, simulated.STRATA, simulated.BULK, simulated.PROMPTS)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """K is 1e-4 everywhere, F is 0."""
    path = tmp_path_factory.mktemp("trace") / "x.trace"
    return level.write_trace(path, building.sequences(20))


def test_a_and_k_are_those_that_a_check_computes(trace: Trace) -> None:
    vectors = simulated.pool_vectors(trace)
    assert vectors.shape == (2 * len(building.CONFIGURATIONS), 2, 20)
    units = [u for u in trace.pool() if (u.configuration, u.stratum) == ("a", "chat")]
    clip = session.tolerances_of(trace, "bf16").of("chat").c_token
    assert vectors[0, 0].tolist() == [clipped_mean(unit.distance.d, clip) for unit in units]
    assert vectors[0, 1] == pytest.approx(1e-4)


def test_a_trace_whose_flips_are_less_than_a_unit_is_refused(trace: Trace) -> None:
    loose = Trace(trace.path)
    for table in loose.manifest["tolerances"]:
        for one in table["strata"]:
            one["tau_f"] = 0.1
    with pytest.raises(ValueError, match="one flipped token is less than 4 tau of F"):
        simulated.pool_vectors(loose)


def test_a_and_k_of_a_prompt_stay_together() -> None:
    a = np.random.default_rng(1).uniform(1, 2, (6, 1, 30))
    drawn = simulated.like_pool(
        np.concatenate([a, 1000 + a], axis=1), np.random.default_rng(2), SIZE
    )
    assert drawn.shape == SIZE
    assert drawn[:, :, 1] == pytest.approx(1000 + drawn[:, :, 0])
    assert len(np.unique(drawn[:, :, 0])) == a.size, "every prompt of every configuration"


@pytest.mark.parametrize(("tau", "at_clip"), [(0.5, 10), (1.0, 20)])
def test_an_f_of_that_mean_is_that_many_prompts_at_their_clip(tau: float, at_clip: int) -> None:
    values = simulated.scaled(simulated.all_or_nothing(SIZE), np.full(SIZE[:-1], tau))
    assert np.minimum(values, CAP - values).max() < 0.01
    assert ((values > 1).sum(axis=-1) == at_clip).all()


def test_a_simulation_in_that_shape_is_what_the_product_makes_of_it(trace: Trace) -> None:
    rng = np.random.default_rng(3)
    vectors = simulated.pool_vectors(trace)
    for population in simulated.populations(("benign pool",)):
        units = simulated.draw(
            population, lambda rng, size: simulated.like_pool(vectors, rng, size), 1, rng
        )
        simulated.require_same_as_product(units[0])
