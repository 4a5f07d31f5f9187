"""The zoo's document as Markdown, and as the lines of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scripts.zoo.fault import BENIGN, Fault
from scripts.zoo.row import Outcome

Row = Mapping[str, Any]
AROUND = ("template", "parser", "sampler", "server")  # kinds of what is around the computing
OWN = {"DIFFERENT": "caught", "EQUIVALENT": "equal"}


def line(fault: Fault, outcome: Outcome) -> str:
    """One row, as it is done."""
    if outcome.word is None:
        return f"no verdict: {outcome.failure}"
    return (
        f"{outcome.word} at {outcome.level}, {outcome.tokens:,} tokens in {outcome.seconds:.1f} s "
        f"({fault.what})"
    )


def summary(document: Mapping[str, Any]) -> str:
    """What it came to, in a few lines."""
    faults, benign = _sides(document)
    caught = [row for row in faults if row["word"] == "DIFFERENT"]
    fine = [row for row in faults if _small(row)]
    right = [row for row in benign if row["word"] == "EQUIVALENT"]
    numeric, named = document["numeric"], document["diagnosis"]
    lines = [
        f"{len(caught)} of {len(faults)} faults are DIFFERENT, {len(fine)} are shown to be smaller"
        f" than the tolerance; {len(right)} of {len(benign)} benign rows are EQUIVALENT",
        f"tokens judged until DIFFERENT, the median of {numeric['faults']} faults of "
        f"{_and(numeric['kinds'])}: "
        + ("none" if numeric["median_tokens"] is None else f"{numeric['median_tokens']:,.0f}"),
        f"a right cause is the first named of {named['all']['first']}, among the first three of "
        f"{named['all']['among']}, of {named['all']['faults']} (the one cause that the fault was "
        f"made to be: {named['meant']['first']} and {named['meant']['among']}); of the "
        f"{named['others']['faults']} that no weight was chosen by: {named['others']['first']} and "
        f"{named['others']['among']}",
        f"{document['seconds'] / 60:.0f} min, of which {document['trace_seconds'] / 60:.0f} for "
        "traces of the references",
    ]
    if document["absent"]:
        lines.append(f"not among these rows: {', '.join(document['absent'])}")
    lines += [f"WRONG  {name}: {why}" for name, why in document["wrong"].items()]
    return "\n".join(lines)


def page(document: Mapping[str, Any]) -> str:
    """docs/zoo/README.md."""
    return "\n\n".join(_parts(document)) + "\n"


def _parts(document: Mapping[str, Any]) -> Iterator[str]:
    faults, benign = _sides(document)
    machine = document["machine"]
    yield "# The fault zoo"
    yield (
        "What the verdict catches, what it costs, and what it leaves alone that is right. Made by "
        "`make zoo`; every row is `enginediff check` on a real engine with a tiny model, as its "
        "command says, after the fault was seen to change what the engine answers."
    )
    yield (
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, Python "
        f"{machine['python']}, enginediff {machine['enginediff']}; "
        + "; ".join(
            f"trace of {one['model']} in {one['numerics']}: {one['prompts']} prompts, "
            f"{one['tokens']:,} tokens"
            for one in document["traces"]
        )
        + "."
    )
    yield "```\n" + summary(document) + "\n```"
    yield "![Every row: tokens to its verdict](zoo.svg)"
    yield "## Faults"
    yield (
        "`#` is the root cause's number in the list below the tables. How it was made: by the "
        "engine's own flags; by another template or other weights; inside the engine's own code "
        "(scripts/zoo/inside); or by what stands between client and engine. Tokens are all that "
        "the check had the engine compute; where L2 decides, the worst sequence is asked again by "
        "itself, to be shown, which is no part of what was judged. Most faults end L2 at its first "
        "look, whose prompts are the same each time (seed 0), so their tokens are too. Seconds are "
        "the check's own, without the launch, another row going on beside it."
    )
    yield _table(
        (
            *("#", "fault", "engine", "how", "verdict", "level", "tokens", "judged by L2", "s"),
            "true cause named",
        ),
        [_fault(row) for row in sorted(faults, key=lambda row: row["number"] or 99)],
    )
    yield "## Benign"
    yield _table(
        ("configuration", "engine", "verdict", "tokens", "s", "furthest statistic / tolerance"),
        [_benign(row) for row in benign],
    )
    if any(row["today"] for row in document["rows"]):
        yield "## Against what people use today"
        yield (
            "The same engines, in the same run, judged by the rules of other projects "
            "(scripts/zoo/rules.py cites them, and says where it must differ) from the zoo's "
            "probes of them. A fault is caught where a rule's own test would fail; on a benign row "
            "that is a false alarm. They are asked with token ids, so what templates, parsers, "
            "servers and samplers do is outside of what most can see: those faults are counted "
            "apart. The accuracy test has 120 questions here and 1,319 at home, where it sees "
            "drops of a third of the size; Token-DiFR is its form at T = 0; engines in bf16 are "
            "held against an fp32 reference, where SGLang's tests give both sides one dtype. "
            "Tokens: the median that a rule looked at."
        )
        yield _table(
            (
                *("rule", "caught, of what is computed", "of the rest", "cannot say"),
                *("false alarms", "tokens"),
            ),
            _today(document),
        )
    yield "## The rows, in full"
    yield from (_full(row) for row in document["rows"])
    yield "## Root causes"
    yield _table(("#", "seen in", "rows"), _causes(faults))


def _sides(document: Mapping[str, Any]) -> tuple[list[Row], list[Row]]:
    rows: Sequence[Row] = document["rows"]
    return [r for r in rows if r["kind"] != BENIGN], [r for r in rows if r["kind"] == BENIGN]


def _fault(row: Row) -> tuple[str, ...]:
    return (
        "" if row["number"] is None else str(row["number"]),
        f"{row['what']}{' (built last, run once)' if row['unseen'] else ''}",
        row["pin"],
        row["how"],
        _word(row),
        row["level"] or "",
        f"{row['tokens']:,}",
        "" if row["judged"] is None else f"{row['judged']:,}",
        f"{row['seconds']:.1f}",
        "" if row["diagnosis"] is None else str(row["diagnosis"]["rank"] or "no"),
    )


def _benign(row: Row) -> tuple[str, ...]:
    furthest = "" if row["largest"] is None else f"{row['largest']:.2g}"
    return (
        row["what"],
        row["pin"],
        _word(row),
        f"{row['tokens']:,}",
        f"{row['seconds']:.1f}",
        furthest,
    )


def _word(row: Row) -> str:
    word = row["word"] or "no verdict"
    mark = "**" if row["wrong"] else ""
    return f"{mark}{word}{mark}" + (", smaller than the tolerance" if _small(row) else "")


def _small(row: Row) -> bool:
    return row["size"] is not None and row["word"] != "DIFFERENT" and not row["wrong"]


def _today(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    faults, benign = _sides(document)
    looked = [row for row in faults if row["today"]]
    calm = [row for row in benign if row["today"]]
    own = {row["name"]: OWN.get(row["word"], "cannot say") for row in (*looked, *calm)}
    costs = [row["judged"] for row in looked if row["judged"] is not None]
    yield _counts("**enginediff**", own, looked, calm, f"{_median(costs):,} where L2 decides")
    for place, rule in enumerate(one["rule"] for one in (looked or calm)[0]["today"]):
        said = {row["name"]: row["today"][place] for row in (*looked, *calm)}
        words = {name: one["word"] for name, one in said.items()}
        tokens = _median([one["tokens"] for one in said.values()])
        yield _counts(rule, words, looked, calm, f"{tokens:,}")


def _counts(
    rule: str,
    words: Mapping[str, str],
    looked: Sequence[Row],
    calm: Sequence[Row],
    tokens: str,
) -> tuple[str, ...]:
    computed = [row for row in looked if row["kind"] not in AROUND]
    rest = [row for row in looked if row["kind"] in AROUND]

    def caught(rows: Sequence[Row]) -> str:
        return f"{sum(words[row['name']] == 'caught' for row in rows)} of {len(rows)}"

    mute = sum(words[row["name"]] == "cannot say" for row in (*looked, *calm))
    return rule, caught(computed), caught(rest), str(mute), caught(calm), tokens


def _median(values: Sequence[int]) -> int:
    return sorted(values)[len(values) // 2] if values else 0


def _full(row: Row) -> str:
    lines = [f"**{row['name']}** ({row['kind']}, {row['how']}): {row['what']}."]
    if row["seen"]:
        lines.append(f"Seen in {row['seen']}.")
    if row["changed"]:
        lines.append("It changes: " + "; ".join(row["changed"]) + ".")
    verdict = row["word"] or f"no verdict ({row['failure']})"
    lines.append(f"{verdict}: " + "; ".join(row["reasons"]) + ".")
    if size := row["size"]:
        lines.append(
            f"Against the same engine without it, over {size['tokens']:,} tokens, the fault is at "
            f"most {size['ratio']:.2g} of its tolerance ({size['statistic']})."
        )
    if row["diagnosis"]:
        lines.append("Named: " + ", ".join(row["diagnosis"]["named"][:3]) + ".")
    if row["wrong"]:
        lines.append(f"**Wrong: {row['wrong']}.**")
    command = " ".join(_quoted(word) for word in row["command"])
    return " ".join(lines) + (f"\n\n    {command}" if command else "")


def _quoted(word: str) -> str:
    return f"'{word}'" if any(c in word for c in ' "{}[]#&;') else word


def _causes(faults: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    for number in sorted({row["number"] for row in faults if row["number"] is not None}):
        own = [row for row in faults if row["number"] == number]
        yield str(number), own[0]["seen"], ", ".join(row["name"] for row in own)


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in one)} |" for one in lines)


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
