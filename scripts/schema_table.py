"""Which tool schemas each deployment of a verification enforced, by family of keywords.

    enginediff verify tiny-moe/vllm-cpu tiny-moe/sglang-cpu --run RUN
    python -m scripts.schema_table RUN [--docs FOLDER] [--note TEXT]

Prints a table for each suite; writes README.md to FOLDER.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.base import atomic
from suites.owed import STREAMED, WHOLE

SUITES = ("tool-schemas", "tool-schemas-walle")
VALID, INVALID = "arguments conform", "is refused"
MARKS = {
    "kept": "kept",
    "broken": "broken",
    "not enforced": "not refused",
    "unfinished": "cut",
    "unanswered": "neither",
}
HEAD = """\
# Tool schemas that engines enforce

Each schema is that of the one tool of a request that must call it, with `strict`, through the
`openai` package, streamed and not. Of a valid one, the arguments of the call conform to it (JSON
Schema, Draft 2020-12), or the case is broken; an answer that was cut at its length says neither.
One that is not valid is refused with 400, or not refused: answered all the same, or told of within
a stream that began with 200.

The models are tiny and know no schema: what conforms does so because the engine enforces it. They
often run on in white space or in a string without an end (and close no array), which is why so many
answers are cut.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the directory of a verification")
    parser.add_argument("--docs", type=Path, help="a folder for README.md")
    parser.add_argument("--note", default="", help="what a reader must know of this run")
    options = parser.parse_args()
    found = json.loads((options.run / "verification.json").read_bytes())
    text = "\n".join(page(found, options.note))
    print(text)
    if options.docs is not None:
        options.docs.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(options.docs / "README.md", f"{HEAD}\n{text}\n".encode())


def page(found: Mapping[str, Any], note: str) -> Iterator[str]:
    """A table for each suite and each kind of schema."""
    names = [one["name"] for one in found["deployments"] if not one["enforced"]]
    yield f"    {found['command']}"
    yield ""
    yield f"{found['provenance']['machine']}, {found['provenance']['written'][:10]}. {note}".strip()
    for suite in SUITES:
        rows = [row for row in found["rows"] if row["suite"] == suite]
        if not rows:
            yield f"\n## {suite}\n\nNot run: {found['not_run'].get(suite, 'no case')}."
        for kind, title in ((VALID, "valid"), (INVALID, "not valid")):
            own = [row for row in rows if row["what"].endswith(kind)]
            if own:
                yield f"\n## {suite}: {title}\n"
                yield from _table(own, names)


def _table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterator[str]:
    columns = [(name, way) for name in names for way in (STREAMED, WHOLE)]
    yield f"| keywords | {' | '.join(f'{name}, {way}' for name, way in columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    families = dict.fromkeys(row["what"].split(":")[0] for row in rows)
    for family in [*families, None]:
        own = [row for row in rows if family in (None, row["what"].split(":")[0])]
        cells = [_cell(own, name, way) for name, way in columns]
        yield f"| {family or 'all'} | {' | '.join(cells)} |"


def _cell(rows: Sequence[Mapping[str, Any]], name: str, way: str) -> str:
    counts = Counter(row["held"][name]["how"] for row in rows if row["case"].endswith(f"/{way}"))
    told = ", ".join(f"{counts[how]} {mark}" for how, mark in MARKS.items() if counts[how])
    return told or "-"


if __name__ == "__main__":
    main()
