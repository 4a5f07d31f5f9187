"""Runs a function just before a module is first imported, or just after.

The module is still imported when the engine does it, or never.
"""

import importlib.abc
import importlib.util
import sys


def before(module, function):
    """`function()` when `module` is first looked for."""

    class Before(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name == module:
                sys.meta_path.remove(self)
                function()
            # What is not answered here, somebody else finds.

    sys.meta_path.insert(0, Before())


def after(module, function):
    """`function(the module)` when `module` has been executed for the first time."""

    class After(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name != module:
                return None
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(name)
            execute = spec.loader.exec_module

            def execute_then_call(loaded):
                execute(loaded)
                function(loaded)

            spec.loader.exec_module = execute_then_call
            return spec

    sys.meta_path.insert(0, After())
