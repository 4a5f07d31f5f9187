"""How the GPUs of a node are joined: by how many NVLinks each pair, directly or by switches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from hw_profiles.finding import Finding
from hw_profiles.reading import SWITCH, Gpu, Maybe, Unknown

SHOWN = 4


def nvlinks(first: Gpu, second: Gpu) -> Maybe[int]:
    """How many links join two GPUs, directly or by switches: 18 is NV18 of `nvidia-smi topo`."""
    if isinstance(first.links, Unknown):
        return first.links
    if isinstance(second.links, Unknown):
        return second.links
    switched = min(sum(e.to == SWITCH for e in links) for links in (first.links, second.links))
    return switched + sum(link.to == second.pci for link in first.links)


def of_gpus(gpus: Sequence[Gpu], wanted: int) -> Iterator[Finding]:
    """The pairs that are joined by another number of links than wanted; alike ones together."""
    pairs: dict[str, list[tuple[int, int]]] = {}
    for first, second in combinations(gpus, 2):
        count = nvlinks(first, second)
        shown = f"not known: {count.reason}" if isinstance(count, Unknown) else f"NV{count}"
        if shown != f"NV{wanted}":
            pairs.setdefault(shown, []).append((first.index, second.index))
    for shown, which in pairs.items():
        some = ", ".join(f"{first}-{second}" for first, second in which[:SHOWN])
        more = f" and {len(which) - SHOWN} more" if len(which) > SHOWN else ""
        yield Finding(
            severity="blocking" if shown == "NV0" else "warning",
            what=f"NVLink between GPUs {some}{more}",
            found=shown,
            wanted=f"NV{wanted} between each pair",
            remedy="see `nvidia-smi nvlink -s` and `nvidia-smi topo -m`; a link that is down "
            "needs a reset, the fabric manager, or repair",
        )
