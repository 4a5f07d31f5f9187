"""Which of an engine's paths stand open when a contract is held, and which are held to it.

An allow list: engines have many ways to generate (`/generate`, `/v1/responses`, `/v1/messages`,
`/invocations`, `/api/chat`, ...), each with sampling parameters in a language of its own, more with
every version, and next to them orders to the server itself (`/update_weights`, `/slow_down`). What
is not listed is shut, however it is spelt: a path is compared as it was sent.
"""

from __future__ import annotations

import re
from enum import Enum

from launchers.contracts import Refusal


class Access(Enum):
    """What becomes of a request."""

    CHAT = "held, and rendered by a chat template"
    TEXT = "held, and taken as it is"
    OPEN = "forwarded: it cannot sample"
    SHUT = "refused"


HELD = {"/v1/chat/completions": Access.CHAT, "/v1/completions": Access.TEXT}
READ = {
    *("/health", "/ready", "/ping", "/version", "/metrics", "/load", "/v1/loads"),
    *("/v1/models", "/model_info", "/get_model_info"),
}
ONE_MODEL = re.compile(r"/v1/models(/\w[\w.:-]*)+")  # no segment of dots, which leads elsewhere
TOKENIZERS = {"/tokenize", "/detokenize", "/v1/tokenize", "/v1/detokenize"}


def access(method: str, target: str) -> Access:
    """`target`: path and query, as in the request's first line."""
    path = target.partition("?")[0]
    if path in HELD and method == "POST":
        return HELD[path]
    read = path in READ or ONE_MODEL.fullmatch(path) is not None
    asked = read and method in ("GET", "HEAD")
    preflight = method == "OPTIONS" and (read or path in HELD or path in TOKENIZERS)
    counted = path in TOKENIZERS and method == "POST"
    return Access.OPEN if asked or preflight or counted else Access.SHUT


def refusal(method: str, target: str) -> Refusal:
    """What a client is told of a path that is shut."""
    path = target.partition("?")[0][:200]
    held = ", ".join(f"POST {name}" for name in HELD)
    message = (
        f"{method} {path} is not open here: this server holds its model to a sampling contract, "
        f"and generates through {held} alone"
    )
    return Refusal(message=message, param=None, code="path_not_open")
