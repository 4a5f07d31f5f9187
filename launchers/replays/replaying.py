"""What the replays of all engines share. They run in an engine's environment, with nothing else.

    ENV/bin/python launchers/replays/vllm_replay.py REQUEST ANSWER

REQUEST is JSON: {"argv": the engine's flags, "model": folder, "markers": [text, ...], "tools":
[...], "streams": [{"id", "text", "thinking", "tools", "letters", "finish"}, ...]}.
ANSWER is written: {"version": ..., "unknown": markers that the tokenizer does not have, "streams":
[{"id", "tokens": N, "answers": [{"error", "reasoning", "content", "calls", "cuttings": [...]}]}]}.
Cuttings that gave the same answer share it. One start of Python replays all streams.
"""

import asyncio
import json
import sys
from pathlib import Path

UNSTREAMED = "unstreamed"
WHOLE = "in one piece"
SINGLE = "token by token"
AT_A_TIME = (2, 3, 7)
QUESTION = "What is the answer?"


def main(version, opened):
    """`opened(request)` gives a server: `tokenizer`, `end` (the id that ends an answer), and
    `answer(stream, prompt, ids, pieces)`, whose `pieces` are None for an unstreamed answer."""
    asked, answer = map(Path, sys.argv[1:])
    request = json.loads(asked.read_text("utf-8"))
    server = opened(request)
    unknown = [text for text in request["markers"] if len(encoded(server, text)) != 1]
    streams = [] if unknown else [replayed(server, request, each) for each in request["streams"]]
    found = {"version": version, "unknown": unknown, "streams": streams}
    answer.write_text(json.dumps(found), "utf-8")


def replayed(server, request, stream):
    ids = tokens(server, stream)
    prompt = server.tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}],
        tools=request["tools"] if stream["tools"] else None,
        add_generation_prompt=True,
        return_dict=False,
        thinking=stream["thinking"],
    )
    answers = {}
    for name, pieces in cuttings(len(ids)):
        found = asyncio.run(answered(server, stream, prompt, ids, pieces))
        answers.setdefault(json.dumps(found), []).append(name)
    return {
        "id": stream["id"],
        "tokens": len(ids),
        "answers": [{**json.loads(found), "cuttings": names} for found, names in answers.items()],
    }


async def answered(server, stream, prompt, ids, pieces):
    try:
        return await server.answer(stream, prompt, ids, pieces)
    except Exception as error:  # noqa: BLE001 - whatever a parser raises, its server answers 500
        return failed(f"{type(error).__name__}: {error}")


def tokens(server, stream):
    """The stream's token ids, with the one that ends the answer where it was not cut off."""
    parts = list(stream["text"]) if stream["letters"] else [stream["text"]]
    ids = [i for part in parts for i in encoded(server, part)]
    said = server.tokenizer.decode(ids, skip_special_tokens=False)
    if said != stream["text"]:
        raise ValueError(f"{stream['id']}: the tokens of {stream['text']!r} are those of {said!r}")
    return [*ids, server.end] if stream["finish"] == "stop" else ids


def encoded(server, text):
    return server.tokenizer.encode(text, add_special_tokens=False)


def cuttings(count):
    """(name, lengths of the pieces that `count` tokens come in; None: not streamed)."""
    yield UNSTREAMED, None
    yield WHOLE, [count]
    yield SINGLE, [1] * count
    for size in AT_A_TIME:
        yield f"{size} tokens at a time", [min(size, count - at) for at in range(0, count, size)]
    for first in range(1, count):
        yield f"cut after token {first} of {count}", [first, count - first]


def split(ids, pieces):
    """(the ids of a piece, whether it is the last)."""
    at = 0
    for length in pieces:
        at += length
        yield ids[at - length : at], at == len(ids)


class Collected:
    """What a client makes of the deltas of a streamed answer."""

    def __init__(self):
        self.reasoning = self.content = ""
        self.calls = {}
        self.error = None

    def take(self, event):
        """One server-sent event, `data: {...}`."""
        data = event.removeprefix("data: ").strip()
        if data == "[DONE]":
            return
        chunk = json.loads(data)
        if "error" in chunk or chunk.get("object") == "error":
            self.error = str(chunk.get("error") or chunk.get("message"))
        for choice in chunk.get("choices", ()):
            self.add(choice["delta"])

    def add(self, delta):
        self.reasoning += delta.get("reasoning") or delta.get("reasoning_content") or ""
        self.content += delta.get("content") or ""
        for call in delta.get("tool_calls") or ():
            known = self.calls.setdefault(call["index"], {"id": "", "name": "", "arguments": ""})
            function = call.get("function") or {}
            known["id"] += call.get("id") or ""
            known["name"] += function.get("name") or ""
            known["arguments"] += function.get("arguments") or ""

    def answer(self):
        calls = [self.calls[index] for index in sorted(self.calls)]
        return answer(self.reasoning, self.content, calls, error=self.error)


def of_message(message):
    """The answer in the message of an unstreamed one."""
    calls = [
        {"id": call["id"] or "", **{k: call["function"][k] or "" for k in ("name", "arguments")}}
        for call in message.get("tool_calls") or ()
    ]
    reasoning = message.get("reasoning") or message.get("reasoning_content") or ""
    return answer(reasoning, message.get("content") or "", calls)


def answer(reasoning, content, calls, error=None):
    return {"error": error, "reasoning": reasoning, "content": content, "calls": calls}


def failed(error):
    return answer("", "", [], error=error)


def chat(request, stream, streamed):
    """The fields of the chat request that such an answer is the answer to."""
    return {
        "model": "replayed",
        "messages": [{"role": "user", "content": QUESTION}],
        "chat_template_kwargs": {"thinking": stream["thinking"]},
        "stream": streamed,
        **({"tools": request["tools"], "tool_choice": "auto"} if stream["tools"] else {}),
    }
