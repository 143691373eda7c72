"""The object types of `control.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations



from qmpd.api.enums import MonitorMode, QMPCapability
from qmpd.qapi.model import Int64, Array, Maybe, Model

__all__ = [
    "QObjQmpCapabilitiesArg",
    "VersionTriple",
    "VersionInfo",
    "CommandInfo",
    "MonitorOptions",
]


class QObjQmpCapabilitiesArg(Model):
    """The arguments of `qmp_capabilities`."""

    enable: Maybe[Array[QMPCapability]] = None
    """the capabilities to turn on, out of those that the greeting offers (default: none)"""


class VersionTriple(Model):
    """A version number."""

    major: Int64
    """changes with everything"""

    minor: Int64
    """changes with each release"""

    micro: Int64
    """changes with each set of corrections"""


class VersionInfo(Model):
    """What 'query-version' answers."""

    qemu: VersionTriple
    """the version of QEMU whose interface this is"""

    package: str
    """which program this is, and its own version"""


class CommandInfo(Model):
    """A command that may be used."""

    name: str
    """its name"""


class MonitorOptions(Model):
    """A monitor as it is asked for on the command line."""

    id: Maybe[str] = None
    """the monitor's name"""

    mode: Maybe[MonitorMode] = None
    """what it speaks (default: 'control')"""

    pretty: Maybe[bool] = None
    """indent the JSON that it writes (default: false)"""

    chardev: str
    """the name of the character device it uses"""
