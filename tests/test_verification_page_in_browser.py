"""The page of a verification in a real browser, folded and unfolded: it fits a phone and a desk,
and the console stays empty."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.report.verification_page import page
from tests import verifications
from tests.test_report_in_browser import MEASURE, complaints, opened

WIDTHS = (380, 1280)
EXAMPLES = {
    "three": verifications.three,
    "nothing": verifications.nothing,
    "hostile": verifications.hostile,
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_fits_a_phone_and_a_desk_without_a_script(name: str, tmp_path: Path) -> None:
    folded = page(EXAMPLES[name]())
    frames = "".join(
        f'<iframe srcdoc="{html.escape(source)}" style="width:{width}px;height:900px;border:0">'
        "</iframe>"
        for source in (folded, folded.replace("<details>", "<details open>"))
        for width in WIDTHS
    )
    around = tmp_path / "around.html"
    around.write_text(MEASURE % frames, encoding="utf-8")
    shown = opened(around, tmp_path, "--dump-dom")
    match = re.search(r'<pre id="found">(.+?)</pre>', shown.stdout, re.DOTALL)
    assert match, shown.stderr
    found: list[dict[str, Any]] = json.loads(html.unescape(match[1]))
    for width, frame in zip(WIDTHS * 2, found, strict=True):
        assert 0 < frame["width"] <= width
        assert frame["scroll"] <= frame["width"], frame["wide"]
        assert [frame["wide"], frame["broken"]] == [[], []]
        assert frame["height"] > 900
    assert "<script" not in folded
    assert complaints(shown.stderr) == []
