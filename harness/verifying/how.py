"""What a verification was asked to do: the options of its command line, by which it is resumed."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from harness import candidate
from harness.base import atomic
from harness.base.errors import ConfigError
from harness.base.home import home
from launchers import derivation

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

    def command(self) -> str:
        """The same, to be typed again; without the values of secrets."""
        words = ["enginediff", "verify", *self.names]
        for change in self.changes:
            words += ["--set", derivation.shown(change)]
        for option, value in (
            ("--against", self.against),
            ("--contract", self.contract),
            ("--trigger", self.trigger),
            ("--numerics", self.numerics),
            ("--max-tokens", self.max_tokens),
        ):
            words += [] if value is None else [option, str(value)]
        words += ["--enforce"] * self.enforce + ["--quick"] * self.quick
        return shlex.join([*words, "--seed", str(self.seed)])


def refuse_secrets(how: How) -> None:
    """Raises ConfigError for a change that must not be written down, as all of them are."""
    for change in how.changes:
        if derivation.shown(change) != change:
            raise ConfigError(
                f"--set {derivation.shown(change)}: the run's spec would hold it; put it into "
                "a pin of your own, and name that by its path"
            )


def require_same(folder: Path, how: How, pins: Mapping[str, str]) -> None:
    """Writes down what is asked, and the hash of each pin that is named; or finds the same there.
    Raises ConfigError."""
    own, asked = folder / FILE, orjson.loads(orjson.dumps({**asdict(how), "pins": pins}))
    if not own.exists():
        atomic.write_bytes(own, orjson.dumps(asked, option=orjson.OPT_INDENT_2))
        return
    before = orjson.loads(own.read_bytes())
    changed = [key for key in asked if asked[key] != before.get(key)]
    if changed:
        lines = "\n".join(f"  {key}: {before.get(key)} became {asked[key]}" for key in changed)
        raise ConfigError(
            f"{folder}: is another verification, and would mix both:\n{lines}\n"
            "name another folder, or leave --run out"
        )
