"""The reference's language: arrays out and in, and a pool that can support EQUIVALENT."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.base.case import Chat
from harness.base.errors import RequestError
from harness.checker.tolerance import MINIMUM_CONFIGURATIONS, MINIMUM_IMPLEMENTATIONS
from launchers import pins
from launchers.pins import GREEDY
from launchers.reference import STREAMED, ReferenceDialect, ReferenceLauncher, recorded

DIALECT = ReferenceDialect(model="tiny")
SEQUENCES = [(1, 2, 3), (4, 5)]


def archive(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def scores(lengths: list[int], k: int = 2, positions: int = 3) -> dict[str, Any]:
    return {
        "lengths": np.array(lengths),
        "logprobs": -np.arange(positions, dtype=np.float64),
        "top_ids": np.arange(positions * k, dtype=np.int32).reshape(positions, k),
        "top_logprobs": -np.ones((positions, k)),
    }


def test_scores_are_cut_into_their_sequences() -> None:
    first, second = DIALECT.scored(archive(**scores([3, 2])), SEQUENCES, 2)
    assert first.logprobs.tolist() == [0.0, -1.0]
    assert first.top_ids.tolist() == [[0, 1], [2, 3]]
    assert second.logprobs.tolist() == [-2.0]
    assert second.top_ids.tolist() == [[4, 5]]


@pytest.mark.parametrize("arrays", [scores([2, 3]), scores([3]), scores([3, 2], k=1)])
def test_scores_of_other_sequences_are_refused(arrays: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="other sequences"):
        DIALECT.scored(archive(**arrays), SEQUENCES, 2)


@pytest.mark.parametrize("end", [0, 10, 200, -1])
def test_an_answer_that_is_no_whole_archive_is_refused(end: int) -> None:
    with pytest.raises(RequestError, match="is no array"):
        DIALECT.scored(archive(**scores([3, 2]))[:end], SEQUENCES, 2)
    with pytest.raises(RequestError, match="is no array"):
        DIALECT.scored(b'{"error": "x"}', SEQUENCES, 2)


def test_generations_are_cut_into_tokens_scores_and_reasons() -> None:
    generated = {"token_ids": np.array([7, 8, 9]), "finish_stop": np.array([True, False])}
    first, second = DIALECT.generated(archive(**scores([2, 1]), **generated), 2)
    assert (first.token_ids, first.finish_reason) == ((7, 8), "stop")
    assert (second.token_ids, second.finish_reason) == ((9,), "length")
    assert second.scores.logprobs.tolist() == [-2.0]
    with pytest.raises(RequestError, match="not 3"):
        DIALECT.generated(archive(**scores([2, 1]), **generated), 3)


def test_requests_carry_what_was_asked() -> None:
    chat = Chat(messages=({"role": "user"},), tools=({"a": 1},), thinking=True)
    assert DIALECT.render("x").body == {"text": "x"}
    assert DIALECT.render(chat).body == {
        "messages": [{"role": "user"}],
        "tools": [{"a": 1}],
        "thinking": True,
    }
    assert DIALECT.score(SEQUENCES, 4).body == {
        "sequences": [[1, 2, 3], [4, 5]],
        "top_k": 4,
        "variant": None,
    }
    body = DIALECT.generate(
        SEQUENCES, max_new_tokens=3, sampling=GREEDY, seeds=[1, 2], top_k=4
    ).body
    assert body is not None
    assert (body["seeds"], body["temperature"], body["top_k"]) == ([1, 2], 0.0, 4)
    DIALECT.usage(chat)
    assert DIALECT.detokenized(b'{"texts": ["a"], "special": [false]}') == (["a"], [False])


@pytest.mark.parametrize("numerics", recorded(pins.MODELS / "tiny-moe-int4"))
@pytest.mark.parametrize("dialect", [DIALECT, ReferenceDialect(model="big", streamed=True)])
def test_the_benign_pool_of_every_class_can_support_equivalent(
    dialect: ReferenceDialect, numerics: str
) -> None:
    pool = dialect.pool(numerics)
    assert len({variant.name for variant in pool}) == len(pool) >= MINIMUM_CONFIGURATIONS
    assert len({variant.implementation for variant in pool}) >= MINIMUM_IMPLEMENTATIONS
    for variant in pool:
        assert variant.sequences_per_request >= variant.options["batch"]
        assert variant.options["implementation"] == variant.implementation


def test_int4_weights_are_a_class_of_a_model_that_has_them_alone() -> None:
    assert recorded(pins.MODELS / "tiny-moe") == ("fp32", "bf16")
    assert recorded(pins.MODELS / "tiny-moe-int4") == ("fp32", "bf16", "int4-weights")


def test_int4_weights_are_held_to_what_bfloat16_arithmetic_makes_of_them() -> None:
    assert {variant.options["dtype"] for variant in DIALECT.pool("int4-weights")} == {"bfloat16"}


def test_a_multimodal_models_int4_weights_are_found_too(tmp_path: Path) -> None:
    config = '{"model_type": "kimi_k25", "text_config": {"quantization_config": {}}}'
    (tmp_path / "config.json").write_text(config)
    assert "int4-weights" in recorded(tmp_path)


def test_a_streamed_reference_is_asked_everything_at_once_and_given_time() -> None:
    launcher = ReferenceLauncher()
    for way in ("streamed-direct", "streamed-transformers"):
        loaded = pins.load("tiny-moe/reference", [f"args.implementation={way}"])
        dialect = launcher.dialect(loaded)
        assert dialect.sequences_per_request > 100_000
        assert (dialect.score(SEQUENCES, 4).timeout_s or 0) > 3600
        assert {v.options["implementation"] for v in dialect.pool("fp32")} == set(STREAMED)
        command = launcher.command(loaded, python=Path("/e/bin/python"), port=81)
        assert command.argv[command.argv.index("--implementation") + 1] == way
    plain = launcher.dialect(pins.load("tiny-moe/reference"))
    assert (plain.sequences_per_request, plain.score(SEQUENCES, 4).timeout_s) == (16, None)


def test_the_command_line_is_the_pins() -> None:
    loaded = pins.load("tiny-moe/reference")
    command = ReferenceLauncher().command(loaded, python=Path("/e/bin/python"), port=81)
    shown = list(command.argv)
    assert shown[0] == "/e/bin/python"
    for flag, value in (("--port", "81"), ("--dtype", "float32"), ("--name", "tiny-moe")):
        assert shown[shown.index(flag) + 1] == value
    assert set(command.env) == {"PATH", "HOME", *loaded.pin.env}
