"""Data from outside is where the variable says, or nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import ConfigError
from suites.outside import VARIABLE, folder


def test_without_the_variable_there_is_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert folder("walle") is None
    monkeypatch.setenv(VARIABLE, "")
    assert folder("walle") is None


def test_a_folder_of_the_data_is_found_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    (tmp_path / "walle").mkdir()
    (tmp_path / "prompt_tokens").write_text("no folder")
    assert folder("walle") == tmp_path / "walle"
    assert folder("prompt_tokens") is None
    assert folder("another") is None


def test_a_variable_that_names_no_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "nowhere", tmp_path / "file"):
        monkeypatch.setenv(VARIABLE, str(wrong))
        with pytest.raises(ConfigError, match=f"ENGINEDIFF_DATA is {wrong}; it must be a folder"):
            folder("walle")
