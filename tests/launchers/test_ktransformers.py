"""KTransformers' command line from a pin, and the answers of its fork of SGLang as it gave them.

What SGLang's dialect reads by itself is tested with it; here is what is the fork's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.base.case import Chat
from launchers import pins, running, shimmed
from launchers.dialect import Request
from launchers.ktransformers import KtransformersLauncher
from launchers.running import Reported

LAUNCHER = KtransformersLauncher()
BF16, RAWINT4 = "tiny-moe/ktransformers-cpu-bf16", "tiny-moe/ktransformers-cpu-rawint4"
CHAT = Chat(messages=({"role": "user", "content": "hi"},), tools=None, thinking=False)
LOG = """
[2026-11-24 07:02:03] Load weight end. elapsed=1.05 s, type=Qwen3MoeForCausalLM, dtype=torch.bfloat16, avail mem=21.76 GB, mem usage=0.00 GB.
[2026-11-24 07:02:03] Using KV cache dtype: torch.bfloat16
[2026-11-24 07:02:03] KV Cache is allocated. #tokens: 16384, K size: 0.00 GB, V size: 0.00 GB
"""  # noqa: E501 - as it stands there
SERVER_INFO: dict[str, Any] = {  # of the BF16 pin; some of its 400 keys
    "attention_backend": "torch_native",
    "chunked_prefill_size": 512,
    "context_length": 2048,
    "device": "cpu",
    "disable_cuda_graph": True,
    "dp_size": 1,
    "dtype": "bfloat16",
    "json_model_override_args": "{}",
    "kt_cpuinfer": 1,
    "kt_method": "BF16",
    "kt_num_gpu_experts": 0,
    "kt_threadpool_count": 1,
    "kv_cache_dtype": "auto",
    "max_running_requests": 256,
    "max_total_tokens": 16384,
    "page_size": 1,
    "quantization": None,
    "random_seed": 0,
    "reasoning_parser": "kimi_k2",
    "sampling_backend": "pytorch",
    "sampling_defaults": "openai",
    "sleep_on_idle": True,
    "tool_call_parser": "kimi_k2",
    "tp_size": 1,
    "version": "0.0.0.dev0",
}
SCORED = (
    b'[{"text":"","output_ids":[],"meta_info":{"id":"8086b908","finish_reason":{"type":"length",'
    b'"length":0},"prompt_tokens":3,"weight_version":"default","total_retractions":0,'
    b'"input_token_logprobs":[[null,5,null],[-22.046913146972656,6,null],[-17.546905517578125,7,'
    b'null]],"output_token_logprobs":[],"input_top_logprobs":[null,[[-3.7431014789035544e-05,764,'
    b"null],[-12.18753719329834,1120,null]],[[-3.1470757676288486e-05,764,null],[-12.9062814712,"
    b'660,null]]],"output_top_logprobs":[],"completion_tokens":0,"cached_tokens":0,'
    b'"cached_tokens_details":null,"dp_rank":null,"e2e_latency":0.158}}]'
)


def reported(**changes: Any) -> Reported:
    answers = {
        "/server_info": json.dumps({**SERVER_INFO, **changes}).encode(),
        "/enginediff/version": b'{"version":"0.7.2"}',
    }
    return LAUNCHER.reported(answers, LOG)


def test_it_starts_as_sglang_does_with_the_experts_from_the_models_own_folder() -> None:
    loaded = pins.load(BF16)
    command = LAUNCHER.command(loaded, python=Path("/e/bin/python"), port=7)
    assert command.argv[:3] == ("/e/bin/python", "-m", "sglang.launch_server")
    assert command.argv[-2:] == ("--kt-weight-path", str(loaded.model_path))
    flags = " ".join(command.argv)
    assert "--kt-method BF16" in flags and "--kt-num-gpu-experts 0" in flags
    assert "--disable-cuda-graph --" in flags  # a switch takes no value
    assert command.env["HOME"] == "/e/home"


def test_its_own_shims_come_before_those_that_it_shares_with_sglang() -> None:
    command = LAUNCHER.command(pins.load(BF16), python=Path("/e/bin/python"), port=7)
    folders = command.env["PYTHONPATH"].split(os.pathsep)
    assert [Path(folder).name for folder in folders] == ["ktransformers", "sglang", "shared"]


@pytest.mark.parametrize("name", [BF16, RAWINT4])
def test_a_pin_leaves_no_kernel_to_the_cpu_that_it_meets(name: str) -> None:
    env = pins.load(name).pin.env
    assert env["KT_KERNEL_CPU_VARIANT"] == "avx2"
    assert (env.get("KT_RAWINT4_BACKEND") == "avx2") == (name == RAWINT4)


def test_a_text_is_tokenised_by_the_fork_and_a_chat_rendered_through_the_window() -> None:
    dialect = LAUNCHER.dialect(pins.load(BF16))
    assert dialect.render("a b").path == "/tokenize"
    request = dialect.render(CHAT)
    assert request.path == "/enginediff/render"
    assert request.body is not None
    assert request.body["messages"] == [{"role": "user", "content": "hi"}]
    assert request.body["chat_template_kwargs"] == {"thinking": False}
    assert dialect.rendered(b'{"tokens":[1630,302,1633]}') == (1630, 302, 1633)


def test_it_says_its_own_version_and_not_the_forks_placeholder() -> None:
    dialect = LAUNCHER.dialect(pins.load(BF16))
    assert dialect.identity() == Request(path="/enginediff/version", body=None)
    identity = dialect.identified(b'{"version":"0.7.2"}')
    assert identity == {"engine": "ktransformers", "version": "0.7.2", "model": "tiny-moe"}


def test_the_logprobs_of_a_prompt_are_read() -> None:
    dialect = LAUNCHER.dialect(pins.load(BF16))
    (scores,) = dialect.scored(SCORED, [(5, 6, 7)], 2)
    assert scores.logprobs.tolist() == [-22.046913146972656, -17.546905517578125]
    assert scores.top_ids.tolist() == [[764, 1120], [764, 660]]
    assert np.isclose(scores.top_logprobs[1, 1], -12.9062814712)


def test_what_runs_is_what_the_pin_says() -> None:
    comparison = running.compare(pins.load(BF16).pin, reported())
    assert comparison.differences == ()
    assert comparison.unreported == ("quantisation (numerics bf16)",)
    assert "engine.version" in comparison.equal
    assert "KV cache dtype (numerics bf16)" in comparison.equal
    assert "args.kt-method" in comparison.equal


def test_another_method_than_the_pinned_one_is_a_difference() -> None:
    comparison = running.compare(pins.load(BF16).pin, reported(kt_method="AMXINT4"))
    assert [d.key for d in comparison.differences] == ["args.kt-method"]


def test_without_the_window_the_version_is_not_known() -> None:
    answers = {"/server_info": json.dumps(SERVER_INFO).encode()}
    assert LAUNCHER.reported(answers, LOG).version is None


LOADER = """
class Experts: pass
class CompressedSafeTensorLoader:
    def load_experts(self, key):
        return Experts()
"""
DROPS_THEM = """
import weakref
from kt_kernel.utils import loader
experts = loader.CompressedSafeTensorLoader().load_experts("model.layers.0")
alive = weakref.ref(experts)
del experts
print(alive() is not None)
"""


@pytest.mark.parametrize(("asked", "kept"), [("1", "True"), ("0", "False")])
def test_int4_weights_stay_in_memory_where_the_pin_asks_for_it(
    tmp_path: Path, asked: str, kept: str
) -> None:
    package = tmp_path / "kt_kernel" / "utils"
    package.mkdir(parents=True)
    (package / "loader.py").write_text(LOADER)
    variables = shimmed.variables(pins.load(RAWINT4).pin.engine.shims)
    path = f"{variables['PYTHONPATH']}{os.pathsep}{tmp_path}"
    done = subprocess.run(
        [sys.executable, "-c", DROPS_THEM],
        env={**variables, "PYTHONPATH": path, "ENGINEDIFF_KT_KEEP_WEIGHTS": asked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == kept, done.stderr
