"""The exact test says what statsmodels says, and looks at discordant cases alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar as reference

from harness.checker.tasks.mcnemar import discordant, one_sided, two_sided

COUNTS = st.tuples(st.integers(0, 60), st.integers(0, 60)).filter(any)


@settings(deadline=None)
@given(COUNTS, st.integers(0, 500))
def test_two_sided_p_is_that_of_statsmodels_whatever_the_concordant_cases(
    counts: tuple[int, int], concordant: int
) -> None:
    lost, won = counts
    theirs: Any = reference([[concordant, lost], [won, concordant // 2]], exact=True)
    assert two_sided(lost, won) == pytest.approx(min(1.0, theirs.pvalue), rel=1e-9)


@settings(deadline=None)
@given(COUNTS)
def test_the_one_sided_tails_overlap_in_what_was_found_and_swap_with_the_sides(
    counts: tuple[int, int],
) -> None:
    lost, won = counts
    worse, better = one_sided(lost, won), one_sided(won, lost)
    assert worse + better == pytest.approx(1 + binom.pmf(lost, lost + won, 0.5))
    assert two_sided(lost, won) == pytest.approx(min(1.0, 2 * min(worse, better)))
    assert two_sided(lost, won) == two_sided(won, lost)


def test_five_losses_and_no_win_are_one_in_thirty_two() -> None:
    assert one_sided(5, 0) == pytest.approx(1 / 32)


def test_without_a_discordant_case_there_is_no_p() -> None:
    assert discordant(np.zeros(9)) == (0, 0)
    for test in (one_sided, two_sided):
        with pytest.raises(ValueError, match="no case is discordant"):
            test(0, 0)
