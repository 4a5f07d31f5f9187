"""The reference engine: how our small server is started, and its language.

The server itself (`reference_server/`) runs in an environment of its own; here is no torch.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from harness.base.case import Chat
from harness.base.errors import RequestError
from harness.base.record import Generation, Scores
from launchers.dialect import Request, Sampling, Toggle, Tokens, Variant
from launchers.pins import LoadedPin, SamplingTable
from launchers.process import Command
from launchers.running import Reported

SERVER = Path(__file__).parent / "reference_server"
RECORDED = ("fp32", "bf16")  # the numerics classes that there is a benign pool for, of any model
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "int4-weights": "bfloat16"}
CHUNK = 48  # tokens: short enough that every stratum is cut
STREAMED = ("streamed-transformers", "streamed-direct")  # for a model that fits nowhere
ALL_AT_ONCE = (
    1_000_000  # sequences: a streamed request reads all the weights, however many there are
)
TOKENS_AT_ONCE = 65_536  # of a recording held at a time: about 11 MB of scores
STREAMED_TOKENS_AT_ONCE = 1_048_576  # each batch is a pass over all the weights
STREAMED_TIMEOUT_S = 24 * 3600.0  # of one request: a pass over a trillion parameters takes minutes


class ReferenceLauncher:
    """`python launchers/reference_server`, with the pin's flags."""

    ready_path = "/health"
    questions = ("/identity",)

    def command(self, loaded: LoadedPin, *, python: Path, port: int) -> Command:
        flags = [part for name, value in loaded.pin.args.items() for part in (f"--{name}", value)]
        argv = [
            *(str(python), str(SERVER)),
            *("--model", str(loaded.model_path)),
            *("--name", loaded.pin.model.name),
            *("--host", "127.0.0.1"),
            *("--port", str(port)),
            *map(str, flags),
        ]
        home = str(python.parent.parent / "home")
        path = os.environ.get("PATH", os.defpath)
        return Command(argv=tuple(argv), env={"PATH": path, "HOME": home, **loaded.pin.env})

    def dialect(self, loaded: LoadedPin) -> ReferenceDialect:
        streamed = loaded.pin.args.get("implementation") in STREAMED
        return ReferenceDialect(model=loaded.pin.model.name, streamed=streamed)

    def reported(self, answers: Mapping[str, bytes], log: str) -> Reported:
        del log
        identity = orjson.loads(answers["/identity"])
        return Reported(dtype=identity["dtype"], flags=identity)

    def bit_equal(self, loaded: LoadedPin) -> None:
        """It batches, and promises nothing."""
        del loaded

    def toggles(self, loaded: LoadedPin) -> tuple[Toggle, ...]:
        """None: it has no part that could be left out."""
        del loaded
        return ()


def recorded(model: Path) -> tuple[str, ...]:
    """The numerics classes that there is a benign pool for, of the model in a folder."""
    config = json.loads((model / "config.json").read_text("utf-8"))
    language = config.get("text_config", config)  # of a multimodal model
    packed = "quantization_config" in config or "quantization_config" in language
    return (*RECORDED, "int4-weights") if packed else RECORDED  # the one packing that it reads


def benign_pool(numerics: str) -> tuple[Variant, ...]:
    """Configurations that are right by definition in a numerics class, from two implementations.

    The first implementation is Transformers, the second the direct computation in plain torch.
    Of int4 weights both take the dequantised values, and compute in bfloat16, as engines do.
    """
    dtype = DTYPES[numerics]
    library: list[tuple[str, dict[str, Any], int]] = [
        ("eager", {"attention": "eager"}, 1),
        ("sdpa", {"attention": "sdpa"}, 1),
        ("batch of 8", {"attention": "eager", "batch": 8}, 8),
        ("sdpa, batch of 16", {"attention": "sdpa", "batch": 16}, 16),
        (f"chunks of {CHUNK}", {"attention": "eager", "chunk": CHUNK}, 1),
    ]
    direct: list[tuple[str, dict[str, Any], int]] = [
        ("whole", {"dtype": dtype}, 1),
        (f"chunks of {CHUNK}", {"dtype": dtype, "chunk": CHUNK}, 1),
    ]
    if numerics == "fp32":
        direct.append(("fp64", {"dtype": "float64"}, 1))
    return (
        *(_variant("transformers", name, {"dtype": dtype, **o}, n) for name, o, n in library),
        *(_variant("direct", name, {"attention": "eager", **o}, n) for name, o, n in direct),
    )


def streamed_pool(numerics: str) -> tuple[Variant, ...]:
    """The same for a streamed reference, with a pass over all the weights for each."""
    library, direct = STREAMED
    ways: list[tuple[str, str, dict[str, Any]]] = [
        (library, "eager", {"attention": "eager"}),
        (library, "sdpa", {"attention": "sdpa"}),
        (library, "batch of 8", {"attention": "eager", "batch": 8}),
        (library, f"chunks of {CHUNK}", {"attention": "eager", "chunk": CHUNK}),
        (direct, "whole", {"attention": "eager"}),
        (direct, "blocked attention", {"attention": "blocked"}),
        (direct, f"chunks of {CHUNK}", {"attention": "eager", "chunk": CHUNK}),
    ]
    options = {"dtype": DTYPES[numerics]}
    return tuple(_variant(way, name, options | own, ALL_AT_ONCE) for way, name, own in ways)


def _variant(implementation: str, name: str, options: dict[str, Any], batch: int) -> Variant:
    whole = {"implementation": implementation, "batch": 1, "chunk": None, **options}
    return Variant(
        name=f"{implementation} {whole['dtype']}, {name}",
        implementation=implementation,
        options=whole,
        sequences_per_request=max(batch, 8),
    )


class ReferenceDialect:
    """Requests and answers of the reference server."""

    engine = "reference"
    ids_per_request = 1_000_000  # of /detokenize: all that there are

    def __init__(self, *, model: str, streamed: bool = False) -> None:
        """`streamed`: each request costs a pass over all the weights, however much it asks."""
        self.model = model
        self.streamed = streamed
        self._timeout_s = STREAMED_TIMEOUT_S if streamed else None
        self._pool = streamed_pool if streamed else benign_pool
        self.sequences_per_request = ALL_AT_ONCE if streamed else 16
        self.tokens_at_once = STREAMED_TOKENS_AT_ONCE if streamed else TOKENS_AT_ONCE

    def pool(self, numerics: str) -> tuple[Variant, ...]:
        """The benign pool that this reference can compute."""
        return self._pool(numerics)

    def identity(self) -> Request:
        return Request(path="/identity", body=None)

    def identified(self, answer: bytes) -> dict[str, Any]:
        return orjson.loads(answer)

    def render(self, prompt: Chat | str) -> Request:
        if isinstance(prompt, str):
            return Request(path="/tokenize", body={"text": prompt})
        tools = None if prompt.tools is None else list(prompt.tools)
        chat = {"messages": list(prompt.messages), "tools": tools, "thinking": prompt.thinking}
        return Request(path="/render", body=chat)

    def rendered(self, answer: bytes) -> Tokens:
        return tuple(orjson.loads(answer)["token_ids"])

    def chat(self, chat: Chat) -> None:
        """The reference has no chat API."""
        del chat

    def usage(self, chat: Chat) -> None:
        """The reference has no chat API, and counts nothing."""
        del chat

    def prompt_tokens(self, answer: bytes) -> int:
        raise AssertionError(f"the reference is never asked for its usage: {answer!r}")

    def score(self, sequences: Sequence[Tokens], top_k: int) -> Request:
        return self.score_as(sequences, top_k, None)

    def score_as(self, sequences: Sequence[Tokens], top_k: int, variant: Variant | None) -> Request:
        """As `score`, computed in another way; None: as the server was started."""
        body = {
            "sequences": [list(tokens) for tokens in sequences],
            "top_k": top_k,
            "variant": None if variant is None else dict(variant.options),
        }
        return Request(path="/score", body=body, timeout_s=self._timeout_s)

    def scored(self, answer: bytes, sequences: Sequence[Tokens], top_k: int) -> list[Scores]:
        arrays = _arrays(answer)
        expected = [len(tokens) for tokens in sequences]
        if arrays["lengths"].tolist() != expected or arrays["top_ids"].shape[1] != top_k:
            raise RequestError(f"the reference scored other sequences than the {expected} asked")
        return _split(arrays, [length - 1 for length in expected])

    def generate(
        self,
        sequences: Sequence[Tokens],
        *,
        max_new_tokens: int,
        sampling: Sampling,
        seeds: Sequence[int] | None,
        top_k: int,
        batch: int = 16,
    ) -> Request:
        """`batch`: sequences that are computed at a time, at most."""
        assert isinstance(sampling, SamplingTable), "the reference has no defaults of its own"
        body = {
            "sequences": [list(tokens) for tokens in sequences],
            "max_new_tokens": max_new_tokens,
            "temperature": sampling.temperature,
            "seeds": list(seeds or range(len(sequences))),
            "top_k": top_k,
            "batch": batch,
            "stop_ids": None,
        }
        return Request(path="/generate", body=body, timeout_s=self._timeout_s)

    def generated(self, answer: bytes, top_k: int) -> list[Generation]:
        arrays = _arrays(answer)
        if arrays["top_ids"].shape[1] != top_k:
            raise RequestError(f"the reference gave {arrays['top_ids'].shape[1]}, not {top_k}")
        lengths = arrays["lengths"].tolist()
        ends = np.cumsum(lengths).tolist()
        ids = arrays["token_ids"].tolist()
        return [
            Generation(
                token_ids=tuple(ids[end - length : end]),
                scores=scores,
                finish_reason="stop" if stopped else "length",
            )
            for end, length, scores, stopped in zip(
                ends, lengths, _split(arrays, lengths), arrays["finish_stop"].tolist(), strict=True
            )
        ]

    def detokenize(self, token_ids: Sequence[int]) -> Request:
        return Request(path="/detokenize", body={"token_ids": list(token_ids)})

    def detokenized(self, answer: bytes) -> tuple[list[str], list[bool]]:
        table = orjson.loads(answer)
        return table["texts"], table["special"]

    def decode(self, sequences: Sequence[Tokens]) -> Request:
        """Asks how whole sequences read, special tokens left out."""
        return Request(path="/decode", body={"sequences": [list(tokens) for tokens in sequences]})

    def decoded(self, answer: bytes, expected: int) -> list[str]:
        texts: list[str] = orjson.loads(answer)["texts"]
        if len(texts) != expected:
            raise RequestError(f"the reference read {len(texts)} sequences of {expected}")
        return texts


def _arrays(answer: bytes) -> dict[str, Any]:
    try:
        with np.load(io.BytesIO(answer), allow_pickle=False) as archive:
            return dict(archive)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RequestError(f"the reference's answer is no array: {answer[:200]!r}") from error


def _split(arrays: dict[str, Any], lengths: Sequence[int]) -> list[Scores]:
    ends = np.cumsum(lengths).tolist()
    whole = Scores(
        logprobs=arrays["logprobs"],
        top_ids=arrays["top_ids"],
        top_logprobs=arrays["top_logprobs"],
    )
    return [whole.slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
