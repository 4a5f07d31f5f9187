"""A port is claimed before anything slow begins, by real sockets."""

from __future__ import annotations

import socket

import pytest

from harness import gateway, ports
from harness.base.errors import ConfigError, LaunchError
from launchers import contracts


def test_a_port_that_is_claimed_is_taken_before_anyone_listens() -> None:
    with ports.bound("127.0.0.1", None) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {port}: is taken"):
            ports.bound("127.0.0.1", port)
    with ports.bound("127.0.0.1", port) as again:
        assert again.getsockname()[1] == port


def test_a_port_whose_last_connection_is_still_closing_is_free() -> None:
    with ports.bound("127.0.0.1", None) as listener:
        ports.listening(listener, 1)
        address = listener.getsockname()
        with socket.create_connection(address), listener.accept()[0] as ours:
            ours.close()  # first, so that its side waits
    with ports.bound(*address) as again:
        assert again.getsockname() == address


def test_a_gateway_that_cannot_listen_says_so() -> None:
    with socket.socket() as other, socket.socket() as listener:
        for one in (other, listener):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        listener.bind(other.getsockname())
        other.listen()
        contract = contracts.load("kimi-k2.6")
        running = gateway.running(listener, engine="http://127.0.0.1:1", contract=contract)
        with pytest.raises(LaunchError, match="cannot listen: Address already in use"), running:
            pass
