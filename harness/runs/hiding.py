"""The key, which a server may echo: it stands in nothing that is kept or shown. Pure.

Only texts are changed. A key that a server does not want may be any word, and JSON's own marks and
names, which hold it by chance, are left.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, cast

import orjson

HIDDEN = b"***"


def hidden(content: bytes, secret: str) -> bytes:
    """`content` without the key; to be hidden before it is shortened."""
    for form in _forms(secret):
        content = content.replace(form, HIDDEN)
    return content


def loads(data: bytes, secret: str) -> Any:
    """JSON without the key. Raises ValueError; orjson.JSONDecodeError, where it is none."""
    value = orjson.loads(data)
    if secret and (secret.encode() in data or (b"\\" in data and _is_escaped(data))):
        try:
            return without(value, secret)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
    return value


def without(value: Any, secret: str) -> Any:
    """A copy of what was read of JSON, its texts without the key."""
    if isinstance(value, str):
        return hidden(value.encode(), secret).decode()
    if isinstance(value, list):
        return [without(each, secret) for each in cast("list[Any]", value)]
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return {name: without(each, secret) for name, each in table.items()}
    return value


def unspelled(logprobs: Sequence[Any], secret: str) -> list[Any]:
    """A copy, without the tokens that spell the key one after another, as texts or as bytes."""
    found = {*_spelling(logprobs, secret, _text), *_spelling(logprobs, secret, _bytes)}
    return [_blank(one) if at in found else one for at, one in enumerate(logprobs)]


def _is_escaped(data: bytes) -> bool:
    """Whether JSON spells some sign in another way, which need not be."""
    return b"\\u" in data or b"\\/" in data


def _forms(secret: str) -> tuple[bytes, ...]:
    """As JSON within a text may have it too."""
    return (secret.encode(), secret.replace("/", "\\/").encode()) if secret else ()


def _spelling(
    logprobs: Sequence[Any], secret: str, spelled: Callable[[Any], bytes]
) -> Iterator[int]:
    """Which of them have a part of the key."""
    parts = [spelled(one) for one in logprobs]
    whole, ends = b"".join(parts), list(accumulate(map(len, parts)))
    for form in _forms(secret):
        at = whole.find(form)
        while at >= 0:
            after = at + len(form)
            yield from range(bisect_right(ends, at), bisect_right(ends, after - 1) + 1)
            at = whole.find(form, after)


def _text(one: Any) -> bytes:
    token = cast("dict[str, Any]", one).get("token") if isinstance(one, dict) else None
    return token.encode() if isinstance(token, str) else b""


def _bytes(one: Any) -> bytes:
    told = cast("dict[str, Any]", one).get("bytes") if isinstance(one, dict) else None
    try:
        return bytes(cast("list[Any]", told)) if isinstance(told, list) else b""
    except (TypeError, ValueError):  # they are none
        return b""


def _blank(one: dict[str, Any]) -> dict[str, Any]:
    blank = {**one, "token": HIDDEN.decode(), "bytes": None}
    if isinstance(others := one.get("top_logprobs"), list):
        blank["top_logprobs"] = [
            _blank(cast("dict[str, Any]", each)) if isinstance(each, dict) else each
            for each in cast("list[Any]", others)
        ]
    return blank
