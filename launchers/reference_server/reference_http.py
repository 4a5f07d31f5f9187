"""HTTP on loopback: a thread a connection, one computation at a time."""

import json
import threading
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from reference_log import log
from reference_requests import RequestError
from reference_service import ReferenceService

JSON = "application/json"
NPZ = "application/octet-stream"


class ReferenceHttpServer(ThreadingHTTPServer):
    """Listens as soon as it is made; /health answers while a computation runs."""

    daemon_threads = True
    request_queue_size = 128  # connections waiting; the default of 5 resets a busy client

    def __init__(self, host: str, port: int, service: ReferenceService) -> None:
        self.computing = threading.Lock()
        self.gets: dict[str, Callable[[], Any]] = {
            "/health": lambda: {"status": "ok"},
            "/identity": service.identity,
        }
        self.posts: dict[str, Callable[[Any], Any]] = {
            "/render": service.render,
            "/tokenize": service.tokenize,
            "/detokenize": service.detokenize,
            "/decode": service.decode,
            "/score": service.score,
            "/generate": service.generate,
        }
        super().__init__((host, port), ReferenceHandler)


class ReferenceHandler(BaseHTTPRequestHandler):
    server: ReferenceHttpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: 40 ms each time otherwise

    def do_GET(self) -> None:
        started = time.monotonic()
        if self.path in self.server.gets:
            self._send(200, self.server.gets[self.path](), started)
        else:
            self._send(404, {"error": f"GET {self.path}: expected {[*self.server.gets]}"}, started)

    def do_POST(self) -> None:
        started = time.monotonic()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path not in self.server.posts:
            self._send(
                404, {"error": f"POST {self.path}: expected {[*self.server.posts]}"}, started
            )
            return
        try:
            with self.server.computing:
                answer = self.server.posts[self.path](parsed(body))
        except RequestError as error:
            self._send(400, {"error": str(error)}, started)
        except Exception as error:  # noqa: BLE001 - the process edge: our own fault, told to both
            traceback.print_exc()
            self._send(500, {"error": f"{type(error).__name__}: {error}"}, started)
        else:
            self._send(200, answer, started)

    def _send(self, status: int, answer: dict | bytes, started: float) -> None:
        """Send JSON or npz, then write the request's one line in the log."""
        is_json = isinstance(answer, dict)
        content = json.dumps(answer).encode() if is_json else answer
        self.send_response(status)
        self.send_header("Content-Type", JSON if is_json else NPZ)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        seconds = time.monotonic() - started
        log(f"{self.command} {self.path} {status} {len(content)} bytes {seconds:.3f} s")

    def log_request(self, *_: object) -> None:
        """`_send` logs, when the answer is out."""

    def log_message(self, *arguments: Any) -> None:
        log(arguments[0] % arguments[1:])


def parsed(body: bytes) -> Any:
    """Raises RequestError for what is not JSON."""
    try:
        return json.loads(body)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"the request: not JSON: {error}") from error
