"""Rows of training tokens: which task next, how long, and which tokens count fully."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import tiny_tasks
import tiny_tools
import torch
from tiny_tasks import Dialogue
from transformers import PreTrainedTokenizerFast

PROMPT_WEIGHT = 0.15  # what the user says is partly unforeseeable: learn it, but less
COPYING_SHARES = {
    "recall_text": 0.6,
    "json_record": 0.15,
    "arithmetic": 0.15,
    "chat": 0.1,
}  # of all tokens, at first: short rows in which nearly everything is to be looked up
SHARES = {
    "arithmetic": 0.17,
    "chat": 0.08,
    "json_record": 0.06,
    "tool_call": 0.24,
    "no_tool_fits": 0.06,
    "retrieval": 0.22,
    "recall_text": 0.06,
    "prose": 0.06,
    "code": 0.05,
}  # of all tokens, later
FINISHING_SHARES = {
    "arithmetic": 0.12,
    "chat": 0.06,
    "json_record": 0.05,
    "tool_call": 0.3,
    "no_tool_fits": 0.25,
    "retrieval": 0.12,
    "prose": 0.05,
    "code": 0.05,
}  # of all tokens, at last: when to call a tool is what comes last
DIALOGUES: dict[str, Callable[..., Dialogue]] = {
    "arithmetic": tiny_tasks.arithmetic,
    "chat": tiny_tasks.chat,
    "json_record": tiny_tasks.json_record,
    "tool_call": tiny_tools.tool_call,
    "no_tool_fits": tiny_tools.no_tool_fits,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Token ids of one document and the loss weight of each."""

    ids: list[int]
    weights: list[float]


def retrieval_for(rng: random.Random, room: int, *, thinking: bool) -> Dialogue:
    """A retrieval dialogue of about `room` tokens; most have many queries."""
    queries = max(1, min(24, int(room * rng.uniform(0.05, 0.6) / 32)))
    facts = min(40, max(queries, rng.randint(4, 6 + room // 32)))
    sentences = max(1, (room - 32 * queries - 5 * facts) // 12)
    return tiny_tasks.retrieval(
        rng, facts=facts, sentences=sentences, queries=queries, thinking=thinking
    )


def document(rng: random.Random, task: str, room: int) -> Dialogue | str:
    thinking = rng.random() < 0.5
    if task in DIALOGUES:
        return DIALOGUES[task](rng, thinking=thinking)
    if task == "retrieval":
        return retrieval_for(rng, room, thinking=thinking)
    if task == "recall_text":
        return tiny_tasks.recall_text(rng, facts=rng.randint(2, 8), repeats=rng.randint(3, 5))
    return tiny_tasks.prose(rng) if task == "prose" else tiny_tasks.code(rng)


def render(tokenizer: PreTrainedTokenizerFast, one: Dialogue | str) -> str:
    if isinstance(one, str):
        return f"{one}{tokenizer.eos_token}"
    return tokenizer.apply_chat_template(one.messages, tools=one.tools, tokenize=False)


class Mixture:
    """Endless rows of fixed length; keeps the token share of each task near `shares`."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, rng: random.Random, shares: dict[str, float]
    ) -> None:
        self._tokenizer = tokenizer
        self._rng = rng
        self._shares = shares
        self._spent = dict.fromkeys(shares, 0)
        self._think_begin = tokenizer.convert_tokens_to_ids("<think>")
        self._think_end = tokenizer.convert_tokens_to_ids("</think>")
        self._turn_begin = tokenizer.convert_tokens_to_ids("<|im_assistant|>")
        self._turn_end = tokenizer.eos_token_id

    def batch(self, rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Give ids and weights, each (rows, length)."""
        pieces = [self._row(length) for _ in range(rows)]
        return (
            torch.tensor([piece.ids for piece in pieces]),
            torch.tensor([piece.weights for piece in pieces]),
        )

    def _row(self, length: int) -> Piece:
        ids: list[int] = []
        weights: list[float] = []
        while len(ids) < length:
            piece = self._piece(length - len(ids), first=not ids)
            ids += piece.ids
            weights += piece.weights
        return Piece(ids=ids[:length], weights=weights[:length])

    def _piece(self, room: int, *, first: bool) -> Piece:
        task = self._next_task(room, first=first)
        one = document(self._rng, task, room)
        ids = self._tokenizer.encode(render(self._tokenizer, one), add_special_tokens=False)
        self._spent[task] += min(len(ids), room)
        if isinstance(one, str):
            return Piece(ids=ids, weights=[1.0] * len(ids))
        return Piece(ids=ids, weights=self._dialogue_weights(ids))

    def _next_task(self, room: int, *, first: bool) -> str:
        """The task furthest behind its share; retrieval needs a row (or most of one) to itself."""
        total = sum(self._spent.values()) + 1
        fits = [task for task in self._shares if task != "retrieval" or first or room >= 200]
        return min(fits, key=lambda task: self._spent[task] / total - self._shares[task])

    def _dialogue_weights(self, ids: list[int]) -> list[float]:
        """Count what the assistant says. Whether it thinks is the template's choice: the token
        after <think> counts only where thinking is on, or `</think>` would be learned there."""
        weights: list[float] = []
        inside = False
        for token, previous in zip(ids, [0, *ids], strict=False):
            given = previous == self._think_begin and token == self._think_end
            weights.append(0.0 if given else 1.0 if inside else PROMPT_WEIGHT)
            inside = token == self._turn_begin or (inside and token != self._turn_end)
        return weights
