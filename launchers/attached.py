"""A server that somebody else started: what it is, is found out by asking."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from harness.base.errors import ConfigError
from launchers.dialect import Dialect
from launchers.reference import ReferenceDialect
from launchers.sglang_dialect import SglangDialect
from launchers.vllm import VllmDialect

Get = Callable[[str], bytes | None]  # the body of a 200 answer to a GET; None: any other status


def recognise(get: Get, url: str) -> Dialect:
    """The dialect of the server behind `get`; ConfigError where it is no engine that we know."""
    identity = _table(get("/identity"))
    if identity.get("engine") == "enginediff-reference":
        return ReferenceDialect(model=str(identity["model"]))
    server = _table(get("/server_info"))
    if "served_model_name" in server and "version" in server:
        return SglangDialect(model=str(server["served_model_name"]))
    models = _table(get("/v1/models")).get("data")
    first = models[0] if isinstance(models, list) and models else None
    if isinstance(first, dict) and "id" in first and "version" in _table(get("/version")):
        return VllmDialect(model=str(first["id"]))
    raise ConfigError(
        f"{url}: something answers there, but it is no engine that enginediff can speak to "
        "(vLLM, which has /version and /v1/models, SGLang, which has /server_info, or "
        "enginediff's reference server)"
    )


def _table(answer: bytes | None) -> dict[str, object]:
    try:
        value = orjson.loads(answer or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
