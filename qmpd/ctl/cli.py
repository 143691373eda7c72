"""The command line of `qmpctl`: options in, exit status out.

Each command only takes its words apart and hands them to `qmpd.ctl.actions`. `--socket` and `--json` may
stand before or after the command's name, since nobody remembers which it is.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from qmpd.ctl.failure import CtlError, ExitStatus, UsageError

EPILOG = (
    "Exit status: 0 done (and every job waited for completed), 1 the server refused or a job failed, "
    "2 wrong usage, 3 no connection, 4 the server went away midway, 5 timed out, 130 interrupted."
)

SocketOption = Annotated[
    str | None,
    typer.Option("--socket", "-s", metavar="PATH|HOST:PORT", help="The QMP server; default: $QMPD_SOCKET."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output: JSON.")]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", min=0.0, metavar="SECONDS", help="Give up waiting after this time."),
]
StateDirOption = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="The state directory of a daemon, with the catalog in it."),
]
CatalogOption = Annotated[
    str | None, typer.Option("--catalog", metavar="URL", help="The catalog: postgresql://USER@HOST/DATABASE.")
]

app = typer.Typer(
    help="Talk to a storage daemon over QMP: qmpd, qemu-storage-daemon or QEMU itself.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class RepairChoice(StrEnum):
    """What `check` may repair."""

    LEAKS = "leaks"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Options:
    """What every command needs to know."""

    socket: str | None
    as_json: bool

    def or_else(self, outer: Options) -> Options:
        """These, and where they say nothing, those given before the command's name."""
        return Options(self.socket or outer.socket, self.as_json or outer.as_json)


@app.callback()
def global_options(context: typer.Context, socket: SocketOption = None, as_json: JsonOption = False) -> None:
    """Talk to a storage daemon over QMP: qmpd, qemu-storage-daemon or QEMU itself."""
    context.obj = Options(socket or os.environ.get("QMPD_SOCKET"), as_json)


@app.command(epilog=EPILOG)
def run(
    context: typer.Context,
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="A QMP command, as query-jobs.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Arguments; dotted keys nest, the server's schema decides what a value is. "
            "A JSON object, or @FILE with one (@- reads standard input), gives several at once.",
        ),
    ] = None,
    oob: Annotated[bool, typer.Option("--oob", help="Execute out of band.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the jobs that it starts are over.")] = False,
    timeout: TimeoutOption = None,
    socket: SocketOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one command and print what it returns."""
    from qmpd.ctl import actions

    options = Options(socket, as_json).or_else(context.obj)
    _perform(
        options,
        lambda: actions.run(_target(options), command, words or [], oob, wait, timeout, as_json=options.as_json),
    )


@app.command(epilog=EPILOG)
def hmp(
    context: typer.Context,
    lines: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LINE]...", help="As 'info block' or 'qemu-io d0 length'; default: from stdin."),
    ] = None,
    socket: SocketOption = None,
    as_json: JsonOption = False,
) -> None:
    """Carry out lines of QEMU's monitor for people, and print what they answer."""
    from qmpd.ctl import actions

    options = Options(socket, as_json).or_else(context.obj)
    _perform(options, lambda: actions.hmp(_target(options), lines or [], as_json=options.as_json))


@app.command(epilog=EPILOG)
def events(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    names: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="NAME", help="Only these; * matches any text; may be repeated."),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="Stop after so many (1 without --follow).")
    ] = None,
    timeout: TimeoutOption = None,
    socket: SocketOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print events as they come, one a line; without --follow or --count, the next one."""
    from qmpd.ctl import actions

    options = Options(socket, as_json).or_else(context.obj)
    wanted = count if count is not None or follow else 1
    _perform(
        options,
        lambda: actions.events(_target(options), names or [], wanted, timeout, as_json=options.as_json),
    )


@app.command(epilog=EPILOG)
def jobs(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these jobs.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show progress until they are over.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until they are over; show the outcome.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", min=0.05, metavar="SECONDS", help="How often to ask for progress.")
    ] = 0.25,
    timeout: TimeoutOption = None,
    socket: SocketOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, or follow them; with --wait or --watch the exit status tells the outcome."""
    from qmpd.ctl import actions

    options = Options(socket, as_json).or_else(context.obj)
    names = ids or []
    if watch or wait:
        _perform(
            options,
            lambda: actions.follow_jobs(
                _target(options), names, interval, timeout, show_progress=watch, as_json=options.as_json
            ),
        )
    else:
        _perform(options, lambda: actions.list_jobs(_target(options), names, as_json=options.as_json))


@app.command(epilog=EPILOG)
def check(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A qcow2 image that nobody uses now.")],
    repair: Annotated[
        RepairChoice | None, typer.Option("--repair", "-r", help="Repair leaks only, or all that can be.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the consistency of a qcow2 image file; needs no server. Exit status 0 if nothing is wrong."""
    from qmpd.ctl import check as image_check

    options = Options(None, as_json).or_else(context.obj)
    wanted = "nothing" if repair is None else repair.value
    _perform(options, lambda: image_check.check(image, wanted, as_json=options.as_json))


catalog_app = typer.Typer(help="Work on the catalog's database itself; needs no server.", no_args_is_help=True)
app.add_typer(catalog_app, name="catalog")


@catalog_app.command("upgrade", epilog=EPILOG)
def catalog_upgrade(
    context: typer.Context, state_dir: StateDirOption = None, url: CatalogOption = None, as_json: JsonOption = False
) -> None:
    """Bring the database to the version of this program; makes one where there is none."""
    from qmpd.ctl import catalog

    options = Options(None, as_json).or_else(context.obj)
    _perform(options, lambda: catalog.upgrade(state_dir, url, as_json=options.as_json))


@catalog_app.command("check", epilog=EPILOG)
def catalog_check(
    context: typer.Context, state_dir: StateDirOption = None, url: CatalogOption = None, as_json: JsonOption = False
) -> None:
    """Check version, integrity, references and chains of backups. Exit status 0 if nothing is wrong."""
    from qmpd.ctl import catalog

    options = Options(None, as_json).or_else(context.obj)
    _perform(options, lambda: catalog.check(state_dir, url, as_json=options.as_json))


@catalog_app.command("export", epilog=EPILOG)
def catalog_export(
    context: typer.Context, state_dir: StateDirOption = None, url: CatalogOption = None
) -> None:
    """Write all of it to standard output, as lines of JSON."""
    from qmpd.ctl import catalog

    _perform(context.obj, lambda: catalog.export(state_dir, url))


@app.command(epilog=EPILOG)
def shell(
    context: typer.Context,
    pretty: Annotated[bool, typer.Option("--pretty", "-p", help="Print replies over several lines.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what is sent.")] = False,
    socket: SocketOption = None,
) -> None:
    """Start qmp-shell on the socket: type commands by hand, with Tab for their names."""
    from qmpd.ctl import shell as qmp_shell

    options = Options(socket, False).or_else(context.obj)
    try:
        status = qmp_shell.run(_target(options), pretty=pretty, verbose=verbose)
    except CtlError as error:
        status = _report(error, as_json=False)
    raise typer.Exit(int(status))


def _target(options: Options) -> str:
    if not options.socket:
        raise UsageError("which server? Give --socket PATH or HOST:PORT, or set QMPD_SOCKET")
    return options.socket


def _perform(options: Options, action: Callable[[], Coroutine[Any, Any, ExitStatus]]) -> None:
    """Run an action to its end, put a failure into words, and leave with the exit status."""

    try:
        status = asyncio.run(action())
        sys.stdout.flush()
    except CtlError as error:
        status = _report(error, as_json=options.as_json)
    except KeyboardInterrupt:
        status = ExitStatus.INTERRUPTED
    except BrokenPipeError:
        # Our reader has enough (`qmpctl events -f | head`): nothing left to say, nobody to say it to.
        _say_no_more()
        status = ExitStatus.OK
    except OSError as error:
        # Above all, the output has no room.
        _say_no_more()
        print(f"qmpctl: Error: {error.strerror or error}", file=sys.stderr)
        status = ExitStatus.FAILED
    raise typer.Exit(int(status))


def _say_no_more() -> None:
    """Let what is still to be written to standard output go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: CtlError, *, as_json: bool) -> ExitStatus:
    """With --json the error is the result and goes where results go; else it is a message."""
    if as_json:
        from qmpd.ctl.display import to_json

        print(to_json({"error": {"class": error.error_class, "desc": error.desc}}))
    else:
        print(f"qmpctl: {error.error_class}: {error.desc}", file=sys.stderr)
    return error.status
