"""How much memory a recording and a check take, of a trace of any size.

    python scripts/measure_memory.py --tokens 250000 1000000

A process of its own records a trace of so many tokens, k = 20, from an engine made up here, whose
answers are cheap, and judges it by L2. A line each says what its memory peaked at.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import orjson

from harness import evidence, recorder, row_groups, session
from harness.base.case import Case
from harness.candidate import Opened
from harness.client import Asker, Endpoint
from harness.levels import forced
from harness.levels.state import Check, Settings
from harness.recording import Trace
from launchers.dialect import Reply, Request, Variant
from launchers.reference import ReferenceDialect

PROMPT = 976  # tokens, before the 48 of a continuation
VOCABULARY = 1000
NOISE = 1e-3  # nats: of every configuration against the reference


class FewWays(ReferenceDialect):
    """With a smaller benign pool, and fewer tokens held."""

    def __init__(self, ways: int, bound: int | None) -> None:
        super().__init__(model="made-up")
        self._ways = ways
        self.tokens_at_once = bound or self.tokens_at_once

    def pool(self, numerics: str) -> tuple[Variant, ...]:
        return super().pool(numerics)[: self._ways]


class MadeUp:
    """Stands for the endpoint of a reference: one token a letter, logprobs drawn by position."""

    url = "http://made-up"

    def send(self, request: Request) -> bytes:
        body = request.body or {}
        match request.path:
            case "/tokenize":
                return orjson.dumps({"token_ids": [1 + ord(c) for c in body["text"]]})
            case "/render":
                return orjson.dumps({"token_ids": [1, 2, 3]})
            case "/detokenize":
                ids = body["token_ids"]
                return orjson.dumps(
                    {"texts": [f"w{i}" for i in ids], "special": [False] * len(ids)}
                )
            case "/generate":
                rows = [[7] * body["max_new_tokens"] for _ in body["sequences"]]
                extra = {
                    "token_ids": np.concatenate(rows),
                    "finish_stop": np.zeros(len(rows), bool),
                }
                return _scores([len(row) for row in rows], body, extra, more=0)
            case _:
                return _scores([len(row) for row in body["sequences"]], body, {}, more=1)

    def ask(self, request: Request, *, timeout_s: float | None = None) -> Reply:
        del timeout_s
        return Reply(status=200, body=self.send(request), problem=None)


def _scores(lengths: list[int], body: Any, extra: dict[str, Any], *, more: int) -> bytes:
    """Of every sequence its positions less `more`; a variant adds its own noise."""
    variant, k = body.get("variant"), body["top_k"]
    positions = sum(lengths) - more * len(lengths)
    rng = np.random.default_rng(positions)
    top = -np.sort(rng.exponential(2.0, (positions, k)), axis=1) - 0.5
    ids = np.tile(np.arange(k, dtype=np.int32), (positions, 1)) + rng.integers(
        0, VOCABULARY - k, (positions, 1), dtype=np.int32
    )
    if variant is not None:
        noise = np.random.default_rng([positions, len(str(variant))])
        top = np.sort(top + noise.normal(0, NOISE, top.shape), axis=1)[:, ::-1]
    file = io.BytesIO()
    arrays = {"logprobs": top[:, 0], "top_ids": ids, "top_logprobs": top, **extra}
    np.savez(file, lengths=np.array(lengths), **arrays)
    return file.getvalue()


def opened(ways: int = 99, bound: int | None = None) -> Opened:
    """`ways`: how many benign configurations at most."""
    asker = Asker(cast("Endpoint", MadeUp()), FewWays(ways, bound))
    identity = {"model": "made-up", "dtype": "float32", "no_tokenizer": None}
    return Opened(
        asker=asker,
        title="made up",
        url=MadeUp.url,
        pin=None,
        identity=identity,
        launch_seconds=None,
        running=None,
    )


class Forgetful(dict[int, Any]):
    """L2 keeps scores for L1, which is not measured here."""

    def update(self, *_: Any, **__: Any) -> None:
        return


def once(tokens: int, path: Path, ways: int, bound: int | None) -> None:
    """`bound`: tokens that the recorder and each cache hold; None: as they do.

    Records and judges; prints MiB of memory: before, after the recording, after the judging."""
    if bound is not None:
        row_groups.KEPT_TOKENS = evidence.TOKENS_IN_GROUP = bound
    began = _peak()
    count = tokens // (PROMPT + recorder.NEW_TOKENS)
    cases = [Case(id=str(i), stratum=f"s{i % 2}", prompt="a" * PROMPT) for i in range(count)]
    engine = opened(ways, bound)
    recorder.record(
        engine,
        cases,
        corpus="made up",
        path=path,
        announce=_quiet,
        classes=("fp32",),
        texts=False,  # some 48 prompts', whatever the trace
    )
    recorded = _peak()
    trace = Trace(path)
    with evidence.written(path.with_suffix(".parquet")) as file:
        check = Check(
            opened=engine,
            trace=trace,
            tolerances=session.tolerances_of(trace, "fp32"),
            settings=Settings(seed=0, alpha=1e-9, beta=1e-300),  # all is drawn
            evidence=file,
            announce=_quiet,
            scores=Forgetful(),
            classes=np.zeros(VOCABULARY, dtype=np.int64),
        )
        forced.run(check)
    print(f"{began} {recorded} {_peak()} {check.tokens} {path.stat().st_size >> 20}")


def _quiet(_text: str) -> None:
    pass


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measured(
    tokens: int, ways: int = 99, bound: int | None = None
) -> tuple[int, int, int, int, int]:
    """MiB before, after recording and after judging; tokens judged; the trace's MiB."""
    with TemporaryDirectory() as folder:
        words = ["--once", str(Path(folder) / "x.trace"), "--tokens", str(tokens)]
        words += ["--ways", str(ways), *([] if bound is None else ["--bound", str(bound)])]
        command = [sys.executable, __file__, *words]
        environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}  # else threads fragment what is free
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found = tuple(map(int, done.stdout.split()))
    assert len(found) == 5
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--ways", type=int, default=99, help="benign configurations at most")
    parser.add_argument("--bound", type=int, help="tokens held, instead of the usual")
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        once(options.tokens[0], options.once, options.ways, options.bound)
        return
    for tokens in options.tokens:
        before, recorded, judged, asked, size = measured(tokens, options.ways, options.bound)
        print(
            f"{tokens:11,} tokens: {before} MiB before, {recorded} MiB after recording, {judged} "
            f"MiB after judging {asked:,} tokens; the trace has {size} MiB"
        )


if __name__ == "__main__":
    main()
