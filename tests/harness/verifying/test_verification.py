"""One word for a deployment: what it needs to be EQUIVALENT, and that nothing unknown is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.held import How
from harness.checker.outcome import Word
from harness.comparison import Row, failed
from harness.verifying import verification
from harness.verifying.holding import SuiteCount
from harness.verifying.known import Known
from harness.verifying.verification import decided
from tests.verifications import CHECKED, deployment, made


def suite(name: str = "features", **counts: int) -> SuiteCount:
    held = {How(how.replace("_", " ")): count for how, count in counts.items()}
    cut, kept = counts.get("unfinished", 0), counts.get("kept", 0)
    share = cut / (cut + kept) if cut else 0.0
    return SuiteCount(suite=name, cases=sum(counts.values()), counts=held, cut=share)


WHOLE = suite(kept=20)


def word(*suites: SuiteCount, enforced: bool = False, known: tuple[Known, ...] = ()) -> Word:
    return decided(CHECKED, suites, enforced=enforced, failed=None, known=known)[0]


def test_all_kept_and_the_check_equivalent_is_equivalent() -> None:
    assert word(WHOLE, suite("parameters", kept=9)) is Word.EQUIVALENT


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (suite(kept=19, broken=1), Word.DIFFERENT),
        (suite(kept=19, unanswered=1), Word.INCONCLUSIVE),
        (suite(kept=10, unfinished=10), Word.EQUIVALENT),
        (suite(kept=9, unfinished=11), Word.INCONCLUSIVE),
        (suite(kept=9, unfinished=10, not_enforced=80), Word.INCONCLUSIVE),
        (suite(kept=10, not_enforced=10), Word.EQUIVALENT),
        (suite(not_enforced=20), Word.INCONCLUSIVE),  # it has kept nothing
        (suite(kept=18, broken=1, unanswered=1), Word.DIFFERENT),
    ],
)
def test_what_one_suite_makes_of_it(counts: SuiteCount, expected: Word) -> None:
    assert word(counts) is expected


def test_a_suite_that_keeps_nothing_is_not_kept_whatever_the_others_do() -> None:
    empty = suite("tool-schemas", unfinished=1, not_enforced=9)
    found, reasons = decided(CHECKED, [WHOLE, empty], enforced=False, failed=None)
    assert found is Word.INCONCLUSIVE and "tool-schemas: no case is kept" in reasons


def test_what_was_not_run_is_said_beside_the_word() -> None:
    _, reasons = decided(CHECKED, [WHOLE], enforced=False, failed=None, not_run=["a", "b"])
    assert reasons[-1] == "not run: a and b"


def test_no_case_at_all_is_no_word() -> None:
    assert word() is Word.INCONCLUSIVE


def test_what_serve_enforces_must_be_refused_behind_it_and_nothing_else_must() -> None:
    lax = suite("parameters", kept=10, not_enforced=1)
    assert word(lax) is Word.EQUIVALENT
    assert word(lax, enforced=True) is Word.DIFFERENT
    schemas = suite("tool-schemas", kept=10, not_enforced=1)
    assert word(schemas, enforced=True) is Word.EQUIVALENT


@pytest.mark.parametrize(
    ("checked", "expected"),
    [
        (None, Word.INCONCLUSIVE),
        (failed("a", "fp32", "it died", 4), Word.INCONCLUSIVE),
        (replace(CHECKED, word=Word.INCONCLUSIVE), Word.INCONCLUSIVE),
        (replace(CHECKED, word=Word.DIFFERENT), Word.DIFFERENT),
    ],
)
def test_without_the_checks_own_equivalent_there_is_none(
    checked: Row | None, expected: Word
) -> None:
    found, reasons = decided(checked, [WHOLE], enforced=False, failed=None)
    assert found is expected and reasons


def test_an_engine_that_was_given_up_is_not_equivalent() -> None:
    found, reasons = decided(CHECKED, [WHOLE], enforced=False, failed="it died")
    assert found is Word.INCONCLUSIVE
    assert reasons == ("it was given up: it died",)


def test_what_is_known_of_a_release_is_told_and_breaks_nothing() -> None:
    broken = suite(kept=18, broken=1, unanswered=1)
    counts = {"features": {How.BROKEN: 1, How.UNANSWERED: 1}}
    one = Known(cases="features/n-*", share=1.0, why="n is 1", of=2, found=2, counts=counts)
    found, reasons = decided(CHECKED, [broken], enforced=False, failed=None, known=(one,))
    assert found is Word.EQUIVALENT
    assert "2 cases that its release is known not to keep (serving.known)" in reasons
    assert word(suite(kept=17, broken=2, unanswered=1), known=(one,)) is Word.DIFFERENT
    assert word(suite("parameters", broken=1, kept=1), known=(one,)) is Word.DIFFERENT


def test_together_the_worst_word_and_a_failure_is_its_exit_code(tmp_path: Path) -> None:
    well = deployment("a", [WHOLE])
    worse = deployment("b", [suite(kept=1, broken=1)])
    open_ = deployment("c", [WHOLE], checked=None)
    dead = deployment("d", [suite(unanswered=20)], failed="it died")
    for deployments, expected, code in (
        ([well], Word.EQUIVALENT, 0),
        ([well, open_], Word.INCONCLUSIVE, 3),
        ([well, open_, worse], Word.DIFFERENT, 1),
        ([well, dead], Word.INCONCLUSIVE, 4),
        ([worse, dead], Word.DIFFERENT, 4),
    ):
        found = made([], deployments)
        assert (found.word, found.exit_code) == (expected, code)
        document = json.loads(verification.to_json(found, tmp_path))
        assert (document["word"], document["exit_code"]) == (expected, code)
    assert json.loads(verification.to_json(made([], [worse]), tmp_path))["deployments"][0][
        "suites"
    ][0]["counts"] == {"kept": 1, "broken": 1}
