"""Keeps the int4 weights of RAWINT4 in memory as long as the engine lives, where a pin asks for it.

kt-kernel 0.7.2's AVX2 kernel of RAWINT4 points into the tensors that it loaded and copies nothing,
while kt_kernel/utils/amx.py drops them when a layer is loaded, and unmaps the file. So the engine
answers from freed memory: it dies, or says nonsense with HTTP 200. Its other kernels copy.
"""

import os

import around_import

ASKED = "ENGINEDIFF_KT_KEEP_WEIGHTS"
KEPT = []


def install():
    if os.environ.get(ASKED) == "1":
        around_import.after("kt_kernel.utils.loader", _keep)


def _keep(loader):
    load = loader.CompressedSafeTensorLoader.load_experts

    def load_and_keep(self, *arguments, **named):
        experts = load(self, *arguments, **named)
        KEPT.append(experts)
        return experts

    loader.CompressedSafeTensorLoader.load_experts = load_and_keep
