"""The fake engine, started by the command that starts vLLM's server."""

from __future__ import annotations

import runpy
from pathlib import Path

if __name__ == "__main__":
    server = Path(__file__).parents[4] / "server.py"
    runpy.run_path(str(server), run_name="__main__")
