"""What a running engine says to a small fixed set of questions, kept in one file.

    scores    logprobs of sequences of the trace, many requests in flight
    greedy    answers at T = 0 to their prompts, as token ids, with the best five of each token
    again     the beginnings of some of them, when the prompts stand in the prefix cache
    rendered  token ids of chats: of the trace, and of its chats for templates
    texts     answers of the chat API at T = 0 with no limit sent: what the server adds by itself
    streams   the same, streamed
    draws     short completions after a few prefixes: with no sampling field sent, and top-p
    answers   whether the tiny models' questions are answered rightly

What is asked depends on trace and seed alone, so that two engines' probes can be compared. An
engine that has no way of being asked something has None there. A request that fails is a failure
by name and never an empty answer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from harness.base import atomic
from harness.base.errors import ConfigError
from harness.base.record import Generation, Scores
from harness.candidate import Opened
from harness.client import Asker
from harness.recording import Trace
from launchers.dialect import Tokens
from scripts.zoo import asking, tiny_items
from scripts.zoo.asking import Asking, Impatient, Text

SCHEMA = 3
ARRAYS = ("scores", "greedy", "again", "rescored")  # what holds logprobs
TEXTS = ("texts", "streams")
PLAIN = ("title", "trace", "seed", "draws", "answers", "item_tokens", "failures", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One engine's answers by case id; None: it has no way of being asked."""

    title: str
    trace: str  # sha256
    seed: int
    prompts: Mapping[str, Tokens]  # of greedy answers
    scores: Mapping[str, Scores] | None
    greedy: Mapping[str, Generation] | None
    again: Mapping[str, Generation] | None
    rendered: Mapping[str, Tokens] | None
    texts: Mapping[str, Text] | None
    streams: Mapping[str, Text] | None
    draws: Mapping[str, Mapping[str, int]] | None  # text of a token -> how often it came
    answers: Mapping[str, bool] | None  # question -> answered rightly
    item_tokens: int  # that the questions took, prompts included
    rescored: Mapping[str, Scores] | None  # a reference's scores of the greedy answers' tokens
    failures: Mapping[str, str]  # "greedy chat-003" -> why
    seconds: float


def ask(opened: Opened, trace: Trace, *, seed: int, draws: bool) -> Probe:
    """Asks everything, `draws` if so told. Raises nothing that an engine can cause."""
    began = time.monotonic()
    rows = asking.rows_of(trace, seed)
    with Impatient(opened.url) as endpoint:
        engine = Asking(opened, Asker(endpoint, opened.asker.dialect))
        drawn = engine.draws(rows) if draws else None
        greedy = engine.greedy(rows, asking.ANSWER_TOKENS, "greedy")
        scores = engine.scores(rows, trace.manifest["top_k"])
        again = engine.greedy(rows[:: asking.AGAIN_STEP], asking.AGAIN_TOKENS, "again")
        rendered = engine.rendered(asking.chats_of(trace, rows))
        texts = engine.texts(rows)
        streams = engine.streams(rows)
        answers, item_tokens = engine.items(tiny_items.items())
    return Probe(
        title=opened.title,
        trace=trace.sha256,
        seed=seed,
        prompts={row.case.id: row.token_ids[: row.prompt_tokens] for row in rows},
        scores=scores,
        greedy=greedy,
        again=again,
        rendered=rendered,
        texts=texts,
        streams=streams,
        draws=drawn,
        answers=answers,
        item_tokens=item_tokens,
        rescored=None,
        failures=engine.failures,
        seconds=time.monotonic() - began,
    )


def rescored(reference: Opened, probe: Probe) -> Probe:
    """The probe with a running reference's scores of its greedy answers, position by position.

    Raises RequestError: a reference that fails proves nothing of anybody.
    """
    if probe.greedy is None:
        return probe
    wholes = [probe.prompts[name] + one.token_ids for name, one in probe.greedy.items()]
    scores = reference.asker.score(wholes, asking.TOP_K, at_once=2)
    own = {
        name: whole.slice(len(probe.prompts[name]) - 1, len(whole.logprobs)).copied()
        for name, whole in zip(probe.greedy, scores, strict=True)
    }
    return replace(probe, rescored=own)


def save(path: Path, probe: Probe) -> None:
    """Writes `path` (.npz) whole or not at all."""
    document: dict[str, Any] = {name: getattr(probe, name) for name in PLAIN}
    document |= {"schema": SCHEMA, "prompts": probe.prompts, "rendered": probe.rendered}
    for part in TEXTS:
        found = getattr(probe, part)
        document[part] = found and {name: asdict(one) for name, one in found.items()}
    document["answered"] = {
        part: [
            {"name": name, "token_ids": one.token_ids, "finish_reason": one.finish_reason}
            for name, one in (getattr(probe, part) or {}).items()
        ]
        for part in ("greedy", "again")
    }
    arrays: dict[str, Any] = {}
    for part in ARRAYS:
        found: Mapping[str, Any] | None = getattr(probe, part)
        document[part] = None if found is None else list(found)
        for place, one in enumerate((found or {}).values()):
            scores = one if isinstance(one, Scores) else one.scores
            arrays |= {f"{part} {place} {key}": value for key, value in asdict(scores).items()}
    text = np.frombuffer(orjson.dumps(document), dtype=np.uint8)
    with atomic.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, document=text, **arrays)


def load(path: Path) -> Probe:
    """Raises ConfigError where the file is of another schema."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    document = orjson.loads(arrays["document"].tobytes())
    if document["schema"] != SCHEMA:
        raise ConfigError(f"{path}: schema is {document['schema']}; it must be {SCHEMA}")
    scores = {part: _scores(arrays, part, document[part]) for part in ARRAYS}
    return Probe(
        **{name: document[name] for name in PLAIN},
        prompts=_tokens(document["prompts"]),
        rendered=None if document["rendered"] is None else _tokens(document["rendered"]),
        texts=_texts(document["texts"]),
        streams=_texts(document["streams"]),
        scores=scores["scores"],
        rescored=scores["rescored"],
        greedy=_generations(scores["greedy"], document["answered"]["greedy"]),
        again=_generations(scores["again"], document["answered"]["again"]),
    )


def _scores(
    arrays: Mapping[str, Any], part: str, names: list[str] | None
) -> dict[str, Scores] | None:
    if names is None:
        return None
    keys = ("logprobs", "top_ids", "top_logprobs")
    return {
        name: Scores(**{key: arrays[f"{part} {place} {key}"] for key in keys})
        for place, name in enumerate(names)
    }


def _generations(
    scores: dict[str, Scores] | None, rows: list[dict[str, Any]]
) -> dict[str, Generation] | None:
    if scores is None:
        return None
    return {
        row["name"]: Generation(
            token_ids=tuple(row["token_ids"]),
            scores=scores[row["name"]],
            finish_reason=row["finish_reason"],
        )
        for row in rows
    }


def _tokens(table: Mapping[str, list[int]]) -> dict[str, Tokens]:
    return {name: tuple(ids) for name, ids in table.items()}


def _texts(table: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Text] | None:
    if table is None:
        return None
    return {
        name: Text(
            content=one["content"],
            reasoning=one["reasoning"],
            calls=tuple((name, arguments) for name, arguments in one["calls"]),
            finish_reason=one["finish_reason"],
        )
        for name, one in table.items()
    }
