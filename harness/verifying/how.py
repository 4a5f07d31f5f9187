"""What a verification was asked to do: the options of its command line, by which it is resumed."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from harness import candidate
from harness.address import address
from harness.base import atomic
from harness.base.errors import ConfigError
from harness.base.home import home
from launchers import derivation, pins

FILE = "verify.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What the options say."""

    names: tuple[str, ...]  # pins and URLs
    changes: tuple[str, ...]  # of the pins
    against: str | None
    contract: str | None  # whose, of launchers/contracts; None: each pin's own
    enforce: bool
    quick: bool
    trigger: str | None  # a file of cases
    numerics: str | None  # that a URL promises
    max_tokens: int | None  # of an answer; None: as the context allows
    seed: int

    @property
    def hash(self) -> str:
        """sha256 over all of it."""
        content = orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(content).hexdigest()

    def place(self) -> Path:
        """The directory, unless one is named."""
        return home() / "runs" / f"verify-{self.hash[:12]}"

    def changes_of(self, name: str) -> tuple[str, ...]:
        return () if candidate.is_url(name) else self.changes

    def numerics_of(self, name: str) -> str | None:
        """What a URL promises; a pin says so itself."""
        return self.numerics if candidate.is_url(name) else None

    def command(self, chosen: Path | None) -> str:
        """The same, to be typed again; without the values of secrets. `chosen`: what `--run`
        names."""
        words = ["enginediff", "verify", *self.names]
        for change in self.changes:
            words += ["--set", derivation.shown(change)]
        for option, value in (
            ("--against", self.against),
            ("--contract", self.contract),
            ("--trigger", self.trigger),
            ("--numerics", self.numerics),
            ("--max-tokens", self.max_tokens),
            ("--run", chosen),
        ):
            words += [] if value is None else [option, str(value)]
        words += ["--enforce"] * self.enforce + ["--quick"] * self.quick
        return shlex.join([*words, "--seed", str(self.seed)])


def refuse(how: How) -> None:
    """Raises ConfigError for options that do nothing, that must not be written down (as all of
    them are), or that name one deployment twice."""
    urls = [name for name in how.names if candidate.is_url(name)]
    if len(urls) == len(how.names):
        for option, given in (("--set", how.changes), ("--enforce", how.enforce)):
            if given:
                raise ConfigError(f"{option}: is of pins, and none is named")
    if how.numerics is not None and (not urls or how.numerics not in pins.NUMERICS_CLASSES):
        known = " or ".join(pins.NUMERICS_CLASSES)
        raise ConfigError(
            f"--numerics is {how.numerics!r}; it is what a URL promises, and must be {known}"
        )
    asked = [str(address(name)) if name in urls else name for name in how.names]
    for place, name in enumerate(asked):
        if name in asked[:place]:
            raise ConfigError(f"{name}: is named twice")
    for change in how.changes:
        if derivation.shown(change) != change:
            raise ConfigError(
                f"--set {derivation.shown(change)}: the run's spec would hold it; put it into "
                "a pin of your own, and name that by its path"
            )


def begin(folder: Path, how: How, facts: Mapping[str, Any], choices: Mapping[str, Any]) -> Any:
    """Writes down what is asked, with the `facts` that decide what comes of it; or finds the same
    there. Raises ConfigError.

    `choices` were made for this machine and this day: those that it was begun with are returned.
    """
    own = folder / FILE
    asked = orjson.loads(orjson.dumps({**asdict(how), **facts}))
    if not own.exists():
        content = {"asked": asked, "chosen": choices}
        atomic.write_bytes(own, orjson.dumps(content, option=orjson.OPT_INDENT_2))
        return choices
    before = orjson.loads(own.read_bytes())
    changed = [key for key in asked if asked[key] != before["asked"].get(key)]
    if changed:
        lines = "\n".join(
            f"  {key}: {before['asked'].get(key)} became {asked[key]}" for key in changed
        )
        raise ConfigError(
            f"{folder}: is another verification, and would mix both:\n{lines}\n"
            "name another folder with --run"
        )
    return before["chosen"]
