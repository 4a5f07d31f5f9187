"""Writes suites/data/tiny-tasks.jsonl: the questions that the fault zoo asks, the same each time.

python -m scripts.make_tiny_tasks
"""

from __future__ import annotations

import json

from harness.base import atomic
from scripts.zoo import tiny_items
from suites.tiny_tasks import SHIPPED


def main() -> None:
    rows = [
        {
            "id": item.id,
            "messages": list(item.chat.messages),
            "thinking": item.chat.thinking,
            "expected": item.expected,
        }
        for item in tiny_items.items()
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    atomic.write_bytes(SHIPPED, "".join(f"{line}\n" for line in lines).encode())
    print(f"{SHIPPED}: {len(rows)} tasks")


if __name__ == "__main__":
    main()
