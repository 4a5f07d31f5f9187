"""SGLang: how it is started, and what it says of itself."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import orjson

from launchers import shimmed
from launchers.dialect import Toggle
from launchers.pins import LoadedPin
from launchers.process import Command
from launchers.running import DTYPE_NAMES, NONE, Reported, applied
from launchers.sglang_dialect import SglangDialect

KV_CACHE = re.compile(r"KV Cache is allocated\. dtype: torch\.(\w+)")
LOADED = re.compile(r"Load weight end\..*?, type=\w+, (?:quant=([\w-]+))?")
MODEL_DEFAULTS = re.compile(
    r"Using default chat sampling params from model generation config: (\{.*\})"
)

PHASES = ("decode", "prefill")
GRAPHS = tuple(f"args.cuda-graph-backend-{phase}=disabled" for phase in PHASES)  # was one flag once
ATTENTION = ("attention-backend", "decode-attention-backend", "prefill-attention-backend")
OTHER_ATTENTION = "triton"  # runs on every GPU, and any kind of attention
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
        return reported(orjson.loads(answers["/server_info"]), log)

    def bit_equal(self, loaded: LoadedPin) -> str | None:
        """Read in SGLang 0.5.23: its deterministic inference, which another flag implies."""
        flags = ("enable-deterministic-inference", "rl-on-policy-target")
        return next((f"args.{name}" for name in flags if loaded.pin.args.get(name)), None)

    def toggles(self, loaded: LoadedPin) -> tuple[Toggle, ...]:
        return toggles(loaded, GRAPHS)


def toggles(loaded: LoadedPin, graphs: Sequence[str]) -> tuple[Toggle, ...]:
    """As `Launcher.toggles`; `graphs`: what switches CUDA graphs off.

    A CPU without AMX has one attention backend, and no graphs.
    """
    args, on_cpu = loaded.pin.args, loaded.pin.hardware == "cpu"
    found: list[Toggle] = []
    if not args.get("disable-radix-cache", False):
        found.append(
            Toggle(name="without the prefix cache", changes=("args.disable-radix-cache=true",))
        )
    if not on_cpu:
        if not _without_graphs(args):
            found.append(Toggle(name="without CUDA graphs", changes=tuple(graphs)))
        others = [name for name in ATTENTION if name == ATTENTION[0] or name in args]
        if any(args.get(name) != OTHER_ATTENTION for name in others):
            found.append(
                Toggle(
                    name=f"with the attention backend {OTHER_ATTENTION}",
                    changes=tuple(f"args.{name}={OTHER_ATTENTION}" for name in others),
                )
            )
    return tuple(found)


def _without_graphs(args: Mapping[str, Any]) -> bool:
    if args.get("disable-cuda-graph", False):
        return True
    return all(args.get(f"cuda-graph-backend-{phase}") == "disabled" for phase in PHASES)


def reported(info: Mapping[str, Any], log: str) -> Reported:
    """`/server_info` repeats a flag that was left open: what became of it, the log says.

    A KV cache that was left open has the model's dtype, unless a quantised checkpoint says more.
    """
    cache, quantization = _kv_cache_dtype(log), info.get("quantization") or _quantization(log)
    flags = dict(info)
    if "json_model_override_args" in flags:
        flags["json_model_override_args"] = orjson.loads(flags["json_model_override_args"])
    return Reported(
        version=info.get("version"),
        dtype=_dtype(info, cache, quantization),
        kv_cache_dtype=cache,
        quantization=quantization,
        flags=flags | {other: info[name] for other, name in ALIASES.items() if name in info},
        sampling=_sampling(info, log),
    )


def _sampling(info: Mapping[str, Any], log: str) -> dict[str, dict[str, object]]:
    """Read in SGLang 0.5.23 and sglang-kt 0.7.2: `preferred_sampling_params` reach `/generate`
    alone, `sampling_defaults` chats alone; those of a model are logged where it has any."""
    if "sampling_defaults" not in info:
        return {}
    found = MODEL_DEFAULTS.search(log) if info["sampling_defaults"] == "model" else None
    model = {} if found is None else ast.literal_eval(found[1])
    preferred = info.get("preferred_sampling_params") or {}
    return {"chat": applied(model), "/generate request": applied(preferred)}


def _dtype(info: Mapping[str, Any], cache: str | None, quantization: str | None) -> str | None:
    dtype = info.get("dtype")
    if dtype == "auto":
        return cache if info["kv_cache_dtype"] == "auto" and quantization == NONE else None
    return None if dtype is None else DTYPE_NAMES.get(dtype, dtype)


def _kv_cache_dtype(log: str) -> str | None:
    found = KV_CACHE.search(log)
    return None if found is None else found[1]


def _quantization(log: str) -> str | None:
    """What the checkpoint itself is: the log names a method, or none."""
    loaded = LOADED.search(log)
    return None if loaded is None else loaded[1] or NONE


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
