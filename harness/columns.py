"""The rows of a trace: what they hold, and how they are laid down in parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from harness.base.case import Case, Chat
from harness.base.record import Distance, Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One prompt with the reference's own continuation, and how the reference scores it."""

    case: Case
    token_ids: tuple[int, ...]  # T: the prompt, then what the reference sampled at T = 1
    prompt_tokens: int
    scores: Scores  # T - 1 positions, k alternatives


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUnit:
    """One sequence as one benign configuration computed it, against the reference."""

    numerics: str
    configuration: str
    implementation: str
    stratum: str
    case_id: str
    distance: Distance


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """How a token id reads."""

    text: str
    special: bool


SEQUENCE_SCHEMA = pa.schema(
    [
        ("case_id", pa.string()),
        ("stratum", pa.string()),
        ("prompt", pa.string()),  # JSON: a string, or a chat
        ("tokens", pa.int32()),  # T
        ("prompt_tokens", pa.int32()),
        ("token_ids", pa.list_(pa.int32())),  # (T,)
        ("logprobs", pa.list_(pa.float64())),  # (T - 1,)
        ("top_ids", pa.list_(pa.int32())),  # (T - 1) * k
        ("top_logprobs", pa.list_(pa.float32())),  # (T - 1) * k
    ]
)
POOL_SCHEMA = pa.schema(
    [
        ("numerics", pa.string()),
        ("configuration", pa.string()),
        ("implementation", pa.string()),
        ("stratum", pa.string()),
        ("case_id", pa.string()),
        ("d", pa.list_(pa.float32())),  # (T - 1,) and so are the others
        ("divergence", pa.list_(pa.float32())),
        ("flip", pa.list_(pa.bool_())),
        ("margin", pa.list_(pa.float32())),
        ("margin_change", pa.list_(pa.float32())),
    ]
)
VOCABULARY_SCHEMA = pa.schema([("id", pa.int32()), ("text", pa.string()), ("special", pa.bool_())])


def sequence_row(sequence: Recorded) -> dict[str, Any]:
    return {
        "case_id": sequence.case.id,
        "stratum": sequence.case.stratum,
        "prompt": _prompt_to_json(sequence.case.prompt),
        "tokens": len(sequence.token_ids),
        "prompt_tokens": sequence.prompt_tokens,
        "token_ids": sequence.token_ids,
        "logprobs": sequence.scores.logprobs,
        "top_ids": sequence.scores.top_ids.ravel(),
        "top_logprobs": sequence.scores.top_logprobs.ravel().astype(np.float32),
    }


def recorded(row: Mapping[str, Any]) -> Recorded:
    """`row` holds arrow scalars: a list's values come out as one array, not as Python objects."""
    logprobs = _array(row["logprobs"], np.float64)
    positions = len(logprobs)
    scores = Scores(
        logprobs=logprobs,
        top_ids=_array(row["top_ids"], np.int32).reshape(positions, -1),
        top_logprobs=_array(row["top_logprobs"], np.float64).reshape(positions, -1),
    )
    prompt = _prompt_from_json(row["prompt"].as_py())
    return Recorded(
        case=Case(id=row["case_id"].as_py(), stratum=row["stratum"].as_py(), prompt=prompt),
        token_ids=tuple(row["token_ids"].as_py()),
        prompt_tokens=row["prompt_tokens"].as_py(),
        scores=scores,
    )


def _array(scalar: Any, kind: type[np.generic]) -> Any:
    return scalar.values.to_numpy(zero_copy_only=False).astype(kind)


def pool_row(unit: PoolUnit) -> dict[str, Any]:
    return {
        "numerics": unit.numerics,
        "configuration": unit.configuration,
        "implementation": unit.implementation,
        "stratum": unit.stratum,
        "case_id": unit.case_id,
        "d": unit.distance.d.astype(np.float32),
        "divergence": unit.distance.divergence.astype(np.float32),
        "flip": unit.distance.flip,
        "margin": unit.distance.margin.astype(np.float32),
        "margin_change": unit.distance.margin_change.astype(np.float32),
    }


def pool_unit(row: Mapping[str, Any]) -> PoolUnit:
    """`row` holds arrow scalars, as for `recorded`."""
    names = ("d", "divergence", "margin", "margin_change")
    floats = {name: _array(row[name], np.float64) for name in names}
    return PoolUnit(
        numerics=row["numerics"].as_py(),
        configuration=row["configuration"].as_py(),
        implementation=row["implementation"].as_py(),
        stratum=row["stratum"].as_py(),
        case_id=row["case_id"].as_py(),
        distance=Distance(flip=_array(row["flip"], np.bool_), **floats),
    )


def _prompt_to_json(prompt: Chat | str) -> str:
    if isinstance(prompt, str):
        return json.dumps(prompt, ensure_ascii=False)
    chat = {"messages": prompt.messages, "tools": prompt.tools, "thinking": prompt.thinking}
    return json.dumps(chat, ensure_ascii=False)


def _prompt_from_json(text: str) -> Chat | str:
    value = json.loads(text)
    if isinstance(value, str):
        return value
    tools = value["tools"]
    return Chat(
        messages=tuple(value["messages"]),
        tools=None if tools is None else tuple(tools),
        thinking=value["thinking"],
    )


def tokens(row: Mapping[str, Any]) -> int:
    """How many tokens a row of any of the three is about."""
    return len(row["d"]) if "d" in row else int(row.get("tokens", 0))
