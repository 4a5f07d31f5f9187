"""A diagnosis as a person reads it: a mark, what was looked at, and what to do."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from harness.doctor import Diagnosis, Severity

MARKS: dict[Severity, str] = {
    "good": "[green]ok[/]     ",
    "warning": "[yellow]warning[/]",
    "blocking": "[red]blocks[/] ",
    "wrong": "[red]wrong[/]  ",
}


def show(diagnoses: Sequence[Diagnosis]) -> None:
    """Prints all of them on stdout, colours where it is a terminal."""
    console = Console(highlight=False, soft_wrap=True)
    for diagnosis in diagnoses:
        console.print(f"[bold]{escape(diagnosis.title)}[/]")
        for line in diagnosis.lines:
            console.print(f"  {MARKS[line.severity]} {line.area:11} {escape(line.what)}")
        if diagnosis.model_files is not None:
            console.print("\n[bold]for a pin of your own[/]")
            console.print(escape(as_toml(diagnosis.model_files)))


def as_toml(files: dict[str, str]) -> str:
    """The table [model.files], to be pasted."""
    lines = (f"{json.dumps(name)} = {json.dumps(sha256)}" for name, sha256 in files.items())
    return "\n".join(["[model.files] # sha256", *lines])
