"""Counts how often a check would err: `simulate_error_rates.py [--trace T]`, minutes on two cores.

Nulls whose corpus mean stands exactly at tau, and engines and faults of known size, go through the
product's own rule: 6 strata of 80 prompts, 4 statistics, one permutation a stratum, strata drawn in
turn, a look after every single prompt. The formulas are those of `harness.checker.eprocess`, over
many runs at once; before anything is counted, they are held against EProcess and Judge themselves.

The statistics of one prompt move together (A, K and F have the same ranks, and the worst prompts
are the bad sequences), as they do in engines: this is harder on DIFFERENT than independence.
Exit code 1 where an observed rate exceeds its bound.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from harness import session
from harness.checker.eprocess import THETAS, TIE, EProcess
from harness.checker.judge import STATISTICS, Judge
from harness.checker.outcome import Word
from harness.checker.shares import SHARES
from harness.checker.tolerance import CAP, SPARSE_SHARE, Tolerance
from harness.recording import Trace

Array = npt.NDArray[np.float64]
Shape = Callable[[np.random.Generator, tuple[int, ...]], Array]

ALPHA, BETA = 0.005 * SHARES["L2"], 0.005  # of one Judge
STRATA, PROMPTS, BULK = 6, 80, 3  # A, K and F are bulk statistics, S is not
MEANS = np.array([1 / statistic.cap for statistic in STATISTICS])  # (4,) m of each
AT_Q = round(SPARSE_SHARE * PROMPTS)  # bad sequences in a stratum whose share is exactly q
CHUNK = 100  # runs held in memory at once
UNDECIDED = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """What is simulated. Lengths in tau; bad sequences of 80."""

    title: str
    shape: str
    bulk: tuple[tuple[float, ...], ...]  # (6, 3) corpus means of A, K and F
    bad: tuple[int, ...]  # (6,)

    @property
    def kind(self) -> str:
        """null: its rates are bounded. fault: its means hold before units are clipped at 4 tau."""
        return self.title.partition(" ")[0].rstrip(":")


def populations(shapes: Sequence[str]) -> Iterator[Population]:
    half, one, most, double, four = ((size,) * BULK for size in (0.5, 1.0, 0.8, 2.0, 4.0))
    rest, clean = [half] * (STRATA - 1), [0] * (STRATA - 1)
    table: list[tuple[str, list[tuple[float, ...]], list[int]]] = [
        ("null (a): all series at tau", [one] * STRATA, [AT_Q] * STRATA),
        ("null (b): one stratum at tau, others tau/2", [one, *rest], [AT_Q, *clean]),
        ("null (b'): one series at tau, others tau/2", [(1.0, 0.5, 0.5), *rest], [0, *clean]),
        ("null (c): q bad in one stratum, all tau/2", [half, *rest], [AT_Q, *clean]),
        ("benign: all tau/2", [half, *rest], [0, *clean]),
        ("benign: all tau/1.25", [most] * STRATA, [0, *clean]),
        ("fault: all 2 tau", [double] * STRATA, [0, *clean]),
        ("fault: one stratum 2 tau, others tau/2", [double, *rest], [0, *clean]),
        ("fault: all 4 tau", [four] * STRATA, [0, *clean]),
        ("fault: 4 q bad in one stratum, all tau/2", [half, *rest], [4 * AT_Q, *clean]),
    ]
    for shape in shapes:
        for title, bulk, bad in table:
            yield Population(title=title, shape=shape, bulk=tuple(bulk), bad=tuple(bad))


def jitter(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    return rng.uniform(0.9, 1.1, size)


def lognormal(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    return rng.lognormal(0, 1, size)


def few_large(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """One prompt in eight is about fifty times the others."""
    return rng.uniform(0.5, 1.5, size) * np.where(np.arange(size[-1]) % 8 == 0, 50.0, 1.0)


def like_pool(vectors: Array, rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Prompts of one benign configuration in one stratum, drawn with replacement: A and K of the
    same prompts, and F all or nothing."""
    chosen = vectors[rng.integers(len(vectors), size=size[:-2])]  # (..., 2, prompts)
    prompts = rng.integers(vectors.shape[-1], size=(*size[:-2], 1, size[-1]))
    found = np.take_along_axis(chosen, prompts, axis=-1)
    return np.concatenate([found, all_or_nothing((*size[:-2], 1, size[-1]))], axis=-2)


def all_or_nothing(size: tuple[int, ...]) -> Array:
    """As many prompts at their clip as `scaled` needs, one that makes up the sum, the rest 0."""
    return np.broadcast_to(10.0 ** (-3.0 * np.arange(size[-1])), size)


def pool_vectors(trace: Trace) -> Array:
    """(configurations x strata, 2, prompts): A and K of each prompt in the pool, as in a check.

    Left out: what agrees to the bit in over half of the prompts, for it cannot be scaled to tau. F
    is 0 in a pool, and where it is not, one token that flips is a unit at its clip: ValueError for
    a trace where it would be less.
    """
    longest = max(trace.tokens_of)
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for numerics in (table["numerics"] for table in trace.manifest["tolerances"]):
        tolerances = session.tolerances_of(trace, numerics)
        if max(CAP * one.tau_f for one in tolerances.strata) > 1 / longest:
            raise ValueError(f"{trace.path}, {numerics}: one flipped token is less than 4 tau of F")
        for unit in trace.pool().only(numerics):
            held = tolerances.of(unit.stratum)
            both = tuple(one.of_one(unit.distance, held) for one in STATISTICS if one.name in "AK")
            found.setdefault((unit.configuration, unit.stratum), []).append(both)
    shortest = min(map(len, found.values()))
    vectors = np.array([np.transpose(values[:shortest]) for values in found.values()])
    return vectors[((vectors > 0).mean(axis=-1) > 0.5).all(axis=-1)]


def scaled(values: Array, target: Array) -> Array:
    """`values` (..., 80) times a constant, clipped at 4, so that the mean is `target` (...)."""
    aim, values = target[..., None] * PROMPTS, values.copy()
    full = np.zeros(values.shape, dtype=bool)
    while True:  # whatever is clipped once stays so: the constant only grows
        open_sum = np.where(full, 0, values).sum(axis=-1, keepdims=True)
        room = aim - CAP * full.sum(axis=-1, keepdims=True)
        values = np.where(full, CAP, values * (room / open_sum))
        if values.max() <= CAP:
            break
        full |= values >= CAP
    if np.abs(values.mean(axis=-1) - target).max() > 1e-12 or values.min() < 0:
        raise AssertionError("a population does not stand at its mean")
    return values


def draw(population: Population, shape: Shape, runs: int, rng: np.random.Generator) -> Array:
    """Units in [0, 1] (runs, 6, 4, 80), in the order in which they are drawn."""
    target = np.broadcast_to(np.array(population.bulk), (runs, STRATA, BULK))
    values = shape(rng, (runs, STRATA, BULK, PROMPTS))
    if population.kind != "fault":
        values = scaled(values, target)
    else:
        values = np.minimum(values * (target / values.mean(axis=-1))[..., None], CAP)
    bad = np.arange(PROMPTS) >= PROMPTS - np.array(population.bad)[:, None]  # (6, 80) the worst
    sparse = np.broadcast_to(bad[None, :, None], (runs, STRATA, 1, PROMPTS))
    units = np.concatenate([np.sort(values) / CAP, sparse], axis=2)
    order = rng.random((runs, STRATA, 1, PROMPTS)).argsort(axis=-1)
    return np.take_along_axis(units, order, axis=-1)


def log_wealths(units: Array) -> tuple[Array, Array]:
    """ln E_diff and ln E_eq after each unit, both (..., 4, 80): `EProcess` over many runs."""
    total = np.cumsum(units, axis=-1)
    before = np.concatenate([np.zeros_like(total[..., :1]), total[..., :-1]], axis=-1)
    left = PROMPTS - np.arange(PROMPTS)
    above = PROMPTS * MEANS[:, None] - before  # left * m_i
    below = left - above
    m = above / left
    different = _log_wealth((units - m) / np.where(above > TIE, m, 1), above > TIE)
    equivalent = _log_wealth((m - units) / np.where(below > TIE, 1 - m, 1), below > TIE)
    over = (above < -TIE) | ((above <= TIE) & (units - above > TIE))
    under = (below < -TIE) | ((below <= TIE) & (1 - units - below > TIE))
    different[np.logical_or.accumulate(over, axis=-1)] = math.inf
    equivalent[np.logical_or.accumulate(under, axis=-1)] = math.inf
    return different, equivalent


def _log_wealth(gain: Array, played: npt.NDArray[np.bool_]) -> Array:
    """ln of the mean over theta of prod (1 + theta gain)."""
    gain = np.where(played, gain, 0.0)
    logs = np.stack([np.cumsum(np.log1p(theta * gain), axis=-1) for theta in THETAS])
    highest = logs.max(axis=0)
    return highest + np.log(np.exp(logs - highest).mean(axis=0))


def decide(units: Array) -> tuple[Array, Array]:
    """(runs,) after how many looks, one a prompt, DIFFERENT and EQUIVALENT; one is UNDECIDED."""
    different, equivalent = log_wealths(units)
    settled = (equivalent >= -math.log(BETA)).all(axis=2)  # (runs, 6, 80)
    settled_at = np.where(settled.any(axis=-1), settled.argmax(axis=-1), PROMPTS)  # (runs, 6)
    # A settled stratum is not drawn any further.
    seen = np.minimum(np.arange(PROMPTS), np.minimum(settled_at, PROMPTS - 1)[..., None])
    different = np.take_along_axis(different, seen[:, :, None], axis=-1)
    enough = 4 / ALPHA * STRATA * len(STATISTICS)  # more wealth than this decides alone
    different = np.minimum(different, math.log(enough))
    alone = 1 + _in_turn(np.exp(different).mean(axis=2)[:, :, None] / STRATA, 1 / STRATA)
    products = np.exp(np.minimum(_in_turn(different, 0.0), math.log(enough)))  # (runs, 480, 4)
    rich = (alone[..., 0] + products.mean(axis=-1)) / 2 >= 1 / ALPHA
    differ = np.where(rich.any(axis=-1), rich.argmax(axis=-1) + 1.0, UNDECIDED)
    last = (settled_at * STRATA + np.arange(STRATA)).max(axis=-1) + 1.0
    equal = np.where((settled_at < PROMPTS).all(axis=-1), last, UNDECIDED)
    return np.where(differ <= equal, differ, UNDECIDED), np.where(equal < differ, equal, UNDECIDED)


def _in_turn(values: Array, first: float) -> Array:
    """(runs, 6, k, 80) -> (runs, 480, k): how much their sum over strata has grown by each draw."""
    steps = np.diff(values, axis=-1, prepend=first).transpose(0, 3, 1, 2)
    return steps.reshape(len(values), -1, values.shape[2]).cumsum(axis=1)


def require_same_as_product(units: Array) -> None:
    """AssertionError where a run (6, 4, 80) is not what EProcess and Judge make of it."""
    different, equivalent = log_wealths(units)
    for place in np.ndindex(units.shape[:2]):
        process = EProcess(population=PROMPTS, mean=float(MEANS[place[1]]))
        for i, x in enumerate(units[place]):
            process.extend([x])
            pair = (process.log_different, process.log_equivalent)
            ours = (different[(*place, i)], equivalent[(*place, i)])
            np.testing.assert_allclose(ours, pair, rtol=1e-7, atol=1e-9)
    looks, word = _looks_of_judge(units)
    differ, equal = (float(answer[0]) for answer in decide(units[None]))
    ours = {Word.DIFFERENT: differ, Word.EQUIVALENT: equal, Word.INCONCLUSIVE: UNDECIDED}
    if min(differ, equal) != ours[word] or ours[word] not in (looks, UNDECIDED):
        raise AssertionError(f"Judge: {word} after {looks}; here: {differ}, {equal}")


def _looks_of_judge(units: Array) -> tuple[int, Word]:
    zeros = dict.fromkeys(Tolerance.__dataclass_fields__, 0.0)
    tolerance = Tolerance(**{**zeros, "stratum": "any"})  # type: ignore[arg-type]
    groups = {str(s): (PROMPTS, tolerance) for s in range(STRATA)}
    judge = Judge(level="L2", groups=groups, alpha=ALPHA, beta=BETA, together=True)
    looks = 0
    for i, s in np.ndindex(PROMPTS, STRATA):
        looks += 1
        if not judge.settled(str(s)):
            for series, x in zip(judge._series[str(s)], units[s, :, i], strict=True):
                series.process.extend([x])
        if judge.word() is not Word.INCONCLUSIVE:
            break
    return looks, judge.word()


def count(population: Population, shape: Shape, runs: int, seed: list[int]) -> tuple[Array, Array]:
    """`decide` of one chunk, from its own seed: the same on any number of cores."""
    return decide(draw(population, shape, runs, np.random.default_rng(seed)))


def upper(hits: int, runs: int) -> float:
    """The one-sided 95 % Clopper-Pearson bound: the rate at which `hits` or fewer come in 5 %."""
    return 1.0 if hits == runs else float(stats.beta.ppf(0.95, hits + 1, runs - hits))


def prompts(looks: Array) -> str:
    """Median and 90 % of prompts drawn in each stratum."""
    per_stratum = np.ceil(looks / STRATA)
    cells = [float(np.quantile(per_stratum, q, method="higher")) for q in (0.5, 0.9)]
    return " / ".join("not in 80" if math.isinf(cell) else f"{cell:.0f}" for cell in cells)


def row(population: Population, differ: Array, equal: Array) -> tuple[str, bool]:
    """A line of the table, and whether an observed rate exceeds its bound."""
    cells = [population.title, population.shape, f"{len(differ)}"]
    exceeded = False
    for looks, bound in ((differ, ALPHA), (equal, BETA)):
        hits, runs = int(np.isfinite(looks).sum()), len(looks)
        exceeded |= population.kind == "null" and hits / runs > bound
        cells += [f"{hits / runs:.4f}", f"{upper(hits, runs):.4f}"]
    cells.append({"null": "", "fault": prompts(differ), "benign": prompts(equal)}[population.kind])
    return f"| {' | '.join(cells)} |{' EXCEEDED' if exceeded else ''}", exceeded


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=10_000, help="of a null; a tenth for power")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trace", type=Path, help="also takes the shape of A, K and F from it")
    options = parser.parse_args()
    shapes: dict[str, Shape] = {
        "constant with jitter": jitter,
        "lognormal": lognormal,
        "few large": few_large,
    }
    if options.trace is not None:
        shapes["benign pool"] = functools.partial(like_pool, pool_vectors(Trace(options.trace)))
    began, any_exceeded = time.monotonic(), False
    rng = np.random.default_rng(options.seed)
    for population in populations(tuple(shapes)):
        require_same_as_product(draw(population, shapes[population.shape], 1, rng)[0])
    print(f"Bounds, of one Judge: DIFFERENT {ALPHA}, EQUIVALENT {BETA}; 95 %: Clopper-Pearson\n")
    print("| corpus | shape | runs | DIFFERENT | 95 % | EQUIVALENT | 95 % | prompts 50 / 90 % |")
    print("|---|---|---:|---:|---:|---:|---:|---:|", flush=True)
    with ProcessPoolExecutor() as processes:
        for place, population in enumerate(populations(tuple(shapes))):
            chunks = math.ceil(options.runs / CHUNK / (1 if population.kind == "null" else 10))
            work = functools.partial(count, population, shapes[population.shape], CHUNK)
            parts = list(processes.map(work, [[options.seed, place, i] for i in range(chunks)]))
            differ, equal = (np.concatenate(part) for part in zip(*parts, strict=True))
            line, exceeded = row(population, differ, equal)
            print(line, flush=True)
            any_exceeded |= exceeded
    print(f"\n{time.monotonic() - began:.0f} s", file=sys.stderr)
    return int(any_exceeded)


if __name__ == "__main__":
    sys.exit(main())
