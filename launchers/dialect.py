"""What every engine can be asked at the level of tokens: the seam between harness and engines.

A dialect is pure: it makes requests and reads answers; sending them is the client's business. A
dialect that has an engine of its own to start offers a `command` too (`launchers.registry`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness.base.case import Chat
from harness.base.record import Generation, Scores
from launchers.pins import LoadedPin, SamplingTable
from launchers.process import Command
from launchers.running import Reported

Tokens = tuple[int, ...]
Sampling = SamplingTable | Mapping[str, Any]  # as OpenAI's API and vLLM's name the fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request to an engine; `body` is JSON, None for a GET."""

    path: str
    body: Mapping[str, Any] | None
    timeout_s: float | None = None  # for the answer; None: the client's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back for a Request, whatever it was."""

    status: int | None  # None: no answer at all
    body: bytes
    problem: str | None  # why there is no answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Toggle:
    """A part of an engine that can be left out, or taken from elsewhere, without another answer.

    Where an engine is right, the answers stay within its tolerance; where they come right by it,
    the fault lies in that part.
    """

    name: str  # what runs then, in words: "without the prefix cache"
    changes: tuple[str, ...]  # of the pin, as `--set` takes them


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way of computing the same scores; a benign pool is made of them."""

    name: str
    implementation: str
    options: Mapping[str, Any]
    sequences_per_request: int


class Dialect(Protocol):
    """One engine's language. Answers that are not what was asked for raise RequestError."""

    engine: str
    model: str  # the name that it is served under
    sequences_per_request: int  # how many sequences one score or generate request should carry

    def render(self, prompt: Chat | str) -> Request:
        """Asks for the token ids of a prompt: a chat through the template, a text as it is."""
        ...

    def rendered(self, answer: bytes) -> Tokens: ...

    def chat(self, chat: Chat) -> dict[str, Any] | None:
        """The body of a chat request, nothing that samples in it (`openai_api.chat`). None: there
        is no chat API."""
        ...

    def usage(self, chat: Chat) -> Request | None:
        """Asks the chat API for one token, to see what it counts as prompt tokens."""
        ...

    def prompt_tokens(self, answer: bytes) -> int: ...

    def score(self, sequences: Sequence[Tokens], top_k: int) -> Request:
        """Asks for the logprobs of given tokens, computed afresh and not from a prefix cache."""
        ...

    def scored(self, answer: bytes, sequences: Sequence[Tokens], top_k: int) -> list[Scores]: ...

    def generate(
        self,
        sequences: Sequence[Tokens],
        *,
        max_new_tokens: int,
        sampling: Sampling,
        seeds: Sequence[int] | None,
        top_k: int,
    ) -> Request:
        """Asks for continuations, each with the logprobs under the model's own distribution.

        `sampling`: a table is sent whole; of a mapping its fields alone, and the server's own
        defaults hold for the others.

        `seeds`: one a sequence; None: nothing of it need come out the same again.
        """
        ...

    def generated(self, answer: bytes, top_k: int) -> list[Generation]: ...

    def identity(self) -> Request | None:
        """Asks the server what it is: version, model, limits. None: there is no such question."""
        ...

    def identified(self, answer: bytes) -> dict[str, Any]: ...


@runtime_checkable
class Detokenizing(Protocol):
    """A dialect whose engine says how token ids read, too."""

    ids_per_request: int

    def detokenize(self, token_ids: Sequence[int]) -> Request:
        """Asks how each token id reads, and whether it is special."""
        ...

    def detokenized(self, answer: bytes) -> tuple[list[str], list[bool]]:
        """A text and a flag an id; the flag is False throughout where the engine has none."""
        ...


@runtime_checkable
class Chatting(Protocol):
    """A dialect whose engine serves OpenAI's own APIs, which a run asks by."""

    ends_with_done: bool  # every whole stream of it ends with [DONE]; False: that is not known

    def sampling(self, table: SamplingTable) -> dict[str, Any]:
        """The fields of a request that is to be sampled so: all that the engine knows."""
        ...


class Launcher(Protocol):
    """How one engine is started from a pin."""

    def command(self, loaded: LoadedPin, *, python: Path, port: int) -> Command: ...

    def dialect(self, loaded: LoadedPin) -> Dialect: ...

    def reported(self, answers: Mapping[str, bytes], log: str) -> Reported:
        """What the engine says of itself: the answers to `questions`, and its log so far."""
        ...

    def bit_equal(self, loaded: LoadedPin) -> str | None:
        """The key of the pin by which the engine promises that a score depends on no other request,
        to the last bit; None: it promises nothing of the kind."""

    def toggles(self, loaded: LoadedPin) -> tuple[Toggle, ...]:
        """Those that change something of this pin, and that this engine takes; cheapest first."""
        ...

    ready_path: str  # answers 200 when the engine can serve
    questions: tuple[str, ...]  # paths that say, with 200, what it is
