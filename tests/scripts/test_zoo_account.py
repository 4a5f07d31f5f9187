"""What the zoo calls wrong, and that its pages say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.base.errors import ConfigError
from harness.base.record import Scores
from harness.checker.outcome import Word
from harness.checker.tolerance import ALL, calibrate
from scripts.zoo import account, edits, picture, size, tables
from scripts.zoo.fault import Fault
from scripts.zoo.faults import FAULTS
from scripts.zoo.probe import Probe
from scripts.zoo.row import Outcome
from scripts.zoo.rows import BENIGN_ROWS, ROWS, SLICE
from scripts.zoo.size import Size
from tests.building import pool_of, sequences

FAULT = next(fault for fault in FAULTS if not fault.fine)
FINE = next(fault for fault in FAULTS if fault.fine)
BENIGN = BENIGN_ROWS[0]


def outcome(word: Word | None, **more: Any) -> Outcome:
    found = Outcome(
        name="x", command=("enginediff", "check"), changed=("all",), word=word, failure=None
    )
    return replace(found, **{"largest": 5.0, **more})


def sized(ratio: float) -> Size:
    return Size(statistic="K", ratio=ratio, prompts=36, tokens=4_000)


@pytest.mark.parametrize(
    ("fault", "found", "size", "said"),
    [
        (FAULT, outcome(Word.DIFFERENT), None, None),
        (FAULT, outcome(Word.EQUIVALENT), None, "false EQUIVALENT"),
        (FAULT, outcome(Word.INCONCLUSIVE), None, "undecided"),
        (FAULT, outcome(None, failure="died"), None, "came to nothing: died"),
        (FINE, outcome(Word.EQUIVALENT), None, "false EQUIVALENT"),  # of unknown size
        (FINE, outcome(Word.EQUIVALENT, largest=0.1), sized(1.5), "false EQUIVALENT"),
        (FINE, outcome(Word.INCONCLUSIVE), sized(1.5), "undecided"),
        (FINE, outcome(Word.EQUIVALENT), sized(1.0), None),
        (FINE, outcome(Word.INCONCLUSIVE), sized(0.2), None),
        (BENIGN, outcome(Word.EQUIVALENT), None, None),
        (BENIGN, outcome(Word.DIFFERENT), None, "false alarm: DIFFERENT"),
        (BENIGN, outcome(Word.INCONCLUSIVE), None, "false alarm: INCONCLUSIVE"),
        (BENIGN, outcome(None, failure="died"), None, "came to nothing: died"),
    ],
)
def test_what_is_wrong_is_said(
    fault: Fault, found: Outcome, size: Size | None, said: str | None
) -> None:
    assert account.wrong(fault, found, size) == said


def test_a_fault_is_as_large_as_the_engine_with_it_is_far_from_the_engine_without() -> None:
    rows = sequences(8)
    tolerances = calibrate("fp32", pool_of(rows), ("chat", "text"))
    held = tolerances.of(ALL)
    base = probe_of({row.case.id: row.scores for row in rows})
    for times in (0.5, 3.0):
        moved = {
            row.case.id: replace(row.scores, logprobs=row.scores.logprobs + times * held.tau_a)
            for row in rows
        }
        found = size.of(base, probe_of(moved), tolerances)
        assert found is not None and found.small is (times < 1)
        assert times > 1 or (found.statistic, found.ratio) == ("A", pytest.approx(times))
        assert (found.prompts, found.tokens) == (16, sum(len(r.token_ids) - 1 for r in rows))
    assert size.of(base, probe_of({}), tolerances) is None


def probe_of(scores: Mapping[str, Scores]) -> Probe:
    """Of an engine that was asked for scores alone."""
    given: dict[str, Any] = dict.fromkeys(field.name for field in fields(Probe))
    given["scores"] = scores
    return Probe(**given)


def test_rows_have_names_of_their_own_and_the_slice_is_of_them() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    assert set(SLICE) <= set(names)
    seen = {fault.number for fault in FAULTS if fault.number is not None and not fault.unseen}
    assert len(seen) >= 24
    assert len([fault for fault in FAULTS if fault.unseen]) == 3


def test_every_edit_changes_what_it_edits_and_keeps_the_rest(tmp_path: Path) -> None:
    for fault in ROWS:
        folder = tmp_path / fault.name
        words = fault.words(folder)
        assert len(words) == len(set(words))
        if fault.copy is not None:
            assert (folder / "model" / "tokenizer.json").is_file()
        if fault.template is not None:
            assert (folder / "other_chat_template.jinja").is_file()
    with pytest.raises(ConfigError, match="changes no tensor"):
        edits.with_weights(_nothing)("tiny-moe", tmp_path / "same")


def _nothing(tensors: dict[str, edits.Tensor]) -> None:
    """Changes nothing."""
    del tensors


def row(fault: Fault, found: Outcome) -> dict[str, Any]:
    return {
        "name": fault.name,
        "number": fault.number,
        "kind": fault.kind,
        "how": fault.how,
        "what": fault.what,
        "seen": fault.seen,
        "pin": fault.pin,
        "unseen": fault.unseen,
        "command": list(found.command),
        "changed": list(found.changed),
        "word": found.word,
        "failure": found.failure,
        "level": "L2",
        "reasons": ["a | b"],
        "tokens": 1234,
        "judged": 1000,
        "seconds": 1.5,
        "largest": found.largest,
        "size": asdict(sized(0.5)) if fault.fine else None,
        "wrong": account.wrong(fault, found, None),
        "diagnosis": None,
        "today": [{"rule": "theirs", "word": "caught", "tokens": 10}],
    }


def test_the_pages_tell_every_row_and_what_is_wrong() -> None:
    rows = [row(FAULT, outcome(Word.EQUIVALENT)), row(BENIGN, outcome(Word.EQUIVALENT))]
    none = {"faults": 0, "first": 0, "among": 0}
    document: dict[str, Any] = {
        "machine": account.machine(),
        "seconds": 60.0,
        "trace_seconds": 6.0,
        "absent": ["another-row"],
        "traces": [],
        "rows": rows,
        "numeric": {"kinds": ["a", "b"], "faults": 0, "median_tokens": None, "goal": 2000},
        "diagnosis": {"all": none, "meant": none, "others": none},
        "wrong": {one["name"]: one["wrong"] for one in rows if one["wrong"]},
    }
    page = tables.page(document)
    assert f"WRONG  {FAULT.name}: false EQUIVALENT" in page
    assert "not among these rows: another-row" in page
    assert "**EQUIVALENT**" in page  # of the wrong row
    widths = {line.count("|") for line in page.splitlines() if line.startswith("| ")}
    assert len(widths) > 1 and "| theirs | 0 of 0 | 1 of 1 | 0 | 1 of 1 | 10 |" in page
    drawn = ElementTree.fromstring(picture.picture(document))
    circles = [e for e in drawn.iter() if e.tag.endswith("circle")]
    assert len(circles) == len(rows) + 4  # and the legend
