"""What a running vLLM says of itself: its version when asked, all else in its log.

Read in vLLM 0.32.0: one line has the engine's resolved configuration, one what was asked for (the
tool parser is found there alone), one the attention backend, where there was a choice. What a model
or a flag makes of requests that send no sampling parameters stands in a warning, unless
`--generation-config vllm` was asked for: then it is what `--override-generation-config` asked for.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

import orjson

from launchers.running import NONE, Reported, applied

CONFIGURATION = re.compile(r"Initializing a V1 LLM engine \(v\S+\) with config: (.*)")
SETTING = re.compile(
    r"\b(dtype|max_seq_len|tensor_parallel_size|pipeline_parallel_size|data_parallel_size"
    r"|decode_context_parallel_size|quantization|kv_cache_dtype|reasoning_parser|seed"
    r"|enforce_eager|enable_prefix_caching|load_format|tokenizer_mode|trust_remote_code)"
    r"=('[^']*'|[\w.]+)"
)
ATTENTION = re.compile(r"Using (\w+)(?: attention)? backend\b")
ASKED = re.compile(r"non-default args: (\{.*\})")
OVERRIDE = re.compile(r"'override_generation_config': (\{[^}]*\})")
OVERRIDDEN = re.compile(
    r"Default vLLM sampling parameters have been overridden by .*?: `(\{[^`]*\})`"
)
TOOL_PARSER = re.compile(r"non-default args: \{.*'tool_call_parser': '(\w+)'")  # as it was asked


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
        version=orjson.loads(answers["/version"])["version"],
        dtype=_text(dtype),
        kv_cache_dtype=_text(cache),
        quantization=_text(quantization),
        flags=told,
        sampling=_sampling(log),
    )


def _sampling(log: str) -> dict[str, dict[str, object]]:
    """Read in vLLM's `ModelConfig.get_diff_sampling_param`; the same for chats and completions."""
    asked = ASKED.search(log)
    if asked is None:
        return {}
    neutral = "'generation_config': 'vllm'" in asked[1]
    changed = (OVERRIDE if neutral else OVERRIDDEN).search(asked[1] if neutral else log)
    return {"request": applied({} if changed is None else ast.literal_eval(changed[1]))}


def _setting(text: str) -> object:
    """A value as vLLM's log writes it."""
    plain = {"None": None, "True": True, "False": False}
    value = text.strip("'").removeprefix("torch.")
    return plain[value] if value in plain else int(value) if value.isdecimal() else value


def _text(value: object) -> str | None:
    return None if value is None else str(value)
