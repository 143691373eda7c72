"""The object types of `block-export.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from qmpd.api.enums import BlockExportRemoveMode, BlockExportType
from qmpd.api.structs.block_core import BlockDirtyBitmapOrStr
from qmpd.api.structs.sockets import SocketAddress, SocketAddressLegacy
from qmpd.qapi.model import UInt32, Array, Maybe, Model, by_member

__all__ = [
    "NbdServerOptions",
    "QObjNbdServerStartArg",
    "BlockExportOptionsNbdBase",
    "BlockExportOptionsNbd",
    "NbdServerAddOptions",
    "QObjNbdServerRemoveArg",
    "QObjBlockExportOptionsBase",
    "BlockExportOptions",
    "BlockExportOptionsNbdBranch",
    "QObjBlockExportDelArg",
    "QObjBlockExportDeletedArg",
    "BlockExportInfo",
]


class NbdServerOptions(Model):
    """The NBD server as it is asked for on the command line."""

    addr: SocketAddress
    """where it listens"""

    tls_creds: Maybe[str] = Field(default=None, alias="tls-creds")
    """the name of the credentials to demand TLS with (default: no TLS)"""

    tls_authz: Maybe[str] = Field(default=None, alias="tls-authz")
    """the name of the object that decides which client certificates may connect"""

    max_connections: Maybe[UInt32] = Field(default=None, alias="max-connections")
    """how many clients may be connected at once; 0 for any number (default: 0)"""


class QObjNbdServerStartArg(Model):
    """The arguments of `nbd-server-start`."""

    addr: SocketAddressLegacy
    """where it listens"""

    tls_creds: Maybe[str] = Field(default=None, alias="tls-creds")
    """the name of the credentials to demand TLS with (default: no TLS)"""

    tls_authz: Maybe[str] = Field(default=None, alias="tls-authz")
    """the name of the object that decides which client certificates may connect"""

    max_connections: Maybe[UInt32] = Field(default=None, alias="max-connections")
    """how many clients may be connected at once; 0 for any number (default: 0)"""


class BlockExportOptionsNbdBase(Model):
    """What both ways of adding an NBD export have."""

    name: Maybe[str] = None
    """the export's name for NBD clients (default: the name of the node or device)"""

    description: Maybe[str] = None
    """a text that clients may show"""


class QObjNbdServerRemoveArg(Model):
    """The arguments of `nbd-server-remove`."""

    name: str
    """the export's id"""

    mode: Maybe[BlockExportRemoveMode] = None
    """what happens to connected clients (default: 'safe')"""


class QObjBlockExportOptionsBase(Model):
    """The members all branches of `BlockExportOptions` have."""

    type: BlockExportType
    """the kind of export"""

    id: str
    """a name of its own; all exports share one set of names"""

    fixed_iothread: Maybe[bool] = Field(default=None, alias="fixed-iothread")
    """stay in the chosen I/O thread even if the node moves to another (default: false)"""

    iothread: Maybe[str] = None
    """the I/O thread to run in; qmpd has none"""

    node_name: str = Field(alias="node-name")
    """the node to export"""

    writable: Maybe[bool] = None
    """let clients write (default: false)"""

    writethrough: Maybe[bool] = None
    """make every write durable before it is answered (default: false)"""

    allow_inactive: Maybe[bool] = Field(default=None, alias="allow-inactive")
    """leave an inactive node so; only for reading (default: false)"""


class QObjBlockExportDelArg(Model):
    """The arguments of `block-export-del`."""

    id: str
    """the export"""

    mode: Maybe[BlockExportRemoveMode] = None
    """what happens to connected clients (default: 'safe')"""


class QObjBlockExportDeletedArg(Model):
    """The arguments of `BLOCK_EXPORT_DELETED`."""

    id: str
    """the export"""


class BlockExportInfo(Model):
    """An export."""

    id: str
    """its name"""

    type: BlockExportType
    """its kind"""

    node_name: str = Field(alias="node-name")
    """the node that is exported"""

    shutting_down: bool = Field(alias="shutting-down")
    """whether it is being removed"""


class BlockExportOptionsNbd(BlockExportOptionsNbdBase):
    """An NBD export."""

    bitmaps: Maybe[Array[BlockDirtyBitmapOrStr]] = None
    """dirty bitmaps that clients may read as the metadata context 'qemu:dirty-bitmap:NAME'; looked up in
    the node and what lies below it if only a name is given
    """

    allocation_depth: Maybe[bool] = Field(default=None, alias="allocation-depth")
    """let clients read the metadata context 'qemu:allocation-depth' (default: false)"""


class NbdServerAddOptions(BlockExportOptionsNbdBase):
    """An NBD export in the older spelling."""

    device: str
    """the node or device to export"""

    writable: Maybe[bool] = None
    """let clients write (default: false)"""

    bitmap: Maybe[str] = None
    """a dirty bitmap that clients may read as the metadata context 'qemu:dirty-bitmap:NAME'"""


class BlockExportOptionsNbdBranch(BlockExportOptionsNbd, QObjBlockExportOptionsBase):
    """`BlockExportOptions` with `type` `nbd`."""

    type: Literal[BlockExportType.NBD]

BlockExportOptions = TypeAliasType(
    "BlockExportOptions",
    Annotated[
        Union[
            Annotated[BlockExportOptionsNbdBranch, Tag("type=nbd")],
        ],
        Discriminator(by_member("type")),
    ],
)
"""An export."""
