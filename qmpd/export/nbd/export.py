"""One NBD export: a name under which clients find a node, and what they may do with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from qmpd.block.chain import top_of_guards
from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.graph import BlockGraph
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError
from qmpd.export.base import BlockExport, ExportBlockBackend, ExportSettings
from qmpd.export.nbd.connection import NbdConnection
from qmpd.export.nbd.holes import HoleFinder
from qmpd.export.nbd.negotiation import ExportInfo
from qmpd.export.nbd.server import NbdServer
from qmpd.export.nbd.settings import BitmapReference, NbdSettings
from qmpd.export.nbd.transmission import ExportAccess
from qmpd.nbd.numbers import MAX_STRING, Command, TransmissionFlag

_COMMON = (
    TransmissionFlag.HAS_FLAGS
    | TransmissionFlag.SEND_FLUSH
    | TransmissionFlag.SEND_FUA
    | TransmissionFlag.SEND_CACHE
    # All connections work on one backend, so a flush on any of them covers the writes of all.
    | TransmissionFlag.CAN_MULTI_CONN
)
_WRITABLE = (
    _COMMON
    | TransmissionFlag.SEND_TRIM
    | TransmissionFlag.SEND_WRITE_ZEROES
    | TransmissionFlag.SEND_FAST_ZERO
)
_READ_ONLY = _COMMON | TransmissionFlag.READ_ONLY


class NbdExport(BlockExport):
    """An export of an `NbdServer`; visible to clients from the moment it is made.

    Make it with `open`, within the graph's exclusive section.
    """

    kind: ClassVar[str] = "nbd"

    def __init__(
        self,
        settings: ExportSettings,
        server: NbdServer,
        backend: ExportBlockBackend,
        info: ExportInfo,
        bitmaps: Sequence[DirtyBitmap],
    ) -> None:
        super().__init__(settings.export_id, backend)
        self.info = info
        self._bitmaps = list(bitmaps)
        for bitmap in self._bitmaps:
            bitmap.lock()
        self.access = ExportAccess(
            backend,
            HoleFinder(backend, info.length),
            dict(zip(info.bitmaps, self._bitmaps, strict=True)),
            settings.writethrough,
            self._count_refused,
        )
        self._server = server
        self._clients: set[NbdConnection] = set()
        self._logged: dict[NbdConnection, Any] = {}
        server.add(self)

    @classmethod
    def open(
        cls, graph: BlockGraph, server: NbdServer, settings: ExportSettings, nbd: NbdSettings
    ) -> NbdExport:
        """Export a node.

        :raises GenericError: the server does not run, a name is too long or taken, a bitmap cannot be shown, or the
            node's permissions are against it. Nothing has changed then.
        """
        # While a mirror runs, it has to see what clients of the export write.
        node = top_of_guards(graph.lookup_node(settings.node_name))
        if settings.writable and node.read_only:
            raise GenericError(
                f"Node '{node.node_name}' is read-only; export it with 'writable' off, or reopen it for writing"
            )
        server.check_running()
        name = settings.node_name if nbd.name is None else nbd.name
        _check_text("name", name)
        _check_text("description", nbd.description or "")
        server.check_new_name(name)
        bitmaps = [_find_bitmap(graph, node, reference, settings.writable) for reference in nbd.bitmaps]
        info = ExportInfo(
            name,
            nbd.description,
            node.length,
            _WRITABLE if settings.writable else _READ_ONLY,
            alignment=_common_alignment(node),
            allocation_depth=nbd.allocation_depth,
            bitmaps=tuple(reference.name for reference in nbd.bitmaps),
        )
        perm = Perm.CONSISTENT_READ | (Perm.WRITE if settings.writable else Perm.NONE)
        # The length told in a handshake must stay true, so nobody may resize; all else is shared.
        backend = ExportBlockBackend(graph, settings.export_id, perm, Perm.ALL & ~Perm.RESIZE)
        backend.attach(node)
        return cls(settings, server, backend, info, bitmaps)

    def _count_refused(self, command: int) -> None:
        stats = self.backend.stats
        match command:
            case Command.READ | Command.CACHE:
                stats.read.invalid += 1
            case Command.WRITE | Command.WRITE_ZEROES:
                stats.write.invalid += 1
            case Command.FLUSH:
                stats.flush.invalid += 1
            case Command.TRIM:
                stats.unmap.invalid += 1

    @property
    def in_use(self) -> bool:
        """Clients are connected."""
        return bool(self._clients)

    def connected(self, connection: NbdConnection) -> None:
        """A client has chosen this export."""
        self._clients.add(connection)
        if self.client_log is not None:
            self._logged[connection] = self.client_log.connected(self.export_id, connection.peer)

    def disconnected(self, connection: NbdConnection) -> None:
        """A client has gone, and so has everything it had in flight."""
        self._clients.discard(connection)
        if self.client_log is not None and connection in self._logged:
            self.client_log.disconnected(self._logged.pop(connection))

    def withdraw(self) -> None:
        """Let no new client find it, and send away those it has."""
        self._server.remove(self)
        for client in list(self._clients):
            client.close()

    async def wait_unused(self) -> None:
        """Wait until its clients have gone and nothing of them is in flight."""
        for client in list(self._clients):
            await client.wait_closed()

    def release(self) -> None:
        """Give back bitmaps and node."""
        bitmaps, self._bitmaps = self._bitmaps, []
        for bitmap in bitmaps:
            bitmap.unlock()
        self.backend.detach()


def _common_alignment(node: BlockNode) -> int:
    """What clients are asked to align to; the disk's length has to be a multiple of it. The node takes any request."""
    alignment = node.request_alignment
    while node.length % alignment:
        alignment //= 2
    return alignment


def _check_text(member: str, text: str) -> None:
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise GenericError(f"'{member}' is not valid Unicode text") from None
    if length > MAX_STRING:
        raise GenericError(f"'{member}' is longer than {MAX_STRING} bytes, the most that NBD allows")


def _find_bitmap(
    graph: BlockGraph, node: BlockNode, reference: BitmapReference, writable: bool
) -> DirtyBitmap:
    owner = _bitmap_owner(graph, node, reference)
    bitmap = owner.bitmaps.lookup(reference.name)
    bitmap.check(allow_ro=True)
    # Of a bitmap that is named with its node, QEMU leaves it to the client whether it changes meanwhile.
    if reference.node_name is None and bitmap.enabled and not writable and not owner.read_only:
        raise GenericError(
            f"Bitmap '{reference.name}' is enabled and would change under a read-only export; disable it first"
        )
    return bitmap


def _bitmap_owner(graph: BlockGraph, node: BlockNode, reference: BitmapReference) -> BlockNode:
    if reference.node_name is not None:
        return graph.lookup(reference.node_name)
    candidate: BlockNode | None = node
    while candidate is not None:
        if candidate.bitmaps.find(reference.name) is not None:
            return candidate
        backing = candidate.children.get("backing")
        candidate = backing.node if backing is not None else candidate.filtered
    raise GenericError(
        f"Bitmap '{reference.name}' is neither in node '{node.node_name}' nor in a node that it filters or is backed by"
    )
