"""Every type of the schema under its own name.

Imports a type when it is first asked for: an enum does not bring in pydantic.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.api.enums import QapiErrorClass as QapiErrorClass
    from qmpd.api.enums import IoOperationType as IoOperationType
    from qmpd.api.enums import OnOffAuto as OnOffAuto
    from qmpd.api.enums import NetworkAddressFamily as NetworkAddressFamily
    from qmpd.api.enums import SocketAddressType as SocketAddressType
    from qmpd.api.enums import RunState as RunState
    from qmpd.api.enums import JobType as JobType
    from qmpd.api.enums import JobStatus as JobStatus
    from qmpd.api.enums import JobVerb as JobVerb
    from qmpd.api.enums import Qcow2BitmapInfoFlags as Qcow2BitmapInfoFlags
    from qmpd.api.enums import Qcow2CompressionType as Qcow2CompressionType
    from qmpd.api.enums import ImageInfoSpecificKind as ImageInfoSpecificKind
    from qmpd.api.enums import BlockDeviceIoStatus as BlockDeviceIoStatus
    from qmpd.api.enums import XDbgBlockGraphNodeType as XDbgBlockGraphNodeType
    from qmpd.api.enums import BlockPermission as BlockPermission
    from qmpd.api.enums import BlockdevOnError as BlockdevOnError
    from qmpd.api.enums import MirrorSyncMode as MirrorSyncMode
    from qmpd.api.enums import BitmapSyncMode as BitmapSyncMode
    from qmpd.api.enums import NewImageMode as NewImageMode
    from qmpd.api.enums import PreallocMode as PreallocMode
    from qmpd.api.enums import BlockdevDiscardOptions as BlockdevDiscardOptions
    from qmpd.api.enums import BlockdevDetectZeroesOptions as BlockdevDetectZeroesOptions
    from qmpd.api.enums import BlockdevAioOptions as BlockdevAioOptions
    from qmpd.api.enums import BlockdevDriver as BlockdevDriver
    from qmpd.api.enums import Qcow2OverlapCheckMode as Qcow2OverlapCheckMode
    from qmpd.api.enums import OnCbwError as OnCbwError
    from qmpd.api.enums import BlockdevQcow2Version as BlockdevQcow2Version
    from qmpd.api.enums import BlockErrorAction as BlockErrorAction
    from qmpd.api.enums import BlockExportRemoveMode as BlockExportRemoveMode
    from qmpd.api.enums import BlockExportType as BlockExportType
    from qmpd.api.enums import QMPCapability as QMPCapability
    from qmpd.api.enums import MonitorMode as MonitorMode
    from qmpd.api.enums import SchemaMetaType as SchemaMetaType
    from qmpd.api.enums import JSONType as JSONType
    from qmpd.api.enums import ActionCompletionMode as ActionCompletionMode
    from qmpd.api.enums import TransactionActionKind as TransactionActionKind
    from qmpd.api.structs import String as String
    from qmpd.api.structs import InetSocketAddressBase as InetSocketAddressBase
    from qmpd.api.structs import InetSocketAddress as InetSocketAddress
    from qmpd.api.structs import UnixSocketAddress as UnixSocketAddress
    from qmpd.api.structs import VsockSocketAddress as VsockSocketAddress
    from qmpd.api.structs import QObjSocketAddressBase as QObjSocketAddressBase
    from qmpd.api.structs import SocketAddress as SocketAddress
    from qmpd.api.structs import SocketAddressInet as SocketAddressInet
    from qmpd.api.structs import SocketAddressUnix as SocketAddressUnix
    from qmpd.api.structs import SocketAddressVsock as SocketAddressVsock
    from qmpd.api.structs import SocketAddressFd as SocketAddressFd
    from qmpd.api.structs import InetSocketAddressWrapper as InetSocketAddressWrapper
    from qmpd.api.structs import UnixSocketAddressWrapper as UnixSocketAddressWrapper
    from qmpd.api.structs import VsockSocketAddressWrapper as VsockSocketAddressWrapper
    from qmpd.api.structs import StringWrapper as StringWrapper
    from qmpd.api.structs import QObjSocketAddressLegacyBase as QObjSocketAddressLegacyBase
    from qmpd.api.structs import SocketAddressLegacy as SocketAddressLegacy
    from qmpd.api.structs import SocketAddressLegacyInet as SocketAddressLegacyInet
    from qmpd.api.structs import SocketAddressLegacyUnix as SocketAddressLegacyUnix
    from qmpd.api.structs import SocketAddressLegacyVsock as SocketAddressLegacyVsock
    from qmpd.api.structs import SocketAddressLegacyFd as SocketAddressLegacyFd
    from qmpd.api.structs import StatusInfo as StatusInfo
    from qmpd.api.structs import QObjJobStatusChangeArg as QObjJobStatusChangeArg
    from qmpd.api.structs import QObjJobPauseArg as QObjJobPauseArg
    from qmpd.api.structs import QObjJobResumeArg as QObjJobResumeArg
    from qmpd.api.structs import QObjJobCancelArg as QObjJobCancelArg
    from qmpd.api.structs import QObjJobCompleteArg as QObjJobCompleteArg
    from qmpd.api.structs import QObjJobDismissArg as QObjJobDismissArg
    from qmpd.api.structs import QObjJobFinalizeArg as QObjJobFinalizeArg
    from qmpd.api.structs import JobInfo as JobInfo
    from qmpd.api.structs import Qcow2BitmapInfo as Qcow2BitmapInfo
    from qmpd.api.structs import ImageInfoSpecificQCow2 as ImageInfoSpecificQCow2
    from qmpd.api.structs import ImageInfoSpecificQCow2Wrapper as ImageInfoSpecificQCow2Wrapper
    from qmpd.api.structs import QObjImageInfoSpecificBase as QObjImageInfoSpecificBase
    from qmpd.api.structs import ImageInfoSpecific as ImageInfoSpecific
    from qmpd.api.structs import ImageInfoSpecificQcow2 as ImageInfoSpecificQcow2
    from qmpd.api.structs import SnapshotInfo as SnapshotInfo
    from qmpd.api.structs import ImageInfo as ImageInfo
    from qmpd.api.structs import BlockdevCacheInfo as BlockdevCacheInfo
    from qmpd.api.structs import BlockDeviceInfo as BlockDeviceInfo
    from qmpd.api.structs import BlockDirtyInfo as BlockDirtyInfo
    from qmpd.api.structs import BlockInfo as BlockInfo
    from qmpd.api.structs import BlockDeviceTimedStats as BlockDeviceTimedStats
    from qmpd.api.structs import BlockLatencyHistogramInfo as BlockLatencyHistogramInfo
    from qmpd.api.structs import BlockDeviceStats as BlockDeviceStats
    from qmpd.api.structs import BlockStatsSpecificFile as BlockStatsSpecificFile
    from qmpd.api.structs import QObjBlockStatsSpecificBase as QObjBlockStatsSpecificBase
    from qmpd.api.structs import BlockStatsSpecific as BlockStatsSpecific
    from qmpd.api.structs import BlockStatsSpecificCopyBeforeWrite as BlockStatsSpecificCopyBeforeWrite
    from qmpd.api.structs import BlockStatsSpecificFileBranch as BlockStatsSpecificFileBranch
    from qmpd.api.structs import BlockStatsSpecificHostDevice as BlockStatsSpecificHostDevice
    from qmpd.api.structs import BlockStatsSpecificNullAio as BlockStatsSpecificNullAio
    from qmpd.api.structs import BlockStatsSpecificNullCo as BlockStatsSpecificNullCo
    from qmpd.api.structs import BlockStatsSpecificQcow2 as BlockStatsSpecificQcow2
    from qmpd.api.structs import BlockStatsSpecificRaw as BlockStatsSpecificRaw
    from qmpd.api.structs import BlockStats as BlockStats
    from qmpd.api.structs import QObjQueryBlockstatsArg as QObjQueryBlockstatsArg
    from qmpd.api.structs import QObjQueryNamedBlockNodesArg as QObjQueryNamedBlockNodesArg
    from qmpd.api.structs import XDbgBlockGraphNode as XDbgBlockGraphNode
    from qmpd.api.structs import XDbgBlockGraphEdge as XDbgBlockGraphEdge
    from qmpd.api.structs import XDbgBlockGraph as XDbgBlockGraph
    from qmpd.api.structs import QObjBlockResizeArg as QObjBlockResizeArg
    from qmpd.api.structs import BlockDirtyBitmap as BlockDirtyBitmap
    from qmpd.api.structs import BlockDirtyBitmapAdd as BlockDirtyBitmapAdd
    from qmpd.api.structs import BlockDirtyBitmapOrStr as BlockDirtyBitmapOrStr
    from qmpd.api.structs import BlockDirtyBitmapMerge as BlockDirtyBitmapMerge
    from qmpd.api.structs import BlockDirtyBitmapSha256 as BlockDirtyBitmapSha256
    from qmpd.api.structs import BackupPerf as BackupPerf
    from qmpd.api.structs import BackupCommon as BackupCommon
    from qmpd.api.structs import DriveBackup as DriveBackup
    from qmpd.api.structs import BlockdevBackup as BlockdevBackup
    from qmpd.api.structs import BlockJobInfo as BlockJobInfo
    from qmpd.api.structs import QObjBlockJobSetSpeedArg as QObjBlockJobSetSpeedArg
    from qmpd.api.structs import QObjBlockJobCancelArg as QObjBlockJobCancelArg
    from qmpd.api.structs import QObjBlockJobPauseArg as QObjBlockJobPauseArg
    from qmpd.api.structs import QObjBlockJobResumeArg as QObjBlockJobResumeArg
    from qmpd.api.structs import QObjBlockJobCompleteArg as QObjBlockJobCompleteArg
    from qmpd.api.structs import QObjBlockJobDismissArg as QObjBlockJobDismissArg
    from qmpd.api.structs import QObjBlockJobFinalizeArg as QObjBlockJobFinalizeArg
    from qmpd.api.structs import BlockdevCacheOptions as BlockdevCacheOptions
    from qmpd.api.structs import BlockdevOptionsFile as BlockdevOptionsFile
    from qmpd.api.structs import BlockdevOptionsNull as BlockdevOptionsNull
    from qmpd.api.structs import BlockdevOptionsGenericFormat as BlockdevOptionsGenericFormat
    from qmpd.api.structs import BlockdevOptionsGenericCOWFormat as BlockdevOptionsGenericCOWFormat
    from qmpd.api.structs import Qcow2OverlapCheckFlags as Qcow2OverlapCheckFlags
    from qmpd.api.structs import Qcow2OverlapChecks as Qcow2OverlapChecks
    from qmpd.api.structs import BlockdevOptionsQcow2 as BlockdevOptionsQcow2
    from qmpd.api.structs import BlockdevOptionsRaw as BlockdevOptionsRaw
    from qmpd.api.structs import BlockdevOptionsCbw as BlockdevOptionsCbw
    from qmpd.api.structs import QObjBlockdevOptionsBase as QObjBlockdevOptionsBase
    from qmpd.api.structs import BlockdevOptions as BlockdevOptions
    from qmpd.api.structs import BlockdevOptionsCopyBeforeWrite as BlockdevOptionsCopyBeforeWrite
    from qmpd.api.structs import BlockdevOptionsFileBranch as BlockdevOptionsFileBranch
    from qmpd.api.structs import BlockdevOptionsHostDevice as BlockdevOptionsHostDevice
    from qmpd.api.structs import BlockdevOptionsNullAio as BlockdevOptionsNullAio
    from qmpd.api.structs import BlockdevOptionsNullCo as BlockdevOptionsNullCo
    from qmpd.api.structs import BlockdevOptionsQcow2Branch as BlockdevOptionsQcow2Branch
    from qmpd.api.structs import BlockdevOptionsRawBranch as BlockdevOptionsRawBranch
    from qmpd.api.structs import BlockdevRef as BlockdevRef
    from qmpd.api.structs import BlockdevRefOrNull as BlockdevRefOrNull
    from qmpd.api.structs import QObjBlockdevDelArg as QObjBlockdevDelArg
    from qmpd.api.structs import BlockdevCreateOptionsFile as BlockdevCreateOptionsFile
    from qmpd.api.structs import BlockdevCreateOptionsQcow2 as BlockdevCreateOptionsQcow2
    from qmpd.api.structs import QObjBlockdevCreateOptionsBase as QObjBlockdevCreateOptionsBase
    from qmpd.api.structs import BlockdevCreateOptions as BlockdevCreateOptions
    from qmpd.api.structs import BlockdevCreateOptionsCopyBeforeWrite as BlockdevCreateOptionsCopyBeforeWrite
    from qmpd.api.structs import BlockdevCreateOptionsFileBranch as BlockdevCreateOptionsFileBranch
    from qmpd.api.structs import BlockdevCreateOptionsHostDevice as BlockdevCreateOptionsHostDevice
    from qmpd.api.structs import BlockdevCreateOptionsNullAio as BlockdevCreateOptionsNullAio
    from qmpd.api.structs import BlockdevCreateOptionsNullCo as BlockdevCreateOptionsNullCo
    from qmpd.api.structs import BlockdevCreateOptionsQcow2Branch as BlockdevCreateOptionsQcow2Branch
    from qmpd.api.structs import BlockdevCreateOptionsRaw as BlockdevCreateOptionsRaw
    from qmpd.api.structs import QObjBlockdevCreateArg as QObjBlockdevCreateArg
    from qmpd.api.structs import BlockdevAmendOptionsQcow2 as BlockdevAmendOptionsQcow2
    from qmpd.api.structs import QObjBlockdevAmendOptionsBase as QObjBlockdevAmendOptionsBase
    from qmpd.api.structs import BlockdevAmendOptions as BlockdevAmendOptions
    from qmpd.api.structs import BlockdevAmendOptionsCopyBeforeWrite as BlockdevAmendOptionsCopyBeforeWrite
    from qmpd.api.structs import BlockdevAmendOptionsFile as BlockdevAmendOptionsFile
    from qmpd.api.structs import BlockdevAmendOptionsHostDevice as BlockdevAmendOptionsHostDevice
    from qmpd.api.structs import BlockdevAmendOptionsNullAio as BlockdevAmendOptionsNullAio
    from qmpd.api.structs import BlockdevAmendOptionsNullCo as BlockdevAmendOptionsNullCo
    from qmpd.api.structs import BlockdevAmendOptionsQcow2Branch as BlockdevAmendOptionsQcow2Branch
    from qmpd.api.structs import BlockdevAmendOptionsRaw as BlockdevAmendOptionsRaw
    from qmpd.api.structs import QObjXBlockdevAmendArg as QObjXBlockdevAmendArg
    from qmpd.api.structs import QObjChangeBackingFileArg as QObjChangeBackingFileArg
    from qmpd.api.structs import QObjBlockImageCorruptedArg as QObjBlockImageCorruptedArg
    from qmpd.api.structs import QObjBlockIoErrorArg as QObjBlockIoErrorArg
    from qmpd.api.structs import QObjBlockJobCompletedArg as QObjBlockJobCompletedArg
    from qmpd.api.structs import QObjBlockJobCancelledArg as QObjBlockJobCancelledArg
    from qmpd.api.structs import QObjBlockJobErrorArg as QObjBlockJobErrorArg
    from qmpd.api.structs import QObjBlockJobReadyArg as QObjBlockJobReadyArg
    from qmpd.api.structs import QObjBlockJobPendingArg as QObjBlockJobPendingArg
    from qmpd.api.structs import QObjBlockWriteThresholdArg as QObjBlockWriteThresholdArg
    from qmpd.api.structs import NbdServerOptions as NbdServerOptions
    from qmpd.api.structs import QObjNbdServerStartArg as QObjNbdServerStartArg
    from qmpd.api.structs import BlockExportOptionsNbdBase as BlockExportOptionsNbdBase
    from qmpd.api.structs import BlockExportOptionsNbd as BlockExportOptionsNbd
    from qmpd.api.structs import NbdServerAddOptions as NbdServerAddOptions
    from qmpd.api.structs import QObjNbdServerRemoveArg as QObjNbdServerRemoveArg
    from qmpd.api.structs import QObjBlockExportOptionsBase as QObjBlockExportOptionsBase
    from qmpd.api.structs import BlockExportOptions as BlockExportOptions
    from qmpd.api.structs import BlockExportOptionsNbdBranch as BlockExportOptionsNbdBranch
    from qmpd.api.structs import QObjBlockExportDelArg as QObjBlockExportDelArg
    from qmpd.api.structs import QObjBlockExportDeletedArg as QObjBlockExportDeletedArg
    from qmpd.api.structs import BlockExportInfo as BlockExportInfo
    from qmpd.api.structs import NameInfo as NameInfo
    from qmpd.api.structs import QObjQmpCapabilitiesArg as QObjQmpCapabilitiesArg
    from qmpd.api.structs import VersionTriple as VersionTriple
    from qmpd.api.structs import VersionInfo as VersionInfo
    from qmpd.api.structs import CommandInfo as CommandInfo
    from qmpd.api.structs import MonitorOptions as MonitorOptions
    from qmpd.api.structs import QObjSchemaInfoBase as QObjSchemaInfoBase
    from qmpd.api.structs import SchemaInfo as SchemaInfo
    from qmpd.api.structs import SchemaInfoBuiltinBranch as SchemaInfoBuiltinBranch
    from qmpd.api.structs import SchemaInfoEnumBranch as SchemaInfoEnumBranch
    from qmpd.api.structs import SchemaInfoArrayBranch as SchemaInfoArrayBranch
    from qmpd.api.structs import SchemaInfoObjectBranch as SchemaInfoObjectBranch
    from qmpd.api.structs import SchemaInfoAlternateBranch as SchemaInfoAlternateBranch
    from qmpd.api.structs import SchemaInfoCommandBranch as SchemaInfoCommandBranch
    from qmpd.api.structs import SchemaInfoEventBranch as SchemaInfoEventBranch
    from qmpd.api.structs import SchemaInfoBuiltin as SchemaInfoBuiltin
    from qmpd.api.structs import SchemaInfoEnum as SchemaInfoEnum
    from qmpd.api.structs import SchemaInfoEnumMember as SchemaInfoEnumMember
    from qmpd.api.structs import SchemaInfoArray as SchemaInfoArray
    from qmpd.api.structs import SchemaInfoObject as SchemaInfoObject
    from qmpd.api.structs import SchemaInfoObjectMember as SchemaInfoObjectMember
    from qmpd.api.structs import SchemaInfoObjectVariant as SchemaInfoObjectVariant
    from qmpd.api.structs import SchemaInfoAlternate as SchemaInfoAlternate
    from qmpd.api.structs import SchemaInfoAlternateMember as SchemaInfoAlternateMember
    from qmpd.api.structs import SchemaInfoCommand as SchemaInfoCommand
    from qmpd.api.structs import SchemaInfoEvent as SchemaInfoEvent
    from qmpd.api.structs import Abort as Abort
    from qmpd.api.structs import AbortWrapper as AbortWrapper
    from qmpd.api.structs import BlockDirtyBitmapAddWrapper as BlockDirtyBitmapAddWrapper
    from qmpd.api.structs import BlockDirtyBitmapWrapper as BlockDirtyBitmapWrapper
    from qmpd.api.structs import BlockDirtyBitmapMergeWrapper as BlockDirtyBitmapMergeWrapper
    from qmpd.api.structs import BlockdevBackupWrapper as BlockdevBackupWrapper
    from qmpd.api.structs import DriveBackupWrapper as DriveBackupWrapper
    from qmpd.api.structs import QObjTransactionActionBase as QObjTransactionActionBase
    from qmpd.api.structs import TransactionAction as TransactionAction
    from qmpd.api.structs import TransactionActionAbort as TransactionActionAbort
    from qmpd.api.structs import TransactionActionBlockDirtyBitmapAdd as TransactionActionBlockDirtyBitmapAdd
    from qmpd.api.structs import TransactionActionBlockDirtyBitmapRemove as TransactionActionBlockDirtyBitmapRemove
    from qmpd.api.structs import TransactionActionBlockDirtyBitmapClear as TransactionActionBlockDirtyBitmapClear
    from qmpd.api.structs import TransactionActionBlockDirtyBitmapEnable as TransactionActionBlockDirtyBitmapEnable
    from qmpd.api.structs import TransactionActionBlockDirtyBitmapDisable as TransactionActionBlockDirtyBitmapDisable
    from qmpd.api.structs import TransactionActionBlockDirtyBitmapMerge as TransactionActionBlockDirtyBitmapMerge
    from qmpd.api.structs import TransactionActionBlockdevBackup as TransactionActionBlockdevBackup
    from qmpd.api.structs import TransactionActionDriveBackup as TransactionActionDriveBackup
    from qmpd.api.structs import TransactionProperties as TransactionProperties
    from qmpd.api.structs import QObjTransactionArg as QObjTransactionArg

_ENUMS = frozenset([
    "ActionCompletionMode",
    "BitmapSyncMode",
    "BlockDeviceIoStatus",
    "BlockErrorAction",
    "BlockExportRemoveMode",
    "BlockExportType",
    "BlockPermission",
    "BlockdevAioOptions",
    "BlockdevDetectZeroesOptions",
    "BlockdevDiscardOptions",
    "BlockdevDriver",
    "BlockdevOnError",
    "BlockdevQcow2Version",
    "ImageInfoSpecificKind",
    "IoOperationType",
    "JSONType",
    "JobStatus",
    "JobType",
    "JobVerb",
    "MirrorSyncMode",
    "MonitorMode",
    "NetworkAddressFamily",
    "NewImageMode",
    "OnCbwError",
    "OnOffAuto",
    "PreallocMode",
    "QMPCapability",
    "QapiErrorClass",
    "Qcow2BitmapInfoFlags",
    "Qcow2CompressionType",
    "Qcow2OverlapCheckMode",
    "RunState",
    "SchemaMetaType",
    "SocketAddressType",
    "TransactionActionKind",
    "XDbgBlockGraphNodeType"
])
__all__ = [
    "QapiErrorClass",
    "IoOperationType",
    "OnOffAuto",
    "NetworkAddressFamily",
    "SocketAddressType",
    "RunState",
    "JobType",
    "JobStatus",
    "JobVerb",
    "Qcow2BitmapInfoFlags",
    "Qcow2CompressionType",
    "ImageInfoSpecificKind",
    "BlockDeviceIoStatus",
    "XDbgBlockGraphNodeType",
    "BlockPermission",
    "BlockdevOnError",
    "MirrorSyncMode",
    "BitmapSyncMode",
    "NewImageMode",
    "PreallocMode",
    "BlockdevDiscardOptions",
    "BlockdevDetectZeroesOptions",
    "BlockdevAioOptions",
    "BlockdevDriver",
    "Qcow2OverlapCheckMode",
    "OnCbwError",
    "BlockdevQcow2Version",
    "BlockErrorAction",
    "BlockExportRemoveMode",
    "BlockExportType",
    "QMPCapability",
    "MonitorMode",
    "SchemaMetaType",
    "JSONType",
    "ActionCompletionMode",
    "TransactionActionKind",
    "String",
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
    "StatusInfo",
    "QObjJobStatusChangeArg",
    "QObjJobPauseArg",
    "QObjJobResumeArg",
    "QObjJobCancelArg",
    "QObjJobCompleteArg",
    "QObjJobDismissArg",
    "QObjJobFinalizeArg",
    "JobInfo",
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
    "BlockDeviceTimedStats",
    "BlockLatencyHistogramInfo",
    "BlockDeviceStats",
    "BlockStatsSpecificFile",
    "QObjBlockStatsSpecificBase",
    "BlockStatsSpecific",
    "BlockStatsSpecificCopyBeforeWrite",
    "BlockStatsSpecificFileBranch",
    "BlockStatsSpecificHostDevice",
    "BlockStatsSpecificNullAio",
    "BlockStatsSpecificNullCo",
    "BlockStatsSpecificQcow2",
    "BlockStatsSpecificRaw",
    "BlockStats",
    "QObjQueryBlockstatsArg",
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
    "BlockJobInfo",
    "QObjBlockJobSetSpeedArg",
    "QObjBlockJobCancelArg",
    "QObjBlockJobPauseArg",
    "QObjBlockJobResumeArg",
    "QObjBlockJobCompleteArg",
    "QObjBlockJobDismissArg",
    "QObjBlockJobFinalizeArg",
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
    "QObjBlockdevOptionsBase",
    "BlockdevOptions",
    "BlockdevOptionsCopyBeforeWrite",
    "BlockdevOptionsFileBranch",
    "BlockdevOptionsHostDevice",
    "BlockdevOptionsNullAio",
    "BlockdevOptionsNullCo",
    "BlockdevOptionsQcow2Branch",
    "BlockdevOptionsRawBranch",
    "BlockdevRef",
    "BlockdevRefOrNull",
    "QObjBlockdevDelArg",
    "BlockdevCreateOptionsFile",
    "BlockdevCreateOptionsQcow2",
    "QObjBlockdevCreateOptionsBase",
    "BlockdevCreateOptions",
    "BlockdevCreateOptionsCopyBeforeWrite",
    "BlockdevCreateOptionsFileBranch",
    "BlockdevCreateOptionsHostDevice",
    "BlockdevCreateOptionsNullAio",
    "BlockdevCreateOptionsNullCo",
    "BlockdevCreateOptionsQcow2Branch",
    "BlockdevCreateOptionsRaw",
    "QObjBlockdevCreateArg",
    "BlockdevAmendOptionsQcow2",
    "QObjBlockdevAmendOptionsBase",
    "BlockdevAmendOptions",
    "BlockdevAmendOptionsCopyBeforeWrite",
    "BlockdevAmendOptionsFile",
    "BlockdevAmendOptionsHostDevice",
    "BlockdevAmendOptionsNullAio",
    "BlockdevAmendOptionsNullCo",
    "BlockdevAmendOptionsQcow2Branch",
    "BlockdevAmendOptionsRaw",
    "QObjXBlockdevAmendArg",
    "QObjChangeBackingFileArg",
    "QObjBlockImageCorruptedArg",
    "QObjBlockIoErrorArg",
    "QObjBlockJobCompletedArg",
    "QObjBlockJobCancelledArg",
    "QObjBlockJobErrorArg",
    "QObjBlockJobReadyArg",
    "QObjBlockJobPendingArg",
    "QObjBlockWriteThresholdArg",
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
    "NameInfo",
    "QObjQmpCapabilitiesArg",
    "VersionTriple",
    "VersionInfo",
    "CommandInfo",
    "MonitorOptions",
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
    "AbortWrapper",
    "BlockDirtyBitmapAddWrapper",
    "BlockDirtyBitmapWrapper",
    "BlockDirtyBitmapMergeWrapper",
    "BlockdevBackupWrapper",
    "DriveBackupWrapper",
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
    "TransactionActionDriveBackup",
    "TransactionProperties",
    "QObjTransactionArg",
]


def __getattr__(name: str) -> object:
    """Fetch `name` from the module that defines it, once."""
    if name not in __all__:
        raise AttributeError(f"the schema has no type '{name}'")
    if name in _ENUMS:
        from qmpd.api import enums as source
    else:
        from qmpd.api import structs as source  # type: ignore[no-redef]
    found: object = getattr(source, name)
    globals()[name] = found
    return found
