"""Pins for GPU nodes: no GPU was asked; what can be held against each other is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import ConfigError
from hw_profiles import node as profiles
from hw_profiles.audit import Needs, audit
from launchers import argv, contracts, environments, pins
from launchers.pins import DeploymentTable, LoadedPin, load
from tests.hw_profiles import readings

DEPLOYED = [(name, of) for name in pins.shipped() if (of := load(name).pin.deployment)]
NAMES = [name for name, of in DEPLOYED if of.gpus_per_node]
STREAMED = [name for name, of in DEPLOYED if not of.gpus_per_node and of.nodes == 1]
MODELS = ("kimi-k2-thinking", "kimi-k2.5", "kimi-k2.6", "kimi-k3")
NODES = ("b200-8x180gb", "h100-8x80gb", "h20-8x141gb", "h20-8x96gb", "h200-8x141gb")
SOURCE = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} \S+")
JOINED = "kimi-k3/vllm-h200-8x141gb"


def table(loaded: LoadedPin) -> DeploymentTable:
    assert loaded.pin.deployment is not None
    return loaded.pin.deployment


def with_state(state: str) -> list[str]:
    return [name for name in NAMES if load(name).pin.provenance.state == state]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_wherever_a_user_looks_there_is_a_pin_if_only_to_say_why_not(
    model: str, engine: str
) -> None:
    assert {f"{model}/{engine}-{node}" for node in NODES} <= set(NAMES)


def test_ktransformers_serves_the_models_that_it_has_a_recipe_for() -> None:
    served = {name.split("/")[0] for name in NAMES if "/ktransformers-" in name}
    assert served == {"kimi-k2.5", "kimi-k2.6"}


@pytest.mark.parametrize("name", NAMES)
def test_a_pin_is_named_by_its_model_engine_and_node_and_names_what_exists(name: str) -> None:
    pin = load(name).pin
    model, rest = name.split("/")
    assert rest.startswith(f"{pin.engine.name}-{pin.hardware}")
    assert pin.hardware in profiles.known()
    assert {pin.engine.environment, argv.environment(load(name))} <= set(environments.known())
    assert pin.serving.enforced
    assert pin.serving.contract == model
    contracts.load(model)


@pytest.mark.parametrize("name", NAMES)
def test_a_pin_says_where_it_is_from_and_that_nobody_here_ran_it(name: str) -> None:
    pin = load(name).pin
    assert SOURCE.match(pin.provenance.source), pin.provenance.source
    assert pin.provenance.state in ("unverified", "unsupported")
    assert pin.model.hub is not None
    assert re.fullmatch(r"[0-9a-f]{40}", pin.model.revision)
    assert dict(pin.model.files) == {}


@pytest.mark.parametrize("name", NAMES)
def test_a_pin_samples_as_its_models_contract_wants_it_thinking(name: str) -> None:
    pin = load(name).pin
    thinking = contracts.load(name.split("/")[0]).table.modes["thinking"]
    asked = {"temperature": pin.sampling.temperature, "top_p": pin.sampling.top_p}
    assert {key: thinking[key] for key in asked} == asked == {"temperature": 1.0, "top_p": 0.95}


@pytest.mark.parametrize("name", with_state("unverified"))
def test_what_is_not_unsupported_fits_a_node_that_is_as_its_profile_demands(name: str) -> None:
    loaded = load(name)
    deployment = table(loaded)
    needs = Needs(
        gpu_memory_gb=deployment.gpu_memory_gb / deployment.nodes,
        host_memory_gb=deployment.host_memory_gb,
        disk_gb=deployment.disk_gb,
        folder=Path("models/k2"),
        cpu_features=deployment.cpu_features,
        gpus=deployment.gpus_per_node,
    )
    hardware = loaded.pin.hardware
    found = audit(profiles.load(hardware), readings.like(hardware), needs=needs)
    assert [f for f in found if f.severity == "blocking"] == []


@pytest.mark.parametrize("name", with_state("unsupported"))
def test_what_is_unsupported_says_why_in_numbers(name: str) -> None:
    assert re.search(r"\d+ GB", load(name).pin.provenance.note)


def test_text_only_differs_from_multimodal_by_the_recipes_flags_alone() -> None:
    texts = [name for name in NAMES if name.endswith("-text")]
    assert len(texts) >= 8
    for name in texts:
        text, both = load(name).pin, load(name.removesuffix("-text")).pin
        own = {k: v for k, v in text.args.items() if k != "language-model-only"}
        other = {k: v for k, v in both.args.items() if k != "mm-encoder-tp-mode"}
        assert own == other
        assert text.args["language-model-only"] is True
        assert replace(text, args=other, provenance=both.provenance) == replace(both, args=other)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_model_that_fits_on_no_node_is_joined_and_each_node_has_its_own_rank(
    name: str,
) -> None:
    loaded = load(name)
    parts = argv.commands(loaded)
    if not name.startswith("kimi-k3/"):
        assert table(loaded).nodes == len(parts) == 1
        return
    assert table(loaded).nodes == len(parts) in (2, 4)
    for rank, (part, words) in enumerate(parts):
        assert part == f"node {rank}"
        assert words[words.index("--node-rank") + 1] == str(rank)
        assert words[words.index("--nnodes") + 1] == str(len(parts))
        assert any(argv.HEAD in word for word in words)
        assert ("--headless" in words) == (rank > 0 and loaded.pin.engine.name == "vllm")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("deployment.nodes=1", "only then, and deployment.nodes is 1"),
        ("deployment.nodes=0", "deployment.nodes must be above 0"),
        ("deployment.gpu_memory_gb=nan", "deployment.gpu_memory_gb must be above 0"),
        ("deployment.gpu_memory_gb=0.0", "deployment.gpu_memory_gb must be above 0"),
        ("deployment.gpus_per_node=0", "deployment.gpus_per_node must be above 0"),
        ("deployment.gpus_per_node=-1", "deployment.gpus_per_node must be above 0"),
    ],
)
def test_a_deployment_that_makes_no_sense_is_refused(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(JOINED, [change])


def test_a_streamed_reference_is_of_the_same_weights_and_leaves_the_gpus_to_an_engine() -> None:
    assert [f"{model}/reference-streamed" for model in MODELS[:3]] == STREAMED
    for name in STREAMED:
        loaded = load(name)
        pin, other = loaded.pin, load(f"{name.split('/')[0]}/vllm-h200-8x141gb")
        assert pin.model == other.pin.model
        assert table(loaded).disk_gb == table(other).disk_gb
        assert (pin.hardware, pin.numerics, pin.provenance.state) == ("cpu", "fp32", "unverified")
        assert table(loaded).host_memory_gb > pin.args["memory-limit-gb"]
        assert not argv.has_parser(loaded)


def test_ktransformers_on_gpus_has_its_own_shim_and_not_the_one_that_hides_gpu_kernels() -> None:
    names = [name for name in NAMES if "/ktransformers-" in name]
    assert {load(name).pin.engine.shims for name in names} == {("ktransformers",)}
    assert {load(name).pin.engine.shims for name in NAMES if name not in names} == {()}
