"""Texts of models and servers as Markdown that does nothing: no link, mention, HTML or escape.

What others wrote stands in fenced blocks alone, as JSON in ASCII, where a control character, a mark
that turns the reading direction and every other letter but ASCII's is an escape. The fence is
longer than any run of its character inside, so that nothing ends it before its end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

HARMLESS = re.compile(r"[^A-Za-z0-9 ._+/:=%(),-]")


def fenced(lines: Iterable[str], language: str = "text") -> str:
    """A block of code; the lines may hold anything that `readable` gives."""
    text = "\n".join(lines)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def quoted(value: object) -> str:
    """Anything as JSON on one line, in ASCII."""
    return json.dumps(value, ensure_ascii=True, default=str)


def readable(text: str) -> str:
    """A text on one line in ASCII: as JSON escapes it, without the quotes."""
    return quoted(text)[1:-1].replace('\\"', '"').replace("\\\\", "\\")


def word(value: object) -> str:
    """A name or a version outside a block: a span of code; what could end it becomes `?`."""
    return f"`{HARMLESS.sub('?', str(value)) or '?'}`"
