"""Changing what an image says of itself: version, backing file, lazy refcounts, width of reference counts.

The node is drained. Each change becomes real with a header write; what has to come before it (other reference
counts, data where only a flag stood) is on stable storage by then.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qmpd.block.drivers.qcow2 import header as headers
from qmpd.block.drivers.qcow2 import snapshots
from qmpd.block.drivers.qcow2.expanding import expand_zeroes
from qmpd.block.drivers.qcow2.header import Compatible, Compression, Header
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.drivers.qcow2.driver import Qcow2Driver


@dataclass(frozen=True, slots=True)
class Changes:
    """What to change; None for what stays. An empty backing file name is for none."""

    version: int | None = None
    backing_file: str | None = None
    backing_format: str | None = None
    lazy_refcounts: bool | None = None
    refcount_bits: int | None = None


async def amend(driver: Qcow2Driver, changes: Changes) -> None:
    """Make the changes, one after the other.

    :raises GenericError: one of them cannot be made.
    :raises OSError: reading or writing failed.
    """
    name, header = driver.node.node_name, driver.header
    if driver.node.read_only:
        raise GenericError(f"Node '{name}' is read-only and cannot be changed")
    version = changes.version or header.version
    if version < 3 and changes.lazy_refcounts:
        raise GenericError("'lazy-refcounts' needs an image of version 3")
    if version < 3 and changes.refcount_bits not in (None, 16):
        raise GenericError("'refcount-bits' needs an image of version 3")
    await driver.flags_refreshed()
    await driver.meta.settle()
    if version > header.version:
        await _upgrade(driver)
    if changes.refcount_bits is not None and changes.refcount_bits != header.refcount_bits:
        await _change_width(driver, changes.refcount_bits)
    if changes.backing_file is not None or changes.backing_format is not None:
        await set_backing_name(driver, changes.backing_file, changes.backing_format)
    if changes.lazy_refcounts is not None:
        await _set_lazy(driver, changes.lazy_refcounts)
    if version < header.version:
        await _downgrade(driver)
    driver.node.changed()


@asynccontextmanager
async def _new_header(driver: Qcow2Driver) -> AsyncIterator[Header]:
    """Change the header in the block; at its end it is written. If that fails the header is as before."""
    header, before = driver.header, copy.deepcopy(driver.header)
    try:
        yield header
        await driver.store.sync()
        await driver.write_header()
        await driver.store.sync()
    except BaseException:
        # But for how much of the cluster may be written by now.
        for one in dataclasses.fields(before):
            if one.name != "written":
                setattr(header, one.name, getattr(before, one.name))
        await driver.put_header_back()
        raise
    finally:
        driver.node.changed()


async def set_backing_name(driver: Qcow2Driver, name: str | None, backing_format: str | None = None) -> None:
    """Write the name and format of a backing file into the header; None leaves one as it is, an empty name is none.

    :raises GenericError: it does not fit, or the image is read-only.
    """
    header = driver.header
    if driver.node.read_only:
        raise GenericError(f"Node '{driver.node.node_name}' is read-only and cannot be changed")
    if name is not None and len(name.encode("utf-8", "surrogateescape")) > headers.MAX_BACKING_NAME:
        raise GenericError(f"'backing-file' has more than {headers.MAX_BACKING_NAME} bytes")
    if name and header.data_file_raw:
        raise GenericError("An image whose data file is a raw image can have no backing file")
    async with _new_header(driver):
        if name is not None:
            header.backing_file = name or None
        if backing_format is not None:
            header.set_extension(headers.EXT_BACKING_FORMAT, backing_format.encode() or None)
        if header.backing_file is None:
            header.set_extension(headers.EXT_BACKING_FORMAT, None)
    if name is not None:
        driver.backing_as_opened = None


async def _set_lazy(driver: Qcow2Driver, lazy: bool) -> None:
    header = driver.header
    if lazy and header.has_data_file:
        raise GenericError("'lazy-refcounts' and an external data file cannot go together")
    if not lazy:
        await driver.clear_dirty()
    async with _new_header(driver):
        header.compatible &= ~int(Compatible.LAZY_REFCOUNTS)
        if lazy:
            header.compatible |= Compatible.LAZY_REFCOUNTS
    driver.meta.lazy = lazy


async def _upgrade(driver: Qcow2Driver) -> None:
    if any(snapshot.outdated for snapshot in driver.snapshots):
        await snapshots.rewrite(driver)
    async with _new_header(driver) as header:
        header.version = 3
        header.unknown_fields = header.unknown_fields or bytes(8)
    driver.meta_changed()


async def _change_width(driver: Qcow2Driver, bits: int) -> None:
    from qmpd.block.drivers.qcow2 import checking

    if bits not in (1, 2, 4, 8, 16, 32, 64):
        raise GenericError(f"'refcount-bits' is {bits}; it has to be a power of two up to 64")
    await checking.change_width(driver, bits.bit_length() - 1)


async def _downgrade(driver: Qcow2Driver) -> None:
    """Make a version 2 image: whatever that version cannot say has to go first."""
    header = driver.header
    reasons = {
        "reference counts of other than 16 bits": header.refcount_bits != 16,
        "an external data file": header.has_data_file,
        "extended L2 entries": header.extended_l2,
        f"compression by {Compression(header.compression).name.lower()}": header.compression != Compression.ZLIB,
        "an internal snapshot of another size": any(one.disk_bytes != header.size for one in driver.snapshots),
        "an internal snapshot with 4 GiB of machine state": any(one.vm_state_size >> 32 for one in driver.snapshots),
        "stored bitmaps": bool(driver.bitmaps.directory),
        "bitmaps to store": any(one.persistent for one in driver.node.bitmaps),
    }
    for reason, present in reasons.items():
        if present:
            raise GenericError(f"The image has {reason}, which version 2 does not know")
    lazy, driver.meta.lazy = driver.meta.lazy, False
    try:
        await driver.clear_dirty()
        await expand_zeroes(driver)
        async with _new_header(driver):
            header.version = 2
            header.incompatible = header.compatible = header.autoclear = 0
            header.unknown_fields = b""
            header.set_extension(headers.EXT_FEATURE_NAMES, None)
    except BaseException:
        driver.meta.lazy = lazy
        raise
    driver.meta_changed()
