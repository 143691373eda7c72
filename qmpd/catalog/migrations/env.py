"""What Alembic runs to upgrade a database: on the connection it is given, within the transaction that is open there."""

from __future__ import annotations

from alembic import context

from qmpd.catalog.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=True)
context.run_migrations()
