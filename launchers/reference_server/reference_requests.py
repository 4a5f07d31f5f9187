"""What a client may ask, checked strictly: an unknown or missing key or a wrong type is refused.

Only keys whose value may be null may be left out, and mean null then.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

import direct_attention
import transformers_computation
from reference_computation import DTYPES
from reference_model_files import ModelLimits

ATTENTIONS = {
    "transformers": transformers_computation.ATTENTIONS,
    "direct": tuple(direct_attention.ATTENTIONS),
    "streamed-direct": tuple(direct_attention.ATTENTIONS),
    "streamed-transformers": transformers_computation.ATTENTIONS,
}


class RequestError(ValueError):
    """The client's fault, answered with 400: says what, which value, what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """One way to compute the model; the key of the cache of loaded models."""

    implementation: str
    dtype: str
    attention: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    sequences: list[list[int]]
    top_k: int
    flavour: Flavour
    batch: int  # sequences computed at a time
    chunk: int | None  # tokens fed at a time; None: the whole prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    sequences: list[list[int]]
    max_new_tokens: int
    temperature: float  # 0: greedy
    seeds: list[int]
    top_k: int
    batch: int
    stop_ids: frozenset[int]


def parse_score(body: Any, limits: ModelLimits, own: Flavour) -> ScoreRequest:
    """`own`: the server's flags, meant by a variant of null."""
    fields = _fields(body, "the request", ("sequences", "top_k"), ("variant",))
    sequences = _sequences(fields["sequences"], limits, room=0)
    top_k = _whole(fields["top_k"], "top_k", 1, limits.vocabulary_size)
    if fields["variant"] is None:
        return ScoreRequest(sequences=sequences, top_k=top_k, flavour=own, batch=1, chunk=None)
    variant = _fields(
        fields["variant"], "variant", ("implementation", "dtype", "attention", "batch"), ("chunk",)
    )
    chunk = variant["chunk"]
    return ScoreRequest(
        sequences=sequences,
        top_k=top_k,
        flavour=check_flavour(variant),
        batch=_whole(variant["batch"], "variant.batch", 1),
        chunk=None if chunk is None else _whole(chunk, "variant.chunk", 1),
    )


def check_flavour(values: dict[str, Any]) -> Flavour:
    """Raises RequestError for an implementation, dtype or attention that does not exist."""
    kind = _one_of(values["implementation"], "implementation", tuple(ATTENTIONS))
    return Flavour(
        implementation=kind,
        dtype=_one_of(values["dtype"], "dtype", tuple(DTYPES)),
        attention=_one_of(values["attention"], f"attention of {kind}", ATTENTIONS[kind]),
    )


def parse_generate(body: Any, limits: ModelLimits) -> GenerateRequest:
    fields = _fields(
        body,
        "the request",
        ("sequences", "max_new_tokens", "temperature", "seeds", "top_k", "batch"),
        ("stop_ids",),
    )
    max_new_tokens = _whole(fields["max_new_tokens"], "max_new_tokens", 1, limits.max_length)
    sequences = _sequences(fields["sequences"], limits, room=max_new_tokens)
    seeds = [_whole(seed, "a seed", 0) for seed in _list(fields["seeds"], "seeds")]
    if len(seeds) != len(sequences):
        raise RequestError(
            f"seeds: {len(seeds)} of them; expected {len(sequences)}, one a sequence"
        )
    stop_ids = limits.end_ids
    if fields["stop_ids"] is not None:
        stop_ids = frozenset(_ids(fields["stop_ids"], "stop_ids", limits))
    return GenerateRequest(
        sequences=sequences,
        max_new_tokens=max_new_tokens,
        temperature=_temperature(fields["temperature"]),
        seeds=seeds,
        top_k=_whole(fields["top_k"], "top_k", 1, limits.vocabulary_size),
        batch=_whole(fields["batch"], "batch", 1),
        stop_ids=stop_ids,
    )


def parse_render(body: Any) -> tuple[list[dict], list[dict] | None, bool | None]:
    """Messages, tools, thinking."""
    fields = _fields(body, "the request", ("messages",), ("tools", "thinking"))
    messages, tools, thinking = fields["messages"], fields["tools"], fields["thinking"]
    for name, items in (("messages", messages), ("tools", tools or [])):
        if not all(isinstance(item, dict) for item in _list(items, name)):
            raise RequestError(f"{name}: expected a list of objects")
    if not messages:
        raise RequestError("messages: empty; expected one message or more")
    _require_unicode(json.dumps([messages, tools], ensure_ascii=False), "messages and tools")
    if thinking is not None and not isinstance(thinking, bool):
        raise RequestError(f"thinking: {thinking!r}; expected true, false or null")
    return messages, tools, thinking


def parse_text(body: Any) -> str:
    text = _fields(body, "the request", ("text",), ())["text"]
    if not isinstance(text, str):
        raise RequestError(f"text: a {type(text).__name__}; expected a string")
    _require_unicode(text, "text")
    return text


def parse_token_ids(body: Any, limits: ModelLimits) -> list[int]:
    fields = _fields(body, "the request", ("token_ids",), ())
    return _ids(fields["token_ids"], "token_ids", limits)


def parse_sequences(body: Any, limits: ModelLimits) -> list[list[int]]:
    fields = _fields(body, "the request", ("sequences",), ())
    return _sequences(fields["sequences"], limits, room=0)


def _require_unicode(text: str, name: str) -> None:
    """JSON can spell half of a surrogate pair, which no tokenizer takes."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise RequestError(f"{name}: half of a surrogate pair; expected Unicode text")


def _fields(
    body: Any, where: str, required: tuple[str, ...], nullable: tuple[str, ...]
) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise RequestError(f"{where}: a {type(body).__name__}; expected an object")
    if unknown := sorted(body.keys() - {*required, *nullable}):
        raise RequestError(f"{where}: unknown keys {unknown}; known: {[*required, *nullable]}")
    if missing := [key for key in required if key not in body]:
        raise RequestError(f"{where}: missing keys {missing}")
    return dict.fromkeys(nullable) | body


def _list(value: Any, name: str) -> list:
    if not isinstance(value, list):
        raise RequestError(f"{name}: a {type(value).__name__}; expected a list")
    return value


def _whole(value: Any, name: str, least: int, most: int | None = None) -> int:
    if type(value) is not int or value < least or (most is not None and value > most):
        bound = f"at least {least}" if most is None else f"in [{least}, {most}]"
        raise RequestError(f"{name}: {value!r}; expected a whole number {bound}")
    return value


def _one_of(value: Any, name: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise RequestError(f"{name}: {value!r}; expected one of {list(choices)}")
    return value


def _temperature(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise RequestError(f"temperature: {value!r}; expected a number, 0 (greedy) or above")
    return float(value)


def _ids(value: Any, name: str, limits: ModelLimits) -> list[int]:
    for token in _list(value, name):
        if type(token) is not int or not 0 <= token < limits.vocabulary_size:
            raise RequestError(
                f"{name}: {token!r}; expected token ids in [0, {limits.vocabulary_size})"
            )
    return value


def _sequences(value: Any, limits: ModelLimits, *, room: int) -> list[list[int]]:
    """`room`: tokens of an answer that must fit behind each sequence."""
    sequences = [
        _ids(sequence, f"sequences[{index}]", limits)
        for index, sequence in enumerate(_list(value, "sequences"))
    ]
    if not sequences:
        raise RequestError("sequences: empty; expected one sequence or more")
    most = limits.max_length - room
    for index, sequence in enumerate(sequences):
        if not 1 <= len(sequence) <= most:
            raise RequestError(
                f"sequences[{index}]: {len(sequence)} tokens; expected 1 to {most}"
                f" (max_length {limits.max_length}, {room} new tokens)"
            )
    return sequences
