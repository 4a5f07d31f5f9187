"""The page in a real browser: it fits a phone and a desk, and the console stays empty.

A page around it holds it in frames of several widths, measures them, and puts what it found where
`--dump-dom` shows it.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.report import page as report
from tests.test_report import VERDICTS

WIDTHS = (390, 1280)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--enable-logging=stderr",
    "--virtual-time-budget=4000",
)
# Every picture and table must lie inside the page, and the page inside the window.
MEASURE = """<!doctype html><meta charset="utf-8">%s<pre id="found"></pre><script>
onload = () => {
  const found = [...document.querySelectorAll('iframe')].map(frame => {
    const inner = frame.contentDocument, width = inner.documentElement.clientWidth;
    const wide = [...inner.querySelectorAll('body *')].filter(e => {
      const box = e.getBoundingClientRect();
      return box.width > 1 && (box.right > width + 1 || box.left < -1);
    }).map(e => `${e.tagName}.${e.getAttribute('class')}: ${e.textContent.trim().slice(0, 40)}`);
    const broken = [...inner.querySelectorAll('h1, td.n, thead th.n')].filter(
      e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent);
    const small = [...inner.querySelectorAll('svg text')].filter(e =>
      e.getBoundingClientRect().height < 9).map(e => e.textContent);
    return {width, scroll: inner.documentElement.scrollWidth, wide, broken, small,
            pictures: inner.querySelectorAll('svg').length, height: inner.body.scrollHeight};
  });
  document.getElementById('found').textContent = JSON.stringify(found);
};
</script>"""


def chromium() -> str:
    found = shutil.which("chromium")
    assert found, "this test looks at the report in chromium: apt-get install chromium"
    return found


def opened(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [chromium(), *FLAGS, f"--user-data-dir={folder / 'profile'}", *options, page.as_uri()]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, stdin=subprocess.DEVNULL
    )


def complaints(log: str) -> list[str]:
    """What the console shows: errors and warnings of pages, not the browser's own."""
    return [line for line in log.splitlines() if ":CONSOLE" in line]


@pytest.mark.parametrize("name", VERDICTS)
def test_the_page_fits_a_phone_and_a_desk_and_the_console_stays_empty(
    name: str, tmp_path: Path
) -> None:
    source = html.escape(report.page(VERDICTS[name]))
    frames = "".join(
        f'<iframe srcdoc="{source}" style="width:{width}px;height:900px;border:0"></iframe>'
        for width in WIDTHS
    )
    around = tmp_path / "around.html"
    around.write_text(MEASURE % frames, encoding="utf-8")
    shown = opened(around, tmp_path, "--dump-dom")
    match = re.search(r'<pre id="found">(.+?)</pre>', shown.stdout, re.DOTALL)
    assert match, shown.stderr
    found: list[dict[str, Any]] = json.loads(html.unescape(match[1]))
    for width, frame in zip(WIDTHS, found, strict=True):
        assert 0 < frame["width"] <= width
        assert frame["scroll"] <= frame["width"], frame["wide"]
        assert [frame["wide"], frame["broken"], frame["small"]] == [[], [], []]
        assert frame["height"] > 900
    assert complaints(shown.stderr) == []


def test_a_complaint_of_the_console_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<!doctype html><script>console.error('no')</script>", encoding="utf-8")
    assert complaints(opened(page, tmp_path, "--dump-dom").stderr)


def test_the_page_is_drawn_on_paper(tmp_path: Path) -> None:
    page, paper = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text(report.page(VERDICTS["different-L2"]), encoding="utf-8")
    opened(page, tmp_path, f"--print-to-pdf={paper}")
    pages = len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))
    assert 2 <= pages <= 8
