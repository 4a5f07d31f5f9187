"""Text to token ids and back, by the model folder's own tokenizer and chat template."""

import json
from pathlib import Path

import jinja2
from checkpoint_config import read_language_config
from reference_model_files import ModelFolderError
from reference_requests import RequestError
from transformers import AutoTokenizer
from transformers_config import own_config


class Tokens:
    """The tokenizer of a model folder. Raises OSError or ValueError if it has none."""

    lacking = None

    def __init__(self, folder: Path) -> None:
        if not (folder / "tokenizer.json").is_file():  # Transformers would make an empty one
            raise ModelFolderError(f"{folder}: no tokenizer.json; the reference reads no other")
        config = own_config(read_language_config(folder))
        known = {} if config is None else {"config": config}
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **known)
        added = self._tokenizer.added_tokens_decoder
        self._special = frozenset(token for token, entry in added.items() if entry.special)

    def render(
        self, messages: list[dict], tools: list[dict] | None, thinking: bool | None
    ) -> list[int]:
        """A conversation up to where the assistant speaks. RequestError if the template refuses."""
        switches = {} if thinking is None else {"thinking": thinking}
        try:
            return self._tokenizer.apply_chat_template(
                [_with_parsed_arguments(message) for message in messages],
                tools=tools,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
                **switches,
            )
        except (jinja2.TemplateError, TypeError) as error:  # TypeError: content of a wrong type
            raise RequestError(f"messages: the chat template refuses them: {error}") from error

    def encode(self, text: str) -> list[int]:
        """Without a BOS or any other token that is not in the text."""
        return self._tokenizer.encode(text, add_special_tokens=False)

    def decode_each(self, ids: list[int]) -> list[str]:
        """One string an id; part of a UTF-8 sequence reads U+FFFD, an unused id ''."""
        return [
            self._tokenizer.decode(
                [token], skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
            for token in ids
        ]

    def decode(self, sequences: list[list[int]]) -> list[str]:
        """One string a sequence, special tokens left out, as an engine's API gives it."""
        return [
            self._tokenizer.decode(
                ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            for ids in sequences
        ]

    def are_special(self, ids: list[int]) -> list[bool]:
        return [token in self._special for token in ids]


class NoTokens:
    """In place of `Tokens` where the tokenizer is not to be had: refuses what would need it."""

    def __init__(self, reason: str) -> None:
        self.lacking = reason

    def render(self, *_: object) -> list[int]:
        raise RequestError(f"this server takes and gives token ids only: {self.lacking}")

    encode = decode = decode_each = are_special = render


def _with_parsed_arguments(message: dict) -> dict:
    """Tool-call arguments as objects, which is what chat templates iterate over.

    As vLLM does before rendering (vllm/renderers/chat_utils.py, `_postprocess_messages`), but for
    malformed JSON, which is refused here and taken for {} there.
    """
    if message.get("role") != "assistant" or not isinstance(message.get("tool_calls"), list):
        return message
    if not message["tool_calls"]:
        return {key: value for key, value in message.items() if key != "tool_calls"}
    return message | {"tool_calls": [_parsed_call(call) for call in message["tool_calls"]]}


def _parsed_call(call: object) -> dict:
    if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
        raise RequestError(f"tool_calls: {call!r}; expected an object with a function")
    arguments = call["function"].get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except json.JSONDecodeError as error:
            raise RequestError(f"tool_calls: arguments {arguments!r}: not JSON") from error
    if not isinstance(arguments, dict):
        raise RequestError(f"tool_calls: arguments {arguments!r}; expected an object")
    return call | {"function": call["function"] | {"arguments": arguments}}
