"""Tool dialogues for the tiny models: ten tools, each with a generator of requests.

A request is what the user says, the arguments it implies, the result a tool would return and the
sentence that reports it. Arguments are kept in the canonical form `json.dumps` gives, so that a
chat template that gets a string and one that gets a dict render the same bytes.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tiny_tasks import (
    Dialogue,
    Message,
    Tool,
    arithmetic,
    assistant,
    fact_turn,
    user,
)
from tiny_words import CITIES, GOODS, NAMES, PLACES

STRING = {"type": "string"}
INTEGER = {"type": "integer"}
BOOLEAN = {"type": "boolean"}
STRINGS = {"type": "array", "items": {"type": "string"}}

ROOMS = ("kitchen", "hall", "bedroom", "office")
UNITS = ("celsius", "kelvin")
MONEY = ("euro", "dollar", "yen", "peso")
MODES = ("train", "bus", "car")
GENRES = ("jazz", "rock", "folk")
TAGS = ("work", "home", "travel", "health")
LABELS = ("tea", "bread", "nap", "sport")
NEWS = ("the train is late", "dinner is ready", "the shop is closed", "I am at home")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    text: str
    tool: str
    arguments: dict[str, Any]
    result: dict[str, Any]
    report: str


def _enum(values: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def _tool(name: str, description: str, **properties: dict[str, Any]) -> Tool:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS = {
    tool["function"]["name"]: tool
    for tool in (
        _tool("get_weather", "Weather in a city", city=STRING, unit=_enum(UNITS)),
        _tool("set_timer", "Start a timer", minutes=INTEGER, label=STRING),
        _tool("set_light", "Switch a light", room=_enum(ROOMS), on=BOOLEAN),
        _tool("add_items", "Add to the shopping list", items=STRINGS),
        _tool("book_table", "Book a table", place=STRING, people=INTEGER, outside=BOOLEAN),
        _tool("send_message", "Send a message", to=STRING, text=STRING),
        _tool(
            "convert_money",
            "Convert money",
            amount=INTEGER,
            source=_enum(MONEY),
            target=_enum(MONEY),
        ),
        _tool("find_route", "Find a route", start=STRING, end=STRING, mode=_enum(MODES)),
        _tool("play_music", "Play music", genre=_enum(GENRES), shuffle=BOOLEAN),
        _tool("search_notes", "Search notes", query=STRING, tags=STRINGS),
    )
}


def _get_weather(rng: random.Random) -> Request:
    city, unit, degrees = rng.choice(CITIES), rng.choice(UNITS), rng.randint(10, 30)
    sky = rng.choice(("sunny", "cloudy", "rainy"))
    return Request(
        text=rng.choice(
            ("How is the weather in {}, in {}?", "Weather in {} in {}, please.")
        ).format(city, unit),
        tool="get_weather",
        arguments={"city": city, "unit": unit},
        result={"sky": sky, "degrees": degrees},
        report=f"In {city} it is {sky} with {degrees} degrees.",
    )


def _set_timer(rng: random.Random) -> Request:
    minutes, label = rng.randint(2, 59), rng.choice(LABELS)
    return Request(
        text=rng.choice(
            ("Set a timer of {} minutes for {}.", "Start a timer: {} minutes, {}.")
        ).format(minutes, label),
        tool="set_timer",
        arguments={"minutes": minutes, "label": label},
        result={"started": True},
        report=f"The {label} timer runs for {minutes} minutes.",
    )


def _set_light(rng: random.Random) -> Request:
    room, on = rng.choice(ROOMS), rng.random() < 0.5
    state = "on" if on else "off"
    return Request(
        text=rng.choice(("Turn {} the light in the {}.", "Please switch {} the {} light.")).format(
            state, room
        ),
        tool="set_light",
        arguments={"room": room, "on": on},
        result={"done": True},
        report=f"The light in the {room} is {state}.",
    )


def _add_items(rng: random.Random) -> Request:
    items = rng.sample(GOODS, rng.randint(2, 3))
    listed = f"{', '.join(items[:-1])} and {items[-1]}"
    return Request(
        text=rng.choice(("Put {} on my shopping list.", "I need to buy {}.")).format(listed),
        tool="add_items",
        arguments={"items": items},
        result={"count": rng.randint(4, 20)},
        report=f"I added {listed} to the list.",
    )


def _book_table(rng: random.Random) -> Request:
    place, people, outside = rng.choice(PLACES), rng.randint(2, 9), rng.random() < 0.5
    where = "outside" if outside else "inside"
    return Request(
        text=rng.choice(
            ("Book a table at the {} for {}, {}.", "I want to eat at the {}: {} people, {}.")
        ).format(place, people, where),
        tool="book_table",
        arguments={"place": place, "people": people, "outside": outside},
        result={"hour": rng.randint(17, 21)},
        report=f"A table for {people} at the {place} is booked.",
    )


def _send_message(rng: random.Random) -> Request:
    name, text = rng.choice(NAMES), rng.choice(NEWS)
    return Request(
        text=rng.choice(("Tell {} that {}.", "Write to {} that {}.")).format(name, text),
        tool="send_message",
        arguments={"to": name, "text": text},
        result={"sent": True},
        report=f"I told {name} that {text}.",
    )


def _convert_money(rng: random.Random) -> Request:
    source, target = rng.sample(MONEY, 2)
    amount, result = rng.randint(2, 99), rng.randint(2, 999)
    return Request(
        text=rng.choice(("Convert {} {} to {}.", "How much are {} {} in {}?")).format(
            amount, source, target
        ),
        tool="convert_money",
        arguments={"amount": amount, "source": source, "target": target},
        result={"amount": result},
        report=f"{amount} {source} are {result} {target}.",
    )


def _find_route(rng: random.Random) -> Request:
    start, end = rng.sample(CITIES, 2)
    mode, minutes = rng.choice(MODES), rng.randint(10, 99)
    return Request(
        text=rng.choice(
            ("How do I get from {} to {} by {}?", "Find a way from {} to {} by {}.")
        ).format(start, end, mode),
        tool="find_route",
        arguments={"start": start, "end": end, "mode": mode},
        result={"minutes": minutes},
        report=f"From {start} to {end} by {mode} takes {minutes} minutes.",
    )


def _play_music(rng: random.Random) -> Request:
    genre, shuffle = rng.choice(GENRES), rng.random() < 0.5
    order = "shuffled" if shuffle else "in order"
    return Request(
        text=rng.choice(("Play some {}, {}.", "I want to hear {}, {}.")).format(genre, order),
        tool="play_music",
        arguments={"genre": genre, "shuffle": shuffle},
        result={"playing": True},
        report=f"Here is some {genre}, {order}.",
    )


def _search_notes(rng: random.Random) -> Request:
    query, tags = rng.choice(GOODS), rng.sample(TAGS, rng.randint(1, 2))
    hits = rng.randint(1, 9)
    return Request(
        text=rng.choice(
            ("Search my notes for {} with the tags {}.", "Find notes about {}, tagged {}.")
        ).format(query, " and ".join(tags)),
        tool="search_notes",
        arguments={"query": query, "tags": tags},
        result={"hits": hits},
        report=f"I found {hits} notes about {query}.",
    )


REQUESTS: dict[str, Callable[[random.Random], Request]] = {
    "get_weather": _get_weather,
    "set_timer": _set_timer,
    "set_light": _set_light,
    "add_items": _add_items,
    "book_table": _book_table,
    "send_message": _send_message,
    "convert_money": _convert_money,
    "find_route": _find_route,
    "play_music": _play_music,
    "search_notes": _search_notes,
}


def calls(requests: list[Request], first_index: int, *, thinking: bool) -> Message:
    """The assistant message that calls one tool per request."""
    names = " and ".join(request.tool for request in requests)
    message = assistant("", reasoning=f"I call {names}." if thinking else None)
    message["tool_calls"] = [
        {
            "id": f"functions.{request.tool}:{index}",
            "type": "function",
            "function": {
                "name": request.tool,
                "arguments": json.dumps(request.arguments, ensure_ascii=False),
            },
        }
        for index, request in enumerate(requests, start=first_index)
    ]
    return message


def results(call: Message, requests: list[Request], *, thinking: bool) -> list[Message]:
    """What the tools return, then the assistant's report."""
    messages: list[Message] = [
        {
            "role": "tool",
            "tool_call_id": one["id"],
            "content": json.dumps(request.result, ensure_ascii=False),
        }
        for one, request in zip(call["tool_calls"], requests, strict=True)
    ]
    reasoning = "The tool has answered." if thinking else None
    report = " ".join(request.report for request in requests)
    return [*messages, assistant(report, reasoning=reasoning)]


def _declared(rng: random.Random, needed: list[str], total: int) -> list[Tool]:
    spare = [name for name in TOOLS if name not in needed]
    names = needed + rng.sample(spare, max(0, total - len(needed)))
    return [TOOLS[name] for name in rng.sample(names, len(names))]


def tool_call(rng: random.Random, *, thinking: bool) -> Dialogue:
    """One or two turns that need tools; ends in a call or in the report of its result."""
    turns = [rng.choice((1, 1, 1, 2)) for _ in range(rng.choice((1, 1, 2)))]
    asked = [[REQUESTS[rng.choice(list(TOOLS))](rng) for _ in range(count)] for count in turns]
    needed = list(dict.fromkeys(request.tool for turn in asked for request in turn))
    messages: list[Message] = []
    index = 0
    for turn in asked:
        messages.append(user(" ".join(request.text for request in turn)))
        call = calls(turn, index, thinking=thinking)
        index += len(turn)
        messages += [call, *results(call, turn, thinking=thinking)]
    if rng.random() < 0.6:
        messages = messages[: -1 - len(asked[-1])]
    tools = _declared(rng, needed, rng.choice((1, 1, 2, 2, 3)))
    return Dialogue(messages=messages, tools=tools, thinking=thinking)


def no_tool_fits(rng: random.Random, *, thinking: bool) -> Dialogue:
    """Tools are declared and none serves: answer plainly, or say that there is none."""
    missing = rng.choice(list(TOOLS))
    kind = rng.random()
    if kind < 0.6:
        reasoning = "No tool fits." if thinking else None
        answer = assistant("I have no tool for that.", reasoning=reasoning)
        messages = [user(REQUESTS[missing](rng).text), answer]
    elif kind < 0.8:
        messages = fact_turn(rng, thinking=thinking, brief=False)
    else:
        messages = arithmetic(rng, thinking=thinking).messages
    spare = [name for name in TOOLS if name != missing]
    tools = [TOOLS[name] for name in rng.sample(spare, rng.choice((1, 1, 2, 2, 3)))]
    return Dialogue(messages=messages, tools=tools, thinking=thinking)
