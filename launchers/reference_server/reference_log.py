"""The server's log: lines on stderr with the time of day."""

import sys
import time


def log(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)
