"""What the reference makes of a checkpoint: int4 weights, Kimi K2's forms, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.base.errors import LaunchError, RequestError
from launchers import environments
from launchers.reference import SERVER
from tests.engines import checkpoints
from tests.engines.checkpoints import INT4, Tensor
from tests.engines.reference_servers import (
    difference,
    equal,
    pin_of,
    random_sequences,
    serving,
    variant,
)

SEQUENCES = random_sequences([150, 9, 64, 2])
WAYS = [
    variant(implementation, dtype=dtype)
    for implementation in ("transformers", "direct", "streamed-transformers", "streamed-direct")
    for dtype in ("float32", "bfloat16")
]
YARN = {
    "type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 128,
}
# Reads each folder given and prints, as JSON, how it is refused.
REFUSALS = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from direct_computation import DirectComputation

def refusal(folder):
    try:
        DirectComputation(Path(folder), dtype="float32", attention="eager")
    except ValueError as error:
        return f"{type(error).__name__}: {error}"

print(json.dumps([refusal(folder) for folder in sys.argv[2:]]))
"""


@pytest.mark.parametrize("name", ["tiny-moe", "tiny-k2"])
def test_int4_weights_are_computed_as_the_numbers_that_they_mean(name: str, tmp_path: Path) -> None:
    keys = checkpoints.config(name)
    small, plain = checkpoints.int4_and_its_meaning(name)
    folders = [
        checkpoints.write(tmp_path / "packed", keys | {"quantization_config": INT4}, small),
        checkpoints.write(tmp_path / "plain", keys, plain),
    ]
    work = f"args.work-folder={tmp_path}"
    with (
        serving(pin_of(folders[0], work), tmp_path / "packed.log") as packed,
        serving(pin_of(folders[1], work), tmp_path / "plain.log") as floats,
    ):
        for way in WAYS:
            assert equal(packed.scores(SEQUENCES, way), floats.scores(SEQUENCES, way)), way
        ways = variant("transformers"), variant("direct")
        d = difference(*(packed.scores(SEQUENCES, way) for way in ways))
        assert d.max() < 2e-4


def test_a_kimi_wrapper_is_computed_as_its_language_model(tmp_path: Path) -> None:
    """Prefix, text_config, int4, YaRN, and tensors of a vision tower and a draft layer."""
    small, _ = checkpoints.int4_and_its_meaning("tiny-k2")
    keys = checkpoints.config("tiny-k2") | {"rope_scaling": YARN, "quantization_config": INT4}
    del keys["rope_parameters"]
    inner = keys | {
        "model_type": "kimi_k2",
        "num_nextn_predict_layers": 1,
        "id2label": {"0": "LABEL_0"},
        "pruned_heads": {},
        "temperature": 1.0,
    }
    wrapper = {"model_type": "kimi_k25", "text_config": inner, "vision_config": {}}
    other: Tensor = ("BF16", np.ones((3, 2), dtype=np.uint16))
    wrapped = {f"language_model.{tensor}": content for tensor, content in small.items()}
    wrapped |= {
        "vision_tower.encoder.blocks.0.wqkv.weight": other,
        "mm_projector.proj.0.weight": other,
        "language_model.model.layers.3.eh_proj.weight": other,
    }
    folders = [
        checkpoints.write(tmp_path / "wrapped", wrapper, wrapped),
        checkpoints.write(tmp_path / "bare", keys, small),
    ]
    with (
        serving(pin_of(folders[0]), tmp_path / "wrapped.log") as kimi,
        serving(pin_of(folders[1]), tmp_path / "bare.log") as bare,
    ):
        for way in WAYS:
            assert equal(kimi.scores(SEQUENCES, way), bare.scores(SEQUENCES, way)), way


def test_a_streamed_server_scores_token_ids_without_a_tokenizer(tmp_path: Path) -> None:
    content = checkpoints.tensors("tiny-moe")
    folder = checkpoints.write(tmp_path / "model", checkpoints.config("tiny-moe"), content)
    for path in folder.glob("*token*"):
        path.unlink()
    streamed = "args.implementation=streamed-direct"
    with serving(pin_of(folder, streamed), tmp_path / "log") as server:
        assert [len(s.logprobs) for s in server.scores(SEQUENCES, None)] == [149, 8, 63, 1]
        with pytest.raises(RequestError, match="takes and gives token ids only"):
            server.asker.render(["hello"])
    with pytest.raises(LaunchError, match="exit code 2"), serving(pin_of(folder), tmp_path / "log"):
        pass


@pytest.mark.parametrize("fast", [32.0, 1.0])
def test_yarn_is_what_transformers_computes(fast: float, tmp_path: Path) -> None:
    keys = checkpoints.config("tiny-k2") | {"rope_scaling": YARN | {"beta_fast": fast}}
    del keys["rope_parameters"]
    content = checkpoints.tensors("tiny-k2")
    stretched = checkpoints.write(tmp_path / "yarn", keys | {"model_type": "kimi_k2"}, content)
    with (
        serving(pin_of(stretched), tmp_path / "yarn.log") as yarn,
        serving(pin_of(None, name="tiny-k2/reference"), tmp_path / "plain.log") as plain,
    ):
        direct = yarn.scores(SEQUENCES, variant("direct"))
        assert difference(yarn.scores(SEQUENCES, variant("transformers")), direct).max() < 5e-4
        assert difference(plain.scores(SEQUENCES, variant("direct")), direct).mean() > 0.01


Change = Callable[[dict[str, Any], dict[str, Tensor]], object]


def _quantised(**weights: object) -> Change:
    def change(keys: dict[str, Any], _: dict[str, Tensor]) -> None:
        keys["quantization_config"] = json.loads(json.dumps(INT4))
        keys["quantization_config"]["config_groups"]["group_0"]["weights"] |= weights

    return change


def _keys(**values: object) -> Change:
    return lambda keys, _: keys.update(values)


def _reshaped(keys: dict[str, Any], content: dict[str, Tensor]) -> None:
    del keys
    name = next(name for name in content if name.endswith("weight_shape"))
    content[name] = ("I64", np.array([1, 2], dtype=np.int64))


REFUSED: Mapping[str, tuple[Change, str]] = {
    "fp8": (_keys(quantization_config={"quant_method": "fp8"}), "quant_method = 'fp8'"),
    "mxfp4": (
        _keys(quantization_config=INT4 | {"format": "mxfp4-pack-quantized"}),
        "format = 'mxfp4-pack-quantized'",
    ),
    "8 bits": (_quantised(num_bits=8), "weights.num_bits = 8"),
    "asymmetric": (_quantised(symmetric=False), "weights.symmetric = False"),
    "reordered": (_quantised(actorder="group"), "weights.actorder = 'group'"),
    "no group": (_quantised(strategy="channel"), "weights.strategy = 'channel'"),
    "another group size": (_quantised(group_size=16), "imply I32"),
    "packed though ignored": (
        _keys(quantization_config=INT4 | {"ignore": ["re:.*experts.0.*"]}),
        "experts.0.down_proj is packed, but",
    ),
    "packed in silence": (lambda keys, _: keys.pop("quantization_config"), "is packed, but"),
    "another shape": (_reshaped, "weight_shape says (1, 2)"),
    "no scale": (
        lambda _, content: content.pop("model.layers.1.mlp.experts.0.up_proj.weight_scale"),
        "experts.0.up_proj.weight_scale is missing",
    ),
    "one tensor too many": (
        lambda _, content: content.update({"model.x": ("F32", np.zeros(2, dtype=np.float32))}),
        "does not use, such as model.x",
    ),
    "a draft layer that no key announces": (
        lambda _, content: content.update({"model.layers.3.x": content["model.norm.weight"]}),
        "does not use, such as model.layers.3.x",
    ),
    "8-bit floats": (
        lambda _, content: content.update({"x": ("F8_E4M3", np.zeros(2, dtype=np.uint8))}),
        "x is F8_E4M3",
    ),
    "a tensor outside the wrapper's language model": (
        lambda keys, _: keys.update({"model_type": "kimi_k25", "text_config": dict(keys)}),
        "is not the language model's (language_model.*)",
    ),
    "Kimi K3": (_keys(model_type="kimi_k3"), "model_type = 'kimi_k3'"),
    "unequal mscales": (
        _keys(rope_scaling=YARN | {"mscale": 0.7}, rope_parameters=None),
        "only mscale equal to",
    ),
    "half of YaRN": (
        _keys(rope_scaling={"type": "yarn", "factor": 2.0}, rope_parameters=None),
        "are missing",
    ),
    "another RoPE": (
        _keys(rope_scaling={"type": "linear", "factor": 2.0}, rope_parameters=None),
        "only kind default or yarn",
    ),
    "two RoPEs": (_keys(rope_scaling=YARN), "disagree"),
    "a key that nobody reads": (_keys(sliding_windows=3), "sliding_windows = 3"),
    "an encoder": (_keys(is_encoder_decoder=True), "is_encoder_decoder = True"),
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """How each of REFUSED, and an int4 tiny-k2 as it should be, is refused."""
    place = tmp_path_factory.mktemp("refused")
    small, _ = checkpoints.int4_and_its_meaning("tiny-k2")
    changes: dict[str, Change] = {"right": _keys(), "cut": _keys()}
    changes |= {name: change for name, (change, _) in REFUSED.items()}
    folders: list[Path] = []
    for number, change in enumerate(changes.values()):
        keys = checkpoints.config("tiny-k2") | {"quantization_config": INT4}
        content = dict(small)
        change(keys, content)
        folders.append(checkpoints.write(place / str(number), keys, content))
    cut = folders[1] / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-1000])
    python = environments.build("reference-1", announce=lambda _: None).python
    done = subprocess.run(
        [python, "-c", REFUSALS, SERVER, *folders], capture_output=True, text=True, check=True
    )
    return dict(zip(changes, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_computed_wrongly_is_refused_by_name(
    name: str, refusals: dict[str, str | None]
) -> None:
    said = refusals[name]
    assert said is not None
    assert REFUSED[name][1] in said


def test_a_right_checkpoint_is_not_refused(refusals: dict[str, str | None]) -> None:
    assert refusals["right"] is None


def test_a_file_that_is_cut_short_is_refused(refusals: dict[str, str | None]) -> None:
    assert "bytes early; is it fully downloaded?" in (refusals["cut"] or "")
