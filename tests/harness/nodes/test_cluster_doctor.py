"""`doctor --cluster`: made-up servers as data, made-up servers that are asked, and two of Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from harness import cluster_text
from harness.base.errors import ConfigError
from harness.doctor import Diagnosis, Line, Severity
from harness.nodes import checkup, cluster_doctor, cluster_findings
from harness.nodes.checkup import Checkup, Place, Question
from harness.nodes.cluster_doctor import Asked
from harness.nodes.cluster_findings import Examination, Row
from harness.nodes.node import LostError, SilentError
from harness.nodes.survey import Facts
from launchers import environments, pins
from tests.servers import can_make_namespaces, servers

ENGINEDIFF = str(Path(sys.executable).with_name("enginediff"))
PIN = "tiny-moe/vllm-cpu"
HASH = "baf1dcff" + "0" * 56
OTHER = "5c0ffee5" + "0" * 56
FACTS = Facts(
    enginediff="0.5.0",
    source="f2f588da" + "0" * 56,
    python="3.11.7",
    home="/home/x",
    free_gb=1234.5,
    cpu="192 x Intel Xeon",
    gpus="8 x NVIDIA H20-3e",
)
FINE = Checkup(facts=FACTS, ray="2.60.0", profiles=("cpu", "h20-8x141gb"), taken={}, unreached={})
RECIPE = Diagnosis(
    title=PIN,
    pin_hash=HASH,
    lines=(Line(area="recipe", severity="good", what="verified: as it says"),),
    model_files=None,
)
Output = pytest.CaptureFixture[str]


def place(name: str, n: int = 0, *, alive: bool = True) -> Place:
    return Place(name=name, label=name, address=f"10.0.0.{n}", port=4000 + n, alive=alive)


def diagnosed(
    pin_hash: str = HASH, files: dict[str, str] | None = None, **found: tuple[Severity, str]
) -> Diagnosis:
    """Good in every area that is not named."""
    said: dict[str, tuple[Severity, str]] = {
        "environment": ("good", "built"),
        "model": ("good", "6 files"),
        "node": ("good", "as demanded"),
        **found,
    }
    lines = [
        Line(area=area, severity=severity, what=what) for area, (severity, what) in said.items()
    ]
    return Diagnosis(title=PIN, pin_hash=pin_hash, lines=tuple(lines), model_files=files)


def row(n: int, checked: Checkup | None = FINE, *pin: Diagnosis, ahead_s: float = 0.0) -> Row:
    return Row(
        place=place(f"node-{n:02}", n),
        checkup=checked,
        clock_ahead_s=ahead_s,
        diagnoses=pin or (diagnosed(),),
        error=None,
    )


def examined(*rows: Row, recipes: Sequence[Diagnosis] = (RECIPE,)) -> Examination:
    return Examination(pins=tuple(recipes), rows=rows)


def said(found: Examination) -> list[tuple[str, Severity, str]]:
    return [(one.node, one.severity, one.what) for one in cluster_findings.problems(found)]


def with_facts(**changes: Any) -> Checkup:
    return replace(FINE, facts=replace(FACTS, **changes))


def test_a_cluster_where_all_is_well_is_a_row_a_node_and_no_more(capsys: Output) -> None:
    found = examined(*(row(n) for n in range(20)))
    assert said(found) == []
    assert cluster_findings.exit_code(found) == 0
    cluster_text.show(found)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == [PIN, "  ok      recipe      verified: as it says", ""]
    assert lines[3] == "20 nodes; Ray 2.60.0, enginediff 0.5.0 f2f588da, Python 3.11.7"
    header = "node address clock disk hardware built model fits hash"
    assert " ".join(lines[4].split()) == header
    assert [line.split()[0] for line in lines[5:]] == [f"node-{n:02}" for n in range(20)]
    assert "node-07  ok  10.0.0.7   +0.0 s  1,234 GB  h20-8x141gb  yes" in lines[12]
    assert max(map(len, lines)) <= 100


def test_what_is_wrong_stands_below_by_node_and_what_many_share_is_said_once(
    capsys: Output,
) -> None:
    unbuilt = diagnosed(environment=("warning", "vllm is not built"))
    differs = diagnosed(environment=("warning", "vllm is not built"), node=("blocking", "7 GPUs"))
    found = examined(
        row(0, FINE, differs),
        row(1, FINE, unbuilt, ahead_s=-4.0),
        row(2, with_facts(free_gb=0.5), unbuilt),
        row(3, with_facts(source="0" * 64), unbuilt),
    )
    cluster_text.show(found)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    table, below = lines[4:9], lines[10:]
    assert [line.split()[1] for line in table[1:]] == ["blocks", "warning", "blocks", "wrong"]
    assert "0.5.0 00000000" in table[4]  # a column, for it is not the same everywhere
    assert table[1].split()[-4:] == ["no", "pinned", "no", "baf1dcff"]
    assert below == [
        "node-03",
        "  wrong   enginediff is 0.5.0 (source 000000000000), and 0.5.0 (source f2f588da0000) on "
        "node-00; install the same on both",
        "node-02",
        "  blocks  /home/x: 0.50 GB are free; at least 1 must be",
        "node-00",
        "  blocks  7 GPUs",
        "node-01",
        "  warning its clock is 4.0 s behind this machine's; set it by NTP",
        "every node",
        "  warning vllm is not built",
    ]
    assert cluster_findings.exit_code(found) == 2


def test_the_odd_one_is_held_against_what_most_are() -> None:
    odd = with_facts(source="0" * 64, python="3.11.2")
    found = examined(row(0, odd, diagnosed(OTHER)), row(1), row(2))
    assert {node for node, _, _ in said(found)} == {"node-00"}
    assert ("node-00", "warning", "Python is 3.11.2, and 3.11.7 on most nodes") in said(found)
    what = f"{PIN} is pin 5c0ffee50000, and baf1dcff0000 on node-01: its TOML differs"
    assert ("node-00", "wrong", what) in said(found)


def test_a_pin_of_another_model_names_the_file_and_one_without_a_model_is_not_compared() -> None:
    files = {"a": "1", "b": "2"}
    found = examined(
        row(0, FINE, diagnosed(HASH, files)),
        row(1, FINE, diagnosed(OTHER, {**files, "b": "3"})),
        row(2, FINE, diagnosed("f" * 64, model=("blocking", "no folder"))),
    )
    wrong = [what for _, severity, what in said(found) if severity == "wrong"]
    assert wrong == [
        f"{PIN} is pin 5c0ffee50000, and baf1dcff0000 on node-00: b of its model differs"
    ]


def test_a_server_that_nobody_reaches_is_named_and_so_is_one_that_reaches_not_all() -> None:
    def blind(*nodes: int) -> Checkup:
        return replace(FINE, unreached={f"node-{n:02}": "refused" for n in nodes})

    found = examined(row(0, blind(3)), row(1, blind(3, 0)), row(2, blind(3)), row(3))
    assert said(found) == [
        ("node-01", "blocking", "does not reach Ray on node-00, at 10.0.0.0:4000: refused"),
        ("node-03", "blocking", "no other node reaches Ray at 10.0.0.3:4003: refused"),
    ]
    assert cluster_findings.exit_code(found) == 4


def test_a_label_of_two_servers_and_a_port_that_is_taken_are_told() -> None:
    twins = [replace(row(n), place=replace(place(f"h{n}"), label="x")) for n in range(2)]
    taken = row(2, replace(FINE, taken={"10.0.0.2:20500": "in use"}))
    assert said(examined(*twins, taken)) == [
        ("h0", "wrong", "2 servers have the label x; give each its own"),
        ("h1", "wrong", "2 servers have the label x; give each its own"),
        (
            "node-02",
            "blocking",
            "10.0.0.2:20500 cannot be listened on, as the first node of an engine must: in use",
        ),
    ]


def test_with_several_pins_each_has_a_row_of_a_node_and_its_name_before_what_is_wrong(
    capsys: Output,
) -> None:
    wrong = replace(diagnosed(model=("wrong", "x is missing")), title="other/pin")
    recipes = (RECIPE, replace(RECIPE, title="other/pin"))
    silent = Row(
        place=place("node-01", 1),
        checkup=None,
        clock_ahead_s=None,
        diagnoses=None,
        error=None,
    )
    found = examined(row(0, FINE, diagnosed(), wrong), silent, recipes=recipes)
    cluster_text.show(found)
    out = capsys.readouterr().out
    assert "pin 2  other/pin\n" in out
    rows = [line.split() for line in out.split("node ")[1].splitlines()[1:]]
    assert rows[0][-5:] == ["1", "yes", "pinned", "yes", "baf1dcff"]
    assert rows[1] == ["2", "yes", "wrong", "yes", "baf1dcff"]
    assert rows[2][2:] == ["10.0.0.1", *"--------"]
    assert out.endswith("node-00\n  wrong   other/pin: x is missing\n")


def test_a_table_without_pins_is_of_nodes_alone_and_markup_is_shown_as_it_is(
    capsys: Output,
) -> None:
    alone = row(0, with_facts(gpus="none"), replace(diagnosed(node=("warning", "[b]")), title="x"))
    cluster_text.show(examined(replace(alone, place=place("[red]")), recipes=()))
    out = capsys.readouterr().out
    assert out.startswith("1 node; Ray")
    assert "fits" not in out
    assert "[red]\n  warning [b]" in out


def test_all_of_it_is_one_json_object() -> None:
    found = examined(row(0), row(1, FINE, diagnosed(environment=("warning", "not built"))))
    table = json.loads(json.dumps(cluster_findings.to_table(found)))
    assert table["schema"] == 1
    assert [node["place"]["name"] for node in table["nodes"]] == ["node-00", "node-01"]
    assert table["problems"] == [{"node": "node-01", "severity": "warning", "what": "not built"}]


class Made:
    """A server: `checked` is what it says of itself, or raises; None: nothing, until `stop`."""

    def __init__(self, name: str, stop: Event, checked: Checkup | Exception | None = FINE) -> None:
        self.name, self._stop, self._checked = name, stop, checked
        self.slow_s = 0.0

    def checkup(self, question: Question) -> Checkup:
        assert [other.name for other in question.others] == sorted({"a", "b"} - {self.name})
        if self._checked is None:
            self.ahead_s()
        if isinstance(self._checked, Exception):
            raise self._checked
        assert self._checked is not None
        return self._checked

    def ahead_s(self) -> float:
        if self._checked is None:
            self._stop.wait()
            raise SilentError(f"{self.name}: no word")
        return 0.25

    def diagnose(
        self, names: Sequence[str], changes: Sequence[str], profile: str | None
    ) -> list[Diagnosis]:
        assert (names, changes, profile) == ((PIN,), (), None)
        self._stop.wait(self.slow_s)
        return [diagnosed()]


ASKED = Asked(names=(PIN,), changes=(), profile=None, ports=())


def gathered(other: Checkup | Exception | None, slow_s: float = 0.0) -> Mapping[str, Row]:
    """Rows of "a", which is fine, of "b", and of "c", which is gone."""
    stop = Event()
    asked = [Made("a", stop), Made("b", stop, other)]
    asked[1].slow_s = slow_s
    places = [place("a"), place("b"), place("c", alive=False)]
    rows = cluster_doctor.gathered(asked, places, ASKED, stop, lambda _: None, heard_s=0.1)
    assert stop.is_set()
    assert rows[0] == Row(
        place=places[0],
        checkup=FINE,
        clock_ahead_s=0.25,
        diagnoses=(diagnosed(),),
        error=None,
    )
    return {row.place.name: row for row in rows}


def error(row: Row) -> tuple[Severity, str]:
    assert row.error is not None
    return row.error.severity, row.error.what


def test_a_silent_server_is_a_row_that_says_so_and_a_slow_one_is_waited_for() -> None:
    rows = gathered(None)
    severity, what = error(rows["b"])
    assert severity == "blocking"
    assert what.startswith("no answer within 0.2 s")
    assert error(rows["c"]) == ("warning", "has been in the cluster, at 10.0.0.0, and is no more")
    assert gathered(FINE, slow_s=1.0)["b"].diagnoses == (diagnosed(),)


@pytest.mark.parametrize(
    ("raised", "severity", "what"),
    [
        (LostError("b: is not in the cluster"), "blocking", "is not in the cluster"),
        (ConfigError("x.toml: there is no such file"), "wrong", "x.toml: there is no such file"),
        (
            RuntimeError("on a server:\nTraceback\nAttributeError: checkup"),
            "wrong",
            "cannot be asked; is another enginediff installed there? AttributeError: checkup",
        ),
    ],
)
def test_what_a_server_raises_is_said_of_it_alone(
    raised: Exception, severity: Severity, what: str
) -> None:
    assert error(gathered(raised)["b"]) == (severity, what)


@pytest.mark.parametrize(
    ("name", "ports"),
    [
        ("kimi-k3/sglang-h20-8x141gb", (9990,)),
        (PIN, ()),
    ],
)
def test_the_ports_of_a_joined_engine_are_those_in_its_flags(
    name: str, ports: tuple[int, ...]
) -> None:
    assert checkup.head_ports(pins.read(name)) == ports


JOINED = """
[deployment]
nodes = 2
gpus_per_node = 0
gpu_memory_gb = 0.0
host_memory_gb = 0.1
disk_gb = 0.01
[deployment.join]
how = "by hand"
[deployment.join.args]
dist-init-addr = "{head}:19900"
[deployment.join.worker_args]
[deployment.join.env]
"""
LATE = "import time; own = time.time; time.time = lambda: own() + 30.0"
LISTENING = "import socket; s = socket.create_server(('10.77.0.2', 19900)); print(); input()"


@pytest.mark.skipif(
    not can_make_namespaces(), reason="may not make network namespaces here: needs root and Linux"
)
def test_two_servers_of_ray_are_looked_at_by_one_command(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text((pins.SHIPPED / "tiny-moe" / "reference.toml").read_text("utf-8") + JOINED)
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "sitecustomize.py").write_text(LATE)
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    command = [ENGINEDIFF, "doctor", "--cluster", "own.toml", "--json"]
    with servers(tmp_path / "servers", ["a", "b"]) as made:
        alone = made.run("a", command, cwd=tmp_path, **pipes)
        assert "no Ray cluster can be joined from here" in alone.communicate()[1]
        assert alone.returncode == 2

        (made.home("b") / "environments").unlink()  # nothing is built there
        made.start_ray("a")
        made.start_ray("b", env={"PYTHONPATH": str(tmp_path / "late")})
        listening = made.run("b", [sys.executable, "-c", LISTENING], **pipes)
        assert listening.stdout is not None
        assert listening.stdout.readline() == "\n"
        told, _ = (doctor := made.run("a", command, cwd=tmp_path, **pipes)).communicate()

    table = json.loads(told)
    a, b = table["nodes"]
    assert (a["place"]["name"], a["place"]["address"]) == ("a", "10.77.0.1")
    assert a["error"] is b["error"] is None
    assert a["checkup"]["facts"]["source"] == b["checkup"]["facts"]["source"]
    assert (a["checkup"]["unreached"], b["checkup"]["unreached"]) == ({}, {})
    assert a["diagnoses"][0]["pin_hash"] == b["diagnoses"][0]["pin_hash"]
    of_b = [one for one in table["problems"] if one["node"] == "b"]
    assert [(one["severity"], one["what"].split(" ")[:4]) for one in of_b] == [
        ("warning", ["its", "clock", "is", "30.0"]),
        ("blocking", ["10.77.0.2:19900", "cannot", "be", "listened"]),
        ("warning", ["reference-1", "is", "not", "built:"]),
    ]
    built = environments.find("reference-1") is not None
    assert [one["node"] for one in table["problems"]].count("a") == (0 if built else 1)
    assert (table["exit_code"], doctor.returncode) == (4, 4)
