"""Write the prompt corpus, `suites/data/corpus.jsonl`: six strata of eighty prompts.

The prompts come from the generators the tiny models learned from, with seeds held out of training.
Running it again gives the same bytes.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tiny_tasks import (
    Dialogue,
    Message,
    arithmetic,
    chat,
    code,
    json_record,
    prose,
    recall_text,
    retrieval,
)
from tiny_tools import no_tool_fits, tool_call

PER_STRATUM = 80
DEFAULT_OUT = Path(__file__).parents[1] / "suites" / "data" / "corpus.jsonl"

Prompt = dict[str, Any]


def _as_parts(message: Message) -> Message:
    """The same user message with its content as a list of two text parts."""
    text = message["content"]
    cut = len(text) // 2
    parts = [{"type": "text", "text": text[:cut]}, {"type": "text", "text": text[cut:]}]
    return message | {"content": parts}


def _without_content(message: Message) -> Message:
    """Clients send no content beside tool calls, as None or as an empty string."""
    return message | {"content": None} if "tool_calls" in message else message


def _with_both_names(message: Message) -> Message:
    """vLLM 0.32.0 reads history reasoning as `reasoning` and drops `reasoning_content`, unasked;
    the others read `reasoning_content`."""
    if "reasoning_content" not in message:
        return message
    return message | {"reasoning": message["reasoning_content"]}


def _prompt(dialogue: Dialogue) -> Prompt:
    return {
        "messages": [_with_both_names(message) for message in dialogue.messages[:-1]],
        "tools": dialogue.tools,
        "thinking": dialogue.thinking,
        "text": None,
    }


def _raw(text: str) -> Prompt:
    return {"messages": None, "tools": None, "thinking": None, "text": text}


def _chat(rng: random.Random, index: int) -> Prompt:
    thinking = index % 2 == 0
    task = (chat, chat, chat, chat, json_record, arithmetic)[index % 6]
    prompt = _prompt(task(rng, thinking=thinking))
    if index % 5 == 1:
        prompt["messages"] = [
            _as_parts(one) if one["role"] == "user" and one["content"] else one
            for one in prompt["messages"]
        ]
    return prompt


def _tools(rng: random.Random, index: int) -> Prompt:
    task = no_tool_fits if index % 4 == 3 else tool_call
    prompt = _prompt(task(rng, thinking=index // 4 % 2 == 0))
    if index % 3 == 0:
        prompt["messages"] = [_without_content(one) for one in prompt["messages"]]
    return prompt


def _thinking(rng: random.Random, index: int) -> Prompt:
    task = (arithmetic, json_record, arithmetic, chat)[index % 4]
    return _prompt(task(rng, thinking=True))


def _long(rng: random.Random, index: int) -> Prompt:
    facts, sentences = rng.randint(10, 18), rng.randint(36, 46)
    if index % 10 == 9:
        facts, sentences = rng.randint(20, 30), rng.randint(76, 100)
    queries = 1 if index % 4 else 2
    return _prompt(
        retrieval(rng, facts=facts, sentences=sentences, queries=queries, thinking=index % 2 == 0)
    )


def _cut(rng: random.Random, text: str, earliest: float) -> str:
    """A prefix of `text` that ends at a word's end."""
    words = text.split(" ")
    return " ".join(words[: max(4, int(len(words) * rng.uniform(earliest, 0.9)))])


def _text(rng: random.Random, index: int) -> Prompt:
    if index % 5 == 4:
        return _raw(_cut(rng, recall_text(rng, facts=6, repeats=3), 0.5))
    return _raw(_cut(rng, prose(rng), 0.4))


def _code(rng: random.Random, index: int) -> Prompt:
    return _raw(_cut(rng, f"{code(rng)}\n\n{code(rng)}" if index % 2 else code(rng), 0.4))


STRATA: dict[str, Callable[[random.Random, int], Prompt]] = {
    "chat": _chat,
    "tools": _tools,
    "thinking": _thinking,
    "long": _long,
    "text": _text,
    "code": _code,
}


def _wanted(stratum: str, index: int, prompt: Prompt) -> bool:
    """In chat and text one in twenty beyond ASCII, elsewhere none; tool prompts under about
    250 tokens, one in four with a result; every other short chat not of the shortest."""
    written = json.dumps(prompt, ensure_ascii=False)
    beyond_ascii = stratum in ("chat", "text") and index % 20 == 8
    if written.isascii() == beyond_ascii:
        return False
    if stratum == "tools":
        answered = any(message["role"] == "tool" for message in prompt["messages"])
        return len(written) <= 1050 and (answered or index % 4 != 1)
    return stratum not in ("chat", "thinking") or index % 2 == 0 or len(written) >= 135


def corpus() -> Iterator[Prompt]:
    seen: set[str] = set()
    for stratum, make in STRATA.items():
        rng = random.Random(f"corpus {stratum}")
        for index in range(PER_STRATUM):
            prompt = make(rng, index)
            while not _wanted(stratum, index, prompt) or json.dumps(prompt) in seen:
                prompt = make(rng, index)
            seen.add(json.dumps(prompt))
            yield {"id": f"{stratum}-{index:03d}", "stratum": stratum, **prompt}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=DEFAULT_OUT)
    out: Path = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(prompt, ensure_ascii=False) + "\n" for prompt in corpus()]
    out.write_text("".join(lines), encoding="utf-8")
    print(f"{len(lines)} prompts in {out}")


if __name__ == "__main__":
    main()
