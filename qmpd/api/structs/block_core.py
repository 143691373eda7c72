"""The object types of `block-core.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from qmpd.api.enums import (
    BitmapSyncMode,
    BlkdebugEvent,
    BlkdebugIOType,
    BlockDeviceIoStatus,
    BlockErrorAction,
    BlockPermission,
    BlockdevAioOptions,
    BlockdevDetectZeroesOptions,
    BlockdevDiscardOptions,
    BlockdevDriver,
    BlockdevOnError,
    BlockdevQcow2Version,
    ImageInfoSpecificKind,
    IoOperationType,
    JobStatus,
    JobType,
    MirrorCopyMode,
    MirrorSyncMode,
    NewImageMode,
    OnCbwError,
    OnOffAuto,
    PreallocMode,
    Qcow2BitmapInfoFlags,
    Qcow2CompressionType,
    Qcow2OverlapCheckMode,
    QuorumOpType,
    QuorumReadPattern,
    XDbgBlockGraphNodeType,
)
from qmpd.api.structs.common import StrOrNull
from qmpd.api.structs.sockets import SocketAddress
from qmpd.qapi.model import Int32, Int64, UInt32, UInt64, Array, Maybe, Model, by_json_type, by_member

__all__ = [
    "Qcow2BitmapInfo",
    "ImageInfoSpecificQCow2",
    "ImageInfoSpecificQCow2Wrapper",
    "QObjImageInfoSpecificBase",
    "ImageInfoSpecific",
    "ImageInfoSpecificQcow2",
    "SnapshotInfo",
    "ImageInfo",
    "BlockdevCacheInfo",
    "BlockDeviceInfo",
    "BlockDirtyInfo",
    "BlockInfo",
    "QObjQueryBlockArg",
    "BlockDeviceTimedStats",
    "BlockLatencyHistogramInfo",
    "BlockDeviceStats",
    "BlockStatsSpecificFile",
    "QObjBlockStatsSpecificBase",
    "BlockStatsSpecific",
    "BlockStatsSpecificBlkdebug",
    "BlockStatsSpecificBlkverify",
    "BlockStatsSpecificCompress",
    "BlockStatsSpecificCopyBeforeWrite",
    "BlockStatsSpecificCopyOnRead",
    "BlockStatsSpecificFileBranch",
    "BlockStatsSpecificSnapshotAccess",
    "BlockStatsSpecificHostDevice",
    "BlockStatsSpecificNbd",
    "BlockStatsSpecificNullAio",
    "BlockStatsSpecificNullCo",
    "BlockStatsSpecificPreallocate",
    "BlockStatsSpecificQcow2",
    "BlockStatsSpecificQuorum",
    "BlockStatsSpecificRaw",
    "BlockStatsSpecificThrottle",
    "BlockStats",
    "QObjQueryBlockstatsArg",
    "QObjBlockLatencyHistogramSetArg",
    "QObjQueryNamedBlockNodesArg",
    "XDbgBlockGraphNode",
    "XDbgBlockGraphEdge",
    "XDbgBlockGraph",
    "QObjBlockResizeArg",
    "BlockDirtyBitmap",
    "BlockDirtyBitmapAdd",
    "BlockDirtyBitmapOrStr",
    "BlockDirtyBitmapMerge",
    "BlockDirtyBitmapSha256",
    "BackupPerf",
    "BackupCommon",
    "DriveBackup",
    "BlockdevBackup",
    "DriveMirror",
    "QObjBlockdevMirrorArg",
    "QObjBlockCommitArg",
    "QObjBlockStreamArg",
    "BlockJobInfo",
    "QObjBlockJobSetSpeedArg",
    "QObjBlockJobCancelArg",
    "QObjBlockJobPauseArg",
    "QObjBlockJobResumeArg",
    "QObjBlockJobCompleteArg",
    "QObjBlockJobDismissArg",
    "QObjBlockJobFinalizeArg",
    "JobChangeOptionsMirror",
    "QObjJobChangeOptionsBase",
    "JobChangeOptions",
    "JobChangeOptionsCommit",
    "JobChangeOptionsStream",
    "JobChangeOptionsMirrorBranch",
    "JobChangeOptionsBackup",
    "JobChangeOptionsCreate",
    "JobChangeOptionsAmend",
    "JobChangeOptionsSnapshotLoad",
    "JobChangeOptionsSnapshotSave",
    "JobChangeOptionsSnapshotDelete",
    "BlockdevCacheOptions",
    "BlockdevOptionsFile",
    "BlockdevOptionsNull",
    "BlockdevOptionsGenericFormat",
    "BlockdevOptionsGenericCOWFormat",
    "Qcow2OverlapCheckFlags",
    "Qcow2OverlapChecks",
    "BlockdevOptionsQcow2",
    "BlockdevOptionsRaw",
    "BlockdevOptionsCbw",
    "BlkdebugInjectErrorOptions",
    "BlkdebugSetStateOptions",
    "BlockdevOptionsBlkdebug",
    "BlockdevOptionsPreallocate",
    "ThrottleLimits",
    "ThrottleGroupProperties",
    "BlockdevOptionsThrottle",
    "BlockdevOptionsCor",
    "BlockdevOptionsBlkverify",
    "BlockdevOptionsQuorum",
    "BlockdevOptionsNbd",
    "QObjBlockdevOptionsBase",
    "BlockdevOptions",
    "BlockdevOptionsBlkdebugBranch",
    "BlockdevOptionsBlkverifyBranch",
    "BlockdevOptionsCompress",
    "BlockdevOptionsCopyBeforeWrite",
    "BlockdevOptionsCopyOnRead",
    "BlockdevOptionsFileBranch",
    "BlockdevOptionsSnapshotAccess",
    "BlockdevOptionsHostDevice",
    "BlockdevOptionsNbdBranch",
    "BlockdevOptionsNullAio",
    "BlockdevOptionsNullCo",
    "BlockdevOptionsPreallocateBranch",
    "BlockdevOptionsQcow2Branch",
    "BlockdevOptionsQuorumBranch",
    "BlockdevOptionsRawBranch",
    "BlockdevOptionsThrottleBranch",
    "BlockdevRef",
    "BlockdevRefOrNull",
    "QObjXBlockdevChangeArg",
    "QObjXBlockdevSetIothreadArg",
    "QObjBlockdevDelArg",
    "QObjBlockdevReopenArg",
    "QObjBlockSetWriteThresholdArg",
    "QObjBlockdevSetActiveArg",
    "BlockdevCreateOptionsFile",
    "BlockdevCreateOptionsQcow2",
    "QObjBlockdevCreateOptionsBase",
    "BlockdevCreateOptions",
    "BlockdevCreateOptionsBlkdebug",
    "BlockdevCreateOptionsBlkverify",
    "BlockdevCreateOptionsCompress",
    "BlockdevCreateOptionsCopyBeforeWrite",
    "BlockdevCreateOptionsCopyOnRead",
    "BlockdevCreateOptionsFileBranch",
    "BlockdevCreateOptionsSnapshotAccess",
    "BlockdevCreateOptionsHostDevice",
    "BlockdevCreateOptionsNbd",
    "BlockdevCreateOptionsNullAio",
    "BlockdevCreateOptionsNullCo",
    "BlockdevCreateOptionsPreallocate",
    "BlockdevCreateOptionsQcow2Branch",
    "BlockdevCreateOptionsQuorum",
    "BlockdevCreateOptionsRaw",
    "BlockdevCreateOptionsThrottle",
    "QObjBlockdevCreateArg",
    "BlockdevAmendOptionsQcow2",
    "QObjBlockdevAmendOptionsBase",
    "BlockdevAmendOptions",
    "BlockdevAmendOptionsBlkdebug",
    "BlockdevAmendOptionsBlkverify",
    "BlockdevAmendOptionsCompress",
    "BlockdevAmendOptionsCopyBeforeWrite",
    "BlockdevAmendOptionsCopyOnRead",
    "BlockdevAmendOptionsFile",
    "BlockdevAmendOptionsSnapshotAccess",
    "BlockdevAmendOptionsHostDevice",
    "BlockdevAmendOptionsNbd",
    "BlockdevAmendOptionsNullAio",
    "BlockdevAmendOptionsNullCo",
    "BlockdevAmendOptionsPreallocate",
    "BlockdevAmendOptionsQcow2Branch",
    "BlockdevAmendOptionsQuorum",
    "BlockdevAmendOptionsRaw",
    "BlockdevAmendOptionsThrottle",
    "QObjXBlockdevAmendArg",
    "QObjChangeBackingFileArg",
    "BlockdevSnapshotInternal",
    "QObjBlockdevSnapshotDeleteInternalSyncArg",
    "BlockdevSnapshotSync",
    "BlockdevSnapshot",
    "QObjBlockImageCorruptedArg",
    "QObjBlockIoErrorArg",
    "QObjBlockJobCompletedArg",
    "QObjBlockJobCancelledArg",
    "QObjBlockJobErrorArg",
    "QObjBlockJobReadyArg",
    "QObjBlockJobPendingArg",
    "QObjQuorumFailureArg",
    "QObjQuorumReportBadArg",
    "QObjBlockWriteThresholdArg",
]


class Qcow2BitmapInfo(Model):
    """A bitmap stored in a qcow2 image."""

    name: str
    """its name"""

    granularity: UInt32
    """how many bytes one bit stands for"""

    flags: Array[Qcow2BitmapInfoFlags]
    """what it says of itself"""


class ImageInfoSpecificQCow2(Model):
    """What a qcow2 image says of itself."""

    compat: str
    """the version, '0.10' or '1.1'"""

    data_file: Maybe[str] = Field(default=None, alias="data-file")
    """the file that holds the guest's data"""

    data_file_raw: Maybe[bool] = Field(default=None, alias="data-file-raw")
    """whether that file is a raw image too"""

    extended_l2: Maybe[bool] = Field(default=None, alias="extended-l2")
    """whether clusters have subclusters"""

    lazy_refcounts: Maybe[bool] = Field(default=None, alias="lazy-refcounts")
    """whether reference counts may be written late"""

    corrupt: Maybe[bool] = None
    """whether the image is marked as corrupt"""

    refcount_bits: Int64 = Field(alias="refcount-bits")
    """bits of a reference count"""

    bitmaps: Maybe[Array[Qcow2BitmapInfo]] = None
    """the bitmaps that are stored in the image"""

    compression_type: Qcow2CompressionType = Field(alias="compression-type")
    """how compressed clusters are compressed"""


class ImageInfoSpecificQCow2Wrapper(Model):
    """What a qcow2 image says of itself."""

    data: ImageInfoSpecificQCow2
    """all of it"""


class QObjImageInfoSpecificBase(Model):
    """The members all branches of `ImageInfoSpecific` have."""

    type: ImageInfoSpecificKind
    """the format"""


class SnapshotInfo(Model):
    """A snapshot inside an image."""

    id: str
    """the format's identifier"""

    name: str
    """its name"""

    vm_state_size: Int64 = Field(alias="vm-state-size")
    """size of the machine state stored with it, in bytes"""

    date_sec: Int64 = Field(alias="date-sec")
    """when it was made, in seconds since 1970 UTC"""

    date_nsec: Int64 = Field(alias="date-nsec")
    """the fraction of that second, in nanoseconds"""

    vm_clock_sec: Int64 = Field(alias="vm-clock-sec")
    """the virtual machine's clock, in seconds"""

    vm_clock_nsec: Int64 = Field(alias="vm-clock-nsec")
    """the fraction of that second, in nanoseconds"""

    icount: Maybe[Int64] = None
    """how many instructions had been executed, when they are counted"""


class ImageInfo(Model):
    """What an image says of itself."""

    filename: str
    """the file's name"""

    format: str
    """the image format"""

    dirty_flag: Maybe[bool] = Field(default=None, alias="dirty-flag")
    """whether the image was not closed properly"""

    actual_size: Maybe[Int64] = Field(default=None, alias="actual-size")
    """the space it takes on the host, in bytes"""

    virtual_size: Int64 = Field(alias="virtual-size")
    """the size that its users see, in bytes"""

    cluster_size: Maybe[Int64] = Field(default=None, alias="cluster-size")
    """the unit in which the format allocates, in bytes"""

    encrypted: Maybe[bool] = None
    """whether it is encrypted"""

    compressed: Maybe[bool] = None
    """whether it is compressed"""

    backing_filename: Maybe[str] = Field(default=None, alias="backing-filename")
    """the backing file as the image names it"""

    full_backing_filename: Maybe[str] = Field(default=None, alias="full-backing-filename")
    """the backing file, found from the image's own place"""

    backing_filename_format: Maybe[str] = Field(default=None, alias="backing-filename-format")
    """the format of the backing file as the image names it"""

    snapshots: Maybe[Array[SnapshotInfo]] = None
    """snapshots inside the image"""

    backing_image: Maybe[ImageInfo] = Field(default=None, alias="backing-image")
    """the backing image"""

    format_specific: Maybe[ImageInfoSpecific] = Field(default=None, alias="format-specific")
    """what only this format says of itself"""


class BlockdevCacheInfo(Model):
    """How a node caches."""

    writeback: bool
    """writes are answered before they are durable"""

    direct: bool
    """the host's page cache is passed by"""

    no_flush: bool = Field(alias="no-flush")
    """requests to make data durable are ignored"""


class BlockDeviceInfo(Model):
    """A node, and the image behind it."""

    file: str
    """the name of the file behind the node"""

    node_name: Maybe[str] = Field(default=None, alias="node-name")
    """the node's name"""

    active: bool
    """whether it is active; another process may write to the image of one that is not"""

    ro: bool
    """whether it is read-only"""

    drv: str
    """the name of its driver"""

    backing_file: Maybe[str] = None
    """the name of the backing file"""

    backing_file_depth: Int64
    """how many files the node's backing chain has"""

    encrypted: bool
    """whether the image is encrypted"""

    detect_zeroes: BlockdevDetectZeroesOptions
    """what happens to writes of zeroes"""

    bps: Int64
    """limit of all throughput, in bytes a second; 0 for none"""

    bps_rd: Int64
    """limit of reading, in bytes a second"""

    bps_wr: Int64
    """limit of writing, in bytes a second"""

    iops: Int64
    """limit of all requests a second; 0 for none"""

    iops_rd: Int64
    """limit of read requests a second"""

    iops_wr: Int64
    """limit of write requests a second"""

    image: ImageInfo
    """the image"""

    bps_max: Maybe[Int64] = None
    """how much a burst may take, in bytes"""

    bps_rd_max: Maybe[Int64] = None
    """how much a burst of reads may take, in bytes"""

    bps_wr_max: Maybe[Int64] = None
    """how much a burst of writes may take, in bytes"""

    iops_max: Maybe[Int64] = None
    """how many requests a burst may have"""

    iops_rd_max: Maybe[Int64] = None
    """how many reads a burst may have"""

    iops_wr_max: Maybe[Int64] = None
    """how many writes a burst may have"""

    bps_max_length: Maybe[Int64] = None
    """how long a burst may last that `bps_max` allows, in seconds"""

    bps_rd_max_length: Maybe[Int64] = None
    """how long a burst may last that `bps_rd_max` allows, in seconds"""

    bps_wr_max_length: Maybe[Int64] = None
    """how long a burst may last that `bps_wr_max` allows, in seconds"""

    iops_max_length: Maybe[Int64] = None
    """how long a burst may last that `iops_max` allows, in seconds"""

    iops_rd_max_length: Maybe[Int64] = None
    """how long a burst may last that `iops_rd_max` allows, in seconds"""

    iops_wr_max_length: Maybe[Int64] = None
    """how long a burst may last that `iops_wr_max` allows, in seconds"""

    iops_size: Maybe[Int64] = None
    """a request of more bytes than this counts as several"""

    group: Maybe[str] = None
    """the throttle group"""

    cache: BlockdevCacheInfo
    """how the node caches"""

    write_threshold: Int64
    """the offset beyond which a write raises BLOCK_WRITE_THRESHOLD, in bytes; 0 for none"""

    dirty_bitmaps: Maybe[Array[BlockDirtyInfo]] = Field(default=None, alias="dirty-bitmaps")
    """the node's dirty bitmaps; absent if it has none"""


class BlockDirtyInfo(Model):
    """A dirty bitmap."""

    name: Maybe[str] = None
    """its name; absent if it has none"""

    count: Int64
    """how many bytes it calls dirty"""

    granularity: UInt32
    """how many bytes one bit stands for"""

    recording: bool
    """whether writes are recorded in it"""

    busy: bool
    """whether a job or an export uses it, so that it cannot be changed"""

    persistent: bool
    """whether it is stored with the image when that is closed"""

    inconsistent: Maybe[bool] = None
    """whether it was not stored properly and can only be removed; present only if so"""


class BlockInfo(Model):
    """A device and what is in it."""

    device: str
    """the device's name"""

    qdev: Maybe[str] = None
    """the export, if it is one"""

    type: str
    """'unknown', kept for old clients"""

    removable: bool
    """whether media can be taken out"""

    locked: bool
    """whether the guest has locked the medium"""

    inserted: Maybe[BlockDeviceInfo] = None
    """the medium"""

    tray_open: Maybe[bool] = None
    """whether the tray is open"""

    io_status: Maybe[BlockDeviceIoStatus] = Field(default=None, alias="io-status")
    """how its I/O goes"""


class QObjQueryBlockArg(Model):
    """The arguments of `query-block`."""

    flat: Maybe[bool] = None
    """leave out the images below in the chain (default: false)"""


class BlockDeviceTimedStats(Model):
    """Statistics of an interval."""

    interval_length: Int64
    """the length of the interval, in seconds"""

    min_rd_latency_ns: Int64
    """least latency of reads, in nanoseconds"""

    max_rd_latency_ns: Int64
    """greatest latency of reads, in nanoseconds"""

    avg_rd_latency_ns: Int64
    """average latency of reads, in nanoseconds"""

    min_wr_latency_ns: Int64
    """least latency of writes, in nanoseconds"""

    max_wr_latency_ns: Int64
    """greatest latency of writes, in nanoseconds"""

    avg_wr_latency_ns: Int64
    """average latency of writes, in nanoseconds"""

    min_flush_latency_ns: Int64
    """least latency of flushes, in nanoseconds"""

    max_flush_latency_ns: Int64
    """greatest latency of flushes, in nanoseconds"""

    avg_flush_latency_ns: Int64
    """average latency of flushes, in nanoseconds"""

    avg_rd_queue_depth: float
    """average number of reads under way"""

    avg_wr_queue_depth: float
    """average number of writes under way"""


class BlockLatencyHistogramInfo(Model):
    """How many requests took how long."""

    boundaries: Array[UInt64]
    """the inner limits of the intervals, in nanoseconds and ascending"""

    bins: Array[UInt64]
    """how many requests fell into each interval; one more than there are boundaries"""


class BlockDeviceStats(Model):
    """What a device or node has done so far."""

    rd_bytes: Int64
    """bytes read"""

    wr_bytes: Int64
    """bytes written"""

    unmap_bytes: Int64
    """bytes discarded"""

    rd_operations: Int64
    """reads done"""

    wr_operations: Int64
    """writes done"""

    flush_operations: Int64
    """flushes done"""

    unmap_operations: Int64
    """discards done"""

    rd_total_time_ns: Int64
    """time spent reading, in nanoseconds"""

    wr_total_time_ns: Int64
    """time spent writing, in nanoseconds"""

    flush_total_time_ns: Int64
    """time spent flushing, in nanoseconds"""

    unmap_total_time_ns: Int64
    """time spent discarding, in nanoseconds"""

    wr_highest_offset: Int64
    """the highest offset written so far, in bytes"""

    rd_merged: Int64
    """reads that were merged into others"""

    wr_merged: Int64
    """writes that were merged into others"""

    unmap_merged: Int64
    """discards that were merged into others"""

    idle_time_ns: Maybe[Int64] = None
    """time since the last request, in nanoseconds; absent if there was none"""

    failed_rd_operations: Int64
    """reads that failed"""

    failed_wr_operations: Int64
    """writes that failed"""

    failed_flush_operations: Int64
    """flushes that failed"""

    failed_unmap_operations: Int64
    """discards that failed"""

    invalid_rd_operations: Int64
    """reads that were refused"""

    invalid_wr_operations: Int64
    """writes that were refused"""

    invalid_flush_operations: Int64
    """flushes that were refused"""

    invalid_unmap_operations: Int64
    """discards that were refused"""

    account_invalid: bool
    """whether refused requests count for latencies and idle time"""

    account_failed: bool
    """whether failed requests count for latencies and idle time"""

    timed_stats: Array[BlockDeviceTimedStats]
    """statistics of recent intervals"""

    rd_latency_histogram: Maybe[BlockLatencyHistogramInfo] = None
    """how long reads took"""

    wr_latency_histogram: Maybe[BlockLatencyHistogramInfo] = None
    """how long writes took"""

    flush_latency_histogram: Maybe[BlockLatencyHistogramInfo] = None
    """how long flushes took"""


class BlockStatsSpecificFile(Model):
    """What only files and host devices count."""

    discard_nb_ok: UInt64 = Field(alias="discard-nb-ok")
    """discards that succeeded"""

    discard_nb_failed: UInt64 = Field(alias="discard-nb-failed")
    """discards that failed"""

    discard_bytes_ok: UInt64 = Field(alias="discard-bytes-ok")
    """bytes that were discarded"""


class QObjBlockStatsSpecificBase(Model):
    """The members all branches of `BlockStatsSpecific` have."""

    driver: BlockdevDriver
    """the driver"""


class BlockStats(Model):
    """The statistics of a device or node."""

    device: Maybe[str] = None
    """the device's name, if it is one"""

    qdev: Maybe[str] = None
    """the path of the device that the guest sees"""

    node_name: Maybe[str] = Field(default=None, alias="node-name")
    """the node's name"""

    stats: BlockDeviceStats
    """the statistics"""

    driver_specific: Maybe[BlockStatsSpecific] = Field(default=None, alias="driver-specific")
    """what only its driver counts"""

    parent: Maybe[BlockStats] = None
    """the statistics of the file that holds the image"""

    backing: Maybe[BlockStats] = None
    """the statistics of the backing image"""


class QObjQueryBlockstatsArg(Model):
    """The arguments of `query-blockstats`."""

    query_nodes: Maybe[bool] = Field(default=None, alias="query-nodes")
    """list nodes instead of devices, each alone (default: false)"""


class QObjBlockLatencyHistogramSetArg(Model):
    """The arguments of `block-latency-histogram-set`."""

    id: str
    """the export or device"""

    boundaries: Maybe[Array[UInt64]] = None
    """the inner limits of the intervals, in nanoseconds, ascending"""

    boundaries_read: Maybe[Array[UInt64]] = Field(default=None, alias="boundaries-read")
    """those for reads"""

    boundaries_write: Maybe[Array[UInt64]] = Field(default=None, alias="boundaries-write")
    """those for writes"""

    boundaries_flush: Maybe[Array[UInt64]] = Field(default=None, alias="boundaries-flush")
    """those for flushes"""


class QObjQueryNamedBlockNodesArg(Model):
    """The arguments of `query-named-block-nodes`."""

    flat: Maybe[bool] = None
    """leave out the images below each node, which are nodes of their own anyway (default: false)"""


class XDbgBlockGraphNode(Model):
    """Something that stands in the block graph."""

    id: UInt64
    """its number, unique within one answer"""

    type: XDbgBlockGraphNodeType
    """what it is"""

    name: str
    """its name"""


class XDbgBlockGraphEdge(Model):
    """An edge of the block graph."""

    parent: UInt64
    """the number of the upper end"""

    child: UInt64
    """the number of the lower end"""

    name: str
    """what the parent calls the child"""

    perm: Array[BlockPermission]
    """what the parent does with it"""

    shared_perm: Array[BlockPermission] = Field(alias="shared-perm")
    """what the parent lets others do with it"""


class XDbgBlockGraph(Model):
    """The block graph."""

    nodes: Array[XDbgBlockGraphNode]
    """what stands in it"""

    edges: Array[XDbgBlockGraphEdge]
    """who holds whom"""


class QObjBlockResizeArg(Model):
    """The arguments of `block_resize`."""

    device: Maybe[str] = None
    """the device"""

    node_name: Maybe[str] = Field(default=None, alias="node-name")
    """the node"""

    size: Int64
    """the new size, in bytes"""


class BlockDirtyBitmap(Model):
    """A dirty bitmap of a node."""

    node: str
    """the node or device"""

    name: str
    """the bitmap's name"""


class BlockDirtyBitmapAdd(Model):
    """A dirty bitmap to be made."""

    node: str
    """the node or device whose writes it is to record"""

    name: str
    """its name, unique for the node and not longer than 1023 bytes"""

    granularity: Maybe[UInt32] = None
    """how many bytes one bit stands for, a power of two of 512 or more (default: the image's cluster size,
    within 4096 and 65536; 65536 if it has none)
    """

    persistent: Maybe[bool] = None
    """store it with the image (default: false)"""

    disabled: Maybe[bool] = None
    """do not record writes until it is enabled (default: false)"""


class BlockDirtyBitmapMerge(Model):
    """Dirty bitmaps to be merged."""

    node: str
    """the node or device of the target"""

    target: str
    """the bitmap that takes in the others"""

    bitmaps: Array[BlockDirtyBitmapOrStr]
    """the bitmaps to merge into it"""


class BlockDirtyBitmapSha256(Model):
    """A bitmap's checksum."""

    sha256: str
    """the SHA-256 sum of its bits, in hexadecimal"""


class BackupPerf(Model):
    """How hard a backup job works."""

    use_copy_range: Maybe[bool] = Field(default=None, alias="use-copy-range")
    """let the kernel copy where it can (default: false)"""

    max_workers: Maybe[Int64] = Field(default=None, alias="max-workers")
    """how many requests of background copying may be under way (default: 64)"""

    max_chunk: Maybe[Int64] = Field(default=None, alias="max-chunk")
    """how many bytes one of them may have, at least the cluster size of the copy; 0 for no limit (default:
    0)
    """

    min_cluster_size: Maybe[UInt64] = Field(default=None, alias="min-cluster-size")
    """the least cluster size of the copy, in bytes, a power of two; has an effect above 64 KiB and above
    the cluster size of the target (default: 0)
    """


class BackupCommon(Model):
    """What both backup commands take."""

    job_id: Maybe[str] = Field(default=None, alias="job-id")
    """the job's name (default: the device's name; a node without device needs one)"""

    device: str
    """the node or device to back up"""

    sync: MirrorSyncMode
    """what to copy"""

    speed: Maybe[Int64] = None
    """the greatest speed, in bytes a second; 0 for no limit (default: 0)"""

    bitmap: Maybe[str] = None
    """the dirty bitmap that tells what to copy, for the modes of `sync` that need one"""

    bitmap_mode: Maybe[BitmapSyncMode] = Field(default=None, alias="bitmap-mode")
    """what becomes of that bitmap; needed with `sync` 'bitmap', and with 'incremental' only 'on-success'
    will do
    """

    compress: Maybe[bool] = None
    """compress what is written, if the target's format can (default: false)"""

    discard_source: Maybe[bool] = Field(default=None, alias="discard-source")
    """discard in the source what has been copied; the source has to be opened with 'discard' set to
    'unmap', and loses its contents (default: false)
    """

    on_source_error: Maybe[BlockdevOnError] = Field(default=None, alias="on-source-error")
    """what to do when reading fails; 'stop' and 'enospc' need a device with I/O status (default: 'report')"""

    on_target_error: Maybe[BlockdevOnError] = Field(default=None, alias="on-target-error")
    """what to do when writing the copy fails (default: 'report')"""

    auto_finalize: Maybe[bool] = Field(default=None, alias="auto-finalize")
    """take the last step without waiting for 'job-finalize' (default: true)"""

    auto_dismiss: Maybe[bool] = Field(default=None, alias="auto-dismiss")
    """vanish when it is over, without waiting for 'job-dismiss' (default: true)"""

    filter_node_name: Maybe[str] = Field(default=None, alias="filter-node-name")
    """the name of the filter node that is put above the source meanwhile (default: a generated one)"""

    x_perf: Maybe[BackupPerf] = Field(default=None, alias="x-perf")
    """how hard to work"""


class DriveMirror(Model):
    """A mirror into a file."""

    job_id: Maybe[str] = Field(default=None, alias="job-id")
    """the job's name (default: the device's name; a node without device needs one)"""

    device: str
    """the node or device to mirror; nothing may stand on it but its users"""

    target: str
    """the file"""

    format: Maybe[str] = None
    """the file's image format (default: found out for an existing file, otherwise that of the source)"""

    node_name: Maybe[str] = Field(default=None, alias="node-name")
    """the name of the node for the file (default: a generated one)"""

    replaces: Maybe[str] = None
    """the node whose place the target takes when the job is completed: `device` (the default) or a node
    whose data it shows; needs `node-name`
    """

    sync: MirrorSyncMode
    """what to copy at first"""

    mode: Maybe[NewImageMode] = None
    """whether the file is there already (default: 'absolute-paths')"""

    speed: Maybe[Int64] = None
    """the greatest speed, in bytes a second; 0 for no limit (default: 0)"""

    granularity: Maybe[UInt32] = None
    """how many bytes are kept track of as one; a power of two from 512 to 64 MiB, or 0 for the default:
    the target's cluster size, at least 4 KiB and at most 64 KiB
    """

    buf_size: Maybe[Int64] = Field(default=None, alias="buf-size")
    """how many bytes may be under way at the same time; 0 for the default of 10 MiB"""

    on_source_error: Maybe[BlockdevOnError] = Field(default=None, alias="on-source-error")
    """what to do when reading fails (default: 'report')"""

    on_target_error: Maybe[BlockdevOnError] = Field(default=None, alias="on-target-error")
    """what to do when writing the copy fails (default: 'report')"""

    unmap: Maybe[bool] = None
    """let the target give space back where the source reads as zeroes (default: true)"""

    copy_mode: Maybe[MirrorCopyMode] = Field(default=None, alias="copy-mode")
    """how writes get to the target (default: 'background')"""

    auto_finalize: Maybe[bool] = Field(default=None, alias="auto-finalize")
    """take the last step without waiting for 'job-finalize' (default: true)"""

    auto_dismiss: Maybe[bool] = Field(default=None, alias="auto-dismiss")
    """vanish when it is over, without waiting for 'job-dismiss' (default: true)"""


class QObjBlockdevMirrorArg(Model):
    """The arguments of `blockdev-mirror`."""

    job_id: Maybe[str] = Field(default=None, alias="job-id")
    """the job's name (default: the device's name; a node without device needs one)"""

    device: str
    """the node or device to mirror; nothing may stand on it but its users"""

    target: str
    """the node to copy to, of the same size"""

    replaces: Maybe[str] = None
    """the node whose place the target takes when the job is completed: `device` (the default) or a node
    whose data it shows
    """

    sync: MirrorSyncMode
    """what to copy at first; 'incremental' and 'bitmap' are not possible"""

    speed: Maybe[Int64] = None
    """the greatest speed, in bytes a second; 0 for no limit (default: 0)"""

    granularity: Maybe[UInt32] = None
    """how many bytes are kept track of as one; a power of two from 512 to 64 MiB, or 0 for the default:
    the target's cluster size, at least 4 KiB and at most 64 KiB
    """

    buf_size: Maybe[Int64] = Field(default=None, alias="buf-size")
    """how many bytes may be under way at the same time; 0 for the default of 10 MiB"""

    on_source_error: Maybe[BlockdevOnError] = Field(default=None, alias="on-source-error")
    """what to do when reading fails (default: 'report')"""

    on_target_error: Maybe[BlockdevOnError] = Field(default=None, alias="on-target-error")
    """what to do when writing the copy fails (default: 'report')"""

    filter_node_name: Maybe[str] = Field(default=None, alias="filter-node-name")
    """the name of the filter node that is put above the source meanwhile (default: a generated one)"""

    copy_mode: Maybe[MirrorCopyMode] = Field(default=None, alias="copy-mode")
    """how writes get to the target (default: 'background')"""

    auto_finalize: Maybe[bool] = Field(default=None, alias="auto-finalize")
    """take the last step without waiting for 'job-finalize' (default: true)"""

    auto_dismiss: Maybe[bool] = Field(default=None, alias="auto-dismiss")
    """vanish when it is over, without waiting for 'job-dismiss' (default: true)"""


class QObjBlockCommitArg(Model):
    """The arguments of `block-commit`."""

    job_id: Maybe[str] = Field(default=None, alias="job-id")
    """the name of the job (default: that of the device)"""

    device: str
    """the node at the top of the disk, or its device"""

    base_node: Maybe[str] = Field(default=None, alias="base-node")
    """the node that takes over the data (default: the lowest image of the chain)"""

    base: Maybe[str] = None
    """the same by the name of its file"""

    top_node: Maybe[str] = Field(default=None, alias="top-node")
    """the topmost node to be moved (default: `device`)"""

    top: Maybe[str] = None
    """the same by the name of its file"""

    backing_file: Maybe[str] = Field(default=None, alias="backing-file")
    """what the images on top are to name as their backing file (default: the name of the base). Not for an
    active layer, which nothing stands on
    """

    speed: Maybe[Int64] = None
    """the greatest speed, in bytes a second; 0 for no limit (default: 0)"""

    on_error: Maybe[BlockdevOnError] = Field(default=None, alias="on-error")
    """what to do about an I/O error (default: 'report')"""

    filter_node_name: Maybe[str] = Field(default=None, alias="filter-node-name")
    """the name of the filter node that is put above the topmost node meanwhile (default: a generated one)"""

    auto_finalize: Maybe[bool] = Field(default=None, alias="auto-finalize")
    """take the last step without 'job-finalize' (default: true)"""

    auto_dismiss: Maybe[bool] = Field(default=None, alias="auto-dismiss")
    """vanish without 'job-dismiss' (default: true)"""


class QObjBlockStreamArg(Model):
    """The arguments of `block-stream`."""

    job_id: Maybe[str] = Field(default=None, alias="job-id")
    """the name of the job (default: that of the device)"""

    device: str
    """the node that takes over the data, or its device"""

    base: Maybe[str] = None
    """the name of the base's file (default: none)"""

    base_node: Maybe[str] = Field(default=None, alias="base-node")
    """the base by its node"""

    backing_file: Maybe[str] = Field(default=None, alias="backing-file")
    """what the image is to name as its backing file (default: the name of the base); only with a base"""

    bottom: Maybe[str] = None
    """the lowest image whose data is taken over; what is below it is the base. Excludes `base` and `base-
    node`
    """

    speed: Maybe[Int64] = None
    """the greatest speed, in bytes a second; 0 for no limit (default: 0)"""

    on_error: Maybe[BlockdevOnError] = Field(default=None, alias="on-error")
    """what to do about an I/O error (default: 'report'). With 'ignore' the job goes on with the rest, and
    fails at its end
    """

    filter_node_name: Maybe[str] = Field(default=None, alias="filter-node-name")
    """the name of the filter node that is put above the image meanwhile (default: a generated one)"""

    auto_finalize: Maybe[bool] = Field(default=None, alias="auto-finalize")
    """take the last step without 'job-finalize' (default: true)"""

    auto_dismiss: Maybe[bool] = Field(default=None, alias="auto-dismiss")
    """vanish without 'job-dismiss' (default: true)"""


class BlockJobInfo(Model):
    """A block job."""

    type: str
    """what it does, a JobType"""

    device: str
    """its name"""

    len: Int64
    """what `offset` is expected to reach"""

    offset: Int64
    """how much is done"""

    busy: bool
    """whether it does something right now"""

    paused: bool
    """whether it is paused, or about to be"""

    speed: Int64
    """the greatest speed, in bytes a second; 0 for no limit"""

    io_status: BlockDeviceIoStatus = Field(alias="io-status")
    """how its I/O goes"""

    ready: bool
    """whether it can be completed"""

    status: JobStatus
    """its state"""

    auto_finalize: bool = Field(alias="auto-finalize")
    """whether it takes its last step without 'job-finalize'"""

    auto_dismiss: bool = Field(alias="auto-dismiss")
    """whether it vanishes without 'job-dismiss'"""

    error: Maybe[str] = None
    """why it failed, for people"""


class QObjBlockJobSetSpeedArg(Model):
    """The arguments of `block-job-set-speed`."""

    device: str
    """the job"""

    speed: Int64
    """the greatest speed, in bytes a second; 0 for no limit"""


class QObjBlockJobCancelArg(Model):
    """The arguments of `block-job-cancel`."""

    device: str
    """the job"""

    force: Maybe[bool] = None
    """give up even if the job is paused by an error or ready (default: false)"""


class QObjBlockJobPauseArg(Model):
    """The arguments of `block-job-pause`."""

    device: str
    """the job"""


class QObjBlockJobResumeArg(Model):
    """The arguments of `block-job-resume`."""

    device: str
    """the job"""


class QObjBlockJobCompleteArg(Model):
    """The arguments of `block-job-complete`."""

    device: str
    """the job"""


class QObjBlockJobDismissArg(Model):
    """The arguments of `block-job-dismiss`."""

    id: str
    """the job"""


class QObjBlockJobFinalizeArg(Model):
    """The arguments of `block-job-finalize`."""

    id: str
    """the job"""


class JobChangeOptionsMirror(Model):
    """What can be changed about a mirror."""

    copy_mode: MirrorCopyMode = Field(alias="copy-mode")
    """how writes get to the target; 'write-blocking' cannot be left again"""


class QObjJobChangeOptionsBase(Model):
    """The members all branches of `JobChangeOptions` have."""

    id: str
    """the job"""

    type: JobType
    """its kind"""


class BlockdevCacheOptions(Model):
    """How a node caches."""

    direct: Maybe[bool] = None
    """pass by the host's page cache (default: false)"""

    no_flush: Maybe[bool] = Field(default=None, alias="no-flush")
    """ignore requests to make data durable (default: false)"""


class BlockdevOptionsFile(Model):
    """A file or a block device of the host."""

    filename: str
    """its path"""

    pr_manager: Maybe[str] = Field(default=None, alias="pr-manager")
    """the name of the helper for persistent reservations; qmpd has none"""

    locking: Maybe[OnOffAuto] = None
    """lock the file against use by other programs; 'auto' does it if the host's locks can (default:
    'auto')
    """

    aio: Maybe[BlockdevAioOptions] = None
    """how it is read and written (default: 'threads')"""

    aio_max_batch: Maybe[Int64] = Field(default=None, alias="aio-max-batch")
    """how many requests may be handed to the kernel at once; 0 to leave it to the daemon (default: 0)"""

    drop_cache: Maybe[bool] = Field(default=None, alias="drop-cache")
    """forget cached data when the image is handed to another host (default: true)"""

    x_check_cache_dropped: Maybe[bool] = Field(default=None, alias="x-check-cache-dropped")
    """verify that it was forgotten (default: false)"""


class BlockdevOptionsNull(Model):
    """A disk that does nothing."""

    size: Maybe[Int64] = None
    """its size, in bytes (default: 1 GiB)"""

    latency_ns: Maybe[UInt64] = Field(default=None, alias="latency-ns")
    """how long each request takes, in nanoseconds (default: 0)"""

    read_zeroes: Maybe[bool] = Field(default=None, alias="read-zeroes")
    """whether reading gives zeroes; otherwise it gives whatever is in memory (default: false)"""


class BlockdevOptionsGenericFormat(Model):
    """What all image formats and filters have."""

    file: BlockdevRef
    """the node that holds the image, or that is filtered"""


class Qcow2OverlapCheckFlags(Model):
    """What is looked at before a write."""

    template: Maybe[Qcow2OverlapCheckMode] = None
    """the mode from which the other members differ (default: 'cached')"""

    main_header: Maybe[bool] = Field(default=None, alias="main-header")
    """the header"""

    active_l1: Maybe[bool] = Field(default=None, alias="active-l1")
    """the active L1 table"""

    active_l2: Maybe[bool] = Field(default=None, alias="active-l2")
    """the active L2 tables"""

    refcount_table: Maybe[bool] = Field(default=None, alias="refcount-table")
    """the refcount table"""

    refcount_block: Maybe[bool] = Field(default=None, alias="refcount-block")
    """the refcount blocks"""

    snapshot_table: Maybe[bool] = Field(default=None, alias="snapshot-table")
    """the snapshot table"""

    inactive_l1: Maybe[bool] = Field(default=None, alias="inactive-l1")
    """the L1 tables of snapshots"""

    inactive_l2: Maybe[bool] = Field(default=None, alias="inactive-l2")
    """the L2 tables of snapshots"""

    bitmap_directory: Maybe[bool] = Field(default=None, alias="bitmap-directory")
    """the directory of stored bitmaps"""


class BlkdebugInjectErrorOptions(Model):
    """Requests fail once an event has come, until another event with rules of this kind comes."""

    event: BlkdebugEvent
    """the event"""

    state: Maybe[Int64] = None
    """the state in which the event counts; 0 for any (default: 0)"""

    iotype: Maybe[BlkdebugIOType] = None
    """the kind of request that fails (default: all kinds but 'block-status')"""

    errno: Maybe[Int64] = None
    """the number of the error (default: 5, EIO)"""

    sector: Maybe[Int64] = None
    """only requests fail that cover this sector of 512 bytes (default: all)"""

    once: Maybe[bool] = None
    """the rule is gone when a request has failed by it (default: false)"""

    immediately: Maybe[bool] = None
    """the request fails at once, rather than when it would have ended (default: false)"""


class BlkdebugSetStateOptions(Model):
    """An event leads to another state; at first the state is 1."""

    event: BlkdebugEvent
    """the event"""

    state: Maybe[Int64] = None
    """the state in which the event counts; 0 for any (default: 0)"""

    new_state: Int64
    """the state afterwards"""


class BlockdevOptionsBlkdebug(Model):
    """A filter that lets requests fail, and that can be given limits and permissions."""

    image: BlockdevRef
    """the node below"""

    config: Maybe[str] = None
    """a file with rules"""

    align: Maybe[Int64] = None
    """requests are aligned to so many bytes, a power of two (default: as below)"""

    max_transfer: Maybe[Int32] = Field(default=None, alias="max-transfer")
    """the most bytes that are read or written in one request (default: no limit)"""

    opt_write_zero: Maybe[Int32] = Field(default=None, alias="opt-write-zero")
    """ranges to be zeroed are aligned to so many bytes, others are written (default: `align`)"""

    max_write_zero: Maybe[Int32] = Field(default=None, alias="max-write-zero")
    """the most bytes that are zeroed in one request (default: no limit)"""

    opt_discard: Maybe[Int32] = Field(default=None, alias="opt-discard")
    """ranges to be discarded are aligned to so many bytes, others are left alone (default: `align`)"""

    max_discard: Maybe[Int32] = Field(default=None, alias="max-discard")
    """the most bytes that are discarded in one request (default: no limit)"""

    inject_error: Maybe[Array[BlkdebugInjectErrorOptions]] = Field(default=None, alias="inject-error")
    """rules by which requests fail"""

    set_state: Maybe[Array[BlkdebugSetStateOptions]] = Field(default=None, alias="set-state")
    """rules by which the state changes"""

    take_child_perms: Maybe[Array[BlockPermission]] = Field(default=None, alias="take-child-perms")
    """permissions to take on `image`, besides those needed"""

    unshare_child_perms: Maybe[Array[BlockPermission]] = Field(default=None, alias="unshare-child-perms")
    """permissions on `image` that others must not have"""


class ThrottleLimits(Model):
    """How fast requests may be. What is left out of a change stays as it was."""

    iops_total: Maybe[Int64] = Field(default=None, alias="iops-total")
    """requests a second; 0 for no limit (default: 0)"""

    iops_total_max: Maybe[Int64] = Field(default=None, alias="iops-total-max")
    """requests a second for a while; 0 for a tenth of a second's worth at once and no more (default: 0)"""

    iops_total_max_length: Maybe[Int64] = Field(default=None, alias="iops-total-max-length")
    """how long `iops-total-max` may be kept up, in seconds (default: 1)"""

    iops_read: Maybe[Int64] = Field(default=None, alias="iops-read")
    """reads a second; 0 for no limit (default: 0)"""

    iops_read_max: Maybe[Int64] = Field(default=None, alias="iops-read-max")
    """reads a second for a while; 0 for a tenth of a second's worth at once and no more (default: 0)"""

    iops_read_max_length: Maybe[Int64] = Field(default=None, alias="iops-read-max-length")
    """how long `iops-read-max` may be kept up, in seconds (default: 1)"""

    iops_write: Maybe[Int64] = Field(default=None, alias="iops-write")
    """writes a second; discards and zeroing count as writes; 0 for no limit (default: 0)"""

    iops_write_max: Maybe[Int64] = Field(default=None, alias="iops-write-max")
    """writes a second for a while; 0 for a tenth of a second's worth at once and no more (default: 0)"""

    iops_write_max_length: Maybe[Int64] = Field(default=None, alias="iops-write-max-length")
    """how long `iops-write-max` may be kept up, in seconds (default: 1)"""

    bps_total: Maybe[Int64] = Field(default=None, alias="bps-total")
    """bytes a second; 0 for no limit (default: 0)"""

    bps_total_max: Maybe[Int64] = Field(default=None, alias="bps-total-max")
    """bytes a second for a while; 0 for a tenth of a second's worth at once and no more (default: 0)"""

    bps_total_max_length: Maybe[Int64] = Field(default=None, alias="bps-total-max-length")
    """how long `bps-total-max` may be kept up, in seconds (default: 1)"""

    bps_read: Maybe[Int64] = Field(default=None, alias="bps-read")
    """bytes read a second; 0 for no limit (default: 0)"""

    bps_read_max: Maybe[Int64] = Field(default=None, alias="bps-read-max")
    """bytes read a second for a while; 0 for a tenth of a second's worth at once and no more (default: 0)"""

    bps_read_max_length: Maybe[Int64] = Field(default=None, alias="bps-read-max-length")
    """how long `bps-read-max` may be kept up, in seconds (default: 1)"""

    bps_write: Maybe[Int64] = Field(default=None, alias="bps-write")
    """bytes written a second; 0 for no limit (default: 0)"""

    bps_write_max: Maybe[Int64] = Field(default=None, alias="bps-write-max")
    """bytes written a second for a while; 0 for a tenth of a second's worth at once and no more (default:
    0)
    """

    bps_write_max_length: Maybe[Int64] = Field(default=None, alias="bps-write-max-length")
    """how long `bps-write-max` may be kept up, in seconds (default: 1)"""

    iops_size: Maybe[Int64] = Field(default=None, alias="iops-size")
    """a request counts as one for each so many bytes; 0 for one whatever its size (default: 0)"""


class ThrottleGroupProperties(Model):
    """Limits that the 'throttle' nodes which name the group have in common."""

    limits: Maybe[ThrottleLimits] = None
    """the limits (default: none)"""

    x_iops_total: Maybe[Int64] = Field(default=None, alias="x-iops-total")
    """requests a second; 0 for no limit (default: 0)"""

    x_iops_total_max: Maybe[Int64] = Field(default=None, alias="x-iops-total-max")
    """requests a second for a while; 0 for a tenth of a second's worth at once and no more (default: 0)"""

    x_iops_total_max_length: Maybe[Int64] = Field(default=None, alias="x-iops-total-max-length")
    """how long `x-iops-total-max` may be kept up, in seconds (default: 1)"""

    x_iops_read: Maybe[Int64] = Field(default=None, alias="x-iops-read")
    """reads a second; 0 for no limit (default: 0)"""

    x_iops_read_max: Maybe[Int64] = Field(default=None, alias="x-iops-read-max")
    """reads a second for a while; 0 for a tenth of a second's worth at once and no more (default: 0)"""

    x_iops_read_max_length: Maybe[Int64] = Field(default=None, alias="x-iops-read-max-length")
    """how long `x-iops-read-max` may be kept up, in seconds (default: 1)"""

    x_iops_write: Maybe[Int64] = Field(default=None, alias="x-iops-write")
    """writes a second; discards and zeroing count as writes; 0 for no limit (default: 0)"""

    x_iops_write_max: Maybe[Int64] = Field(default=None, alias="x-iops-write-max")
    """writes a second for a while; 0 for a tenth of a second's worth at once and no more (default: 0)"""

    x_iops_write_max_length: Maybe[Int64] = Field(default=None, alias="x-iops-write-max-length")
    """how long `x-iops-write-max` may be kept up, in seconds (default: 1)"""

    x_bps_total: Maybe[Int64] = Field(default=None, alias="x-bps-total")
    """bytes a second; 0 for no limit (default: 0)"""

    x_bps_total_max: Maybe[Int64] = Field(default=None, alias="x-bps-total-max")
    """bytes a second for a while; 0 for a tenth of a second's worth at once and no more (default: 0)"""

    x_bps_total_max_length: Maybe[Int64] = Field(default=None, alias="x-bps-total-max-length")
    """how long `x-bps-total-max` may be kept up, in seconds (default: 1)"""

    x_bps_read: Maybe[Int64] = Field(default=None, alias="x-bps-read")
    """bytes read a second; 0 for no limit (default: 0)"""

    x_bps_read_max: Maybe[Int64] = Field(default=None, alias="x-bps-read-max")
    """bytes read a second for a while; 0 for a tenth of a second's worth at once and no more (default: 0)"""

    x_bps_read_max_length: Maybe[Int64] = Field(default=None, alias="x-bps-read-max-length")
    """how long `x-bps-read-max` may be kept up, in seconds (default: 1)"""

    x_bps_write: Maybe[Int64] = Field(default=None, alias="x-bps-write")
    """bytes written a second; 0 for no limit (default: 0)"""

    x_bps_write_max: Maybe[Int64] = Field(default=None, alias="x-bps-write-max")
    """bytes written a second for a while; 0 for a tenth of a second's worth at once and no more (default:
    0)
    """

    x_bps_write_max_length: Maybe[Int64] = Field(default=None, alias="x-bps-write-max-length")
    """how long `x-bps-write-max` may be kept up, in seconds (default: 1)"""

    x_iops_size: Maybe[Int64] = Field(default=None, alias="x-iops-size")
    """a request counts as one for each so many bytes; 0 for one whatever its size (default: 0)"""


class BlockdevOptionsThrottle(Model):
    """A filter that slows requests down."""

    throttle_group: str = Field(alias="throttle-group")
    """the 'throttle-group' object with the limits"""

    file: BlockdevRef
    """the node that is slowed down"""


class BlockdevOptionsBlkverify(Model):
    """An image, and a raw copy that it is compared with."""

    test: BlockdevRef
    """the image under test"""

    raw: BlockdevRef
    """the raw copy; it has to hold the same, and be as large"""


class BlockdevOptionsQuorum(Model):
    """Several images with the same contents, and a vote on what is read. All are of the same size."""

    blkverify: Maybe[bool] = None
    """there are two children, and they have to agree (default: false)"""

    children: Array[BlockdevRef]
    """the images"""

    vote_threshold: Int64 = Field(alias="vote-threshold")
    """how many children have to agree, or to have taken a write"""

    rewrite_corrupted: Maybe[bool] = Field(default=None, alias="rewrite-corrupted")
    """write what won a vote over what lost it (default: false)"""

    read_pattern: Maybe[QuorumReadPattern] = Field(default=None, alias="read-pattern")
    """how it reads (default: 'quorum')"""


class BlockdevOptionsNbd(Model):
    """A disk that an NBD server exports."""

    server: SocketAddress
    """where the server listens"""

    export: Maybe[str] = None
    """the export's name (default: the empty name, which is the server's default)"""

    tls_creds: Maybe[str] = Field(default=None, alias="tls-creds")
    """the id of TLS credentials; qmpd's NBD has no TLS, so this is refused"""

    tls_hostname: Maybe[str] = Field(default=None, alias="tls-hostname")
    """the name that the server's certificate has to bear; refused likewise"""

    x_dirty_bitmap: Maybe[str] = Field(default=None, alias="x-dirty-bitmap")
    """the metadata context that is asked in place of 'base:allocation' what is stored where, such as
    'qemu:dirty-bitmap:NAME' or 'qemu:allocation-depth'. What it calls dirty is then reported as a hole
    with data in it.
    """

    reconnect_delay: Maybe[UInt32] = Field(default=None, alias="reconnect-delay")
    """when the connection is lost, requests wait so many seconds for a new one and are sent again then;
    after that time they fail until there is a connection (default: 0, they fail at once)
    """

    open_timeout: Maybe[UInt32] = Field(default=None, alias="open-timeout")
    """so many seconds the server may take to appear when the node is opened; 0 for one attempt (default:
    0)
    """


class QObjBlockdevOptionsBase(Model):
    """The members all branches of `BlockdevOptions` have."""

    driver: BlockdevDriver
    """its driver"""

    node_name: Maybe[str] = Field(default=None, alias="node-name")
    """its name; needed for a node that is added by itself"""

    discard: Maybe[BlockdevDiscardOptions] = None
    """what happens to requests to discard data (default: 'ignore')"""

    cache: Maybe[BlockdevCacheOptions] = None
    """how it caches"""

    read_only: Maybe[bool] = Field(default=None, alias="read-only")
    """open it for reading only (default: false)"""

    auto_read_only: Maybe[bool] = Field(default=None, alias="auto-read-only")
    """fall back to reading only if writing is not possible (default: false)"""

    force_share: Maybe[bool] = Field(default=None, alias="force-share")
    """let other programs do with the image what they like; only for reading (default: false)"""

    active: Maybe[bool] = None
    """whether it is active at first; one that is not can be opened while another process has the image,
    and becomes active by 'blockdev-set-active' or when it is exported (default: true)
    """

    detect_zeroes: Maybe[BlockdevDetectZeroesOptions] = Field(default=None, alias="detect-zeroes")
    """what happens to writes that hold only zeroes (default: 'off')"""


class QObjXBlockdevChangeArg(Model):
    """The arguments of `x-blockdev-change`."""

    parent: str
    """the quorum"""

    child: Maybe[str] = None
    """the child to take out"""

    node: Maybe[str] = None
    """the node to add; nothing uses it"""


class QObjXBlockdevSetIothreadArg(Model):
    """The arguments of `x-blockdev-set-iothread`."""

    node_name: str = Field(alias="node-name")
    """the node"""

    iothread: StrOrNull
    """an object of type 'iothread', or null for the main loop"""

    force: Maybe[bool] = None
    """also for a node that is in use by an export or a drive (default: false)"""


class QObjBlockdevDelArg(Model):
    """The arguments of `blockdev-del`."""

    node_name: str = Field(alias="node-name")
    """the node"""


class QObjBlockdevReopenArg(Model):
    """The arguments of `blockdev-reopen`."""

    options: Array[BlockdevOptions]
    """the options of each node"""


class QObjBlockSetWriteThresholdArg(Model):
    """The arguments of `block-set-write-threshold`."""

    node_name: str = Field(alias="node-name")
    """the node"""

    write_threshold: UInt64 = Field(alias="write-threshold")
    """the offset, in bytes; 0 for none"""


class QObjBlockdevSetActiveArg(Model):
    """The arguments of `blockdev-set-active`."""

    node_name: Maybe[str] = Field(default=None, alias="node-name")
    """the node (default: all nodes)"""

    active: bool
    """whether it is to be active"""


class BlockdevCreateOptionsFile(Model):
    """A file to be made."""

    filename: str
    """its path"""

    size: UInt64
    """its size, in bytes"""

    preallocation: Maybe[PreallocMode] = None
    """how much of it is allocated at once: 'off', 'falloc' or 'full' (default: 'off')"""

    nocow: Maybe[bool] = None
    """ask the host's file system not to copy on write (default: false)"""

    extent_size_hint: Maybe[UInt64] = Field(default=None, alias="extent-size-hint")
    """the unit in which the host's file system is asked to allocate, in bytes; 0 for its own choice
    (default: 1 MiB)
    """


class BlockdevCreateOptionsQcow2(Model):
    """A qcow2 image to be made."""

    file: BlockdevRef
    """the node in which it is made; what it holds is lost"""

    data_file: Maybe[BlockdevRef] = Field(default=None, alias="data-file")
    """the node that is to hold the guest's data"""

    data_file_raw: Maybe[bool] = Field(default=None, alias="data-file-raw")
    """keep that usable as a raw image (default: false)"""

    extended_l2: Maybe[bool] = Field(default=None, alias="extended-l2")
    """let clusters have subclusters (default: false)"""

    size: UInt64
    """the size of the disk, in bytes, a multiple of 512"""

    version: Maybe[BlockdevQcow2Version] = None
    """the version (default: 'v3')"""

    backing_file: Maybe[str] = Field(default=None, alias="backing-file")
    """the name of the backing file"""

    backing_fmt: Maybe[BlockdevDriver] = Field(default=None, alias="backing-fmt")
    """the format of the backing file"""

    cluster_size: Maybe[UInt64] = Field(default=None, alias="cluster-size")
    """bytes in a cluster (default: 65536)"""

    preallocation: Maybe[PreallocMode] = None
    """how much is allocated at once (default: 'off')"""

    lazy_refcounts: Maybe[bool] = Field(default=None, alias="lazy-refcounts")
    """let reference counts be written late (default: false)"""

    refcount_bits: Maybe[Int64] = Field(default=None, alias="refcount-bits")
    """bits of a reference count (default: 16)"""

    compression_type: Maybe[Qcow2CompressionType] = Field(default=None, alias="compression-type")
    """how compressed clusters are compressed (default: 'zlib')"""


class QObjBlockdevCreateOptionsBase(Model):
    """The members all branches of `BlockdevCreateOptions` have."""

    driver: BlockdevDriver
    """its format or protocol"""


class QObjBlockdevCreateArg(Model):
    """The arguments of `blockdev-create`."""

    job_id: str = Field(alias="job-id")
    """the job's name"""

    options: BlockdevCreateOptions
    """the image"""


class BlockdevAmendOptionsQcow2(Model):
    """What can be changed in a qcow2 image."""

    version: Maybe[BlockdevQcow2Version] = None
    """the version"""

    backing_file: Maybe[str] = Field(default=None, alias="backing-file")
    """the name of the backing file; an empty one for none"""

    backing_fmt: Maybe[BlockdevDriver] = Field(default=None, alias="backing-fmt")
    """the format of the backing file"""

    lazy_refcounts: Maybe[bool] = Field(default=None, alias="lazy-refcounts")
    """whether reference counts may be written late"""

    refcount_bits: Maybe[Int64] = Field(default=None, alias="refcount-bits")
    """bits of a reference count"""


class QObjBlockdevAmendOptionsBase(Model):
    """The members all branches of `BlockdevAmendOptions` have."""

    driver: BlockdevDriver
    """its format"""


class QObjXBlockdevAmendArg(Model):
    """The arguments of `x-blockdev-amend`."""

    job_id: str = Field(alias="job-id")
    """the job's name"""

    node_name: str = Field(alias="node-name")
    """the image"""

    options: BlockdevAmendOptions
    """what to change"""

    force: Maybe[bool] = None
    """change even what makes data unreadable; nothing of that kind is known here (default: false)"""


class QObjChangeBackingFileArg(Model):
    """The arguments of `change-backing-file`."""

    device: str
    """the device, or the node at the root of its chain"""

    image_node_name: str = Field(alias="image-node-name")
    """the node whose image is changed"""

    backing_file: str = Field(alias="backing-file")
    """the name"""


class BlockdevSnapshotInternal(Model):
    """A snapshot to be made inside an image."""

    device: str
    """the device, or the node at the root of its chain"""

    name: str
    """the snapshot's name, unique in the image"""


class QObjBlockdevSnapshotDeleteInternalSyncArg(Model):
    """The arguments of `blockdev-snapshot-delete-internal-sync`."""

    device: str
    """the device, or the node at the root of its chain"""

    id: Maybe[str] = None
    """the snapshot's identifier"""

    name: Maybe[str] = None
    """the snapshot's name"""


class BlockdevSnapshotSync(Model):
    """An overlay to be made, or to be opened, and put on top of a disk."""

    device: Maybe[str] = None
    """the device"""

    node_name: Maybe[str] = Field(default=None, alias="node-name")
    """the node"""

    snapshot_file: str = Field(alias="snapshot-file")
    """the file of the overlay"""

    snapshot_node_name: Maybe[str] = Field(default=None, alias="snapshot-node-name")
    """the name of the overlay's node; needed where the disk is given by its node's name"""

    format: Maybe[str] = None
    """the format of the overlay (default: 'qcow2')"""

    mode: Maybe[NewImageMode] = None
    """whether the overlay is there already (default: 'absolute-paths')"""


class BlockdevSnapshot(Model):
    """A node to be put on top of a disk as its overlay."""

    node: str
    """the node or device that becomes the backing image"""

    overlay: str
    """the node that goes on top of it; nobody uses it yet, and it has no backing image"""


class QObjBlockImageCorruptedArg(Model):
    """The arguments of `BLOCK_IMAGE_CORRUPTED`."""

    device: str
    """the device; empty if the node has none"""

    node_name: Maybe[str] = Field(default=None, alias="node-name")
    """the node"""

    msg: str
    """what is wrong, for people"""

    offset: Maybe[Int64] = None
    """where in the image file, in bytes"""

    size: Maybe[Int64] = None
    """how many bytes are concerned"""

    fatal: bool
    """whether the node can still be used"""


class QObjBlockIoErrorArg(Model):
    """The arguments of `BLOCK_IO_ERROR`."""

    device: str
    """the device"""

    node_name: Maybe[str] = Field(default=None, alias="node-name")
    """the node"""

    operation: IoOperationType
    """what failed"""

    action: BlockErrorAction
    """what was done about it"""

    nospace: Maybe[bool] = None
    """whether it was for lack of space; present only if the device stopped"""

    reason: str
    """why, for people"""


class QObjBlockJobCompletedArg(Model):
    """The arguments of `BLOCK_JOB_COMPLETED`."""

    type: JobType
    """what it did"""

    device: str
    """the job"""

    len: Int64
    """what `offset` was expected to reach"""

    offset: Int64
    """how much was done; less than `len` if it failed"""

    speed: Int64
    """the greatest speed, in bytes a second; 0 for no limit"""

    error: Maybe[str] = None
    """why it failed, for people; absent if it succeeded"""


class QObjBlockJobCancelledArg(Model):
    """The arguments of `BLOCK_JOB_CANCELLED`."""

    type: JobType
    """what it did"""

    device: str
    """the job"""

    len: Int64
    """what `offset` was expected to reach"""

    offset: Int64
    """how much was done"""

    speed: Int64
    """the greatest speed, in bytes a second; 0 for no limit"""


class QObjBlockJobErrorArg(Model):
    """The arguments of `BLOCK_JOB_ERROR`."""

    device: str
    """the job"""

    operation: IoOperationType
    """what failed"""

    action: BlockErrorAction
    """what the job does about it"""


class QObjBlockJobReadyArg(Model):
    """The arguments of `BLOCK_JOB_READY`."""

    type: JobType
    """what it does"""

    device: str
    """the job"""

    len: Int64
    """what `offset` is expected to reach"""

    offset: Int64
    """how much is done"""

    speed: Int64
    """the greatest speed, in bytes a second; 0 for no limit"""


class QObjBlockJobPendingArg(Model):
    """The arguments of `BLOCK_JOB_PENDING`."""

    type: JobType
    """what it does"""

    id: str
    """the job"""


class QObjQuorumFailureArg(Model):
    """The arguments of `QUORUM_FAILURE`."""

    reference: str
    """the device, or the quorum's node"""

    sector_num: Int64 = Field(alias="sector-num")
    """where, in sectors of 512 bytes"""

    sectors_count: Int64 = Field(alias="sectors-count")
    """how many sectors"""


class QObjQuorumReportBadArg(Model):
    """The arguments of `QUORUM_REPORT_BAD`."""

    type: QuorumOpType
    """what it was asked for"""

    error: Maybe[str] = None
    """why it failed, for people; absent if it has other contents"""

    node_name: str = Field(alias="node-name")
    """the child"""

    sector_num: Int64 = Field(alias="sector-num")
    """where, in sectors of 512 bytes"""

    sectors_count: Int64 = Field(alias="sectors-count")
    """how many sectors"""


class QObjBlockWriteThresholdArg(Model):
    """The arguments of `BLOCK_WRITE_THRESHOLD`."""

    node_name: str = Field(alias="node-name")
    """the node"""

    amount_exceeded: UInt64 = Field(alias="amount-exceeded")
    """how far beyond, in bytes"""

    write_threshold: UInt64 = Field(alias="write-threshold")
    """the threshold, in bytes"""


class DriveBackup(BackupCommon):
    """A backup into a file."""

    target: str
    """the file"""

    format: Maybe[str] = None
    """the file's image format (default: found out for an existing file, otherwise that of the source)"""

    mode: Maybe[NewImageMode] = None
    """whether the file is there already (default: 'absolute-paths')"""


class BlockdevBackup(BackupCommon):
    """A backup into a node."""

    target: str
    """the node or device to copy to"""


class BlockdevOptionsGenericCOWFormat(BlockdevOptionsGenericFormat):
    """What all image formats with backing files have."""

    backing: Maybe[BlockdevRefOrNull] = None
    """the node that shows through where the image stores nothing; null for none (default: what the image
    names)
    """


class BlockdevOptionsRaw(BlockdevOptionsGenericFormat):
    """An image that is its data, or a part of a larger one."""

    offset: Maybe[Int64] = None
    """where the part begins, in bytes, a multiple of 512 (default: 0)"""

    size: Maybe[Int64] = None
    """the size of the part, in bytes, a multiple of 512 (default: up to the end)"""


class BlockdevOptionsCbw(BlockdevOptionsGenericFormat):
    """A filter that copies what is about to be overwritten."""

    target: BlockdevRef
    """where the old data goes"""

    bitmap: Maybe[BlockDirtyBitmap] = None
    """what is worth copying; absent for everything. What it calls clean is never copied"""

    on_cbw_error: Maybe[OnCbwError] = Field(default=None, alias="on-cbw-error")
    """what happens when copying fails (default: 'break-guest-write')"""

    cbw_timeout: Maybe[UInt32] = Field(default=None, alias="cbw-timeout")
    """how long copying may take before it counts as failed, in seconds; 0 for no limit (default: 0)"""

    min_cluster_size: Maybe[UInt64] = Field(default=None, alias="min-cluster-size")
    """the least number of bytes that are copied at once, a power of two; has an effect above 64 KiB and
    above the cluster size of the target (default: 0)
    """


class BlockdevOptionsPreallocate(BlockdevOptionsGenericFormat):
    """A filter that lets the file of a growing image grow in large steps. The file is cut back when the
    image is closed.
    """

    prealloc_align: Maybe[Int64] = Field(default=None, alias="prealloc-align")
    """the file's length becomes a multiple of so many bytes, which are a multiple of 512 (default: 1 MiB)"""

    prealloc_size: Maybe[Int64] = Field(default=None, alias="prealloc-size")
    """how much more than needed the file grows, in bytes (default: 128 MiB)"""


class BlockdevOptionsCor(BlockdevOptionsGenericFormat):
    """A filter that stores in the image below it what is read from that image's backing files."""

    bottom: Maybe[str] = None
    """the lowest image whose data is stored so; the chain down to it stays as it is as long as the filter
    is there (default: all images count, and so does what none of them stores)
    """


class BlockdevOptionsQcow2(BlockdevOptionsGenericCOWFormat):
    """A qcow2 image. Encrypted images are not supported."""

    lazy_refcounts: Maybe[bool] = Field(default=None, alias="lazy-refcounts")
    """write reference counts late (default: what the image says)"""

    pass_discard_request: Maybe[bool] = Field(default=None, alias="pass-discard-request")
    """pass requests to discard data on to the file (default: whether 'discard' is 'unmap')"""

    pass_discard_snapshot: Maybe[bool] = Field(default=None, alias="pass-discard-snapshot")
    """discard in the file what the deletion of a snapshot frees (default: true)"""

    pass_discard_other: Maybe[bool] = Field(default=None, alias="pass-discard-other")
    """discard in the file what is freed otherwise (default: false)"""

    overlap_check: Maybe[Qcow2OverlapChecks] = Field(default=None, alias="overlap-check")
    """what is looked at before a write (default: 'cached')"""

    cache_size: Maybe[Int64] = Field(default=None, alias="cache-size")
    """memory for the L2 and refcount caches together, in bytes"""

    l2_cache_size: Maybe[Int64] = Field(default=None, alias="l2-cache-size")
    """memory for the L2 cache, in bytes"""

    l2_cache_entry_size: Maybe[Int64] = Field(default=None, alias="l2-cache-entry-size")
    """how much of an L2 table is read, kept and dropped together, in bytes: a power of two from 512 to the
    cluster size (default: the cluster size, but no more than 64 KiB)
    """

    refcount_cache_size: Maybe[Int64] = Field(default=None, alias="refcount-cache-size")
    """memory for the refcount cache, in bytes"""

    cache_clean_interval: Maybe[Int64] = Field(default=None, alias="cache-clean-interval")
    """every how many seconds cache entries that were not used meanwhile are dropped; 0 for never (default:
    600)
    """

    data_file: Maybe[BlockdevRef] = Field(default=None, alias="data-file")
    """the file that holds the guest's data (default: what the image names)"""


class ImageInfoSpecificQcow2(ImageInfoSpecificQCow2Wrapper, QObjImageInfoSpecificBase):
    """`ImageInfoSpecific` with `type` `qcow2`."""

    type: Literal[ImageInfoSpecificKind.QCOW2]


class BlockStatsSpecificBlkdebug(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `blkdebug`."""

    driver: Literal[BlockdevDriver.BLKDEBUG]


class BlockStatsSpecificBlkverify(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `blkverify`."""

    driver: Literal[BlockdevDriver.BLKVERIFY]


class BlockStatsSpecificCompress(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `compress`."""

    driver: Literal[BlockdevDriver.COMPRESS]


class BlockStatsSpecificCopyBeforeWrite(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `copy-before-write`."""

    driver: Literal[BlockdevDriver.COPY_BEFORE_WRITE]


class BlockStatsSpecificCopyOnRead(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `copy-on-read`."""

    driver: Literal[BlockdevDriver.COPY_ON_READ]


class BlockStatsSpecificFileBranch(BlockStatsSpecificFile, QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `file`."""

    driver: Literal[BlockdevDriver.FILE]


class BlockStatsSpecificSnapshotAccess(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `snapshot-access`."""

    driver: Literal[BlockdevDriver.SNAPSHOT_ACCESS]


class BlockStatsSpecificHostDevice(BlockStatsSpecificFile, QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `host_device`."""

    driver: Literal[BlockdevDriver.HOST_DEVICE]


class BlockStatsSpecificNbd(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `nbd`."""

    driver: Literal[BlockdevDriver.NBD]


class BlockStatsSpecificNullAio(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `null-aio`."""

    driver: Literal[BlockdevDriver.NULL_AIO]


class BlockStatsSpecificNullCo(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `null-co`."""

    driver: Literal[BlockdevDriver.NULL_CO]


class BlockStatsSpecificPreallocate(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `preallocate`."""

    driver: Literal[BlockdevDriver.PREALLOCATE]


class BlockStatsSpecificQcow2(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `qcow2`."""

    driver: Literal[BlockdevDriver.QCOW2]


class BlockStatsSpecificQuorum(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `quorum`."""

    driver: Literal[BlockdevDriver.QUORUM]


class BlockStatsSpecificRaw(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `raw`."""

    driver: Literal[BlockdevDriver.RAW]


class BlockStatsSpecificThrottle(QObjBlockStatsSpecificBase):
    """`BlockStatsSpecific` with `driver` `throttle`."""

    driver: Literal[BlockdevDriver.THROTTLE]


class JobChangeOptionsCommit(QObjJobChangeOptionsBase):
    """`JobChangeOptions` with `type` `commit`."""

    type: Literal[JobType.COMMIT]


class JobChangeOptionsStream(QObjJobChangeOptionsBase):
    """`JobChangeOptions` with `type` `stream`."""

    type: Literal[JobType.STREAM]


class JobChangeOptionsMirrorBranch(JobChangeOptionsMirror, QObjJobChangeOptionsBase):
    """`JobChangeOptions` with `type` `mirror`."""

    type: Literal[JobType.MIRROR]


class JobChangeOptionsBackup(QObjJobChangeOptionsBase):
    """`JobChangeOptions` with `type` `backup`."""

    type: Literal[JobType.BACKUP]


class JobChangeOptionsCreate(QObjJobChangeOptionsBase):
    """`JobChangeOptions` with `type` `create`."""

    type: Literal[JobType.CREATE]


class JobChangeOptionsAmend(QObjJobChangeOptionsBase):
    """`JobChangeOptions` with `type` `amend`."""

    type: Literal[JobType.AMEND]


class JobChangeOptionsSnapshotLoad(QObjJobChangeOptionsBase):
    """`JobChangeOptions` with `type` `snapshot-load`."""

    type: Literal[JobType.SNAPSHOT_LOAD]


class JobChangeOptionsSnapshotSave(QObjJobChangeOptionsBase):
    """`JobChangeOptions` with `type` `snapshot-save`."""

    type: Literal[JobType.SNAPSHOT_SAVE]


class JobChangeOptionsSnapshotDelete(QObjJobChangeOptionsBase):
    """`JobChangeOptions` with `type` `snapshot-delete`."""

    type: Literal[JobType.SNAPSHOT_DELETE]


class BlockdevOptionsBlkdebugBranch(BlockdevOptionsBlkdebug, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `blkdebug`."""

    driver: Literal[BlockdevDriver.BLKDEBUG]


class BlockdevOptionsBlkverifyBranch(BlockdevOptionsBlkverify, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `blkverify`."""

    driver: Literal[BlockdevDriver.BLKVERIFY]


class BlockdevOptionsCompress(BlockdevOptionsGenericFormat, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `compress`."""

    driver: Literal[BlockdevDriver.COMPRESS]


class BlockdevOptionsCopyBeforeWrite(BlockdevOptionsCbw, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `copy-before-write`."""

    driver: Literal[BlockdevDriver.COPY_BEFORE_WRITE]


class BlockdevOptionsCopyOnRead(BlockdevOptionsCor, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `copy-on-read`."""

    driver: Literal[BlockdevDriver.COPY_ON_READ]


class BlockdevOptionsFileBranch(BlockdevOptionsFile, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `file`."""

    driver: Literal[BlockdevDriver.FILE]


class BlockdevOptionsSnapshotAccess(BlockdevOptionsGenericFormat, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `snapshot-access`."""

    driver: Literal[BlockdevDriver.SNAPSHOT_ACCESS]


class BlockdevOptionsHostDevice(BlockdevOptionsFile, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `host_device`."""

    driver: Literal[BlockdevDriver.HOST_DEVICE]


class BlockdevOptionsNbdBranch(BlockdevOptionsNbd, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `nbd`."""

    driver: Literal[BlockdevDriver.NBD]


class BlockdevOptionsNullAio(BlockdevOptionsNull, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `null-aio`."""

    driver: Literal[BlockdevDriver.NULL_AIO]


class BlockdevOptionsNullCo(BlockdevOptionsNull, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `null-co`."""

    driver: Literal[BlockdevDriver.NULL_CO]


class BlockdevOptionsPreallocateBranch(BlockdevOptionsPreallocate, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `preallocate`."""

    driver: Literal[BlockdevDriver.PREALLOCATE]


class BlockdevOptionsQcow2Branch(BlockdevOptionsQcow2, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `qcow2`."""

    driver: Literal[BlockdevDriver.QCOW2]


class BlockdevOptionsQuorumBranch(BlockdevOptionsQuorum, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `quorum`."""

    driver: Literal[BlockdevDriver.QUORUM]


class BlockdevOptionsRawBranch(BlockdevOptionsRaw, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `raw`."""

    driver: Literal[BlockdevDriver.RAW]


class BlockdevOptionsThrottleBranch(BlockdevOptionsThrottle, QObjBlockdevOptionsBase):
    """`BlockdevOptions` with `driver` `throttle`."""

    driver: Literal[BlockdevDriver.THROTTLE]


class BlockdevCreateOptionsBlkdebug(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `blkdebug`."""

    driver: Literal[BlockdevDriver.BLKDEBUG]


class BlockdevCreateOptionsBlkverify(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `blkverify`."""

    driver: Literal[BlockdevDriver.BLKVERIFY]


class BlockdevCreateOptionsCompress(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `compress`."""

    driver: Literal[BlockdevDriver.COMPRESS]


class BlockdevCreateOptionsCopyBeforeWrite(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `copy-before-write`."""

    driver: Literal[BlockdevDriver.COPY_BEFORE_WRITE]


class BlockdevCreateOptionsCopyOnRead(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `copy-on-read`."""

    driver: Literal[BlockdevDriver.COPY_ON_READ]


class BlockdevCreateOptionsFileBranch(BlockdevCreateOptionsFile, QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `file`."""

    driver: Literal[BlockdevDriver.FILE]


class BlockdevCreateOptionsSnapshotAccess(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `snapshot-access`."""

    driver: Literal[BlockdevDriver.SNAPSHOT_ACCESS]


class BlockdevCreateOptionsHostDevice(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `host_device`."""

    driver: Literal[BlockdevDriver.HOST_DEVICE]


class BlockdevCreateOptionsNbd(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `nbd`."""

    driver: Literal[BlockdevDriver.NBD]


class BlockdevCreateOptionsNullAio(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `null-aio`."""

    driver: Literal[BlockdevDriver.NULL_AIO]


class BlockdevCreateOptionsNullCo(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `null-co`."""

    driver: Literal[BlockdevDriver.NULL_CO]


class BlockdevCreateOptionsPreallocate(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `preallocate`."""

    driver: Literal[BlockdevDriver.PREALLOCATE]


class BlockdevCreateOptionsQcow2Branch(BlockdevCreateOptionsQcow2, QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `qcow2`."""

    driver: Literal[BlockdevDriver.QCOW2]


class BlockdevCreateOptionsQuorum(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `quorum`."""

    driver: Literal[BlockdevDriver.QUORUM]


class BlockdevCreateOptionsRaw(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `raw`."""

    driver: Literal[BlockdevDriver.RAW]


class BlockdevCreateOptionsThrottle(QObjBlockdevCreateOptionsBase):
    """`BlockdevCreateOptions` with `driver` `throttle`."""

    driver: Literal[BlockdevDriver.THROTTLE]


class BlockdevAmendOptionsBlkdebug(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `blkdebug`."""

    driver: Literal[BlockdevDriver.BLKDEBUG]


class BlockdevAmendOptionsBlkverify(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `blkverify`."""

    driver: Literal[BlockdevDriver.BLKVERIFY]


class BlockdevAmendOptionsCompress(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `compress`."""

    driver: Literal[BlockdevDriver.COMPRESS]


class BlockdevAmendOptionsCopyBeforeWrite(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `copy-before-write`."""

    driver: Literal[BlockdevDriver.COPY_BEFORE_WRITE]


class BlockdevAmendOptionsCopyOnRead(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `copy-on-read`."""

    driver: Literal[BlockdevDriver.COPY_ON_READ]


class BlockdevAmendOptionsFile(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `file`."""

    driver: Literal[BlockdevDriver.FILE]


class BlockdevAmendOptionsSnapshotAccess(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `snapshot-access`."""

    driver: Literal[BlockdevDriver.SNAPSHOT_ACCESS]


class BlockdevAmendOptionsHostDevice(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `host_device`."""

    driver: Literal[BlockdevDriver.HOST_DEVICE]


class BlockdevAmendOptionsNbd(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `nbd`."""

    driver: Literal[BlockdevDriver.NBD]


class BlockdevAmendOptionsNullAio(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `null-aio`."""

    driver: Literal[BlockdevDriver.NULL_AIO]


class BlockdevAmendOptionsNullCo(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `null-co`."""

    driver: Literal[BlockdevDriver.NULL_CO]


class BlockdevAmendOptionsPreallocate(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `preallocate`."""

    driver: Literal[BlockdevDriver.PREALLOCATE]


class BlockdevAmendOptionsQcow2Branch(BlockdevAmendOptionsQcow2, QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `qcow2`."""

    driver: Literal[BlockdevDriver.QCOW2]


class BlockdevAmendOptionsQuorum(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `quorum`."""

    driver: Literal[BlockdevDriver.QUORUM]


class BlockdevAmendOptionsRaw(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `raw`."""

    driver: Literal[BlockdevDriver.RAW]


class BlockdevAmendOptionsThrottle(QObjBlockdevAmendOptionsBase):
    """`BlockdevAmendOptions` with `driver` `throttle`."""

    driver: Literal[BlockdevDriver.THROTTLE]

ImageInfoSpecific = TypeAliasType(
    "ImageInfoSpecific",
    Annotated[
        Union[
            Annotated[ImageInfoSpecificQcow2, Tag("type=qcow2")],
        ],
        Discriminator(by_member("type")),
    ],
)
"""What only some formats say of themselves."""

BlockStatsSpecific = TypeAliasType(
    "BlockStatsSpecific",
    Annotated[
        Union[
            Annotated[BlockStatsSpecificBlkdebug, Tag("driver=blkdebug")],
            Annotated[BlockStatsSpecificBlkverify, Tag("driver=blkverify")],
            Annotated[BlockStatsSpecificCompress, Tag("driver=compress")],
            Annotated[BlockStatsSpecificCopyBeforeWrite, Tag("driver=copy-before-write")],
            Annotated[BlockStatsSpecificCopyOnRead, Tag("driver=copy-on-read")],
            Annotated[BlockStatsSpecificFileBranch, Tag("driver=file")],
            Annotated[BlockStatsSpecificSnapshotAccess, Tag("driver=snapshot-access")],
            Annotated[BlockStatsSpecificHostDevice, Tag("driver=host_device")],
            Annotated[BlockStatsSpecificNbd, Tag("driver=nbd")],
            Annotated[BlockStatsSpecificNullAio, Tag("driver=null-aio")],
            Annotated[BlockStatsSpecificNullCo, Tag("driver=null-co")],
            Annotated[BlockStatsSpecificPreallocate, Tag("driver=preallocate")],
            Annotated[BlockStatsSpecificQcow2, Tag("driver=qcow2")],
            Annotated[BlockStatsSpecificQuorum, Tag("driver=quorum")],
            Annotated[BlockStatsSpecificRaw, Tag("driver=raw")],
            Annotated[BlockStatsSpecificThrottle, Tag("driver=throttle")],
        ],
        Discriminator(by_member("driver")),
    ],
)
"""What only some drivers count."""

BlockDirtyBitmapOrStr = TypeAliasType(
    "BlockDirtyBitmapOrStr",
    Annotated[
        Union[
            Annotated[str, Tag("=string")],
            Annotated["BlockDirtyBitmap", Tag("=object")],
        ],
        Discriminator(by_json_type),
    ],
)
"""A dirty bitmap of some node."""

JobChangeOptions = TypeAliasType(
    "JobChangeOptions",
    Annotated[
        Union[
            Annotated[JobChangeOptionsCommit, Tag("type=commit")],
            Annotated[JobChangeOptionsStream, Tag("type=stream")],
            Annotated[JobChangeOptionsMirrorBranch, Tag("type=mirror")],
            Annotated[JobChangeOptionsBackup, Tag("type=backup")],
            Annotated[JobChangeOptionsCreate, Tag("type=create")],
            Annotated[JobChangeOptionsAmend, Tag("type=amend")],
            Annotated[JobChangeOptionsSnapshotLoad, Tag("type=snapshot-load")],
            Annotated[JobChangeOptionsSnapshotSave, Tag("type=snapshot-save")],
            Annotated[JobChangeOptionsSnapshotDelete, Tag("type=snapshot-delete")],
        ],
        Discriminator(by_member("type")),
    ],
)
"""What can be changed about a job."""

Qcow2OverlapChecks = TypeAliasType(
    "Qcow2OverlapChecks",
    Annotated[
        Union[
            Annotated["Qcow2OverlapCheckFlags", Tag("=object")],
            Annotated["Qcow2OverlapCheckMode", Tag("=string")],
        ],
        Discriminator(by_json_type),
    ],
)
"""What is looked at before a write."""

BlockdevOptions = TypeAliasType(
    "BlockdevOptions",
    Annotated[
        Union[
            Annotated[BlockdevOptionsBlkdebugBranch, Tag("driver=blkdebug")],
            Annotated[BlockdevOptionsBlkverifyBranch, Tag("driver=blkverify")],
            Annotated[BlockdevOptionsCompress, Tag("driver=compress")],
            Annotated[BlockdevOptionsCopyBeforeWrite, Tag("driver=copy-before-write")],
            Annotated[BlockdevOptionsCopyOnRead, Tag("driver=copy-on-read")],
            Annotated[BlockdevOptionsFileBranch, Tag("driver=file")],
            Annotated[BlockdevOptionsSnapshotAccess, Tag("driver=snapshot-access")],
            Annotated[BlockdevOptionsHostDevice, Tag("driver=host_device")],
            Annotated[BlockdevOptionsNbdBranch, Tag("driver=nbd")],
            Annotated[BlockdevOptionsNullAio, Tag("driver=null-aio")],
            Annotated[BlockdevOptionsNullCo, Tag("driver=null-co")],
            Annotated[BlockdevOptionsPreallocateBranch, Tag("driver=preallocate")],
            Annotated[BlockdevOptionsQcow2Branch, Tag("driver=qcow2")],
            Annotated[BlockdevOptionsQuorumBranch, Tag("driver=quorum")],
            Annotated[BlockdevOptionsRawBranch, Tag("driver=raw")],
            Annotated[BlockdevOptionsThrottleBranch, Tag("driver=throttle")],
        ],
        Discriminator(by_member("driver")),
    ],
)
"""A node."""

BlockdevRef = TypeAliasType(
    "BlockdevRef",
    Annotated[
        Union[
            Annotated["BlockdevOptions", Tag("=object")],
            Annotated[str, Tag("=string")],
        ],
        Discriminator(by_json_type),
    ],
)
"""A node that another one needs."""

BlockdevRefOrNull = TypeAliasType(
    "BlockdevRefOrNull",
    Annotated[
        Union[
            Annotated["BlockdevOptions", Tag("=object")],
            Annotated[str, Tag("=string")],
            Annotated[None, Tag("=null")],
        ],
        Discriminator(by_json_type),
    ],
)
"""A node that another one needs, or nothing."""

BlockdevCreateOptions = TypeAliasType(
    "BlockdevCreateOptions",
    Annotated[
        Union[
            Annotated[BlockdevCreateOptionsBlkdebug, Tag("driver=blkdebug")],
            Annotated[BlockdevCreateOptionsBlkverify, Tag("driver=blkverify")],
            Annotated[BlockdevCreateOptionsCompress, Tag("driver=compress")],
            Annotated[BlockdevCreateOptionsCopyBeforeWrite, Tag("driver=copy-before-write")],
            Annotated[BlockdevCreateOptionsCopyOnRead, Tag("driver=copy-on-read")],
            Annotated[BlockdevCreateOptionsFileBranch, Tag("driver=file")],
            Annotated[BlockdevCreateOptionsSnapshotAccess, Tag("driver=snapshot-access")],
            Annotated[BlockdevCreateOptionsHostDevice, Tag("driver=host_device")],
            Annotated[BlockdevCreateOptionsNbd, Tag("driver=nbd")],
            Annotated[BlockdevCreateOptionsNullAio, Tag("driver=null-aio")],
            Annotated[BlockdevCreateOptionsNullCo, Tag("driver=null-co")],
            Annotated[BlockdevCreateOptionsPreallocate, Tag("driver=preallocate")],
            Annotated[BlockdevCreateOptionsQcow2Branch, Tag("driver=qcow2")],
            Annotated[BlockdevCreateOptionsQuorum, Tag("driver=quorum")],
            Annotated[BlockdevCreateOptionsRaw, Tag("driver=raw")],
            Annotated[BlockdevCreateOptionsThrottle, Tag("driver=throttle")],
        ],
        Discriminator(by_member("driver")),
    ],
)
"""An image to be made."""

BlockdevAmendOptions = TypeAliasType(
    "BlockdevAmendOptions",
    Annotated[
        Union[
            Annotated[BlockdevAmendOptionsBlkdebug, Tag("driver=blkdebug")],
            Annotated[BlockdevAmendOptionsBlkverify, Tag("driver=blkverify")],
            Annotated[BlockdevAmendOptionsCompress, Tag("driver=compress")],
            Annotated[BlockdevAmendOptionsCopyBeforeWrite, Tag("driver=copy-before-write")],
            Annotated[BlockdevAmendOptionsCopyOnRead, Tag("driver=copy-on-read")],
            Annotated[BlockdevAmendOptionsFile, Tag("driver=file")],
            Annotated[BlockdevAmendOptionsSnapshotAccess, Tag("driver=snapshot-access")],
            Annotated[BlockdevAmendOptionsHostDevice, Tag("driver=host_device")],
            Annotated[BlockdevAmendOptionsNbd, Tag("driver=nbd")],
            Annotated[BlockdevAmendOptionsNullAio, Tag("driver=null-aio")],
            Annotated[BlockdevAmendOptionsNullCo, Tag("driver=null-co")],
            Annotated[BlockdevAmendOptionsPreallocate, Tag("driver=preallocate")],
            Annotated[BlockdevAmendOptionsQcow2Branch, Tag("driver=qcow2")],
            Annotated[BlockdevAmendOptionsQuorum, Tag("driver=quorum")],
            Annotated[BlockdevAmendOptionsRaw, Tag("driver=raw")],
            Annotated[BlockdevAmendOptionsThrottle, Tag("driver=throttle")],
        ],
        Discriminator(by_member("driver")),
    ],
)
"""What can be changed in an image."""
