"""The argument parser of KTransformers' fork of SGLang, and what it lets through: the methods of
kt-kernel, the parallel layout, misspelt variables.

Its `prepare_server_args` goes on to ask for the model and the GPU, which are not here: the same
parser is run, and the arguments are then not resolved.
"""

import importlib.util
from argparse import ArgumentParser
from importlib.metadata import version
from pathlib import Path

import answering
import sglang
from kt_kernel.experts import INFERENCE_METHODS
from sglang.srt.environ import envs
from sglang.srt.server_args import ServerArgs

PARSER = ArgumentParser(prog="sglang.launch_server")
ServerArgs.add_cli_args(PARSER)
PACKAGES = [Path(sglang.__file__).parent, Path(importlib.util.find_spec("kt_kernel").origin).parent]


def check(command):
    arguments, problems = answering.parsed(PARSER, command["argv"], PARSER.parse_args)
    if arguments is not None:
        problems += accepted(arguments, command)
    problems += answering.shortened(PARSER, command["argv"])
    declared = [name for name in dir(type(envs)) if name.startswith("SGLANG_")]
    return problems + answering.unread(command["env"], ("SGLANG_", "KT_"), declared, PACKAGES)


def accepted(arguments, command):
    yield from answering.unknown_name("--kt-method", arguments.kt_method, sorted(INFERENCE_METHODS))
    tensor = arguments.tensor_parallel_size
    attention = arguments.data_parallel_size if arguments.enable_dp_attention else 1
    replicas = 1 if arguments.enable_dp_attention else arguments.data_parallel_size
    yield from answering.layout(
        command,
        ranks=tensor * arguments.pipeline_parallel_size * replicas,
        nodes=arguments.nnodes,
        inside=[
            ("--tensor-parallel-size", tensor),
            ("--expert-parallel-size", arguments.expert_parallel_size),
            ("--data-parallel-size", attention),
        ],
    )


answering.main(version("sglang-kt"), check)
