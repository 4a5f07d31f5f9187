"""What a deployment does with sampling parameters: the right ones are taken, in each mode that its
model has, and every other value is refused.

For users of one model get one distribution: Kimi's own API answers 400 to any other temperature.
An engine that was not told of a contract takes what it is given: that is `not enforced`, and apart
from a right value that is refused, which is `broken`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.base.held import Held, kept, refused, taken
from harness.base.reply import Reply
from harness.base.sampling_rules import Rules
from harness.base.suite import Given, Suite
from suites import owed
from suites.owed import Owed

RULES = "1"
WRONG: Mapping[str, tuple[float, ...]] = {
    "temperature": (0.0, 0.6, 1.0, 1.1, 2.0, -0.1),
    "top_p": (0.8, 1.0),
    "presence_penalty": (0.5, -0.5),
    "frequency_penalty": (0.5, -0.5),
    "n": (2,),
}  # but for the one that is right
ASKED = {"messages": [{"role": "user", "content": "Answer with one word: yes."}], "max_tokens": 16}


def suite(given: Given) -> Suite:
    return owed.suite(given.name, RULES, _cases(owed.rules(given)))


def _cases(rules: Rules) -> Iterator[Owed]:
    yield _right("nothing", "none is given", {})
    for mode, own in rules.modes.items():
        by = rules.asked_by[mode]
        only = {**own, **rules.always}
        all_ = {field: _written(field, right) for field, right in only.items()}
        yield _right(f"{mode}/none", f"{mode} mode, none is given", by)
        yield _right(f"{mode}/all", f"{mode} mode, all are given and right", {**by, **all_})
        for field, right in only.items():
            value = _written(field, right)
            what = f"{mode} mode, {field} {value:g}"
            yield _right(f"{mode}/{field}-{value:g}", what, {**by, field: value})
            for wrong in WRONG[field]:
                if wrong != right:
                    yield _wrong(mode, field, _written(field, wrong), by)
    for mode, by in rules.asked_by.items():
        if mode not in rules.modes:
            yield Owed(
                id=f"{mode}/none",
                what=f"{mode} mode is refused: {rules.family} has none",
                body={**ASKED, **by},
                hold=lambda reply, by=by: refused(reply, ("thinking", *by)),
            )


def _right(name: str, what: str, fields: Mapping[str, Any]) -> Owed:
    return Owed(id=name, what=f"{what}: is answered", body={**ASKED, **fields}, hold=_answered)


def _wrong(mode: str, field: str, value: float, by: Mapping[str, Any]) -> Owed:
    def hold(reply: Reply) -> Held:
        return refused(reply, (field,))

    return Owed(
        id=f"{mode}/{field}-{value:g}",
        what=f"{mode} mode, {field} {value:g}: is refused",
        body={**ASKED, **by, field: value},
        hold=hold,
    )


def _answered(reply: Reply) -> Held:
    return taken(reply, lambda _: kept("answered"), whole=False)


def _written(field: str, value: float) -> float:
    """A count is an integer: engines refuse an n of 1.0 for its type."""
    return int(value) if field == "n" else value
