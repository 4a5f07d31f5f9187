"""Where environments, traces, runs and known hashes live: `$ENGINEDIFF_HOME`, no repository."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """`$ENGINEDIFF_HOME`, else `enginediff` in the user's cache folder. Not created here."""
    chosen = os.environ.get("ENGINEDIFF_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "enginediff"
