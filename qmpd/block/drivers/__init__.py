"""The block drivers. Each is a module of its own; this table says which, so that only those in use are loaded."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from qmpd.block.driver import BlockDriver
from qmpd.errors import GenericError

_DRIVERS = {
    "blkdebug": "qmpd.block.drivers.blkdebug:BlkdebugDriver",
    "blkverify": "qmpd.block.drivers.blkverify:BlkverifyDriver",
    "file": "qmpd.block.drivers.file:FileDriver",
    "host_device": "qmpd.block.drivers.file:FileDriver",
    "raw": "qmpd.block.drivers.raw:RawDriver",
    "nbd": "qmpd.block.drivers.nbd.driver:NbdDriver",
    "null-co": "qmpd.block.drivers.null:NullDriver",
    "null-aio": "qmpd.block.drivers.null:NullDriver",
    "qcow2": "qmpd.block.drivers.qcow2.driver:Qcow2Driver",
    "compress": "qmpd.block.drivers.compress:CompressDriver",
    "quorum": "qmpd.block.drivers.quorum:QuorumDriver",
    "preallocate": "qmpd.block.drivers.preallocate:PreallocateDriver",
    "copy-on-read": "qmpd.block.drivers.copy_on_read:CopyOnReadDriver",
    "copy-before-write": "qmpd.block.drivers.copy_before_write:CopyBeforeWriteDriver",
    "snapshot-access": "qmpd.block.drivers.snapshot_access:SnapshotAccessDriver",
    "throttle": "qmpd.block.drivers.throttle:ThrottleDriver",
}


def make_driver(name: str) -> BlockDriver:
    """A new instance of the driver `name`.

    :raises GenericError: there is no such driver.
    """
    place = _DRIVERS.get(name)
    if place is None:
        raise GenericError(f"There is no block driver '{name}'; there are {', '.join(sorted(_DRIVERS))}")
    module, _, attribute = place.partition(":")
    factory: Any = getattr(import_module(module), attribute)
    return cast(BlockDriver, factory(name))
