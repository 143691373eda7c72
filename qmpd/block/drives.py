"""Making drives and taking them away. All functions are to be called within `graph.exclusive()`."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from qmpd.block.drive import Drive, Place
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.drive_options import DriveRequest
    from qmpd.block.graph import BlockGraph


async def add_drive(graph: BlockGraph, request: DriveRequest) -> Drive:
    """Make a drive, and open its medium.

    :raises GenericError: its name or place is taken, or the medium cannot be opened; there is no drive then.
    """
    place = _find_place(graph, request)
    name = request.name or request.name_at(place.bus, place.unit)
    graph.check_new_device(name)
    drive = Drive(graph, name, request.defaults, policies=request.policies, writeback=request.writeback)
    drive.place = place
    if not request.empty:
        from qmpd.block.media import open_medium

        medium = await open_medium(graph, request)
        try:
            drive.attach(medium)
        except BaseException:
            graph.discard_if_unused(medium)
            raise
    try:
        _set_limits(drive, request)
        graph.add_drive(drive)
    except BaseException:
        drive.detach()
        drive.unthrottle()
        raise
    return drive


def _set_limits(drive: Drive, request: DriveRequest) -> None:
    if not request.throttling:
        return
    from qmpd.objects.throttle_group import changed_limits
    from qmpd.objects.throttling import Limits

    limits = changed_limits(Limits(), request.throttling)
    limits.check()
    if not limits.unlimited:
        drive.throttle(request.throttle_group or drive.name, limits)


def _find_place(graph: BlockGraph, request: DriveRequest) -> Place:
    taken = {drive.place for drive in graph.drives}
    if request.place is not None:
        place = Place(request.interface, *request.place)
        if place in taken:
            raise GenericError(f"There is a drive at if={place.interface},bus={place.bus},unit={place.unit} already")
        return place
    places = (Place(request.interface, *request.place_after(number)) for number in count())
    return next(place for place in places if place not in taken)
