"""The reference server: an LLM computed plainly, so that engines can be compared with it.

    ENV/bin/python launchers/reference_server --model DIR --name NAME --port P ...

It runs in an environment of its own (torch, transformers, numpy, safetensors, jinja2) and imports
nothing else of the repository. Exit status 2: the arguments or the model folder are wrong.
"""

import argparse
import os
import sys
from pathlib import Path

# Read once, at the import of torch and transformers. Waiting threads sleep instead of spinning:
# 2 threads on 2 cores that others used too took 25 s for a scoring of 1.4 s.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # what deterministic sums on CUDA ask for
os.environ["HF_HUB_OFFLINE"] = "1"  # never reach for the network
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import torch
from reference_http import ReferenceHttpServer
from reference_log import log
from reference_requests import RequestError, check_flavour
from reference_service import ReferenceService, Streaming
from transformers.utils import logging


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="reference_server", allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True, help="a Hugging Face model folder")
    parser.add_argument("--name", required=True, help="the model's name in /identity")
    parser.add_argument("--host", required=True, help="a loopback address")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dtype", required=True, help="float32, bfloat16 or float64")
    parser.add_argument("--attention", required=True, help="eager or sdpa")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads for torch")
    parser.add_argument(
        "--implementation",
        default="transformers",
        help="transformers, direct; streamed-transformers, streamed-direct for a model that does"
        " not fit: weights from disk, layer by layer",
    )
    streamed = parser.add_argument_group("streamed")
    streamed.add_argument("--device", default="cpu", help="where layers are computed, as cuda:0")
    streamed.add_argument(
        "--memory-limit-gb",
        type=float,
        help="1e9 bytes of weights and activations at hand; without it, all sequences at once",
    )
    streamed.add_argument(
        "--work-folder",
        type=Path,
        default=Path("~/streamed").expanduser(),
        help="for the hidden states after each layer, from which a killed run goes on",
    )
    return parser.parse_args()


def streaming(arguments: argparse.Namespace) -> Streaming:
    limit = arguments.memory_limit_gb
    return Streaming(
        device=arguments.device,
        memory_limit_bytes=None if limit is None else int(limit * 1e9),
        work_folder=arguments.work_folder,
    )


def main() -> int:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    logging.disable_progress_bar()
    try:
        flavour = check_flavour(
            {
                "implementation": arguments.implementation,
                "dtype": arguments.dtype,
                "attention": arguments.attention,
            }
        )
        service = ReferenceService(
            arguments.model,
            name=arguments.name,
            flavour=flavour,
            threads=arguments.threads,
            streaming=streaming(arguments),
        )
    except (RequestError, OSError, ValueError) as error:
        print(f"reference_server: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    with ReferenceHttpServer(arguments.host, arguments.port, service) as server:
        log(f"serving {arguments.name} on http://{arguments.host}:{server.server_port}")
        server.serve_forever()
    return 0


sys.exit(main())
