"""What the zoo calls wrong, and that its pages say so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.checker.outcome import Word
from scripts.zoo import account, edits, picture, tables
from scripts.zoo.fault import Fault
from scripts.zoo.faults import FAULTS
from scripts.zoo.row import Outcome
from scripts.zoo.rows import BENIGN_ROWS, ROWS, SLICE

FAULT = next(fault for fault in FAULTS if not fault.fine)
FINE = next(fault for fault in FAULTS if fault.fine)
BENIGN = BENIGN_ROWS[0]


def outcome(word: Word | None, **more: Any) -> Outcome:
    found = Outcome(
        name="x", command=("enginediff", "check"), changed=("all",), word=word, failure=None
    )
    return replace(found, **{"largest": 5.0, "sparse": 0.5, **more})


@pytest.mark.parametrize(
    ("fault", "found", "said"),
    [
        (FAULT, outcome(Word.DIFFERENT), None),
        (FAULT, outcome(Word.EQUIVALENT), "false EQUIVALENT"),
        (FAULT, outcome(Word.INCONCLUSIVE), "undecided"),
        (FAULT, outcome(None, failure="died"), "came to nothing: died"),
        (FAULT, outcome(Word.EQUIVALENT, largest=0.5, sparse=0.0), "false EQUIVALENT"),
        (FINE, outcome(Word.EQUIVALENT, largest=0.5, sparse=0.0), None),
        (FINE, outcome(Word.INCONCLUSIVE, largest=0.5, sparse=0.0), None),
        (FINE, outcome(Word.EQUIVALENT, largest=3.0, sparse=0.03), None),  # in few sequences
        (FINE, outcome(Word.EQUIVALENT, largest=3.0, sparse=0.05), "false EQUIVALENT"),
        (FINE, outcome(Word.INCONCLUSIVE, largest=3.0, sparse=0.03), "undecided"),
        (BENIGN, outcome(Word.EQUIVALENT), None),
        (BENIGN, outcome(Word.DIFFERENT), "false alarm: DIFFERENT"),
        (BENIGN, outcome(Word.INCONCLUSIVE), "false alarm: INCONCLUSIVE"),
        (BENIGN, outcome(None, failure="died"), "came to nothing: died"),
    ],
)
def test_what_is_wrong_is_said(fault: Fault, found: Outcome, said: str | None) -> None:
    assert account.wrong(fault, found) == said


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
    with pytest.raises(ValueError, match="changes no tensor"):
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
        "sparse": found.sparse,
        "smaller": None,
        "wrong": account.wrong(fault, found),
        "diagnosis": None,
        "today": [{"rule": "theirs", "word": "caught", "tokens": 10}],
    }


def test_the_pages_tell_every_row_and_what_is_wrong() -> None:
    rows = [row(FAULT, outcome(Word.EQUIVALENT)), row(BENIGN, outcome(Word.EQUIVALENT))]
    none = {"faults": 0, "first": 0, "among": 0}
    document: dict[str, Any] = {
        "machine": account.machine(),
        "seconds": 60.0,
        "traces": [],
        "rows": rows,
        "numeric": {"kinds": ["a", "b"], "faults": 0, "median_tokens": None, "goal": 2000},
        "diagnosis": {"all": none, "unseen": none},
        "wrong": {one["name"]: one["wrong"] for one in rows if one["wrong"]},
    }
    page = tables.page(document)
    assert f"WRONG  {FAULT.name}: false EQUIVALENT" in page
    assert "**EQUIVALENT**" in page  # of the wrong row
    widths = {line.count("|") for line in page.splitlines() if line.startswith("| ")}
    assert len(widths) > 1 and "| theirs | 1 of 1 | 0 | 0 | 1 of 1 | 10 |" in page
    drawn = ElementTree.fromstring(picture.picture(document))
    circles = [e for e in drawn.iter() if e.tag.endswith("circle")]
    assert len(circles) == len(rows) + 4  # and the legend
