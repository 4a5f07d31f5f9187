"""Symmetric int4 in groups along the input dimension, packed as compressed-tensors packs it.

A scale keeps five significant bits, so that an integer of at most three times a scale is a bfloat16
exactly: whether an engine multiplies in bfloat16 or fp32, its dequantised weights are the same.
"""

import numpy as np
import numpy.typing as npt

GROUP_SIZE = 32
BITS = 4
LOWEST, HIGHEST = -8, 7
SCALE_BITS = 5  # of bfloat16's eight; the integer takes the other three
SMALLEST = 2.0**-100  # the scale of a group of zeros

Floats = npt.NDArray[np.float32]


def quantise(weight: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """(N, K) -> integers (N, K) and scales (N, K / GROUP_SIZE), to nearest."""
    rows, columns = weight.shape
    if columns % GROUP_SIZE:
        raise ValueError(f"{columns} input features; they must be a multiple of {GROUP_SIZE}")
    groups = weight.reshape(rows, columns // GROUP_SIZE, GROUP_SIZE)
    span = (HIGHEST - LOWEST) / 2
    scales = round_significand(np.maximum(np.abs(groups).max(axis=2) / span, SMALLEST))
    integers = np.clip(np.rint(groups / scales[:, :, None]), LOWEST, HIGHEST)
    return integers.astype(np.int8).reshape(rows, columns), scales


def round_significand(values: Floats) -> Floats:
    """Each value to the nearest one of SCALE_BITS significant bits."""
    significands, exponents = np.frexp(values)
    steps = np.float32(2**SCALE_BITS)
    return np.ldexp(np.rint(significands * steps) / steps, exponents)


def pack(integers: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    """(N, K) -> (N, K / 8): eight in an int32, each plus 8, the first in the lowest bits."""
    rows, columns = integers.shape
    per_word = 32 // BITS
    nibbles = (integers.astype(np.int64) - LOWEST).reshape(rows, columns // per_word, per_word)
    words = (nibbles << (BITS * np.arange(per_word))).sum(axis=2)
    return words.astype(np.uint32).view(np.int32)
