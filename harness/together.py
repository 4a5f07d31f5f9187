"""Several candidates from end to end: what can be refused is refused, then ask, compare, write."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from harness import candidate, comparison, consensus, lineup, session
from harness.base import atomic
from harness.base.case import Case
from harness.base.errors import ConfigError, EnginediffError
from harness.checker import forced
from harness.checker.consensus import MINIMUM
from harness.checker.tolerance import CAP, SPARSE_SHARE
from harness.comparison import Comparison, Pair, Row
from harness.consensus import MAXIMUM, Answers, Member
from harness.levels.state import Settings
from harness.lineup import Entry
from harness.recording import Recorded, Trace
from harness.report import comparison_page
from harness.verdict import Verdict
from launchers import derivation, pins
from suites import corpus

Announce = Callable[[str], None]
CONSENSUS_PROMPTS = 20  # of each stratum: 120 in all, where about 50 are needed
WITH_REFERENCE = (
    "each candidate is judged by itself against the reference, as a check of it alone would be",
    "error rates are those of each check, conditional on the tolerances of the trace; nothing is "
    "corrected for the number of candidates",
    f"a fault that touches fewer than {SPARSE_SHARE:.0%} of sequences is not excluded, and a "
    f"prompt counts {CAP:g} tolerances at most",
    "how far two candidates lie apart is measured on the tokens that both were asked before "
    "their verdicts: of a candidate that is soon DIFFERENT these are few",
)
WITHOUT_REFERENCE = (
    "nobody is called EQUIVALENT: engines that agree may be wrong together",
    "an engine stands alone when it is more than four times as far from each of a majority as "
    "these are from each other, over prompts taken as independent draws; a fault in a few "
    "sequences is not found",
    "an engine that promises less precision than the others is not odd for lying further off",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How candidates are checked: what the command line's options say."""

    changes: Sequence[str]
    numerics: str | None
    settings: Settings
    live: str | None  # the reference to keep running
    narrow: bool | None  # relaunch what is DIFFERENT, to narrow it; None: where it is cheap
    at_once: int
    run: Path
    announce: Announce

    def options(self, *, shown: bool) -> list[str]:
        """The same as a command line's words; `shown`: without the values of secrets."""
        changes = map(derivation.shown, self.changes) if shown else self.changes
        words = [word for change in changes for word in ("--set", change)]
        words += [] if self.numerics is None else ["--numerics", self.numerics]
        words += ["--seed", str(self.settings.seed)]
        words += ["--every-level"] if self.settings.every_level else []
        words += [] if self.live is None else ["--live"]
        words += {None: [], True: ["--narrow"], False: ["--no-narrow"]}[self.narrow]
        return [
            *words,
            *("--alpha", str(self.settings.alpha)),
            *("--beta", str(self.settings.beta)),
        ]


def check_one(name: str, against: Trace, how: How) -> Verdict:
    """One candidate, in this process."""
    verdict, _ = session.check_candidate(
        name,
        how.changes,
        against=against,
        numerics=how.numerics,
        settings=how.settings,
        announce=how.announce,
        run=how.run,
        live=how.live,
        narrow=how.narrow,
    )
    return verdict


def check_against(names: Sequence[str], against: Trace, how: How) -> Comparison:
    """Every candidate against one trace. Raises ConfigError before any of them is launched."""
    _refuse_without_room(names, how)
    entries = [_entry(name, against, how) for name in names]
    rows = lineup.check_all(
        entries,
        [*how.options(shown=False), "--against", str(against.path.absolute())],
        run=how.run,
        at_once=how.at_once,
        announce=how.announce,
    )
    headline, conclusions = comparison.conclusions(rows)
    result = _comparison(
        rows,
        headline=headline,
        conclusions=conclusions,
        against=against.path.name,
        pairs=lineup.pairs(how.run, rows),
        caveats=WITH_REFERENCE,
        command=["check", *names, *how.options(shown=True), "--against", against.path.name],
    )
    _write(result, how.run)
    return result


def find_odd_one(names: Sequence[str], how: How) -> Comparison:
    """Who stands alone, without a reference. One engine after another."""
    members = [_member(name, how) for name in names]
    _refuse_consensus(members)
    cases = _drawn(how.settings.seed)
    answers, failures = _ask_all(members, cases, how)
    if len(answers) < MINIMUM and failures:
        raise next(iter(failures.values()))
    finding = consensus.judged(answers, cases, how.settings.alpha)
    places = [i for i in range(len(members)) if i not in failures]  # of the answers, in order
    rows = [
        comparison.failed(member.title, member.numerics, str(failures[i]), failures[i].exit_code)
        if i in failures
        else consensus.row_of(places.index(i), answers, finding)
        for i, member in enumerate(members)
    ]
    result = _comparison(
        rows,
        headline=consensus.headline(rows),
        conclusions=(),
        against=None,
        pairs=tuple(
            replace(p, first=places[p.first], second=places[p.second]) for p in finding.pairs
        ),
        caveats=WITHOUT_REFERENCE,
        command=["check", *names, *how.options(shown=True), "--consensus"],
    )
    _write(result, how.run)
    return result


def _refuse_without_room(names: Sequence[str], how: How) -> None:
    """A pin with a deployment takes the node's GPUs, so no other of them runs beside it."""
    loaded = [pins.read(name, how.changes) for name in names if not candidate.is_url(name)]
    large = [pin.title for pin in loaded if pin.pin.deployment is not None]
    if how.at_once > 1 and len(large) > 1:
        raise ConfigError(
            f"--at-once {how.at_once}: {comparison.listed(large)} each take the GPUs of this node; "
            "leave --at-once out, and they run one after another"
        )


def _entry(name: str, against: Trace, how: How) -> Entry:
    loaded = candidate.prepared(name, how.changes)
    promise = session.promised(loaded, how.numerics, against).numerics
    title = name if loaded is None else loaded.title
    return Entry(name=name, title=title, numerics=promise)


def _member(name: str, how: How) -> Member:
    loaded = candidate.prepared(name, how.changes)
    return Member(
        name=name,
        title=name if loaded is None else loaded.title,
        numerics=session.promise(name, how.changes, how.numerics),
        pin=loaded,
    )


def _refuse_consensus(members: Sequence[Member]) -> None:
    if not MINIMUM <= len(members) <= MAXIMUM:
        raise ConfigError(
            f"--consensus was given {len(members)} candidates; it takes {MINIMUM} to {MAXIMUM}: "
            "of two that disagree, either may be the wrong one"
        )
    pinned = [member for member in members if member.pin is not None]
    for member in pinned:
        assert member.pin is not None and pinned[0].pin is not None
        own, first = member.pin.pin.model, pinned[0].pin.pin.model
        if pins.tokenizer_hash(own.files) != pins.tokenizer_hash(first.files):
            raise ConfigError(
                f"{member.title} has another tokenizer than {pinned[0].title}: what is the same "
                "token to one is none to the other"
            )
        if own.name != first.name:
            raise ConfigError(
                f"{member.title} serves {own.name!r}, but {pinned[0].title} {first.name!r}"
            )


def _drawn(seed: int) -> list[Case]:
    """The same number of each stratum, in an order fixed by the seed."""
    cases = corpus.load()
    strata = dict.fromkeys(case.stratum for case in cases)
    drawn: list[Case] = []
    for stratum in strata:
        members = [i for i, case in enumerate(cases) if case.stratum == stratum]
        order = forced.permutation(members, seed=seed, name=f"consensus {stratum}")
        drawn += [cases[i] for i in order[:CONSENSUS_PROMPTS]]
    rng = np.random.default_rng(seed)
    return [drawn[i] for i in rng.permutation(len(drawn))]


def _ask_all(
    members: Sequence[Member], cases: Sequence[Case], how: How
) -> tuple[list[Answers], dict[int, EnginediffError]]:
    """An engine that fails takes no part; what the user got wrong is raised."""
    answers: list[Answers] = []
    failures: dict[int, EnginediffError] = {}
    sequences: list[Recorded] | None = None
    for number, member in enumerate(members):

        def say(text: str, title: str = member.title) -> None:
            how.announce(f"{title}: {text}")

        folder = how.run / "candidates" / str(number)
        try:
            given = consensus.ask(
                member, cases, sequences, folder=folder, seed=how.settings.seed, announce=say
            )
        except ConfigError:
            raise
        except EnginediffError as error:
            failures[number] = error
            say(f"failed, and takes no part: {str(error).splitlines()[0]}")
            continue
        if sequences is None:
            sequences = [given.trace[row] for row in range(len(cases))]
        answers.append(given)
    return answers, failures


def _comparison(
    rows: Sequence[Row],
    *,
    headline: str,
    conclusions: tuple[str, ...],
    against: str | None,
    pairs: tuple[Pair, ...],
    caveats: tuple[str, ...],
    command: Sequence[str],
) -> Comparison:
    return Comparison(
        schema=1,
        word=comparison.word_of(rows),
        headline=headline,
        conclusions=conclusions,
        against=against,
        rows=tuple(rows),
        pairs=pairs,
        caveats=caveats,
        command=shlex.join(["enginediff", *command]),
        provenance={
            "enginediff": version("enginediff"),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )


def _write(result: Comparison, run: Path) -> None:
    atomic.write_bytes(run / "comparison.json", comparison.to_json(result, run))
    atomic.write_bytes(run / "report.html", comparison_page.page(result).encode())
