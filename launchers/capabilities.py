"""What a running endpoint can do, each with the evidence: found by asking, never assumed.

A field of a request that is accepted with 200 and ignored is a no. What could not be found out,
because the server limits its rate, fails or is silent, is unknown.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Able(StrEnum):
    """Whether an endpoint can do something."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One thing that an endpoint can do, or not."""

    able: Able
    evidence: str  # status, and what came back
    most: int | None = None  # alternatives of a position that it gives; None: not about that

    @property
    def yes(self) -> bool:
        """What is unknown is not built upon."""
        return self.able is Able.YES


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """All that was asked. The first five are what the levels of a check need."""

    render_chat: Capability
    render_text: Capability
    usage: Capability
    score: Capability
    generate: Capability
    chat: Capability
    completions: Capability
    chat_logprobs: Capability
    completion_logprobs: Capability
    token_id_prompts: Capability
    tools: Capability
    thinking: Capability
    streaming: Capability
    stream_usage: Capability
    seed: Capability
    sampling_echo: Capability
    requests: int  # that it took to find out

    def table(self) -> dict[str, Any]:
        """For verdict.json: name -> able, evidence, most; and the number of requests."""
        return asdict(self)


TITLES = {
    "render_chat": "token ids of a chat (tokenise)",
    "render_text": "token ids of a text (tokenise)",
    "usage": "count of prompt tokens (usage)",
    "score": "logprobs of given tokens (prompt logprobs)",
    "generate": "token ids and logprobs of a continuation",
    "chat": "chat completions",
    "completions": "completions",
    "chat_logprobs": "logprobs of a chat's answer",
    "completion_logprobs": "logprobs of a completion",
    "token_id_prompts": "prompts given as token ids",
    "tools": "tools put before the model",
    "thinking": "thinking switched by chat_template_kwargs",
    "streaming": "streamed answers",
    "stream_usage": "usage in the last chunk of a stream",
    "seed": "seed",
    "sampling_echo": "sampling parameters given back",
}
