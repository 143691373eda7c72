"""The QAPI schema language: parser, checker, code generator, and what generated code stands on.

`python -m qmpd.qapi schema/qapi-schema.json qmpd/api` compiles the schema into the `qmpd.api` package. At
run time only `enums`, `model`, `tables`, `explain` and `keyval` are used. This package knows the language,
never any one schema, and importing it costs nothing.
"""
