"""int4 weights as compressed-tensors packs them, which is how Kimi K2 is published, to floats.

In place of NAME.weight of a linear layer with O outputs and I inputs, the checkpoint holds

    NAME.weight_packed  (O, ceil(I / 8)) int32: eight inputs a word, the first in the lowest 4 bits,
                        each value + 8, in [0, 15]
    NAME.weight_scale   (O, I / group_size): one a group of consecutive inputs
    NAME.weight_shape   (2,): O, I

and weight = value x scale (compressed-tensors 0.17.0, `compressors/pack_quantized`: the format is
read from there, the code is ours).

A 4-bit integer times a scale of 16 bits has 15 significant bits at most, so the product is exact in
float32 (in float64 for scales of float32). It is then rounded once, to the computation's dtype: a
float32 computation uses the very numbers that the checkpoint means, and a bfloat16 one rounds each
to bfloat16, as engines do that dequantise to their activations' dtype.
"""

import torch
from torch import Tensor

PACKED, SCALE, SHAPE = ".weight_packed", ".weight_scale", ".weight_shape"
VALUES_PER_WORD = 8
ZERO = 8  # what is added to a value before it is packed


def unpacked(packed: Tensor, inputs: int) -> Tensor:
    """(O, ceil(I / 8)) int32 -> (O, I) int8 in [-8, 7]."""
    pairs = packed.contiguous().view(torch.uint8)  # (O, 4 W), the lowest byte of a word first
    nibbles = torch.stack((pairs & 15, pairs >> 4), dim=-1).flatten(1)  # (O, 8 W)
    return nibbles[:, :inputs].to(torch.int8) - ZERO


def dequantised(packed: Tensor, scale: Tensor, inputs: int) -> Tensor:
    """(O, W) int32 and (O, G) -> (O, I), exact; I is a multiple of G."""
    exact = torch.float64 if scale.dtype.itemsize > 2 else torch.float32
    values = unpacked(packed, inputs).to(exact).unflatten(1, (scale.shape[1], -1))  # (O, G, I / G)
    return (values * scale.to(exact)[..., None]).flatten(1)
