"""A server that somebody else started: what it is, is found out by asking.

Its brand gives the language that it is asked in; what it can do then, the capabilities say, for a
proxy may stand before it and leave half of it out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from harness.base.errors import ConfigError, RequestError
from launchers import ktransformers, probing
from launchers.capabilities import Able, Capabilities
from launchers.dialect import Dialect, Reply, Request
from launchers.openai import OpenAiDialect
from launchers.prober import Ask, Prober, excerpt
from launchers.probing import Core
from launchers.reference import STREAMED, ReferenceDialect
from launchers.sglang_dialect import SglangDialect
from launchers.vllm import VllmDialect

Get = Callable[[str], bytes | None]  # the body of a 200 answer to a GET; None: any other status
MODELS = Request(path="/v1/models", body=None)
KEY_REFUSED = (401, 403)
BROKEN = {None, 500, 502, 503, 504}


def attach(
    get: Get, ask: Ask, *, url: str, model: str | None, announce: Callable[[str], None]
) -> tuple[Dialect, Capabilities | None]:
    """The dialect of a server, and what it can do; None: all that the dialect can say.

    Raises ConfigError where it is no engine, the key is refused, or the model is not clear, and
    RequestError where it fails at both questions that any endpoint answers.
    """
    try:
        dialect = recognise(get, url, model)
    except ConfigError:
        _refuse_key(url, [ask(MODELS)])  # the better explanation of an empty list
        raise
    if isinstance(dialect, ReferenceDialect):
        return dialect, None
    prober = Prober(ask, model=dialect.model, now=time.monotonic)
    core = probing.first_asked(prober)
    _refuse_key(url, [core.chat, core.completions])
    _refuse_broken(url, core)
    if isinstance(dialect, OpenAiDialect):
        _refuse_stranger(get, url, core, dialect.model)
    announce(f"asking {url} what it can do")
    return probing.probe(dialect, core, prober)


def recognise(get: Get, url: str, model: str | None = None) -> Dialect:
    """The dialect of the server behind `get`; ConfigError where the model is not clear."""
    identity = _table(get("/identity"))
    if identity.get("engine") == "enginediff-reference":
        streamed = identity["implementation"] in STREAMED
        return ReferenceDialect(model=str(identity["model"]), streamed=streamed)
    server = _table(get("/server_info"))
    if "served_model_name" in server and "version" in server:
        name = str(server["served_model_name"])
        _require_listed(model or name, [{"id": name}], url)
        if server.get("kt_weight_path") is not None and get(ktransformers.VERSION) is not None:
            return ktransformers.dialect(name)  # its fork of SGLang, with the window of ours
        return SglangDialect(model=name)
    models = served(get)
    name = chosen(models, url, model)
    if "version" in _table(get("/version")):
        _require_listed(name, models, url)
        return VllmDialect(model=name)
    return OpenAiDialect(model=name, echo=False, tool_choice=None, switches_thinking=True)


def served(get: Get) -> list[dict[str, Any]]:
    """What /v1/models lists; nothing where it is no such list."""
    models = _table(get("/v1/models")).get("data")
    entries = models if isinstance(models, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and "id" in entry]


def chosen(models: Sequence[dict[str, Any]], url: str, model: str | None) -> str:
    """The model that is meant. ConfigError where that is not clear.

    A model that is named need not be listed: a vendor's list leaves aliases out.
    """
    if model is not None:
        return model
    if not models:
        raise ConfigError(
            f"{url}: something answers there, but it is no engine that enginediff knows, and "
            "/v1/models lists no model; if it is an OpenAI-compatible endpoint without such a "
            f"list, name the model: {url}#MODEL"
        )
    names = [str(entry["id"]) for entry in models]
    roots = {str(entry.get("root")) for entry in models}
    if len(names) > 1 and (len(roots) > 1 or "None" in roots):
        shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if names[20:] else "")
        raise ConfigError(
            f"{url}: serves {len(names)} models ({shown}): say which is meant, {url}#{names[0]}"
        )
    return names[0]  # several names of one root are one model


def _require_listed(name: str, models: Sequence[dict[str, Any]], url: str) -> None:
    """An engine of one's own lists all that it serves, other than a vendor."""
    names = [str(entry["id"]) for entry in models]
    if names and name not in names:
        raise ConfigError(f"{url}: serves {', '.join(names)}, and no {name!r}")


def _refuse_key(url: str, replies: Sequence[Reply]) -> None:
    refused = [reply for reply in replies if reply.status in KEY_REFUSED]
    if refused and not any(reply.status == 200 for reply in replies):
        raise ConfigError(
            f"{url}: answers {refused[0].status} ({excerpt(refused[0].body)}): the key in "
            "ENGINEDIFF_API_KEY is missing, wrong, or not allowed to use this model"
        )


def _refuse_broken(url: str, core: Core) -> None:
    """A server that fails at all it is asked is no endpoint that can do little."""
    where = f"{url}/v1/chat/completions"
    if {core.chat.status, core.completions.status} <= BROKEN:
        what = core.chat.problem or f"answered {core.chat.status}: {excerpt(core.chat.body)}"
        raise RequestError(f"{where}: {what}; /v1/completions fails too")


def _refuse_stranger(get: Get, url: str, core: Core, model: str) -> None:
    """Where both APIs refuse outright, there is no such model, or nothing of the kind."""
    if core.chats.able is Able.NO and core.completes.able is Able.NO:
        names = ", ".join(str(entry["id"]) for entry in served(get)[:20]) or "none"
        raise ConfigError(
            f"{url}: something answers there, but it is no engine that serves {model!r}: "
            f"/v1/chat/completions answers {core.chats.evidence}; "
            f"/v1/completions {core.completes.evidence}; models listed: {names}"
        )


def _table(answer: bytes | None) -> dict[str, object]:
    try:
        value = orjson.loads(answer or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
