"""What a running vLLM says of itself: its version and its sampling when asked, the rest in its log.

Read in vLLM 0.32.0: one line has the engine's resolved configuration, one what was asked for (the
tool parser is found there alone), one the attention backend, where there was a choice. Its render
API answers a chat with the parameters that it would be sampled with, all defaults applied; those
of `generation_config.json` and `--override-generation-config` are found nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields

import orjson

from launchers.dialect import Request
from launchers.pins import SamplingTable
from launchers.running import NONE, Reported

VERSION, RENDER = "/version", "/v1/chat/completions/render"
CONFIGURATION = re.compile(r"Initializing a V1 LLM engine \(v\S+\) with config: (.*)")
SETTING = re.compile(
    r"\b(dtype|max_seq_len|tensor_parallel_size|pipeline_parallel_size|data_parallel_size"
    r"|decode_context_parallel_size|quantization|kv_cache_dtype|reasoning_parser|seed"
    r"|enforce_eager|enable_prefix_caching|load_format|tokenizer_mode|trust_remote_code)"
    r"=('[^']*'|[\w.]+)"
)
ATTENTION = re.compile(r"Using (\w+)(?: attention)? backend\b")
TOOL_PARSER = re.compile(r"non-default args: \{.*'tool_call_parser': '(\w+)'")  # as it was asked


def unsampled(model: str) -> Request:
    """A chat that sends no sampling parameter, rendered and not generated."""
    messages = [{"role": "user", "content": "a"}]
    return Request(path=RENDER, body={"model": model, "messages": messages})


def reported(answers: Mapping[str, bytes], log: str) -> Reported:
    """As `Launcher.reported`.

    A KV cache that was left open has the model's dtype, unless a quantised checkpoint says more.
    """
    configuration, asked = CONFIGURATION.search(log), TOOL_PARSER.search(log)
    pairs = SETTING.findall(configuration[1]) if configuration else []
    told = {name: _setting(text) for name, text in pairs}
    if asked:
        told["tool_call_parser"] = asked[1]
    if attention := ATTENTION.search(log):
        told["attention_backend"] = attention[1]
    if "max_seq_len" in told:
        told["max_model_len"] = told["max_seq_len"]
    dtype, cache = told.get("dtype"), told.get("kv_cache_dtype")
    quantization = (told["quantization"] or NONE) if "quantization" in told else None
    if cache == "auto":
        cache = dtype if quantization == NONE else None
    return Reported(
        version=orjson.loads(answers[VERSION])["version"],
        dtype=_text(dtype),
        kv_cache_dtype=_text(cache),
        quantization=_text(quantization),
        flags=told,
        sampling=_sampling(answers[RENDER]) if RENDER in answers else {},
    )


def _sampling(answer: bytes) -> dict[str, dict[str, object]]:
    applied = orjson.loads(answer)["sampling_params"]
    return {"chat": {own.name: applied[own.name] for own in fields(SamplingTable)}}


def _setting(text: str) -> object:
    """A value as vLLM's log writes it."""
    plain = {"None": None, "True": True, "False": False}
    value = text.strip("'").removeprefix("torch.")
    return plain[value] if value in plain else int(value) if value.isdecimal() else value


def _text(value: object) -> str | None:
    return None if value is None else str(value)
