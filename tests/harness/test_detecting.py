"""`enginediff detect`: the detectors over the answers of a run's directory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import pytest

from harness import detect_text, detecting
from harness.base.errors import ConfigError
from harness.base.suite import Given
from suites import registry
from tests.specs import spec_text

URL = "http://127.0.0.1:9"


def run(folder: Path, answers: Sequence[Mapping[str, object]] | None) -> Path:
    """A run's directory, as far as the detectors read it."""
    text = spec_text([(URL, ())], {"tiny-tasks": 3}, limits={"in_flight": 1})
    (folder / "spec.toml").write_text(text, "utf-8")
    suite = registry.suite(Given(name="tiny-tasks", max_tokens=96))
    decides = {"suite tiny-tasks": suite.fingerprint}
    (folder / "provenance.json").write_bytes(orjson.dumps({"decides": decides}))
    if answers is not None:
        (folder / "answers").mkdir()
        lines = b"".join(orjson.dumps(one) + b"\n" for one in answers)
        (folder / "answers" / "1-http-127.0.0.1-9.jsonl").write_bytes(lines)
    return folder


def test_answers_are_counted_and_the_first_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = {"n": 0, "outcome": "answered", "finish_reason": "stop"}
    said = {"n": 1, "outcome": "answered", "finish_reason": "stop", "content": "four"}
    failed = {"n": 2, "outcome": "server", "why": "500"}
    found = detecting.of_run(run(tmp_path, [silent, said, failed]))
    counted = found[URL]
    assert (counted.asked, counted.answered) == (3, 2)
    assert {row.name: row.answers for row in counted.rows if row.answers} == {"empty": 1}
    detect_text.show(found)
    shown = capsys.readouterr().out
    assert f"{URL}: 2 of 3 answered" in shown and "  empty: 1 of 2 answers" in shown
    detect_text.show_json(found)
    assert orjson.loads(capsys.readouterr().out)["engines"][URL]["answered"] == 2


def test_a_run_that_was_killed_early_has_no_results_and_a_torn_line_is_named(
    tmp_path: Path,
) -> None:
    folder = run(tmp_path, [{"n": 0, "outcome": "server", "why": "500"}])
    (path,) = (folder / "answers").iterdir()
    path.write_bytes(path.read_bytes() + b'{"n": 1, "outco')
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}: line 2 is no JSON: unexp"):
        detecting.of_run(folder)
    (folder / "provenance.json").unlink()
    with pytest.raises(ConfigError, match=r"was not begun: there is no provenance\.json in it"):
        detecting.of_run(folder)


def test_a_folder_without_a_run_or_without_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no run: there is no spec\.toml in it"):
        detecting.of_run(tmp_path)
    with pytest.raises(ConfigError, match="has no answers yet"):
        detecting.of_run(run(tmp_path, None))
    (tmp_path / "provenance.json").write_bytes(orjson.dumps({"decides": {"suite tiny-tasks": "0"}}))
    with pytest.raises(ConfigError, match="as it was in another version"):
        detecting.of_run(tmp_path)
