"""SGLang's token-level language: `/generate`, `/tokenize` and `/detokenize`. Pure.

Read in SGLang 0.5.23: with `logprob_start_len` 0 no token of a prompt comes from the prefix cache,
and `cached_tokens` says how many did; `/tokenize` renders messages by the chat API's own function;
logprobs of generated tokens are those after the temperature unless the server's environment has
SGLANG_RETURN_ORIGINAL_LOGPROB=1, which pins set; a seed decides nothing unless the server was
started with deterministic inference; a token id beyond the vocabulary ends the server. All sampling
parameters are sent, always: the server may have others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import orjson

from harness.base.case import Chat
from harness.base.errors import RequestError
from harness.base.record import Generation, Scores
from launchers.dialect import Request, Sampling, Tokens
from launchers.pins import GREEDY, SamplingTable


class SglangDialect:
    """Requests and answers of an SGLang server, or of a fork that answers some of them elsewhere.

    `identity_path` says its version, `render_path` renders chats.
    """

    sequences_per_request = 8  # a request costs it 10 ms beside the tokens
    ends_with_done = True
    ids_per_request = 4096  # /detokenize takes a list a text; other requests wait meanwhile

    def __init__(
        self,
        *,
        model: str,
        engine: str = "sglang",
        identity_path: str = "/server_info",
        render_path: str = "/tokenize",
    ) -> None:
        self.model = model
        self.engine = engine
        self.identity_path = identity_path
        self.render_path = render_path

    def identity(self) -> Request:
        return Request(path=self.identity_path, body=None)

    def identified(self, answer: bytes) -> dict[str, Any]:
        version = _field(_json(answer), "version")
        return {"engine": self.engine, "version": version, "model": self.model}

    def render(self, prompt: Chat | str) -> Request:
        if isinstance(prompt, str):
            body = {"model": self.model, "prompt": prompt, "add_special_tokens": False}
            return Request(path="/tokenize", body=body)
        return Request(path=self.render_path, body={"model": self.model, **chat_body(prompt)})

    def rendered(self, answer: bytes) -> Tokens:
        return tuple(_field(_json(answer), "tokens"))

    def chat(self, chat: Chat) -> dict[str, Any]:
        return {"model": self.model, **chat_body(chat)}

    def sampling(self, table: SamplingTable) -> dict[str, Any]:
        return _sampling(table)

    def usage(self, chat: Chat) -> Request:
        body = {"model": self.model, "max_tokens": 1, **chat_body(chat), **_sampling(GREEDY)}
        return Request(path="/v1/chat/completions", body=body)

    def prompt_tokens(self, answer: bytes) -> int:
        return int(_field(_json(answer), "usage", "prompt_tokens"))

    def score(self, sequences: Sequence[Tokens], top_k: int) -> Request:
        sampling = {"max_new_tokens": 0, **_sampling(GREEDY)}
        return _generate(sequences, [sampling] * len(sequences), top_k, logprob_start_len=0)

    def scored(self, answer: bytes, sequences: Sequence[Tokens], top_k: int) -> list[Scores]:
        items = _items(answer, len(sequences))
        pairs = zip(items, sequences, strict=True)
        return [_prompt_scores(_field(item, "meta_info"), t, top_k) for item, t in pairs]

    def generate(
        self,
        sequences: Sequence[Tokens],
        *,
        max_new_tokens: int,
        sampling: Sampling,
        seeds: Sequence[int] | None,
        top_k: int,
    ) -> Request:
        own = [
            {
                "max_new_tokens": max_new_tokens,
                **({} if seed is None else {"sampling_seed": seed}),
                "skip_special_tokens": False,
                **_sampling(sampling),
            }
            for seed in seeds or [None] * len(sequences)
        ]
        return _generate(sequences, own, top_k, logprob_start_len=-1)

    def generated(self, answer: bytes, top_k: int) -> list[Generation]:
        items = _items(answer, None)
        return [_generation(_field(item, "meta_info"), top_k) for item in items]

    def detokenize(self, token_ids: Sequence[int]) -> Request:
        lists = [[token] for token in token_ids]
        body = {"model": self.model, "tokens": lists, "skip_special_tokens": False}
        return Request(path="/detokenize", body=body)

    def detokenized(self, answer: bytes) -> tuple[list[str], list[bool]]:
        texts = _field(_json(answer), "text")
        if not isinstance(texts, list):
            raise RequestError(f"SGLang made one text of all token ids: {answer[:200]!r}")
        found = [str(text) for text in cast("list[Any]", texts)]
        return found, [False] * len(found)


def chat_body(chat: Chat) -> dict[str, Any]:
    """What a chat is in SGLang's chat API, and in its `/tokenize`."""
    body: dict[str, Any] = {"messages": [dict(message) for message in chat.messages]}
    if chat.tools is not None:
        body["tools"] = list(chat.tools)
    if chat.thinking is not None:
        body["chat_template_kwargs"] = {"thinking": chat.thinking}
    return body


def _generate(
    sequences: Sequence[Tokens],
    sampling: Sequence[Mapping[str, Any]],
    top_k: int,
    *,
    logprob_start_len: int,
) -> Request:
    """`logprob_start_len`: the first token of the prompt that is scored; -1: none of them."""
    body = {
        "input_ids": [list(tokens) for tokens in sequences],
        "sampling_params": [dict(table) for table in sampling],
        "return_logprob": True,
        "logprob_start_len": logprob_start_len,
        "top_logprobs_num": top_k,
    }
    return Request(path="/generate", body=body)


def _sampling(sampling: Sampling) -> dict[str, Any]:
    if not isinstance(sampling, SamplingTable):
        return dict(sampling)
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k or -1,  # SGLang's word for off
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
    }


def _json(answer: bytes) -> Any:
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"SGLang's answer is no JSON: {answer[:200]!r}") from error


def _field(table: Any, *names: str) -> Any:
    """A field of an answer; RequestError where there is none of that name."""
    value = table
    for name in names:
        if not isinstance(value, dict) or name not in value:
            wanted, said = ".".join(names), str(table)[:200]
            raise RequestError(f"SGLang's answer has no {wanted}: {said}")
        value = cast("dict[str, Any]", value)[name]
    return value


def _items(answer: bytes, expected: int | None) -> list[Any]:
    items = _json(answer)
    if not isinstance(items, list):
        raise RequestError(f"SGLang's answer is no list: {answer[:200]!r}")
    answers = cast("list[Any]", items)
    if expected is not None and len(answers) != expected:
        raise RequestError(f"SGLang gave {len(answers)} answers for {expected} sequences")
    return answers


def _prompt_scores(meta: Any, tokens: Tokens, top_k: int) -> Scores:
    cached = _field(meta, "cached_tokens")
    if cached:
        raise RequestError(f"SGLang took {cached} tokens of a score from its prefix cache")
    chosen, best = _pairs(meta, "input_token_logprobs"), _lists(meta, "input_top_logprobs")
    if tuple(token for _, token in chosen) != tokens:
        raise RequestError(f"SGLang scored {len(chosen)} tokens, not the {len(tokens)} it was sent")
    return _scores(chosen[1:], best[1:], top_k)  # nothing precedes the first


def _generation(meta: Any, top_k: int) -> Generation:
    reason = _field(meta, "finish_reason", "type")
    if reason not in ("stop", "length"):
        raise RequestError(f"SGLang ended a generation with finish_reason {reason!r}")
    chosen = _pairs(meta, "output_token_logprobs")
    return Generation(
        token_ids=tuple(token for _, token in chosen),
        scores=_scores(chosen, _lists(meta, "output_top_logprobs"), top_k),
        finish_reason=reason,
        cached_tokens=meta.get("cached_tokens"),
    )


Pair = tuple[float | None, int]  # logprob (None: none was computed), token id


def _pairs(meta: Any, name: str) -> list[Pair]:
    return _read_pairs(_field(meta, name), name)


def _lists(meta: Any, name: str) -> list[list[Pair]]:
    """The most probable tokens of each position, in their order; none where none were computed."""
    lists = _field(meta, name)
    if not isinstance(lists, list):
        raise RequestError(f"SGLang gave {lists!r} for {name}")
    positions = cast("list[Any]", lists)
    return [[] if entries is None else _read_pairs(entries, name) for entries in positions]


def _read_pairs(entries: Any, name: str) -> list[Pair]:
    """From [logprob, token id, text] each."""
    try:
        return [(logprob, token) for logprob, token, _ in entries]
    except (TypeError, ValueError) as error:
        raise RequestError(f"SGLang gave {str(entries)[:200]} for {name}") from error


def _scores(chosen: list[Pair], best: list[list[Pair]], top_k: int) -> Scores:
    if len(chosen) != len(best):
        raise RequestError(f"SGLang gave {len(chosen)} logprobs and {len(best)} lists of others")
    for position, pairs in enumerate(best):
        if len(pairs) != top_k:
            raise RequestError(f"SGLang gave {len(pairs)} alternatives at {position}, not {top_k}")
    scores = Scores(
        logprobs=np.array([logprob for logprob, _ in chosen], dtype=np.float64),
        top_ids=np.array([[t for _, t in p] for p in best], dtype=np.int32).reshape(-1, top_k),
        top_logprobs=np.array([[lp for lp, _ in p] for p in best], dtype=np.float64).reshape(
            -1, top_k
        ),
    )
    if np.isnan(scores.logprobs).any() or np.isnan(scores.top_logprobs).any():
        raise RequestError("SGLang gave null for a logprob (it writes NaN and infinities so)")
    return scores
