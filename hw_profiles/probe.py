"""Reads this node: its GPUs, the machine around them, the disk of a model's folder."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from hw_profiles import disk, nvml, system
from hw_profiles.reading import Node


def probe(folder: Path | None) -> Node:
    """This node, now. `folder`: where a model is or will be; None: no disk is read.

    Takes a second without a folder, at most a few more with one; changes nothing.
    """
    return Node(
        driver=nvml.read(),
        visible_gpus=os.environ.get("CUDA_VISIBLE_DEVICES"),
        system=system.read(),
        disk=None if folder is None else disk.read(folder),
        read_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
