"""An address at which nobody is, which Ray itself would wait at."""

from __future__ import annotations

import pytest

from harness import ports
from harness.base.errors import ConfigError
from harness.nodes import raylets


def test_an_address_where_nobody_listens_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ports.bound("127.0.0.1", None) as listener:  # and nobody listens on it
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with (
            pytest.raises(ConfigError, match=f"RAY_ADDRESS is {address}, and nobody answers"),
            raylets.joined(),
        ):
            pass


def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:99999")
    with pytest.raises(ConfigError, match=r"RAY_ADDRESS is 127\.0\.0\.1:99999"), raylets.joined():
        pass
