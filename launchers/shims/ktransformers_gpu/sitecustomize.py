"""Python imports this by itself when it starts, in every process of a KTransformers that has GPUs.

It opens the two questions of window.py, and nothing else of the shims for a CPU: those would shadow
the GPU kernels. So the two files that it needs are loaded by themselves, not their folders' others.
"""

import importlib.util
import sys
from pathlib import Path

SHIMS = Path(__file__).resolve().parent.parent


def load(folder, name):
    """The file as the module `name`, for others to import too."""
    spec = importlib.util.spec_from_file_location(name, SHIMS / folder / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


load("sglang", "around_import")
load("ktransformers", "window").install()
