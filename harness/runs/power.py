"""The power of a node's GPUs while an engine is asked there, as lines of its journal.

    power  watts [[412.1, 398.0, null, ...]]   of each GPU, by its index; null: it does not say

What NVML says of the boards, once a second: fans, processors and the power supply's losses are not
in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from harness.runs.writer import Writer
from hw_profiles.reading import Maybe, Unknown

EVERY_S = 1.0
KIND = "power"


async def sample(writer: Writer, read: Callable[[], list[Maybe[float]]]) -> None:
    """Until it is cancelled."""
    while True:
        watts = await asyncio.to_thread(read)
        writer.line(KIND, watts=[None if isinstance(w, Unknown) else round(w, 1) for w in watts])
        await asyncio.sleep(EVERY_S)
