"""`enginediff run` over servers of a Ray cluster, with a fake engine: what is refused before it is
begun, or said; and that a run over two of them can be stopped and gone on with."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from harness.runs import journal
from launchers import pins
from tests.harness.test_run import CHAOS, PROGRAM, ROOT, lines, refused, until
from tests.servers import Servers, can_make_namespaces, pid_of, servers
from tests.specs import spec_text

pytestmark = pytest.mark.skipif(
    not can_make_namespaces(), reason="may not make network namespaces here: needs root and Linux"
)
PIN = ROOT / "launchers" / "pins" / "tiny-moe" / "vllm-cpu.toml"
MODEL = ROOT / "launchers" / "models" / "tiny-moe"
RELEASE = pins.read("tiny-moe/vllm-cpu").pin.engine.version
OWN, RAY = version("enginediff"), version("ray")
LONGEST_S = 60.0  # of one command
LIMITS = {
    "in_flight": 2,
    "attempts": 4,
    "retries": 100,
    "idle_s": 20.0,
    "total_s": 60.0,
    "restarts": 0,
}
# What Python does on a server before anything else.
FAST_CLOCK = "import time\nright = time.time\ntime.time = lambda: right() + 30"
OTHER_RAY = 'import ray\nray.__version__ = "1.2.3"'
WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name == "harness":
            raise ModuleNotFoundError("No module named 'harness'", name=name)
sys.meta_path.insert(0, Without())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Servers, of which a and b run Ray, and a folder that all of them see."""

    servers: Servers
    folder: Path

    @property
    def plan(self) -> Path:
        """Of fake engines that start from now on."""
        return self.folder / "plan.json"

    def pace(self, token_s: float) -> None:
        self.plan.write_text(json.dumps({"token_s": token_s}))

    def fake(self, *changes: str) -> tuple[str, Sequence[str]]:
        """An engine of a spec: it stands where vLLM stands."""
        inside = CHAOS.parent / "inside"
        env = f"env.PYTHONPATH={inside}", f"env.CHAOS_PLAN={self.plan}"
        return "tiny-moe/vllm-cpu", [*env, *changes]

    def spec(self, nodes: Sequence[str], *engines: tuple[str, Sequence[str]]) -> Path:
        """A new one, whose run goes to the folder beside it."""
        path = self.folder / f"run-{len(list(self.folder.glob('*.toml')))}.toml"
        text = spec_text(engines, {"tiny-tasks": 20}, nodes=nodes, limits=LIMITS)
        path.write_text(text, "utf-8")
        return path

    def begun(
        self, *arguments: str | Path, at: str = "a", env: Mapping[str, str] | None = None, **to: Any
    ) -> subprocess.Popen[str]:
        """Not in a checkout: Ray's workers import from where their driver is."""
        command = [str(PROGRAM), *map(str, arguments)]
        return self.servers.run(at, command, env=env, cwd=self.folder, **to)

    def call(self, *arguments: str | Path, **where: Any) -> subprocess.CompletedProcess[str]:
        pipe = subprocess.PIPE
        process = self.begun(*arguments, **where, stdout=pipe, stderr=pipe)
        try:
            out, err = process.communicate(timeout=LONGEST_S)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run(self, spec: Path, **where: Any) -> subprocess.CompletedProcess[str]:
        return self.call("run", spec, "--run", spec.with_suffix(""), **where)

    def refuses(self, spec: Path, *words: str, code: int = 2, said: int = 1, **where: Any) -> None:
        """Of `said` lines one says at what it looks. Nothing is begun."""
        refused(self.run(spec, **where), *words, code=code, said=said + 1)
        assert not spec.with_suffix("").exists()

    def do(self, name: str, *command: str | Path) -> None:
        assert self.servers.run(name, list(map(str, command))).wait() == 0

    @contextmanager
    def mounted(self, name: str, place: Path, *what: str | Path) -> Generator[None]:
        """Another file system at `place`, for one server alone."""
        self.do(name, "mount", *what, place)
        try:
            yield
        finally:
            self.do(name, "umount", place)

    @contextmanager
    def joined(self, name: str, env: Mapping[str, str]) -> Generator[None]:
        """One more server in the cluster."""
        self.servers.start_ray(name, env=env)
        try:
            yield
        finally:
            self.servers.kill(name)


def python_that(folder: Path, text: str) -> Mapping[str, str]:
    """An environment in which Python does `text` first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(text, "utf-8")
    return python_of(folder)


def python_of(folder: Path) -> Mapping[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    names = ["a", "b", "alone", "fast", "changed", "bare", "strange"]
    with servers(folder / "servers", names) as made:
        made.start_ray("a")
        made.start_ray("b")
        cluster = Cluster(servers=made, folder=folder)
        cluster.pace(0.004)
        yield cluster


def test_a_node_that_the_cluster_has_not_is_refused(cluster: Cluster) -> None:
    spec = cluster.spec(["a", "nowhere"], cluster.fake())
    cluster.refuses(spec, "nodes: 'nowhere' is not in the Ray cluster", "there are a, b", said=0)


def test_one_server_under_two_names_is_refused(cluster: Cluster) -> None:
    address = cluster.servers.address("a")
    words = f"nodes: a, {address}: two of them are one server"
    cluster.refuses(cluster.spec(["a", address], cluster.fake()), words, said=0)


def test_servers_are_refused_where_there_is_no_cluster(cluster: Cluster) -> None:
    words = "no Ray cluster can be joined", "ray start --head --labels enginediff-node=NAME"
    cluster.refuses(cluster.spec(["a", "b"], cluster.fake()), *words, at="alone", said=0)


def test_a_driver_of_another_ray_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    env = python_that(tmp_path / "python", OTHER_RAY)
    spec = cluster.spec(["a", "b"], cluster.fake())
    cluster.refuses(spec, "Version mismatch", f"Ray: {RAY}", "Ray: 1.2.3", env=env, said=0)


def test_a_server_of_another_ray_does_not_come_into_the_cluster(
    cluster: Cluster, tmp_path: Path
) -> None:
    env = python_that(tmp_path / "python", OTHER_RAY)
    with pytest.raises(subprocess.CalledProcessError) as raised:
        cluster.servers.start_ray("strange", env=env)
    assert f"Ray: {RAY}" in raised.value.output and "Ray: 1.2.3" in raised.value.output


def test_a_node_whose_python_has_no_enginediff_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    with cluster.joined("bare", python_that(tmp_path / "python", WITHOUT)):
        spec = cluster.spec(["a", "bare"], cluster.fake())
        cluster.refuses(spec, "bare: Ray runs in a Python there", "No module named 'harness'")


def own_pin(path: Path, *changes: tuple[str, str]) -> Path:
    text = PIN.read_text("utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text, "utf-8")
    return path


def test_a_node_without_the_model_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    pin = own_pin(tmp_path / "own.toml", ('"tiny-moe"', f'"{model}"'))
    with cluster.mounted("b", model, "-t", "tmpfs", "nothing"):
        spec = cluster.spec(["a", "b"], (str(pin), []))
        cluster.refuses(spec, "nothing was begun", f"b: {pin}: {model}: holds no config.json")


def test_all_that_is_other_on_a_node_is_told_at_once(cluster: Cluster, tmp_path: Path) -> None:
    model, other = tmp_path / "model", tmp_path / "other"
    for folder in (model, other):
        shutil.copytree(MODEL, folder)
    with (other / "config.json").open("a") as file:
        file.write("\n")
    pin = own_pin(tmp_path / "own.toml", ('path = "tiny-moe"', f'path = "{model}"'))
    release = own_pin(tmp_path / "release.toml")
    older = own_pin(tmp_path / "older.toml", (f'"{RELEASE}"', '"0.1.2"'))
    derived = cluster.fake(f"model.path={model}")
    with (
        cluster.mounted("b", model, "--bind", other),
        cluster.mounted("b", release, "--bind", older),
    ):
        spec = cluster.spec(["a", "b"], (str(pin), []), derived, (str(release), []))
        cluster.refuses(
            spec,
            f"b: {pin}: {model / 'config.json'} has sha256 ",
            "b: tiny-moe/vllm-cpu is another pin than on a: model.files.config.json is ",
            f"b: {release} is another pin than on a: "
            f"engine.version is '0.1.2', and '{RELEASE}' on a",
        )


def test_a_node_without_room_is_refused(cluster: Cluster) -> None:
    home = cluster.servers.home("b")
    environments = (home / "environments").readlink()
    with cluster.mounted("b", home, "-t", "tmpfs", "-o", "size=512k", "small"):
        cluster.do("b", "ln", "-s", environments, home)
        spec = cluster.spec(["a", "b"], cluster.fake())
        cluster.refuses(spec, f"b: {home}: 0.00 GB are free; at least 1 must be", code=4)


def test_a_node_that_cannot_write_is_refused(cluster: Cluster) -> None:
    home = cluster.servers.home("b")
    with cluster.mounted("b", home, "--bind", "-o", "ro", home):
        spec = cluster.spec(["a", "b"], cluster.fake())
        cluster.refuses(spec, f"b: {home}: cannot be written: Read-only file system", code=4)


def test_a_node_of_other_code_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    for package in ("harness", "hw_profiles", "launchers", "suites"):
        shutil.copytree(ROOT / package, tmp_path / package)
    with (tmp_path / "launchers" / "knobs.toml").open("a") as file:
        file.write("\n")
    with cluster.joined("changed", python_of(tmp_path)):
        spec = cluster.spec(["a", "changed"], cluster.fake())
        words = f"changed: enginediff is {OWN} (source ", f", and {OWN} (source ", ") on a; install"
        cluster.refuses(spec, *words)


def test_a_url_that_is_another_server_on_each_node_is_refused(cluster: Cluster) -> None:
    for name in ("a", "b"):
        serve(cluster, name, f"model-{name}", 7001)
    spec = cluster.spec(["a", "b"], ("http://127.0.0.1:7001", []))
    words = "b: http://127.0.0.1:7001 is {", "'model': 'model-b'}", "'model': 'model-a'} on a"
    cluster.refuses(spec, *words)


def test_a_url_that_one_node_cannot_reach_is_asked_by_the_other(cluster: Cluster) -> None:
    serve(cluster, "a", "model", 7002)
    spec = cluster.spec(["a", "b"], ("http://127.0.0.1:7002", []))
    done = cluster.run(spec)
    assert done.returncode == 0, done.stderr
    assert "http://127.0.0.1:7002 on b: " in done.stdout and "no HTTP server" in done.stdout
    assert {one["node"] for one in require_once(spec.with_suffix(""), 20)} == {"a"}


def serve(cluster: Cluster, name: str, model: str, port: int) -> None:
    """A fake engine on a server, until the servers go."""
    command = [sys.executable, "-S", str(CHAOS), f"--port={port}", f"--served-model-name={model}"]
    process = cluster.servers.run(name, command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("listening")


def test_a_clock_that_is_fast_is_said_and_the_run_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    address = cluster.servers.address("a")  # which names it as well
    with cluster.joined("fast", python_that(tmp_path / "python", FAST_CLOCK)):
        cluster.pace(0.02)
        spec = cluster.spec([address, "fast"], cluster.fake())
        done = cluster.run(spec)
    assert done.returncode == 0, done.stderr
    assert "fast: its clock is 30.0 s ahead of this machine's; set it by NTP" in done.stderr
    given = require_once(spec.with_suffix(""), 20)
    assert {one["node"] for one in given} == {address, "fast"}
    assert max(one["whole_s"] for one in given) < 20


def test_a_run_over_two_servers_is_stopped_and_gone_on_with(cluster: Cluster) -> None:
    spec = cluster.spec(["a", "b"], cluster.fake())
    folder, told = spec.with_suffix(""), spec.with_suffix(".told")
    cluster.pace(0.1)
    with told.open("w") as stderr:
        driver = cluster.begun("run", spec, "--run", folder, stdout=subprocess.PIPE, stderr=stderr)
    until(lambda: len(over(folder)) > 2, driver, told)
    shown = cluster.call("status", folder)
    assert shown.returncode == 0, shown.stderr
    assert f"process {pid_in(driver)}" in shown.stdout
    assert re.search(r"running, \d+ of 20 done, [1-4] running, 0 failed", shown.stdout)

    os.kill(pid_of(driver), signal.SIGINT)
    began = time.monotonic()
    out, _ = driver.communicate(timeout=30)
    assert driver.returncode == 130, told.read_text()
    assert time.monotonic() - began < 15
    before = len(over(folder))
    assert 2 < before < 20
    assert f"INCOMPLETE: {before} of 20 requests are over" in out
    assert "nobody works on it" in cluster.call("status", folder).stdout

    cluster.pace(0.01)
    done = cluster.run(spec)
    assert done.returncode == 0, done.stderr
    assert f": {before} of 20 answered, 0 failed" in done.stderr
    assert "20 of 20 answered" in done.stdout
    assert {one["node"] for one in require_once(folder, 20)} == {"a", "b"}
    run = json.loads((folder / "provenance.json").read_bytes())["run"]
    for name in ("a", "b"):
        assert not (cluster.servers.home(name) / "shards" / run).exists()


def pid_in(driver: subprocess.Popen[str]) -> int:
    """By its server's own numbers."""
    status = Path(f"/proc/{pid_of(driver)}/status").read_text()
    (numbers,) = re.findall(r"^NSpid:(.*)$", status, re.MULTILINE)
    return int(numbers.split()[-1])


def over(folder: Path) -> list[int]:
    """Requests of which the ledger says that their end was counted."""
    return [
        n
        for path in folder.glob("records/*/ledger.jsonl")
        for line in journal.read(path)
        if line["kind"] == "ended"
        for n, *_ in line["counted"]
    ]


def require_once(folder: Path, requests: int) -> list[dict[str, Any]]:
    """Every request of the one engine counts once, in journals that are whole; its answers."""
    assert sorted(over(folder)) == list(range(requests))
    for path in folder.glob("records/*/*.jsonl"):
        for _ in journal.read(path):
            """Its chain is followed."""
    (answers,) = folder.glob("answers/*.jsonl")
    given = lines(answers)
    assert sorted(one["n"] for one in given) == list(range(requests))
    assert {one["outcome"] for one in given} == {"answered"}
    return given
