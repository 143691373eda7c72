"""Charges know the job that they are for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("quota_charges", sa.Column("job_row", sa.BigInteger().with_variant(sa.Integer(), "sqlite")))
    op.create_index("ix_quota_charges_job_row", "quota_charges", ["job_row"])
