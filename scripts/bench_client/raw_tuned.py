"""`raw_pieces` without a trap of asyncio's: what a client with aiohttp's stream can reach.

asyncio receives into a new object of 256 KiB and shrinks it to what came. glibc maps so large a
block anew each time, until the program has freed a larger one: then it takes it from its heap. That
was a third of the CPU time of a token. Whether a program is in the trap depends on what it did
before, so both are measured.
"""

from __future__ import annotations

from scripts.bench_client import load, raw
from scripts.bench_client.raw_pieces import read

LARGER = 1 << 20  # bytes; glibc's M_MMAP_THRESHOLD rises to it, mallopt(3)


if __name__ == "__main__":
    bytearray(LARGER)  # freed at once, which is the point
    load.main(raw.client(read))
