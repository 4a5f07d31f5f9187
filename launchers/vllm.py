"""vLLM: how it is started, and its token-level language: `/v1/completions` and `/[de]tokenize`.

Read in vLLM 0.32.0: a request with `prompt_logprobs` never reads the prefix cache; unknown fields
are ignored with 200; a sampling parameter that is not sent may be set by the server, so all are
sent, always; tools without a tool parser give 400 unless `tool_choice` is "none"; on a CPU, a
request with a seed and a temperature ends the engine where its prompt is prefilled in parts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson

from harness.base.case import Chat
from harness.base.errors import RequestError
from harness.base.record import Generation, Scores
from launchers import vllm_running, vllm_toggles
from launchers.dialect import Request, Sampling, Toggle, Tokens
from launchers.pins import GREEDY, LoadedPin, SamplingTable
from launchers.process import Command
from launchers.running import Reported

# Changes no output: an answer then says how many tokens of its prompt came from the prefix cache.
TELLING = ("--enable-prompt-tokens-details",)
INVARIANT = "VLLM_BATCH_INVARIANT"  # a switch of its environment


SERVER = ("vllm.entrypoints.openai.api_server",)
COMMAND = ("vllm.entrypoints.cli.main", "serve")


class VllmLauncher:
    """`python -m vllm.entrypoints.openai.api_server`: the `vllm` command wants a distribution of
    that name, and the CPU build is called otherwise. What only `vllm serve` has, that starts."""

    ready_path = "/health"
    questions = ("/version",)

    def command(self, loaded: LoadedPin, *, python: Path, port: int) -> Command:
        argv = [
            str(python),
            *("-m", *(COMMAND if _needs_command(loaded) else SERVER)),
            *("--model", str(loaded.model_path)),
            *("--served-model-name", loaded.pin.model.name),
            *("--host", "127.0.0.1"),
            *("--port", str(port)),
            *TELLING,
            *flags(loaded.pin.args),
        ]
        path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        home = str(python.parent.parent / "home")  # vLLM writes caches there, and nowhere else
        return Command(argv=tuple(argv), env={"PATH": path, "HOME": home, **loaded.pin.env})

    def dialect(self, loaded: LoadedPin) -> VllmDialect:
        return VllmDialect(model=loaded.pin.model.name)

    def reported(self, answers: Mapping[str, bytes], log: str) -> Reported:
        return vllm_running.reported(answers, log)

    def bit_equal(self, loaded: LoadedPin) -> str | None:
        """Read in vLLM 0.32.0: its batch-invariant mode, asked for by the environment alone."""
        return f"env.{INVARIANT}" if loaded.pin.env.get(INVARIANT, "0") != "0" else None

    def toggles(self, loaded: LoadedPin) -> tuple[Toggle, ...]:
        return vllm_toggles.toggles(loaded)


def _needs_command(loaded: LoadedPin) -> bool:
    """Read in vLLM 0.32.0: the server's module takes --headless, and does nothing of it."""
    rust = loaded.pin.env.get("VLLM_USE_RUST_FRONTEND", "0") != "0"
    return bool(loaded.pin.args.get("headless")) or rust


def flags(args: Mapping[str, Any]) -> list[str]:
    """A pin's `args` as vLLM takes them: true is `--flag`, false `--no-flag`, a table JSON."""
    argv: list[str] = []
    for name, value in args.items():
        if isinstance(value, bool):
            argv.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, list):
            argv += [f"--{name}", *map(str, cast("list[object]", value))]
        elif isinstance(value, dict):
            argv += [f"--{name}", json.dumps(value)]
        else:
            argv += [f"--{name}", str(value)]
    return argv


class VllmDialect:
    """Requests and answers of a vLLM server."""

    engine = "vllm"
    sequences_per_request = 1
    ids_per_request = 1  # /detokenize makes one text of all the ids of a request
    ends_with_done = True

    def __init__(self, *, model: str) -> None:
        self.model = model

    def identity(self) -> Request:
        return Request(path="/version", body=None)

    def identified(self, answer: bytes) -> dict[str, Any]:
        return {"engine": self.engine, "version": _field(answer, "version"), "model": self.model}

    def render(self, prompt: Chat | str) -> Request:
        if isinstance(prompt, str):
            body = {"model": self.model, "prompt": prompt, "add_special_tokens": False}
        else:
            body = {"model": self.model, "add_generation_prompt": True, **_chat(prompt)}
        return Request(path="/tokenize", body=body)

    def rendered(self, answer: bytes) -> Tokens:
        return tuple(_field(answer, "tokens"))

    def chat(self, chat: Chat) -> dict[str, Any]:
        return {"model": self.model, **_chat(chat)}

    def sampling(self, table: SamplingTable) -> dict[str, Any]:
        return _sampling(table)

    def usage(self, chat: Chat) -> Request:
        body = {"model": self.model, "max_tokens": 1, **_chat(chat), **_sampling(GREEDY)}
        if chat.tools:
            body["tool_choice"] = "none"
        return Request(path="/v1/chat/completions", body=body)

    def prompt_tokens(self, answer: bytes) -> int:
        return int(_field(answer, "usage", "prompt_tokens"))

    def score(self, sequences: Sequence[Tokens], top_k: int) -> Request:
        body = {
            "model": self.model,
            "prompt": [list(tokens) for tokens in sequences],
            "max_tokens": 1,
            "prompt_logprobs": top_k,
            "return_token_ids": True,
            **_sampling(GREEDY),
        }
        return Request(path="/v1/completions", body=body)

    def scored(self, answer: bytes, sequences: Sequence[Tokens], top_k: int) -> list[Scores]:
        choices = _choices(answer, len(sequences))
        return [
            _prompt_scores(choice.get("prompt_logprobs"), tokens, top_k)
            for choice, tokens in zip(choices, sequences, strict=True)
        ]

    def generate(
        self,
        sequences: Sequence[Tokens],
        *,
        max_new_tokens: int,
        sampling: Sampling,
        seeds: Sequence[int] | None,
        top_k: int,
    ) -> Request:
        body = {
            "model": self.model,
            "prompt": [list(tokens) for tokens in sequences],
            "max_tokens": max_new_tokens,
            "logprobs": top_k,
            **({} if seeds is None else {"seed": seeds[0]}),
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            "skip_special_tokens": False,
            **_sampling(sampling),
        }
        return Request(path="/v1/completions", body=body)

    def generated(self, answer: bytes, top_k: int) -> list[Generation]:
        choices = _choices(answer, None)
        cached = _cached_tokens(answer) if len(choices) == 1 else None  # it counts a request's
        return [replace(_generation(choice, top_k), cached_tokens=cached) for choice in choices]

    def detokenize(self, token_ids: Sequence[int]) -> Request:
        return Request(path="/detokenize", body={"model": self.model, "tokens": list(token_ids)})

    def detokenized(self, answer: bytes) -> tuple[list[str], list[bool]]:
        return [str(_field(answer, "prompt"))], [False]


def _chat(chat: Chat) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": [_message(message) for message in chat.messages]}
    if chat.tools is not None:
        body["tools"] = list(chat.tools)
    if chat.thinking is not None:
        body["chat_template_kwargs"] = {"thinking": chat.thinking}
    return body


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """vLLM 0.32.0 reads the thinking of earlier turns from `reasoning`, and drops the field that
    Kimi's API and most clients call `reasoning_content`."""
    if "reasoning_content" in message:
        return {**message, "reasoning": message["reasoning_content"]}
    return dict(message)


def _sampling(sampling: Sampling) -> dict[str, Any]:
    if not isinstance(sampling, SamplingTable):
        return dict(sampling)
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
    }


def _field(answer: bytes, *names: str) -> Any:
    """A field of a JSON answer; RequestError where the answer has none of that name."""
    try:
        value = orjson.loads(answer)
        for name in names:
            value = value[name]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        wanted = ".".join(names)
        raise RequestError(f"vLLM's answer has no {wanted}: {answer[:200]!r}") from error
    return value


def _choices(answer: bytes, expected: int | None) -> list[dict[str, Any]]:
    choices: list[dict[str, Any]] = _field(answer, "choices")
    if not all("index" in choice for choice in choices):
        raise RequestError(f"vLLM gave a choice without an index: {answer[:200]!r}")
    choices.sort(key=lambda choice: choice["index"])
    if expected is not None and len(choices) != expected:
        raise RequestError(f"vLLM gave {len(choices)} choices for {expected} prompts")
    return choices


def _prompt_scores(positions: Any, tokens: Tokens, top_k: int) -> Scores:
    """`positions`: None for the first token, then a table of token id -> logprob and rank."""
    if positions is None or len(positions) != len(tokens):
        given = "no" if positions is None else len(positions)
        raise RequestError(f"vLLM gave {given} prompt_logprobs for {len(tokens)} tokens")
    count = len(tokens) - 1
    logprobs = np.empty(count)
    top_ids = np.full((count, top_k), -1, dtype=np.int32)
    top_logprobs = np.full((count, top_k), -np.inf)
    for row, (entries, token) in enumerate(zip(positions[1:], tokens[1:], strict=True)):
        try:
            logprobs[row] = entries[str(token)]["logprob"]
        except (KeyError, TypeError):
            raise RequestError(
                f"vLLM gave no logprob for token {token} at position {row + 1}"
            ) from None
        for name, entry in entries.items():
            rank = entry["rank"] - 1
            if rank < top_k:
                top_ids[row, rank] = int(name)
                top_logprobs[row, rank] = entry["logprob"]
    return _whole(Scores(logprobs=logprobs, top_ids=top_ids, top_logprobs=top_logprobs))


def _generation(choice: dict[str, Any], top_k: int) -> Generation:
    given = choice.get("logprobs")
    if given is None or choice.get("token_ids") is None:
        raise RequestError("vLLM gave a generation without its logprobs or its token ids")
    tokens = tuple(choice["token_ids"])
    if any(lp is None for entries in given["top_logprobs"] for lp in entries.values()):
        raise RequestError("vLLM gave null for a logprob of an alternative")
    lists = [
        sorted(((lp, _token_id(name)) for name, lp in entries.items()), key=lambda e: (-e[0], e[1]))
        for entries in given["top_logprobs"]
    ]
    if not len(tokens) == len(lists) == len(given["token_logprobs"]):
        raise RequestError(
            f"vLLM gave {len(tokens)} token ids, {len(given['token_logprobs'])} logprobs and "
            f"{len(lists)} lists of alternatives for one generation"
        )
    if any(len(entries) < top_k for entries in lists):
        raise RequestError(f"vLLM gave fewer than the {top_k} alternatives asked for")
    # A chosen token outside the top k stands in the list as one more entry.
    scores = Scores(
        logprobs=np.array(given["token_logprobs"], dtype=np.float64),
        top_ids=np.array([[i for _, i in e[:top_k]] for e in lists], dtype=np.int32),
        top_logprobs=np.array([[lp for lp, _ in e[:top_k]] for e in lists], dtype=np.float64),
    )
    reason = choice.get("finish_reason")
    if reason not in ("stop", "length"):
        raise RequestError(f"vLLM ended a generation with finish_reason {reason!r}")
    return Generation(token_ids=tokens, scores=scores, finish_reason=reason)


def _cached_tokens(answer: bytes) -> int | None:
    """None where it was not started to tell, or its fork does not."""
    details = (orjson.loads(answer).get("usage") or {}).get("prompt_tokens_details") or {}
    return details.get("cached_tokens")


def _token_id(name: str) -> int:
    """`token_id:123`, as `return_tokens_as_token_ids` writes it."""
    return int(name.removeprefix("token_id:"))


def _whole(scores: Scores) -> Scores:
    if (scores.top_ids < 0).any():
        row = int((scores.top_ids < 0).any(axis=1).argmax())
        given = int((scores.top_ids[row] >= 0).sum())
        raise RequestError(f"vLLM gave {given} alternatives at position {row + 1}, not all")
    return scores
