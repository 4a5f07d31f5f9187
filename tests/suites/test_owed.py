"""The suites of what is owed, as a run makes them: every request can be sent, for every family of
models, and a family is one TOML file."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from harness.base.suite import Given
from launchers import contracts
from suites import registry

OWED = ("parameters", "thinking-history", "features", "tool-schemas", "ending")
FAMILIES = sorted(path.stem for path in contracts.FOLDER.glob("*.toml"))
MINE = """\
schema = 1
source = "a vendor's page"
default = "instant"

[always]
n = 1

[modes.instant]
temperature = 0.3
top_p = 0.9

[[ways]]
field = "chat_template_kwargs.think"
thinking = ["yes"]
instant = ["no"]
"""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", OWED)
def test_every_request_can_be_sent_and_is_told_from_every_other(name: str, family: str) -> None:
    suite = registry.suite(Given(name=name, max_tokens=64, rules=contracts.rules(family)))
    assert len({task.id for task in suite.tasks}) == len(suite.tasks) > 0
    for task in suite.tasks:
        assert task.exact is not None and task.expected
        assert orjson.dumps([task.exact.body, task.chat.messages, task.chat.tools])
        assert suite.tokens(task) >= 0
        assert task.exact.streamed == task.id.endswith("/streamed")


def test_a_family_of_models_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text(MINE, "utf-8")
    monkeypatch.setattr(contracts, "FOLDER", tmp_path)
    rules = contracts.rules("mine")
    suite = registry.suite(Given(name="parameters", max_tokens=64, rules=rules))
    bodies = {task.id: task.exact.body for task in suite.tasks if task.exact is not None}
    assert bodies["instant/all/whole"]["temperature"] == 0.3
    assert bodies["instant/all/whole"]["chat_template_kwargs"] == {"think": "no"}
    assert bodies["thinking/none/whole"]["chat_template_kwargs"] == {"think": "yes"}
    wrong = {name for name in bodies if name.startswith("instant/temperature-")}
    assert {"instant/temperature-0.3/whole", "instant/temperature-1/streamed"} <= wrong
