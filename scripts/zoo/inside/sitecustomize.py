"""Python imports this by itself when it starts, in every process of an engine that has this folder
on its path: it puts the fault that ENGINEDIFF_FAULT names into vLLM, where vLLM has no flag for it.
"""

import os

import vllm_faults

if "ENGINEDIFF_FAULT" in os.environ:
    vllm_faults.install(os.environ["ENGINEDIFF_FAULT"])
