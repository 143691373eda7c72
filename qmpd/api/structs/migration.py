"""The object types of `migration.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations


from pydantic import Field

from qmpd.api.enums import MigrationCapability, MigrationStatus
from qmpd.api.structs.sockets import SocketAddress
from qmpd.qapi.model import Int64, UInt32, UInt64, Array, Maybe, Model

__all__ = [
    "MigrationStats",
    "XBZRLECacheStats",
    "CompressionStats",
    "VfioStats",
    "MigrationInfo",
    "MigrationCapabilityStatus",
]


class MigrationStats(Model):
    """How far the memory of a guest, or a disk, is."""

    transferred: Int64
    """what was sent, in bytes"""

    remaining: Int64
    """what is left, in bytes"""

    total: Int64
    """all there is, in bytes"""

    duplicate: Int64
    """pages of zeroes that were not sent"""

    skipped: Int64
    """pages that were left out"""

    normal: Int64
    """pages that were sent"""

    normal_bytes: Int64 = Field(alias="normal-bytes")
    """their bytes"""

    dirty_pages_rate: Int64 = Field(alias="dirty-pages-rate")
    """pages that the guest writes in a second"""

    mbps: float
    """the speed in megabits a second"""

    dirty_sync_count: Int64 = Field(alias="dirty-sync-count")
    """how often it was looked up what the guest has written"""

    postcopy_requests: Int64 = Field(alias="postcopy-requests")
    """pages that the other host has asked for"""

    page_size: Int64 = Field(alias="page-size")
    """bytes of a page"""

    multifd_bytes: UInt64 = Field(alias="multifd-bytes")
    """what was sent over several connections"""

    pages_per_second: UInt64 = Field(alias="pages-per-second")
    """pages that were sent in a second"""

    precopy_bytes: UInt64 = Field(alias="precopy-bytes")
    """what was sent while the guest ran"""

    downtime_bytes: UInt64 = Field(alias="downtime-bytes")
    """what was sent while it stood still"""

    postcopy_bytes: UInt64 = Field(alias="postcopy-bytes")
    """what was sent when it ran on the other host"""

    dirty_sync_missed_zero_copy: UInt64 = Field(alias="dirty-sync-missed-zero-copy")
    """how often something had to be copied before it was sent"""


class XBZRLECacheStats(Model):
    """How well differences of pages are sent."""

    cache_size: UInt64 = Field(alias="cache-size")
    """the size of the cache in bytes"""

    bytes: Int64
    """what was sent"""

    pages: Int64
    """pages that were sent so"""

    cache_miss: Int64 = Field(alias="cache-miss")
    """pages that were not in the cache"""

    cache_miss_rate: float = Field(alias="cache-miss-rate")
    """the same in relation to all"""

    encoding_rate: float = Field(alias="encoding-rate")
    """how much smaller pages became"""

    overflow: Int64
    """pages that did not become smaller"""


class CompressionStats(Model):
    """How well pages are compressed."""

    pages: Int64
    """pages that were compressed"""

    busy: Int64
    """how often all threads were busy"""

    busy_rate: float = Field(alias="busy-rate")
    """the same in relation to all"""

    compressed_size: Int64 = Field(alias="compressed-size")
    """what was sent, in bytes"""

    compression_rate: float = Field(alias="compression-rate")
    """how much smaller pages became"""


class VfioStats(Model):
    """How far devices of the host are."""

    transferred: Int64
    """what was sent, in bytes"""


class MigrationInfo(Model):
    """How far a migration is."""

    status: Maybe[MigrationStatus] = None
    """what becomes of it; absent if there never was one"""

    ram: Maybe[MigrationStats] = None
    """the memory"""

    disk: Maybe[MigrationStats] = None
    """the disks"""

    vfio: Maybe[VfioStats] = None
    """devices of the host"""

    xbzrle_cache: Maybe[XBZRLECacheStats] = Field(default=None, alias="xbzrle-cache")
    """differences of pages"""

    total_time: Maybe[Int64] = Field(default=None, alias="total-time")
    """how long it has taken, in milliseconds"""

    expected_downtime: Maybe[Int64] = Field(default=None, alias="expected-downtime")
    """how long the guest is going to stand still, in milliseconds"""

    downtime: Maybe[Int64] = None
    """how long it stood still, in milliseconds"""

    setup_time: Maybe[Int64] = Field(default=None, alias="setup-time")
    """how long it took to begin, in milliseconds"""

    cpu_throttle_percentage: Maybe[Int64] = Field(default=None, alias="cpu-throttle-percentage")
    """how much the guest is slowed down"""

    error_desc: Maybe[str] = Field(default=None, alias="error-desc")
    """why it has failed"""

    blocked_reasons: Maybe[Array[str]] = Field(default=None, alias="blocked-reasons")
    """why it cannot be"""

    postcopy_blocktime: Maybe[UInt32] = Field(default=None, alias="postcopy-blocktime")
    """how long all processors waited, in milliseconds"""

    postcopy_vcpu_blocktime: Maybe[Array[UInt32]] = Field(default=None, alias="postcopy-vcpu-blocktime")
    """how long each of them waited, in milliseconds"""

    compression: Maybe[CompressionStats] = None
    """compressed pages"""

    socket_address: Maybe[Array[SocketAddress]] = Field(default=None, alias="socket-address")
    """where the other host may connect"""


class MigrationCapabilityStatus(Model):
    """Whether a way to migrate is in use."""

    capability: MigrationCapability
    """the way"""

    state: bool
    """whether it is in use"""
