"""The text to paste into an issue: all that is needed to see it, and nothing in it that acts."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import issue_text
from harness.report.inert import fenced, quoted, readable, word
from harness.verdict import Verdict
from tests.harness.reproductions import reproduction
from tests.test_report import VERDICTS

HOSTILE = (
    '<img src=x onerror="alert(1)"><script>1</script>',
    "```\n# heading @everyone #1\n```",
    "````````",
    "[click](javascript:alert(1)) ![x](http://evil.example/x.png)",
    "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07\x1b[31m\x9b2J\x7f",
    "\u202egnp.exe\u2066\u200b\ud83d",
    "@torvalds #123 GH-7 octo/repo#9 https://evil.example www.evil.example a@b.c",
    "'; rm -rf / #",
)
FENCE = re.compile(r"^(`{3,})\w*\n(.*?)\n\1$", re.DOTALL | re.MULTILINE)


def hostile(level: str = "L2", ids: int = 40) -> Verdict:
    """A server and a model that write what they like into everything they can."""
    plain = VERDICTS["different-L2"]
    everything = " ".join(HOSTILE)
    return replace(
        plain,
        level=level,
        candidate={
            **plain.candidate,
            "title": everything,
            "identity": {"engine": everything, "version": everything, "model": everything},
        },
        reasons=HOSTILE,
        statistics=tuple(replace(row, group=everything) for row in plain.statistics),
        diagnosis=tuple(replace(d, why=HOSTILE) for d in plain.diagnosis),
        reproduction=reproduction(list(HOSTILE), list(range(ids))),
        provenance={everything: everything},
    )


def outside_fences(text: str) -> str:
    """What Markdown acts upon: neither in a block nor in a span of code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


@pytest.mark.parametrize("level", ["L0", "L1", "L2", "L2b", "sampler", "pin"])
def test_nothing_that_others_wrote_acts(level: str) -> None:
    text = issue_text.text(hostile(level))
    assert text.isascii()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    outside = outside_fences(text)
    assert not re.search(r"[<>@`\[\]|*~]|://|www\.|\d#|#\d|GH-|evil|rm -rf", outside), outside
    assert len(FENCE.findall(text)) >= 3


def test_what_is_needed_is_there() -> None:
    verdict = VERDICTS["different-L2"]
    text = issue_text.text(verdict)
    for part in ("`vllm 0.11.0` serving `tiny-moe`", "## Versions", "python -m vllm"):
        assert part in text
    assert "enginediff check tiny-moe/vllm-bf16 --against" in text
    assert "reference's top 5" in text
    assert "candidate's top 5" in text
    assert str(list(range(40))) in text
    assert "## What it may be" in text


def test_the_curl_sends_the_engine_s_own_request() -> None:
    request = hostile().reproduction
    assert request is not None
    line = next(s for s in issue_text.text(hostile()).splitlines() if s.startswith("curl"))
    words = shlex.split(line)
    assert words[2] == "http://127.0.0.1:8000/v1/completions"
    assert json.loads(words[words.index("-d") + 1]) == request["token"]["request"]["body"]


def test_a_chat_with_quotes_and_semicolons_stays_one_word_of_the_shell() -> None:
    verdict = hostile("L0")
    line = next(s for s in issue_text.text(verdict).splitlines() if s.startswith("curl"))
    body = json.loads(shlex.split(line)[-1])
    assert body["messages"][0]["content"].encode("utf-8", "replace") == "".join(HOSTILE).encode(
        "utf-8", "replace"
    )


def test_what_is_long_is_cut_with_a_note_and_lies_whole_beside_it() -> None:
    verdict = hostile(ids=5000)
    files = issue_text.files(verdict)
    text = files["issue.md"].decode()
    assert "The last 400 of 5000" in text
    assert len(text) < 20_000
    assert orjson.loads(files["issue-token-ids.json"]) == list(range(5000))
    assert "-d @issue-request.json" in text
    assert orjson.loads(files["issue-request.json"])["prompt"] == [list(range(5000))]


def test_only_a_difference_has_an_issue() -> None:
    assert issue_text.files(VERDICTS["equivalent"]) == {}
    assert issue_text.files(VERDICTS["inconclusive"]) == {}
    assert list(issue_text.files(VERDICTS["different-L2"])) == ["issue.md"]


def test_a_secret_that_the_pin_was_changed_by_is_not_in_it() -> None:
    from harness.levels.reproduction import launch_command
    from launchers import pins

    loaded = pins.load("tiny-moe/vllm-cpu", ["env.HF_TOKEN=hunter2", "args.api-key=hunter2"])
    command = launch_command(loaded)
    assert "hunter2" not in command
    assert "HF_TOKEN=***" in command
    assert str(loaded.model_path) not in command
    assert "--model MODEL" in command


@given(st.lists(st.text(), min_size=1))
def test_a_fence_is_ended_by_its_own_end_alone(texts: list[str]) -> None:
    block = fenced(map(quoted, texts))
    match = FENCE.fullmatch(block)
    assert match
    assert [json.loads(line) for line in match[2].split("\n")] == texts


@given(st.lists(st.text("`a"), min_size=1))
def test_no_run_of_backticks_inside_is_as_long_as_the_fence(lines: list[str]) -> None:
    fence = re.match("`+", fenced(lines))
    assert fence
    assert fence[0] not in "\n".join(lines)


@given(st.text())
def test_a_text_is_one_line_of_visible_ASCII(text: str) -> None:  # noqa: N802
    for line in (readable(text), quoted(text), word(text)):
        assert re.fullmatch(r"[\x20-\x7e]*", line)
