"""The object types of `transaction.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from qmpd.api.enums import ActionCompletionMode, TransactionActionKind
from qmpd.api.structs.block_core import (
    BlockDirtyBitmap,
    BlockDirtyBitmapAdd,
    BlockDirtyBitmapMerge,
    BlockdevBackup,
    BlockdevSnapshot,
    BlockdevSnapshotInternal,
    BlockdevSnapshotSync,
    DriveBackup,
)
from qmpd.qapi.model import Array, Maybe, Model, by_member

__all__ = [
    "Abort",
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
]


class Abort(Model):
    """Takes nothing."""


class AbortWrapper(Model):
    """The data of an 'abort' action."""

    data: Abort
    """nothing"""


class BlockDirtyBitmapAddWrapper(Model):
    """The data of a 'block-dirty-bitmap-add' action."""

    data: BlockDirtyBitmapAdd
    """the command's arguments"""


class BlockDirtyBitmapWrapper(Model):
    """The data of an action on one dirty bitmap."""

    data: BlockDirtyBitmap
    """the command's arguments"""


class BlockDirtyBitmapMergeWrapper(Model):
    """The data of a 'block-dirty-bitmap-merge' action."""

    data: BlockDirtyBitmapMerge
    """the command's arguments"""


class BlockdevBackupWrapper(Model):
    """The data of a 'blockdev-backup' action."""

    data: BlockdevBackup
    """the command's arguments"""


class DriveBackupWrapper(Model):
    """The data of a 'drive-backup' action."""

    data: DriveBackup
    """the command's arguments"""


class BlockdevSnapshotInternalWrapper(Model):
    """The data of a 'blockdev-snapshot-internal-sync' action."""

    data: BlockdevSnapshotInternal
    """the command's arguments"""


class BlockdevSnapshotWrapper(Model):
    """The data of a 'blockdev-snapshot' action."""

    data: BlockdevSnapshot
    """the command's arguments"""


class BlockdevSnapshotSyncWrapper(Model):
    """The data of a 'blockdev-snapshot-sync' action."""

    data: BlockdevSnapshotSync
    """the command's arguments"""


class QObjTransactionActionBase(Model):
    """The members all branches of `TransactionAction` have."""

    type: TransactionActionKind
    """what it does"""


class TransactionProperties(Model):
    """What holds for a transaction as a whole."""

    completion_mode: Maybe[ActionCompletionMode] = Field(default=None, alias="completion-mode")
    """what binds its jobs afterwards (default: 'individual')"""


class QObjTransactionArg(Model):
    """The arguments of `transaction`."""

    actions: Array[TransactionAction]
    """the actions, in order"""

    properties: Maybe[TransactionProperties] = None
    """what holds for all of them"""


class TransactionActionAbort(AbortWrapper, QObjTransactionActionBase):
    """`TransactionAction` with `type` `abort`."""

    type: Literal[TransactionActionKind.ABORT]


class TransactionActionBlockDirtyBitmapAdd(BlockDirtyBitmapAddWrapper, QObjTransactionActionBase):
    """`TransactionAction` with `type` `block-dirty-bitmap-add`."""

    type: Literal[TransactionActionKind.BLOCK_DIRTY_BITMAP_ADD]


class TransactionActionBlockDirtyBitmapRemove(BlockDirtyBitmapWrapper, QObjTransactionActionBase):
    """`TransactionAction` with `type` `block-dirty-bitmap-remove`."""

    type: Literal[TransactionActionKind.BLOCK_DIRTY_BITMAP_REMOVE]


class TransactionActionBlockDirtyBitmapClear(BlockDirtyBitmapWrapper, QObjTransactionActionBase):
    """`TransactionAction` with `type` `block-dirty-bitmap-clear`."""

    type: Literal[TransactionActionKind.BLOCK_DIRTY_BITMAP_CLEAR]


class TransactionActionBlockDirtyBitmapEnable(BlockDirtyBitmapWrapper, QObjTransactionActionBase):
    """`TransactionAction` with `type` `block-dirty-bitmap-enable`."""

    type: Literal[TransactionActionKind.BLOCK_DIRTY_BITMAP_ENABLE]


class TransactionActionBlockDirtyBitmapDisable(BlockDirtyBitmapWrapper, QObjTransactionActionBase):
    """`TransactionAction` with `type` `block-dirty-bitmap-disable`."""

    type: Literal[TransactionActionKind.BLOCK_DIRTY_BITMAP_DISABLE]


class TransactionActionBlockDirtyBitmapMerge(BlockDirtyBitmapMergeWrapper, QObjTransactionActionBase):
    """`TransactionAction` with `type` `block-dirty-bitmap-merge`."""

    type: Literal[TransactionActionKind.BLOCK_DIRTY_BITMAP_MERGE]


class TransactionActionBlockdevBackup(BlockdevBackupWrapper, QObjTransactionActionBase):
    """`TransactionAction` with `type` `blockdev-backup`."""

    type: Literal[TransactionActionKind.BLOCKDEV_BACKUP]


class TransactionActionBlockdevSnapshot(BlockdevSnapshotWrapper, QObjTransactionActionBase):
    """`TransactionAction` with `type` `blockdev-snapshot`."""

    type: Literal[TransactionActionKind.BLOCKDEV_SNAPSHOT]


class TransactionActionBlockdevSnapshotInternalSync(BlockdevSnapshotInternalWrapper, QObjTransactionActionBase):
    """`TransactionAction` with `type` `blockdev-snapshot-internal-sync`."""

    type: Literal[TransactionActionKind.BLOCKDEV_SNAPSHOT_INTERNAL_SYNC]


class TransactionActionBlockdevSnapshotSync(BlockdevSnapshotSyncWrapper, QObjTransactionActionBase):
    """`TransactionAction` with `type` `blockdev-snapshot-sync`."""

    type: Literal[TransactionActionKind.BLOCKDEV_SNAPSHOT_SYNC]


class TransactionActionDriveBackup(DriveBackupWrapper, QObjTransactionActionBase):
    """`TransactionAction` with `type` `drive-backup`."""

    type: Literal[TransactionActionKind.DRIVE_BACKUP]

TransactionAction = TypeAliasType(
    "TransactionAction",
    Annotated[
        Union[
            Annotated[TransactionActionAbort, Tag("type=abort")],
            Annotated[TransactionActionBlockDirtyBitmapAdd, Tag("type=block-dirty-bitmap-add")],
            Annotated[TransactionActionBlockDirtyBitmapRemove, Tag("type=block-dirty-bitmap-remove")],
            Annotated[TransactionActionBlockDirtyBitmapClear, Tag("type=block-dirty-bitmap-clear")],
            Annotated[TransactionActionBlockDirtyBitmapEnable, Tag("type=block-dirty-bitmap-enable")],
            Annotated[TransactionActionBlockDirtyBitmapDisable, Tag("type=block-dirty-bitmap-disable")],
            Annotated[TransactionActionBlockDirtyBitmapMerge, Tag("type=block-dirty-bitmap-merge")],
            Annotated[TransactionActionBlockdevBackup, Tag("type=blockdev-backup")],
            Annotated[TransactionActionBlockdevSnapshot, Tag("type=blockdev-snapshot")],
            Annotated[TransactionActionBlockdevSnapshotInternalSync, Tag("type=blockdev-snapshot-internal-sync")],
            Annotated[TransactionActionBlockdevSnapshotSync, Tag("type=blockdev-snapshot-sync")],
            Annotated[TransactionActionDriveBackup, Tag("type=drive-backup")],
        ],
        Discriminator(by_member("type")),
    ],
)
"""One action of a transaction."""
