"""The schema compiler's command line: `python -m qmpd.qapi SCHEMA DIRECTORY [--check]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from qmpd.qapi.checker import load
from qmpd.qapi.generate import generate
from qmpd.qapi.source import SchemaError


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, or with `--check` compare; the exit status is 1 if the schema is bad or the package stale."""
    parser = argparse.ArgumentParser(prog="python -m qmpd.qapi", description="Compile a QAPI schema.")
    parser.add_argument("schema", help="the schema's top file")
    parser.add_argument("directory", type=Path, help="the package to write")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the package is stale")
    parser.add_argument("--package", default="qmpd.api", help="the package's name (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        modules = generate(load(options.schema), options.package)
    except SchemaError as error:
        print(error, file=sys.stderr)
        return 1
    if options.check:
        stale = stale_modules(modules, options.directory)
        for name in stale:
            print(f"{options.directory / name} is stale: run `make schema`", file=sys.stderr)
        return 1 if stale else 0
    options.directory.mkdir(parents=True, exist_ok=True)
    for name in stale_modules(modules, options.directory):
        (options.directory / name).parent.mkdir(parents=True, exist_ok=True)
        (options.directory / name).write_text(modules[name], encoding="utf-8")
    return 0


def stale_modules(modules: dict[str, str], directory: Path) -> list[str]:
    """The names of `modules` whose text in `directory` differs or is missing."""
    return [
        name
        for name, text in modules.items()
        if not (directory / name).is_file() or (directory / name).read_text(encoding="utf-8") != text
    ]


if __name__ == "__main__":
    sys.exit(main())
