"""The URL of somebody else's server as a user writes it: where it is, and which model is meant.

http://host:8000    http://host:8000/v1    https://api.vendor.com/v1#organisation/model
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from harness.base.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A base URL without `/v1`, which the paths of the API bring themselves."""

    base: str
    model: str | None  # what stands behind #; None: the only one that is served

    def __str__(self) -> str:
        return self.base if self.model is None else f"{self.base}#{self.model}"


def address(name: str) -> Address:
    """Raises ConfigError where `name` is no URL, or holds what must not be recorded."""
    try:
        parts = urlsplit(name)
        _refuse_secrets(parts)
    except ValueError as error:
        raise ConfigError(f"{name}: is not a URL ({error})") from error
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"{name}: must begin with http:// or https://")
    path = parts.path.rstrip("/").removesuffix("/v1")
    return Address(
        base=f"{parts.scheme}://{parts.netloc}{path}".rstrip("/"), model=parts.fragment or None
    )


def _refuse_secrets(parts: SplitResult) -> None:
    """A URL is written into verdicts and reports: it may hold no key."""
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if "@" in parts.netloc:
        raise ConfigError(
            f"{where}: the URL holds a user name or a password, and would be written into the "
            "report: leave it out, and give the key in ENGINEDIFF_API_KEY"
        )
    if parts.query:
        raise ConfigError(
            f"{where}: the URL ends with a query (?...), which no base URL has: leave it out, and "
            "give the key in ENGINEDIFF_API_KEY"
        )
