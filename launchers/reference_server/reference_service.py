"""What the server can do, apart from HTTP: one method an endpoint, JSON in, JSON or npz out."""

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch
import transformers
from checkpoint_config import UnsupportedModelError
from direct_computation import DirectComputation, read_supported_config
from reference_computation import Computation
from reference_generation import generate
from reference_log import log
from reference_logprobs import TokenLogprobs
from reference_model_files import ModelLimits, read_limits
from reference_requests import (
    Flavour,
    RequestError,
    parse_generate,
    parse_render,
    parse_score,
    parse_sequences,
    parse_text,
    parse_token_ids,
)
from reference_scoring import score
from reference_tokens import NoTokens, Tokens
from streamed_computation import StreamedComputation
from streamed_direct import streamed_direct
from streamed_memory import MemoryLimitError
from streamed_scoring import Work, score_streamed
from streamed_store import checkpoint_identity
from streamed_transformers import streamed_transformers
from transformers_computation import TransformersComputation

STREAMED = ("streamed-direct", "streamed-transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """What the streamed implementation may use."""

    device: str
    memory_limit_bytes: int | None  # of weights and activations at hand; None: no limit
    work_folder: Path


class ReferenceService:
    """A model folder, its tokenizer, and every flavour of computation that was asked for so far.

    A server that is started as streamed computes in that way only: its model may fit nowhere.

    Methods raise RequestError for what the client did wrong. Not safe for concurrent use.
    """

    def __init__(
        self, folder: Path, *, name: str, flavour: Flavour, threads: int, streaming: Streaming
    ) -> None:
        """Load all that `flavour` needs. Raises ValueError or OSError if the folder is no model."""
        self._folder = folder
        self._name = name
        self._flavour = flavour
        self._threads = threads
        self._streaming = streaming
        self._loaders: dict[str, Callable[..., Computation]] = {
            "transformers": TransformersComputation,
            "direct": DirectComputation,
            "streamed-direct": partial(streamed_direct, device=streaming.device),
            "streamed-transformers": partial(streamed_transformers, device=streaming.device),
        }
        self._limits: ModelLimits = read_limits(folder)
        self._tokens = self._load_tokens()
        self._computations: dict[Flavour, Computation] = {}
        self._computation(flavour)

    def identity(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "engine": "enginediff-reference",
            "model": self._name,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "implementation": self._flavour.implementation,
            "dtype": self._flavour.dtype,
            "attention": self._flavour.attention,
            "threads": self._threads,
            "device": self._streaming.device,
            "vocab_size": self._limits.vocabulary_size,
            "max_length": self._limits.max_length,
            "no_tokenizer": self._tokens.lacking,
            "implementations": self._implementations(),
        }

    def render(self, body: Any) -> dict[str, Any]:
        messages, tools, thinking = parse_render(body)
        return {"token_ids": self._tokens.render(messages, tools, thinking)}

    def tokenize(self, body: Any) -> dict[str, Any]:
        return {"token_ids": self._tokens.encode(parse_text(body))}

    def detokenize(self, body: Any) -> dict[str, Any]:
        ids = parse_token_ids(body, self._limits)
        return {"texts": self._tokens.decode_each(ids), "special": self._tokens.are_special(ids)}

    def decode(self, body: Any) -> dict[str, Any]:
        return {"texts": self._tokens.decode(parse_sequences(body, self._limits))}

    def score(self, body: Any) -> bytes:
        request = parse_score(body, self._limits, self._flavour)
        computation = self._computation(request.flavour)
        way = score
        if isinstance(computation, StreamedComputation):
            way = partial(score_streamed, work=self._work(request.flavour), announce=log)
        try:
            logprobs = way(
                computation,
                request.sequences,
                top_k=request.top_k,
                batch=request.batch,
                chunk=request.chunk,
            )
        except MemoryLimitError as error:
            raise RequestError(str(error)) from error
        lengths = numpy.array([len(sequence) for sequence in request.sequences], dtype=numpy.int64)
        return _npz(lengths=lengths, **_arrays(logprobs))

    def generate(self, body: Any) -> bytes:
        request = parse_generate(body, self._limits)
        generated = generate(
            self._computation(self._flavour),
            request.sequences,
            max_new_tokens=request.max_new_tokens,
            temperature=request.temperature,
            seeds=request.seeds,
            top_k=request.top_k,
            batch=request.batch,
            stop_ids=request.stop_ids,
        )
        return _npz(
            lengths=numpy.array(generated.lengths, dtype=numpy.int64),
            token_ids=generated.tokens.numpy(),
            finish_stop=numpy.array(generated.finish_stop, dtype=bool),
            **_arrays(generated.logprobs),
        )

    def _computation(self, flavour: Flavour) -> Computation:
        """Load at the first use. Raises RequestError if the direct code lacks this model."""
        if flavour.implementation not in self._implementations():
            raise RequestError(
                f"implementation: {flavour.implementation!r}; this server has only"
                f" {self._implementations()}"
            )
        if flavour not in self._computations:
            load = self._loaders[flavour.implementation]
            try:
                self._computations[flavour] = load(
                    self._folder, dtype=flavour.dtype, attention=flavour.attention
                )
            except UnsupportedModelError as error:
                raise RequestError(f"{flavour.implementation}: {error}") from error
        return self._computations[flavour]

    def _load_tokens(self) -> Tokens | NoTokens:
        """A streamed server can do without: Kimi's tokenizer is code of its own, which is not run.

        Raises OSError or ValueError where a tokenizer is needed.
        """
        try:
            return Tokens(self._folder)
        except (OSError, ValueError) as error:
            if self._flavour.implementation not in STREAMED:
                raise
            log(f"no tokenizer, so no /render, /tokenize, /detokenize: {error}")
            return NoTokens(str(error))

    def _implementations(self) -> list[str]:
        """Those that compute this model, by its config.json."""
        try:
            read_supported_config(self._folder)
        except UnsupportedModelError:
            able = ["transformers"]
        else:
            able = [*self._loaders]
        return [
            way for way in able if way in STREAMED or self._flavour.implementation not in STREAMED
        ]

    def _work(self, flavour: Flavour) -> Work:
        identity = {
            "checkpoint": checkpoint_identity(self._folder),
            "flavour": asdict(flavour),
            "device": self._streaming.device,
            "torch": torch.__version__,
        }
        return Work(
            folder=self._streaming.work_folder,
            memory_limit_bytes=self._streaming.memory_limit_bytes,
            identity=identity,
        )


def _arrays(logprobs: TokenLogprobs) -> dict[str, numpy.ndarray]:
    return {
        "logprobs": logprobs.chosen.numpy(),  # (M,) float64
        "top_ids": logprobs.top_ids.numpy(),  # (M, k) int32
        "top_logprobs": logprobs.top.numpy(),  # (M, k) float64
    }


def _npz(**arrays: numpy.ndarray) -> bytes:
    buffer = io.BytesIO()
    numpy.savez(buffer, **arrays)
    return buffer.getvalue()
