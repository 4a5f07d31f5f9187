"""A cluster as a person reads it: its pins, a row a node, and below it what is wrong, said once for
all nodes that it is true of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from harness.doctor import Diagnosis, Severity
from harness.doctor_text import MARKS
from harness.nodes import cluster_findings
from harness.nodes.checkup import Checkup
from harness.nodes.cluster_findings import Examination, Row
from harness.nodes.survey import Problem
from harness.terminal import plain

WORST: tuple[Severity, ...] = ("wrong", "blocking", "warning", "good")
DIGITS = 8  # of a hash
WIDE = 1000  # columns: what is cut off helps nobody
UNKNOWN = "-"
COLOURS = {"unpinned": "yellow", "no": "yellow", "missing": "red", "wrong": "red"}
AREAS: dict[str, dict[Severity, str]] = {
    "environment": {"good": "yes", "warning": "no", "wrong": "wrong"},
    "model": {"good": "pinned", "warning": "unpinned", "blocking": "missing", "wrong": "wrong"},
    "node": {"good": "yes", "warning": "yes", "blocking": "no"},
}


def show(found: Examination) -> None:
    """Prints it on stdout, colours where it is a terminal."""
    console = Console(highlight=False)
    problems = cluster_findings.problems(found)
    table = _table(found, problems)
    room = console.options.update(max_width=WIDE)
    console.width = max(console.width, Measurement.get(console, room, table).maximum)
    for n, pin in enumerate(found.pins, 1):
        number = f"pin {n}  " if len(found.pins) > 1 else ""
        console.print(f"[bold]{number}{plain(pin.title)}[/]", soft_wrap=True)
        for line in pin.lines:
            text = f"  {MARKS[line.severity]} {line.area:11} {plain(line.what)}"
            console.print(text, soft_wrap=True)
    if found.pins:
        console.print()
    console.print(plain(_same(found.rows)), soft_wrap=True)
    console.print(table)
    if problems:
        console.print()
    for nodes, said in _grouped(problems):
        console.print(f"[bold]{plain(_listed(nodes, found.rows))}[/]", soft_wrap=True)
        for problem in said:
            console.print(f"  {MARKS[problem.severity]} {plain(problem.what)}", soft_wrap=True)


def _same(rows: Sequence[Row]) -> str:
    """What a column would say as often as there are nodes."""
    count = len(rows)
    same = [f"{what} {values.pop()}" for what, values in _versions(rows) if len(values) == 1]
    nodes = "1 node" if count == 1 else f"{count} nodes"
    return f"{nodes}; {', '.join(same)}" if same else nodes


def _versions(rows: Sequence[Row]) -> Iterator[tuple[str, set[str]]]:
    seen = [row.checkup for row in rows if row.checkup is not None]
    for what in ("Ray", "enginediff", "Python"):
        yield what, {_version(one, what) for one in seen}


def _version(one: Checkup, what: str) -> str:
    facts = one.facts
    ours = f"{facts.enginediff} {facts.source[:DIGITS]}"
    return {"Ray": one.ray, "enginediff": ours, "Python": facts.python}[what]


def _table(found: Examination, problems: Sequence[Problem]) -> Table:
    apart = [what for what, values in _versions(found.rows) if len(values) > 1]
    several = ["pin"] if len(found.pins) > 1 else []
    of_pin = ["built", "model", "fits", "hash"] if found.pins else []
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("node", "", "address", *apart, "clock", "disk", "hardware"):
        justify = "right" if name in ("clock", "disk") else "left"
        table.add_column(name, justify=justify, no_wrap=True)
    for name in (*several, *of_pin):
        table.add_column(name, no_wrap=True)
    for row in found.rows:
        state = _worst(one.severity for one in problems if one.node == row.place.name)
        node = [plain(row.place.name), MARKS[state].strip(), row.place.address, *_node(row, apart)]
        said: Sequence[Diagnosis | None] = row.diagnoses or [None]
        for n, one in enumerate(said):
            number = [UNKNOWN if one is None else str(n + 1)] if several else []
            pin = [*number, *_pin(one)] if of_pin else []
            table.add_row(*(node if n == 0 else [""] * len(node)), *pin)
    return table


def _worst(severities: Iterable[Severity]) -> Severity:
    """`good` where there is none."""
    return min([*severities, WORST[-1]], key=WORST.index)


def _node(row: Row, versions: Sequence[str]) -> list[str]:
    one = row.checkup
    if one is None:
        return [UNKNOWN] * (len(versions) + 3)
    clock = UNKNOWN if row.clock_ahead_s is None else f"{row.clock_ahead_s:+.1f} s"
    gpus = "no GPU" if one.facts.gpus == "none" else one.facts.gpus
    with_gpus = [name for name in one.profiles if name != "cpu"]
    hardware = ", ".join(with_gpus) or gpus
    return [
        *(_version(one, what) for what in versions),
        *(clock, f"{one.facts.free_gb:,.0f} GB", plain(hardware)),
    ]


def _pin(one: Diagnosis | None) -> list[str]:
    """Its environment, its model, whether the node is one for it, and its hash."""
    if one is None:
        return [UNKNOWN] * (len(AREAS) + 1)
    cells = [
        words[_worst(line.severity for line in one.lines if line.area == area)]
        for area, words in AREAS.items()
    ]
    coloured = [f"[{COLOURS[cell]}]{cell}[/]" if cell in COLOURS else cell for cell in cells]
    return [*coloured, (one.pin_hash or UNKNOWN)[:DIGITS]]


def _grouped(problems: Sequence[Problem]) -> list[tuple[tuple[str, ...], list[Problem]]]:
    """Nodes -> what is true of all of them and of no other; the worst first."""
    nodes: dict[tuple[Severity, str], list[str]] = {}
    first: dict[tuple[Severity, str], Problem] = {}
    for problem in problems:
        key = problem.severity, problem.what
        first.setdefault(key, problem)
        if problem.node not in nodes.setdefault(key, []):
            nodes[key].append(problem.node)
    groups: dict[tuple[str, ...], list[Problem]] = {}
    for key in sorted(nodes, key=lambda key: WORST.index(key[0])):
        groups.setdefault(tuple(sorted(nodes[key])), []).append(first[key])
    return list(groups.items())


def _listed(nodes: Sequence[str], rows: Sequence[Row]) -> str:
    others = [row.place.name for row in rows if row.place.name not in nodes]
    if not others and len(nodes) > 1:
        return "every node"
    if len(others) < len(nodes) // 3:
        return f"every node but {', '.join(others)}"
    return ", ".join(nodes)
