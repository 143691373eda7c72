"""The qcow2 driver: opens an image, puts its parts together, and answers for it as a `BlockDriver`.

Opening reads header, L1 and refcount table and checks them; L2 tables and refcount blocks are read as they are
needed. An image whose structures turn out to contradict each other is reported once (BLOCK_IMAGE_CORRUPTED) and is
read-only from then on; if that was found while changing it, it is marked as corrupt in its header too.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import os
from array import array
from collections.abc import Coroutine, Iterable, Sequence
from collections.abc import Mapping as MappingABC
from typing import TYPE_CHECKING, Any, Protocol

from qmpd.block.driver import BlockDriver, Buffer, HostPiece, OpenContext, Range, not_supported
from qmpd.block.drivers.qcow2 import amending, bitmaps, caching, overlap, packing, resizing, snapshots
from qmpd.block.drivers.qcow2 import header as headers
from qmpd.block.drivers.qcow2.bitmaps import StoredBitmaps
from qmpd.block.drivers.qcow2.datapath import DataPath
from qmpd.block.drivers.qcow2.header import Compatible, Compression, Header, Incompatible
from qmpd.block.drivers.qcow2.mapping import Mapping
from qmpd.block.drivers.qcow2.metadata import Freed, Metadata
from qmpd.block.drivers.qcow2.overlap import Structure
from qmpd.block.drivers.qcow2.refcounts import TABLE_OFFSET_MASK, Corruption, Refcounts
from qmpd.block.drivers.qcow2.snapshots import Snapshot
from qmpd.block.drivers.qcow2.store import FileStore
from qmpd.block.extents import Extent
from qmpd.block.filenames import full_name, is_same_path, parse_filename, validate
from qmpd.block.permissions import Perm
from qmpd.block.probing import backing_options
from qmpd.errors import GenericError, os_error_text

if TYPE_CHECKING:
    from qmpd.block.node import BlockNode, NodeOptions

MAX_BACKING_DEPTH = 128


class Qcow2Options(Protocol):
    """What the driver reads of its branch of `BlockdevOptions`."""

    file: Any
    backing: Any
    data_file: Any
    overlap_check: Any
    lazy_refcounts: bool | None
    pass_discard_request: bool | None
    pass_discard_snapshot: bool | None
    pass_discard_other: bool | None
    cache_size: int | None
    l2_cache_size: int | None
    l2_cache_entry_size: int | None
    refcount_cache_size: int | None
    cache_clean_interval: int | None
    model_fields_set: set[str]


def _io_error() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))


@dataclasses.dataclass(frozen=True, slots=True)
class _Choices:
    """What the driver's own options choose. Memory in bytes, the interval in seconds."""

    lazy: bool
    discarded: frozenset[Freed]
    l2_bytes: int
    part_bytes: int
    refcount_bytes: int
    clean_interval: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Reopened:
    """What will hold after reopening; None for what stays."""

    choices: _Choices | None
    protected: overlap.Protected | None


class Qcow2Driver(BlockDriver):
    """One open image."""

    main_child = "file"
    supports_backing = True
    supports_internal_snapshots = True
    mutable_options = frozenset(
        {
            "lazy-refcounts",
            "pass-discard-request",
            "pass-discard-snapshot",
            "pass-discard-other",
            "overlap-check",
            "cache-size",
            "l2-cache-size",
            "l2-cache-entry-size",
            "refcount-cache-size",
            "cache-clean-interval",
        }
    )
    supports_persistent_bitmaps = True

    header: Header
    path: DataPath
    meta: Metadata
    refcounts: Refcounts
    store: FileStore

    def __init__(self, format_name: str = "qcow2") -> None:
        super().__init__(format_name)
        self.snapshots: list[Snapshot] = []
        self.bitmaps = StoredBitmaps(self)
        self.checking = False
        self.snapshot_under_way = False
        self._refreshing: asyncio.Task[None] | None = None
        self._flags_wrong = False
        self._unused: list[int] = []
        self._header_lock = asyncio.Lock()
        self.corrupted = False
        self._reported = False
        self.backing_as_opened: str | None = None
        self._opened = False
        self._clean_interval = 0
        self._cleaning: asyncio.TimerHandle | None = None

    # Opening.

    @property
    def file(self) -> BlockNode:
        """The node that holds the image."""
        return self.node.children["file"].node

    @property
    def backing_node(self) -> BlockNode | None:
        """The node that shows through."""
        child = self.node.children.get("backing")
        return None if child is None else child.node

    async def open(self, options: Qcow2Options, context: OpenContext) -> None:
        await self._open_file(options, context)
        try:
            await self._read_image(options, context)
        except OSError as error:
            raise GenericError(f"The qcow2 image '{self.filename()}' cannot be read: {os_error_text(error)}") from error
        except Corruption as corruption:
            raise GenericError(f"The qcow2 image '{self.filename()}' is damaged: {corruption}") from corruption
        finally:
            if not self._opened:
                await self._put_bitmaps_down(stored=False)

    async def _open_file(self, options: Qcow2Options, context: OpenContext) -> None:
        try:
            await context.open_child("file", options.file, protocol=True)
        except GenericError:
            if self.node.read_only or not self.node.options.auto_read_only:
                raise
            self.node.read_only = True
            await context.open_child("file", options.file, protocol=True)

    async def _read_image(self, options: Qcow2Options, context: OpenContext) -> None:
        self.store = store = FileStore(self.file)
        start = bytes(await store.read(0, min(headers.PROBE_LENGTH, store.length)))
        cluster = await store.read(0, min(headers.header_extent(start), store.length))
        self.header = header = headers.parse(bytes(cluster), store.length)
        self.length = header.size
        self.cluster_size = header.cluster_size
        if header.incompatible & Incompatible.CORRUPT and not self.node.read_only and not self.checking:
            raise GenericError(
                f"The qcow2 image '{self.filename()}' is marked as corrupt; open it read-only, or repair it first"
            )
        l1 = packing.words(await store.read(header.l1_offset, header.l1_size * 8))
        await store.event("reftable_load")
        table = packing.words(
            await store.read(header.refcount_table_offset, header.refcount_table_clusters << header.cluster_bits)
        )
        self.snapshots = await snapshots.load(store, header)
        data = await self._open_data_file(options, context)
        watched = overlap.watched_by(options.overlap_check)
        forbidden, torn = await overlap.survey(store, header, l1, table, self.snapshots, watched)
        l2_bytes, refcount_bytes = caching.sizes(options, header)
        part_bytes = caching.part_size(options, header)
        self._refcount_bytes = refcount_bytes
        self.refcounts = Refcounts(store, header, table, forbidden, self.write_header, refcount_bytes)
        self.meta = Metadata(store, header, l1, self.refcounts, forbidden, l2_bytes, part_bytes, data.sync)
        self.meta.distrust(torn)
        self.refcounts.distrust(torn)
        self.meta.before_lazy = self.mark_dirty
        self.path = DataPath(header, store, data, self.meta, self.refcounts, context.pool)
        self.supports_persistent_bitmaps = header.version >= 3
        self.supports_compression = not header.has_data_file
        await self._open_backing(options, context)
        self._take_choices(self._choices(options, self.node.options.discard_unmap))
        await self.bitmaps.read_directory()
        if not self.checking:
            await self.bitmaps.load()
            if not self.node.read_only:
                await self._get_ready_to_write()
        self._clean_caches()
        self._opened = True

    def adopt_refcounts(self, table: array[int], end: int, old: range) -> None:
        """Use other refcount structures from now on: those that the header points to.

        :param end: the first host cluster after everything.
        :param old: the host clusters of the table that was in use.
        """
        initial_length = self.refcounts.initial_length
        forbidden = self.meta.forbidden
        bits = self.header.cluster_bits
        forbidden.difference_update(old)
        for entry in self.refcounts.table:
            forbidden.discard((entry & TABLE_OFFSET_MASK) >> bits)
        first = self.header.refcount_table_offset >> bits
        forbidden.protect(Structure.MAIN_HEADER, range(1))
        forbidden.protect(Structure.REFCOUNT_TABLE, range(first, first + self.header.refcount_table_clusters))
        blocks = {(entry & TABLE_OFFSET_MASK) >> bits for entry in table if entry & TABLE_OFFSET_MASK}
        forbidden.protect(Structure.REFCOUNT_BLOCK, blocks)
        self.refcounts = Refcounts(self.store, self.header, table, forbidden, self.write_header, self._refcount_bytes)
        self.refcounts.initial_length, self.refcounts.fresh_from = initial_length, end
        self.meta.refcounts = self.path.refcounts = self.refcounts

    def refresh_flags_soon(self, unused: Iterable[int] = ()) -> None:
        """Bring the COPIED flags in line with the counts in the background; an undone snapshot has cleared them.

        If that fails it is done by whoever next waits for `flags_refreshed`. Nothing is done to a node that has become
        read-only: nobody knows which header its file has, and each may need all that there is.

        :param unused: host clusters of which one count each is to be given back before.
        """
        if self.node.read_only:
            return
        self._unused += unused
        before = self._refreshing
        self._flags_wrong = True
        self._refreshing = asyncio.get_running_loop().create_task(self._refresh_flags(before))

    async def _refresh_flags(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        try:
            await self._correct_flags()
        except OSError:
            # The next flush fails in the same way and is told so; flags that are not set only cost copies.
            return
        except Corruption as corruption:
            await self.report(corruption, changing=True)

    async def _correct_flags(self) -> None:
        self._flags_wrong = False
        try:
            await self.meta.write_back(everything=True)
            # At once, whoever may be reading: what can be read has the count of the disk. Flags are set by counts.
            while self._unused:
                await self.meta.release(self._unused[-1], 1, Freed.OTHER)
                self._unused.pop()
            await snapshots.refresh_copied(self)
            await self.meta.write_back()
            await self.unmark_dirty()
        except BaseException:
            self._flags_wrong = True
            raise

    async def flags_refreshed(self) -> None:
        """Wait until nothing is left of `refresh_flags_soon`.

        :raises OSError: it cannot be done.
        """
        while self._refreshing is not None:
            task, self._refreshing = self._refreshing, None
            await task
        if self._flags_wrong and not self.corrupted:
            await self._correct_flags()

    def meta_changed(self) -> None:
        """The header's version has changed: entries mean something else."""
        self.path.mapping = Mapping(self.header, self.meta.part_bits)
        self.supports_persistent_bitmaps = self.header.version >= 3

    async def _open_data_file(self, options: Qcow2Options, context: OpenContext) -> FileStore:
        given = options.data_file
        if not self.header.has_data_file:
            if given is not None:
                raise GenericError(f"'data-file' is given, and the image '{self.filename()}' has no external data file")
            return self.store
        if given is None:
            name = self.header.data_file_name
            if not name:
                raise GenericError(f"The image '{self.filename()}' needs a 'data-file', and does not say which")
            given = validate(parse_filename(full_name(name, self.node) or name), f"the data file '{name}'")
        child = await context.open_child("data-file", given, protocol=True)
        return FileStore(child.node)

    async def _open_backing(self, options: Qcow2Options, context: OpenContext) -> None:
        given = options.backing
        if "backing" not in options.model_fields_set:
            if self.header.backing_file is None:
                return
            given = await backing_options(self.node, self.header.backing_file, self.header.backing_format)
        if given is None:
            return
        child = await context.open_child("backing", given, protocol=False, inherit=self._inherited(context))
        if "backing" not in options.model_fields_set:
            self.backing_as_opened = child.node.driver.filename()
        self.path.backing = child.node

    def _inherited(self, context: OpenContext) -> Any:
        """What a backing file opened for this image inherits: it is never written."""
        paths = tuple(os.path.realpath(path) for path in self.file.driver.host_paths())
        chain = context.flags.chain
        if any(path in chain for path in paths):
            raise GenericError(f"The image '{self.filename()}' is in its own backing chain")
        if len(chain) >= MAX_BACKING_DEPTH:
            raise GenericError(f"The backing chain has more than {MAX_BACKING_DEPTH} images")
        return dataclasses.replace(
            context.flags,
            read_only=True,
            auto_read_only=False,
            detect_zeroes="off",
            chain=chain + (paths or ("",)),
        )

    def _choices(self, options: Qcow2Options, unmap: bool) -> _Choices:
        """What the options choose, with what holds where they choose nothing.

        :param unmap: whether discards are passed on by default.
        :raises GenericError: they contradict each other or the image.
        """
        lazy = bool(self.header.compatible & Compatible.LAZY_REFCOUNTS)
        if options.lazy_refcounts is not None:
            if options.lazy_refcounts and self.header.version < 3:
                raise GenericError("'lazy-refcounts' needs an image of version 3, and this one is of version 2")
            lazy = options.lazy_refcounts
        chosen = {
            Freed.REQUEST: options.pass_discard_request if options.pass_discard_request is not None else unmap,
            Freed.SNAPSHOT: options.pass_discard_snapshot is not False,
            Freed.OTHER: bool(options.pass_discard_other),
        }
        l2_bytes, refcount_bytes = caching.sizes(options, self.header)
        return _Choices(
            lazy=lazy and not self.header.has_data_file,
            discarded=frozenset({Freed.ALWAYS, *(reason for reason, wanted in chosen.items() if wanted)}),
            l2_bytes=l2_bytes,
            part_bytes=caching.part_size(options, self.header),
            refcount_bytes=refcount_bytes,
            clean_interval=caching.clean_interval(options),
        )

    def _take_choices(self, choices: _Choices) -> None:
        self.meta.lazy = choices.lazy
        self.meta.discarded = set(choices.discarded)
        self.meta.discard = self._discard_host
        if self.meta.set_cache(choices.l2_bytes, choices.part_bytes):
            self.path.mapping = Mapping(self.header, self.meta.part_bits)
        self._refcount_bytes = choices.refcount_bytes
        self.refcounts.set_cache(choices.refcount_bytes)
        self._clean_interval = choices.clean_interval
        if self._opened:
            if self._cleaning is not None:
                self._cleaning.cancel()
            self._clean_caches()

    async def _discard_host(self, offset: int, length: int) -> None:
        if offset + length <= self.store.length:
            # A hint: the cluster is free whatever the host does about it.
            with contextlib.suppress(OSError):
                await self.file.pdiscard(offset, length)

    async def _get_ready_to_write(self) -> None:
        header = self.header
        if header.incompatible & Incompatible.DIRTY:
            from qmpd.block.drivers.qcow2 import checking

            await checking.repair_dirty(self)
        if header.unknown_autoclear:
            header.clear_unknown_autoclear()
            await self.write_header()
            await self.store.sync()
        await self.bitmaps.protect()
        if self.node.graph.bitmap_keeper is not None:
            await self.node.graph.bitmap_keeper.take_up(self.node)
        await self.bitmaps.mark_in_use()

    # Reopening.

    async def prepare_reopen(self, options: Qcow2Options | None, flags: NodeOptions) -> _Reopened:
        """All that is in memory reaches the file that is in use as yet, since it may be another one afterwards.

        :raises GenericError: the image is corrupt, or the options cannot be.
        """
        if not flags.read_only and self.node.read_only and self._is_corrupt():
            raise GenericError(f"The qcow2 image '{self.filename()}' is corrupt and cannot be written")
        choices = None if options is None else self._choices(options, flags.discard_unmap)
        if not self.node.read_only:
            if flags.read_only:
                self._check_bitmaps_at_rest()
                await self._in_order(self._settle_or_go_on())
            elif choices is not None and self.meta.lazy and not choices.lazy:
                await self._in_order(self.clear_dirty())
            if choices is not None and choices.part_bytes != self.meta.part_bytes:
                await self._in_order(self._write_tables())
        protected = None
        if options is not None:
            watched = overlap.watched_by(options.overlap_check)
            if watched != self.meta.forbidden.watched:
                protected = await self._survey_again(watched)
        return _Reopened(choices, protected)

    async def _write_tables(self) -> None:
        """Leave no part of a table unwritten, so that they can be dropped."""
        await self.flags_refreshed()
        await self.meta.write_back()

    def _is_corrupt(self) -> bool:
        return self.corrupted or bool(self.header.incompatible & Incompatible.CORRUPT)

    async def _survey_again(self, watched: Structure) -> overlap.Protected:
        table = self.refcounts.table
        found, _ = await overlap.survey(self.store, self.header, self.meta.l1, table, self.snapshots, watched)
        return found

    def commit_reopen(self, state: _Reopened) -> None:
        self.bitmaps.set_read_only(self.node.read_only)
        if state.choices is not None:
            self._take_choices(state.choices)
        if state.protected is not None:
            forbidden = self.meta.forbidden
            forbidden.clear()
            forbidden.update(state.protected)
            forbidden.watched = state.protected.watched

    async def abort_reopen(self, state: _Reopened) -> None:
        if not self.node.read_only:
            await self._go_on_writing()

    async def _settle_or_go_on(self) -> None:
        try:
            await self._settle()
        except BaseException:
            await self._go_on_writing()
            raise
        await self._put_bitmaps_down(stored=True)

    async def _go_on_writing(self) -> None:
        """Stored bitmaps may have become true; they are not from now on."""
        try:
            await self._get_ready_to_write()
        except (OSError, Corruption) as error:
            # A write would make them lie.
            self.node.become_read_only()
            self._emit_close_failure(os_error_text(error) if isinstance(error, OSError) else str(error))

    async def reopened(self) -> None:
        if not self.node.read_only:
            await self._in_order(self._get_ready_to_write())

    async def _in_order(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Corruption as corruption:
            raise GenericError(f"The qcow2 image '{self.filename()}' is damaged: {corruption}") from corruption

    def _check_bitmaps_at_rest(self) -> None:
        for bitmap in self.node.bitmaps:
            if bitmap.persistent and bitmap.busy:
                raise GenericError(f"Node '{self.node.node_name}' has the busy bitmap '{bitmap.name}' to store")

    async def forget_bitmap(self, name: str) -> None:
        try:
            await self.bitmaps.remove(name)
        except Corruption as corruption:
            raise await self.report(corruption, changing=True) from corruption

    def _clean_caches(self) -> None:
        """Now and then, drop from memory what nobody has used for a while."""
        if self._clean_interval:
            self.meta.drop_unused()
            self.refcounts.drop_unused()
            self._cleaning = asyncio.get_running_loop().call_later(self._clean_interval, self._clean_caches)

    # Closing.

    async def close(self) -> None:
        if self._cleaning is not None:
            self._cleaning.cancel()
        stored = False
        try:
            if self._opened and not self.node.read_only and not self.corrupted:
                await self._settle()
                stored = True
        except (OSError, Corruption, GenericError) as error:
            reason = os_error_text(error) if isinstance(error, OSError) else str(error)
            self._emit_close_failure(reason)
        finally:
            await self._put_bitmaps_down(stored=stored)

    async def _put_bitmaps_down(self, *, stored: bool) -> None:
        if self.node.graph.bitmap_keeper is not None:
            await self.node.graph.bitmap_keeper.put_down(self.node, stored=stored)

    async def _settle(self) -> None:
        await self.flags_refreshed()
        await self.meta.settle()
        # Before bitmaps say that they are true: `qemu-img check -r` of QEMU 7.2, which a dirty image asks for, loses
        # the snapshots of an image with such bitmaps.
        await self.clear_dirty()
        if not self.checking:
            await self.bitmaps.store()
            await self.meta.settle()
        end = max(self.refcounts.fresh_from << self.header.cluster_bits, self.refcounts.initial_length)
        if end < self.store.length:
            await self._trim(end)
        await self.store.sync()

    async def clear_dirty(self) -> None:
        """Write all reference counts, and take the dirty bit away."""
        if self.header.incompatible & Incompatible.DIRTY and not self.checking:
            await self.meta.settle()
            await self._clear_dirty_bit()

    async def unmark_dirty(self) -> None:
        """Counts and COPIED flags agree in the file again: take the dirty bit away unless lazy counts need it."""
        if self.header.incompatible & Incompatible.DIRTY and not self.meta.lazy:
            await self._clear_dirty_bit()

    async def _clear_dirty_bit(self) -> None:
        header = self.header
        await self.store.sync()
        header.incompatible &= ~int(Incompatible.DIRTY)
        try:
            await self.write_header()
            await self.store.sync()
        except BaseException:
            header.incompatible |= Incompatible.DIRTY
            await self.put_header_back()
            raise

    async def _trim(self, end: int) -> None:
        try:
            await self.file.truncate(end)
        except OSError as error:
            # A device keeps its length; and a file that is too long harms nobody.
            if error.errno not in (errno.ENOTSUP, errno.EOPNOTSUPP):
                raise

    def _emit_close_failure(self, reason: str) -> None:
        self.node.graph.events.emit(
            "BLOCK_IO_ERROR",
            {
                "device": "",
                "node-name": self.node.node_name,
                "operation": "write",
                "action": "report",
                "reason": f"the image could not be closed properly: {reason}",
            },
        )

    # The header.

    async def write_header(self) -> None:
        """Bring the header to the file: one write. One caller at a time, so that none is overtaken."""
        async with self._header_lock:
            await self.store.write(0, headers.padded(self.header))

    async def put_header_back(self) -> bool:
        """Write the header again, with the fields as they were before a write that failed.

        Nobody knows which header the file has after that. False if it still is not known: then the node is read-only,
        and what the new header would have led to must not be used for anything else.
        """
        try:
            await self.write_header()
            await self.store.sync()
        except OSError:
            self.node.become_read_only()
            return False
        return True

    async def mark_dirty(self) -> None:
        """Set the dirty bit: counts and COPIED flags in the file may not agree, and whoever finds it so repairs them.

        Version 2 has no such bit.
        """
        header = self.header
        if header.version >= 3 and not header.incompatible & Incompatible.DIRTY:
            header.incompatible |= Incompatible.DIRTY
            try:
                await self.write_header()
                await self.store.sync()
            except BaseException:
                # Should the file have the bit all the same, that harms nobody.
                header.incompatible &= ~int(Incompatible.DIRTY)
                raise

    # Corruption.

    async def report(self, corruption: Corruption, *, changing: bool) -> OSError:
        """Tell the world that the image is corrupt and stop changing it; gives the error for the request."""
        was_read_only = self.node.read_only
        if not self._reported:
            self._reported = True
            data: dict[str, object] = {
                "device": "",
                "node-name": self.node.node_name,
                "msg": str(corruption),
                "fatal": not was_read_only,
            }
            if corruption.offset is not None:
                data["offset"] = corruption.offset
            if corruption.size is not None:
                data["size"] = corruption.size
            self.node.graph.events.emit("BLOCK_IMAGE_CORRUPTED", data)
        if not was_read_only:
            self.corrupted = True
            self.node.become_read_only()
            if changing and self.header.version >= 3:
                await self._mark_corrupt()
        return _io_error()

    async def _mark_corrupt(self) -> None:
        self.header.incompatible |= Incompatible.CORRUPT
        try:
            await self.store.write(headers.V2_LENGTH, self.header.incompatible.to_bytes(8, "big"))
            await self.store.sync()
        except OSError:
            # The event has told; the mark is an extra.
            return

    # I/O.

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        try:
            await self.path.read(offset, buffer)
        except Corruption as corruption:
            raise await self.report(corruption, changing=False) from corruption

    def read_now(self, offset: int, buffer: memoryview) -> bool:
        host = self.path.host_of(offset, len(buffer))
        return host >= 0 and self.path.data.node.read_now(host, buffer)

    async def pwritev(self, offset: int, data: Buffer, fua: bool) -> None:
        try:
            await self.path.write(offset, data)
        except Corruption as corruption:
            raise await self.report(corruption, changing=True) from corruption
        if fua:
            await self.flush()

    async def pwrite_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        try:
            await self.path.zero(offset, length, may_unmap)
        except Corruption as corruption:
            raise await self.report(corruption, changing=True) from corruption

    async def pdiscard(self, offset: int, length: int) -> None:
        try:
            await self.path.discard(offset, length)
        except Corruption as corruption:
            raise await self.report(corruption, changing=True) from corruption

    async def empty(self) -> None:
        if self.header.has_data_file:
            return
        try:
            await self.path.empty()
        except Corruption as corruption:
            raise await self.report(corruption, changing=True) from corruption

    async def pwrite_compressed(self, offset: int, data: Buffer) -> None:
        try:
            await self.path.write_compressed(offset, data)
        except Corruption as corruption:
            raise await self.report(corruption, changing=True) from corruption

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        if self.path.data.node.driver.host_window() is None:
            raise not_supported()
        try:
            await self.path.copy_from_host(pieces)
        except Corruption as corruption:
            raise await self.report(corruption, changing=True) from corruption

    async def populate(self, offset: int, length: int) -> None:
        try:
            await self.path.populate(offset, length)
        except Corruption as corruption:
            raise await self.report(corruption, changing=True) from corruption

    async def set_backing_name(self, name: str, backing_format: str | None) -> None:
        try:
            await amending.set_backing_name(self, name, backing_format)
        except OSError as error:
            raise GenericError(f"Node '{self.node.node_name}' could not be changed: {os_error_text(error)}") from error

    def recorded_backing(self) -> tuple[str, str]:
        return self.header.backing_file or "", self.header.backing_format or ""

    async def write_back(self) -> None:
        if self.corrupted:
            raise _io_error()
        try:
            if self.meta.dirty:
                await self.meta.write_back()
        except Corruption as corruption:
            raise await self.report(corruption, changing=True) from corruption

    async def flush(self) -> None:
        if self.corrupted:
            raise _io_error()
        if self.node.read_only:
            return
        await self.store.event("flush_to_os")
        await self.write_back()
        if self.header.has_data_file:
            await self.path.data.sync()
        await self.store.event("flush_to_disk")
        await self.store.sync()

    async def map(self, offset: int, length: int) -> list[Extent]:
        try:
            return await self.path.map(offset, length, self.path.data.node.driver.host_window())
        except Corruption as corruption:
            raise await self.report(corruption, changing=False) from corruption

    async def map_ranges(self, ranges: Sequence[Range]) -> list[Extent]:
        try:
            return await self.path.map_ranges(ranges, self.path.data.node.driver.host_window())
        except Corruption as corruption:
            raise await self.report(corruption, changing=False) from corruption

    async def truncate(self, length: int, exact: bool) -> None:
        await self.flags_refreshed()
        try:
            await resizing.resize(self, length)
        except Corruption as corruption:
            raise await self.report(corruption, changing=True) from corruption
        self.length = self.path.length = length

    # The graph.

    def child_moved(self, name: str) -> None:
        # Before the image is open nothing moves: nobody finds the node.
        if name == "file":
            self.store.use(self.file)
        elif name == "data-file":
            self.path.data.use(self.node.children[name].node)
        elif name == "backing":
            self.path.backing = self.backing_node

    def child_permissions(self, name: str, perm: Perm, shared: Perm) -> tuple[Perm, Perm]:
        if name == "backing":
            return _backing_permissions(perm, shared)
        if name == "data-file":
            if not self.node.read_only:
                perm |= (Perm.WRITE | Perm.RESIZE) if perm & Perm.WRITE else Perm.NONE
            return perm, shared & ~Perm.RESIZE
        if not self.node.read_only:
            perm |= Perm.WRITE | Perm.RESIZE
        return perm | Perm.CONSISTENT_READ, shared & ~(Perm.WRITE | Perm.RESIZE)

    # What queries show.

    def filename(self) -> str:
        return self.json_name() if self._opened and self._backing_overridden() else super().filename()

    def open_options(self) -> dict[str, Any]:
        if not (self._opened and self._backing_overridden()):
            return super().open_options()
        children = {name: child.node.driver.open_options() for name, child in self.node.children.items()}
        return {"backing": None, "driver": self.format_name, **children}

    def _backing_overridden(self) -> bool:
        """Whether another image shows through than the one that is opened by default, or none."""
        below, named = self.backing_node, self.header.backing_file
        if below is None or named is None:
            return below is not None or named is not None
        full, used = full_name(named, self.node), below.driver.filename()
        return used not in (named, full, self.backing_as_opened) and not is_same_path(full, used)

    def image_details(self) -> MappingABC[str, object]:
        header = self.header
        details: dict[str, object] = {
            "cluster-size": header.cluster_size,
            "dirty-flag": bool(header.incompatible & Incompatible.DIRTY),
        }
        if header.backing_file is not None:
            details["backing-filename"] = header.backing_file
            full = full_name(header.backing_file, self.node)
            if full is not None:
                details["full-backing-filename"] = full
            if header.backing_format is not None:
                details["backing-filename-format"] = header.backing_format
        if self.snapshots:
            details["snapshots"] = [snapshot.info() for snapshot in self.snapshots]
        details["format-specific"] = {"type": "qcow2", "data": self._specific()}
        return details

    def _specific(self) -> dict[str, object]:
        header = self.header
        if header.version < 3:
            return {"compat": "0.10", "refcount-bits": header.refcount_bits, "compression-type": "zlib"}
        data: dict[str, object] = {
            "compat": "1.1",
            "lazy-refcounts": bool(header.compatible & Compatible.LAZY_REFCOUNTS),
            "refcount-bits": header.refcount_bits,
            "corrupt": bool(header.incompatible & Incompatible.CORRUPT),
            "extended-l2": header.extended_l2,
            "compression-type": Compression(header.compression).name.lower(),
        }
        stored = self.bitmaps.info()
        if stored:
            data["bitmaps"] = stored
        if header.has_data_file:
            if header.data_file_name is not None:
                data["data-file"] = header.data_file_name
            data["data-file-raw"] = header.data_file_raw
        return data

    @property
    def vm_state_offset(self) -> int:
        return self.header.l1_entries_for(self.length) << (self.header.cluster_bits + self.header.l2_bits)

    def backing_name(self) -> str | None:
        below = self.backing_node
        return None if below is None else below.driver.filename()

    def actual_size(self) -> int | None:
        sizes = [child.node.driver.actual_size() for name, child in self.node.children.items() if name != "backing"]
        known = [size for size in sizes if size is not None]
        return sum(known) if known else None

    def check_can_store_bitmap(self, name: str, length: int, granularity: int) -> None:
        if self.header.version < 3:
            raise GenericError(f"Node '{self.node.node_name}' is a version 2 image, which cannot store bitmaps")
        if self.node.read_only:
            raise GenericError(f"Node '{self.node.node_name}' is read-only and cannot store bitmaps")
        if not self.bitmaps.fit_the_header():
            raise GenericError(f"The header of node '{self.node.node_name}' has no room left to tell of stored bitmaps")
        if -(-length // granularity) > bitmaps.MAX_BYTES * 8:
            raise GenericError(f"Bitmap '{name}' is too large to be stored; 'granularity' has to be larger")
        if sum(one.persistent for one in self.node.bitmaps) >= bitmaps.MAX_BITMAPS:
            raise GenericError(f"Node '{self.node.node_name}' stores {bitmaps.MAX_BITMAPS} bitmaps, the most it can")


def _backing_permissions(perm: Perm, shared: Perm) -> tuple[Perm, Perm]:
    kept = Perm.CONSISTENT_READ | Perm.WRITE_UNCHANGED
    if shared & Perm.WRITE:
        kept |= Perm.WRITE | Perm.RESIZE
    return perm & Perm.CONSISTENT_READ, kept
