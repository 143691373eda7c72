"""The schema compiler's command line: `python -m qmpd.qapi SCHEMA DIRECTORY [--reference FILE] [--check]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from qmpd.qapi.checker import load
from qmpd.qapi.generate import generate
from qmpd.qapi.reference import generate_reference
from qmpd.qapi.source import SchemaError


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, or with `--check` compare; the exit status is 1 if the schema is bad or the package stale."""
    parser = argparse.ArgumentParser(prog="python -m qmpd.qapi", description="Compile a QAPI schema.")
    parser.add_argument("schema", help="the schema's top file")
    parser.add_argument("directory", type=Path, help="the package to write")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the package is stale")
    parser.add_argument("--package", default="qmpd.api", help="the package's name (default: %(default)s)")
    parser.add_argument("--reference", type=Path, help="also write the reference manual, as Markdown, to this file")
    options = parser.parse_args(arguments)
    try:
        schema = load(options.schema)
        wanted = {options.directory / name: text for name, text in generate(schema, options.package).items()}
    except SchemaError as error:
        print(error, file=sys.stderr)
        return 1
    if options.reference is not None:
        wanted[options.reference] = generate_reference(schema)
    stale = stale_files(wanted)
    if options.check:
        for path in stale:
            print(f"{path} is stale: run `make schema`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    return 0


def stale_files(wanted: Mapping[Path, str]) -> list[Path]:
    """The files that are missing or whose text is not the wanted one."""
    return [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


if __name__ == "__main__":
    sys.exit(main())
