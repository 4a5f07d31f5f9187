"""What is executed, and how it is shown: without its secrets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SECRET_VARIABLE = re.compile(r"KEY|TOKEN(?!IZE)|SECRET|PASSWORD", re.IGNORECASE)
SECRET_FLAG = re.compile(r"--?([\w-]*[-_])?(key|token|secret|password)")  # not --tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is executed, and its whole environment: nothing comes to it beyond that."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    inherited: bool = False  # `env` is the user's own, full of what is nobody's business: not shown

    def shown(self) -> str:
        """One line for a shell, with secrets replaced by ***."""
        variables = [
            f"{name}={'***' if SECRET_VARIABLE.search(name) else shlex.quote(value)}"
            for name, value in ({} if self.inherited else self.env).items()
        ]
        return " ".join([*variables, *_shown_arguments(self.argv)])


def _shown_arguments(argv: tuple[str, ...]) -> Iterator[str]:
    hidden = False
    for argument in argv:
        flag, equals, _ = argument.partition("=")
        secret = SECRET_FLAG.fullmatch(flag) is not None
        if hidden:
            yield "***"
        elif secret and equals:
            yield f"{shlex.quote(flag)}=***"
        else:
            yield shlex.quote(argument)
        hidden = secret and not equals and not hidden
