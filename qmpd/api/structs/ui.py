"""The object types of `ui.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations


from pydantic import Field

from qmpd.api.enums import NetworkAddressFamily, SpiceQueryMouseMode, VncPrimaryAuth, VncVencryptSubAuth
from qmpd.qapi.model import Int64, Array, Maybe, Model

__all__ = [
    "VncBasicInfo",
    "VncClientInfo",
    "VncInfo",
    "VncServerInfo2",
    "VncInfo2",
    "SpiceBasicInfo",
    "SpiceChannel",
    "SpiceInfo",
    "MouseInfo",
]


class VncBasicInfo(Model):
    """One end of a connection to a screen."""

    host: str
    """its address"""

    service: str
    """its port"""

    family: NetworkAddressFamily
    """the kind of address"""

    websocket: bool
    """whether it speaks the protocol of browsers"""


class VncInfo(Model):
    """The screen that is served by VNC."""

    enabled: bool
    """whether there is one"""

    host: Maybe[str] = None
    """the address"""

    family: Maybe[NetworkAddressFamily] = None
    """the kind of address"""

    service: Maybe[str] = None
    """the port"""

    auth: Maybe[str] = None
    """how clients log in"""

    clients: Maybe[Array[VncClientInfo]] = None
    """the clients"""


class VncInfo2(Model):
    """A server of VNC."""

    id: str
    """its id"""

    server: Array[VncServerInfo2]
    """where it listens"""

    clients: Array[VncClientInfo]
    """the clients"""

    auth: VncPrimaryAuth
    """how clients log in"""

    vencrypt: Maybe[VncVencryptSubAuth] = None
    """how they do so with that method"""

    display: Maybe[str] = None
    """what it shows"""


class SpiceBasicInfo(Model):
    """One end of a connection to a screen."""

    host: str
    """its address"""

    port: str
    """its port"""

    family: NetworkAddressFamily
    """the kind of address"""


class SpiceInfo(Model):
    """The screen that is served by SPICE."""

    enabled: bool
    """whether there is one"""

    migrated: bool
    """whether the guest has moved away"""

    host: Maybe[str] = None
    """the address"""

    port: Maybe[Int64] = None
    """the port"""

    tls_port: Maybe[Int64] = Field(default=None, alias="tls-port")
    """the port for encrypted connections"""

    auth: Maybe[str] = None
    """how clients log in"""

    compiled_version: Maybe[str] = Field(default=None, alias="compiled-version")
    """the version of the server"""

    mouse_mode: SpiceQueryMouseMode = Field(alias="mouse-mode")
    """who moves the mouse"""

    channels: Maybe[Array[SpiceChannel]] = None
    """the connections"""


class MouseInfo(Model):
    """A mouse."""

    name: str
    """its name"""

    index: Int64
    """its number"""

    current: bool
    """whether it is the one in use"""

    absolute: bool
    """whether it tells where it is, rather than how it moves"""


class VncClientInfo(VncBasicInfo):
    """A client of a screen."""

    x509_dname: Maybe[str] = None
    """the name in its certificate"""

    sasl_username: Maybe[str] = None
    """the name by which it has logged in"""


class VncServerInfo2(VncBasicInfo):
    """A place at which screens are served by VNC."""

    auth: VncPrimaryAuth
    """how clients log in"""

    vencrypt: Maybe[VncVencryptSubAuth] = None
    """how they do so with that method"""


class SpiceChannel(SpiceBasicInfo):
    """A connection to a screen."""

    connection_id: Int64 = Field(alias="connection-id")
    """all of one client have it in common"""

    channel_type: Int64 = Field(alias="channel-type")
    """what it is for"""

    channel_id: Int64 = Field(alias="channel-id")
    """its number"""

    tls: bool
    """whether it is encrypted"""
