"""SGLang: how it is started, and its token-level language (`/generate` and `/tokenize`).

Read in SGLang 0.5.23: with `logprob_start_len` 0 no token of a prompt comes from the prefix cache,
and `cached_tokens` says how many did; `/tokenize` renders messages by the chat API's own function;
logprobs of generated tokens are those after the temperature unless the server's environment has
SGLANG_RETURN_ORIGINAL_LOGPROB=1, which pins set; a token id beyond the vocabulary ends the server.
All sampling parameters are sent, always: the server may have others.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson

from harness.base.case import Chat
from harness.base.errors import RequestError
from harness.base.record import Generation, Scores
from launchers import shimmed
from launchers.dialect import Request, Tokens
from launchers.pins import GREEDY, LoadedPin, SamplingTable
from launchers.process import Command
from launchers.running import NONE, Reported

KV_CACHE = re.compile(r"KV Cache is allocated\. dtype: torch\.(\w+)")
ALIASES = {  # other names of flags -> the one that the server reports
    "tensor_parallel_size": "tp_size",
    "pipeline_parallel_size": "pp_size",
    "data_parallel_size": "dp_size",
    "expert_parallel_size": "ep_size",
    "tp": "tp_size",
    "pp": "pp_size",
    "dp": "dp_size",
    "ep": "ep_size",
}


class SglangLauncher:
    """`python -m sglang.launch_server`, with the pin's flags."""

    ready_path = "/health"  # generates a token: 200 when the whole server works
    questions = ("/server_info",)

    def command(self, loaded: LoadedPin, *, python: Path, port: int) -> Command:
        argv = [
            str(python),
            "-m",
            "sglang.launch_server",
            *("--model-path", str(loaded.model_path)),
            *("--served-model-name", loaded.pin.model.name),
            *("--host", "127.0.0.1"),
            *("--port", str(port)),
            *flags(loaded.pin.args),
        ]
        path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        home = str(python.parent.parent / "home")  # SGLang writes caches there, and nowhere else
        shims = shimmed.variables(loaded.pin.engine.shims)
        return Command(
            argv=tuple(argv), env={"PATH": path, "HOME": home, **shims, **loaded.pin.env}
        )

    def dialect(self, loaded: LoadedPin) -> SglangDialect:
        return SglangDialect(model=loaded.pin.model.name)

    def reported(self, answers: Mapping[str, bytes], log: str) -> Reported:
        return reported(_json(answers.get("/server_info", b"{}")), log)


def reported(info: Mapping[str, Any], log: str) -> Reported:
    """`/server_info` repeats a flag that was left open as `auto`: what became of it, the log says.

    A KV cache that was left open has the model's dtype, unless a quantised checkpoint says more.
    """
    found = KV_CACHE.search(log)
    cache = None if found is None else found[1]
    dtype, quantization = info.get("dtype"), info.get("quantization")
    if dtype == "auto":
        plain = info.get("kv_cache_dtype") == "auto" and quantization is None
        dtype = cache if plain else None
    known = dict(info)
    if "json_model_override_args" in known:
        known["json_model_override_args"] = orjson.loads(known["json_model_override_args"])
    known |= {alias: known[name] for alias, name in ALIASES.items() if name in known}
    return Reported(
        version=info.get("version"),
        dtype=dtype,
        kv_cache_dtype=cache,
        quantization=(quantization or NONE) if "quantization" in info else None,
        flags=known,
    )


def flags(args: Mapping[str, Any]) -> list[str]:
    """A pin's `args` as SGLang takes them: true is `--flag`, false its absence, a table JSON."""
    argv: list[str] = []
    for name, value in args.items():
        if isinstance(value, bool):
            argv += [f"--{name}"] if value else []
        elif isinstance(value, list):
            argv += [f"--{name}", *map(str, cast("list[object]", value))]
        elif isinstance(value, dict):
            argv += [f"--{name}", json.dumps(value)]
        else:
            argv += [f"--{name}", str(value)]
    return argv


class SglangDialect:
    """Requests and answers of an SGLang server, or of a fork that answers some of them elsewhere.

    `identity_path` says its version, `render_path` renders chats.
    """

    sequences_per_request = 8  # a request costs it 10 ms beside the tokens

    def __init__(
        self,
        *,
        model: str,
        engine: str = "sglang",
        identity_path: str = "/server_info",
        render_path: str = "/tokenize",
    ) -> None:
        self.model = model
        self.engine = engine
        self.identity_path = identity_path
        self.render_path = render_path

    def identity(self) -> Request:
        return Request(path=self.identity_path, body=None)

    def identified(self, answer: bytes) -> dict[str, Any]:
        version = _field(_json(answer), "version")
        return {"engine": self.engine, "version": version, "model": self.model}

    def render(self, prompt: Chat | str) -> Request:
        if isinstance(prompt, str):
            body = {"model": self.model, "prompt": prompt, "add_special_tokens": False}
            return Request(path="/tokenize", body=body)
        return Request(path=self.render_path, body={"model": self.model, **chat_body(prompt)})

    def rendered(self, answer: bytes) -> Tokens:
        return tuple(_field(_json(answer), "tokens"))

    def usage(self, chat: Chat) -> Request:
        body = {"model": self.model, "max_tokens": 1, **chat_body(chat), **_sampling(GREEDY)}
        return Request(path="/v1/chat/completions", body=body)

    def prompt_tokens(self, answer: bytes) -> int:
        return int(_field(_json(answer), "usage", "prompt_tokens"))

    def score(self, sequences: Sequence[Tokens], top_k: int) -> Request:
        sampling = {"max_new_tokens": 0, **_sampling(GREEDY)}
        return _generate(sequences, [sampling] * len(sequences), top_k, logprob_start_len=0)

    def scored(self, answer: bytes, sequences: Sequence[Tokens], top_k: int) -> list[Scores]:
        items = _items(answer, len(sequences))
        pairs = zip(items, sequences, strict=True)
        return [_prompt_scores(_field(item, "meta_info"), t, top_k) for item, t in pairs]

    def generate(
        self,
        sequences: Sequence[Tokens],
        *,
        max_new_tokens: int,
        sampling: SamplingTable,
        seeds: Sequence[int],
        top_k: int,
    ) -> Request:
        own = [
            {
                "max_new_tokens": max_new_tokens,
                "sampling_seed": seed,
                "skip_special_tokens": False,
                **_sampling(sampling),
            }
            for seed in seeds
        ]
        return _generate(sequences, own, top_k, logprob_start_len=-1)

    def generated(self, answer: bytes, top_k: int) -> list[Generation]:
        items = _items(answer, None)
        return [_generation(_field(item, "meta_info"), top_k) for item in items]


def chat_body(chat: Chat) -> dict[str, Any]:
    """What a chat is in SGLang's chat API, and in its `/tokenize`."""
    body: dict[str, Any] = {"messages": [dict(message) for message in chat.messages]}
    if chat.tools is not None:
        body["tools"] = list(chat.tools)
    if chat.thinking is not None:
        body["chat_template_kwargs"] = {"thinking": chat.thinking}
    return body


def _generate(
    sequences: Sequence[Tokens],
    sampling: Sequence[Mapping[str, Any]],
    top_k: int,
    *,
    logprob_start_len: int,
) -> Request:
    """`logprob_start_len`: the first token of the prompt that is scored; -1: none of them."""
    body = {
        "input_ids": [list(tokens) for tokens in sequences],
        "sampling_params": [dict(table) for table in sampling],
        "return_logprob": True,
        "logprob_start_len": logprob_start_len,
        "top_logprobs_num": top_k,
    }
    return Request(path="/generate", body=body)


def _sampling(sampling: SamplingTable) -> dict[str, Any]:
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k or -1,  # SGLang's word for off
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
    }


def _json(answer: bytes) -> Any:
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"SGLang's answer is no JSON: {answer[:200]!r}") from error


def _field(table: Any, *names: str) -> Any:
    """A field of an answer; RequestError where there is none of that name."""
    value = table
    for name in names:
        if not isinstance(value, dict) or name not in value:
            wanted, said = ".".join(names), str(table)[:200]
            raise RequestError(f"SGLang's answer has no {wanted}: {said}")
        value = cast("dict[str, Any]", value)[name]
    return value


def _items(answer: bytes, expected: int | None) -> list[Any]:
    items = _json(answer)
    if not isinstance(items, list):
        raise RequestError(f"SGLang's answer is no list: {answer[:200]!r}")
    answers = cast("list[Any]", items)
    if expected is not None and len(answers) != expected:
        raise RequestError(f"SGLang gave {len(answers)} answers for {expected} sequences")
    return answers


def _prompt_scores(meta: Any, tokens: Tokens, top_k: int) -> Scores:
    cached = _field(meta, "cached_tokens")
    if cached:
        raise RequestError(f"SGLang took {cached} tokens of a score from its prefix cache")
    chosen = _field(meta, "input_token_logprobs")
    given = tuple(entry[1] for entry in chosen)
    if given != tokens:
        raise RequestError(f"SGLang scored {len(given)} tokens that are not the {len(tokens)} sent")
    lists = _field(meta, "input_top_logprobs")
    return _scores(chosen[1:], lists[1:], top_k)


def _generation(meta: Any, top_k: int) -> Generation:
    reason = _field(meta, "finish_reason", "type")
    if reason not in ("stop", "length"):
        raise RequestError(f"SGLang ended a generation with finish_reason {reason!r}")
    chosen = _field(meta, "output_token_logprobs")
    return Generation(
        token_ids=tuple(entry[1] for entry in chosen),
        scores=_scores(chosen, _field(meta, "output_top_logprobs"), top_k),
        finish_reason=reason,
    )


def _scores(chosen: list[Any], lists: list[Any], top_k: int) -> Scores:
    """`chosen`: [logprob, token id, text] a position; `lists`: the best of each, in their order."""
    if len(chosen) != len(lists):
        raise RequestError(f"SGLang gave {len(chosen)} logprobs and {len(lists)} lists of others")
    for position, entries in enumerate(lists):
        if entries is None or len(entries) != top_k:
            given = "no" if entries is None else len(entries)
            raise RequestError(f"SGLang gave {given} alternatives at {position}, not {top_k}")
    best = np.array([[e[:2] for e in entries] for entries in lists]).reshape(-1, top_k, 2)
    return Scores(
        logprobs=np.array([entry[0] for entry in chosen], dtype=np.float64),
        top_ids=best[:, :, 1].astype(np.int32),
        top_logprobs=best[:, :, 0],
    )
