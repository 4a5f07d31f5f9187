"""Whether a model's weights are all there, told from names and headers in milliseconds.

A shard that is missing or cut short is the usual end of an interrupted download; found here, not
after the other 600 GB were read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from harness.base.errors import ConfigError

# model-00001-of-00064, model-00001-of-000163 (DeepSeek V3), model-1-of-61 (Kimi K2)
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d+)-of-(?P<total>\d+)\.safetensors")
LENGTH_BYTES = 8  # a safetensors file: length of the header, header as JSON, tensors end to end
HEADER_LIMIT_BYTES = 100_000_000  # the format's own limit
SHOWN = 3


def named_by_indexes(folder: Path) -> set[str]:
    """The files, relative to `folder`, that its safetensors indexes say hold the weights."""
    names: set[str] = set()
    for index in folder.glob("*.safetensors.index.json"):
        names |= _named_by(index)
    return names


def require_all(folder: Path) -> None:
    """Raises ConfigError where a shard that an index or another shard's name tells of is missing.

    Also where a shard lies outside the folder: nothing a checkpoint says may lead elsewhere.
    """
    named = named_by_indexes(folder)
    outside = sorted(n for n in named if Path(n).is_absolute() or ".." in Path(n).parts)
    if outside:
        raise ConfigError(f"{folder}: its index names {outside[0]!r}, which is not in the folder")
    expected = named | _siblings(path.name for path in folder.glob("*.safetensors"))
    missing = sorted(name for name in expected if not (folder / name).is_file())
    if missing:
        shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        raise ConfigError(
            f"{folder}: {len(missing)} of {len(expected)} weight files are missing: {shown}; "
            "the download did not end: start it again"
        )


def require_whole(path: Path) -> None:
    """Raises ConfigError unless a safetensors file is as long as its own header says."""
    size_bytes = path.stat().st_size
    expected_bytes = _expected_bytes(path, size_bytes)
    if size_bytes != expected_bytes:
        wrong = "cut short" if size_bytes < expected_bytes else "too long"
        raise ConfigError(
            f"{path} is {wrong}: {size_bytes} bytes, and its header tells of {expected_bytes}; "
            "download it again"
        )


def _named_by(index: Path) -> set[str]:
    try:
        weight_map = json.loads(index.read_bytes())["weight_map"]
        return {str(name) for name in weight_map.values()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{index}: is not an index of safetensors files, a JSON object with a weight_map"
        ) from error


def _siblings(names: Iterable[str]) -> set[str]:
    """All shards of each set of which one is there; and files that are no shards, themselves."""
    expected: set[str] = set()
    numbers: dict[tuple[str, str], list[str]] = {}
    for name in names:
        shard = SHARD.fullmatch(name)
        if shard is None:
            expected.add(name)
        else:
            numbers.setdefault((shard["stem"], shard["total"]), []).append(shard["number"])
    for (stem, total), there in numbers.items():
        digits = len(there[0]) if any(number.startswith("0") for number in there) else 1
        counted = (f"{number:0{digits}}" for number in range(1, int(total) + 1))
        expected |= {f"{stem}-{number}-of-{total}.safetensors" for number in counted}
    return expected


def _expected_bytes(path: Path, size_bytes: int) -> int:
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(LENGTH_BYTES), "little")
        before_tensors = LENGTH_BYTES + header_bytes
        if header_bytes > HEADER_LIMIT_BYTES:
            raise ConfigError(f"{path}: is not a safetensors file; download it again")
        if size_bytes < before_tensors:
            return before_tensors  # at least: the rest is told by what is missing
        header = file.read(header_bytes)
    try:
        table = cast("dict[str, Any]", json.loads(header))
        ends = [int(t["data_offsets"][1]) for k, t in table.items() if k != "__metadata__"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ConfigError(f"{path}: its header is not that of a safetensors file") from error
    return before_tensors + max(ends, default=0)
