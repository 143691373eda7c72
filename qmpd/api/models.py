"""Every type of the schema under its own name.

Imports a type when it is first asked for: an enum does not bring in pydantic.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.api.enums import QapiErrorClass as QapiErrorClass
    from qmpd.api.enums import IoOperationType as IoOperationType
    from qmpd.api.enums import OnOffAuto as OnOffAuto
    from qmpd.api.structs.common import String as String
    from qmpd.api.structs.common import StrOrNull as StrOrNull
    from qmpd.api.enums import NetworkAddressFamily as NetworkAddressFamily
    from qmpd.api.structs.sockets import InetSocketAddressBase as InetSocketAddressBase
    from qmpd.api.structs.sockets import InetSocketAddress as InetSocketAddress
    from qmpd.api.structs.sockets import UnixSocketAddress as UnixSocketAddress
    from qmpd.api.structs.sockets import VsockSocketAddress as VsockSocketAddress
    from qmpd.api.enums import SocketAddressType as SocketAddressType
    from qmpd.api.structs.sockets import QObjSocketAddressBase as QObjSocketAddressBase
    from qmpd.api.structs.sockets import SocketAddress as SocketAddress
    from qmpd.api.structs.sockets import SocketAddressInet as SocketAddressInet
    from qmpd.api.structs.sockets import SocketAddressUnix as SocketAddressUnix
    from qmpd.api.structs.sockets import SocketAddressVsock as SocketAddressVsock
    from qmpd.api.structs.sockets import SocketAddressFd as SocketAddressFd
    from qmpd.api.structs.sockets import InetSocketAddressWrapper as InetSocketAddressWrapper
    from qmpd.api.structs.sockets import UnixSocketAddressWrapper as UnixSocketAddressWrapper
    from qmpd.api.structs.sockets import VsockSocketAddressWrapper as VsockSocketAddressWrapper
    from qmpd.api.structs.sockets import StringWrapper as StringWrapper
    from qmpd.api.structs.sockets import QObjSocketAddressLegacyBase as QObjSocketAddressLegacyBase
    from qmpd.api.structs.sockets import SocketAddressLegacy as SocketAddressLegacy
    from qmpd.api.structs.sockets import SocketAddressLegacyInet as SocketAddressLegacyInet
    from qmpd.api.structs.sockets import SocketAddressLegacyUnix as SocketAddressLegacyUnix
    from qmpd.api.structs.sockets import SocketAddressLegacyVsock as SocketAddressLegacyVsock
    from qmpd.api.structs.sockets import SocketAddressLegacyFd as SocketAddressLegacyFd
    from qmpd.api.enums import RunState as RunState
    from qmpd.api.enums import ShutdownCause as ShutdownCause
    from qmpd.api.structs.run_state import StatusInfo as StatusInfo
    from qmpd.api.structs.run_state import QObjResetArg as QObjResetArg
    from qmpd.api.enums import JobType as JobType
    from qmpd.api.enums import JobStatus as JobStatus
    from qmpd.api.enums import JobVerb as JobVerb
    from qmpd.api.structs.job import QObjJobStatusChangeArg as QObjJobStatusChangeArg
    from qmpd.api.structs.job import QObjJobPauseArg as QObjJobPauseArg
    from qmpd.api.structs.job import QObjJobResumeArg as QObjJobResumeArg
    from qmpd.api.structs.job import QObjJobCancelArg as QObjJobCancelArg
    from qmpd.api.structs.job import QObjJobCompleteArg as QObjJobCompleteArg
    from qmpd.api.structs.job import QObjJobDismissArg as QObjJobDismissArg
    from qmpd.api.structs.job import QObjJobFinalizeArg as QObjJobFinalizeArg
    from qmpd.api.structs.job import JobInfo as JobInfo
    from qmpd.api.enums import Qcow2BitmapInfoFlags as Qcow2BitmapInfoFlags
    from qmpd.api.structs.block_core import Qcow2BitmapInfo as Qcow2BitmapInfo
    from qmpd.api.enums import Qcow2CompressionType as Qcow2CompressionType
    from qmpd.api.structs.block_core import ImageInfoSpecificQCow2 as ImageInfoSpecificQCow2
    from qmpd.api.enums import ImageInfoSpecificKind as ImageInfoSpecificKind
    from qmpd.api.structs.block_core import ImageInfoSpecificQCow2Wrapper as ImageInfoSpecificQCow2Wrapper
    from qmpd.api.structs.block_core import QObjImageInfoSpecificBase as QObjImageInfoSpecificBase
    from qmpd.api.structs.block_core import ImageInfoSpecific as ImageInfoSpecific
    from qmpd.api.structs.block_core import ImageInfoSpecificQcow2 as ImageInfoSpecificQcow2
    from qmpd.api.structs.block_core import SnapshotInfo as SnapshotInfo
    from qmpd.api.structs.block_core import ImageInfo as ImageInfo
    from qmpd.api.structs.block_core import BlockdevCacheInfo as BlockdevCacheInfo
    from qmpd.api.structs.block_core import BlockDeviceInfo as BlockDeviceInfo
    from qmpd.api.enums import BlockDeviceIoStatus as BlockDeviceIoStatus
    from qmpd.api.structs.block_core import BlockDirtyInfo as BlockDirtyInfo
    from qmpd.api.structs.block_core import BlockInfo as BlockInfo
    from qmpd.api.structs.block_core import QObjQueryBlockArg as QObjQueryBlockArg
    from qmpd.api.structs.block_core import BlockDeviceTimedStats as BlockDeviceTimedStats
    from qmpd.api.structs.block_core import BlockLatencyHistogramInfo as BlockLatencyHistogramInfo
    from qmpd.api.structs.block_core import BlockDeviceStats as BlockDeviceStats
    from qmpd.api.structs.block_core import BlockStatsSpecificFile as BlockStatsSpecificFile
    from qmpd.api.structs.block_core import QObjBlockStatsSpecificBase as QObjBlockStatsSpecificBase
    from qmpd.api.structs.block_core import BlockStatsSpecific as BlockStatsSpecific
    from qmpd.api.structs.block_core import BlockStatsSpecificBlkdebug as BlockStatsSpecificBlkdebug
    from qmpd.api.structs.block_core import BlockStatsSpecificBlkverify as BlockStatsSpecificBlkverify
    from qmpd.api.structs.block_core import BlockStatsSpecificCompress as BlockStatsSpecificCompress
    from qmpd.api.structs.block_core import BlockStatsSpecificCopyBeforeWrite as BlockStatsSpecificCopyBeforeWrite
    from qmpd.api.structs.block_core import BlockStatsSpecificCopyOnRead as BlockStatsSpecificCopyOnRead
    from qmpd.api.structs.block_core import BlockStatsSpecificFileBranch as BlockStatsSpecificFileBranch
    from qmpd.api.structs.block_core import BlockStatsSpecificSnapshotAccess as BlockStatsSpecificSnapshotAccess
    from qmpd.api.structs.block_core import BlockStatsSpecificHostDevice as BlockStatsSpecificHostDevice
    from qmpd.api.structs.block_core import BlockStatsSpecificNbd as BlockStatsSpecificNbd
    from qmpd.api.structs.block_core import BlockStatsSpecificNullAio as BlockStatsSpecificNullAio
    from qmpd.api.structs.block_core import BlockStatsSpecificNullCo as BlockStatsSpecificNullCo
    from qmpd.api.structs.block_core import BlockStatsSpecificPreallocate as BlockStatsSpecificPreallocate
    from qmpd.api.structs.block_core import BlockStatsSpecificQcow2 as BlockStatsSpecificQcow2
    from qmpd.api.structs.block_core import BlockStatsSpecificQuorum as BlockStatsSpecificQuorum
    from qmpd.api.structs.block_core import BlockStatsSpecificRaw as BlockStatsSpecificRaw
    from qmpd.api.structs.block_core import BlockStatsSpecificThrottle as BlockStatsSpecificThrottle
    from qmpd.api.structs.block_core import BlockStats as BlockStats
    from qmpd.api.structs.block_core import QObjQueryBlockstatsArg as QObjQueryBlockstatsArg
    from qmpd.api.structs.block_core import QObjBlockLatencyHistogramSetArg as QObjBlockLatencyHistogramSetArg
    from qmpd.api.structs.block_core import QObjQueryNamedBlockNodesArg as QObjQueryNamedBlockNodesArg
    from qmpd.api.enums import XDbgBlockGraphNodeType as XDbgBlockGraphNodeType
    from qmpd.api.structs.block_core import XDbgBlockGraphNode as XDbgBlockGraphNode
    from qmpd.api.enums import BlockPermission as BlockPermission
    from qmpd.api.structs.block_core import XDbgBlockGraphEdge as XDbgBlockGraphEdge
    from qmpd.api.structs.block_core import XDbgBlockGraph as XDbgBlockGraph
    from qmpd.api.structs.block_core import QObjBlockResizeArg as QObjBlockResizeArg
    from qmpd.api.structs.block_core import BlockDirtyBitmap as BlockDirtyBitmap
    from qmpd.api.structs.block_core import BlockDirtyBitmapAdd as BlockDirtyBitmapAdd
    from qmpd.api.structs.block_core import BlockDirtyBitmapOrStr as BlockDirtyBitmapOrStr
    from qmpd.api.structs.block_core import BlockDirtyBitmapMerge as BlockDirtyBitmapMerge
    from qmpd.api.structs.block_core import BlockDirtyBitmapSha256 as BlockDirtyBitmapSha256
    from qmpd.api.enums import BlockdevOnError as BlockdevOnError
    from qmpd.api.enums import MirrorSyncMode as MirrorSyncMode
    from qmpd.api.enums import BitmapSyncMode as BitmapSyncMode
    from qmpd.api.enums import NewImageMode as NewImageMode
    from qmpd.api.structs.block_core import BackupPerf as BackupPerf
    from qmpd.api.structs.block_core import BackupCommon as BackupCommon
    from qmpd.api.structs.block_core import DriveBackup as DriveBackup
    from qmpd.api.structs.block_core import BlockdevBackup as BlockdevBackup
    from qmpd.api.enums import MirrorCopyMode as MirrorCopyMode
    from qmpd.api.structs.block_core import DriveMirror as DriveMirror
    from qmpd.api.structs.block_core import QObjBlockdevMirrorArg as QObjBlockdevMirrorArg
    from qmpd.api.structs.block_core import QObjBlockCommitArg as QObjBlockCommitArg
    from qmpd.api.structs.block_core import QObjBlockStreamArg as QObjBlockStreamArg
    from qmpd.api.structs.block_core import BlockJobInfo as BlockJobInfo
    from qmpd.api.structs.block_core import QObjBlockJobSetSpeedArg as QObjBlockJobSetSpeedArg
    from qmpd.api.structs.block_core import QObjBlockJobCancelArg as QObjBlockJobCancelArg
    from qmpd.api.structs.block_core import QObjBlockJobPauseArg as QObjBlockJobPauseArg
    from qmpd.api.structs.block_core import QObjBlockJobResumeArg as QObjBlockJobResumeArg
    from qmpd.api.structs.block_core import QObjBlockJobCompleteArg as QObjBlockJobCompleteArg
    from qmpd.api.structs.block_core import QObjBlockJobDismissArg as QObjBlockJobDismissArg
    from qmpd.api.structs.block_core import QObjBlockJobFinalizeArg as QObjBlockJobFinalizeArg
    from qmpd.api.structs.block_core import JobChangeOptionsMirror as JobChangeOptionsMirror
    from qmpd.api.structs.block_core import QObjJobChangeOptionsBase as QObjJobChangeOptionsBase
    from qmpd.api.structs.block_core import JobChangeOptions as JobChangeOptions
    from qmpd.api.structs.block_core import JobChangeOptionsCommit as JobChangeOptionsCommit
    from qmpd.api.structs.block_core import JobChangeOptionsStream as JobChangeOptionsStream
    from qmpd.api.structs.block_core import JobChangeOptionsMirrorBranch as JobChangeOptionsMirrorBranch
    from qmpd.api.structs.block_core import JobChangeOptionsBackup as JobChangeOptionsBackup
    from qmpd.api.structs.block_core import JobChangeOptionsCreate as JobChangeOptionsCreate
    from qmpd.api.structs.block_core import JobChangeOptionsAmend as JobChangeOptionsAmend
    from qmpd.api.structs.block_core import JobChangeOptionsSnapshotLoad as JobChangeOptionsSnapshotLoad
    from qmpd.api.structs.block_core import JobChangeOptionsSnapshotSave as JobChangeOptionsSnapshotSave
    from qmpd.api.structs.block_core import JobChangeOptionsSnapshotDelete as JobChangeOptionsSnapshotDelete
    from qmpd.api.enums import PreallocMode as PreallocMode
    from qmpd.api.enums import BlockdevDiscardOptions as BlockdevDiscardOptions
    from qmpd.api.enums import BlockdevDetectZeroesOptions as BlockdevDetectZeroesOptions
    from qmpd.api.enums import BlockdevAioOptions as BlockdevAioOptions
    from qmpd.api.structs.block_core import BlockdevCacheOptions as BlockdevCacheOptions
    from qmpd.api.enums import BlockdevDriver as BlockdevDriver
    from qmpd.api.structs.block_core import BlockdevOptionsFile as BlockdevOptionsFile
    from qmpd.api.structs.block_core import BlockdevOptionsNull as BlockdevOptionsNull
    from qmpd.api.structs.block_core import BlockdevOptionsGenericFormat as BlockdevOptionsGenericFormat
    from qmpd.api.structs.block_core import BlockdevOptionsGenericCOWFormat as BlockdevOptionsGenericCOWFormat
    from qmpd.api.enums import Qcow2OverlapCheckMode as Qcow2OverlapCheckMode
    from qmpd.api.structs.block_core import Qcow2OverlapCheckFlags as Qcow2OverlapCheckFlags
    from qmpd.api.structs.block_core import Qcow2OverlapChecks as Qcow2OverlapChecks
    from qmpd.api.structs.block_core import BlockdevOptionsQcow2 as BlockdevOptionsQcow2
    from qmpd.api.structs.block_core import BlockdevOptionsRaw as BlockdevOptionsRaw
    from qmpd.api.enums import OnCbwError as OnCbwError
    from qmpd.api.structs.block_core import BlockdevOptionsCbw as BlockdevOptionsCbw
    from qmpd.api.enums import BlkdebugEvent as BlkdebugEvent
    from qmpd.api.enums import BlkdebugIOType as BlkdebugIOType
    from qmpd.api.structs.block_core import BlkdebugInjectErrorOptions as BlkdebugInjectErrorOptions
    from qmpd.api.structs.block_core import BlkdebugSetStateOptions as BlkdebugSetStateOptions
    from qmpd.api.structs.block_core import BlockdevOptionsBlkdebug as BlockdevOptionsBlkdebug
    from qmpd.api.structs.block_core import BlockdevOptionsPreallocate as BlockdevOptionsPreallocate
    from qmpd.api.structs.block_core import ThrottleLimits as ThrottleLimits
    from qmpd.api.structs.block_core import ThrottleGroupProperties as ThrottleGroupProperties
    from qmpd.api.structs.block_core import BlockdevOptionsThrottle as BlockdevOptionsThrottle
    from qmpd.api.structs.block_core import BlockdevOptionsCor as BlockdevOptionsCor
    from qmpd.api.enums import QuorumReadPattern as QuorumReadPattern
    from qmpd.api.structs.block_core import BlockdevOptionsBlkverify as BlockdevOptionsBlkverify
    from qmpd.api.structs.block_core import BlockdevOptionsQuorum as BlockdevOptionsQuorum
    from qmpd.api.structs.block_core import BlockdevOptionsNbd as BlockdevOptionsNbd
    from qmpd.api.structs.block_core import QObjBlockdevOptionsBase as QObjBlockdevOptionsBase
    from qmpd.api.structs.block_core import BlockdevOptions as BlockdevOptions
    from qmpd.api.structs.block_core import BlockdevOptionsBlkdebugBranch as BlockdevOptionsBlkdebugBranch
    from qmpd.api.structs.block_core import BlockdevOptionsBlkverifyBranch as BlockdevOptionsBlkverifyBranch
    from qmpd.api.structs.block_core import BlockdevOptionsCompress as BlockdevOptionsCompress
    from qmpd.api.structs.block_core import BlockdevOptionsCopyBeforeWrite as BlockdevOptionsCopyBeforeWrite
    from qmpd.api.structs.block_core import BlockdevOptionsCopyOnRead as BlockdevOptionsCopyOnRead
    from qmpd.api.structs.block_core import BlockdevOptionsFileBranch as BlockdevOptionsFileBranch
    from qmpd.api.structs.block_core import BlockdevOptionsSnapshotAccess as BlockdevOptionsSnapshotAccess
    from qmpd.api.structs.block_core import BlockdevOptionsHostDevice as BlockdevOptionsHostDevice
    from qmpd.api.structs.block_core import BlockdevOptionsNbdBranch as BlockdevOptionsNbdBranch
    from qmpd.api.structs.block_core import BlockdevOptionsNullAio as BlockdevOptionsNullAio
    from qmpd.api.structs.block_core import BlockdevOptionsNullCo as BlockdevOptionsNullCo
    from qmpd.api.structs.block_core import BlockdevOptionsPreallocateBranch as BlockdevOptionsPreallocateBranch
    from qmpd.api.structs.block_core import BlockdevOptionsQcow2Branch as BlockdevOptionsQcow2Branch
    from qmpd.api.structs.block_core import BlockdevOptionsQuorumBranch as BlockdevOptionsQuorumBranch
    from qmpd.api.structs.block_core import BlockdevOptionsRawBranch as BlockdevOptionsRawBranch
    from qmpd.api.structs.block_core import BlockdevOptionsThrottleBranch as BlockdevOptionsThrottleBranch
    from qmpd.api.structs.block_core import BlockdevRef as BlockdevRef
    from qmpd.api.structs.block_core import BlockdevRefOrNull as BlockdevRefOrNull
    from qmpd.api.structs.block_core import QObjXBlockdevChangeArg as QObjXBlockdevChangeArg
    from qmpd.api.structs.block_core import QObjXBlockdevSetIothreadArg as QObjXBlockdevSetIothreadArg
    from qmpd.api.structs.block_core import QObjBlockdevDelArg as QObjBlockdevDelArg
    from qmpd.api.structs.block_core import QObjBlockdevReopenArg as QObjBlockdevReopenArg
    from qmpd.api.structs.block_core import QObjBlockSetWriteThresholdArg as QObjBlockSetWriteThresholdArg
    from qmpd.api.structs.block_core import QObjBlockdevSetActiveArg as QObjBlockdevSetActiveArg
    from qmpd.api.structs.block_core import BlockdevCreateOptionsFile as BlockdevCreateOptionsFile
    from qmpd.api.enums import BlockdevQcow2Version as BlockdevQcow2Version
    from qmpd.api.structs.block_core import BlockdevCreateOptionsQcow2 as BlockdevCreateOptionsQcow2
    from qmpd.api.structs.block_core import QObjBlockdevCreateOptionsBase as QObjBlockdevCreateOptionsBase
    from qmpd.api.structs.block_core import BlockdevCreateOptions as BlockdevCreateOptions
    from qmpd.api.structs.block_core import BlockdevCreateOptionsBlkdebug as BlockdevCreateOptionsBlkdebug
    from qmpd.api.structs.block_core import BlockdevCreateOptionsBlkverify as BlockdevCreateOptionsBlkverify
    from qmpd.api.structs.block_core import BlockdevCreateOptionsCompress as BlockdevCreateOptionsCompress
    from qmpd.api.structs.block_core import BlockdevCreateOptionsCopyBeforeWrite as BlockdevCreateOptionsCopyBeforeWrite
    from qmpd.api.structs.block_core import BlockdevCreateOptionsCopyOnRead as BlockdevCreateOptionsCopyOnRead
    from qmpd.api.structs.block_core import BlockdevCreateOptionsFileBranch as BlockdevCreateOptionsFileBranch
    from qmpd.api.structs.block_core import BlockdevCreateOptionsSnapshotAccess as BlockdevCreateOptionsSnapshotAccess
    from qmpd.api.structs.block_core import BlockdevCreateOptionsHostDevice as BlockdevCreateOptionsHostDevice
    from qmpd.api.structs.block_core import BlockdevCreateOptionsNbd as BlockdevCreateOptionsNbd
    from qmpd.api.structs.block_core import BlockdevCreateOptionsNullAio as BlockdevCreateOptionsNullAio
    from qmpd.api.structs.block_core import BlockdevCreateOptionsNullCo as BlockdevCreateOptionsNullCo
    from qmpd.api.structs.block_core import BlockdevCreateOptionsPreallocate as BlockdevCreateOptionsPreallocate
    from qmpd.api.structs.block_core import BlockdevCreateOptionsQcow2Branch as BlockdevCreateOptionsQcow2Branch
    from qmpd.api.structs.block_core import BlockdevCreateOptionsQuorum as BlockdevCreateOptionsQuorum
    from qmpd.api.structs.block_core import BlockdevCreateOptionsRaw as BlockdevCreateOptionsRaw
    from qmpd.api.structs.block_core import BlockdevCreateOptionsThrottle as BlockdevCreateOptionsThrottle
    from qmpd.api.structs.block_core import QObjBlockdevCreateArg as QObjBlockdevCreateArg
    from qmpd.api.structs.block_core import BlockdevAmendOptionsQcow2 as BlockdevAmendOptionsQcow2
    from qmpd.api.structs.block_core import QObjBlockdevAmendOptionsBase as QObjBlockdevAmendOptionsBase
    from qmpd.api.structs.block_core import BlockdevAmendOptions as BlockdevAmendOptions
    from qmpd.api.structs.block_core import BlockdevAmendOptionsBlkdebug as BlockdevAmendOptionsBlkdebug
    from qmpd.api.structs.block_core import BlockdevAmendOptionsBlkverify as BlockdevAmendOptionsBlkverify
    from qmpd.api.structs.block_core import BlockdevAmendOptionsCompress as BlockdevAmendOptionsCompress
    from qmpd.api.structs.block_core import BlockdevAmendOptionsCopyBeforeWrite as BlockdevAmendOptionsCopyBeforeWrite
    from qmpd.api.structs.block_core import BlockdevAmendOptionsCopyOnRead as BlockdevAmendOptionsCopyOnRead
    from qmpd.api.structs.block_core import BlockdevAmendOptionsFile as BlockdevAmendOptionsFile
    from qmpd.api.structs.block_core import BlockdevAmendOptionsSnapshotAccess as BlockdevAmendOptionsSnapshotAccess
    from qmpd.api.structs.block_core import BlockdevAmendOptionsHostDevice as BlockdevAmendOptionsHostDevice
    from qmpd.api.structs.block_core import BlockdevAmendOptionsNbd as BlockdevAmendOptionsNbd
    from qmpd.api.structs.block_core import BlockdevAmendOptionsNullAio as BlockdevAmendOptionsNullAio
    from qmpd.api.structs.block_core import BlockdevAmendOptionsNullCo as BlockdevAmendOptionsNullCo
    from qmpd.api.structs.block_core import BlockdevAmendOptionsPreallocate as BlockdevAmendOptionsPreallocate
    from qmpd.api.structs.block_core import BlockdevAmendOptionsQcow2Branch as BlockdevAmendOptionsQcow2Branch
    from qmpd.api.structs.block_core import BlockdevAmendOptionsQuorum as BlockdevAmendOptionsQuorum
    from qmpd.api.structs.block_core import BlockdevAmendOptionsRaw as BlockdevAmendOptionsRaw
    from qmpd.api.structs.block_core import BlockdevAmendOptionsThrottle as BlockdevAmendOptionsThrottle
    from qmpd.api.structs.block_core import QObjXBlockdevAmendArg as QObjXBlockdevAmendArg
    from qmpd.api.structs.block_core import QObjChangeBackingFileArg as QObjChangeBackingFileArg
    from qmpd.api.structs.block_core import BlockdevSnapshotInternal as BlockdevSnapshotInternal
    from qmpd.api.structs.block_core import QObjBlockdevSnapshotDeleteInternalSyncArg as QObjBlockdevSnapshotDeleteInternalSyncArg
    from qmpd.api.structs.block_core import BlockdevSnapshotSync as BlockdevSnapshotSync
    from qmpd.api.structs.block_core import BlockdevSnapshot as BlockdevSnapshot
    from qmpd.api.enums import BlockErrorAction as BlockErrorAction
    from qmpd.api.structs.block_core import QObjBlockImageCorruptedArg as QObjBlockImageCorruptedArg
    from qmpd.api.structs.block_core import QObjBlockIoErrorArg as QObjBlockIoErrorArg
    from qmpd.api.structs.block_core import QObjBlockJobCompletedArg as QObjBlockJobCompletedArg
    from qmpd.api.structs.block_core import QObjBlockJobCancelledArg as QObjBlockJobCancelledArg
    from qmpd.api.structs.block_core import QObjBlockJobErrorArg as QObjBlockJobErrorArg
    from qmpd.api.structs.block_core import QObjBlockJobReadyArg as QObjBlockJobReadyArg
    from qmpd.api.structs.block_core import QObjBlockJobPendingArg as QObjBlockJobPendingArg
    from qmpd.api.enums import QuorumOpType as QuorumOpType
    from qmpd.api.structs.block_core import QObjQuorumFailureArg as QObjQuorumFailureArg
    from qmpd.api.structs.block_core import QObjQuorumReportBadArg as QObjQuorumReportBadArg
    from qmpd.api.structs.block_core import QObjBlockWriteThresholdArg as QObjBlockWriteThresholdArg
    from qmpd.api.structs.block import QObjEjectArg as QObjEjectArg
    from qmpd.api.structs.block import QObjBlockdevOpenTrayArg as QObjBlockdevOpenTrayArg
    from qmpd.api.structs.block import QObjBlockdevCloseTrayArg as QObjBlockdevCloseTrayArg
    from qmpd.api.structs.block import QObjBlockdevRemoveMediumArg as QObjBlockdevRemoveMediumArg
    from qmpd.api.structs.block import QObjBlockdevInsertMediumArg as QObjBlockdevInsertMediumArg
    from qmpd.api.enums import BlockdevChangeReadOnlyMode as BlockdevChangeReadOnlyMode
    from qmpd.api.structs.block import QObjBlockdevChangeMediumArg as QObjBlockdevChangeMediumArg
    from qmpd.api.structs.block import QObjDeviceTrayMovedArg as QObjDeviceTrayMovedArg
    from qmpd.api.structs.block import BlockIOThrottle as BlockIOThrottle
    from qmpd.api.structs.block import PRManagerInfo as PRManagerInfo
    from qmpd.api.structs.block_export import NbdServerOptions as NbdServerOptions
    from qmpd.api.structs.block_export import QObjNbdServerStartArg as QObjNbdServerStartArg
    from qmpd.api.structs.block_export import BlockExportOptionsNbdBase as BlockExportOptionsNbdBase
    from qmpd.api.structs.block_export import BlockExportOptionsNbd as BlockExportOptionsNbd
    from qmpd.api.structs.block_export import NbdServerAddOptions as NbdServerAddOptions
    from qmpd.api.enums import BlockExportRemoveMode as BlockExportRemoveMode
    from qmpd.api.structs.block_export import QObjNbdServerRemoveArg as QObjNbdServerRemoveArg
    from qmpd.api.enums import BlockExportType as BlockExportType
    from qmpd.api.structs.block_export import QObjBlockExportOptionsBase as QObjBlockExportOptionsBase
    from qmpd.api.structs.block_export import BlockExportOptions as BlockExportOptions
    from qmpd.api.structs.block_export import BlockExportOptionsNbdBranch as BlockExportOptionsNbdBranch
    from qmpd.api.structs.block_export import QObjBlockExportDelArg as QObjBlockExportDelArg
    from qmpd.api.structs.block_export import QObjBlockExportDeletedArg as QObjBlockExportDeletedArg
    from qmpd.api.structs.block_export import BlockExportInfo as BlockExportInfo
    from qmpd.api.enums import DumpGuestMemoryFormat as DumpGuestMemoryFormat
    from qmpd.api.enums import DumpStatus as DumpStatus
    from qmpd.api.structs.dump import DumpQueryResult as DumpQueryResult
    from qmpd.api.structs.dump import DumpGuestMemoryCapability as DumpGuestMemoryCapability
    from qmpd.api.enums import RxState as RxState
    from qmpd.api.structs.net import RxFilterInfo as RxFilterInfo
    from qmpd.api.structs.net import QObjQueryRxFilterArg as QObjQueryRxFilterArg
    from qmpd.api.enums import TpmModel as TpmModel
    from qmpd.api.enums import TpmType as TpmType
    from qmpd.api.structs.tpm import TPMPassthroughOptions as TPMPassthroughOptions
    from qmpd.api.structs.tpm import TPMEmulatorOptions as TPMEmulatorOptions
    from qmpd.api.structs.tpm import TPMPassthroughOptionsWrapper as TPMPassthroughOptionsWrapper
    from qmpd.api.structs.tpm import TPMEmulatorOptionsWrapper as TPMEmulatorOptionsWrapper
    from qmpd.api.structs.tpm import QObjTpmTypeOptionsBase as QObjTpmTypeOptionsBase
    from qmpd.api.structs.tpm import TpmTypeOptions as TpmTypeOptions
    from qmpd.api.structs.tpm import TpmTypeOptionsPassthrough as TpmTypeOptionsPassthrough
    from qmpd.api.structs.tpm import TpmTypeOptionsEmulator as TpmTypeOptionsEmulator
    from qmpd.api.structs.tpm import TPMInfo as TPMInfo
    from qmpd.api.structs.ui import VncBasicInfo as VncBasicInfo
    from qmpd.api.structs.ui import VncClientInfo as VncClientInfo
    from qmpd.api.structs.ui import VncInfo as VncInfo
    from qmpd.api.enums import VncPrimaryAuth as VncPrimaryAuth
    from qmpd.api.enums import VncVencryptSubAuth as VncVencryptSubAuth
    from qmpd.api.structs.ui import VncServerInfo2 as VncServerInfo2
    from qmpd.api.structs.ui import VncInfo2 as VncInfo2
    from qmpd.api.enums import SpiceQueryMouseMode as SpiceQueryMouseMode
    from qmpd.api.structs.ui import SpiceBasicInfo as SpiceBasicInfo
    from qmpd.api.structs.ui import SpiceChannel as SpiceChannel
    from qmpd.api.structs.ui import SpiceInfo as SpiceInfo
    from qmpd.api.structs.ui import MouseInfo as MouseInfo
    from qmpd.api.structs.migration import MigrationStats as MigrationStats
    from qmpd.api.structs.migration import XBZRLECacheStats as XBZRLECacheStats
    from qmpd.api.structs.migration import CompressionStats as CompressionStats
    from qmpd.api.enums import MigrationStatus as MigrationStatus
    from qmpd.api.structs.migration import VfioStats as VfioStats
    from qmpd.api.structs.migration import MigrationInfo as MigrationInfo
    from qmpd.api.enums import MigrationCapability as MigrationCapability
    from qmpd.api.structs.migration import MigrationCapabilityStatus as MigrationCapabilityStatus
    from qmpd.api.enums import SysEmuTarget as SysEmuTarget
    from qmpd.api.structs.machine import TargetInfo as TargetInfo
    from qmpd.api.structs.machine import UuidInfo as UuidInfo
    from qmpd.api.structs.machine import KvmInfo as KvmInfo
    from qmpd.api.structs.machine import MachineInfo as MachineInfo
    from qmpd.api.structs.machine import CurrentMachineParams as CurrentMachineParams
    from qmpd.api.structs.machine import CpuInstanceProperties as CpuInstanceProperties
    from qmpd.api.enums import CpuS390State as CpuS390State
    from qmpd.api.structs.machine import CpuInfoS390 as CpuInfoS390
    from qmpd.api.structs.machine import QObjCpuInfoFastBase as QObjCpuInfoFastBase
    from qmpd.api.structs.machine import CpuInfoFast as CpuInfoFast
    from qmpd.api.structs.machine import CpuInfoFastAarch64 as CpuInfoFastAarch64
    from qmpd.api.structs.machine import CpuInfoFastAlpha as CpuInfoFastAlpha
    from qmpd.api.structs.machine import CpuInfoFastArm as CpuInfoFastArm
    from qmpd.api.structs.machine import CpuInfoFastAvr as CpuInfoFastAvr
    from qmpd.api.structs.machine import CpuInfoFastCris as CpuInfoFastCris
    from qmpd.api.structs.machine import CpuInfoFastHppa as CpuInfoFastHppa
    from qmpd.api.structs.machine import CpuInfoFastI386 as CpuInfoFastI386
    from qmpd.api.structs.machine import CpuInfoFastLoongarch64 as CpuInfoFastLoongarch64
    from qmpd.api.structs.machine import CpuInfoFastM68k as CpuInfoFastM68k
    from qmpd.api.structs.machine import CpuInfoFastMicroblaze as CpuInfoFastMicroblaze
    from qmpd.api.structs.machine import CpuInfoFastMicroblazeel as CpuInfoFastMicroblazeel
    from qmpd.api.structs.machine import CpuInfoFastMips as CpuInfoFastMips
    from qmpd.api.structs.machine import CpuInfoFastMips64 as CpuInfoFastMips64
    from qmpd.api.structs.machine import CpuInfoFastMips64el as CpuInfoFastMips64el
    from qmpd.api.structs.machine import CpuInfoFastMipsel as CpuInfoFastMipsel
    from qmpd.api.structs.machine import CpuInfoFastNios2 as CpuInfoFastNios2
    from qmpd.api.structs.machine import CpuInfoFastOr1k as CpuInfoFastOr1k
    from qmpd.api.structs.machine import CpuInfoFastPpc as CpuInfoFastPpc
    from qmpd.api.structs.machine import CpuInfoFastPpc64 as CpuInfoFastPpc64
    from qmpd.api.structs.machine import CpuInfoFastRiscv32 as CpuInfoFastRiscv32
    from qmpd.api.structs.machine import CpuInfoFastRiscv64 as CpuInfoFastRiscv64
    from qmpd.api.structs.machine import CpuInfoFastRx as CpuInfoFastRx
    from qmpd.api.structs.machine import CpuInfoFastS390x as CpuInfoFastS390x
    from qmpd.api.structs.machine import CpuInfoFastSh4 as CpuInfoFastSh4
    from qmpd.api.structs.machine import CpuInfoFastSh4eb as CpuInfoFastSh4eb
    from qmpd.api.structs.machine import CpuInfoFastSparc as CpuInfoFastSparc
    from qmpd.api.structs.machine import CpuInfoFastSparc64 as CpuInfoFastSparc64
    from qmpd.api.structs.machine import CpuInfoFastTricore as CpuInfoFastTricore
    from qmpd.api.structs.machine import CpuInfoFastX8664 as CpuInfoFastX8664
    from qmpd.api.structs.machine import CpuInfoFastXtensa as CpuInfoFastXtensa
    from qmpd.api.structs.machine import CpuInfoFastXtensaeb as CpuInfoFastXtensaeb
    from qmpd.api.structs.machine import HotpluggableCPU as HotpluggableCPU
    from qmpd.api.structs.machine import BalloonInfo as BalloonInfo
    from qmpd.api.structs.machine import MemoryInfo as MemoryInfo
    from qmpd.api.structs.machine import PCDIMMDeviceInfo as PCDIMMDeviceInfo
    from qmpd.api.structs.machine import VirtioPMEMDeviceInfo as VirtioPMEMDeviceInfo
    from qmpd.api.structs.machine import VirtioMEMDeviceInfo as VirtioMEMDeviceInfo
    from qmpd.api.structs.machine import SgxEPCDeviceInfo as SgxEPCDeviceInfo
    from qmpd.api.enums import MemoryDeviceInfoKind as MemoryDeviceInfoKind
    from qmpd.api.structs.machine import PCDIMMDeviceInfoWrapper as PCDIMMDeviceInfoWrapper
    from qmpd.api.structs.machine import VirtioPMEMDeviceInfoWrapper as VirtioPMEMDeviceInfoWrapper
    from qmpd.api.structs.machine import VirtioMEMDeviceInfoWrapper as VirtioMEMDeviceInfoWrapper
    from qmpd.api.structs.machine import SgxEPCDeviceInfoWrapper as SgxEPCDeviceInfoWrapper
    from qmpd.api.structs.machine import QObjMemoryDeviceInfoBase as QObjMemoryDeviceInfoBase
    from qmpd.api.structs.machine import MemoryDeviceInfo as MemoryDeviceInfo
    from qmpd.api.structs.machine import MemoryDeviceInfoDimm as MemoryDeviceInfoDimm
    from qmpd.api.structs.machine import MemoryDeviceInfoNvdimm as MemoryDeviceInfoNvdimm
    from qmpd.api.structs.machine import MemoryDeviceInfoVirtioPmem as MemoryDeviceInfoVirtioPmem
    from qmpd.api.structs.machine import MemoryDeviceInfoVirtioMem as MemoryDeviceInfoVirtioMem
    from qmpd.api.structs.machine import MemoryDeviceInfoSgxEpc as MemoryDeviceInfoSgxEpc
    from qmpd.api.enums import HostMemPolicy as HostMemPolicy
    from qmpd.api.structs.machine import Memdev as Memdev
    from qmpd.api.structs.machine_target import CpuDefinitionInfo as CpuDefinitionInfo
    from qmpd.api.structs.pci import PciMemoryRange as PciMemoryRange
    from qmpd.api.structs.pci import PciMemoryRegion as PciMemoryRegion
    from qmpd.api.structs.pci import PciBusInfo as PciBusInfo
    from qmpd.api.structs.pci import PciBridgeInfo as PciBridgeInfo
    from qmpd.api.structs.pci import PciDeviceClass as PciDeviceClass
    from qmpd.api.structs.pci import PciDeviceId as PciDeviceId
    from qmpd.api.structs.pci import PciDeviceInfo as PciDeviceInfo
    from qmpd.api.structs.pci import PciInfo as PciInfo
    from qmpd.api.enums import SevState as SevState
    from qmpd.api.structs.misc_target import SevInfo as SevInfo
    from qmpd.api.structs.char import ChardevInfo as ChardevInfo
    from qmpd.api.structs.char import ChardevBackendInfo as ChardevBackendInfo
    from qmpd.api.enums import DataFormat as DataFormat
    from qmpd.api.structs.char import QObjRingbufWriteArg as QObjRingbufWriteArg
    from qmpd.api.structs.char import QObjRingbufReadArg as QObjRingbufReadArg
    from qmpd.api.structs.char import ChardevCommon as ChardevCommon
    from qmpd.api.structs.char import ChardevFile as ChardevFile
    from qmpd.api.structs.char import ChardevHostdev as ChardevHostdev
    from qmpd.api.structs.char import ChardevSocket as ChardevSocket
    from qmpd.api.structs.char import ChardevUdp as ChardevUdp
    from qmpd.api.structs.char import ChardevMux as ChardevMux
    from qmpd.api.structs.char import ChardevStdio as ChardevStdio
    from qmpd.api.structs.char import ChardevSpiceChannel as ChardevSpiceChannel
    from qmpd.api.structs.char import ChardevSpicePort as ChardevSpicePort
    from qmpd.api.structs.char import ChardevDBus as ChardevDBus
    from qmpd.api.structs.char import ChardevVC as ChardevVC
    from qmpd.api.structs.char import ChardevRingbuf as ChardevRingbuf
    from qmpd.api.structs.char import ChardevQemuVDAgent as ChardevQemuVDAgent
    from qmpd.api.enums import ChardevBackendKind as ChardevBackendKind
    from qmpd.api.structs.char import ChardevFileWrapper as ChardevFileWrapper
    from qmpd.api.structs.char import ChardevHostdevWrapper as ChardevHostdevWrapper
    from qmpd.api.structs.char import ChardevSocketWrapper as ChardevSocketWrapper
    from qmpd.api.structs.char import ChardevUdpWrapper as ChardevUdpWrapper
    from qmpd.api.structs.char import ChardevCommonWrapper as ChardevCommonWrapper
    from qmpd.api.structs.char import ChardevMuxWrapper as ChardevMuxWrapper
    from qmpd.api.structs.char import ChardevStdioWrapper as ChardevStdioWrapper
    from qmpd.api.structs.char import ChardevSpiceChannelWrapper as ChardevSpiceChannelWrapper
    from qmpd.api.structs.char import ChardevSpicePortWrapper as ChardevSpicePortWrapper
    from qmpd.api.structs.char import ChardevQemuVDAgentWrapper as ChardevQemuVDAgentWrapper
    from qmpd.api.structs.char import ChardevDBusWrapper as ChardevDBusWrapper
    from qmpd.api.structs.char import ChardevVCWrapper as ChardevVCWrapper
    from qmpd.api.structs.char import ChardevRingbufWrapper as ChardevRingbufWrapper
    from qmpd.api.structs.char import QObjChardevBackendBase as QObjChardevBackendBase
    from qmpd.api.structs.char import ChardevBackend as ChardevBackend
    from qmpd.api.structs.char import ChardevBackendFile as ChardevBackendFile
    from qmpd.api.structs.char import ChardevBackendSerial as ChardevBackendSerial
    from qmpd.api.structs.char import ChardevBackendParallel as ChardevBackendParallel
    from qmpd.api.structs.char import ChardevBackendPipe as ChardevBackendPipe
    from qmpd.api.structs.char import ChardevBackendSocket as ChardevBackendSocket
    from qmpd.api.structs.char import ChardevBackendUdp as ChardevBackendUdp
    from qmpd.api.structs.char import ChardevBackendPty as ChardevBackendPty
    from qmpd.api.structs.char import ChardevBackendNull as ChardevBackendNull
    from qmpd.api.structs.char import ChardevBackendMux as ChardevBackendMux
    from qmpd.api.structs.char import ChardevBackendMsmouse as ChardevBackendMsmouse
    from qmpd.api.structs.char import ChardevBackendWctablet as ChardevBackendWctablet
    from qmpd.api.structs.char import ChardevBackendBraille as ChardevBackendBraille
    from qmpd.api.structs.char import ChardevBackendTestdev as ChardevBackendTestdev
    from qmpd.api.structs.char import ChardevBackendStdio as ChardevBackendStdio
    from qmpd.api.structs.char import ChardevBackendConsole as ChardevBackendConsole
    from qmpd.api.structs.char import ChardevBackendSpicevmc as ChardevBackendSpicevmc
    from qmpd.api.structs.char import ChardevBackendSpiceport as ChardevBackendSpiceport
    from qmpd.api.structs.char import ChardevBackendQemuVdagent as ChardevBackendQemuVdagent
    from qmpd.api.structs.char import ChardevBackendDbus as ChardevBackendDbus
    from qmpd.api.structs.char import ChardevBackendVc as ChardevBackendVc
    from qmpd.api.structs.char import ChardevBackendRingbuf as ChardevBackendRingbuf
    from qmpd.api.structs.char import ChardevBackendMemory as ChardevBackendMemory
    from qmpd.api.structs.char import ChardevReturn as ChardevReturn
    from qmpd.api.structs.char import QObjChardevAddArg as QObjChardevAddArg
    from qmpd.api.structs.char import QObjChardevChangeArg as QObjChardevChangeArg
    from qmpd.api.structs.char import QObjChardevRemoveArg as QObjChardevRemoveArg
    from qmpd.api.structs.char import QObjChardevSendBreakArg as QObjChardevSendBreakArg
    from qmpd.api.structs.misc import QObjHumanMonitorCommandArg as QObjHumanMonitorCommandArg
    from qmpd.api.structs.misc import NameInfo as NameInfo
    from qmpd.api.structs.misc import IOThreadInfo as IOThreadInfo
    from qmpd.api.structs.misc import FdsetFdInfo as FdsetFdInfo
    from qmpd.api.structs.misc import FdsetInfo as FdsetInfo
    from qmpd.api.enums import CommandLineParameterType as CommandLineParameterType
    from qmpd.api.structs.misc import CommandLineParameterInfo as CommandLineParameterInfo
    from qmpd.api.structs.misc import CommandLineOptionInfo as CommandLineOptionInfo
    from qmpd.api.structs.misc import QObjQueryCommandLineOptionsArg as QObjQueryCommandLineOptionsArg
    from qmpd.api.enums import QMPCapability as QMPCapability
    from qmpd.api.structs.control import QObjQmpCapabilitiesArg as QObjQmpCapabilitiesArg
    from qmpd.api.structs.control import VersionTriple as VersionTriple
    from qmpd.api.structs.control import VersionInfo as VersionInfo
    from qmpd.api.structs.control import CommandInfo as CommandInfo
    from qmpd.api.enums import MonitorMode as MonitorMode
    from qmpd.api.structs.control import MonitorOptions as MonitorOptions
    from qmpd.api.enums import SchemaMetaType as SchemaMetaType
    from qmpd.api.structs.introspect import QObjSchemaInfoBase as QObjSchemaInfoBase
    from qmpd.api.structs.introspect import SchemaInfo as SchemaInfo
    from qmpd.api.structs.introspect import SchemaInfoBuiltinBranch as SchemaInfoBuiltinBranch
    from qmpd.api.structs.introspect import SchemaInfoEnumBranch as SchemaInfoEnumBranch
    from qmpd.api.structs.introspect import SchemaInfoArrayBranch as SchemaInfoArrayBranch
    from qmpd.api.structs.introspect import SchemaInfoObjectBranch as SchemaInfoObjectBranch
    from qmpd.api.structs.introspect import SchemaInfoAlternateBranch as SchemaInfoAlternateBranch
    from qmpd.api.structs.introspect import SchemaInfoCommandBranch as SchemaInfoCommandBranch
    from qmpd.api.structs.introspect import SchemaInfoEventBranch as SchemaInfoEventBranch
    from qmpd.api.structs.introspect import SchemaInfoBuiltin as SchemaInfoBuiltin
    from qmpd.api.enums import JSONType as JSONType
    from qmpd.api.structs.introspect import SchemaInfoEnum as SchemaInfoEnum
    from qmpd.api.structs.introspect import SchemaInfoEnumMember as SchemaInfoEnumMember
    from qmpd.api.structs.introspect import SchemaInfoArray as SchemaInfoArray
    from qmpd.api.structs.introspect import SchemaInfoObject as SchemaInfoObject
    from qmpd.api.structs.introspect import SchemaInfoObjectMember as SchemaInfoObjectMember
    from qmpd.api.structs.introspect import SchemaInfoObjectVariant as SchemaInfoObjectVariant
    from qmpd.api.structs.introspect import SchemaInfoAlternate as SchemaInfoAlternate
    from qmpd.api.structs.introspect import SchemaInfoAlternateMember as SchemaInfoAlternateMember
    from qmpd.api.structs.introspect import SchemaInfoCommand as SchemaInfoCommand
    from qmpd.api.structs.introspect import SchemaInfoEvent as SchemaInfoEvent
    from qmpd.api.structs.transaction import Abort as Abort
    from qmpd.api.enums import ActionCompletionMode as ActionCompletionMode
    from qmpd.api.enums import TransactionActionKind as TransactionActionKind
    from qmpd.api.structs.transaction import AbortWrapper as AbortWrapper
    from qmpd.api.structs.transaction import BlockDirtyBitmapAddWrapper as BlockDirtyBitmapAddWrapper
    from qmpd.api.structs.transaction import BlockDirtyBitmapWrapper as BlockDirtyBitmapWrapper
    from qmpd.api.structs.transaction import BlockDirtyBitmapMergeWrapper as BlockDirtyBitmapMergeWrapper
    from qmpd.api.structs.transaction import BlockdevBackupWrapper as BlockdevBackupWrapper
    from qmpd.api.structs.transaction import DriveBackupWrapper as DriveBackupWrapper
    from qmpd.api.structs.transaction import BlockdevSnapshotInternalWrapper as BlockdevSnapshotInternalWrapper
    from qmpd.api.structs.transaction import BlockdevSnapshotWrapper as BlockdevSnapshotWrapper
    from qmpd.api.structs.transaction import BlockdevSnapshotSyncWrapper as BlockdevSnapshotSyncWrapper
    from qmpd.api.structs.transaction import QObjTransactionActionBase as QObjTransactionActionBase
    from qmpd.api.structs.transaction import TransactionAction as TransactionAction
    from qmpd.api.structs.transaction import TransactionActionAbort as TransactionActionAbort
    from qmpd.api.structs.transaction import TransactionActionBlockDirtyBitmapAdd as TransactionActionBlockDirtyBitmapAdd
    from qmpd.api.structs.transaction import TransactionActionBlockDirtyBitmapRemove as TransactionActionBlockDirtyBitmapRemove
    from qmpd.api.structs.transaction import TransactionActionBlockDirtyBitmapClear as TransactionActionBlockDirtyBitmapClear
    from qmpd.api.structs.transaction import TransactionActionBlockDirtyBitmapEnable as TransactionActionBlockDirtyBitmapEnable
    from qmpd.api.structs.transaction import TransactionActionBlockDirtyBitmapDisable as TransactionActionBlockDirtyBitmapDisable
    from qmpd.api.structs.transaction import TransactionActionBlockDirtyBitmapMerge as TransactionActionBlockDirtyBitmapMerge
    from qmpd.api.structs.transaction import TransactionActionBlockdevBackup as TransactionActionBlockdevBackup
    from qmpd.api.structs.transaction import TransactionActionBlockdevSnapshot as TransactionActionBlockdevSnapshot
    from qmpd.api.structs.transaction import TransactionActionBlockdevSnapshotInternalSync as TransactionActionBlockdevSnapshotInternalSync
    from qmpd.api.structs.transaction import TransactionActionBlockdevSnapshotSync as TransactionActionBlockdevSnapshotSync
    from qmpd.api.structs.transaction import TransactionActionDriveBackup as TransactionActionDriveBackup
    from qmpd.api.structs.transaction import TransactionProperties as TransactionProperties
    from qmpd.api.structs.transaction import QObjTransactionArg as QObjTransactionArg
    from qmpd.api.enums import QAuthZListPolicy as QAuthZListPolicy
    from qmpd.api.enums import QAuthZListFormat as QAuthZListFormat
    from qmpd.api.structs.authz import QAuthZListRule as QAuthZListRule
    from qmpd.api.structs.authz import AuthZListProperties as AuthZListProperties
    from qmpd.api.structs.authz import AuthZSimpleProperties as AuthZSimpleProperties
    from qmpd.api.enums import QCryptoSecretFormat as QCryptoSecretFormat
    from qmpd.api.enums import QCryptoTLSCredsEndpoint as QCryptoTLSCredsEndpoint
    from qmpd.api.structs.crypto import SecretCommonProperties as SecretCommonProperties
    from qmpd.api.structs.crypto import SecretProperties as SecretProperties
    from qmpd.api.structs.crypto import TlsCredsProperties as TlsCredsProperties
    from qmpd.api.structs.crypto import TlsCredsAnonProperties as TlsCredsAnonProperties
    from qmpd.api.structs.crypto import TlsCredsPskProperties as TlsCredsPskProperties
    from qmpd.api.structs.crypto import TlsCredsX509Properties as TlsCredsX509Properties
    from qmpd.api.structs.qom import ObjectPropertyInfo as ObjectPropertyInfo
    from qmpd.api.structs.qom import QObjQomListArg as QObjQomListArg
    from qmpd.api.structs.qom import QObjQomGetArg as QObjQomGetArg
    from qmpd.api.structs.qom import QObjQomSetArg as QObjQomSetArg
    from qmpd.api.structs.qom import ObjectTypeInfo as ObjectTypeInfo
    from qmpd.api.structs.qom import QObjQomListTypesArg as QObjQomListTypesArg
    from qmpd.api.structs.qom import QObjQomListPropertiesArg as QObjQomListPropertiesArg
    from qmpd.api.structs.qom import EventLoopBaseProperties as EventLoopBaseProperties
    from qmpd.api.structs.qom import IothreadProperties as IothreadProperties
    from qmpd.api.enums import ObjectType as ObjectType
    from qmpd.api.structs.qom import QObjObjectOptionsBase as QObjObjectOptionsBase
    from qmpd.api.structs.qom import ObjectOptions as ObjectOptions
    from qmpd.api.structs.qom import ObjectOptionsAuthzList as ObjectOptionsAuthzList
    from qmpd.api.structs.qom import ObjectOptionsAuthzSimple as ObjectOptionsAuthzSimple
    from qmpd.api.structs.qom import ObjectOptionsIothread as ObjectOptionsIothread
    from qmpd.api.structs.qom import ObjectOptionsSecret as ObjectOptionsSecret
    from qmpd.api.structs.qom import ObjectOptionsThrottleGroup as ObjectOptionsThrottleGroup
    from qmpd.api.structs.qom import ObjectOptionsTlsCredsAnon as ObjectOptionsTlsCredsAnon
    from qmpd.api.structs.qom import ObjectOptionsTlsCredsPsk as ObjectOptionsTlsCredsPsk
    from qmpd.api.structs.qom import ObjectOptionsTlsCredsX509 as ObjectOptionsTlsCredsX509
    from qmpd.api.structs.qom import QObjObjectDelArg as QObjObjectDelArg
    from qmpd.api.structs.qdev import QObjDeviceListPropertiesArg as QObjDeviceListPropertiesArg
    from qmpd.api.structs.qdev import QObjDeviceAddArg as QObjDeviceAddArg
    from qmpd.api.structs.qdev import QObjDeviceDelArg as QObjDeviceDelArg
    from qmpd.api.structs.qdev import QObjDeviceDeletedArg as QObjDeviceDeletedArg
    from qmpd.api.enums import CatalogOutcome as CatalogOutcome
    from qmpd.api.structs.catalog import CatalogPage as CatalogPage
    from qmpd.api.structs.catalog import CatalogPeriod as CatalogPeriod
    from qmpd.api.structs.catalog import CatalogMetadata as CatalogMetadata
    from qmpd.api.structs.catalog import CatalogJob as CatalogJob
    from qmpd.api.structs.catalog import CatalogJobFilter as CatalogJobFilter
    from qmpd.api.structs.catalog import CatalogGroup as CatalogGroup
    from qmpd.api.structs.catalog import CatalogGroupFilter as CatalogGroupFilter
    from qmpd.api.structs.catalog import CatalogBackup as CatalogBackup
    from qmpd.api.structs.catalog import CatalogBackupFilter as CatalogBackupFilter
    from qmpd.api.structs.catalog import QObjCatalogQueryBackupChainArg as QObjCatalogQueryBackupChainArg
    from qmpd.api.enums import CatalogOrigin as CatalogOrigin
    from qmpd.api.structs.catalog import CatalogVolume as CatalogVolume
    from qmpd.api.structs.catalog import CatalogVolumeFilter as CatalogVolumeFilter
    from qmpd.api.structs.catalog import CatalogEvent as CatalogEvent
    from qmpd.api.structs.catalog import CatalogEventFilter as CatalogEventFilter
    from qmpd.api.structs.catalog import CatalogService as CatalogService
    from qmpd.api.structs.catalog import QObjCatalogQueryServicesArg as QObjCatalogQueryServicesArg
    from qmpd.api.enums import CatalogResource as CatalogResource
    from qmpd.api.enums import CatalogScope as CatalogScope
    from qmpd.api.structs.catalog import CatalogQuota as CatalogQuota
    from qmpd.api.structs.catalog import QObjCatalogQueryQuotasArg as QObjCatalogQueryQuotasArg
    from qmpd.api.structs.catalog import QObjCatalogSetQuotaArg as QObjCatalogSetQuotaArg
    from qmpd.api.structs.catalog import CatalogPruned as CatalogPruned
    from qmpd.api.structs.catalog import QObjCatalogPruneArg as QObjCatalogPruneArg
    from qmpd.api.enums import StateItemKind as StateItemKind
    from qmpd.api.structs.state import StateItem as StateItem
    from qmpd.api.structs.state import QObjStateRestoreFailedArg as QObjStateRestoreFailedArg
    from qmpd.api.structs.state import QObjForgetUnrestoredArg as QObjForgetUnrestoredArg
    from qmpd.api.structs.state import EventTime as EventTime
    from qmpd.api.structs.state import ReplayedEvent as ReplayedEvent
    from qmpd.api.structs.state import EventReplay as EventReplay
    from qmpd.api.structs.state import QObjReplayEventsArg as QObjReplayEventsArg

_HOMES = {
    "QapiErrorClass": "qmpd.api.enums",
    "IoOperationType": "qmpd.api.enums",
    "OnOffAuto": "qmpd.api.enums",
    "String": "qmpd.api.structs.common",
    "StrOrNull": "qmpd.api.structs.common",
    "NetworkAddressFamily": "qmpd.api.enums",
    "InetSocketAddressBase": "qmpd.api.structs.sockets",
    "InetSocketAddress": "qmpd.api.structs.sockets",
    "UnixSocketAddress": "qmpd.api.structs.sockets",
    "VsockSocketAddress": "qmpd.api.structs.sockets",
    "SocketAddressType": "qmpd.api.enums",
    "QObjSocketAddressBase": "qmpd.api.structs.sockets",
    "SocketAddress": "qmpd.api.structs.sockets",
    "SocketAddressInet": "qmpd.api.structs.sockets",
    "SocketAddressUnix": "qmpd.api.structs.sockets",
    "SocketAddressVsock": "qmpd.api.structs.sockets",
    "SocketAddressFd": "qmpd.api.structs.sockets",
    "InetSocketAddressWrapper": "qmpd.api.structs.sockets",
    "UnixSocketAddressWrapper": "qmpd.api.structs.sockets",
    "VsockSocketAddressWrapper": "qmpd.api.structs.sockets",
    "StringWrapper": "qmpd.api.structs.sockets",
    "QObjSocketAddressLegacyBase": "qmpd.api.structs.sockets",
    "SocketAddressLegacy": "qmpd.api.structs.sockets",
    "SocketAddressLegacyInet": "qmpd.api.structs.sockets",
    "SocketAddressLegacyUnix": "qmpd.api.structs.sockets",
    "SocketAddressLegacyVsock": "qmpd.api.structs.sockets",
    "SocketAddressLegacyFd": "qmpd.api.structs.sockets",
    "RunState": "qmpd.api.enums",
    "ShutdownCause": "qmpd.api.enums",
    "StatusInfo": "qmpd.api.structs.run_state",
    "QObjResetArg": "qmpd.api.structs.run_state",
    "JobType": "qmpd.api.enums",
    "JobStatus": "qmpd.api.enums",
    "JobVerb": "qmpd.api.enums",
    "QObjJobStatusChangeArg": "qmpd.api.structs.job",
    "QObjJobPauseArg": "qmpd.api.structs.job",
    "QObjJobResumeArg": "qmpd.api.structs.job",
    "QObjJobCancelArg": "qmpd.api.structs.job",
    "QObjJobCompleteArg": "qmpd.api.structs.job",
    "QObjJobDismissArg": "qmpd.api.structs.job",
    "QObjJobFinalizeArg": "qmpd.api.structs.job",
    "JobInfo": "qmpd.api.structs.job",
    "Qcow2BitmapInfoFlags": "qmpd.api.enums",
    "Qcow2BitmapInfo": "qmpd.api.structs.block_core",
    "Qcow2CompressionType": "qmpd.api.enums",
    "ImageInfoSpecificQCow2": "qmpd.api.structs.block_core",
    "ImageInfoSpecificKind": "qmpd.api.enums",
    "ImageInfoSpecificQCow2Wrapper": "qmpd.api.structs.block_core",
    "QObjImageInfoSpecificBase": "qmpd.api.structs.block_core",
    "ImageInfoSpecific": "qmpd.api.structs.block_core",
    "ImageInfoSpecificQcow2": "qmpd.api.structs.block_core",
    "SnapshotInfo": "qmpd.api.structs.block_core",
    "ImageInfo": "qmpd.api.structs.block_core",
    "BlockdevCacheInfo": "qmpd.api.structs.block_core",
    "BlockDeviceInfo": "qmpd.api.structs.block_core",
    "BlockDeviceIoStatus": "qmpd.api.enums",
    "BlockDirtyInfo": "qmpd.api.structs.block_core",
    "BlockInfo": "qmpd.api.structs.block_core",
    "QObjQueryBlockArg": "qmpd.api.structs.block_core",
    "BlockDeviceTimedStats": "qmpd.api.structs.block_core",
    "BlockLatencyHistogramInfo": "qmpd.api.structs.block_core",
    "BlockDeviceStats": "qmpd.api.structs.block_core",
    "BlockStatsSpecificFile": "qmpd.api.structs.block_core",
    "QObjBlockStatsSpecificBase": "qmpd.api.structs.block_core",
    "BlockStatsSpecific": "qmpd.api.structs.block_core",
    "BlockStatsSpecificBlkdebug": "qmpd.api.structs.block_core",
    "BlockStatsSpecificBlkverify": "qmpd.api.structs.block_core",
    "BlockStatsSpecificCompress": "qmpd.api.structs.block_core",
    "BlockStatsSpecificCopyBeforeWrite": "qmpd.api.structs.block_core",
    "BlockStatsSpecificCopyOnRead": "qmpd.api.structs.block_core",
    "BlockStatsSpecificFileBranch": "qmpd.api.structs.block_core",
    "BlockStatsSpecificSnapshotAccess": "qmpd.api.structs.block_core",
    "BlockStatsSpecificHostDevice": "qmpd.api.structs.block_core",
    "BlockStatsSpecificNbd": "qmpd.api.structs.block_core",
    "BlockStatsSpecificNullAio": "qmpd.api.structs.block_core",
    "BlockStatsSpecificNullCo": "qmpd.api.structs.block_core",
    "BlockStatsSpecificPreallocate": "qmpd.api.structs.block_core",
    "BlockStatsSpecificQcow2": "qmpd.api.structs.block_core",
    "BlockStatsSpecificQuorum": "qmpd.api.structs.block_core",
    "BlockStatsSpecificRaw": "qmpd.api.structs.block_core",
    "BlockStatsSpecificThrottle": "qmpd.api.structs.block_core",
    "BlockStats": "qmpd.api.structs.block_core",
    "QObjQueryBlockstatsArg": "qmpd.api.structs.block_core",
    "QObjBlockLatencyHistogramSetArg": "qmpd.api.structs.block_core",
    "QObjQueryNamedBlockNodesArg": "qmpd.api.structs.block_core",
    "XDbgBlockGraphNodeType": "qmpd.api.enums",
    "XDbgBlockGraphNode": "qmpd.api.structs.block_core",
    "BlockPermission": "qmpd.api.enums",
    "XDbgBlockGraphEdge": "qmpd.api.structs.block_core",
    "XDbgBlockGraph": "qmpd.api.structs.block_core",
    "QObjBlockResizeArg": "qmpd.api.structs.block_core",
    "BlockDirtyBitmap": "qmpd.api.structs.block_core",
    "BlockDirtyBitmapAdd": "qmpd.api.structs.block_core",
    "BlockDirtyBitmapOrStr": "qmpd.api.structs.block_core",
    "BlockDirtyBitmapMerge": "qmpd.api.structs.block_core",
    "BlockDirtyBitmapSha256": "qmpd.api.structs.block_core",
    "BlockdevOnError": "qmpd.api.enums",
    "MirrorSyncMode": "qmpd.api.enums",
    "BitmapSyncMode": "qmpd.api.enums",
    "NewImageMode": "qmpd.api.enums",
    "BackupPerf": "qmpd.api.structs.block_core",
    "BackupCommon": "qmpd.api.structs.block_core",
    "DriveBackup": "qmpd.api.structs.block_core",
    "BlockdevBackup": "qmpd.api.structs.block_core",
    "MirrorCopyMode": "qmpd.api.enums",
    "DriveMirror": "qmpd.api.structs.block_core",
    "QObjBlockdevMirrorArg": "qmpd.api.structs.block_core",
    "QObjBlockCommitArg": "qmpd.api.structs.block_core",
    "QObjBlockStreamArg": "qmpd.api.structs.block_core",
    "BlockJobInfo": "qmpd.api.structs.block_core",
    "QObjBlockJobSetSpeedArg": "qmpd.api.structs.block_core",
    "QObjBlockJobCancelArg": "qmpd.api.structs.block_core",
    "QObjBlockJobPauseArg": "qmpd.api.structs.block_core",
    "QObjBlockJobResumeArg": "qmpd.api.structs.block_core",
    "QObjBlockJobCompleteArg": "qmpd.api.structs.block_core",
    "QObjBlockJobDismissArg": "qmpd.api.structs.block_core",
    "QObjBlockJobFinalizeArg": "qmpd.api.structs.block_core",
    "JobChangeOptionsMirror": "qmpd.api.structs.block_core",
    "QObjJobChangeOptionsBase": "qmpd.api.structs.block_core",
    "JobChangeOptions": "qmpd.api.structs.block_core",
    "JobChangeOptionsCommit": "qmpd.api.structs.block_core",
    "JobChangeOptionsStream": "qmpd.api.structs.block_core",
    "JobChangeOptionsMirrorBranch": "qmpd.api.structs.block_core",
    "JobChangeOptionsBackup": "qmpd.api.structs.block_core",
    "JobChangeOptionsCreate": "qmpd.api.structs.block_core",
    "JobChangeOptionsAmend": "qmpd.api.structs.block_core",
    "JobChangeOptionsSnapshotLoad": "qmpd.api.structs.block_core",
    "JobChangeOptionsSnapshotSave": "qmpd.api.structs.block_core",
    "JobChangeOptionsSnapshotDelete": "qmpd.api.structs.block_core",
    "PreallocMode": "qmpd.api.enums",
    "BlockdevDiscardOptions": "qmpd.api.enums",
    "BlockdevDetectZeroesOptions": "qmpd.api.enums",
    "BlockdevAioOptions": "qmpd.api.enums",
    "BlockdevCacheOptions": "qmpd.api.structs.block_core",
    "BlockdevDriver": "qmpd.api.enums",
    "BlockdevOptionsFile": "qmpd.api.structs.block_core",
    "BlockdevOptionsNull": "qmpd.api.structs.block_core",
    "BlockdevOptionsGenericFormat": "qmpd.api.structs.block_core",
    "BlockdevOptionsGenericCOWFormat": "qmpd.api.structs.block_core",
    "Qcow2OverlapCheckMode": "qmpd.api.enums",
    "Qcow2OverlapCheckFlags": "qmpd.api.structs.block_core",
    "Qcow2OverlapChecks": "qmpd.api.structs.block_core",
    "BlockdevOptionsQcow2": "qmpd.api.structs.block_core",
    "BlockdevOptionsRaw": "qmpd.api.structs.block_core",
    "OnCbwError": "qmpd.api.enums",
    "BlockdevOptionsCbw": "qmpd.api.structs.block_core",
    "BlkdebugEvent": "qmpd.api.enums",
    "BlkdebugIOType": "qmpd.api.enums",
    "BlkdebugInjectErrorOptions": "qmpd.api.structs.block_core",
    "BlkdebugSetStateOptions": "qmpd.api.structs.block_core",
    "BlockdevOptionsBlkdebug": "qmpd.api.structs.block_core",
    "BlockdevOptionsPreallocate": "qmpd.api.structs.block_core",
    "ThrottleLimits": "qmpd.api.structs.block_core",
    "ThrottleGroupProperties": "qmpd.api.structs.block_core",
    "BlockdevOptionsThrottle": "qmpd.api.structs.block_core",
    "BlockdevOptionsCor": "qmpd.api.structs.block_core",
    "QuorumReadPattern": "qmpd.api.enums",
    "BlockdevOptionsBlkverify": "qmpd.api.structs.block_core",
    "BlockdevOptionsQuorum": "qmpd.api.structs.block_core",
    "BlockdevOptionsNbd": "qmpd.api.structs.block_core",
    "QObjBlockdevOptionsBase": "qmpd.api.structs.block_core",
    "BlockdevOptions": "qmpd.api.structs.block_core",
    "BlockdevOptionsBlkdebugBranch": "qmpd.api.structs.block_core",
    "BlockdevOptionsBlkverifyBranch": "qmpd.api.structs.block_core",
    "BlockdevOptionsCompress": "qmpd.api.structs.block_core",
    "BlockdevOptionsCopyBeforeWrite": "qmpd.api.structs.block_core",
    "BlockdevOptionsCopyOnRead": "qmpd.api.structs.block_core",
    "BlockdevOptionsFileBranch": "qmpd.api.structs.block_core",
    "BlockdevOptionsSnapshotAccess": "qmpd.api.structs.block_core",
    "BlockdevOptionsHostDevice": "qmpd.api.structs.block_core",
    "BlockdevOptionsNbdBranch": "qmpd.api.structs.block_core",
    "BlockdevOptionsNullAio": "qmpd.api.structs.block_core",
    "BlockdevOptionsNullCo": "qmpd.api.structs.block_core",
    "BlockdevOptionsPreallocateBranch": "qmpd.api.structs.block_core",
    "BlockdevOptionsQcow2Branch": "qmpd.api.structs.block_core",
    "BlockdevOptionsQuorumBranch": "qmpd.api.structs.block_core",
    "BlockdevOptionsRawBranch": "qmpd.api.structs.block_core",
    "BlockdevOptionsThrottleBranch": "qmpd.api.structs.block_core",
    "BlockdevRef": "qmpd.api.structs.block_core",
    "BlockdevRefOrNull": "qmpd.api.structs.block_core",
    "QObjXBlockdevChangeArg": "qmpd.api.structs.block_core",
    "QObjXBlockdevSetIothreadArg": "qmpd.api.structs.block_core",
    "QObjBlockdevDelArg": "qmpd.api.structs.block_core",
    "QObjBlockdevReopenArg": "qmpd.api.structs.block_core",
    "QObjBlockSetWriteThresholdArg": "qmpd.api.structs.block_core",
    "QObjBlockdevSetActiveArg": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsFile": "qmpd.api.structs.block_core",
    "BlockdevQcow2Version": "qmpd.api.enums",
    "BlockdevCreateOptionsQcow2": "qmpd.api.structs.block_core",
    "QObjBlockdevCreateOptionsBase": "qmpd.api.structs.block_core",
    "BlockdevCreateOptions": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsBlkdebug": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsBlkverify": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsCompress": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsCopyBeforeWrite": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsCopyOnRead": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsFileBranch": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsSnapshotAccess": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsHostDevice": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsNbd": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsNullAio": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsNullCo": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsPreallocate": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsQcow2Branch": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsQuorum": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsRaw": "qmpd.api.structs.block_core",
    "BlockdevCreateOptionsThrottle": "qmpd.api.structs.block_core",
    "QObjBlockdevCreateArg": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsQcow2": "qmpd.api.structs.block_core",
    "QObjBlockdevAmendOptionsBase": "qmpd.api.structs.block_core",
    "BlockdevAmendOptions": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsBlkdebug": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsBlkverify": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsCompress": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsCopyBeforeWrite": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsCopyOnRead": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsFile": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsSnapshotAccess": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsHostDevice": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsNbd": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsNullAio": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsNullCo": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsPreallocate": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsQcow2Branch": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsQuorum": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsRaw": "qmpd.api.structs.block_core",
    "BlockdevAmendOptionsThrottle": "qmpd.api.structs.block_core",
    "QObjXBlockdevAmendArg": "qmpd.api.structs.block_core",
    "QObjChangeBackingFileArg": "qmpd.api.structs.block_core",
    "BlockdevSnapshotInternal": "qmpd.api.structs.block_core",
    "QObjBlockdevSnapshotDeleteInternalSyncArg": "qmpd.api.structs.block_core",
    "BlockdevSnapshotSync": "qmpd.api.structs.block_core",
    "BlockdevSnapshot": "qmpd.api.structs.block_core",
    "BlockErrorAction": "qmpd.api.enums",
    "QObjBlockImageCorruptedArg": "qmpd.api.structs.block_core",
    "QObjBlockIoErrorArg": "qmpd.api.structs.block_core",
    "QObjBlockJobCompletedArg": "qmpd.api.structs.block_core",
    "QObjBlockJobCancelledArg": "qmpd.api.structs.block_core",
    "QObjBlockJobErrorArg": "qmpd.api.structs.block_core",
    "QObjBlockJobReadyArg": "qmpd.api.structs.block_core",
    "QObjBlockJobPendingArg": "qmpd.api.structs.block_core",
    "QuorumOpType": "qmpd.api.enums",
    "QObjQuorumFailureArg": "qmpd.api.structs.block_core",
    "QObjQuorumReportBadArg": "qmpd.api.structs.block_core",
    "QObjBlockWriteThresholdArg": "qmpd.api.structs.block_core",
    "QObjEjectArg": "qmpd.api.structs.block",
    "QObjBlockdevOpenTrayArg": "qmpd.api.structs.block",
    "QObjBlockdevCloseTrayArg": "qmpd.api.structs.block",
    "QObjBlockdevRemoveMediumArg": "qmpd.api.structs.block",
    "QObjBlockdevInsertMediumArg": "qmpd.api.structs.block",
    "BlockdevChangeReadOnlyMode": "qmpd.api.enums",
    "QObjBlockdevChangeMediumArg": "qmpd.api.structs.block",
    "QObjDeviceTrayMovedArg": "qmpd.api.structs.block",
    "BlockIOThrottle": "qmpd.api.structs.block",
    "PRManagerInfo": "qmpd.api.structs.block",
    "NbdServerOptions": "qmpd.api.structs.block_export",
    "QObjNbdServerStartArg": "qmpd.api.structs.block_export",
    "BlockExportOptionsNbdBase": "qmpd.api.structs.block_export",
    "BlockExportOptionsNbd": "qmpd.api.structs.block_export",
    "NbdServerAddOptions": "qmpd.api.structs.block_export",
    "BlockExportRemoveMode": "qmpd.api.enums",
    "QObjNbdServerRemoveArg": "qmpd.api.structs.block_export",
    "BlockExportType": "qmpd.api.enums",
    "QObjBlockExportOptionsBase": "qmpd.api.structs.block_export",
    "BlockExportOptions": "qmpd.api.structs.block_export",
    "BlockExportOptionsNbdBranch": "qmpd.api.structs.block_export",
    "QObjBlockExportDelArg": "qmpd.api.structs.block_export",
    "QObjBlockExportDeletedArg": "qmpd.api.structs.block_export",
    "BlockExportInfo": "qmpd.api.structs.block_export",
    "DumpGuestMemoryFormat": "qmpd.api.enums",
    "DumpStatus": "qmpd.api.enums",
    "DumpQueryResult": "qmpd.api.structs.dump",
    "DumpGuestMemoryCapability": "qmpd.api.structs.dump",
    "RxState": "qmpd.api.enums",
    "RxFilterInfo": "qmpd.api.structs.net",
    "QObjQueryRxFilterArg": "qmpd.api.structs.net",
    "TpmModel": "qmpd.api.enums",
    "TpmType": "qmpd.api.enums",
    "TPMPassthroughOptions": "qmpd.api.structs.tpm",
    "TPMEmulatorOptions": "qmpd.api.structs.tpm",
    "TPMPassthroughOptionsWrapper": "qmpd.api.structs.tpm",
    "TPMEmulatorOptionsWrapper": "qmpd.api.structs.tpm",
    "QObjTpmTypeOptionsBase": "qmpd.api.structs.tpm",
    "TpmTypeOptions": "qmpd.api.structs.tpm",
    "TpmTypeOptionsPassthrough": "qmpd.api.structs.tpm",
    "TpmTypeOptionsEmulator": "qmpd.api.structs.tpm",
    "TPMInfo": "qmpd.api.structs.tpm",
    "VncBasicInfo": "qmpd.api.structs.ui",
    "VncClientInfo": "qmpd.api.structs.ui",
    "VncInfo": "qmpd.api.structs.ui",
    "VncPrimaryAuth": "qmpd.api.enums",
    "VncVencryptSubAuth": "qmpd.api.enums",
    "VncServerInfo2": "qmpd.api.structs.ui",
    "VncInfo2": "qmpd.api.structs.ui",
    "SpiceQueryMouseMode": "qmpd.api.enums",
    "SpiceBasicInfo": "qmpd.api.structs.ui",
    "SpiceChannel": "qmpd.api.structs.ui",
    "SpiceInfo": "qmpd.api.structs.ui",
    "MouseInfo": "qmpd.api.structs.ui",
    "MigrationStats": "qmpd.api.structs.migration",
    "XBZRLECacheStats": "qmpd.api.structs.migration",
    "CompressionStats": "qmpd.api.structs.migration",
    "MigrationStatus": "qmpd.api.enums",
    "VfioStats": "qmpd.api.structs.migration",
    "MigrationInfo": "qmpd.api.structs.migration",
    "MigrationCapability": "qmpd.api.enums",
    "MigrationCapabilityStatus": "qmpd.api.structs.migration",
    "SysEmuTarget": "qmpd.api.enums",
    "TargetInfo": "qmpd.api.structs.machine",
    "UuidInfo": "qmpd.api.structs.machine",
    "KvmInfo": "qmpd.api.structs.machine",
    "MachineInfo": "qmpd.api.structs.machine",
    "CurrentMachineParams": "qmpd.api.structs.machine",
    "CpuInstanceProperties": "qmpd.api.structs.machine",
    "CpuS390State": "qmpd.api.enums",
    "CpuInfoS390": "qmpd.api.structs.machine",
    "QObjCpuInfoFastBase": "qmpd.api.structs.machine",
    "CpuInfoFast": "qmpd.api.structs.machine",
    "CpuInfoFastAarch64": "qmpd.api.structs.machine",
    "CpuInfoFastAlpha": "qmpd.api.structs.machine",
    "CpuInfoFastArm": "qmpd.api.structs.machine",
    "CpuInfoFastAvr": "qmpd.api.structs.machine",
    "CpuInfoFastCris": "qmpd.api.structs.machine",
    "CpuInfoFastHppa": "qmpd.api.structs.machine",
    "CpuInfoFastI386": "qmpd.api.structs.machine",
    "CpuInfoFastLoongarch64": "qmpd.api.structs.machine",
    "CpuInfoFastM68k": "qmpd.api.structs.machine",
    "CpuInfoFastMicroblaze": "qmpd.api.structs.machine",
    "CpuInfoFastMicroblazeel": "qmpd.api.structs.machine",
    "CpuInfoFastMips": "qmpd.api.structs.machine",
    "CpuInfoFastMips64": "qmpd.api.structs.machine",
    "CpuInfoFastMips64el": "qmpd.api.structs.machine",
    "CpuInfoFastMipsel": "qmpd.api.structs.machine",
    "CpuInfoFastNios2": "qmpd.api.structs.machine",
    "CpuInfoFastOr1k": "qmpd.api.structs.machine",
    "CpuInfoFastPpc": "qmpd.api.structs.machine",
    "CpuInfoFastPpc64": "qmpd.api.structs.machine",
    "CpuInfoFastRiscv32": "qmpd.api.structs.machine",
    "CpuInfoFastRiscv64": "qmpd.api.structs.machine",
    "CpuInfoFastRx": "qmpd.api.structs.machine",
    "CpuInfoFastS390x": "qmpd.api.structs.machine",
    "CpuInfoFastSh4": "qmpd.api.structs.machine",
    "CpuInfoFastSh4eb": "qmpd.api.structs.machine",
    "CpuInfoFastSparc": "qmpd.api.structs.machine",
    "CpuInfoFastSparc64": "qmpd.api.structs.machine",
    "CpuInfoFastTricore": "qmpd.api.structs.machine",
    "CpuInfoFastX8664": "qmpd.api.structs.machine",
    "CpuInfoFastXtensa": "qmpd.api.structs.machine",
    "CpuInfoFastXtensaeb": "qmpd.api.structs.machine",
    "HotpluggableCPU": "qmpd.api.structs.machine",
    "BalloonInfo": "qmpd.api.structs.machine",
    "MemoryInfo": "qmpd.api.structs.machine",
    "PCDIMMDeviceInfo": "qmpd.api.structs.machine",
    "VirtioPMEMDeviceInfo": "qmpd.api.structs.machine",
    "VirtioMEMDeviceInfo": "qmpd.api.structs.machine",
    "SgxEPCDeviceInfo": "qmpd.api.structs.machine",
    "MemoryDeviceInfoKind": "qmpd.api.enums",
    "PCDIMMDeviceInfoWrapper": "qmpd.api.structs.machine",
    "VirtioPMEMDeviceInfoWrapper": "qmpd.api.structs.machine",
    "VirtioMEMDeviceInfoWrapper": "qmpd.api.structs.machine",
    "SgxEPCDeviceInfoWrapper": "qmpd.api.structs.machine",
    "QObjMemoryDeviceInfoBase": "qmpd.api.structs.machine",
    "MemoryDeviceInfo": "qmpd.api.structs.machine",
    "MemoryDeviceInfoDimm": "qmpd.api.structs.machine",
    "MemoryDeviceInfoNvdimm": "qmpd.api.structs.machine",
    "MemoryDeviceInfoVirtioPmem": "qmpd.api.structs.machine",
    "MemoryDeviceInfoVirtioMem": "qmpd.api.structs.machine",
    "MemoryDeviceInfoSgxEpc": "qmpd.api.structs.machine",
    "HostMemPolicy": "qmpd.api.enums",
    "Memdev": "qmpd.api.structs.machine",
    "CpuDefinitionInfo": "qmpd.api.structs.machine_target",
    "PciMemoryRange": "qmpd.api.structs.pci",
    "PciMemoryRegion": "qmpd.api.structs.pci",
    "PciBusInfo": "qmpd.api.structs.pci",
    "PciBridgeInfo": "qmpd.api.structs.pci",
    "PciDeviceClass": "qmpd.api.structs.pci",
    "PciDeviceId": "qmpd.api.structs.pci",
    "PciDeviceInfo": "qmpd.api.structs.pci",
    "PciInfo": "qmpd.api.structs.pci",
    "SevState": "qmpd.api.enums",
    "SevInfo": "qmpd.api.structs.misc_target",
    "ChardevInfo": "qmpd.api.structs.char",
    "ChardevBackendInfo": "qmpd.api.structs.char",
    "DataFormat": "qmpd.api.enums",
    "QObjRingbufWriteArg": "qmpd.api.structs.char",
    "QObjRingbufReadArg": "qmpd.api.structs.char",
    "ChardevCommon": "qmpd.api.structs.char",
    "ChardevFile": "qmpd.api.structs.char",
    "ChardevHostdev": "qmpd.api.structs.char",
    "ChardevSocket": "qmpd.api.structs.char",
    "ChardevUdp": "qmpd.api.structs.char",
    "ChardevMux": "qmpd.api.structs.char",
    "ChardevStdio": "qmpd.api.structs.char",
    "ChardevSpiceChannel": "qmpd.api.structs.char",
    "ChardevSpicePort": "qmpd.api.structs.char",
    "ChardevDBus": "qmpd.api.structs.char",
    "ChardevVC": "qmpd.api.structs.char",
    "ChardevRingbuf": "qmpd.api.structs.char",
    "ChardevQemuVDAgent": "qmpd.api.structs.char",
    "ChardevBackendKind": "qmpd.api.enums",
    "ChardevFileWrapper": "qmpd.api.structs.char",
    "ChardevHostdevWrapper": "qmpd.api.structs.char",
    "ChardevSocketWrapper": "qmpd.api.structs.char",
    "ChardevUdpWrapper": "qmpd.api.structs.char",
    "ChardevCommonWrapper": "qmpd.api.structs.char",
    "ChardevMuxWrapper": "qmpd.api.structs.char",
    "ChardevStdioWrapper": "qmpd.api.structs.char",
    "ChardevSpiceChannelWrapper": "qmpd.api.structs.char",
    "ChardevSpicePortWrapper": "qmpd.api.structs.char",
    "ChardevQemuVDAgentWrapper": "qmpd.api.structs.char",
    "ChardevDBusWrapper": "qmpd.api.structs.char",
    "ChardevVCWrapper": "qmpd.api.structs.char",
    "ChardevRingbufWrapper": "qmpd.api.structs.char",
    "QObjChardevBackendBase": "qmpd.api.structs.char",
    "ChardevBackend": "qmpd.api.structs.char",
    "ChardevBackendFile": "qmpd.api.structs.char",
    "ChardevBackendSerial": "qmpd.api.structs.char",
    "ChardevBackendParallel": "qmpd.api.structs.char",
    "ChardevBackendPipe": "qmpd.api.structs.char",
    "ChardevBackendSocket": "qmpd.api.structs.char",
    "ChardevBackendUdp": "qmpd.api.structs.char",
    "ChardevBackendPty": "qmpd.api.structs.char",
    "ChardevBackendNull": "qmpd.api.structs.char",
    "ChardevBackendMux": "qmpd.api.structs.char",
    "ChardevBackendMsmouse": "qmpd.api.structs.char",
    "ChardevBackendWctablet": "qmpd.api.structs.char",
    "ChardevBackendBraille": "qmpd.api.structs.char",
    "ChardevBackendTestdev": "qmpd.api.structs.char",
    "ChardevBackendStdio": "qmpd.api.structs.char",
    "ChardevBackendConsole": "qmpd.api.structs.char",
    "ChardevBackendSpicevmc": "qmpd.api.structs.char",
    "ChardevBackendSpiceport": "qmpd.api.structs.char",
    "ChardevBackendQemuVdagent": "qmpd.api.structs.char",
    "ChardevBackendDbus": "qmpd.api.structs.char",
    "ChardevBackendVc": "qmpd.api.structs.char",
    "ChardevBackendRingbuf": "qmpd.api.structs.char",
    "ChardevBackendMemory": "qmpd.api.structs.char",
    "ChardevReturn": "qmpd.api.structs.char",
    "QObjChardevAddArg": "qmpd.api.structs.char",
    "QObjChardevChangeArg": "qmpd.api.structs.char",
    "QObjChardevRemoveArg": "qmpd.api.structs.char",
    "QObjChardevSendBreakArg": "qmpd.api.structs.char",
    "QObjHumanMonitorCommandArg": "qmpd.api.structs.misc",
    "NameInfo": "qmpd.api.structs.misc",
    "IOThreadInfo": "qmpd.api.structs.misc",
    "FdsetFdInfo": "qmpd.api.structs.misc",
    "FdsetInfo": "qmpd.api.structs.misc",
    "CommandLineParameterType": "qmpd.api.enums",
    "CommandLineParameterInfo": "qmpd.api.structs.misc",
    "CommandLineOptionInfo": "qmpd.api.structs.misc",
    "QObjQueryCommandLineOptionsArg": "qmpd.api.structs.misc",
    "QMPCapability": "qmpd.api.enums",
    "QObjQmpCapabilitiesArg": "qmpd.api.structs.control",
    "VersionTriple": "qmpd.api.structs.control",
    "VersionInfo": "qmpd.api.structs.control",
    "CommandInfo": "qmpd.api.structs.control",
    "MonitorMode": "qmpd.api.enums",
    "MonitorOptions": "qmpd.api.structs.control",
    "SchemaMetaType": "qmpd.api.enums",
    "QObjSchemaInfoBase": "qmpd.api.structs.introspect",
    "SchemaInfo": "qmpd.api.structs.introspect",
    "SchemaInfoBuiltinBranch": "qmpd.api.structs.introspect",
    "SchemaInfoEnumBranch": "qmpd.api.structs.introspect",
    "SchemaInfoArrayBranch": "qmpd.api.structs.introspect",
    "SchemaInfoObjectBranch": "qmpd.api.structs.introspect",
    "SchemaInfoAlternateBranch": "qmpd.api.structs.introspect",
    "SchemaInfoCommandBranch": "qmpd.api.structs.introspect",
    "SchemaInfoEventBranch": "qmpd.api.structs.introspect",
    "SchemaInfoBuiltin": "qmpd.api.structs.introspect",
    "JSONType": "qmpd.api.enums",
    "SchemaInfoEnum": "qmpd.api.structs.introspect",
    "SchemaInfoEnumMember": "qmpd.api.structs.introspect",
    "SchemaInfoArray": "qmpd.api.structs.introspect",
    "SchemaInfoObject": "qmpd.api.structs.introspect",
    "SchemaInfoObjectMember": "qmpd.api.structs.introspect",
    "SchemaInfoObjectVariant": "qmpd.api.structs.introspect",
    "SchemaInfoAlternate": "qmpd.api.structs.introspect",
    "SchemaInfoAlternateMember": "qmpd.api.structs.introspect",
    "SchemaInfoCommand": "qmpd.api.structs.introspect",
    "SchemaInfoEvent": "qmpd.api.structs.introspect",
    "Abort": "qmpd.api.structs.transaction",
    "ActionCompletionMode": "qmpd.api.enums",
    "TransactionActionKind": "qmpd.api.enums",
    "AbortWrapper": "qmpd.api.structs.transaction",
    "BlockDirtyBitmapAddWrapper": "qmpd.api.structs.transaction",
    "BlockDirtyBitmapWrapper": "qmpd.api.structs.transaction",
    "BlockDirtyBitmapMergeWrapper": "qmpd.api.structs.transaction",
    "BlockdevBackupWrapper": "qmpd.api.structs.transaction",
    "DriveBackupWrapper": "qmpd.api.structs.transaction",
    "BlockdevSnapshotInternalWrapper": "qmpd.api.structs.transaction",
    "BlockdevSnapshotWrapper": "qmpd.api.structs.transaction",
    "BlockdevSnapshotSyncWrapper": "qmpd.api.structs.transaction",
    "QObjTransactionActionBase": "qmpd.api.structs.transaction",
    "TransactionAction": "qmpd.api.structs.transaction",
    "TransactionActionAbort": "qmpd.api.structs.transaction",
    "TransactionActionBlockDirtyBitmapAdd": "qmpd.api.structs.transaction",
    "TransactionActionBlockDirtyBitmapRemove": "qmpd.api.structs.transaction",
    "TransactionActionBlockDirtyBitmapClear": "qmpd.api.structs.transaction",
    "TransactionActionBlockDirtyBitmapEnable": "qmpd.api.structs.transaction",
    "TransactionActionBlockDirtyBitmapDisable": "qmpd.api.structs.transaction",
    "TransactionActionBlockDirtyBitmapMerge": "qmpd.api.structs.transaction",
    "TransactionActionBlockdevBackup": "qmpd.api.structs.transaction",
    "TransactionActionBlockdevSnapshot": "qmpd.api.structs.transaction",
    "TransactionActionBlockdevSnapshotInternalSync": "qmpd.api.structs.transaction",
    "TransactionActionBlockdevSnapshotSync": "qmpd.api.structs.transaction",
    "TransactionActionDriveBackup": "qmpd.api.structs.transaction",
    "TransactionProperties": "qmpd.api.structs.transaction",
    "QObjTransactionArg": "qmpd.api.structs.transaction",
    "QAuthZListPolicy": "qmpd.api.enums",
    "QAuthZListFormat": "qmpd.api.enums",
    "QAuthZListRule": "qmpd.api.structs.authz",
    "AuthZListProperties": "qmpd.api.structs.authz",
    "AuthZSimpleProperties": "qmpd.api.structs.authz",
    "QCryptoSecretFormat": "qmpd.api.enums",
    "QCryptoTLSCredsEndpoint": "qmpd.api.enums",
    "SecretCommonProperties": "qmpd.api.structs.crypto",
    "SecretProperties": "qmpd.api.structs.crypto",
    "TlsCredsProperties": "qmpd.api.structs.crypto",
    "TlsCredsAnonProperties": "qmpd.api.structs.crypto",
    "TlsCredsPskProperties": "qmpd.api.structs.crypto",
    "TlsCredsX509Properties": "qmpd.api.structs.crypto",
    "ObjectPropertyInfo": "qmpd.api.structs.qom",
    "QObjQomListArg": "qmpd.api.structs.qom",
    "QObjQomGetArg": "qmpd.api.structs.qom",
    "QObjQomSetArg": "qmpd.api.structs.qom",
    "ObjectTypeInfo": "qmpd.api.structs.qom",
    "QObjQomListTypesArg": "qmpd.api.structs.qom",
    "QObjQomListPropertiesArg": "qmpd.api.structs.qom",
    "EventLoopBaseProperties": "qmpd.api.structs.qom",
    "IothreadProperties": "qmpd.api.structs.qom",
    "ObjectType": "qmpd.api.enums",
    "QObjObjectOptionsBase": "qmpd.api.structs.qom",
    "ObjectOptions": "qmpd.api.structs.qom",
    "ObjectOptionsAuthzList": "qmpd.api.structs.qom",
    "ObjectOptionsAuthzSimple": "qmpd.api.structs.qom",
    "ObjectOptionsIothread": "qmpd.api.structs.qom",
    "ObjectOptionsSecret": "qmpd.api.structs.qom",
    "ObjectOptionsThrottleGroup": "qmpd.api.structs.qom",
    "ObjectOptionsTlsCredsAnon": "qmpd.api.structs.qom",
    "ObjectOptionsTlsCredsPsk": "qmpd.api.structs.qom",
    "ObjectOptionsTlsCredsX509": "qmpd.api.structs.qom",
    "QObjObjectDelArg": "qmpd.api.structs.qom",
    "QObjDeviceListPropertiesArg": "qmpd.api.structs.qdev",
    "QObjDeviceAddArg": "qmpd.api.structs.qdev",
    "QObjDeviceDelArg": "qmpd.api.structs.qdev",
    "QObjDeviceDeletedArg": "qmpd.api.structs.qdev",
    "CatalogOutcome": "qmpd.api.enums",
    "CatalogPage": "qmpd.api.structs.catalog",
    "CatalogPeriod": "qmpd.api.structs.catalog",
    "CatalogMetadata": "qmpd.api.structs.catalog",
    "CatalogJob": "qmpd.api.structs.catalog",
    "CatalogJobFilter": "qmpd.api.structs.catalog",
    "CatalogGroup": "qmpd.api.structs.catalog",
    "CatalogGroupFilter": "qmpd.api.structs.catalog",
    "CatalogBackup": "qmpd.api.structs.catalog",
    "CatalogBackupFilter": "qmpd.api.structs.catalog",
    "QObjCatalogQueryBackupChainArg": "qmpd.api.structs.catalog",
    "CatalogOrigin": "qmpd.api.enums",
    "CatalogVolume": "qmpd.api.structs.catalog",
    "CatalogVolumeFilter": "qmpd.api.structs.catalog",
    "CatalogEvent": "qmpd.api.structs.catalog",
    "CatalogEventFilter": "qmpd.api.structs.catalog",
    "CatalogService": "qmpd.api.structs.catalog",
    "QObjCatalogQueryServicesArg": "qmpd.api.structs.catalog",
    "CatalogResource": "qmpd.api.enums",
    "CatalogScope": "qmpd.api.enums",
    "CatalogQuota": "qmpd.api.structs.catalog",
    "QObjCatalogQueryQuotasArg": "qmpd.api.structs.catalog",
    "QObjCatalogSetQuotaArg": "qmpd.api.structs.catalog",
    "CatalogPruned": "qmpd.api.structs.catalog",
    "QObjCatalogPruneArg": "qmpd.api.structs.catalog",
    "StateItemKind": "qmpd.api.enums",
    "StateItem": "qmpd.api.structs.state",
    "QObjStateRestoreFailedArg": "qmpd.api.structs.state",
    "QObjForgetUnrestoredArg": "qmpd.api.structs.state",
    "EventTime": "qmpd.api.structs.state",
    "ReplayedEvent": "qmpd.api.structs.state",
    "EventReplay": "qmpd.api.structs.state",
    "QObjReplayEventsArg": "qmpd.api.structs.state",
}

__all__ = [
    "QapiErrorClass",
    "IoOperationType",
    "OnOffAuto",
    "String",
    "StrOrNull",
    "NetworkAddressFamily",
    "InetSocketAddressBase",
    "InetSocketAddress",
    "UnixSocketAddress",
    "VsockSocketAddress",
    "SocketAddressType",
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
    "RunState",
    "ShutdownCause",
    "StatusInfo",
    "QObjResetArg",
    "JobType",
    "JobStatus",
    "JobVerb",
    "QObjJobStatusChangeArg",
    "QObjJobPauseArg",
    "QObjJobResumeArg",
    "QObjJobCancelArg",
    "QObjJobCompleteArg",
    "QObjJobDismissArg",
    "QObjJobFinalizeArg",
    "JobInfo",
    "Qcow2BitmapInfoFlags",
    "Qcow2BitmapInfo",
    "Qcow2CompressionType",
    "ImageInfoSpecificQCow2",
    "ImageInfoSpecificKind",
    "ImageInfoSpecificQCow2Wrapper",
    "QObjImageInfoSpecificBase",
    "ImageInfoSpecific",
    "ImageInfoSpecificQcow2",
    "SnapshotInfo",
    "ImageInfo",
    "BlockdevCacheInfo",
    "BlockDeviceInfo",
    "BlockDeviceIoStatus",
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
    "XDbgBlockGraphNodeType",
    "XDbgBlockGraphNode",
    "BlockPermission",
    "XDbgBlockGraphEdge",
    "XDbgBlockGraph",
    "QObjBlockResizeArg",
    "BlockDirtyBitmap",
    "BlockDirtyBitmapAdd",
    "BlockDirtyBitmapOrStr",
    "BlockDirtyBitmapMerge",
    "BlockDirtyBitmapSha256",
    "BlockdevOnError",
    "MirrorSyncMode",
    "BitmapSyncMode",
    "NewImageMode",
    "BackupPerf",
    "BackupCommon",
    "DriveBackup",
    "BlockdevBackup",
    "MirrorCopyMode",
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
    "PreallocMode",
    "BlockdevDiscardOptions",
    "BlockdevDetectZeroesOptions",
    "BlockdevAioOptions",
    "BlockdevCacheOptions",
    "BlockdevDriver",
    "BlockdevOptionsFile",
    "BlockdevOptionsNull",
    "BlockdevOptionsGenericFormat",
    "BlockdevOptionsGenericCOWFormat",
    "Qcow2OverlapCheckMode",
    "Qcow2OverlapCheckFlags",
    "Qcow2OverlapChecks",
    "BlockdevOptionsQcow2",
    "BlockdevOptionsRaw",
    "OnCbwError",
    "BlockdevOptionsCbw",
    "BlkdebugEvent",
    "BlkdebugIOType",
    "BlkdebugInjectErrorOptions",
    "BlkdebugSetStateOptions",
    "BlockdevOptionsBlkdebug",
    "BlockdevOptionsPreallocate",
    "ThrottleLimits",
    "ThrottleGroupProperties",
    "BlockdevOptionsThrottle",
    "BlockdevOptionsCor",
    "QuorumReadPattern",
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
    "BlockdevQcow2Version",
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
    "BlockErrorAction",
    "QObjBlockImageCorruptedArg",
    "QObjBlockIoErrorArg",
    "QObjBlockJobCompletedArg",
    "QObjBlockJobCancelledArg",
    "QObjBlockJobErrorArg",
    "QObjBlockJobReadyArg",
    "QObjBlockJobPendingArg",
    "QuorumOpType",
    "QObjQuorumFailureArg",
    "QObjQuorumReportBadArg",
    "QObjBlockWriteThresholdArg",
    "QObjEjectArg",
    "QObjBlockdevOpenTrayArg",
    "QObjBlockdevCloseTrayArg",
    "QObjBlockdevRemoveMediumArg",
    "QObjBlockdevInsertMediumArg",
    "BlockdevChangeReadOnlyMode",
    "QObjBlockdevChangeMediumArg",
    "QObjDeviceTrayMovedArg",
    "BlockIOThrottle",
    "PRManagerInfo",
    "NbdServerOptions",
    "QObjNbdServerStartArg",
    "BlockExportOptionsNbdBase",
    "BlockExportOptionsNbd",
    "NbdServerAddOptions",
    "BlockExportRemoveMode",
    "QObjNbdServerRemoveArg",
    "BlockExportType",
    "QObjBlockExportOptionsBase",
    "BlockExportOptions",
    "BlockExportOptionsNbdBranch",
    "QObjBlockExportDelArg",
    "QObjBlockExportDeletedArg",
    "BlockExportInfo",
    "DumpGuestMemoryFormat",
    "DumpStatus",
    "DumpQueryResult",
    "DumpGuestMemoryCapability",
    "RxState",
    "RxFilterInfo",
    "QObjQueryRxFilterArg",
    "TpmModel",
    "TpmType",
    "TPMPassthroughOptions",
    "TPMEmulatorOptions",
    "TPMPassthroughOptionsWrapper",
    "TPMEmulatorOptionsWrapper",
    "QObjTpmTypeOptionsBase",
    "TpmTypeOptions",
    "TpmTypeOptionsPassthrough",
    "TpmTypeOptionsEmulator",
    "TPMInfo",
    "VncBasicInfo",
    "VncClientInfo",
    "VncInfo",
    "VncPrimaryAuth",
    "VncVencryptSubAuth",
    "VncServerInfo2",
    "VncInfo2",
    "SpiceQueryMouseMode",
    "SpiceBasicInfo",
    "SpiceChannel",
    "SpiceInfo",
    "MouseInfo",
    "MigrationStats",
    "XBZRLECacheStats",
    "CompressionStats",
    "MigrationStatus",
    "VfioStats",
    "MigrationInfo",
    "MigrationCapability",
    "MigrationCapabilityStatus",
    "SysEmuTarget",
    "TargetInfo",
    "UuidInfo",
    "KvmInfo",
    "MachineInfo",
    "CurrentMachineParams",
    "CpuInstanceProperties",
    "CpuS390State",
    "CpuInfoS390",
    "QObjCpuInfoFastBase",
    "CpuInfoFast",
    "CpuInfoFastAarch64",
    "CpuInfoFastAlpha",
    "CpuInfoFastArm",
    "CpuInfoFastAvr",
    "CpuInfoFastCris",
    "CpuInfoFastHppa",
    "CpuInfoFastI386",
    "CpuInfoFastLoongarch64",
    "CpuInfoFastM68k",
    "CpuInfoFastMicroblaze",
    "CpuInfoFastMicroblazeel",
    "CpuInfoFastMips",
    "CpuInfoFastMips64",
    "CpuInfoFastMips64el",
    "CpuInfoFastMipsel",
    "CpuInfoFastNios2",
    "CpuInfoFastOr1k",
    "CpuInfoFastPpc",
    "CpuInfoFastPpc64",
    "CpuInfoFastRiscv32",
    "CpuInfoFastRiscv64",
    "CpuInfoFastRx",
    "CpuInfoFastS390x",
    "CpuInfoFastSh4",
    "CpuInfoFastSh4eb",
    "CpuInfoFastSparc",
    "CpuInfoFastSparc64",
    "CpuInfoFastTricore",
    "CpuInfoFastX8664",
    "CpuInfoFastXtensa",
    "CpuInfoFastXtensaeb",
    "HotpluggableCPU",
    "BalloonInfo",
    "MemoryInfo",
    "PCDIMMDeviceInfo",
    "VirtioPMEMDeviceInfo",
    "VirtioMEMDeviceInfo",
    "SgxEPCDeviceInfo",
    "MemoryDeviceInfoKind",
    "PCDIMMDeviceInfoWrapper",
    "VirtioPMEMDeviceInfoWrapper",
    "VirtioMEMDeviceInfoWrapper",
    "SgxEPCDeviceInfoWrapper",
    "QObjMemoryDeviceInfoBase",
    "MemoryDeviceInfo",
    "MemoryDeviceInfoDimm",
    "MemoryDeviceInfoNvdimm",
    "MemoryDeviceInfoVirtioPmem",
    "MemoryDeviceInfoVirtioMem",
    "MemoryDeviceInfoSgxEpc",
    "HostMemPolicy",
    "Memdev",
    "CpuDefinitionInfo",
    "PciMemoryRange",
    "PciMemoryRegion",
    "PciBusInfo",
    "PciBridgeInfo",
    "PciDeviceClass",
    "PciDeviceId",
    "PciDeviceInfo",
    "PciInfo",
    "SevState",
    "SevInfo",
    "ChardevInfo",
    "ChardevBackendInfo",
    "DataFormat",
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
    "ChardevBackendKind",
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
    "QObjHumanMonitorCommandArg",
    "NameInfo",
    "IOThreadInfo",
    "FdsetFdInfo",
    "FdsetInfo",
    "CommandLineParameterType",
    "CommandLineParameterInfo",
    "CommandLineOptionInfo",
    "QObjQueryCommandLineOptionsArg",
    "QMPCapability",
    "QObjQmpCapabilitiesArg",
    "VersionTriple",
    "VersionInfo",
    "CommandInfo",
    "MonitorMode",
    "MonitorOptions",
    "SchemaMetaType",
    "QObjSchemaInfoBase",
    "SchemaInfo",
    "SchemaInfoBuiltinBranch",
    "SchemaInfoEnumBranch",
    "SchemaInfoArrayBranch",
    "SchemaInfoObjectBranch",
    "SchemaInfoAlternateBranch",
    "SchemaInfoCommandBranch",
    "SchemaInfoEventBranch",
    "SchemaInfoBuiltin",
    "JSONType",
    "SchemaInfoEnum",
    "SchemaInfoEnumMember",
    "SchemaInfoArray",
    "SchemaInfoObject",
    "SchemaInfoObjectMember",
    "SchemaInfoObjectVariant",
    "SchemaInfoAlternate",
    "SchemaInfoAlternateMember",
    "SchemaInfoCommand",
    "SchemaInfoEvent",
    "Abort",
    "ActionCompletionMode",
    "TransactionActionKind",
    "AbortWrapper",
    "BlockDirtyBitmapAddWrapper",
    "BlockDirtyBitmapWrapper",
    "BlockDirtyBitmapMergeWrapper",
    "BlockdevBackupWrapper",
    "DriveBackupWrapper",
    "BlockdevSnapshotInternalWrapper",
    "BlockdevSnapshotWrapper",
    "BlockdevSnapshotSyncWrapper",
    "QObjTransactionActionBase",
    "TransactionAction",
    "TransactionActionAbort",
    "TransactionActionBlockDirtyBitmapAdd",
    "TransactionActionBlockDirtyBitmapRemove",
    "TransactionActionBlockDirtyBitmapClear",
    "TransactionActionBlockDirtyBitmapEnable",
    "TransactionActionBlockDirtyBitmapDisable",
    "TransactionActionBlockDirtyBitmapMerge",
    "TransactionActionBlockdevBackup",
    "TransactionActionBlockdevSnapshot",
    "TransactionActionBlockdevSnapshotInternalSync",
    "TransactionActionBlockdevSnapshotSync",
    "TransactionActionDriveBackup",
    "TransactionProperties",
    "QObjTransactionArg",
    "QAuthZListPolicy",
    "QAuthZListFormat",
    "QAuthZListRule",
    "AuthZListProperties",
    "AuthZSimpleProperties",
    "QCryptoSecretFormat",
    "QCryptoTLSCredsEndpoint",
    "SecretCommonProperties",
    "SecretProperties",
    "TlsCredsProperties",
    "TlsCredsAnonProperties",
    "TlsCredsPskProperties",
    "TlsCredsX509Properties",
    "ObjectPropertyInfo",
    "QObjQomListArg",
    "QObjQomGetArg",
    "QObjQomSetArg",
    "ObjectTypeInfo",
    "QObjQomListTypesArg",
    "QObjQomListPropertiesArg",
    "EventLoopBaseProperties",
    "IothreadProperties",
    "ObjectType",
    "QObjObjectOptionsBase",
    "ObjectOptions",
    "ObjectOptionsAuthzList",
    "ObjectOptionsAuthzSimple",
    "ObjectOptionsIothread",
    "ObjectOptionsSecret",
    "ObjectOptionsThrottleGroup",
    "ObjectOptionsTlsCredsAnon",
    "ObjectOptionsTlsCredsPsk",
    "ObjectOptionsTlsCredsX509",
    "QObjObjectDelArg",
    "QObjDeviceListPropertiesArg",
    "QObjDeviceAddArg",
    "QObjDeviceDelArg",
    "QObjDeviceDeletedArg",
    "CatalogOutcome",
    "CatalogPage",
    "CatalogPeriod",
    "CatalogMetadata",
    "CatalogJob",
    "CatalogJobFilter",
    "CatalogGroup",
    "CatalogGroupFilter",
    "CatalogBackup",
    "CatalogBackupFilter",
    "QObjCatalogQueryBackupChainArg",
    "CatalogOrigin",
    "CatalogVolume",
    "CatalogVolumeFilter",
    "CatalogEvent",
    "CatalogEventFilter",
    "CatalogService",
    "QObjCatalogQueryServicesArg",
    "CatalogResource",
    "CatalogScope",
    "CatalogQuota",
    "QObjCatalogQueryQuotasArg",
    "QObjCatalogSetQuotaArg",
    "CatalogPruned",
    "QObjCatalogPruneArg",
    "StateItemKind",
    "StateItem",
    "QObjStateRestoreFailedArg",
    "QObjForgetUnrestoredArg",
    "EventTime",
    "ReplayedEvent",
    "EventReplay",
    "QObjReplayEventsArg",
]


def __getattr__(name: str) -> object:
    """Fetch `name` from the module that defines it, once."""
    if name not in _HOMES:
        raise AttributeError(f"the schema has no type '{name}'")
    found: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found
