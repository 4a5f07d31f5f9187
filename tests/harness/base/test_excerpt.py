"""An excerpt is a line that can be printed and written, whatever the text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.base.excerpt import excerpt


def test_of_a_long_text_beginning_and_end_are_kept() -> None:
    assert excerpt("a" * 20 + "b" * 20, characters=15) == "aaaaa ... bbbbb"
    assert excerpt("a" * 15, characters=15) == "a" * 15
    assert excerpt("a\n\ud800\u202eb", characters=40) == "a\\n\\ud800\\u202eb"


@given(st.text(st.characters()), st.integers(10, 50), st.integers(1, 9))
def test_it_is_printable_and_no_longer_than_asked(text: str, characters: int, times: int) -> None:
    line = excerpt(text * times, characters=characters)
    assert len(line) <= characters
    assert line.isprintable()
    line.encode()
