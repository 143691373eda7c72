"""The object types of `sockets.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from qmpd.api.enums import SocketAddressType
from qmpd.api.structs.common import String
from qmpd.qapi.model import UInt16, Maybe, Model, by_member

__all__ = [
    "InetSocketAddressBase",
    "InetSocketAddress",
    "UnixSocketAddress",
    "VsockSocketAddress",
    "QObjSocketAddressBase",
    "SocketAddress",
    "SocketAddressInet",
    "SocketAddressUnix",
    "SocketAddressVsock",
    "SocketAddressFd",
    "InetSocketAddressWrapper",
    "UnixSocketAddressWrapper",
    "VsockSocketAddressWrapper",
    "StringWrapper",
    "QObjSocketAddressLegacyBase",
    "SocketAddressLegacy",
    "SocketAddressLegacyInet",
    "SocketAddressLegacyUnix",
    "SocketAddressLegacyVsock",
    "SocketAddressLegacyFd",
]


class InetSocketAddressBase(Model):
    """Host and port."""

    host: str
    """host name or address"""

    port: str
    """port number or the name of a service"""


class UnixSocketAddress(Model):
    """A Unix domain socket."""

    path: str
    """the socket's path"""

    abstract: Maybe[bool] = None
    """the name lives in the kernel's abstract namespace, not in the file system (default: false)"""

    tight: Maybe[bool] = None
    """an abstract name ends where `path` ends, instead of being padded with zero bytes (default: true)"""


class VsockSocketAddress(Model):
    """A vsock address."""

    cid: str
    """context identifier, a number or 'any'"""

    port: str
    """port number"""


class QObjSocketAddressBase(Model):
    """The members all branches of `SocketAddress` have."""

    type: SocketAddressType
    """the kind of address"""


class InetSocketAddressWrapper(Model):
    """A TCP address one level down."""

    data: InetSocketAddress
    """the address"""


class UnixSocketAddressWrapper(Model):
    """A Unix domain socket one level down."""

    data: UnixSocketAddress
    """the address"""


class VsockSocketAddressWrapper(Model):
    """A vsock address one level down."""

    data: VsockSocketAddress
    """the address"""


class StringWrapper(Model):
    """The name of a file descriptor one level down."""

    data: String
    """the name"""


class QObjSocketAddressLegacyBase(Model):
    """The members all branches of `SocketAddressLegacy` have."""

    type: SocketAddressType
    """the kind of address"""


class InetSocketAddress(InetSocketAddressBase):
    """A TCP address to listen at or to connect to."""

    numeric: Maybe[bool] = None
    """host and port are numbers, so that no name need be looked up (default: false)"""

    to: Maybe[UInt16] = None
    """when listening, the last port that may be taken if those before it are in use"""

    ipv4: Maybe[bool] = None
    """whether IPv4 may be used; by default whatever the host resolves to"""

    ipv6: Maybe[bool] = None
    """whether IPv6 may be used; by default whatever the host resolves to"""

    keep_alive: Maybe[bool] = Field(default=None, alias="keep-alive")
    """have the kernel probe an idle connection; not for sockets that listen (default: false)"""

    mptcp: Maybe[bool] = None
    """use multi-path TCP if the host has it (default: false)"""


class SocketAddressInet(InetSocketAddress, QObjSocketAddressBase):
    """`SocketAddress` with `type` `inet`."""

    type: Literal[SocketAddressType.INET]


class SocketAddressUnix(UnixSocketAddress, QObjSocketAddressBase):
    """`SocketAddress` with `type` `unix`."""

    type: Literal[SocketAddressType.UNIX]


class SocketAddressVsock(VsockSocketAddress, QObjSocketAddressBase):
    """`SocketAddress` with `type` `vsock`."""

    type: Literal[SocketAddressType.VSOCK]


class SocketAddressFd(String, QObjSocketAddressBase):
    """`SocketAddress` with `type` `fd`."""

    type: Literal[SocketAddressType.FD]


class SocketAddressLegacyInet(InetSocketAddressWrapper, QObjSocketAddressLegacyBase):
    """`SocketAddressLegacy` with `type` `inet`."""

    type: Literal[SocketAddressType.INET]


class SocketAddressLegacyUnix(UnixSocketAddressWrapper, QObjSocketAddressLegacyBase):
    """`SocketAddressLegacy` with `type` `unix`."""

    type: Literal[SocketAddressType.UNIX]


class SocketAddressLegacyVsock(VsockSocketAddressWrapper, QObjSocketAddressLegacyBase):
    """`SocketAddressLegacy` with `type` `vsock`."""

    type: Literal[SocketAddressType.VSOCK]


class SocketAddressLegacyFd(StringWrapper, QObjSocketAddressLegacyBase):
    """`SocketAddressLegacy` with `type` `fd`."""

    type: Literal[SocketAddressType.FD]

SocketAddress = TypeAliasType(
    "SocketAddress",
    Annotated[
        Union[
            Annotated[SocketAddressInet, Tag("type=inet")],
            Annotated[SocketAddressUnix, Tag("type=unix")],
            Annotated[SocketAddressVsock, Tag("type=vsock")],
            Annotated[SocketAddressFd, Tag("type=fd")],
        ],
        Discriminator(by_member("type")),
    ],
)
"""An address to listen at or to connect to."""

SocketAddressLegacy = TypeAliasType(
    "SocketAddressLegacy",
    Annotated[
        Union[
            Annotated[SocketAddressLegacyInet, Tag("type=inet")],
            Annotated[SocketAddressLegacyUnix, Tag("type=unix")],
            Annotated[SocketAddressLegacyVsock, Tag("type=vsock")],
            Annotated[SocketAddressLegacyFd, Tag("type=fd")],
        ],
        Discriminator(by_member("type")),
    ],
)
"""An address in the older spelling, which keeps the members of each kind in an object of their own. New
interfaces use SocketAddress.
"""
