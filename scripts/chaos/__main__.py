"""Kills and faults, again and again, over runs whose right results are known.

    python -m scripts.chaos [--faults 200] [--seed 0] [--keep FOLDER]

Five runs of `enginediff run` against a deterministic fake engine, each after one without any fault:

    raw         by URL, every fault of `server.py`; the driver is killed (SIGKILL) again and again
    chat        the same by the chat API, where nothing can be continued
    supervised  the fake in vLLM's place, started by the driver; both are killed
    full disk   a tmpfs that fills up, and is cleared (needs the right to mount)
    two servers of a Ray cluster: one is killed, and back, or cut off; the driver, a worker or an
                engine is killed (needs the right to make namespaces)

Each has to come to the same results as the undisturbed one: none lost, none twice, unbroken
journals; and raw, at most 1 % of tokens generated again. Exit code 1 where it does not.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from scripts.chaos import disk, judging, over_ray
from scripts.chaos.driving import Scene
from scripts.chaos.judging import Found

FAULTS = {
    "rate_limited": 0.04,
    "server_error": 0.03,
    "reset_before": 0.03,
    "stall": 0.02,
    "cut": 0.05,
    "reset_middle": 0.03,
    "drip": 0.03,
    "wrong_json": 0.02,
    "told": 0.02,
    "garbage_after_done": 0.03,
    "half_done": 0.02,
    "html": 0.02,
}
AGAIN = 0.01  # of tokens, where the server can continue


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=200, help="kills and faults, at least")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=SCENES, default=[*SCENES])
    parser.add_argument("--keep", type=Path, help="a new folder for all that comes of it")
    options = parser.parse_args()
    began = time.monotonic()
    if options.keep is not None:
        options.keep.mkdir(parents=True)
    place = nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory()
    with place as folder:
        found = scenes(Path(folder).absolute(), random.Random(options.seed), options.only)
    faults = sum(one.kinds.total() for one in found)
    print(f"{faults} kills and faults in {time.monotonic() - began:.0f} s")
    wrong = [problem for one in found for problem in one.problems]
    if faults < options.faults and len(options.only) == len(SCENES):
        wrong.append(f"{faults} kills and faults; {options.faults} were to be made")
    for problem in wrong:
        print(f"WRONG: {problem}")
    return 1 if wrong else 0


def scenes(folder: Path, rng: random.Random, only: Sequence[str]) -> list[Found]:
    found: list[Found] = []
    for name in only:
        scene = Scene(name=name, folder=folder / name.replace(" ", "-"), rng=rng)
        one = SCENES[name](scene)
        print(one.line(), flush=True)
        found.append(one)
    return found


def raw(scene: Scene) -> Found:
    """At most 1 % of its tokens are generated again."""
    found = by_url(scene, "tiny-tasks-raw", epochs=5, kills=10)
    if found.again is None or found.again > AGAIN:
        found.problems.append(f"raw: {found.again} of its tokens were generated again")
    return found


def chat(scene: Scene) -> Found:
    return by_url(scene, "tiny-tasks", epochs=3, kills=5)


def by_url(scene: Scene, suite: str, *, epochs: int, kills: int) -> Found:
    with scene.server("undisturbed", faults={}) as url:
        scene.run("undisturbed", url, suite, epochs)
    with scene.server("disturbed", faults=FAULTS) as url:
        killed = scene.run_and_kill("disturbed", url, suite, epochs, kills=kills)
    return judging.judged(scene, made={"kill": killed})


def supervised(scene: Scene) -> Found:
    """Engine and driver are killed in turn; the engine ends by itself at times."""
    with scene.launched("undisturbed", faults={}) as pin:
        scene.run("undisturbed", pin, "tiny-tasks-raw", 5)
    with scene.launched("disturbed", faults={"restart": 0.01}) as pin:
        killed = scene.run_and_kill("disturbed", pin, "tiny-tasks-raw", 5, kills=16, engines=True)
    return judging.judged(scene, made={"kill": killed}, counted=False)


def full_disk(scene: Scene) -> Found:
    with scene.server("undisturbed", faults={}) as url:
        scene.run("undisturbed", url, "tiny-tasks-raw", 3)
    with (
        disk.small(scene.folder / "disturbed") as filled,
        scene.server("disturbed", faults={}) as url,
    ):
        if filled is None:
            return Found(name=scene.name, note="not run: no right to mount a tmpfs")
        problems = disk.run_full(scene, url, filled)
        found = judging.judged(scene, made={"full disk": 1})
    found.problems += problems
    return found


SCENES: Mapping[str, Callable[[Scene], Found]] = {
    "raw": raw,
    "chat": chat,
    "supervised": supervised,
    "full disk": full_disk,
    "two servers": over_ray.two_servers,
}


if __name__ == "__main__":
    sys.exit(main())
