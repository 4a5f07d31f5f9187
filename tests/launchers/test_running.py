"""Configured = running: every key of a pin is equal, different, or said to be unreported."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchers import pins, running, sglang, vllm_running
from launchers.pins import Pin
from launchers.registry import launcher
from launchers.running import Comparison, Difference, Reported

PIN = pins.load("tiny-moe/sglang-cpu").pin
PROMISED = {
    "dtype (numerics fp32)",
    "KV cache dtype (numerics fp32)",
    "quantisation (numerics fp32)",
}
FP32 = Reported(version="0.5.23", dtype="float32", kv_cache_dtype="float32", quantization="none")
OF_A_CHAT, OF_GENERATE = "sampling defaults of a chat", "sampling defaults of a /generate request"

# SGLang 0.5.23 serving tiny-moe: what of `/server_info` the pin names, and two lines of its log.
SGLANG_INFO: dict[str, Any] = {
    "device": "cpu",
    "dtype": "float32",
    "kv_cache_dtype": "auto",
    "quantization": None,
    "attention_backend": "torch_native",
    "sampling_backend": "pytorch",
    "json_model_override_args": "{}",
    "context_length": 2048,
    "max_total_tokens": 16384,
    "max_running_requests": 32,
    "chunked_prefill_size": 4096,
    "page_size": 1,
    "cuda_graph_backend_decode": "disabled",
    "cuda_graph_backend_prefill": "disabled",
    "tool_call_parser": "kimi_k2",
    "reasoning_parser": "kimi_k2",
    "sampling_defaults": "openai",
    "random_seed": 0,
    "sleep_on_idle": True,
    "tp_size": 1,
    "dp_size": 1,
    "served_model_name": "tiny-moe",
    "version": "0.5.23",
}
SGLANG_LOG = (
    "[2026-11-24 07:04:08] Load weight end. elapsed=0.03 s, type=Qwen3MoeForCausalLM, "
    "avail mem=20.97 GB, mem usage=0.01 GB.\n"
    "[2026-11-24 07:04:08] KV Cache is allocated. dtype: torch.float32, #tokens: 16384, "
    "K size: 0.01 GB, V size: 0.01 GB\n"
)
# vLLM 0.32.0 serving tiny-k2, the pin asking for prefix caching.
VLLM_LOG = (
    "(APIServer pid=30570) INFO 11-24 07:04:45 [api_utils.py:286] non-default args: "
    "{'enable_auto_tool_choice': True, 'tool_call_parser': 'kimi_k2', 'host': '127.0.0.1', "
    "'dtype': 'float32', 'max_model_len': 2048, 'enable_prefix_caching': True}\n"
    "(EngineCore pid=31072) INFO 11-24 07:05:02 [core.py:133] Initializing a V1 LLM engine "
    "(v0.32.0) with config: model='/models/tiny-k2', speculative_config=None, "
    "trust_remote_code=False, dtype=torch.float32, max_seq_len=2048, download_dir=None, "
    "load_format=auto, tensor_parallel_size=1, pipeline_parallel_size=1, data_parallel_size=1, "
    "decode_context_parallel_size=1, quantization=None, quantization_config=None, "
    "enforce_eager=True, kv_cache_dtype=auto, device_config=cpu, structured_outputs_config="
    "StructuredOutputsConfig(backend='auto', reasoning_parser='kimi_k2', "
    "reasoning_parser_plugin=''), seed=0, served_model_name=tiny-k2, "
    "enable_prefix_caching=False, enable_chunked_prefill=False, pooler_config=None\n"
    "(EngineCore pid=31072) INFO 11-24 07:05:02 [cpu.py:175] Using CPU_MLA backend.\n"
)
VERSION = {"/version": b'{"version":"0.32.0"}'}


def sglang_runs(changes: dict[str, Any] | None = None, log: str = SGLANG_LOG) -> Comparison:
    return running.compare(PIN, sglang.reported({**SGLANG_INFO, **(changes or {})}, log))


def only(found: Comparison) -> Difference:
    (difference,) = found.differences
    return difference


def test_a_healthy_sglang_runs_as_pinned_and_nothing_is_unreported() -> None:
    found = sglang_runs()
    assert (found.differences, found.unreported) == ((), ())
    flags = {f"args.{flag}" for flag in PIN.args}
    assert set(found.equal) == {"engine.version", *PROMISED, *flags, OF_A_CHAT, OF_GENERATE}


def test_a_dtype_left_open_is_measured_by_the_promise() -> None:
    """`/server_info` still says auto; the log says what the cache, and so the model, became."""
    pin = replace(PIN, args={**PIN.args, "dtype": "auto"})
    log = SGLANG_LOG.replace("torch.float32", "torch.bfloat16")
    found = running.compare(pin, sglang.reported({**SGLANG_INFO, "dtype": "auto"}, log))
    assert [d.key for d in found.differences] == [
        "dtype (numerics fp32)",
        "KV cache dtype (numerics fp32)",
    ]
    assert {(d.pinned, d.running) for d in found.differences} == {("float32", "bfloat16")}
    assert "args.dtype" not in (*found.equal, *found.unreported)


def test_an_open_dtype_of_a_quantised_model_is_not_guessed() -> None:
    log = SGLANG_LOG.replace("CausalLM, ", "CausalLM, quant=compressed-tensors, bits=4, ")
    found = sglang_runs({"dtype": "auto"}, log)
    assert "dtype (numerics fp32)" in found.unreported
    assert Difference(
        key="quantisation (numerics fp32)", pinned="none", running="compressed-tensors"
    ) in (found.differences)


@pytest.mark.parametrize(
    ("name", "runs", "flag"),
    [
        ("attention_backend", "triton", "attention-backend"),
        ("context_length", 1024, "context-length"),
        ("reasoning_parser", None, "reasoning-parser"),
        ("version", "0.5.24", None),
        ("quantization", "fp8", None),
    ],
)
def test_whatever_runs_otherwise_is_a_difference(name: str, runs: Any, flag: str | None) -> None:
    difference = only(sglang_runs({name: runs}))
    assert difference.running == ("none" if runs is None else str(runs))
    if flag is not None:
        assert (difference.key, difference.pinned) == (f"args.{flag}", str(PIN.args[flag]))


def test_another_name_of_a_flag_is_the_same_flag() -> None:
    pin = replace(PIN, args={"tensor-parallel-size": 8, "tp-size": 1})
    found = running.compare(pin, sglang.reported(SGLANG_INFO, SGLANG_LOG))
    assert only(found) == Difference(key="args.tensor-parallel-size", pinned="8", running="1")
    assert "args.tp-size" in found.equal


@pytest.mark.parametrize(("named", "runs"), [("float", "float32"), ("half", "float16")])
def test_another_name_of_a_dtype_is_the_same_dtype(named: str, runs: str) -> None:
    pin = pins.read("tiny-moe/vllm-cpu", [f"args.dtype={named}"]).pin
    found = running.compare(pin, Reported(flags={"dtype": runs}))
    assert "args.dtype" in found.equal
    found = running.compare(pin, Reported(flags={"dtype": "bfloat16"}))
    assert [difference.key for difference in found.differences] == ["args.dtype"]


def test_a_table_is_compared_with_the_json_that_it_became() -> None:
    rope = {"rope_parameters": {"rope_type": "yarn", "factor": 1.0}}
    pin = replace(PIN, args={"json-model-override-args": rope})
    for text, same in ((json.dumps(rope), True), ("{}", False)):
        info = {**SGLANG_INFO, "json_model_override_args": text}
        found = running.compare(pin, sglang.reported(info, SGLANG_LOG))
        assert ("args.json-model-override-args" in found.equal) is same


def test_silence_is_said_and_never_taken_as_equal() -> None:
    found = running.compare(PIN, sglang.reported({}, ""))
    assert (found.equal, found.differences) == ((), ())
    assert len(found.unreported) == 5 + len(PIN.args)


def test_what_vllm_turned_off_by_itself_is_a_difference() -> None:
    pin = pins.load("tiny-k2/vllm-cpu", ["args.enable-prefix-caching=true"]).pin
    found = running.compare(pin, vllm_running.reported(VERSION, VLLM_LOG))
    assert str(only(found)) == (
        "args.enable-prefix-caching: the pin says true, the engine runs false"
    )
    assert {
        "engine.version",
        *PROMISED,
        "args.attention-backend",
        "args.max-model-len",
        "args.tool-call-parser",
        "args.reasoning-parser",
        "args.seed",
    } <= set(found.equal)
    assert "args.block-size" in found.unreported


@pytest.mark.parametrize(
    ("told", "instead", "key", "runs"),
    [
        ("dtype=torch.float32", "dtype=torch.bfloat16", "dtype (numerics fp32)", "bfloat16"),
        ("kv_cache_dtype=auto", "kv_cache_dtype=fp8", "KV cache dtype (numerics fp32)", "fp8"),
        ("quantization=None", "quantization='fp8'", "quantisation (numerics fp32)", "fp8"),
        ("max_seq_len=2048", "max_seq_len=1024", "args.max-model-len", "1024"),
        ("parser='kimi_k2'", "parser=''", "args.reasoning-parser", ""),
        ("CPU_MLA", "TRITON_MLA", "args.attention-backend", "TRITON_MLA"),
    ],
)
def test_vllms_log_is_read(told: str, instead: str, key: str, runs: str) -> None:
    pin = pins.load("tiny-k2/vllm-cpu").pin
    found = running.compare(pin, vllm_running.reported(VERSION, VLLM_LOG.replace(told, instead)))
    assert (key, runs) in {(d.key, d.running) for d in found.differences}


def test_a_vllm_that_tells_its_log_nothing_reports_its_version_alone() -> None:
    assert vllm_running.reported(VERSION, "INFO: something else") == Reported(version="0.32.0")


def test_the_reference_reports_its_flags() -> None:
    pin = pins.load("tiny-moe/reference").pin
    identity = b'{"dtype": "bfloat16", "attention": "eager", "threads": 1}'
    found = running.compare(pin, launcher("reference").reported({"/identity": identity}, ""))
    assert [d.key for d in found.differences] == ["dtype (numerics fp32)", "args.dtype"]
    assert found.equal == ("args.attention", "args.threads")


def vllm_samples(asked: str, told: str = "") -> Comparison:
    """vLLM 0.32.0's log where it tells what was asked for, and a warning."""
    log = f"(APIServer pid=3) INFO 11-25 [api_utils.py:286] non-default args: {{{asked}}}\n{told}"
    pin = pins.load("tiny-moe/vllm-cpu").pin
    return running.compare(pin, vllm_running.reported(VERSION, log))


NEUTRAL = "'dtype': 'float32', 'generation_config': 'vllm', 'seed': 0"
OVERRIDE = "'override_generation_config': {'temperature': 0.6, 'top_k': 20, 'max_new_tokens': 9}"


def test_what_vllm_was_asked_to_sample_with_when_nothing_is_sent_is_compared() -> None:
    assert "sampling defaults of a request" in vllm_samples(NEUTRAL).equal
    assert [str(found) for found in vllm_samples(f"{NEUTRAL}, {OVERRIDE}").differences] == [
        "sampling.temperature of a request that sends none: the pin says 1.0, the engine runs 0.6",
        "sampling.top_k of a request that sends none: the pin says 0, the engine runs 20",
    ]


def test_vllm_warns_of_what_a_models_own_file_makes_it_sample_with() -> None:
    """The flags that were asked for are among it then."""
    told = (
        "(APIServer pid=3) WARNING 11-25 [model.py:1893] Default vLLM sampling parameters have "
        "been overridden by the model's `generation_config.json`: `{'top_k': -1, 'top_p': 0.95}`. "
        "If this is not intended, please relaunch vLLM instance with `--generation-config vllm`.\n"
    )
    found = vllm_samples(OVERRIDE, told)
    assert [difference.key for difference in found.differences] == [
        "sampling.top_p of a request that sends none"
    ]
    assert "sampling defaults of a request" in vllm_samples("'seed': 0").equal


def test_sglang_logs_what_a_models_own_file_makes_it_sample_with() -> None:
    told = (
        "[2026-11-24 07:04:09] Using default chat sampling params from model generation config: "
        "{'repetition_penalty': 1.0, 'temperature': 0.6, 'top_k': 50, 'top_p': 0.95}\n"
    )
    model = {"sampling_defaults": "model"}
    found = sglang_runs(model, SGLANG_LOG + told)
    assert [d.key for d in found.differences] == [
        "args.sampling-defaults",
        *(f"sampling.{n} of a chat that sends none" for n in ("temperature", "top_p", "top_k")),
    ]
    assert OF_A_CHAT in sglang_runs(model).equal  # it logs none where the file has none
    assert OF_A_CHAT in sglang_runs(log=SGLANG_LOG + told).equal  # and does not use them so


def test_sglangs_preferred_parameters_reach_its_own_api_alone() -> None:
    found = sglang_runs({"preferred_sampling_params": {"temperature": 0.6, "top_k": -1}})
    assert str(only(found)) == (
        "sampling.temperature of a /generate request that sends none: the pin says 1.0, the "
        "engine runs 0.6"
    )
    assert OF_A_CHAT in found.equal


def test_behind_the_gateway_an_engines_own_sampling_is_not_in_use() -> None:
    pin = replace(PIN, serving=replace(PIN.serving, enforced=True))
    info = {**SGLANG_INFO, "preferred_sampling_params": {"temperature": 0.6}}
    found = running.compare(pin, sglang.reported(info, SGLANG_LOG))
    assert found.differences == ()
    assert not any("sampling" in key for key in found.equal if not key.startswith("args."))


def test_a_class_of_quantised_weights_promises_no_dtype() -> None:
    found = running.compare(replace(PIN, numerics="int4-weights", args={}), FP32)
    assert found == Comparison(
        equal=("engine.version",), differences=(), unreported=("sampling defaults",)
    )


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.just("auto"))


@given(st.dictionaries(st.text(), VALUES), st.dictionaries(st.text(), VALUES))
def test_every_key_falls_under_exactly_one_heading(
    args: dict[str, object], flags: dict[str, object]
) -> None:
    pin: Pin = replace(PIN, args=args)
    found = running.compare(pin, replace(FP32, flags=flags))
    keys = [*found.equal, *found.unreported, *(d.key for d in found.differences)]
    fixed = [f"args.{flag}" for flag, value in args.items() if value != "auto"]
    assert sorted(keys) == sorted(["engine.version", *PROMISED, *fixed, "sampling defaults"])
