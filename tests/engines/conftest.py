"""Real engines in environments of their own, which are built here the first time (minutes)."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from harness import candidate, recorder, recording, samples
from harness.candidate import Opened
from harness.recording import Trace
from suites import corpus

EVERY_FOURTH = 4  # 20 prompts of each stratum: the fewest that can show EQUIVALENT
# A quarter of the tokens: for what is slow to compute here, as all bfloat16 is.
SHORT = ("chat", "thinking", "text", "code")
FEWEST = ("chat", "text")  # where a chat and a raw prompt are all that matters


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("engines")


@pytest.fixture(scope="session")
def open_pin(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Any]:
    """Opens a pin as the product does; a context manager."""

    def open_it(name: str) -> Any:
        log = tmp_path_factory.mktemp("engine") / "engine.log"
        return candidate.opened(
            name, candidate.prepared(name, ()), log=log, announce=lambda _: None
        )

    return open_it


@pytest.fixture(scope="session")
def reference(open_pin: Callable[[str], Any]) -> Generator[Opened]:
    """The reference serving tiny-moe."""
    with open_pin("tiny-moe/reference") as opened:
        yield opened


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Once:
    """A file of that name, made by the first test process that needs it, for all of them."""
    own = tmp_path_factory.getbasetemp()
    folder = own if worker_id == "master" else own.parent

    def made(name: str, make: Callable[[Path], object]) -> Path:
        path = folder / name
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                make(path)
        return path

    return made


@pytest.fixture(scope="session")
def trace(request: pytest.FixtureRequest, once: Once) -> Path:
    """A small trace of tiny-moe, for what promises fp32."""
    return once(
        "tiny-moe.trace",
        lambda path: record(request.getfixturevalue("reference"), path, ("fp32",)),
    )


@pytest.fixture(scope="session")
def trace_short(request: pytest.FixtureRequest, once: Once) -> Path:
    """A trace of tiny-moe's shorter strata, for what promises fp32."""
    return once(
        "tiny-moe-short.trace",
        lambda path: record(request.getfixturevalue("reference"), path, ("fp32",), SHORT),
    )


@pytest.fixture(scope="session")
def trace_bf16(request: pytest.FixtureRequest, once: Once) -> Path:
    """The same for what promises bf16 as well: its pool takes minutes without AVX-512."""
    return once(
        "tiny-moe-bf16.trace",
        lambda path: record(request.getfixturevalue("reference"), path, ("fp32", "bf16"), FEWEST),
    )


@pytest.fixture(scope="session")
def trace_with_texts(request: pytest.FixtureRequest, trace_short: Path, once: Once) -> Path:
    """The trace of tiny-moe's shorter strata, with texts of the reference's own."""

    def make(path: Path) -> None:
        short = Trace(trace_short)
        rows = [short[row] for row in range(len(short))]
        reference: Opened = request.getfixturevalue("reference")
        recording.write(
            path,
            manifest={k: v for k, v in short.manifest.items() if k not in ("schema", "members")},
            sequences=rows,
            pool=short.pool(),
            vocabulary=short.vocabulary(),
            more=samples.members(reference, rows, lambda _: None),
        )

    return once("texts.trace", make)


@pytest.fixture(scope="session")
def trace_k2(open_pin: Callable[[str], Any], once: Once) -> Path:
    """A trace of tiny-k2's chats and texts."""

    def make(path: Path) -> None:
        with open_pin("tiny-k2/reference") as opened:
            record(opened, path, ("fp32",), FEWEST)

    return once("tiny-k2.trace", make)


@pytest.fixture(scope="session")
def trace_int4(open_pin: Callable[[str], Any], once: Once) -> Path:
    """A trace of chats and texts of tiny-moe's int4 copy."""

    def make(path: Path) -> None:
        with open_pin("tiny-moe-int4/reference") as opened:
            record(opened, path, ("int4-weights",), FEWEST)

    return once("tiny-moe-int4.trace", make)


def record(
    opened: Opened, path: Path, classes: tuple[str, ...], strata: tuple[str, ...] | None = None
) -> None:
    recorder.record(
        opened,
        [c for c in corpus.load()[::EVERY_FOURTH] if strata is None or c.stratum in strata],
        corpus=f"every {EVERY_FOURTH}th",
        path=path,
        announce=lambda _: None,
        classes=classes,
        texts=False,  # 15 s; `trace_with_texts` has them
    )


@pytest.fixture(scope="session")
def sglang(open_pin: Callable[[str], Any]) -> Generator[Opened]:
    """A healthy SGLang serving tiny-moe."""
    with open_pin("tiny-moe/sglang-cpu") as opened:
        yield opened


@pytest.fixture(scope="session")
def vllm(open_pin: Callable[[str], Any]) -> Generator[Opened]:
    """A healthy vLLM serving tiny-moe."""
    with open_pin("tiny-moe/vllm-cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def ktransformers_int4(open_pin: Callable[[str], Any]) -> Generator[Opened]:
    """A healthy KTransformers serving the int4 copy of tiny-moe, its experts RAWINT4."""
    with open_pin("tiny-moe/ktransformers-cpu-rawint4") as opened:
        yield opened
