"""Raw answers for an engine's parsers, in Kimi K2's form, and what they ought to become.

`data/streams.jsonl` is written by hand. What engines rightly do in different ways is not laid down
there (a key left out): then an answer must be the same however it is cut. White space around
reasoning and content counts nowhere, and neither does a call whose answer was cut off within it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from harness.base import strict_toml
from harness.base.errors import ConfigError
from harness.base.stream import Stream

SHIPPED = Path(__file__).parent / "data" / "streams.jsonl"
MARKERS = (
    "<think>",
    "</think>",
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
)
NAMES = ("search", "read_file", "now", "run", "web.read-page")
TOOLS: tuple[dict[str, Any], ...] = tuple(  # without a schema that arguments could be bent to
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "",
            "parameters": {"type": "object", "properties": {}},
        },
    }
    for name in NAMES
)


def load(path: Path = SHIPPED) -> list[Stream]:
    """All streams in the order of the file. ConfigError names the line that is wrong."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    streams = [_stream(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]
    ids = [stream.id for stream in streams]
    for id_ in ids:
        if ids.count(id_) > 1:
            raise ConfigError(f"{path}: the id {id_!r} occurs twice")
    if not streams:
        raise ConfigError(f"{path}: holds no stream")
    return streams


def fingerprint(path: Path = SHIPPED) -> str:
    """sha256 of the file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _stream(line: bytes, where: str) -> Stream:
    try:
        value = json.loads(line)
    except ValueError as error:  # not JSON, or not UTF-8
        raise ConfigError(f"{where}: is not JSON: {error}") from error
    stream = strict_toml.convert(Stream, value, where)
    if stream.finish not in ("stop", "length"):
        raise ConfigError(f"{where}: finish is {stream.finish!r}; it must be stop or length")
    return stream
