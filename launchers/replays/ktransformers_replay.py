"""The parsers of KTransformers' fork of SGLang, driven by its own `OpenAIServingChat`.

Read in 0.7.2: `_generate_chat_stream` and `_build_chat_response` use the parsers as SGLang's do,
but tell them nothing of an answer's end.
"""

import logging
from importlib.metadata import version
from types import SimpleNamespace

import replaying_sglang
from sglang.srt.configs.model_config import ModelConfig
from sglang.srt.managers.detokenizer_manager import DetokenizerManager
from sglang.srt.managers.template_manager import TemplateManager
from sglang.srt.server_args import prepare_server_args
from sglang.srt.utils.hf_transformers_utils import get_tokenizer


def manager(argv):
    """What its server is made with, as far as the parsers need it."""
    arguments = prepare_server_args(argv)
    tokenizer = get_tokenizer(
        arguments.tokenizer_path,
        tokenizer_mode=arguments.tokenizer_mode,
        trust_remote_code=arguments.trust_remote_code,
        revision=arguments.revision,
    )
    return SimpleNamespace(
        model_config=ModelConfig.from_server_args(arguments),
        model_path=arguments.model_path,
        server_args=arguments,
        tokenizer=tokenizer,
    )


def templates(manager):
    made = TemplateManager()
    made.load_chat_template(manager, manager.server_args.chat_template, manager.model_path)
    return made


def detokenizer(manager):
    made = DetokenizerManager.__new__(DetokenizerManager)  # its own constructor opens sockets
    made.tokenizer = manager.tokenizer
    made.decode_status = {}
    made.is_dummy = made.is_tool_call_parser_gpt_oss = False
    made.disable_tokenizer_batch_decode = manager.server_args.disable_tokenizer_batch_decode
    return made


logging.disable(logging.WARNING)
replaying_sglang.main(version("sglang-kt"), manager, templates, detokenizer)
