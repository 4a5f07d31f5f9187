"""Import shims of ours for engines that need them: folders put first on the path of their Python.

They run in the engine's environment, and are no part of this program. A pin names those that it
uses (`engine.shims`). Python imports the `sitecustomize.py` of the first by itself, in every
process of the engine; what the others hold can be imported, and so can what lies in `shared`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import ConfigError

SHIMS = Path(__file__).with_name("shims")
SHARED = "shared"


def known() -> list[str]:
    """The names that a pin can use."""
    return sorted(path.parent.name for path in SHIMS.glob("*/sitecustomize.py"))


def variables(names: Sequence[str]) -> dict[str, str]:
    """The environment variables that put shims in place, in this order; none for no shims."""
    if not names:
        return {}
    folders = [*(_folder(name) for name in names), SHIMS / SHARED]
    path = os.pathsep.join(map(str, folders))
    # Unwritten bytecode: the folder belongs to our package, and its hash to the pin's identity.
    return {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def digest(name: str) -> str:
    """sha256 over the files of a shim and the shared ones: what a verdict has beside its name."""
    files = [*_folder(name).rglob("*.py"), *(SHIMS / SHARED).rglob("*.py")]
    content = hashlib.sha256()
    for path in sorted(files):
        content.update(f"{path.relative_to(SHIMS).as_posix()}\0".encode())
        content.update(hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()


def _folder(name: str) -> Path:
    if name not in known():
        raise ConfigError(f"engine.shims names {name!r}; the known ones are {', '.join(known())}")
    return SHIMS / name
