"""`qmpd` and `python -m qmpd`: the process around the daemon.

Reads the command line, goes to the background if asked to, runs the daemon on uvloop, and turns the outcome into
an exit status: 0 after a clean shutdown, 1 when the daemon could not start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from qmpd import __version__
from qmpd.options import OptionError, Options, parse_options

_READY = b"\1"


def main() -> int:
    """Run with the words of `sys.argv`; the exit status."""
    try:
        options = parse_options(sys.argv[1:], __version__)
    except OptionError as error:
        return _fail(str(error))
    if options.answer is not None and not options.steps:
        sys.stdout.write(options.answer)
        return 0
    if options.daemonize:
        return _run_in_background(options)
    return _run(options, lambda: None)


def _fail(message: str) -> int:
    sys.stderr.write(f"qmpd: {message}\n")
    sys.stderr.flush()
    return 1


def _run(options: Options, on_ready: Callable[[], None]) -> int:
    """Run the daemon in this process; the exit status."""
    import logging

    import uvloop

    from qmpd.daemon import Daemon, StartError

    logging.basicConfig(level=logging.WARNING, format="qmpd: %(message)s")
    # What the database does wrong is told once, in our words.
    for name in ("oslo_db", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    try:
        uvloop.run(Daemon(options).run(on_ready))
    except StartError as error:
        return _fail(str(error))
    return 0


def _run_in_background(options: Options) -> int:
    """Fork; the parent's status is 0 as soon as the child serves, and 1 if it never does."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            return 0 if pipe.read(1) == _READY else 1
    os.close(reader)
    os.setsid()

    def on_ready() -> None:
        _leave_terminal()
        os.write(writer, _READY)
        os.close(writer)

    return _run(options, on_ready)


def _leave_terminal() -> None:
    """What a background process does not keep: its directory and its standard streams."""
    os.chdir("/")
    sys.stdout.flush()
    sys.stderr.flush()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main())
