"""The command line: parses, calls one function, prints, sets the exit code.

Exit codes: 0 equivalent, 1 different, 2 usage or configuration, 3 inconclusive, 4 the engine
failed, 70 a bug of ours, 130 interrupted. Heavy imports stand inside the commands, so that
`--help` is fast.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import ConfigError, EnginediffError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.comparison import Comparison
    from harness.verdict import Verdict

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
    against: Annotated[
        str | None, typer.Option(help="A trace, a reference pin, or a reference's URL.")
    ] = None,
    consensus: Annotated[
        bool, typer.Option("--consensus", help="No reference: which of three or more stands alone.")
    ] = False,
    changes: Changes = None,
    numerics: Annotated[
        str | None, typer.Option(help="What a URL promises: fp32 or bf16. A pin says so itself.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the order in which prompts are drawn.")] = 0,
    alpha: Annotated[
        float | None, typer.Option(help="Chance of a wrong DIFFERENT, at most; else the trace's.")
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="Chance of a wrong EQUIVALENT, at most; else the trace's.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Keep the reference running: it scores what is decoded.")
    ] = False,
    every_level: Annotated[
        bool, typer.Option("--every-level", help="Go on after a level has said DIFFERENT.")
    ] = False,
    narrow: Annotated[
        bool | None,
        typer.Option(
            "--narrow/--no-narrow",
            help="Relaunch without parts of an engine that is DIFFERENT; else where it is cheap.",
        ),
    ] = None,
    at_once: Annotated[
        int, typer.Option(min=1, help="Candidates side by side, where the node has room.")
    ] = 1,
    run: Annotated[
        Path | None, typer.Option(help="The run directory; new or empty. Else one of its own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Decides whether candidates compute the same model as a reference, or as each other."""
    from harness import session, together
    from harness.candidate import is_url
    from harness.checker import calibration
    from harness.terminal import announcing
    from launchers.pins import NUMERICS_CLASSES

    calibration.chosen(None, alpha, beta)  # refused here, before anything is recorded
    if (against is None) != consensus:
        raise ConfigError("check needs either --against (a trace, a pin or a URL) or --consensus")
    if consensus and live:
        raise ConfigError("--live: with --consensus there is no reference to keep running")
    if consensus and at_once > 1:
        raise ConfigError("--at-once: with --consensus one engine runs after another")
    folder = _run_directory(run)
    with announcing() as announce:
        # What can be refused is refused before a reference is recorded.
        promises = [session.promise(n, changes or (), numerics, announce) for n in candidate]
        classes = [known for known in NUMERICS_CLASSES if known in promises]
        trace = (
            None
            if against is None
            else session.trace_of(against, classes=classes, announce=announce)
        )
        how = together.How(
            changes=changes or (),
            numerics=numerics,
            settings=session.settings(
                trace, seed=seed, alpha=alpha, beta=beta, every_level=every_level
            ),
            live=against if live or (against is not None and is_url(against)) else None,
            narrow=narrow,
            at_once=at_once,
            run=folder,
            announce=announce,
        )
        if trace is None:
            result = together.find_odd_one(candidate, how)
        elif len(candidate) > 1:
            result = together.check_against(candidate, trace, how)
        else:
            result = together.check_one(candidate[0], trace, how)
    raise typer.Exit(_shown(result, folder, as_json=as_json))


def _shown(result: Verdict | Comparison, folder: Path, *, as_json: bool) -> int:
    """Prints what a check found; returns the exit code that it means."""
    from harness import comparison, terminal, verdict

    if isinstance(result, verdict.Verdict):
        (terminal.show_json if as_json else terminal.show)(result, folder)
        return verdict.exit_code(result.verdict)
    (terminal.show_comparison_json if as_json else terminal.show_comparison)(result, folder)
    return comparison.exit_code(result.rows)


def _run_directory(chosen: Path | None) -> Path:
    """An absolute path where nothing is yet."""
    from harness import session

    if chosen is None:
        return session.new_run()
    if chosen.exists() and (not chosen.is_dir() or any(chosen.iterdir())):
        raise ConfigError(f"--run {chosen}: is there already; it must be new, or an empty folder")
    folder = chosen.absolute()
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not nearest.is_dir():
        raise ConfigError(f"--run {chosen}: {nearest} is a file, and holds no folder")
    return folder


@app.command()
def record(
    reference: Annotated[str, typer.Argument(help="A reference pin, or the URL of one.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="NAME.trace")],
    changes: Changes = None,
    tokens_from: Annotated[
        str | None,
        typer.Option(
            help="A pin or URL that continues the prompts of a streamed reference, and renders "
            "them where it has no tokenizer."
        ),
    ] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option(metavar="PIN", help="A further engine known to be right; repeatable."),
    ] = None,
    longest: Annotated[
        int | None,
        typer.Option(metavar="TOKENS", help="Add strata of long prompts: 2048, 4096 ... to this."),
    ] = None,
    gamma: Annotated[
        float | None, typer.Option(help="Tolerance over the worst benign mean; else 2.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Chance of a wrong DIFFERENT, at most; else 0.005.")
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="Chance of a wrong EQUIVALENT, at most; else 0.005.")
    ] = None,
) -> None:
    """Records a reference, its benign pool and the tolerances, to check candidates against."""
    from harness import session
    from harness.checker import calibration
    from harness.recording import Trace
    from harness.terminal import announcing

    spec = calibration.chosen(gamma, alpha, beta)
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
            calibration=spec,
            further=pool or (),
            longest=longest,
        )
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    for weakness in session.weaknesses(Trace(output.absolute())):
        typer.echo(f"  {weakness}")


@app.command()
def compare(
    reference: Annotated[Path, typer.Argument(help="Scored records: JSON, one a line.")],
    candidate: Annotated[Path, typer.Argument(help="Those of the same cases, another engine.")],
    margin: Annotated[
        float | None, typer.Option(help="Is it not worse by more than this? 0.03 is 3 points.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Chance of a wrong DIFFERENT, at most.")] = 0.005,
    sequential: Annotated[
        bool, typer.Option("--sequential", help="The runs go on, and are looked at again.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of sign flips and bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Whether one engine scores better or worse than another: DIFFERENT or INCONCLUSIVE."""
    import numpy as np

    from harness import tasks_text
    from harness.base import scored
    from harness.checker.tasks import comparing
    from harness.checker.tasks.suite import Question

    for name, value in (("--alpha", alpha), ("--margin", margin)):
        if value is not None and not 0 < value < 1:
            raise ConfigError(f"{name} is {value}; it must lie between 0 and 1")
    finding = comparing.compare(
        scored.read(reference),
        scored.read(candidate),
        Question(alpha=alpha, margin=margin, sequential=sequential),
        np.random.default_rng(seed),
    )
    (tasks_text.show_json if as_json else tasks_text.show)(finding)
    raise typer.Exit(tasks_text.EXIT_CODES[finding.word])


@app.command()
def doctor(
    pin: Annotated[
        list[str] | None, typer.Argument(help="Pins (MODEL/NAME or a path); none: the node alone.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="A hardware profile, or the path of one; else the pin's.")
    ] = None,
    changes: Changes = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Every server of the Ray cluster, in one table.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """What would keep a pin from running here: its flags, model files, and this node."""
    import json

    from harness import doctor as diagnosis
    from harness import doctor_text
    from harness.terminal import announcing

    if changes and not pin:
        raise ConfigError(f"--set {changes[0]} changes a pin, and none is named")
    if cluster:
        raise typer.Exit(_examined(pin or (), changes or (), profile, as_json=as_json))
    with announcing() as announce:
        if pin:
            found = diagnosis.of_pins(pin, changes or (), profile, announce)
        else:
            found = [diagnosis.of_node(profile)]
    if as_json:
        typer.echo(json.dumps(diagnosis.to_table(found), indent=1))
    else:
        doctor_text.show(found)
    raise typer.Exit(diagnosis.exit_code(found))


def _examined(
    names: Sequence[str], changes: Sequence[str], profile: str | None, *, as_json: bool
) -> int:
    """Prints what was found of a cluster; returns the exit code that it means."""
    import json

    from harness import cluster_text
    from harness.nodes import cluster_doctor, cluster_findings
    from harness.terminal import announcing

    with announcing() as announce:
        found = cluster_doctor.examine(names, changes, profile, announce)
    if as_json:
        typer.echo(json.dumps(cluster_findings.to_table(found), indent=1))
    else:
        cluster_text.show(found)
    return cluster_findings.exit_code(found)


@app.command()
def serve(
    pin: Annotated[str, typer.Argument(help="MODEL/NAME or a path.")],
    enforce: Annotated[
        bool, typer.Option("--enforce", help="Refuse what the model's sampling contract forbids.")
    ] = False,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The port; else a free one.")
    ] = None,
    changes: Changes = None,
) -> None:
    """Starts a pin's engine and prints its base URL; Ctrl-C stops it."""
    from harness import serving
    from harness.terminal import announcing

    def tell(url: str) -> None:
        print(url, flush=True)

    with announcing() as announce:
        serving.serve(
            pin,
            changes or (),
            address=serving.Address(host=host, port=port),
            enforce=enforce,
            announce=announce,
            tell=tell,
        )


@app.command()
def run(
    spec: Annotated[Path, typer.Argument(help="What to ask of whom: a TOML file.")],
    folder: Annotated[
        Path | None, typer.Option("--run", help="The run's directory; else one named by the spec.")
    ] = None,
    metrics: Annotated[
        int, typer.Option(min=0, max=65535, help="The port of /metrics; else a free one.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Asks suites of engines, and goes on where it was stopped or killed: the same command."""
    from harness import run as running
    from harness import run_text

    with run_text.terminal() as terminal:
        report = running.run(spec, folder, metrics, terminal)
    (run_text.show_json if as_json else run_text.show)(report)
    if report.stopped:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if report.answered else 4)


@app.command()
def verify(
    deployment: Annotated[list[str], typer.Argument(help="Pins (MODEL/NAME or a path) or URLs.")],
    against: Annotated[
        str | None,
        typer.Option(help="A trace, a reference pin or its URL; else the model's own, if it runs."),
    ] = None,
    contract: Annotated[
        str | None, typer.Option(help="The model's family, of a URL: kimi-k2.6. A pin names it.")
    ] = None,
    enforce: Annotated[
        bool, typer.Option("--enforce", help="Each pin also behind `serve --enforce`.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Minutes: fewer cases, a shorter trace, no narrowing.")
    ] = False,
    trigger: Annotated[
        Path | None, typer.Option(help="Cases of tool calls: JSON lines, or K2-Vendor-Verifier's.")
    ] = None,
    changes: Changes = None,
    numerics: Annotated[
        str | None, typer.Option(help="What a URL promises: fp32 or bf16. A pin says so itself.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of one answer; else as the context allows.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of prompts and of cases.")] = 0,
    folder: Annotated[
        Path | None, typer.Option("--run", help="The directory; else one named by the options.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Before users see a deployment: what it computes, and all that it owes them. The same command
    goes on where it was stopped."""
    from harness import run_text, verify_text
    from harness.verifying import verify as verifying
    from harness.verifying.how import How

    asks = How(
        names=tuple(dict.fromkeys(deployment)),
        changes=tuple(changes or ()),
        against=against,
        contract=contract,
        enforce=enforce,
        quick=quick,
        trigger=None if trigger is None else str(trigger.absolute()),
        numerics=numerics,
        max_tokens=max_tokens,
        seed=seed,
    )
    with run_text.terminal() as terminal:
        found = verifying.verify(asks, folder, terminal)
    if found is None:
        raise typer.Exit(INTERRUPTED)
    (verify_text.show_json if as_json else verify_text.show)(*found)
    raise typer.Exit(found[0].exit_code)


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """How far a run is, from another terminal."""
    from harness import run_text
    from harness.runs import status as statuses

    found, process = statuses.read(folder)
    if as_json:
        run_text.show_status_json(found, process)
    else:
        run_text.show_status(folder, found, process)


@app.command()
def detect(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """What a run's answers show by themselves: silence, loops, leaks, calls that are wrong."""
    from harness import detect_text, detecting

    found = detecting.of_run(folder)
    (detect_text.show_json if as_json else detect_text.show)(found)


@env.command("build")
def env_build(pin: str, changes: Changes = None) -> None:
    """Builds the environment of a pin's engine; once, then it is reused."""
    from harness.terminal import announcing
    from launchers import environments, pins

    name = pins.read(pin, changes or ()).pin.engine.environment
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
    from harness.report.text import readable

    lines = [readable(line) for line in str(error).split("\n")]  # a server's words may be in them
    print("enginediff:", "\n".join(lines), file=sys.stderr)


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
    except SystemExit:  # click's 1, where our reader has left (`| head`): it would mean DIFFERENT
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 4
    except OSError as error:
        code = _machine_failed(error) if error.errno in OF_THE_MACHINE else _our_bug()
    except Exception:  # noqa: BLE001 - the edge: a bug of ours must never look like a verdict
        code = _our_bug()
    if code == INTERRUPTED:  # typer turns Ctrl-C inside a command into this code
        with contextlib.suppress(OSError):  # nobody may be left to read it: the code says it too
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


if __name__ == "__main__":
    main()
