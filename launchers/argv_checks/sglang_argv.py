"""SGLang's own `prepare_server_args`, which knows its parsers' names too, and what it lets through:
the parallel layout and misspelt variables.

In 0.5.23 it stops before the arguments are resolved against the model and the GPU: neither is here.
"""

import logging
from argparse import ArgumentParser
from importlib.metadata import version
from pathlib import Path

import answering
import sglang
from sglang.srt.environ import envs
from sglang.srt.server_args import ServerArgs, prepare_server_args

PARSER = ArgumentParser(prog="sglang serve")
ServerArgs.add_cli_args(PARSER)


def check(command):
    arguments, problems = answering.parsed(PARSER, command["argv"], prepare_server_args)
    if arguments is not None:
        problems += layout(arguments, command)
    problems += answering.shortened(PARSER, command["argv"])
    package = Path(sglang.__file__).parent
    declared = [name for name in dir(type(envs)) if name.startswith("SGLANG_")]
    return problems + answering.unread(command["env"], "SGLANG_", declared, [package])


def layout(arguments, command):
    tensor = arguments.tp_size
    old = arguments.enable_dp_attention  # then --dp-size lies inside the tensor-parallel group
    attention = arguments.dp_size if old else arguments.attn_dp_size
    return answering.layout(
        command,
        ranks=tensor * arguments.pp_size * (1 if old else arguments.dp_size),
        nodes=arguments.nnodes,
        inside=[
            ("--tp-size", tensor),
            ("--ep-size", arguments.ep_size),
            ("--dp-size" if old else "--attn-dp-size", attention),
        ],
    )


logging.disable(logging.WARNING)
answering.main(version("sglang"), check)
