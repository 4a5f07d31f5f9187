"""A reference server over any model folder, with its process at hand."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.base.errors import ConfigError
from harness.base.record import Scores
from harness.client import Asker, Endpoint
from launchers import environments, pins, process
from launchers.dialect import Tokens, Variant
from launchers.pins import LoadedPin
from launchers.process import RunningProcess
from launchers.reference import ReferenceDialect, ReferenceLauncher

TOP_K = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server and its process."""

    asker: Asker
    engine: RunningProcess

    def peak_bytes(self) -> int:
        """The most memory that the process has held so far."""
        status = Path(f"/proc/{self.engine.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def scores(self, sequences: Sequence[Tokens], variant: Variant | None) -> list[Scores]:
        """All in one request; None: as the server was started."""
        dialect = self.asker.dialect
        assert isinstance(dialect, ReferenceDialect)
        answer = self.asker.endpoint.send(dialect.score_as(sequences, TOP_K, variant))
        return dialect.scored(answer, sequences, TOP_K)


def pin_of(folder: Path | None, *changes: str, name: str = "tiny-moe/reference") -> LoadedPin:
    """The reference pin, over another model folder if there is one."""
    other = () if folder is None else (f"model.path={folder}",)
    return pins.load(name, (*other, *changes))


@contextmanager
def serving(loaded: LoadedPin, log: Path, *, file_blocks: int | None = None) -> Generator[Server]:
    """`file_blocks`: no file may grow beyond as many KiB, as on a disk that is full."""
    environment = environments.build(loaded.pin.engine.environment, announce=lambda _: None)
    launcher = ReferenceLauncher()
    port = process.free_port()
    command = launcher.command(loaded, python=environment.python, port=port)
    if file_blocks is not None:
        limited = ("bash", "-c", f'ulimit -f {file_blocks}; exec "$@"', "limited", *command.argv)
        command = process.Command(argv=limited, env=command.env)
    with Endpoint(f"http://127.0.0.1:{port}") as endpoint:

        def ready() -> bool:
            try:
                return endpoint.get(launcher.ready_path) is not None
            except ConfigError:  # nobody listens yet
                return False

        with process.running(
            command, log=log, ready=ready, deadline_s=300, announce=lambda _: None
        ) as engine:
            yield Server(asker=Asker(endpoint, launcher.dialect(loaded)), engine=engine)


def variant(implementation: str, **options: object) -> Variant:
    """One way of scoring: fp32, eager, one sequence at a time, unless said otherwise."""
    whole = {"dtype": "float32", "attention": "eager", "batch": 1, "chunk": None, **options}
    return Variant(
        name=implementation,
        implementation=implementation,
        options={"implementation": implementation, **whole},
        sequences_per_request=1000,
    )


def difference(first: Sequence[Scores], second: Sequence[Scores]) -> np.ndarray:
    """|d| of every token's logprob."""
    pairs = zip(first, second, strict=True)
    return np.abs(np.concatenate([a.logprobs - b.logprobs for a, b in pairs]))


def equal(first: Sequence[Scores], second: Sequence[Scores]) -> bool:
    """To the last bit, the k most likely ones included."""
    return all(
        np.array_equal(a.logprobs, b.logprobs)
        and np.array_equal(a.top_ids, b.top_ids)
        and np.array_equal(a.top_logprobs, b.top_logprobs)
        for a, b in zip(first, second, strict=True)
    )


def random_sequences(lengths: Sequence[int], vocabulary: int = 1600) -> list[Tokens]:
    rng = np.random.default_rng(1)
    return [tuple(rng.integers(0, vocabulary, length).tolist()) for length in lengths]
