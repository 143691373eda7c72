"""docs/compatibility.md as data: what it says of each command, event, driver, type and option.

The page is the only place in which intended differences stand; tests and tools read it here. It must never be
written by a program: the words behind each name are the point of it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from iotests.harness.introspection import Difference

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"

STATES = ("works", "differs", "absent", "added")

_NAME = re.compile(r"`([^`]+)`")
_ABSENT_IN = re.compile(r"absent \[[^\]]*\]\(#([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the page says of one name; `note` is what differs, or why."""

    name: str
    state: str
    note: str


class Compatibility:
    """The page, read once.

    Sections are named as in links to them: `commands`, `block-drivers` ...
    """

    def __init__(self, page: Path = PAGE) -> None:
        self._tables: dict[str, list[list[str]]] = {}
        section = ""
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("## "):
                section = line.removeprefix("## ").lower().replace(" ", "-")
            elif line.startswith("|"):
                self._tables.setdefault(section, []).append([cell.strip() for cell in line.strip("|").split("|")])

    def _rows(self, section: str) -> list[list[str]]:
        """The rows of a section's table, without its head."""
        return self._tables[section][2:]

    def entries(self, section: str) -> list[Entry]:
        """What a section says of each name."""
        return [Entry(name, state, note) for names, state, note in self._rows(section) for name in _NAME.findall(names)]

    def names(self, section: str, *states: str) -> set[str]:
        """The names in a section that stand with one of these words."""
        return {entry.name for entry in self.entries(section) if entry.state in states}

    def intended(self) -> list[Difference]:
        """The differences between the two schemas that are meant."""
        return [
            Difference(_NAME.findall(place)[0], aspect, name, only_in)
            for place, only_in, aspect, names, _ in self._rows("the-interface")
            for name in self._listed(names)
        ]

    def reasons(self) -> list[str]:
        """Why each line of the interface's table is there."""
        return [row[-1] for row in self._rows("the-interface")]

    def _listed(self, cell: str) -> Iterator[str]:
        yield from _NAME.findall(cell)
        for section in _ABSENT_IN.findall(cell):
            yield from self.names(section, "absent")
