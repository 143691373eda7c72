"""The object types of the schema, one module a schema file.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations
