"""What stands between a client and engines, and goes wrong: a small HTTP server on loopback.

It buffers a whole answer before it hands it on, so a stream comes in one piece. What counts as
wrong is an answer that is another than the right one: where the wrong replica is asked, so is the
right one.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

HANDED_ON = ("content-type", "retry-after")


@dataclass(slots=True, kw_only=True)
class Wrong:
    """What goes wrong, and how often it did. The first upstream is the right one."""

    replica: float = 0.0  # share of requests that the second upstream answers
    cut: float = 0.0  # share of streams that end in the middle, as if they were whole
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    lock: threading.Lock = field(default_factory=threading.Lock)
    asked: int = 0
    wrong: int = 0

    def happens(self, share: float) -> bool:
        """Whether it goes wrong this time."""
        with self.lock:
            self.asked += 1
            return self.chance.random() < share

    def went_wrong(self) -> None:
        with self.lock:
            self.wrong += 1

    def counted(self) -> tuple[int, int]:
        """How many answers were wrong, and of how many; counted from nought afterwards."""
        with self.lock:
            found = self.wrong, self.asked
            self.wrong = self.asked = 0
            return found


WRONG = {
    "wrong-replica-3": lambda: Wrong(replica=0.03),
    "wrong-replica-30": lambda: Wrong(replica=0.30),
    "stream-cut": lambda: Wrong(cut=0.5),
}


@contextmanager
def standing(upstreams: Sequence[str], wrong: Wrong) -> Generator[str]:
    """The URL of a server that hands requests on, wrongly now and then."""
    client = httpx.Client(timeout=600, trust_env=False, limits=httpx.Limits(keepalive_expiry=1))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._hand_on(client.get(f"{upstreams[0]}{self.path}"))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {"content-type": self.headers.get("content-type", "application/json")}
            right, *others = (
                client.post(f"{url}{self.path}", content=body, headers=headers)
                for url in upstreams[: 1 + (bool(wrong.replica) and wrong.happens(wrong.replica))]
            )
            if others and _said(right) != _said(others[0]):
                wrong.went_wrong()
            self._hand_on(others[0] if others else right)

        def _hand_on(self, answer: httpx.Response) -> None:
            content = answer.content
            streamed = answer.headers.get("content-type", "").startswith("text/event-stream")
            if streamed and wrong.cut and wrong.happens(wrong.cut):
                content = content[: content.rfind(b"\n\n", 0, 2 * len(content) // 3) + 2]
                wrong.went_wrong()
            self.send_response(answer.status_code)
            for name in HANDED_ON:
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 64  # with 5, the sixth connection at once waits for a second

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        client.close()


def _said(answer: httpx.Response) -> object:
    """An answer without what is another one each time: its id, and when it was made."""
    try:
        table = answer.json()
    except ValueError:
        return answer.content
    if isinstance(table, dict):
        return {name: value for name, value in table.items() if name not in ("id", "created")}
    return table
