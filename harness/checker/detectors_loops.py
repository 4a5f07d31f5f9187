"""A text that runs in circles: one piece again and again at its end, or the same words throughout.

MiniMax's verifier asks whether any three characters come four times, which they do in every long
text. Here a loop is a long end of exact repeats, and repetition is most of a text's long runs of
words; rows of a table that differ by a number are neither. Both take linear time.

Who is told to write a line fifty times is found guilty: no request is asked what it wanted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator

from harness.base.reply import Reply
from harness.checker.asked import Asked, without_code

LAST = 100_000  # characters of a text that are looked at: a loop, once begun, goes on to the end
LOOP_CHARACTERS = 300  # of the repeats together: a rule or a line of "ha ha" is shorter
LOOP_TIMES = 4
LAYOUT_CHARACTERS = 1000  # where the piece is lines without a letter: an empty table, blank lines
WORDS_IN_A_ROW = 20  # longer than most rows of a table, of which the next differs somewhere
REPEATED_SHARE = 0.5  # two copies of a whole text are just not more, and a draft may have its copy
FEWEST = 200  # runs of words, of which a share can be told
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


def loop(reply: Reply, _: Asked) -> str | None:
    """The end of the reasoning, the answer or the arguments is one piece, repeated."""
    for where, text in _texts(reply):
        blank = len(text) - len(text.rstrip())
        if blank >= LOOP_CHARACTERS:
            return f"{where} ends in {blank} characters of white space"
        if found := period(text[-LAST:]) or period(text.rstrip()[-LAST:]):
            piece, length = found
            return f"{where} ends in {length / len(piece):.1f} times {piece!r}"
    return None


def repetition(reply: Reply, _: Asked) -> str | None:
    """Of all runs of words, more than half have come before; code is left out."""
    for where, text in _texts(reply):
        runs = _runs(without_code(text[-LAST:]))
        if sum(runs.values()) < FEWEST:
            continue
        share = 1 - len(runs) / sum(runs.values())
        if share > REPEATED_SHARE:
            [(most, times)] = runs.most_common(1)
            return f"{share:.0%} of {where}; {times} times {most!r}"
    return None


def period(text: str) -> tuple[str, int] | None:
    """The shortest piece that the end of a text repeats for long enough, and for how many
    characters it does; the last repeat is whole, the first may be cut."""
    back = text[::-1]
    for shift, same in _prefixes(back):
        length = shift + same  # of the end that has this period
        if length >= max(LOOP_CHARACTERS, LOOP_TIMES * shift):
            piece = back[:shift][::-1]
            layout = "\n" in piece and not any(map(str.isalnum, piece))
            if not layout or length >= LAYOUT_CHARACTERS:
                return piece, length
    return None


def _texts(reply: Reply) -> Generator[tuple[str, str]]:
    yield "the reasoning", reply.reasoning
    yield "the answer", reply.content
    if reply.calls:
        yield "the last call", reply.calls[-1].arguments


def _prefixes(text: str) -> Generator[tuple[int, int]]:
    """(shift, characters from there on that are those at the beginning), for shifts up to a
    LOOP_TIMES-th of the text: the Z algorithm (Gusfield, 1997), linear."""
    size = len(text)
    known = [0] * (size // LOOP_TIMES + 1)
    start = end = 0  # of the match that reaches furthest
    for shift in range(1, len(known)):
        same = min(known[shift - start], end - shift) if shift < end else 0
        while shift + same < size and text[same] == text[shift + same]:
            same += 1
        if shift + same > end:
            start, end = shift, shift + same
        known[shift] = same
        yield shift, same


def _runs(text: str) -> Counter[str]:
    """How often each run of words comes; in Chinese and Japanese every character is a word."""
    words = WORD.findall(text)
    return Counter(
        " ".join(words[at : at + WORDS_IN_A_ROW]) for at in range(len(words) - WORDS_IN_A_ROW + 1)
    )
