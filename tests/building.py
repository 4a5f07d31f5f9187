"""What several tests build: scores, tolerances, a small trace, weights, a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from harness import recording
from harness.base.case import Case, Chat
from harness.base.record import Distance, Floats, Scores
from harness.checker.tolerance import Tolerance, calibrate
from harness.recording import PoolUnit, Recorded, Token

CONFIGURATIONS = tuple((name, "one" if name in "abc" else "two") for name in "abcdef")
TOLERANCE = Tolerance(
    stratum="chat",
    tau_a=0.01,
    tau_k=0.01,
    tau_f=0.1,
    c_token=0.5,
    m0=0.05,
    s0=0.2,
    benign_d_999=0.1,
    benign_mean_d=0.005,
)


def log_softmax(logits: Floats) -> Floats:
    """(N, V) -> (N, V)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def top(logprobs: Floats, tokens: Sequence[int], k: int) -> Scores:
    """The scores of `tokens` (N,) under full log distributions (N, V)."""
    ids = np.argsort(-logprobs, axis=1, kind="stable")[:, :k].astype(np.int32)
    return Scores(
        logprobs=logprobs[np.arange(len(tokens)), list(tokens)],
        top_ids=ids,
        top_logprobs=np.take_along_axis(logprobs, ids, axis=1),
    )


def distance(d: Sequence[float] | Floats, *, divergence: float = 0.0, flips: int = 0) -> Distance:
    """|d| as given, the same divergence everywhere, the first `flips` tokens decisively flipped."""
    values = np.array(d, dtype=np.float64)
    return Distance(
        d=values,
        divergence=np.full(len(values), divergence),
        flip=np.arange(len(values)) < flips,
        margin=np.ones(len(values)),
        margin_change=np.abs(values),
    )


def recorded(number: int, stratum: str, rng: np.random.Generator, prompt: Chat | str) -> Recorded:
    """A sequence of 6 to 24 tokens over 30 words, k = 4; values that float32 holds exactly."""
    count = int(rng.integers(6, 25))
    tokens = rng.integers(0, 30, count).tolist()
    logprobs = log_softmax(rng.normal(size=(count - 1, 30))).astype(np.float32).astype(np.float64)
    return Recorded(
        case=Case(id=f"{stratum}-{number}", stratum=stratum, prompt=prompt),
        token_ids=tuple(tokens),
        prompt_tokens=count // 2,
        scores=top(logprobs, tokens[1:], 4),
    )


def sequences(count: int, strata: Sequence[str] = ("chat", "text")) -> list[Recorded]:
    """`count` sequences of each stratum."""
    rng = np.random.default_rng(5)
    return [recorded(i, s, rng, f"{s} prompt {i}") for s in strata for i in range(count)]


def pool_of(rows: Sequence[Recorded], numerics: str = "fp32") -> list[PoolUnit]:
    """A benign pool of six configurations from two implementations, |d| about 0.01."""
    rng = np.random.default_rng(6)
    return [
        PoolUnit(
            numerics=numerics,
            configuration=configuration,
            implementation=implementation,
            stratum=row.case.stratum,
            case_id=row.case.id,
            distance=distance(rng.normal(scale=0.01, size=len(row.token_ids) - 1)),
        )
        for configuration, implementation in CONFIGURATIONS
        for row in rows
    ]


def write_trace(
    path: Path,
    rows: Sequence[Recorded],
    members: Mapping[str, bytes] | None = None,
    **more: Any,
) -> None:
    """A whole trace of `rows` with its tolerances; `more` replaces parts of the manifest."""
    pool = pool_of(rows)
    strata = list(dict.fromkeys(row.case.stratum for row in rows))
    manifest: dict[str, Any] = {
        "top_k": 4,
        "model": {"name": "tiny-moe", "revision": "1", "tokenizer": None},
        "reference": {"title": "a reference", "pin": None, "identity": {}},
        "tolerances": [asdict(calibrate("fp32", pool, strata))],
    }
    vocabulary = {i: Token(text=f"w{i}", special=False) for i in range(30)}
    recording.write(
        path,
        manifest={**manifest, **more},
        sequences=rows,
        pool=pool,
        vocabulary=vocabulary,
        more=members,
    )


def write_weights(path: Path, content: bytes) -> None:
    """A whole safetensors file of one tensor with these bytes."""
    tensor = {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "weight": tensor}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content)


Answer = Callable[[BaseHTTPRequestHandler], None]


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    """A whole answer."""
    handler.send_response(status)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def serving(respond: Answer) -> Generator[str]:
    """A real HTTP server in a thread, `respond` answering every request; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            respond(self)

        def do_POST(self) -> None:
            respond(self)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            del format, args

    class Server(ThreadingHTTPServer):
        request_queue_size = 64  # with 5, the sixth connection at once waits for a second

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
