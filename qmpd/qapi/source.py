"""Where in a schema something stands, and the error that says so.

Leans on nothing; everything else of the compiler reports through `SchemaError`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A place in a schema file.

    :param path: the file as it was named on the command line or reached by `include`.
    :param line: line number, from 1.
    :param included_from: the place of the `include` that led here, if any.
    """

    path: str
    line: int
    included_from: SourceInfo | None = None

    def at_line(self, line: int) -> SourceInfo:
        """The same file at another line."""
        return SourceInfo(self.path, line, self.included_from)

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class SchemaError(Exception):
    """The schema is wrong; the text begins with `file:line:`, after the chain of includes that led there."""

    def __init__(self, info: SourceInfo, message: str) -> None:
        super().__init__(message)
        self.info = info
        self.message = message

    def __str__(self) -> str:
        chain = []
        parent = self.info.included_from
        while parent is not None:
            chain.append(f"In file included from {parent}:\n")
            parent = parent.included_from
        return "".join(reversed(chain)) + f"{self.info}: {self.message}"
