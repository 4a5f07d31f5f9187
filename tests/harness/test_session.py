"""What a check refuses before anything is started, recorded or written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness import session
from harness.base.errors import ConfigError
from launchers import pins


def test_a_pin_by_its_path_is_no_trace(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    shutil.copy(pins.SHIPPED / "tiny-moe" / "reference.toml", own)
    own.write_text(own.read_text().replace('path = "tiny-moe"', 'path = "nowhere"'))
    with pytest.raises(ConfigError, match="no such model folder"):
        session.trace_of(str(own), classes=("fp32",), announce=print)


def test_a_class_that_a_reference_has_no_benign_pool_for_is_refused_before_it_starts() -> None:
    with pytest.raises(ConfigError, match="fp32, bf16, and none for 'int4-weights'"):
        session.trace_of("tiny-moe/reference", classes=("int4-weights",), announce=print)


@pytest.mark.parametrize(
    ("name", "changes", "numerics", "named"),
    [
        ("no/such", (), None, "no/such"),
        ("tiny-moe/vllm-cpu", ("args=1",), None, "args"),
        ("tiny-moe/vllm-cpu", (), "bf16", "promises fp32"),
        ("http://127.0.0.1:1", (), "fp8", "fp8"),
        ("http://127.0.0.1:1", ("numerics=bf16",), None, "running server"),
    ],
)
def test_a_candidate_that_cannot_be_checked_is_refused(
    name: str, changes: tuple[str, ...], numerics: str | None, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        session.promise(name, changes, numerics)
