"""Probes of the fault zoo: kept and read again, and when one differs from a healthy one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from harness.base.errors import ConfigError
from harness.base.record import Generation, Scores
from scripts.zoo import probe as probes
from scripts.zoo import tiny_items
from scripts.zoo.asking import Text
from scripts.zoo.changes import Changed, changed
from scripts.zoo.probe import Probe

CASES = ("chat-001", "text-002", "long-003")


def scores(*logprobs: float, k: int = 5) -> Scores:
    """One position a logprob, its alternatives in steps of a nat below it."""
    own = np.array(logprobs, dtype=np.float64)
    ids = np.tile(np.arange(k, dtype=np.int32), (len(own), 1))
    return Scores(logprobs=own, top_ids=ids, top_logprobs=own[:, None] - np.arange(k))


def generation(*token_ids: int) -> Generation:
    return Generation(
        token_ids=token_ids, scores=scores(*[-0.1] * len(token_ids)), finish_reason="length"
    )


def text(content: str) -> Text:
    return Text(content=content, reasoning="", calls=(("add", '{"a": 1}'),), finish_reason="stop")


def probe() -> Probe:
    return Probe(
        title="tiny/engine",
        trace="abc",
        seed=0,
        prompts=dict.fromkeys(CASES, (7, 8, 9)),
        scores=dict.fromkeys(CASES, scores(-1.0, -2.0)),
        greedy=dict.fromkeys(CASES, generation(0, 1, 0)),
        again=dict.fromkeys(CASES, generation(0, 1)),
        rendered=dict.fromkeys(CASES, (7, 8)),
        texts={f"chat-{i:03}": text(f"answer {i}") for i in range(12)},
        streams={f"chat-{i:03}": text(f"answer {i}") for i in range(12)},
        draws={name: {" old": 30, " new": 20, " big": 14} for name in CASES},
        answers={f"chat-{i:03}": True for i in range(10)},
        item_tokens=500,
        rescored=dict.fromkeys(CASES, scores(-0.1, -0.1, -0.1)),
        failures={},
        seconds=1.5,
    )


def beyond(found: Changed) -> set[str]:
    return {change.what for change in found.changes if change.beyond}


def test_a_probe_is_read_again_as_it_was_kept(tmp_path: Path) -> None:
    kept = replace(probe(), draws=None, rescored=None, failures={"greedy x": "answered 500"})
    probes.save(tmp_path / "a.npz", kept)
    read = probes.load(tmp_path / "a.npz")
    probes.save(tmp_path / "b.npz", read)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert read.greedy is not None and read.rescored is None
    assert (read.texts, read.streams) == (kept.texts, kept.streams)
    assert read.greedy["long-003"].token_ids == (0, 1, 0)
    assert read.failures == kept.failures and read.draws is None
    assert not changed(read, kept, None)


def test_no_logprob_loses_a_bit_on_disk(tmp_path: Path) -> None:
    exact = {"chat-001": scores(-1 / 3, -np.pi)}
    probes.save(tmp_path / "a.npz", replace(probe(), scores=exact))
    read = probes.load(tmp_path / "a.npz").scores
    assert read is not None
    assert read["chat-001"].logprobs.tolist() == exact["chat-001"].logprobs.tolist()


def test_a_probe_of_another_schema_is_refused(tmp_path: Path) -> None:
    probes.save(tmp_path / "a.npz", probe())
    with np.load(tmp_path / "a.npz") as archive:
        arrays = dict(archive)
    document = {**orjson.loads(arrays["document"].tobytes()), "schema": 99}
    arrays["document"] = np.frombuffer(orjson.dumps(document), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ConfigError, match="schema is 99"):
        probes.load(tmp_path / "a.npz")


def test_the_same_answers_are_no_change() -> None:
    found = changed(probe(), probe(), probe())
    assert not found
    assert found.words() == ["nothing beyond what two healthy launches show between themselves"]


def test_one_bit_of_one_logprob_is_a_change_where_healthy_launches_are_bit_equal() -> None:
    other = dict(probe().scores or {})
    other["text-002"] = scores(-1.0, np.nextafter(-2.0, 0))
    found = changed(replace(probe(), scores=other), probe(), probe())
    assert beyond(found) == {"logprobs of given tokens"}
    assert "1 of 6 others" in found.words()[0]


def test_a_bit_is_none_where_healthy_launches_differ_as_much() -> None:
    noisy = dict.fromkeys(CASES, scores(-1.0, -2.001))
    found = dict.fromkeys(CASES, scores(-1.002, -2.0))
    fault = dict.fromkeys(CASES, scores(-1.02, -2.0))
    assert not changed(replace(probe(), scores=found), probe(), replace(probe(), scores=noisy))
    assert changed(replace(probe(), scores=fault), probe(), replace(probe(), scores=noisy))


def test_a_logprob_that_is_no_number_is_an_infinite_change() -> None:
    other = dict.fromkeys(CASES, scores(-1.0, float("nan")))
    assert "largest inf" in changed(replace(probe(), scores=other), probe(), None).words()[0]


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("greedy", "greedy answers"),
        ("again", "answers from a warm prefix cache"),
        ("rendered", "renderings"),
        ("answers", "questions answered rightly"),
        ("texts", "texts"),
        ("streams", "streamed texts"),
    ],
)
def test_one_other_answer_is_a_change(part: str, what: str) -> None:
    healthy = probe()
    other = dict(getattr(healthy, part))
    name = next(iter(other))
    changes: dict[str, Any] = {"rendered": (7,), "answers": False}
    changes |= dict.fromkeys(probes.TEXTS, text("other"))
    other[name] = changes.get(part, generation(3))
    found = changed(replace(healthy, **{part: other}), healthy, healthy)
    assert beyond(found) == {what}


def test_draws_of_another_distribution_are_told_and_of_the_same_are_not() -> None:
    """The same distribution is told of another with a chance of 1e-5; the seed is fixed."""
    rng = np.random.default_rng(1)

    def drawn(*weights: float) -> dict[str, dict[str, int]]:
        p = np.array(weights) / sum(weights)
        return {n: dict(zip("abcd", rng.multinomial(64, p).tolist(), strict=True)) for n in CASES}

    what = "draws after a few prefixes"
    healthy, again = (replace(probe(), draws=drawn(4, 3, 2, 1)) for _ in range(2))
    assert not changed(replace(healthy, draws=drawn(4, 3, 2, 1)), healthy, again)
    assert beyond(changed(replace(healthy, draws=drawn(64, 9, 2, 0)), healthy, again)) == {what}


def test_another_place_of_the_random_stream_is_no_change() -> None:
    """Where healthy launches draw the very same, too: 500 engines that draw otherwise, and none is
    told; each would be with a chance of 1e-5."""
    rng = np.random.default_rng(2)

    def drawn() -> Probe:
        counts = {n: rng.multinomial(1024, [0.5, 0.3, 0.15, 0.04, 0.01]).tolist() for n in CASES}
        draws = {name: dict(zip("abcde", own, strict=True)) for name, own in counts.items()}
        return replace(probe(), draws=draws)

    healthy = drawn()
    assert not any(
        changed(drawn(), healthy, noise) for noise in (healthy, None) for _ in range(250)
    )


def test_a_request_that_fails_here_alone_is_a_change_with_its_reason() -> None:
    healthy = replace(probe(), failures={"texts chat-001": "answered 400"})
    assert not changed(healthy, healthy, healthy)
    dead = replace(healthy, greedy={}, failures={"greedy chat-001": "connection refused"})
    found = changed(dead, healthy, healthy)
    assert beyond(found) == {"failing requests"}
    assert "greedy chat-001: connection refused" in found.words()[0]


def test_probes_that_were_asked_other_things_are_not_compared() -> None:
    with pytest.raises(AssertionError, match="other things"):
        changed(replace(probe(), seed=1), probe(), None)


def test_the_questions_are_the_same_each_time_and_can_be_read_token_by_token() -> None:
    items = tiny_items.items()
    assert items == tiny_items.items()
    assert len({item.id for item in items}) == len(items) == 120
    assert all(str(item.chat.messages).isascii() and item.expected for item in items)
