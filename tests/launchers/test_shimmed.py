"""Shims of an engine: known by name, first on its path, part of a pin's identity."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.base.errors import ConfigError
from launchers import pins, shimmed


def imported(code: str) -> subprocess.CompletedProcess[str]:
    """`code` in a Python that starts with SGLang's shims, and with nothing of ours."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=shimmed.variables(["sglang"]),
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_shipped_pin_names_shims_that_are_there() -> None:
    used = {shim for name in pins.shipped() for shim in pins.load(name).pin.engine.shims}
    assert used == set(shimmed.known())


def test_shims_stand_on_the_path_in_their_order_and_none_means_no_variable() -> None:
    assert shimmed.variables([]) == {}
    path = shimmed.variables(["sglang"])["PYTHONPATH"]
    assert path.split(os.pathsep) == [str(shimmed.SHIMS / n) for n in ("sglang", "shared")]
    with pytest.raises(ConfigError, match=r"engine\.shims names 'no-such'; the known ones are "):
        shimmed.variables(["no-such"])


def test_the_digest_is_that_of_what_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shimmed, "SHIMS", tmp_path)
    (tmp_path / "own" / "__pycache__").mkdir(parents=True)
    (tmp_path / "own" / "sitecustomize.py").write_text("a = 1\n")
    first = shimmed.digest("own")
    (tmp_path / "own" / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    assert shimmed.digest("own") == first
    (tmp_path / "own" / "sitecustomize.py").write_text("a = 2\n")
    second = shimmed.digest("own")
    assert second != first
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "common.py").write_text("b = 1\n")
    assert shimmed.digest("own") not in (first, second)


def test_another_set_of_shims_is_another_pin() -> None:
    name = "tiny-moe/sglang-cpu"
    assert pins.load(name, ["engine.shims=[]"]).hash != pins.load(name).hash


def test_the_kernels_that_are_not_there_import_and_raise_when_they_are_called() -> None:
    done = imported("from sgl_kernel.moe import topk_softmax as f; print(f.__name__); f(1)")
    assert done.stdout == "topk_softmax\n"
    assert "NotImplementedError: sgl_kernel.moe.topk_softmax" in done.stderr


def test_nothing_is_imported_that_the_engine_does_not_import() -> None:
    code = "import sys; print([m for m in ('torch', 'torchvision', 'sglang') if m in sys.modules])"
    assert imported(code).stdout == "[]\n"


def test_a_function_runs_after_its_module_and_once() -> None:
    code = (
        "import around_import as around, sys; seen = []; "
        "around.after('wave', lambda wave: seen.append(wave.open)); "
        "around.before('colorsys', lambda: seen.append('colorsys' in sys.modules)); "
        "import wave, colorsys; import wave, colorsys; print(seen == [wave.open, False])"
    )
    done = imported(code)
    assert done.stdout == "True\n", done.stderr
