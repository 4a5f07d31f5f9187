"""SGLang's own parsers, driven by its own `OpenAIServingChat`.

Read in 0.5.23: `_generate_chat_stream` gives the text of each output to `ReasoningParser` and what
that leaves to `FunctionCallParser`; `_build_chat_response` does so with the whole text. What the
engine would have handed them is made here by its `DetokenizerManager`.
"""

import logging
from importlib.metadata import version
from types import SimpleNamespace

import replaying_sglang
from sglang.srt.configs.model_config import ModelConfig
from sglang.srt.managers.detokenizer_manager import DetokenizerManager
from sglang.srt.parser.template_manager import TemplateManager
from sglang.srt.runtime_context import get_context, get_model, get_serving, publish
from sglang.srt.server_args import prepare_server_args
from sglang.srt.utils.hf_transformers_utils import get_tokenizer


def manager(argv):
    """What its server is made with, as far as the parsers need it."""
    arguments = prepare_server_args(argv)
    publish(arguments, role="tokenizer")
    tokenizer = get_tokenizer(
        get_serving().tokenizer_path,
        tokenizer_mode=get_serving().tokenizer_mode,
        trust_remote_code=get_model().trust_remote_code,
        revision=get_model().revision,
        tokenizer_backend=get_serving().tokenizer_backend,
    )
    return SimpleNamespace(
        config_value=lambda name: get_context().config_leaf(name),
        model_config=ModelConfig.from_server_args(arguments),
        model_path=arguments.model_path,
        server_args=arguments,
        tokenizer=tokenizer,
    )


def templates(manager):
    made = TemplateManager()
    made.load_chat_template(manager, get_serving().chat_template, manager.model_path)
    return made


def detokenizer(manager):
    made = DetokenizerManager.__new__(DetokenizerManager)  # its own constructor opens sockets
    made.tokenizer, made.vocab_size = manager.tokenizer, len(manager.tokenizer)
    made.decode_status = {}
    made.disable_tokenizer_batch_decode = get_serving().disable_tokenizer_batch_decode
    made.is_tool_call_parser_gpt_oss = False
    made.tool_close_token_ids = frozenset()
    return made


logging.disable(logging.WARNING)
replaying_sglang.main(version("sglang"), manager, templates, detokenizer)
