"""Another language in an answer: letters of a script that the request neither uses nor asks for.

Of the answer alone, for many a model may reason in a language of its own. Nothing is said of a
request with pictures, whose words nobody sees. A word of another language that is explained stands
in brackets or quotation marks, or its language is named: such are left out, unless they are much of
the answer. Names that stand bare are taken for strays.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass

from harness.base.reply import Reply
from harness.checker import scripts
from harness.checker.asked import Asked, without_code

FEWEST = 10  # letters of a leak: what is less is a stray
SHARE = 0.02  # of all letters
IN_A_ROW = 30  # letters, whatever their share: a sentence
MUCH = 0.2  # of all letters: nothing excuses them but the request
FACES = 4  # letters of Kana: fewer stand in faces made of signs
ASIDE = re.compile(
    r'[(（][^()（）\n]{1,80}[)）]|"[^"\n]{1,80}"|“[^”\n]{1,80}”|[「«][^」»\n]{1,80}[」»]'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Letters of one script."""

    script: str
    count: int
    of: int  # letters there are
    in_a_row: int  # at most
    text: str  # from where the most stand in a row

    @property
    def leaked(self) -> bool:
        """Whether they are more than a word or two."""
        much = self.count >= SHARE * self.of or self.in_a_row >= IN_A_ROW
        return self.count >= FEWEST and much

    def told(self) -> str:
        """One line."""
        return f"{self.count} of {self.of} letters are {self.script}: {self.text}"


def leak(reply: Reply, asked: Asked) -> str | None:
    """A sentence, or a share of the answer, is in another script."""
    return next((one.told() for one in _foreign(reply, asked) if one.leaked), None)


def stray(reply: Reply, asked: Asked) -> str | None:
    """A word of another script, or a letter, stands bare in the answer."""
    strays = (one for one in _foreign(reply, asked) if not one.leaked)
    return next((one.told() for one in strays if one.script != "Kana" or one.count >= FACES), None)


def _foreign(reply: Reply, asked: Asked) -> Generator[Foreign]:
    """The scripts of an answer that nobody asked for, the one with most letters first."""
    said = without_code(reply.content)
    bare = ASIDE.sub(" ", said)
    whole, told = scripts.letters(said)
    for name, count in told.most_common():
        much = count >= max(FEWEST, MUCH * whole)
        text = said if much else bare
        of, standing = scripts.letters(text)
        if not standing[name] or (not much and scripts.named(name, text)):
            continue
        if asked.text_alone and not scripts.asked_for(name, asked.text()):
            first, longest = max(_stretches(text, name), key=lambda stretch: stretch[1])
            yield Foreign(
                script=name,
                count=standing[name],
                of=of,
                in_a_row=longest,
                text=text[first : first + 60],
            )


def _stretches(text: str, name: str) -> Generator[tuple[int, int]]:
    """Where letters of the script begin that no letter of another breaks, and how many they are."""
    within = {one for one in set(text) if scripts.script(one) == name}
    first = count = 0
    for at, one in enumerate(text):
        if one in within:
            first, count = (at, 1) if not count else (first, count + 1)
        elif one.isalpha():
            yield first, count
            count = 0
    yield first, count
