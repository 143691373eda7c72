"""The first version: all of the bundles' tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import JSON, Boolean, Column, ForeignKeyConstraint, PrimaryKeyConstraint, Text, UniqueConstraint

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Integer = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _quota_usages()
    _quotas()
    _services()
    _attachments()
    _events()
    _groups()
    _objects()
    _quota_charges()
    _reservations()
    _settings()
    _snapshots()
    _volumes()
    _attachment_clients()
    _jobs()
    _snapshot_metadata()
    _volume_metadata()
    _backups()
    _backup_metadata()
    _bitmaps()


def _quota_usages() -> None:
    op.create_table(
        "quota_usages",
        Column("scope", Text, nullable=False),
        Column("resource", Text, nullable=False),
        Column("in_use", Integer, nullable=False),
        Column("reserved", Integer, nullable=False),
        PrimaryKeyConstraint("scope", "resource", name=op.f("pk_quota_usages")),
    )


def _quotas() -> None:
    op.create_table(
        "quotas",
        Column("scope", Text, nullable=False),
        Column("resource", Text, nullable=False),
        Column("hard_limit", Integer, nullable=False),
        PrimaryKeyConstraint("scope", "resource", name=op.f("pk_quotas")),
    )


def _services() -> None:
    op.create_table(
        "services",
        Column("id", Text, nullable=False),
        Column("host", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("pid", Integer, nullable=False),
        Column("boot_id", Text, nullable=False),
        Column("state_dir", Text, nullable=False),
        Column("version", Text, nullable=False),
        Column("started_us", Integer, nullable=False),
        Column("heartbeat_us", Integer, nullable=False),
        Column("stopped_us", Integer, nullable=True),
        Column("clean", Boolean, nullable=False),
        Column("reserved_seq", Integer, nullable=False),
        PrimaryKeyConstraint("id", name=op.f("pk_services")),
    )


def _attachments() -> None:
    op.create_table(
        "attachments",
        Column("id", Integer, nullable=False),
        Column("service_id", Text, nullable=False),
        Column("export_id", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("node_name", Text, nullable=False),
        Column("settings", JSON, nullable=False),
        Column("origin", Text, nullable=False),
        Column("position", Integer, nullable=False),
        Column("created_us", Integer, nullable=False),
        Column("deleted_us", Integer, nullable=True),
        ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_attachments_service_id")),
        PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
        sqlite_autoincrement=True,
    )
    there = sa.text("deleted_us IS NULL")
    op.create_index(
        "uq_attachments_there", "attachments", ["service_id", "export_id"], unique=True,
        sqlite_where=there,
        postgresql_where=there,
    )


def _events() -> None:
    op.create_table(
        "events",
        Column("service_id", Text, nullable=False),
        Column("seq", Integer, autoincrement=False, nullable=False),
        Column("time_us", Integer, nullable=False),
        Column("name", Text, nullable=False),
        Column("data", JSON, nullable=False),
        ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_events_service_id")),
        PrimaryKeyConstraint("service_id", "seq", name=op.f("pk_events")),
    )
    op.create_index("ix_events_time_us", "events", ["service_id", "time_us"])


def _groups() -> None:
    op.create_table(
        "groups",
        Column("id", Integer, nullable=False),
        Column("uuid", Text, nullable=False),
        Column("service_id", Text, nullable=False),
        Column("mode", Text, nullable=False),
        Column("request_id", Integer, nullable=False),
        Column("session_id", Integer, nullable=False),
        Column("created_us", Integer, nullable=False),
        Column("settled_us", Integer, nullable=True),
        Column("outcome", Text, nullable=False),
        ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_groups_service_id")),
        PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        UniqueConstraint("uuid", name=op.f("uq_groups_uuid")),
        sqlite_autoincrement=True,
    )
    there = sa.text("settled_us IS NULL")
    op.create_index(
        "ix_groups_open", "groups", ["service_id"],
        sqlite_where=there,
        postgresql_where=there,
    )


def _objects() -> None:
    op.create_table(
        "objects",
        Column("id", Integer, nullable=False),
        Column("service_id", Text, nullable=False),
        Column("object_id", Text, nullable=False),
        Column("qom_type", Text, nullable=False),
        Column("properties", JSON, nullable=False),
        Column("position", Integer, nullable=False),
        Column("created_us", Integer, nullable=False),
        ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_objects_service_id")),
        PrimaryKeyConstraint("id", name=op.f("pk_objects")),
        UniqueConstraint("service_id", "object_id", name=op.f("uq_objects_service_id_object_id")),
        sqlite_autoincrement=True,
    )


def _quota_charges() -> None:
    op.create_table(
        "quota_charges",
        Column("id", Integer, nullable=False),
        Column("service_id", Text, nullable=False),
        Column("resource", Text, nullable=False),
        Column("amount", Integer, nullable=False),
        Column("time_us", Integer, nullable=False),
        ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_quota_charges_service_id")),
        PrimaryKeyConstraint("id", name=op.f("pk_quota_charges")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_quota_charges_time_us", "quota_charges", ["resource", "time_us"])


def _reservations() -> None:
    op.create_table(
        "reservations",
        Column("uuid", Text, nullable=False),
        Column("service_id", Text, nullable=False),
        Column("resource", Text, nullable=False),
        Column("delta", Integer, nullable=False),
        Column("created_us", Integer, nullable=False),
        Column("expires_us", Integer, nullable=False),
        ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_reservations_service_id")),
        PrimaryKeyConstraint("uuid", name=op.f("pk_reservations")),
    )
    op.create_index(op.f("ix_reservations_expires_us"), "reservations", ["expires_us"])


def _settings() -> None:
    op.create_table(
        "settings",
        Column("service_id", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("value", JSON, nullable=False),
        ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_settings_service_id")),
        PrimaryKeyConstraint("service_id", "key", name=op.f("pk_settings")),
    )


def _snapshots() -> None:
    op.create_table(
        "snapshots",
        Column("id", Integer, nullable=False),
        Column("service_id", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("node_name", Text, nullable=False),
        Column("name", Text, nullable=True),
        Column("overlay", Text, nullable=True),
        Column("created_us", Integer, nullable=False),
        Column("deleted_us", Integer, nullable=True),
        ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_snapshots_service_id")),
        PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_snapshots_service_id"), "snapshots", ["service_id"])


def _volumes() -> None:
    op.create_table(
        "volumes",
        Column("id", Integer, nullable=False),
        Column("service_id", Text, nullable=False),
        Column("node_name", Text, nullable=False),
        Column("driver", Text, nullable=False),
        Column("definition", JSON, nullable=False),
        Column("filename", Text, nullable=True),
        Column("size", Integer, nullable=True),
        Column("origin", Text, nullable=False),
        Column("position", Integer, nullable=False),
        Column("created_us", Integer, nullable=False),
        Column("deleted_us", Integer, nullable=True),
        ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_volumes_service_id")),
        PrimaryKeyConstraint("id", name=op.f("pk_volumes")),
        sqlite_autoincrement=True,
    )
    there = sa.text("deleted_us IS NULL")
    op.create_index(
        "uq_volumes_there", "volumes", ["service_id", "node_name"], unique=True,
        sqlite_where=there,
        postgresql_where=there,
    )


def _attachment_clients() -> None:
    op.create_table(
        "attachment_clients",
        Column("id", Integer, nullable=False),
        Column("attachment_id", Integer, nullable=False),
        Column("address", Text, nullable=False),
        Column("connected_us", Integer, nullable=False),
        Column("disconnected_us", Integer, nullable=True),
        ForeignKeyConstraint(
            ["attachment_id"], ["attachments.id"],
            name=op.f("fk_attachment_clients_attachment_id"),
            ondelete="CASCADE",
        ),
        PrimaryKeyConstraint("id", name=op.f("pk_attachment_clients")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_attachment_clients_attachment_id"), "attachment_clients", ["attachment_id"])


def _jobs() -> None:
    op.create_table(
        "jobs",
        Column("id", Integer, nullable=False),
        Column("service_id", Text, nullable=False),
        Column("job_id", Text, nullable=False),
        Column("type", Text, nullable=False),
        Column("device", Text, nullable=True),
        Column("group_uuid", Text, nullable=True),
        Column("created_us", Integer, nullable=False),
        Column("ended_us", Integer, nullable=True),
        Column("outcome", Text, nullable=False),
        Column("error", Text, nullable=True),
        Column("offset", Integer, nullable=False),
        Column("len", Integer, nullable=False),
        Column("speed", Integer, nullable=False),
        ForeignKeyConstraint(["group_uuid"], ["groups.uuid"], name=op.f("fk_jobs_group_uuid"), ondelete="SET NULL"),
        ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_jobs_service_id")),
        PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_jobs_group_uuid"), "jobs", ["group_uuid"])
    op.create_index("ix_jobs_job_id", "jobs", ["service_id", "job_id"])


def _snapshot_metadata() -> None:
    op.create_table(
        "snapshot_metadata",
        Column("snapshot_id", Integer, nullable=False),
        Column("key", Text, nullable=False),
        Column("value", Text, nullable=False),
        ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.id"],
            name=op.f("fk_snapshot_metadata_snapshot_id"),
            ondelete="CASCADE",
        ),
        PrimaryKeyConstraint("snapshot_id", "key", name=op.f("pk_snapshot_metadata")),
    )


def _volume_metadata() -> None:
    op.create_table(
        "volume_metadata",
        Column("volume_id", Integer, nullable=False),
        Column("key", Text, nullable=False),
        Column("value", Text, nullable=False),
        ForeignKeyConstraint(
            ["volume_id"], ["volumes.id"],
            name=op.f("fk_volume_metadata_volume_id"),
            ondelete="CASCADE",
        ),
        PrimaryKeyConstraint("volume_id", "key", name=op.f("pk_volume_metadata")),
    )


def _backups() -> None:
    op.create_table(
        "backups",
        Column("id", Integer, nullable=False),
        Column("service_id", Text, nullable=False),
        Column("job_row", Integer, nullable=True),
        Column("group_uuid", Text, nullable=True),
        Column("node_name", Text, nullable=False),
        Column("sync", Text, nullable=False),
        Column("bitmap_uuid", Text, nullable=True),
        Column("bitmap_name", Text, nullable=True),
        Column("parent_id", Integer, nullable=True),
        Column("chain_id", Integer, nullable=False),
        Column("target_node", Text, nullable=True),
        Column("target_filename", Text, nullable=True),
        Column("size", Integer, nullable=False),
        Column("copied", Integer, nullable=False),
        Column("started_us", Integer, nullable=False),
        Column("ended_us", Integer, nullable=True),
        Column("outcome", Text, nullable=False),
        Column("error", Text, nullable=True),
        ForeignKeyConstraint(["job_row"], ["jobs.id"], name=op.f("fk_backups_job_row"), ondelete="SET NULL"),
        ForeignKeyConstraint(["parent_id"], ["backups.id"], name=op.f("fk_backups_parent_id")),
        ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_backups_service_id")),
        PrimaryKeyConstraint("id", name=op.f("pk_backups")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_backups_chain_id"), "backups", ["chain_id"])
    op.create_index(op.f("ix_backups_group_uuid"), "backups", ["group_uuid"])
    op.create_index("ix_backups_node_name", "backups", ["service_id", "node_name"])
    op.create_index(op.f("ix_backups_parent_id"), "backups", ["parent_id"])


def _backup_metadata() -> None:
    op.create_table(
        "backup_metadata",
        Column("backup_id", Integer, nullable=False),
        Column("key", Text, nullable=False),
        Column("value", Text, nullable=False),
        ForeignKeyConstraint(
            ["backup_id"], ["backups.id"],
            name=op.f("fk_backup_metadata_backup_id"),
            ondelete="CASCADE",
        ),
        PrimaryKeyConstraint("backup_id", "key", name=op.f("pk_backup_metadata")),
    )


def _bitmaps() -> None:
    op.create_table(
        "bitmaps",
        Column("id", Integer, nullable=False),
        Column("uuid", Text, nullable=False),
        Column("service_id", Text, nullable=False),
        Column("node_name", Text, nullable=False),
        Column("image", Text, nullable=True),
        Column("name", Text, nullable=False),
        Column("granularity", Integer, nullable=False),
        Column("length", Integer, nullable=False),
        Column("recording", Boolean, nullable=False),
        Column("persistent", Boolean, nullable=False),
        Column("inconsistent", Boolean, nullable=False),
        Column("storage", Text, nullable=False),
        Column("bits_file", Text, nullable=True),
        Column("image_mtime_ns", Integer, nullable=True),
        Column("last_backup_id", Integer, nullable=True),
        Column("created_us", Integer, nullable=False),
        Column("removed_us", Integer, nullable=True),
        ForeignKeyConstraint(
            ["last_backup_id"], ["backups.id"],
            name=op.f("fk_bitmaps_last_backup_id"),
            ondelete="SET NULL",
        ),
        ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_bitmaps_service_id")),
        PrimaryKeyConstraint("id", name=op.f("pk_bitmaps")),
        UniqueConstraint("uuid", name=op.f("uq_bitmaps_uuid")),
        sqlite_autoincrement=True,
    )
    there = sa.text("removed_us IS NULL")
    op.create_index(
        "ix_bitmaps_there", "bitmaps", ["service_id"],
        sqlite_where=there,
        postgresql_where=there,
    )
