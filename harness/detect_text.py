"""What a person sees of the detectors in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict

import orjson

from harness.checker.detected import Counted
from harness.report.text import readable


def show(found: Mapping[str, Counted]) -> None:
    """Each detector that found something, with its first answers. They decide nothing."""
    for engine, counted in found.items():
        print(readable(f"{engine}: {counted.answered} of {counted.asked} answered"))
        for row in counted.rows:
            if row.answers:
                print(f"  {row.name}: {row.answers} of {counted.answered} answers")
                for one in row.examples:
                    print(readable(f"    {one.case} ({one.n}): {one.evidence}"))
        if not any(row.answers for row in counted.rows):
            print("  nothing is found")


def show_json(found: Mapping[str, Counted]) -> None:
    """One JSON object on one line."""
    table = {engine: asdict(counted) for engine, counted in found.items()}
    sys.stdout.write(orjson.dumps({"schema": 1, "engines": table}).decode() + "\n")
