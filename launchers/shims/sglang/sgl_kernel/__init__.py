"""Stands in for SGLang's GPU kernels, of which there is no CPU build, and computes nothing.

Every name and every submodule can be imported, for SGLang imports them unasked; every call raises.
"""

import importlib.abc
import importlib.machinery
import sys


def _absent(module):
    """A module's `__getattr__`."""

    def find(name):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments, **named):
            raise NotImplementedError(f"{module}.{name} was called; it is not installed on a CPU")

        call.__name__ = name
        return call

    return find


class _Submodules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        # SGLang has a scalar_type of its own where this one is missing.
        if not name.startswith("sgl_kernel.") or name == "sgl_kernel.scalar_type":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return None  # Python's own

    def exec_module(self, module):
        module.__getattr__ = _absent(module.__name__)


sys.meta_path.insert(0, _Submodules())
__getattr__ = _absent("sgl_kernel")
