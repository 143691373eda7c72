"""The object types of `char.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from qmpd.api.enums import ChardevBackendKind, DataFormat
from qmpd.api.structs.sockets import SocketAddressLegacy
from qmpd.qapi.model import Int64, Maybe, Model, by_member

__all__ = [
    "ChardevInfo",
    "ChardevBackendInfo",
    "QObjRingbufWriteArg",
    "QObjRingbufReadArg",
    "ChardevCommon",
    "ChardevFile",
    "ChardevHostdev",
    "ChardevSocket",
    "ChardevUdp",
    "ChardevMux",
    "ChardevStdio",
    "ChardevSpiceChannel",
    "ChardevSpicePort",
    "ChardevDBus",
    "ChardevVC",
    "ChardevRingbuf",
    "ChardevQemuVDAgent",
    "ChardevFileWrapper",
    "ChardevHostdevWrapper",
    "ChardevSocketWrapper",
    "ChardevUdpWrapper",
    "ChardevCommonWrapper",
    "ChardevMuxWrapper",
    "ChardevStdioWrapper",
    "ChardevSpiceChannelWrapper",
    "ChardevSpicePortWrapper",
    "ChardevQemuVDAgentWrapper",
    "ChardevDBusWrapper",
    "ChardevVCWrapper",
    "ChardevRingbufWrapper",
    "QObjChardevBackendBase",
    "ChardevBackend",
    "ChardevBackendFile",
    "ChardevBackendSerial",
    "ChardevBackendParallel",
    "ChardevBackendPipe",
    "ChardevBackendSocket",
    "ChardevBackendUdp",
    "ChardevBackendPty",
    "ChardevBackendNull",
    "ChardevBackendMux",
    "ChardevBackendMsmouse",
    "ChardevBackendWctablet",
    "ChardevBackendBraille",
    "ChardevBackendTestdev",
    "ChardevBackendStdio",
    "ChardevBackendConsole",
    "ChardevBackendSpicevmc",
    "ChardevBackendSpiceport",
    "ChardevBackendQemuVdagent",
    "ChardevBackendDbus",
    "ChardevBackendVc",
    "ChardevBackendRingbuf",
    "ChardevBackendMemory",
    "ChardevReturn",
    "QObjChardevAddArg",
    "QObjChardevChangeArg",
    "QObjChardevRemoveArg",
    "QObjChardevSendBreakArg",
]


class ChardevInfo(Model):
    """What there is to say about a character device."""

    label: str
    """its id"""

    filename: str
    """what it is, in words; sockets without a connection begin with 'disconnected:'"""

    frontend_open: bool = Field(alias="frontend-open")
    """whether it has a user, such as a monitor"""


class ChardevBackendInfo(Model):
    """A kind of character devices."""

    name: str
    """the name of the kind"""


class QObjRingbufWriteArg(Model):
    """The arguments of `ringbuf-write`."""

    device: str
    """the character device"""

    data: str
    """what to write"""

    format: Maybe[DataFormat] = None
    """how `data` stands for bytes (default: utf8)"""


class QObjRingbufReadArg(Model):
    """The arguments of `ringbuf-read`."""

    device: str
    """the character device"""

    size: Int64
    """how many bytes at most; at least 1"""

    format: Maybe[DataFormat] = None
    """how the bytes are returned (default: utf8, with U+FFFD for what is none, and ending at the first
    zero byte)
    """


class ChardevCommon(Model):
    """What can be said about any character device."""

    logfile: Maybe[str] = None
    """a file that gets a copy of all that is written to the device"""

    logappend: Maybe[bool] = None
    """write behind what `logfile` has, instead of emptying it (default: false)"""


class ChardevFileWrapper(Model):
    """A file, one level down."""

    data: ChardevFile
    """the settings"""


class ChardevHostdevWrapper(Model):
    """A device or pipe of the host, one level down."""

    data: ChardevHostdev
    """the settings"""


class ChardevSocketWrapper(Model):
    """A socket, one level down."""

    data: ChardevSocket
    """the settings"""


class ChardevUdpWrapper(Model):
    """Datagrams, one level down."""

    data: ChardevUdp
    """the settings"""


class ChardevCommonWrapper(Model):
    """What can be said about any character device, one level down."""

    data: ChardevCommon
    """the settings"""


class ChardevMuxWrapper(Model):
    """A device that several users share, one level down."""

    data: ChardevMux
    """the settings"""


class ChardevStdioWrapper(Model):
    """Standard input and output, one level down."""

    data: ChardevStdio
    """the settings"""


class ChardevSpiceChannelWrapper(Model):
    """A channel of a SPICE display, one level down."""

    data: ChardevSpiceChannel
    """the settings"""


class ChardevSpicePortWrapper(Model):
    """A port of a SPICE display, one level down."""

    data: ChardevSpicePort
    """the settings"""


class ChardevQemuVDAgentWrapper(Model):
    """The agent of a virtual machine's display, one level down."""

    data: ChardevQemuVDAgent
    """the settings"""


class ChardevDBusWrapper(Model):
    """A channel of a display on D-Bus, one level down."""

    data: ChardevDBus
    """the settings"""


class ChardevVCWrapper(Model):
    """A text console on a display, one level down."""

    data: ChardevVC
    """the settings"""


class ChardevRingbufWrapper(Model):
    """Memory that keeps the last bytes, one level down."""

    data: ChardevRingbuf
    """the settings"""


class QObjChardevBackendBase(Model):
    """The members all branches of `ChardevBackend` have."""

    type: ChardevBackendKind
    """its kind"""


class ChardevReturn(Model):
    """What there is to know about a new character device."""

    pty: Maybe[str] = None
    """the other side of a pseudo terminal"""


class QObjChardevAddArg(Model):
    """The arguments of `chardev-add`."""

    id: str
    """its id, not in use yet"""

    backend: ChardevBackend
    """what it is to be"""


class QObjChardevChangeArg(Model):
    """The arguments of `chardev-change`."""

    id: str
    """the id of both"""

    backend: ChardevBackend
    """what it is to be from now on"""


class QObjChardevRemoveArg(Model):
    """The arguments of `chardev-remove`."""

    id: str
    """its id"""


class QObjChardevSendBreakArg(Model):
    """The arguments of `chardev-send-break`."""

    id: str
    """the device's id"""


class ChardevFile(ChardevCommon):
    """A file."""

    in_: Maybe[str] = Field(default=None, alias="in")
    """a file to read from (default: there is nothing to read)"""

    out: str
    """the file to write to"""

    append: Maybe[bool] = None
    """write behind what `out` has, instead of emptying it (default: false)"""


class ChardevHostdev(ChardevCommon):
    """A device or pipe of the host."""

    device: str
    """its path; for pipes without the '.in' and '.out' of a pair"""


class ChardevSocket(ChardevCommon):
    """A socket."""

    addr: SocketAddressLegacy
    """where to listen or to connect to"""

    tls_creds: Maybe[str] = Field(default=None, alias="tls-creds")
    """credentials for TLS (not supported)"""

    tls_authz: Maybe[str] = Field(default=None, alias="tls-authz")
    """who may connect with TLS (not supported)"""

    server: Maybe[bool] = None
    """listen instead of connecting (default: true)"""

    wait: Maybe[bool] = None
    """when listening, wait for the first client before the command is done (default: false)"""

    nodelay: Maybe[bool] = None
    """send small packets at once (default: false; always so here)"""

    telnet: Maybe[bool] = None
    """speak Telnet (not supported)"""

    tn3270: Maybe[bool] = None
    """speak TN3270 (not supported)"""

    websocket: Maybe[bool] = None
    """speak WebSocket (not supported)"""

    reconnect: Maybe[Int64] = None
    """when connecting, the seconds after which a lost connection is tried again; 0 for never (default: 0)"""


class ChardevUdp(ChardevCommon):
    """Datagrams."""

    remote: SocketAddressLegacy
    """where they go"""

    local: Maybe[SocketAddressLegacy] = None
    """where they come to (default: a port that the system picks)"""


class ChardevMux(ChardevCommon):
    """A device that several users share."""

    chardev: str
    """the character device that they share"""


class ChardevStdio(ChardevCommon):
    """Standard input and output."""

    signal: Maybe[bool] = None
    """whether keys of the terminal send signals (default: true; changes nothing here)"""


class ChardevSpiceChannel(ChardevCommon):
    """A channel of a SPICE display."""

    type: str
    """the channel's name"""


class ChardevSpicePort(ChardevCommon):
    """A port of a SPICE display."""

    fqdn: str
    """the port's name"""


class ChardevDBus(ChardevCommon):
    """A channel of a display on D-Bus."""

    name: str
    """the channel's name"""


class ChardevVC(ChardevCommon):
    """A text console on a display."""

    width: Maybe[Int64] = None
    """its width in pixels"""

    height: Maybe[Int64] = None
    """its height in pixels"""

    cols: Maybe[Int64] = None
    """its width in characters"""

    rows: Maybe[Int64] = None
    """its height in characters"""


class ChardevRingbuf(ChardevCommon):
    """Memory that keeps the last bytes."""

    size: Maybe[Int64] = None
    """how many bytes, a power of two (default: 65536)"""


class ChardevQemuVDAgent(ChardevCommon):
    """The agent of a virtual machine's display."""

    mouse: Maybe[bool] = None
    """pass the mouse on"""

    clipboard: Maybe[bool] = None
    """pass the clipboard on"""


class ChardevBackendFile(ChardevFileWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `file`."""

    type: Literal[ChardevBackendKind.FILE]


class ChardevBackendSerial(ChardevHostdevWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `serial`."""

    type: Literal[ChardevBackendKind.SERIAL]


class ChardevBackendParallel(ChardevHostdevWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `parallel`."""

    type: Literal[ChardevBackendKind.PARALLEL]


class ChardevBackendPipe(ChardevHostdevWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `pipe`."""

    type: Literal[ChardevBackendKind.PIPE]


class ChardevBackendSocket(ChardevSocketWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `socket`."""

    type: Literal[ChardevBackendKind.SOCKET]


class ChardevBackendUdp(ChardevUdpWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `udp`."""

    type: Literal[ChardevBackendKind.UDP]


class ChardevBackendPty(ChardevCommonWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `pty`."""

    type: Literal[ChardevBackendKind.PTY]


class ChardevBackendNull(ChardevCommonWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `null`."""

    type: Literal[ChardevBackendKind.NULL]


class ChardevBackendMux(ChardevMuxWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `mux`."""

    type: Literal[ChardevBackendKind.MUX]


class ChardevBackendMsmouse(ChardevCommonWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `msmouse`."""

    type: Literal[ChardevBackendKind.MSMOUSE]


class ChardevBackendWctablet(ChardevCommonWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `wctablet`."""

    type: Literal[ChardevBackendKind.WCTABLET]


class ChardevBackendBraille(ChardevCommonWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `braille`."""

    type: Literal[ChardevBackendKind.BRAILLE]


class ChardevBackendTestdev(ChardevCommonWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `testdev`."""

    type: Literal[ChardevBackendKind.TESTDEV]


class ChardevBackendStdio(ChardevStdioWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `stdio`."""

    type: Literal[ChardevBackendKind.STDIO]


class ChardevBackendConsole(ChardevCommonWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `console`."""

    type: Literal[ChardevBackendKind.CONSOLE]


class ChardevBackendSpicevmc(ChardevSpiceChannelWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `spicevmc`."""

    type: Literal[ChardevBackendKind.SPICEVMC]


class ChardevBackendSpiceport(ChardevSpicePortWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `spiceport`."""

    type: Literal[ChardevBackendKind.SPICEPORT]


class ChardevBackendQemuVdagent(ChardevQemuVDAgentWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `qemu-vdagent`."""

    type: Literal[ChardevBackendKind.QEMU_VDAGENT]


class ChardevBackendDbus(ChardevDBusWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `dbus`."""

    type: Literal[ChardevBackendKind.DBUS]


class ChardevBackendVc(ChardevVCWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `vc`."""

    type: Literal[ChardevBackendKind.VC]


class ChardevBackendRingbuf(ChardevRingbufWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `ringbuf`."""

    type: Literal[ChardevBackendKind.RINGBUF]


class ChardevBackendMemory(ChardevRingbufWrapper, QObjChardevBackendBase):
    """`ChardevBackend` with `type` `memory`."""

    type: Literal[ChardevBackendKind.MEMORY]

ChardevBackend = TypeAliasType(
    "ChardevBackend",
    Annotated[
        Union[
            Annotated[ChardevBackendFile, Tag("type=file")],
            Annotated[ChardevBackendSerial, Tag("type=serial")],
            Annotated[ChardevBackendParallel, Tag("type=parallel")],
            Annotated[ChardevBackendPipe, Tag("type=pipe")],
            Annotated[ChardevBackendSocket, Tag("type=socket")],
            Annotated[ChardevBackendUdp, Tag("type=udp")],
            Annotated[ChardevBackendPty, Tag("type=pty")],
            Annotated[ChardevBackendNull, Tag("type=null")],
            Annotated[ChardevBackendMux, Tag("type=mux")],
            Annotated[ChardevBackendMsmouse, Tag("type=msmouse")],
            Annotated[ChardevBackendWctablet, Tag("type=wctablet")],
            Annotated[ChardevBackendBraille, Tag("type=braille")],
            Annotated[ChardevBackendTestdev, Tag("type=testdev")],
            Annotated[ChardevBackendStdio, Tag("type=stdio")],
            Annotated[ChardevBackendConsole, Tag("type=console")],
            Annotated[ChardevBackendSpicevmc, Tag("type=spicevmc")],
            Annotated[ChardevBackendSpiceport, Tag("type=spiceport")],
            Annotated[ChardevBackendQemuVdagent, Tag("type=qemu-vdagent")],
            Annotated[ChardevBackendDbus, Tag("type=dbus")],
            Annotated[ChardevBackendVc, Tag("type=vc")],
            Annotated[ChardevBackendRingbuf, Tag("type=ringbuf")],
            Annotated[ChardevBackendMemory, Tag("type=memory")],
        ],
        Discriminator(by_member("type")),
    ],
)
"""What a character device is to be."""
