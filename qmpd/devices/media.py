"""Trays, and media that come and go. All functions are to be called within `graph.exclusive()`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from qmpd.block.chain import top_of_guards
from qmpd.block.drive import Drive
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode


def open_tray(drive: Drive) -> None:
    """Open the tray, if there is one that is not open.

    :raises GenericError: the medium is fixed.
    """
    _move_tray(drive, is_open=True)


def close_tray(drive: Drive) -> None:
    """Close the tray, if there is one that is open.

    :raises GenericError: the medium is fixed.
    """
    _move_tray(drive, is_open=False)


def _move_tray(drive: Drive, *, is_open: bool) -> None:
    _check_removable(drive)
    frontend = drive.frontend
    if frontend is None or frontend.tray_open in (None, is_open):
        return
    frontend.tray_open = is_open
    drive.graph.events.emit(
        "DEVICE_TRAY_MOVED", {"device": drive.name, "id": frontend.qdev, "tray-open": is_open}
    )


async def remove_medium(drive: Drive) -> None:
    """Take the medium out, if there is one. The next one is opened as it was, where nobody says otherwise.

    :raises GenericError: the medium is fixed, or the tray closed.
    """
    _check_accessible(drive)
    medium = drive.medium
    if medium is None:
        return
    drive.defaults = dataclasses.replace(
        drive.defaults,
        read_only=medium.read_only,
        cache_direct=medium.options.cache_direct,
        cache_no_flush=medium.options.cache_no_flush,
        detect_zeroes=medium.options.detect_zeroes,
    )
    async with drive.graph.drained([medium]):
        drive.detach()


def insert_node(drive: Drive, node_name: str) -> None:
    """Put a node in.

    :raises GenericError: there is no such node, another drive has it, there is a medium already, the tray is closed, or
        the device cannot use it.
    """
    node = drive.graph.lookup_node(node_name)
    other = next((child.owner for child in node.parents if isinstance(child.owner, Drive)), None)
    if other is not None:
        raise GenericError(f"Node '{node_name}' is in use by {other.describe()}")
    _insert(drive, top_of_guards(node))


def _insert(drive: Drive, node: BlockNode) -> None:
    _check_accessible(drive)
    if drive.medium is not None:
        raise GenericError(f"{drive.describe()} has a medium already; take it out first")
    drive.attach(node)


async def change_medium(drive: Drive, name: str, format_name: str | None, read_only: bool | None) -> None:
    """Open an image, and put it in in place of what is there.

    :param read_only: None for what the present medium is.
    :raises GenericError: the image cannot be opened, the medium is fixed, or the device cannot use it.
    """
    from qmpd.block.media import open_file

    graph: BlockGraph = drive.graph
    defaults = drive.defaults
    if drive.medium is not None:
        defaults = dataclasses.replace(defaults, read_only=drive.medium.read_only)
    if read_only is not None:
        defaults = dataclasses.replace(defaults, read_only=read_only)
    node = await open_file(graph, name, format_name, defaults)
    try:
        open_tray(drive)
        await remove_medium(drive)
        drive.defaults = defaults
        _insert(drive, node)
        close_tray(drive)
    finally:
        graph.discard_if_unused(node)


def _check_removable(drive: Drive) -> None:
    if not drive.removable:
        raise GenericError(f"The medium of {drive.describe()} is fixed")


def _check_accessible(drive: Drive) -> None:
    _check_removable(drive)
    if drive.frontend is not None and drive.frontend.tray_open is False:
        raise GenericError(f"The tray of {drive.describe()} is closed; open it first")
