"""Synthetic tasks the tiny models learn: pure functions of a `random.Random`.

Everything here is of our own making, so that the same seed gives the same training data on any
machine. Tool calls live in `tiny_tools`; this file holds every other dialogue and the raw text.
A dialogue ends in the assistant message that is to be learned (and, in a test, to be produced).
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tiny_words import (
    ADJECTIVES,
    ANIMALS,
    CITIES,
    COLOURS,
    FACTS,
    GOODS,
    NAMES,
    PLACES,
    TIMES,
    UNICODE_NAMES,
    VERBS,
)

Message = dict[str, Any]
Tool = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """`messages[-1]` is the assistant's; `thinking` says whether it carries reasoning."""

    messages: list[Message]
    tools: list[Tool] | None
    thinking: bool


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str, *, reasoning: str | None = None) -> Message:
    message: Message = {"role": "assistant", "content": text}
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    return message


def skewed(rng: random.Random, words: Sequence[str]) -> str:
    """Choose with a preference for the front, so that text is neither flat nor certain."""
    return words[int(len(words) * rng.random() ** 1.5)]


def person(rng: random.Random) -> str:
    return rng.choice(UNICODE_NAMES) if rng.random() < 0.03 else skewed(rng, NAMES)


# ---------------------------------------------------------------- arithmetic


def _digit_steps(a: int, b: int, sign: str) -> str:
    """Work out a + b or a - b (two digits, a >= b for minus) the way a child writes it."""
    (a_tens, a_ones), (b_tens, b_ones) = divmod(a, 10), divmod(b, 10)
    if sign == "+":
        carry = (a_ones + b_ones) // 10
        ones = f"{a_ones} + {b_ones} = {a_ones + b_ones}, carry {carry}."
        return f"{ones} {a_tens} + {b_tens} + {carry} = {a_tens + b_tens + carry}."
    borrow = int(a_ones < b_ones)
    raised = a_ones + 10 * borrow
    ones = f"{raised} - {b_ones} = {raised - b_ones}, borrow {borrow}."
    return f"{ones} {a_tens} - {b_tens} - {borrow} = {a_tens - b_tens - borrow}."


def _problem(rng: random.Random) -> tuple[str, str, str]:
    """Give (expression, steps, result)."""
    sign = rng.choice("++--*")
    if sign == "*":
        a, b = rng.randint(2, 9), rng.randint(2, 9)
        return f"{a} * {b}", f"I know that {a} * {b} = {a * b}.", str(a * b)
    a, b = rng.randint(1, 99), rng.randint(1, 99)
    if sign == "-":
        a, b = max(a, b), min(a, b)
    return f"{a} {sign} {b}", _digit_steps(a, b, sign), str(a + b if sign == "+" else a - b)


def arithmetic(rng: random.Random, *, thinking: bool) -> Dialogue:
    messages: list[Message] = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        expression, steps, result = _problem(rng)
        forms = ("What is {}?", "Compute {}.", "{} = ?", "Please work out {}.", "How much is {}?")
        messages += [
            user(rng.choice(forms).format(expression)),
            assistant(f"{expression} = {result}.", reasoning=steps if thinking else None),
        ]
    return Dialogue(messages=messages, tools=None, thinking=thinking)


# ---------------------------------------------------------------- chat


def fact_turn(rng: random.Random, *, thinking: bool, brief: bool) -> list[Message]:
    topic = rng.choice(list(FACTS))
    question = rng.choice(("What is {}?", "Tell me {}.", "Do you know {}?", "Please name {}."))
    answer = f"{FACTS[topic]}." if brief else f"{topic[0].upper()}{topic[1:]} is {FACTS[topic]}."
    reasoning = f"The user asks for {topic}. It is {FACTS[topic]}." if thinking else None
    return [user(question.format(topic)), assistant(answer, reasoning=reasoning)]


def _name_turns(rng: random.Random, *, thinking: bool) -> list[list[Message]]:
    name = person(rng)
    first = "The user says a name." if thinking else None
    last = f"The name is {name}." if thinking else None
    greeting = rng.choice(("My name is {}.", "Hello, I am {}.", "Hi! Please call me {}."))
    return [
        [user(greeting.format(name)), assistant(f"Hello {name}!", reasoning=first)],
        [user("What is my name?"), assistant(f"Your name is {name}.", reasoning=last)],
    ]


def _empty_turn(*, thinking: bool) -> list[Message]:
    reasoning = "The message is empty." if thinking else None
    return [user(""), assistant("Please ask me something.", reasoning=reasoning)]


def chat(rng: random.Random, *, thinking: bool) -> Dialogue:
    """Short facts over one to three turns; sometimes a system message that asks for brevity."""
    brief = rng.random() < 0.25
    turns = [fact_turn(rng, thinking=thinking, brief=brief) for _ in range(rng.choice((1, 1, 2)))]
    if rng.random() < 0.35:
        greeting, recall = _name_turns(rng, thinking=thinking)
        turns = [greeting, *turns, recall] if rng.random() < 0.6 else [greeting]
    if rng.random() < 0.08:
        turns.insert(rng.randint(0, len(turns)), _empty_turn(thinking=thinking))
    system = "Answer in one word." if brief else "You are a helpful assistant."
    head = [{"role": "system", "content": system}] if brief or rng.random() < 0.3 else []
    messages = head + [message for turn in turns for message in turn]
    return Dialogue(messages=messages, tools=None, thinking=thinking)


# ---------------------------------------------------------------- JSON


def json_record(rng: random.Random, *, thinking: bool) -> Dialogue:
    kind = rng.choice(("item", "person", "trip"))
    if kind == "item":
        name, colour = rng.choice(GOODS), rng.choice(COLOURS)
        price, sold = rng.randint(1, 99), rng.random() < 0.5
        text = f"{name}, {colour}, price {price}, {'sold' if sold else 'not sold'}"
        record: dict[str, Any] = {"name": name, "colour": colour, "price": price, "sold": sold}
    elif kind == "person":
        name, age, likes = person(rng), rng.randint(10, 99), rng.sample(GOODS, 2)
        text = f"{name}, age {age}, likes {likes[0]} and {likes[1]}"
        record = {"name": name, "age": age, "likes": likes}
    else:
        start, end = rng.sample(CITIES, 2)
        days = rng.randint(2, 30)
        text = f"from {start} to {end}, {days} days"
        record = {"from": start, "to": end, "days": days}
    ask = rng.choice(("Write JSON for this {}: {}.", "Give the {} as JSON: {}."))
    reasoning = f"The keys are {', '.join(record)}." if thinking else None
    answer = assistant(json.dumps(record, ensure_ascii=False), reasoning=reasoning)
    return Dialogue(messages=[user(ask.format(kind, text)), answer], tools=None, thinking=thinking)


# ---------------------------------------------------------------- retrieval


def _facts(rng: random.Random, count: int) -> dict[str, str]:
    """Give `count` notes, name -> goods. The value stands right behind its key: that is what a
    model of three layers learns to look up within a few million tokens."""
    return {name: rng.choice(GOODS) for name in rng.sample(NAMES, count)}


def recall_text(rng: random.Random, *, facts: int, repeats: int) -> str:
    """The same notes several times, shuffled: each repetition is a query."""
    notes = list(_facts(rng, facts).items())
    rounds = [rng.sample(notes, len(notes)) for _ in range(repeats)]
    return " ".join(f"Note: {', '.join(f'{k} {v}' for k, v in one_round)}." for one_round in rounds)


def retrieval(
    rng: random.Random, *, facts: int, sentences: int, queries: int, thinking: bool
) -> Dialogue:
    """Notes among filler sentences that name nobody, then questions about them."""
    notes = _facts(rng, facts)
    lines = [f"Note: {name} {goods}." for name, goods in notes.items()]
    lines += [sentence(rng, named=False) for _ in range(sentences)]
    rng.shuffle(lines)
    messages: list[Message] = []
    for name in rng.sample(list(notes), queries):
        question = rng.choice(("What is the note for {}?", "What did I note for {}?"))
        reasoning = f"I look for the note: {name} {notes[name]}." if thinking else None
        answer = assistant(f"Note: {name} {notes[name]}.", reasoning=reasoning)
        messages += [user(question.format(name)), answer]
    messages[0] = user(f"Read this. {' '.join(lines)} {messages[0]['content']}")
    return Dialogue(messages=messages, tools=None, thinking=thinking)


# ---------------------------------------------------------------- raw text


def sentence(rng: random.Random, *, named: bool = True) -> str:
    """One sentence of the little grammar, about a person (where `named`) or an animal."""
    animal = f"the {skewed(rng, ADJECTIVES)} {skewed(rng, ANIMALS)}"
    who = person(rng) if named and rng.random() < 0.5 else animal
    what = f"{skewed(rng, VERBS)} the {skewed(rng, ADJECTIVES)} {skewed(rng, GOODS)}"
    where = f" near the {skewed(rng, PLACES)}" if rng.random() < 0.6 else ""
    text = (
        f"{skewed(rng, TIMES)}, {who} {what}{where}"
        if rng.random() < 0.3
        else f"{who} {what}{where}"
    )
    return f"{text[0].upper()}{text[1:]}."


def prose(rng: random.Random) -> str:
    """A paragraph about one person, with speech, seasons and repeated pronouns."""
    name, place = person(rng), skewed(rng, PLACES)
    closing = (
        f'"I like the {place}," says {name}.',
        f"Then {name} goes home with the {skewed(rng, ANIMALS)}.",
        f"The café near the {place} is {rng.choice(('open', 'closed'))} now.",
        f"{name} is happy, and the {skewed(rng, ANIMALS)} sleeps.",
    )
    lines = [f"{name} lives near the {skewed(rng, ADJECTIVES)} {place}."]
    lines += [sentence(rng) for _ in range(rng.randint(3, 8))]
    return " ".join([*lines, rng.choice(closing)])


def code(rng: random.Random) -> str:
    """A file of one to three small functions."""
    return "\n\n".join(_function(rng) for _ in range(rng.randint(1, 3)))


def _function(rng: random.Random) -> str:
    """One function; the names it declares are the names it uses."""
    noun, other = rng.sample(("price", "count", "age", "size", "speed", "weight", "score"), 2)
    number = rng.randint(2, 20)
    sign = rng.choice("+-*")
    loop = (
        f"def total_{noun}({noun}s):\n    total = 0\n    for {noun} in {noun}s:\n"
        f"        total += {noun} {sign} {number}\n    return total\n"
    )
    branch = (
        f"def check_{noun}({noun}, {other}):\n    if {noun} > {number}:\n        return {other}\n"
        f"    return {noun} {sign} {other}\n"
    )
    lookup = (
        f'def read_{noun}(record):\n    """Return the {noun} of a record."""\n'
        f'    {noun} = record["{noun}"]\n    assert {noun} >= {number}\n    return {noun}\n'
    )
    listing = (
        f"def keep_{noun}s({noun}s, limit={number}):\n"
        f"    return [{noun} for {noun} in {noun}s if {noun} {rng.choice('<>')} limit]\n"
    )
    return rng.choice((loop, branch, lookup, listing))
