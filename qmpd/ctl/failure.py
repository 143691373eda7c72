"""What can go wrong for a user of `qmpctl`, and the exit status that says so.

Every failure that a user is to see is a `CtlError`: one sentence, a class name for scripts, an exit status.
Leans on nothing; never prints.
"""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit statuses of `qmpctl`; scripts rely on them, so they never change their meaning."""

    OK = 0
    """Done as asked; where jobs were waited for, every one of them completed."""
    FAILED = 1
    """The server refused the command, or a job that was waited for did not complete."""
    USAGE = 2
    """The command line makes no sense, or an argument does not fit the server's schema."""
    NO_CONNECTION = 3
    """No session could be opened: no socket, refused, no permission, or not a QMP server."""
    SERVER_LOST = 4
    """The server went away midway; whether the last command was carried out is unknown."""
    TIMEOUT = 5
    """What was waited for did not happen within `--timeout`."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C."""


class CtlError(Exception):
    """A failure to show to the user as it stands.

    :param desc: one sentence for a human.
    :param error_class: for scripts: the QMP error class, or a name of ours (`ConnectError`, ...).
    """

    error_class = "Error"
    status = ExitStatus.FAILED

    def __init__(self, desc: str) -> None:
        super().__init__(desc)
        self.desc = desc


class UsageError(CtlError):
    """The user's words make no sense here."""

    error_class = "UsageError"
    status = ExitStatus.USAGE


class ConnectFailed(CtlError):
    """No QMP session could be opened."""

    error_class = "ConnectError"
    status = ExitStatus.NO_CONNECTION


class ServerLost(CtlError):
    """The session ended before the answer came."""

    error_class = "ServerLost"
    status = ExitStatus.SERVER_LOST


class TimedOut(CtlError):
    """What was waited for did not happen in time."""

    error_class = "Timeout"
    status = ExitStatus.TIMEOUT


class CommandFailed(CtlError):
    """The server answered with an error; class and description are the server's."""

    def __init__(self, error_class: str, desc: str) -> None:
        super().__init__(desc)
        self.error_class = error_class
