"""A pin fixes everything: what is wrong in it or beside it is refused, and its hash says it."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import ConfigError
from launchers import environments, pins
from launchers.pins import TOKENIZER_FILES, LoadedPin, hash_files, load, tokenizer_hash
from launchers.registry import launcher
from tests.building import write_weights

NAME = "tiny-moe/vllm-cpu"
SHIPPED = pins.shipped()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small model folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "README.md"):
        (folder / name).write_text(f"{name}\n")
    write_weights(folder / "model.safetensors", b"weights")
    return folder


def own(folder: Path, old: str = "", new: str = "") -> str:
    """A pin of the user's own: a shipped one, with `old` replaced by `new`."""
    text = (pins.SHIPPED / f"{NAME}.toml").read_text("utf-8")
    assert old in text
    path = folder / "own.toml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    return str(path)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_pin_loads_with_its_engine_environment_and_model(name: str) -> None:
    """The models of pins for GPU nodes are not shipped: see test_gpu_pins.py."""
    loaded = load(name)
    assert (loaded.name, loaded.title, loaded.changes) == (name, name, ())
    assert loaded.pin.engine.environment in environments.known()
    launcher(loaded.pin.engine.name)
    if loaded.pin.deployment is None:
        pins.verify_model(loaded)


def test_there_are_shipped_pins_and_no_two_have_one_hash() -> None:
    assert len(SHIPPED) >= 4
    assert len({load(name).hash for name in SHIPPED}) == len(SHIPPED)


def test_the_hash_is_not_changed_by_where_a_pin_comes_from_or_stands(tmp_path: Path) -> None:
    loaded = load(NAME)
    elsewhere = replace(loaded.pin.provenance, source="x", state="unverified", note="y")
    assert replace(loaded, pin=replace(loaded.pin, provenance=elsewhere)).hash == loaded.hash
    assert load(own(tmp_path, 'dtype = "float32"\n', 'dtype = "float32" # why\n')).hash == (
        loaded.hash
    )
    first, second = 'dtype = "float32"\n', "max-model-len = 2048\n"
    assert load(own(tmp_path, first + second, second + first)).hash == loaded.hash


@pytest.mark.parametrize(
    "change",
    [
        "numerics=bf16",
        "hardware=h20-8x96gb",
        'engine.version="0.32.1"',
        "engine.environment=other",
        "engine.ready_deadline_s=601",
        'model.revision="2"',
        "args.dtype=bfloat16",
        "args.new-flag=1",
        "args.enforce-eager=false",
        'env.OMP_NUM_THREADS="2"',
        "sampling.temperature=0.99",
        "sampling.top_k=1",
    ],
)
def test_the_hash_is_changed_by_anything_that_can_change_an_output(change: str) -> None:
    changed = load(NAME, [change])
    assert changed.hash != load(NAME).hash
    assert changed.hash == load(NAME, [change]).hash
    assert changed.title == f"{NAME} --set {change}"


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("args.x=true", "x", True),
        ("args.x=false", "x", False),
        ("args.x=3", "x", 3),
        ("args.x=2e4", "x", 20000.0),
        ("args.x=bfloat16", "x", "bfloat16"),
        ('args.x="3"', "x", "3"),
        ("args.x=a=b", "x", "a=b"),
        ("args.x=", "x", ""),
        ('args.x=["none", 1]', "x", ["none", 1]),
        ('args.x={"a": {"b": [1, true]}}', "x", {"a": {"b": [1, True]}}),
        ("args.x={a = 1}", "x", {"a": 1}),
        ("args.x.y.z=1", "x", {"y": {"z": 1}}),
    ],
)
def test_a_change_is_read_as_toml_or_json_or_text(change: str, key: str, value: object) -> None:
    found = load(NAME, [change]).pin.args[key]
    assert (found, type(found)) == (value, type(value))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_whatever_is_set_ends_in_a_pin_or_in_an_error_of_ours(text: str) -> None:
    try:
        assert load(NAME, [f"args.x={text}"]).pin.args.keys() > {"dtype"}
        load(NAME, [text])
    except ConfigError as error:
        assert text.split("=")[0] in str(error) or "unknown key" in str(error)


def test_a_date_has_a_hash_too_and_a_model_replaced_after_its_path_is_refused() -> None:
    assert load(NAME, ["args.x=1979-05-27"]).hash != load(NAME, ["args.x=1979-05-28"]).hash
    for model, message in (("5", "it must be a table"), ("{}", "key 'name' is missing")):
        with pytest.raises(ConfigError, match=message):
            load(NAME, ["model.path=tiny-moe", f"model={model}"])


def test_changes_are_made_in_their_order() -> None:
    assert load(NAME, ["args.x.y=1", "args.x.z=2", "args.x.y=3"]).pin.args["x"] == {"y": 3, "z": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("numrics=bf16", "unknown key 'numrics'"),
        ("engine.nmae=vllm", "engine: unknown key 'nmae'"),
        ("args", "must be KEY=VALUE"),
        ("=3", "must be KEY=VALUE"),
        ("args.dtype.x=3", "'dtype' is a value, not a table"),
        ("sampling.temperature=hot", "temperature is 'hot'; it must be a number"),
        ("sampling.top_k=true", "top_k is True; it must be an integer"),
        ("env.OMP_NUM_THREADS=2", "OMP_NUM_THREADS is 2; it must be a string"),
        ("schema=2", "schema is 2; this enginediff reads 1"),
        ("numerics=int3", "numerics is 'int3'; it must be one of fp32, bf16"),
        ("engine.ready_deadline_s=0", "must be above 0"),
        ("args=3", "args is 3; it must be a table"),
        ("model=3", "it must be a table"),
        ("model.files={}", "model.files is empty; a verified pin fixes its model's files"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_with_its_cause(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(NAME, [change])
    assert change in str(caught.value)


@pytest.mark.parametrize("name", ["no/such", "", "tiny-moe", "../pins/x", "absent.toml"])
def test_a_pin_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no"):
        load(name)


def test_a_pin_that_is_not_there_is_answered_with_those_of_its_model_or_the_models() -> None:
    with pytest.raises(ConfigError, match=r"of tiny-moe there are .*tiny-moe/vllm-cpu"):
        load("tiny-moe/vlm-cpu")
    with pytest.raises(ConfigError, match=r"pins of kimi-k2-thinking, .*such as tiny-moe/vllm"):
        load("tny-moe/vllm-cpu")


def test_an_own_pin_is_named_by_its_path_and_what_is_wrong_in_it_by_file_and_key(
    tmp_path: Path,
) -> None:
    assert load(own(tmp_path)).pin == load(NAME).pin
    path = own(tmp_path, "top_p = 1.0\n")
    with pytest.raises(ConfigError, match=r"own\.toml: sampling: the key 'top_p' is missing"):
        load(path)
    path = own(tmp_path, "[engine]\n", "[engine]\nspeed = 3\n")
    with pytest.raises(ConfigError, match=r"own\.toml: engine: unknown key 'speed'"):
        load(path)


def derived(folder: Path | str) -> LoadedPin:
    return load(NAME, [f"model.path={folder}"])


def test_another_model_folder_gives_its_own_hashes(model: Path) -> None:
    loaded = derived(model)
    assert loaded.model_path == model
    assert dict(loaded.pin.model.files) == {
        name: hashlib.sha256((model / name).read_bytes()).hexdigest()
        for name in ("config.json", "model.safetensors", "tokenizer.json")
    }
    pins.verify_model(loaded)
    assert loaded.hash != load(NAME).hash


def test_a_file_that_was_edited_is_refused_with_both_hashes(model: Path) -> None:
    loaded = derived(model)
    (model / "config.json").write_text("{}")
    with pytest.raises(ConfigError) as caught:
        pins.verify_model(loaded)
    for digest in (loaded.pin.model.files["config.json"], hashlib.sha256(b"{}").hexdigest()):
        assert digest in str(caught.value)
    assert "--set model.path=" in str(caught.value)


def test_a_file_too_few_or_too_many_is_refused(model: Path) -> None:
    loaded = derived(model)
    (model / "README.md").write_text("of no account")
    pins.verify_model(loaded)
    (model / "chat_template.jinja").write_text("new")
    with pytest.raises(ConfigError, match=r"chat_template\.jinja can change outputs"):
        pins.verify_model(loaded)
    (model / "chat_template.jinja").unlink()
    (model / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"tokenizer\.json is missing"):
        pins.verify_model(loaded)


@pytest.mark.parametrize(
    ("missing", "message"),
    [("model.safetensors", "holds no weights"), ("config.json", "holds no config.json")],
)
def test_a_folder_that_is_no_model_is_refused(model: Path, missing: str, message: str) -> None:
    (model / missing).unlink()
    with pytest.raises(ConfigError, match=message):
        derived(model)
    shutil.rmtree(model)
    with pytest.raises(ConfigError, match="no such model folder"):
        derived(model)


def test_the_tokenizers_hash_is_that_of_its_files_alone(model: Path) -> None:
    files: dict[str, Any] = hash_files(model)
    first = tokenizer_hash(files)
    assert tokenizer_hash({**files, "model.safetensors": "other"}) == first
    assert len({first, *(tokenizer_hash({**files, n: "x"}) for n in TOKENIZER_FILES)}) == 3
    without = {name: value for name, value in files.items() if name != "tokenizer.json"}
    assert tokenizer_hash(without) != first


def test_a_secret_that_is_set_is_in_the_pin_and_in_nothing_that_is_shown() -> None:
    changes = ("env.HF_TOKEN=abc123", "env.VENDOR_API_KEY=def456", "args.dtype=bfloat16")
    loaded = pins.load("tiny-moe/vllm-cpu", changes)
    assert loaded.pin.env["HF_TOKEN"] == "abc123"
    assert "abc123" not in loaded.title and "def456" not in loaded.title
    assert loaded.shown_changes == ("env.HF_TOKEN=***", "env.VENDOR_API_KEY=***", changes[2])
    assert loaded.title.endswith("--set args.dtype=bfloat16")
