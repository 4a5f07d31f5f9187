"""Scripts of the letters of a text, and the words by which a request may ask for one.

A script is told by Unicode's name of a letter. Latin is everywhere and Greek is mathematics: they
are not told.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

SCRIPTS = {  # the first word of a letter's name -> the script
    "CJK": "Han",
    "HIRAGANA": "Kana",
    "KATAKANA": "Kana",
    "HANGUL": "Hangul",
    "CYRILLIC": "Cyrillic",
    "ARABIC": "Arabic",
    "HEBREW": "Hebrew",
    "DEVANAGARI": "Devanagari",
    "BENGALI": "Bengali",
    "TAMIL": "Tamil",
    "TELUGU": "Telugu",
    "THAI": "Thai",
    "GEORGIAN": "Georgian",
    "ARMENIAN": "Armenian",
}
# Parts of the names of languages, and of where they are spoken, in some of the languages that
# requests come in: who names one may be answered in it.
NAMED = {
    "Han": r"chin(?:a|es|ois|o\b)|mandarin|canton|taiwan|hong kong|han(?:zi|ja)|kanji|japan"
    r"|japon|korea|китай|япон",
    "Kana": r"japan|japon|kana\b|kanji|anime|manga|日[语語文本]|япон|일본",
    "Hangul": r"korea|core[ae]n|coré|hangul|[韩韓朝][语語国國文鲜鮮]|корей|한국",
    "Cyrillic": r"cyril|russ|rus[ao]\b|ukrain|bulgar|serb|belarus|kazakh|mongol|macedon"
    r"|[俄露][语語文国]|乌克兰|ロシア|러시아",
    "Arabic": r"arab|persian|farsi|iran|urdu|pakistan|islam|qur'?an|阿拉伯|波斯|アラビア|араб",
    "Hebrew": r"hebr|israel|jewish|torah|希伯来|иврит",
    "Devanagari": r"hindi|sanskrit|nepal|marathi|india|印[地度]|индий|хинди",
    "Bengali": r"bengal|bangla|india",
    "Tamil": r"tamil|india|lanka",
    "Telugu": r"telugu|india",
    "Thai": r"thai|泰[语語国國文]|тайск",
    "Georgian": r"georgia|грузин",
    "Armenian": r"armenia|армян",
}
ALL = re.compile(
    r"multilingual|(?<!programming )languages|unicode|utf-?8|alphabets|writing systems"
    r"|多语|各种语言",
    re.IGNORECASE,
)


def script(letter: str) -> str | None:
    """Of one character; None: it is no letter, or of a script that is not told."""
    if not letter.isalpha():
        return None
    return SCRIPTS.get(unicodedata.name(letter, "").partition(" ")[0])


def letters(text: str) -> tuple[int, Counter[str]]:
    """How many letters there are, and how many of each script that is told."""
    whole, told = 0, Counter[str]()
    for one, count in Counter(text).items():
        if one.isalpha():
            whole += count
            if name := script(one):
                told[name] += count
    return whole, told


def named(name: str, text: str) -> bool:
    """Whether a text names a language of the script, or where it is spoken."""
    return bool(re.search(NAMED[name], text, re.IGNORECASE))


def asked_for(name: str, text: str) -> bool:
    """Whether a request uses the script, or names a language of it, or all languages; who writes
    Kana reads Han too."""
    used = {script(one) for one in set(text)}
    if name in used or (name == "Han" and "Kana" in used):
        return True
    return named(name, text) or bool(ALL.search(text))
