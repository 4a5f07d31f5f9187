"""The command line: parses, calls one function, prints, sets the exit code.

Exit codes: 0 equivalent, 1 different, 2 usage or configuration, 3 inconclusive, 4 the engine
failed, 70 a bug of ours, 130 interrupted. Heavy imports stand inside the commands, so that
`--help` is fast.
"""

from __future__ import annotations

import errno
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from harness.base.errors import ConfigError, EnginediffError

INTERRUPTED = 130
OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}

app = typer.Typer(
    help="Decides whether two inference engines compute the same model.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
env = typer.Typer(help="Engines' own environments, from the pins' locks.", no_args_is_help=True)
app.add_typer(env, name="env")

Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Derive the pin: args.dtype=bfloat16"),
]


@app.command()
def demo() -> None:
    """Healthy engines are EQUIVALENT, really broken ones DIFFERENT: on this machine, on a CPU."""
    from harness import demo as demonstration
    from harness.terminal import announcing

    with announcing() as announce:
        code = demonstration.run(announce, typer.echo)
    raise typer.Exit(code)


@app.command()
def check(
    candidate: Annotated[list[str], typer.Argument(help="Pins (MODEL/NAME or a path) or URLs.")],
    against: Annotated[str, typer.Option(help="A trace, a reference pin, or a reference's URL.")],
    changes: Changes = None,
    numerics: Annotated[
        str | None, typer.Option(help="What a URL promises: fp32 or bf16. A pin says so itself.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the order in which prompts are drawn.")] = 0,
    alpha: Annotated[float, typer.Option(help="Chance of a wrong DIFFERENT, at most.")] = 0.005,
    beta: Annotated[float, typer.Option(help="Chance of a wrong EQUIVALENT, at most.")] = 0.005,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Decides whether a candidate computes the same model as a reference."""
    from harness import session
    from harness.levels.state import Settings
    from harness.terminal import announcing, show, show_json
    from harness.verdict import exit_code
    from launchers.pins import NUMERICS_CLASSES

    for name, value in (("--alpha", alpha), ("--beta", beta)):
        if not 0 < value < 1:
            raise ConfigError(f"{name} is {value}; it must lie between 0 and 1")
    settings = Settings(seed=seed, alpha=alpha, beta=beta)
    codes: list[int] = []
    # What can be refused is refused before a reference is recorded.
    promises = [session.promise(name, changes or (), numerics) for name in candidate]
    classes = [known for known in NUMERICS_CLASSES if known in promises]
    with announcing() as announce:
        trace = session.trace_of(against, classes=classes, announce=announce)
    for name in candidate:
        try:
            with announcing() as announce:
                verdict, run = session.check_candidate(
                    name,
                    changes or (),
                    against=trace,
                    numerics=numerics,
                    settings=settings,
                    announce=announce,
                )
        except EnginediffError as error:
            if len(candidate) == 1 or error.exit_code == ConfigError.exit_code:
                raise
            complain(error)
            codes.append(error.exit_code)
            continue
        (show_json if as_json else show)(verdict, run)
        codes.append(exit_code(verdict.verdict))
    raise typer.Exit(next(code for code in (4, 1, 3, 0) if code in codes))


@app.command()
def record(
    reference: Annotated[str, typer.Argument(help="A reference pin, or the URL of one.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="NAME.trace")],
    changes: Changes = None,
    tokens_from: Annotated[
        str | None,
        typer.Option(help="A pin or URL that continues the prompts, for a streamed reference."),
    ] = None,
) -> None:
    """Records a reference, its benign pool and the tolerances, to check candidates against."""
    from harness import session
    from harness.terminal import announcing

    if output.suffix != ".trace":
        raise ConfigError(f"-o {output}: a trace's name must end in .trace")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"-o {output}: there is no folder {output.absolute().parent}")
    with announcing() as announce:
        session.record_trace(
            reference,
            changes or (),
            path=output.absolute(),
            announce=announce,
            tokens_from=tokens_from,
        )
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


@env.command("build")
def env_build(pin: str) -> None:
    """Builds the environment of a pin's engine; once, then it is reused."""
    from harness.terminal import announcing
    from launchers import environments, pins

    name = pins.load(pin).pin.engine.environment
    with announcing() as announce:
        built = environments.build(name, announce=announce)
    typer.echo(f"{built.name}: {built.size_bytes / 1e9:.1f} GB in {built.path}")


@env.command("list")
def env_list() -> None:
    """The environments that are built, with their sizes."""
    from launchers import environments

    for built in environments.list_built():
        typer.echo(
            f"{built.name:28} {built.size_bytes / 1e9:5.1f} GB  {built.built_at}  {built.path}"
        )


@env.command("remove")
def env_remove(name: str) -> None:
    """Removes an environment by the name that `env list` shows."""
    from launchers import environments

    typer.echo(f"{name}: {environments.remove(name) / 1e9:.1f} GB freed")


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.")
    ] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"enginediff {installed('enginediff')}")
        raise typer.Exit


def complain(error: EnginediffError) -> None:
    print(f"enginediff: {error}", file=sys.stderr)


def main() -> None:
    """The process edge: every error gets its message and its exit code here."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)  # a shell starts background jobs with it ignored
    try:
        code = app(standalone_mode=False)
    except EnginediffError as error:
        complain(error)
        code = error.exit_code
    except typer.TyperException as error:
        print(f"enginediff: {_usage(error)} (see enginediff --help)", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        code = _machine_failed(error) if error.errno in OF_THE_MACHINE else _our_bug()
    except Exception:  # noqa: BLE001 - the edge: a bug of ours must never look like a verdict
        code = _our_bug()
    if code == INTERRUPTED:  # typer turns Ctrl-C inside a command into this code
        print("enginediff: interrupted; what was started is stopped", file=sys.stderr)
    sys.exit(code or 0)


def _usage(error: typer.TyperException) -> str:
    """Names the option too, where typer knows it."""
    text = error.format_message() if isinstance(error, typer.BadParameter) else str(error)
    return text.rstrip(".")


def _machine_failed(error: OSError) -> int:
    print(f"enginediff: {error}; nothing half-written was left", file=sys.stderr)
    return 4


def _our_bug() -> int:
    traceback.print_exc()
    print("enginediff: this is a bug of enginediff, and no verdict", file=sys.stderr)
    return 70


def _interrupt(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise KeyboardInterrupt
