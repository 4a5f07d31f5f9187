"""A running server is recognised by what it answers, and by nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from harness.base.case import Chat
from harness.base.errors import ConfigError
from launchers.attached import recognise
from launchers.dialect import Dialect
from launchers.openai import OpenAiDialect
from launchers.reference import ReferenceDialect
from launchers.registry import LAUNCHERS, launcher
from launchers.sglang_dialect import SglangDialect
from launchers.vllm import VllmDialect

URL = "http://host:8000"
VLLM = {"/version": b'{"version": "0.32.0"}', "/v1/models": b'{"data": [{"id": "tiny"}]}'}
SGLANG = {
    "/server_info": b'{"served_model_name": "tiny", "version": "0.5.23", "tp_size": 1}',
    "/v1/models": b'{"data": [{"id": "tiny", "max_model_len": 2048}]}',
}
REFERENCE = {
    "/identity": b'{"engine": "enginediff-reference", "model": "tiny",'
    b' "implementation": "transformers"}'
}


def recognised(answers: Mapping[str, bytes]) -> Dialect:
    return recognise(answers.get, URL)


def test_a_vllm_server_is_one_with_a_version_and_a_model() -> None:
    found = recognised(VLLM)
    assert isinstance(found, VllmDialect)
    assert found.model == "tiny"


@pytest.mark.parametrize("version", [None, b"<html>", b"[]"])
def test_a_server_that_lists_a_model_and_names_no_engine_is_asked_plainly(
    version: bytes | None,
) -> None:
    answers = {"/v1/models": VLLM["/v1/models"]}
    found = recognised(answers if version is None else {**answers, "/version": version})
    assert isinstance(found, OpenAiDialect)
    assert found.model == "tiny"


def test_several_names_of_one_model_are_one_and_several_models_are_a_question() -> None:
    one = b'{"data": [{"id": "a", "root": "x"}, {"id": "b", "root": "x"}]}'
    assert isinstance(recognised({**VLLM, "/v1/models": one}), VllmDialect)
    two = b'{"data": [{"id": "a", "root": "x"}, {"id": "b", "root": "y"}]}'
    with pytest.raises(ConfigError, match=r"2 models \(a, b\)"):
        recognised({**VLLM, "/v1/models": two})
    assert recognise({**VLLM, "/v1/models": two}.get, URL, "b").model == "b"
    with pytest.raises(ConfigError, match="serves tiny, and no 'tinny'"):
        recognise(VLLM.get, URL, "tinny")


def test_the_reference_server_says_so_itself() -> None:
    found = recognised(REFERENCE)
    assert isinstance(found, ReferenceDialect)
    assert found.model == "tiny"
    assert isinstance(recognised({**VLLM, **REFERENCE}), ReferenceDialect)


def test_an_sglang_server_is_one_that_tells_its_configuration() -> None:
    found = recognised(SGLANG)
    assert isinstance(found, SglangDialect)
    assert found.model == "tiny"


def test_a_ktransformers_with_our_window_is_asked_through_it_and_else_as_sglang() -> None:
    info = {"/server_info": b'{"served_model_name": "tiny", "version": "0", "kt_weight_path": "x"}'}
    plain = recognised(info)
    windowed = recognised({**info, "/enginediff/version": b'{"version": "0.7.2"}'})
    assert (plain.engine, windowed.engine) == ("sglang", "ktransformers")
    chat = Chat(messages=({"role": "user", "content": "hi"},), tools=None, thinking=None)
    assert windowed.render(chat).path == "/enginediff/render"


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"/server_info": b'{"version": "1"}'},
        {"/version": VLLM["/version"]},
        {**VLLM, "/v1/models": b'{"data": []}'},
        {**VLLM, "/v1/models": b'{"data": "tiny"}'},
        {"/identity": b'{"engine": "something else", "model": "tiny"}'},
        dict.fromkeys(("/identity", "/version", "/v1/models"), b"hello"),
    ],
)
def test_anything_else_is_refused_and_named(answers: Mapping[str, bytes]) -> None:
    with pytest.raises(ConfigError, match=f"{URL}: .* no engine"):
        recognised(answers)


def test_every_engine_of_the_registry_can_be_launched_and_no_other() -> None:
    for name in LAUNCHERS:
        assert launcher(name).ready_path.startswith("/")
    with pytest.raises(ConfigError, match="'exllama'; known are ktransformers, reference, sglang"):
        launcher("exllama")


def test_models_of_another_form_are_no_engine() -> None:
    with pytest.raises(ConfigError):
        recognised({**VLLM, "/v1/models": b'{"data": ["x"]}'})
