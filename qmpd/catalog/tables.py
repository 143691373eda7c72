"""All tables of the catalog, for those who need them all: migrations, export, checks."""

from __future__ import annotations

from qmpd.catalog import (
    attachments,
    backups,
    bitmaps,
    events,
    groups,
    jobs,
    objects,
    quotas,
    services,
    settings,
    snapshots,
    volumes,
)
from qmpd.catalog.base import Base

BUNDLES = (
    attachments,
    backups,
    bitmaps,
    events,
    groups,
    jobs,
    objects,
    quotas,
    services,
    settings,
    snapshots,
    volumes,
)
"""The modules that define tables; importing them is what fills `METADATA`."""

METADATA = Base.metadata
