"""How texts and numbers are written into the report."""

from __future__ import annotations

import html
import math
import unicodedata

INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # unicode categories
LONGEST_TOKEN = 60  # characters
WHITESPACE = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"}


def shown(value: object) -> str:
    """Any value as HTML text: escaped, and nothing in it that is invisible or reorders."""
    return html.escape(readable(str(value)))


def readable(text: str) -> str:
    """One line without anything invisible: a control character, or what reorders, is named."""
    plain = text.replace("\n", " ").replace("\t", " ")
    return "".join(_named(c) if unicodedata.category(c) in INVISIBLE else c for c in plain)


def label(text: str) -> str:
    """What fits into a picture's width."""
    line = readable(text)
    return html.escape(line if len(line) <= 34 else line[:33] + "…")


def token(text: str) -> str:
    """A token's text with its white space to be seen; a very long one is cut."""
    if not text:
        return '<span class="quiet">(empty)</span>'
    part = shown("".join(WHITESPACE.get(c, c) for c in text[:LONGEST_TOKEN]))
    cut = f"… ({len(text)} characters)" if len(text) > LONGEST_TOKEN else ""
    return f'<bdi class="token">{part}</bdi>{cut}'


def _named(character: str) -> str:
    return f"⟨{ord(character):04X}⟩"


def number(value: float) -> str:
    """Three digits, as one would write them by hand."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if value == 0:
        return "0"
    if size >= 9.995e5 or size < 9.995e-4:
        mantissa, exponent = f"{value:.1e}".split("e")
        if size < 1e-4:
            mantissa = mantissa.removesuffix(".0")
        return f"{mantissa}×{power(int(exponent))}".replace("-", "−")
    return (f"{value:,.0f}" if size >= 99.95 else f"{value:.3g}").replace("-", "−")


def power(exponent: int) -> str:
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def odds(log10: float) -> str:
    """Evidence in words; 1e6 is how the judge writes certainty."""
    if log10 > 300:
        return "certain"
    return f"{float(f'{10**log10:.2g}'):,.6g} to 1" if log10 < 6 else f"{power(int(log10))} to 1"
