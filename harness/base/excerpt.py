"""A line of a text that may be long, broken or hostile: printable, UTF-8, no longer than asked."""

from __future__ import annotations

GAP = " ... "


def excerpt(text: str, *, characters: int) -> str:
    """Its beginning and its end; line breaks, lone surrogates and the like are escaped."""
    half = (characters - len(GAP)) // 2
    if len(text) > 2 * characters:  # the rest of a long text is not even looked at
        text = text[:characters] + text[-characters:]
    line = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
    return line if len(line) <= characters else f"{line[:half]}{GAP}{line[-half:]}"
