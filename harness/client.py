"""Sends a dialect's requests to one endpoint, many at a time, and hands back the answers.

A failed request raises; it never becomes an empty answer. The API key, if any, is read from
`ENGINEDIFF_API_KEY` and appears in no message, nor in any answer that is handed on.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

import httpx
import orjson

from harness.base.case import Chat
from harness.base.errors import ConfigError, RequestError
from harness.base.record import Generation, Scores
from launchers.dialect import Dialect, Reply, Request, Sampling, Tokens

T = TypeVar("T")
ANSWER_S = 300.0  # how long an answer may take, unless a request says otherwise
BUSY = 16  # requests in flight when a server is to be busy
RATE_LIMITED = 429
LONGEST_WAIT_S = 20.0  # of one wait, whatever a server asks for in Retry-After
# An idle connection is used again for so long. A server closes one on its own account (uvicorn,
# hence vLLM and SGLang, after 5 s), and a request that is on its way just then is lost.
IDLE_S = 1.0


class Endpoint:
    """One base URL. Thread-safe; close it when done."""

    def __init__(self, url: str, *, retries: int = 0) -> None:
        """`retries`: how often a request is sent again after 429. A server of our own has none."""
        self.url = url.rstrip("/")
        self._retries = retries
        self.key = api_key()
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        limits = httpx.Limits(
            max_connections=2 * BUSY, max_keepalive_connections=2 * BUSY, keepalive_expiry=IDLE_S
        )
        # The environment's proxies are left out: an engine is on loopback or named outright. Its
        # SSL_CERT_FILE is not: an endpoint in a company has the company's certificate.
        self._client = httpx.Client(
            headers=headers,
            limits=limits,
            timeout=_waiting(ANSWER_S),
            trust_env=False,
            verify=certificates(),
        )

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str) -> bytes | None:
        """The body of a 200 answer, None for another status; ConfigError where nobody answers."""
        try:
            response = self._patiently(Request(path=path, body=None), None)
        except httpx.UnsupportedProtocol as error:
            raise ConfigError(f"{self.url}: must begin with http:// or https://") from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ConfigError(f"{self.url}: is not a URL ({error})") from error
        except httpx.RequestError as error:
            if isinstance(_root(error), ssl.SSLError):
                raise ConfigError(
                    f"{self.url}: no TLS connection: {_root(error)}; where its certificate is a "
                    "private authority's, name that authority's file in SSL_CERT_FILE"
                ) from error
            raise ConfigError(f"{self.url}: no HTTP server answers there ({error})") from error
        return self._hidden(response.content) if response.status_code == 200 else None

    def send(self, request: Request) -> bytes:
        """The body of a 200 answer; RequestError for anything else."""
        where = f"{self.url}{request.path}"
        reply = self.ask(request)
        if reply.status is None:
            raise RequestError(f"{where}: the request failed: {reply.problem}")
        if reply.status != 200:
            said = reply.body.decode(errors="replace")
            raise RequestError(f"{where}: answered {reply.status}: {said[:500]!r}")
        return reply.body

    def ask(self, request: Request, *, timeout_s: float | None = None) -> Reply:
        """Whatever comes back. `timeout_s`: how long to wait for it; None: as for any request.

        Waits where the server limits its rate, as long as it asks for, and 20 s at most.
        """
        try:
            response = self._patiently(request, timeout_s)
        except (httpx.RequestError, httpx.InvalidURL, UnicodeError) as error:
            what = str(error) or type(error).__name__
            return Reply(status=None, body=b"", problem=what)
        return Reply(status=response.status_code, body=self._hidden(response.content), problem=None)

    def _patiently(self, request: Request, timeout_s: float | None) -> httpx.Response:
        """The answer, after as many 429 as `retries` allows."""
        response = self._once(request, timeout_s)
        for retry in range(self._retries):
            if response.status_code != RATE_LIMITED:
                break
            time.sleep(_wait_s(response, 2.0**retry))
            response = self._once(request, timeout_s)
        return response

    def _once(self, request: Request, timeout_s: float | None) -> httpx.Response:
        where = f"{self.url}{request.path}"
        answer_s = request.timeout_s or ANSWER_S
        timeout = _waiting(answer_s) if timeout_s is None else httpx.Timeout(timeout_s, pool=None)
        if request.body is None:
            return self._client.get(where, timeout=timeout)
        return self._client.post(
            where,
            content=orjson.dumps(request.body),
            headers={"content-type": "application/json"},
            timeout=timeout,
        )

    def _hidden(self, body: bytes) -> bytes:
        """A server may echo the key that it refuses."""
        return body.replace(self.key.encode(), b"***") if self.key else body


def api_key() -> str:
    """The key, empty where there is none. ConfigError where no header can carry it."""
    key = os.environ.get("ENGINEDIFF_API_KEY", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("ENGINEDIFF_API_KEY holds a character that no HTTP header can carry")
    return key


def certificates() -> ssl.SSLContext:
    """Whom to trust; ConfigError where the environment names a file that cannot be read."""
    try:
        return httpx.create_ssl_context(trust_env=True)
    except OSError as error:  # an SSLError too: it is not a file of certificates
        named = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
        raise ConfigError(f"SSL_CERT_FILE is {named}: it cannot be read ({error})") from error


def _wait_s(response: httpx.Response, otherwise: float) -> float:
    """Retry-After in seconds; a date there, or nothing, is taken as `otherwise`."""
    asked = response.headers.get("retry-after", "")
    return min(float(asked) if asked.isdigit() else otherwise, LONGEST_WAIT_S)


def _root(error: BaseException) -> BaseException:
    """What an error began with."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _waiting(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(connect=10, read=seconds, write=60, pool=None)


class Asker:
    """An endpoint and the language it speaks: tokens in, arrays out."""

    def __init__(self, endpoint: Endpoint, dialect: Dialect) -> None:
        self.endpoint = endpoint
        self.dialect = dialect

    def render(self, prompts: Sequence[Chat | str]) -> list[Tokens]:
        """The token ids of each prompt, as this engine renders it."""

        def ask(prompt: Chat | str) -> Tokens:
            return self.dialect.rendered(self.endpoint.send(self.dialect.render(prompt)))

        return in_parallel(ask, prompts, BUSY)

    def usage(self, chats: Sequence[Chat]) -> list[int | None]:
        """What the chat API counts as prompt tokens; None where an engine has no chat API."""

        def ask(chat: Chat) -> int | None:
            request = self.dialect.usage(chat)
            if request is None:
                return None
            return self.dialect.prompt_tokens(self.endpoint.send(request))

        return in_parallel(ask, chats, BUSY)

    def counted(self, chats: Sequence[Chat], *, at_once: int) -> list[int | str]:
        """As `usage`; a chat that is refused gives the reason, for others may be answered."""

        def ask(chat: Chat) -> int | str:
            request = self.dialect.usage(chat)
            assert request is not None
            reply = self.endpoint.ask(request)
            if reply.status is not None and 400 <= reply.status < 500:
                said = " ".join(reply.body.decode(errors="replace").split())
                return f"{reply.status}: {said[:160]}"
            if reply.status != 200:
                what = reply.problem or f"answered {reply.status}"
                raise RequestError(f"{self.endpoint.url}{request.path}: {what}")
            return self.dialect.prompt_tokens(reply.body)

        return in_parallel(ask, chats, at_once)

    def score(
        self,
        sequences: Sequence[Tokens],
        top_k: int,
        *,
        at_once: int,
        per_request: int | None = None,
    ) -> list[Scores]:
        """Scores of each sequence, `at_once` requests in flight.

        `per_request`: sequences in one; None: as many as suit the engine.
        """

        def ask(part: Sequence[Tokens]) -> list[Scores]:
            answer = self.endpoint.send(self.dialect.score(part, top_k))
            return self.dialect.scored(answer, part, top_k)

        size = per_request or (1 if at_once == 1 else self.dialect.sequences_per_request)
        return flatten(in_parallel(ask, parts(sequences, size), at_once))

    def generate(
        self,
        sequences: Sequence[Tokens],
        *,
        max_new_tokens: int,
        sampling: Sampling,
        seeds: Sequence[int] | None,
        top_k: int,
        at_once: int,
    ) -> list[Generation]:
        """A continuation of each sequence. `seeds` as `Dialect.generate` has them."""

        def ask(places: Sequence[int]) -> list[Generation]:
            request = self.dialect.generate(
                [sequences[i] for i in places],
                max_new_tokens=max_new_tokens,
                sampling=sampling,
                seeds=None if seeds is None else [seeds[i] for i in places],
                top_k=top_k,
            )
            generations = self.dialect.generated(self.endpoint.send(request), top_k)
            if len(generations) != len(places):
                raise RequestError(f"{len(generations)} generations came for {len(places)} prompts")
            return generations

        size = 1 if at_once == 1 else self.dialect.sequences_per_request
        return flatten(in_parallel(ask, parts(range(len(sequences)), size), at_once))


S = TypeVar("S")


def in_parallel(ask: Callable[[S], T], items: Sequence[S], at_once: int) -> list[T]:
    """`ask` of each item, in order; on the first failure (or Ctrl-C) what has not begun is left."""
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        futures = [pool.submit(ask, item) for item in items]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            failed = [f for f in futures if f.done() and f.exception() is not None]
            return [future.result() for future in failed or futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def parts(items: Sequence[S], size: int) -> list[Sequence[S]]:
    """`items` in runs of `size`, the last one shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def flatten(lists: Sequence[Sequence[T]]) -> list[T]:
    return [item for inner in lists for item in inner]
