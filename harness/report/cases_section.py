"""The page's tables of single cases: those that deployments hold differently, and all not kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.base.held import Held, How
from harness.report import tables
from harness.report.holding_text import SIGNS
from harness.report.suites_section import TINTS, heads
from harness.report.text import shown
from harness.verifying.holding import Row
from harness.verifying.verification import Verification

FOLDED_FROM = 40  # cases that differ: more stand folded
MOST = 400  # cases of a suite that are shown as not kept; the JSON has all
WORST_FIRST = {how: place for place, how in enumerate(How)}

Label = Callable[[Sequence[Row], int], str]


def differing(found: Verification) -> str:
    """All of them, by suite."""
    rows = [row for row in found.rows if row.differs]
    if len(found.deployments) < 2:
        return '<p class="note">One deployment alone differs from none.</p>'
    if not rows:
        return f'<p class="note">None: all {len(found.rows):,} cases came out alike.</p>'
    folded = len(rows) > FOLDED_FROM
    said = f"<p>{len(rows):,} of {len(found.rows):,} cases came out otherwise in one than another."
    opened = "Unfold a suite for its cases." if folded else ""
    suites = "".join(
        _folded(f"{shown(suite)}: {len(of):,} differ", _table(found, of, ""), open_=not folded)
        for suite, of in _by_suite(rows).items()
    )
    return f"{said} {opened}</p>{suites}"


def not_kept(found: Verification) -> str:
    """By suite, the worst first, MOST of each."""
    rows = [row for row in found.rows if _worst(row) is not How.KEPT]
    if not rows:
        kept = (
            f"None: all {len(found.rows):,} cases were kept." if found.rows else "None was asked."
        )
        return f'<p class="note">{kept}</p>'
    cases = {suite: len(of) for suite, of in _by_suite(found.rows).items()}
    return "".join(
        _folded(
            f"{shown(suite)}: {len(of):,} of {cases[suite]:,} not kept",
            _bounded(found, sorted(of, key=lambda row: WORST_FIRST[_worst(row)])),
            open_=False,
        )
        for suite, of in _by_suite(rows).items()
    )


def _worst(row: Row) -> How:
    return min((one.how for one in row.held.values()), key=lambda how: WORST_FIRST[how])


def _by_suite(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.suite, []).append(row)
    return found


def _folded(summary: str, body: str, *, open_: bool) -> str:
    return f"<details{' open' * open_}><summary>{summary}</summary>{body}</details>"


def _bounded(found: Verification, rows: Sequence[Row]) -> str:
    left = len(rows) - MOST
    note = f"{left:,} more are left out here; verification.json has all." if left > 0 else ""
    return _table(found, rows[:MOST], note)


def _table(found: Verification, rows: Sequence[Row], note: str) -> str:
    body = "".join(_case(row) for row in rows)
    return tables.table(("case", *heads(found)), body, "cards cases even", note)


def _case(row: Row) -> str:
    cells = "".join(_cell(place, *one) for place, one in enumerate(row.held.items(), 1))
    return (
        f'<tr><th scope="row" class="across"><code>{shown(row.case)}</code>'
        f'<br><span class="quiet">{shown(row.what)}</span></th>{cells}</tr>'
    )


def _cell(place: int, engine: str, held: Held) -> str:
    return (
        f'<td class="held across {TINTS[held.how]}" data-label="{place}. {shown(engine)}">'
        f'<span class="sign" aria-hidden="true">{SIGNS[held.how]}</span> <b>{held.how}</b>'
        f"<small>{shown(held.why)}</small></td>"
    )
