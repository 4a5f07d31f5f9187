"""The black box: a candidate's texts against the reference's, where nothing else is told.

Greedy decoding must give the very same text, up to where the reference itself nearly tied: an exact
binomial test. At T = 1 the answers of both to the same prompts must be such that one model could
have given them: Model Equality Testing (Gao, Liang and Guestrin, arXiv 2410.20247), with the
Hamming kernel k(x, y) = share of the first L characters that are the same. Of a prompt's answers,
x by the reference and y by the candidate, means over pairs of different answers:

    discrepancy    mean k(x, x') + mean k(y, y') - 2 mean k(x, y)     MMD^2, unbiased
    concentration  mean k(y, y') - mean k(x, x')

The first sees whatever moves the distribution. A temperature moves it by little in every direction
at once, and that by its square; the second sees it to the first order. Each is weighted by 1 / (its
spread + FAINT) over the prompts, for an answer that hardly varies tells most when it does vary.

If both are one model it is arbitrary whose an answer is, prompt by prompt: the labels are permuted
within each prompt, never across, which leaves the weights as they are. p = (1 + hits) / (1 + B).
Each test has one declared number of answers, and there is no peeking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from harness.base.record import Floats

Singles = npt.NDArray[np.float32]  # exact here: sums of fewer than 2^24 characters
CHARACTERS = 24  # L: what comes later was drawn after something else, and is the same by chance
FAINT = 0.01  # of a kernel's mean: smaller spreads all weigh the same
FAULTY_SHARE = 0.05  # q: of the prompts may depart from the reference's greedy text
HITS = 2  # permutations that may do as well as what was observed when p is just alpha
BLOCK = 4096  # permutations at a time
TIE = 1e-9  # the same sum, in another order
REPLACEMENT = "\ufffd"
MARKERS = ("<think>", "</think>")


def canonical(text: str) -> str:
    """What is compared of a text: no white space and no markers of thinking, which parsers strip
    and join at will, and no rest of a character that the last token left open."""
    for marker in MARKERS:
        text = text.replace(marker, "")
    return "".join(text.split()).rstrip(REPLACEMENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """All answers to one prompt, compared with each other: N, the reference's m first."""

    kernel: Singles  # (N, N) characters that are the same, of L; zero on the diagonal
    reference: int  # m

    @property
    def labels(self) -> Singles:
        """(1, N) 1 where an answer is the candidate's."""
        return (np.arange(len(self.kernel)) >= self.reference).astype(np.float32)[None]


def answers(reference: Sequence[str], candidate: Sequence[str]) -> Answers:
    """Of canonical texts, at least two of each side. Beyond its end a text is padded."""
    texts = [*reference, *candidate]
    codes = np.zeros((len(texts), CHARACTERS), dtype=np.uint32)
    for row, text in enumerate(texts):
        part = text[:CHARACTERS].encode("utf-32-le", "surrogatepass")
        codes[row, : len(part) // 4] = np.frombuffer(part, dtype="<u4")
    kernel = (codes[:, None] == codes[None]).sum(axis=2).astype(np.float32)
    np.fill_diagonal(kernel, 0)
    return Answers(kernel=kernel, reference=len(reference))


def statistics(one: Answers, labels: Singles) -> Floats:
    """(2, B) discrepancies and concentrations of one prompt, for labels (B, N) of 0 and 1."""
    m, n = one.reference, len(one.kernel) - one.reference
    mine = ((labels @ one.kernel) * labels).sum(axis=1).astype(np.float64)  # over ordered pairs
    across = labels @ one.kernel.sum(axis=1) - mine
    theirs = float(one.kernel.sum()) - mine - 2 * across
    own, other, mixed = mine / (n * (n - 1)), theirs / (m * (m - 1)), across / (m * n)
    return np.stack([own + other - 2 * mixed, own - other]) / CHARACTERS


def permuted(one: Answers, count: int, rng: np.random.Generator) -> Floats:
    """(2, count) the same, with the labels of this prompt's answers permuted."""
    places = len(one.kernel)
    of_candidate = places - one.reference
    found: list[Floats] = []
    for start in range(0, count, BLOCK):
        drawn = rng.random((min(BLOCK, count - start), places))
        last = np.partition(drawn, of_candidate - 1, axis=1)[:, of_candidate - 1, None]
        found.append(statistics(one, (drawn <= last).astype(np.float32)))
    return np.concatenate(found, axis=1)


def weights(shuffled: Floats) -> Floats:
    """(2, 1) of a prompt, by its permuted statistics (2, B)."""
    return 1 / (shuffled.std(axis=1, keepdims=True) + FAINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Equality:
    """What Model Equality Testing found."""

    discrepancy: float  # mean over the prompts, not weighted, and so is the other
    concentration: float
    p_discrepancy: float
    p_concentration: float  # two-sided
    permutations: int

    @property
    def p(self) -> float:
        """Of both tests together (Bonferroni)."""
        return min(1.0, 2 * min(self.p_discrepancy, self.p_concentration))


def equality(prompts: Sequence[Answers], *, alpha: float, rng: np.random.Generator) -> Equality:
    """The permutation tests over `prompts` (one at least), enough of them for `Equality.p` to
    reach `alpha`."""
    count = permutations(alpha)
    plain, observed, shuffled = np.zeros(2), np.zeros(2), np.zeros((2, count))
    for one in prompts:
        found, by_chance = statistics(one, one.labels), permuted(one, count, rng)
        weight = weights(by_chance)
        plain += found[:, 0]
        observed += (weight * found)[:, 0]
        shuffled += weight * by_chance
    more = shuffled[0] >= observed[0] - TIE
    further = np.abs(shuffled[1]) >= abs(observed[1]) - TIE
    discrepancy, concentration = (plain / len(prompts)).tolist()
    return Equality(
        discrepancy=discrepancy,
        concentration=concentration,
        p_discrepancy=(1 + int(more.sum())) / (1 + count),
        p_concentration=(1 + int(further.sum())) / (1 + count),
        permutations=count,
    )


def permutations(alpha: float) -> int:
    """B, so that p can be `alpha` although some permutations do as well as what was observed."""
    return max(999, round((1 + HITS) / (alpha / 2)) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Greedy:
    """The reference's greedy answer to one prompt, as far as it is decisive."""

    text: str  # canonical, of the tokens before the first near tie
    tokens: int  # that it is of
    ended: bool  # it is the whole answer, and ends there


def decisive(
    prefixes: Sequence[str], margins: Sequence[float], stopped: bool, *, near_tie: float
) -> Greedy:
    """`prefixes`: the text after each token (n,); `margins` (n,) nats, top-1 less top-2; `stopped`:
    the last token ended the answer. A margin of `near_tie` or less ends what can be asked for."""
    ties = [place for place, margin in enumerate(margins) if margin <= near_tie]
    tokens = ties[0] if ties else len(margins)
    text = canonical(prefixes[tokens - 1]) if tokens else ""
    return Greedy(text=text, tokens=tokens, ended=stopped and not ties)


def departs(greedy: Greedy, text: str) -> bool:
    """Whether a canonical text is another than the decisive part of the reference's."""
    return text != greedy.text if greedy.ended else not text.startswith(greedy.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exactness:
    """How many greedy answers were the reference's own."""

    prompts: int
    departed: int
    p: float  # of as many departures or more, if q of the prompts may depart
    at_most: float  # share that may depart, by Clopper and Pearson


def exactness(prompts: int, departed: int, *, alpha: float) -> Exactness:
    """The exact binomial test of one prompt or more; `at_most` is a one-sided bound with
    confidence 1 - `alpha`."""
    test = stats.binomtest(departed, prompts, FAULTY_SHARE, alternative="greater")
    bound = stats.binomtest(departed, prompts, FAULTY_SHARE, alternative="less")
    return Exactness(
        prompts=prompts,
        departed=departed,
        p=float(test.pvalue),
        at_most=float(bound.proportion_ci(1 - alpha, method="exact").high),
    )
