"""The object types of `misc.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations


from pydantic import Field

from qmpd.api.enums import CommandLineParameterType
from qmpd.qapi.model import Int64, Array, Maybe, Model

__all__ = [
    "QObjHumanMonitorCommandArg",
    "NameInfo",
    "IOThreadInfo",
    "FdsetFdInfo",
    "FdsetInfo",
    "CommandLineParameterInfo",
    "CommandLineOptionInfo",
    "QObjQueryCommandLineOptionsArg",
]


class QObjHumanMonitorCommandArg(Model):
    """The arguments of `human-monitor-command`."""

    command_line: str = Field(alias="command-line")
    """the line, as 'info block' or 'qemu-io disk0 "read 0 64k"'"""

    cpu_index: Maybe[Int64] = Field(default=None, alias="cpu-index")
    """the processor that the line is about; only 0 is taken, and changes nothing"""


class NameInfo(Model):
    """What 'query-name' answers."""

    name: Maybe[str] = None
    """the daemon's name; absent if it was given none"""


class IOThreadInfo(Model):
    """An I/O thread."""

    id: str
    """the id of the object"""

    thread_id: Int64 = Field(alias="thread-id")
    """the thread that does its work"""

    poll_max_ns: Int64 = Field(alias="poll-max-ns")
    """how long it looks for work before it sleeps, in nanoseconds"""

    poll_grow: Int64 = Field(alias="poll-grow")
    """how that grows"""

    poll_shrink: Int64 = Field(alias="poll-shrink")
    """how that shrinks"""

    aio_max_batch: Int64 = Field(alias="aio-max-batch")
    """how many requests it hands over at once; 0 for any number"""


class FdsetFdInfo(Model):
    """A file descriptor of a set."""

    fd: Int64
    """its number"""

    opaque: Maybe[str] = None
    """what was said about it"""


class FdsetInfo(Model):
    """A set of file descriptors."""

    fdset_id: Int64 = Field(alias="fdset-id")
    """its number"""

    fds: Array[FdsetFdInfo]
    """the descriptors"""


class CommandLineParameterInfo(Model):
    """A parameter of an option."""

    name: str
    """its name"""

    type: CommandLineParameterType
    """its type"""

    help: Maybe[str] = None
    """what it is for"""

    default: Maybe[str] = None
    """what holds if it is not given"""


class CommandLineOptionInfo(Model):
    """An option of the command line."""

    option: str
    """its name"""

    parameters: Array[CommandLineParameterInfo]
    """its parameters; none for an option whose parameters are those of a command"""


class QObjQueryCommandLineOptionsArg(Model):
    """The arguments of `query-command-line-options`."""

    option: Maybe[str] = None
    """only this one"""
