"""The commands and events of the schema, by name.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from qmpd.qapi.tables import CommandInfo, EventInfo

_MODELS = "qmpd.api.models"

COMMANDS: Mapping[str, CommandInfo] = MappingProxyType(
    {
        "query-status": CommandInfo("query-status", _MODELS, ret_type="StatusInfo", allow_preconfig=True),
        "job-pause": CommandInfo("job-pause", _MODELS, arg_type="QObjJobPauseArg"),
        "job-resume": CommandInfo("job-resume", _MODELS, arg_type="QObjJobResumeArg"),
        "job-cancel": CommandInfo("job-cancel", _MODELS, arg_type="QObjJobCancelArg"),
        "job-complete": CommandInfo("job-complete", _MODELS, arg_type="QObjJobCompleteArg"),
        "job-dismiss": CommandInfo("job-dismiss", _MODELS, arg_type="QObjJobDismissArg"),
        "job-finalize": CommandInfo("job-finalize", _MODELS, arg_type="QObjJobFinalizeArg"),
        "query-jobs": CommandInfo("query-jobs", _MODELS, ret_type="[JobInfo]"),
        "query-block": CommandInfo("query-block", _MODELS, ret_type="[BlockInfo]", allow_preconfig=True),
        "query-blockstats": CommandInfo("query-blockstats", _MODELS, arg_type="QObjQueryBlockstatsArg", ret_type="[BlockStats]", allow_preconfig=True),
        "block-latency-histogram-set": CommandInfo("block-latency-histogram-set", _MODELS, arg_type="QObjBlockLatencyHistogramSetArg", allow_preconfig=True),
        "query-named-block-nodes": CommandInfo("query-named-block-nodes", _MODELS, arg_type="QObjQueryNamedBlockNodesArg", ret_type="[BlockDeviceInfo]", allow_preconfig=True),
        "x-debug-query-block-graph": CommandInfo("x-debug-query-block-graph", _MODELS, features=("unstable",), ret_type="XDbgBlockGraph", allow_preconfig=True),
        "block_resize": CommandInfo("block_resize", _MODELS, arg_type="QObjBlockResizeArg", allow_preconfig=True, coroutine=True),
        "block-dirty-bitmap-add": CommandInfo("block-dirty-bitmap-add", _MODELS, arg_type="BlockDirtyBitmapAdd", allow_preconfig=True),
        "block-dirty-bitmap-remove": CommandInfo("block-dirty-bitmap-remove", _MODELS, arg_type="BlockDirtyBitmap", allow_preconfig=True),
        "block-dirty-bitmap-clear": CommandInfo("block-dirty-bitmap-clear", _MODELS, arg_type="BlockDirtyBitmap", allow_preconfig=True),
        "block-dirty-bitmap-enable": CommandInfo("block-dirty-bitmap-enable", _MODELS, arg_type="BlockDirtyBitmap", allow_preconfig=True),
        "block-dirty-bitmap-disable": CommandInfo("block-dirty-bitmap-disable", _MODELS, arg_type="BlockDirtyBitmap", allow_preconfig=True),
        "block-dirty-bitmap-merge": CommandInfo("block-dirty-bitmap-merge", _MODELS, arg_type="BlockDirtyBitmapMerge", allow_preconfig=True),
        "x-debug-block-dirty-bitmap-sha256": CommandInfo("x-debug-block-dirty-bitmap-sha256", _MODELS, arg_type="BlockDirtyBitmap", features=("unstable",), ret_type="BlockDirtyBitmapSha256", allow_preconfig=True),
        "drive-backup": CommandInfo("drive-backup", _MODELS, arg_type="DriveBackup", features=("deprecated",), allow_preconfig=True),
        "blockdev-backup": CommandInfo("blockdev-backup", _MODELS, arg_type="BlockdevBackup", allow_preconfig=True),
        "drive-mirror": CommandInfo("drive-mirror", _MODELS, arg_type="DriveMirror", allow_preconfig=True),
        "blockdev-mirror": CommandInfo("blockdev-mirror", _MODELS, arg_type="QObjBlockdevMirrorArg", allow_preconfig=True),
        "block-commit": CommandInfo("block-commit", _MODELS, arg_type="QObjBlockCommitArg", allow_preconfig=True),
        "block-stream": CommandInfo("block-stream", _MODELS, arg_type="QObjBlockStreamArg", allow_preconfig=True),
        "query-block-jobs": CommandInfo("query-block-jobs", _MODELS, ret_type="[BlockJobInfo]", allow_preconfig=True),
        "block-job-set-speed": CommandInfo("block-job-set-speed", _MODELS, arg_type="QObjBlockJobSetSpeedArg", allow_preconfig=True),
        "block-job-cancel": CommandInfo("block-job-cancel", _MODELS, arg_type="QObjBlockJobCancelArg", allow_preconfig=True),
        "block-job-pause": CommandInfo("block-job-pause", _MODELS, arg_type="QObjBlockJobPauseArg", allow_preconfig=True),
        "block-job-resume": CommandInfo("block-job-resume", _MODELS, arg_type="QObjBlockJobResumeArg", allow_preconfig=True),
        "block-job-complete": CommandInfo("block-job-complete", _MODELS, arg_type="QObjBlockJobCompleteArg", allow_preconfig=True),
        "block-job-dismiss": CommandInfo("block-job-dismiss", _MODELS, arg_type="QObjBlockJobDismissArg", allow_preconfig=True),
        "block-job-finalize": CommandInfo("block-job-finalize", _MODELS, arg_type="QObjBlockJobFinalizeArg", allow_preconfig=True),
        "blockdev-add": CommandInfo("blockdev-add", _MODELS, arg_type="BlockdevOptions", allow_preconfig=True),
        "x-blockdev-change": CommandInfo("x-blockdev-change", _MODELS, arg_type="QObjXBlockdevChangeArg", features=("unstable",), allow_preconfig=True),
        "blockdev-del": CommandInfo("blockdev-del", _MODELS, arg_type="QObjBlockdevDelArg", allow_preconfig=True),
        "blockdev-reopen": CommandInfo("blockdev-reopen", _MODELS, arg_type="QObjBlockdevReopenArg", allow_preconfig=True),
        "block-set-write-threshold": CommandInfo("block-set-write-threshold", _MODELS, arg_type="QObjBlockSetWriteThresholdArg", allow_preconfig=True),
        "blockdev-create": CommandInfo("blockdev-create", _MODELS, arg_type="QObjBlockdevCreateArg", allow_preconfig=True),
        "x-blockdev-amend": CommandInfo("x-blockdev-amend", _MODELS, arg_type="QObjXBlockdevAmendArg", features=("unstable",), allow_preconfig=True),
        "change-backing-file": CommandInfo("change-backing-file", _MODELS, arg_type="QObjChangeBackingFileArg", allow_preconfig=True),
        "blockdev-snapshot-internal-sync": CommandInfo("blockdev-snapshot-internal-sync", _MODELS, arg_type="BlockdevSnapshotInternal", allow_preconfig=True),
        "blockdev-snapshot-delete-internal-sync": CommandInfo("blockdev-snapshot-delete-internal-sync", _MODELS, arg_type="QObjBlockdevSnapshotDeleteInternalSyncArg", ret_type="SnapshotInfo", allow_preconfig=True),
        "blockdev-snapshot-sync": CommandInfo("blockdev-snapshot-sync", _MODELS, arg_type="BlockdevSnapshotSync", allow_preconfig=True),
        "blockdev-snapshot": CommandInfo("blockdev-snapshot", _MODELS, arg_type="BlockdevSnapshot", features=("allow-write-only-overlay",), allow_preconfig=True),
        "nbd-server-start": CommandInfo("nbd-server-start", _MODELS, arg_type="QObjNbdServerStartArg", allow_preconfig=True),
        "nbd-server-add": CommandInfo("nbd-server-add", _MODELS, arg_type="NbdServerAddOptions", features=("deprecated",), allow_preconfig=True),
        "nbd-server-remove": CommandInfo("nbd-server-remove", _MODELS, arg_type="QObjNbdServerRemoveArg", features=("deprecated",), allow_preconfig=True),
        "nbd-server-stop": CommandInfo("nbd-server-stop", _MODELS, allow_preconfig=True),
        "block-export-add": CommandInfo("block-export-add", _MODELS, arg_type="BlockExportOptions", allow_preconfig=True),
        "block-export-del": CommandInfo("block-export-del", _MODELS, arg_type="QObjBlockExportDelArg", allow_preconfig=True),
        "query-block-exports": CommandInfo("query-block-exports", _MODELS, ret_type="[BlockExportInfo]", allow_preconfig=True),
        "human-monitor-command": CommandInfo("human-monitor-command", _MODELS, arg_type="QObjHumanMonitorCommandArg", features=("savevm-monitor-nodes",), ret_type="str"),
        "query-name": CommandInfo("query-name", _MODELS, ret_type="NameInfo", allow_preconfig=True),
        "qmp_capabilities": CommandInfo("qmp_capabilities", _MODELS, arg_type="QObjQmpCapabilitiesArg", allow_preconfig=True),
        "query-version": CommandInfo("query-version", _MODELS, ret_type="VersionInfo", allow_preconfig=True),
        "query-commands": CommandInfo("query-commands", _MODELS, ret_type="[CommandInfo]", allow_preconfig=True),
        "quit": CommandInfo("quit", _MODELS, allow_preconfig=True),
        "query-qmp-schema": CommandInfo("query-qmp-schema", _MODELS, ret_type="[SchemaInfo]", allow_preconfig=True),
        "transaction": CommandInfo("transaction", _MODELS, arg_type="QObjTransactionArg"),
        "qom-list": CommandInfo("qom-list", _MODELS, arg_type="QObjQomListArg", ret_type="[ObjectPropertyInfo]", allow_preconfig=True),
        "qom-get": CommandInfo("qom-get", _MODELS, arg_type="QObjQomGetArg", ret_type="Any", allow_preconfig=True),
        "qom-set": CommandInfo("qom-set", _MODELS, arg_type="QObjQomSetArg", allow_preconfig=True),
        "qom-list-types": CommandInfo("qom-list-types", _MODELS, arg_type="QObjQomListTypesArg", ret_type="[ObjectTypeInfo]", allow_preconfig=True),
        "qom-list-properties": CommandInfo("qom-list-properties", _MODELS, arg_type="QObjQomListPropertiesArg", ret_type="[ObjectPropertyInfo]", allow_preconfig=True),
        "object-add": CommandInfo("object-add", _MODELS, arg_type="ObjectOptions", allow_preconfig=True),
        "object-del": CommandInfo("object-del", _MODELS, arg_type="QObjObjectDelArg", allow_preconfig=True),
        "device-list-properties": CommandInfo("device-list-properties", _MODELS, arg_type="QObjDeviceListPropertiesArg", ret_type="[ObjectPropertyInfo]"),
        "device_add": CommandInfo("device_add", _MODELS, arg_type="QObjDeviceAddArg", features=("json-cli", "json-cli-hotplug",), free_form=True),
        "device_del": CommandInfo("device_del", _MODELS, arg_type="QObjDeviceDelArg"),
        "catalog-query-jobs": CommandInfo("catalog-query-jobs", _MODELS, arg_type="CatalogJobFilter", ret_type="[CatalogJob]"),
        "catalog-query-groups": CommandInfo("catalog-query-groups", _MODELS, arg_type="CatalogGroupFilter", ret_type="[CatalogGroup]"),
        "catalog-query-backups": CommandInfo("catalog-query-backups", _MODELS, arg_type="CatalogBackupFilter", ret_type="[CatalogBackup]"),
        "catalog-query-backup-chain": CommandInfo("catalog-query-backup-chain", _MODELS, arg_type="QObjCatalogQueryBackupChainArg", ret_type="[CatalogBackup]"),
        "catalog-query-volumes": CommandInfo("catalog-query-volumes", _MODELS, arg_type="CatalogVolumeFilter", ret_type="[CatalogVolume]"),
        "catalog-query-events": CommandInfo("catalog-query-events", _MODELS, arg_type="CatalogEventFilter", ret_type="[CatalogEvent]"),
        "catalog-query-services": CommandInfo("catalog-query-services", _MODELS, arg_type="QObjCatalogQueryServicesArg", ret_type="[CatalogService]"),
        "catalog-query-quotas": CommandInfo("catalog-query-quotas", _MODELS, arg_type="QObjCatalogQueryQuotasArg", ret_type="[CatalogQuota]"),
        "catalog-set-quota": CommandInfo("catalog-set-quota", _MODELS, arg_type="QObjCatalogSetQuotaArg"),
        "catalog-prune": CommandInfo("catalog-prune", _MODELS, arg_type="QObjCatalogPruneArg", ret_type="CatalogPruned"),
    }
)

EVENTS: Mapping[str, EventInfo] = MappingProxyType(
    {
        "JOB_STATUS_CHANGE": EventInfo("JOB_STATUS_CHANGE", _MODELS, arg_type="QObjJobStatusChangeArg"),
        "BLOCK_IMAGE_CORRUPTED": EventInfo("BLOCK_IMAGE_CORRUPTED", _MODELS, arg_type="QObjBlockImageCorruptedArg"),
        "BLOCK_IO_ERROR": EventInfo("BLOCK_IO_ERROR", _MODELS, arg_type="QObjBlockIoErrorArg"),
        "BLOCK_JOB_COMPLETED": EventInfo("BLOCK_JOB_COMPLETED", _MODELS, arg_type="QObjBlockJobCompletedArg"),
        "BLOCK_JOB_CANCELLED": EventInfo("BLOCK_JOB_CANCELLED", _MODELS, arg_type="QObjBlockJobCancelledArg"),
        "BLOCK_JOB_ERROR": EventInfo("BLOCK_JOB_ERROR", _MODELS, arg_type="QObjBlockJobErrorArg"),
        "BLOCK_JOB_READY": EventInfo("BLOCK_JOB_READY", _MODELS, arg_type="QObjBlockJobReadyArg"),
        "BLOCK_JOB_PENDING": EventInfo("BLOCK_JOB_PENDING", _MODELS, arg_type="QObjBlockJobPendingArg"),
        "QUORUM_FAILURE": EventInfo("QUORUM_FAILURE", _MODELS, arg_type="QObjQuorumFailureArg"),
        "QUORUM_REPORT_BAD": EventInfo("QUORUM_REPORT_BAD", _MODELS, arg_type="QObjQuorumReportBadArg"),
        "BLOCK_WRITE_THRESHOLD": EventInfo("BLOCK_WRITE_THRESHOLD", _MODELS, arg_type="QObjBlockWriteThresholdArg"),
        "BLOCK_EXPORT_DELETED": EventInfo("BLOCK_EXPORT_DELETED", _MODELS, arg_type="QObjBlockExportDeletedArg"),
        "DEVICE_DELETED": EventInfo("DEVICE_DELETED", _MODELS, arg_type="QObjDeviceDeletedArg"),
    }
)
