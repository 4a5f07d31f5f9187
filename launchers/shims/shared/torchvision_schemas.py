"""Two operator schemas of torchvision, without which it cannot be imported beside a CPU torch.

The library that defines them is linked to CUDA and does not load; torchvision then registers shape
functions for operators that do not exist, and fails. No image passes through a text model.
"""

import around_import

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def install():
    around_import.before("torchvision", _define)


def _define():
    import torch

    if torch.version.cuda is not None:
        return
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", SCHEMA)
