"""What the checks of all engines share. They run in an engine's environment, with nothing else.

    ENV/bin/python launchers/argv_checks/vllm_argv.py REQUEST ANSWER

REQUEST is JSON: {"commands": [{"argv": [...], "env": {...}, "nodes": N, "gpus": N or null}, ...]}.
ANSWER is written: {"version": ..., "commands": [[{"error": bool, "what": ...}, ...], ...]}. One
start of Python reads all commands, for importing an engine takes 5 to 10 seconds.
"""

import contextlib
import difflib
import io
import json
import re
import sys
from pathlib import Path

CHOICES = re.compile(r" \(choose from (.*)\)$", re.DOTALL)


def main(version, check):
    """`check(command)` gives the problems of one command."""
    request, answer = map(Path, sys.argv[1:])
    commands = json.loads(request.read_text("utf-8"))["commands"]
    problems = [check(command) for command in commands]
    answer.write_text(json.dumps({"version": version, "commands": problems}), "utf-8")


def error(what):
    return {"error": True, "what": what}


def warning(what):
    return {"error": False, "what": what}


def parsed(parser, argv, parse):
    """What `parse` gives, and no problem; or None, and what the engine's own parser says.

    `parser`: an argparse parser with the engine's options, to name the nearest.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse(argv), []
    except SystemExit:
        return None, [error(explained(parser, said.getvalue().rpartition(": error: ")[2].strip()))]
    except (AssertionError, TypeError, ValueError) as refusal:
        return None, [error(str(refusal))]


def explained(parser, refusal):
    """argparse's words, a long list of choices replaced by the nearest of them."""
    choices = CHOICES.search(refusal)
    if choices:
        given = re.search(r"invalid choice: '([^']*)'", refusal)
        names = re.findall(r"'([^']*)'", choices[1]) or choices[1].split(", ")  # newer Python
        hint = nearest(given[1] if given else "", names) or f"; it knows {', '.join(names)}"
        return refusal[: choices.start()] + hint
    unknown = re.findall(r"--[\w.-]+", refusal) if refusal.startswith("unrecognized") else []
    return refusal + "".join(nearest(flag, options(parser)) for flag in unknown)


def options(parser):
    return [option for action in parser._actions for option in action.option_strings]


def nearest(given, names, cutoff=0.6):
    """`; did you mean 'x'?`, or nothing where no name is near."""
    found = difflib.get_close_matches(given, names, n=1, cutoff=cutoff)
    return f"; did you mean {found[0]!r}?" if found else ""


def shortened(parser, argv):
    """Warns of flags that argparse takes for the beginning of a longer one: a newer version of the
    engine may have two of them."""
    known = set(options(parser))
    for word in argv:
        flag = word.partition("=")[0].replace("_", "-")
        if not flag.startswith("--") or flag in known or "." in flag:
            continue
        full = [name for name in known if name.startswith(flag)]
        if len(full) == 1:
            yield warning(f"{flag} is short for {full[0]}: write it in full")


def unknown_name(flag, given, names):
    """An error where the engine's registry has no such name."""
    if given is None or given in names:
        return []
    hint = nearest(given, names) or f"; it knows {', '.join(sorted(names))}"
    return [error(f"{flag} {given}: this engine has none of that name{hint}")]


def unread(env, prefixes, declared, packages):
    """Errors for variables with the engine's prefix that nothing in it reads."""

    def near(name):
        return nearest(name, declared, cutoff=0.85)  # they all begin alike

    asked = {name for name in env if name.startswith(prefixes)} - set(declared)
    missing = asked and asked - mentioned(asked, packages)
    return [
        error(f"{name}: nothing in this engine reads such a variable{near(name)}")
        for name in sorted(missing)
    ]


def mentioned(names, packages):
    """Which names stand in the packages' files: not all variables are declared in one place."""
    found = set()
    for package in packages:
        for path in Path(package).rglob("*"):
            if path.suffix in (".py", ".so") and path.is_file():
                content = path.read_bytes()
                found |= {name for name in names if stands_in(name.encode(), content)}
    return found


def stands_in(name, content):
    """Whether `content` has the name as a word of its own, and not as part of a longer one."""
    at = content.find(name)
    while at >= 0:
        around = content[max(at - 1, 0) : at] + content[at + len(name) : at + len(name) + 1]
        if not re.search(rb"\w", around):
            return True
        at = content.find(name, at + 1)
    return False


def layout(command, *, ranks, nodes, inside):
    """Problems of the parallel layout.

    `ranks`: how many GPUs the flags make use of; `inside`: (what, size) of what must divide the
    tensor-parallel size, whose own entry is `inside[0]`.
    """
    (name, tensor), *parts = inside
    for part, size in parts:
        if size and tensor % size:
            yield error(f"{part} is {size}; it must divide {name}, which is {tensor}")
    if nodes != command["nodes"]:
        yield error(f"the flags are for {nodes} nodes, and the pin says {command['nodes']}")
    if command["gpus"] is not None and ranks != command["gpus"]:
        gpus = command["gpus"]
        yield error(f"the flags use {ranks} GPUs, and the pin's deployment has {gpus}")
