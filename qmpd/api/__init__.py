"""The interface as Python: models, tables of commands and events, introspection.

Importing the package or its `tables` is cheap; pydantic comes in with the first use of a struct.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations
