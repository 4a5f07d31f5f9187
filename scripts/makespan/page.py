"""The account as a page of Markdown, and as the lines that the script prints."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.makespan.account import KVV_NODES, KVV_S, WITHIN, Pair, Row, rate_for
from scripts.makespan.machine import MACHINES, Machine
from scripts.makespan.plan import KINDS, answers

HEAD = (
    "| machine | nodes | lower bound, h | bound with foresight | ours | ours, worst | ours, h "
    "| naive sharding, h | sequential, h |"
)


def page(rows: Sequence[Row], pairs: Sequence[Pair], seeds: Sequence[int]) -> str:
    parts = [
        "# Makespan",
        "How long the whole plan of Kimi Vendor Verifier takes on 1, 2, 4 and 20 nodes: simulated "
        "by `make makespan`, with the product's own scheduler (`harness/runs/schedule.py`, "
        "`harness/runs/expected.py`), which does not know how long an answer will be. No GPU had a "
        "part in it.",
        "```\n" + "\n".join(summary(rows)) + "\n```",
        "![Makespans in lower bounds](makespan.svg)",
        f"Median of {len(seeds)} seeds, and the worst of them; `bound with foresight`, `ours` and "
        "`ours, worst` are in lower bounds.",
        "\n".join([HEAD, "| --- " * HEAD.count(" |") + "|", *map(_row, rows)]),
        _WORDS,
        "## Two engines, one after the other",
        "What the second is asked is at home where the first was asked it; a node goes on to the "
        "second engine when the first has nothing more for it. Seed "
        f"{seeds[0]}; in lower bounds of both plans together.",
        "\n".join(
            [
                "| machine | nodes | ours | asked on the same node |",
                "| --- | --- | --- | --- |",
                *(
                    f"| {one.machine.name} | {one.nodes} | {one.over:.3f} | {one.same_node:.0%} |"
                    for one in pairs
                ),
            ]
        ),
        _AFTER,
        "## What KVV's 15 hours would take",
        "Computed from the sequential run above; nothing is tuned to it. Every step is taken as "
        "faster or slower by one factor.",
        "\n".join(f"- {line}" for line in _kvv(rows)),
        "## The plan",
        _plan(seeds),
        "## The machines",
        "Between the points of a source the time of a step is on a straight line. Prefill is in "
        "what the sources measured, and is charged nowhere else.",
        "\n".join(map(_machine, MACHINES)),
    ]
    return "\n\n".join(parts) + "\n"


_WORDS = "\n".join(
    [
        "- **lower bound**: the larger of two: all tokens at the curve's best rate over all nodes, "
        "and the longest answer alone on a node. No schedule can beat it.",
        "- **bound with foresight**: one that knows every length beforehand cannot beat this one "
        "either. A node that gives a long answer its tokens in time is not at its best rate, "
        "which needs many answers at once, and each is slow among many; this bound charges for "
        "that, with the longest answers together on as few nodes as can be.",
        "- **ours**: all suites together, the longest expected first; a node takes more when it "
        "has room.",
        "- **naive sharding**: dealt out to the nodes at the start, suite after suite.",
        "- **sequential**: suite after suite, each dealt out to the nodes; the next begins when "
        "the last answer of the one before is over.",
        "",
        "On 20 nodes the longest answers decide, and ours is not within 5 %. There is a place for "
        "every request of AIME with thinking at the start, so that nothing is known of any before "
        "all are begun, and nearly every node has a long one among its own. Where a step takes a "
        "fixed time and a part for each answer under way, a node spends, beside those parts, the "
        "fixed time for every token of its longest answer, whatever its neighbours are: the "
        "remedy is to have the longest together on few nodes, and nobody is told which they are. "
        "What the bound with foresight has above 1 is lost even to one who is.",
    ]
)

_AFTER = (
    "On 20 nodes with H20, a node that is through with the first engine early takes the longest of "
    "what is at home on nodes that are still at it, and too many of these come together there."
)


def summary(rows: Sequence[Row]) -> list[str]:
    lines: list[str] = []
    for nodes in sorted({row.nodes for row in rows}):
        own = [row for row in rows if row.nodes == nodes]
        within = sum(row.worst <= WITHIN for row in own)
        lines.append(
            f"{nodes:>2} nodes: ours at {min(row.over for row in own):.3f} to "
            f"{max(row.over for row in own):.3f} lower bounds, the worst draw at "
            f"{max(row.worst for row in own):.3f}; all draws within {WITHIN - 1:.0%} on "
            f"{within} of {len(own)} machines"
        )
    return [*lines, *_kvv(rows)]


def _row(row: Row) -> str:
    cells = [
        row.machine.name,
        str(row.nodes),
        f"{row.hours('lower'):.2f}",
        f"{row.foreseen_over:.3f}",
        f"{row.over:.3f}",
        f"{row.worst:.3f}",
        *(f"{row.hours(name):.2f}" for name in ("ours", "naive", "sequential")),
    ]
    return f"| {' | '.join(cells)} |"


def _kvv(rows: Sequence[Row]) -> list[str]:
    return [
        f"{row.machine.name}: the sequential run takes {KVV_S / 3600:.0f} h on {row.nodes} nodes "
        f"at {rate_for(KVV_S, row):,.0f} tokens/s a node at its best (the curve: "
        f"{row.machine.best:,.0f}; so: {row.hours('sequential'):.1f} h)"
        for row in rows
        if row.nodes == KVV_NODES
    ]


def _plan(seeds: Sequence[int]) -> str:
    tokens = answers(KINDS, seeds[0])
    lines = [
        "| suite, mode | requests | mean before the cut | sigma of tasks, of answers | most "
        "| the suite's word | drawn: mean | longest |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    first = 0
    for kind in KINDS:
        own = tokens[first : first + kind.requests]
        first += kind.requests
        lines.append(
            f"| {kind.name} | {kind.requests:,} | {kind.tokens:,.0f} | {kind.between}, "
            f"{kind.within} | {kind.most:,} | {kind.prior:,.0f} | {sum(own) / len(own):,.0f} | "
            f"{max(own):,} |"
        )
    cut = sum(one == 98_304 for one in tokens)
    return (
        f"{len(tokens):,} requests, each suite with thinking and without, and "
        f"{sum(tokens) / 1e6:.1f} M tokens with seed {seeds[0]}; {cut} are cut at 98,304.\n\n"
        + "\n".join(lines)
        + "\n\nPublished: the suites, their modes, the 32 epochs of AIME and the most tokens "
        '(KVV\'s README, "K2.6 and Earlier"; tool calls: its `docs/EVALUATION_GUIDE_zh.md`), and '
        "24,000 tokens for AIME 2025 with thinking (Kimi-K2-Thinking in the DeepSeek-V3.2 "
        "report, arXiv 2512.02556; DeepSeek-R1-0528's model card: 23,000 of its own). Every other "
        "mean, every spread and the suites' words are our assumptions."
    )


def _machine(machine: Machine) -> str:
    return (
        f"- **{machine.name}**: {machine.source}. Assumed: {machine.assumed}. At most "
        f"{machine.limit} at once, {machine.best:,.0f} tokens/s at best, {machine.alone:.0f} alone."
    )
