"""docs/compatibility.md against the programs that it speaks of: all names are there, each with the right word."""

import re

import pytest

from iotests.harness import SERVER_KINDS, Launcher
from iotests.harness.compatibility import STATES, Compatibility
from iotests.harness.introspection import Interface
from iotests.harness.tools import run

ENUMS = {
    "block-drivers": ("blockdev-add", "driver"),
    "export-types": ("block-export-add", "type"),
    "object-types": ("object-add", "qom-type"),
}
"""Sections about the values of an enum, and where that is."""


def assert_told(section: str, ours: set[str], theirs: set[str]) -> None:
    """Every name of either side stands in the section once, with a word that is true."""
    page = Compatibility()
    names = [entry.name for entry in page.entries(section)]
    assert sorted(names) == sorted(ours | theirs), f"{section}: a name is missing, stale or there twice"
    assert page.names(section, "works", "differs") == ours & theirs, f"{section}: on both sides"
    assert page.names(section, "absent") == theirs - ours, f"{section}: only in qemu-storage-daemon"
    assert page.names(section, "added") == ours - theirs, f"{section}: only in qmpd"


@pytest.mark.qmpd_only("starts the real one by itself")
def test_interface(launch: Launcher) -> None:
    ours, theirs = (Interface(launch.peer(kind).qmp.command("query-qmp-schema")) for kind in ("qmpd", "qsd"))
    assert_told("commands", ours.commands, theirs.commands)
    assert_told("events", ours.events, theirs.events)
    for section, place in ENUMS.items():
        assert_told(section, ours.values(*place), theirs.values(*place))


def test_command_line() -> None:
    ours, theirs = (
        set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", run(*SERVER_KINDS[kind].program(), "--help"), re.MULTILINE))
        for kind in ("qmpd", "qsd")
    )
    assert_told("command-line", ours, theirs)


@pytest.mark.parametrize("section", ["commands", "events", *ENUMS, "command-line"])
def test_words(section: str) -> None:
    for entry in Compatibility().entries(section):
        assert entry.state in STATES, entry
        assert entry.note or entry.state == "works", f"{entry.name} {entry.state}: no word about how or why"
