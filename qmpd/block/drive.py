"""Drives: named users of a disk, and what stays with them when the medium changes.

A drive is made with a name (`--drive id=...`), or by a device for a node that it was given. It has a medium, a node at
the root of a disk, or none. Whoever is its front-end (see `qmpd.devices`) says what a guest could do with it; without
one it is a socket that nothing is plugged into, whose medium may be changed at will.

Guests are other processes, and what they do to a drive comes in by exports of its medium. Such an export is the drive's
own guest (`GuestBackend`): limits on the drive's speed hold for it, it is held back while guests are stopped, and what
becomes of its failed requests is the drive's policy. Drive and guests find each other whenever one of them is attached
to a node, and part when the drive lets go of it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from qmpd.block.backend import BlockBackend, Verdict
from qmpd.block.permissions import Perm
from qmpd.errors import os_error_text

if TYPE_CHECKING:
    from qmpd.block.accounting import OperationStats
    from qmpd.block.drive_throttling import GroupMembership
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode
    from qmpd.objects.throttling import Limits


class Frontend(Protocol):
    """The guest's side of a drive.

    :ivar locked: the guest keeps the medium in.
    :ivar tray_open: None for a device without a tray.
    """

    locked: bool
    tray_open: bool | None

    @property
    def qdev(self) -> str:
        """The device's id; where the drive belongs to a part of the device, the path of that part."""

    @property
    def removable(self) -> bool:
        """The medium can be taken out."""

    @property
    def has_io_status(self) -> bool:
        """It tells how its I/O goes."""

    def permissions(self, medium: BlockNode) -> tuple[Perm, Perm]:
        """What it does with a medium, and what it lets others do.

        :raises GenericError: it does not take such a medium.
        """


@dataclass(frozen=True, slots=True)
class MediumDefaults:
    """The options with which the next medium is opened, where whoever brings it does not say.

    :ivar detect_zeroes: `off`, `on` or `unmap`.
    """

    read_only: bool = False
    cache_direct: bool = False
    cache_no_flush: bool = False
    detect_zeroes: str = "off"


@dataclass(frozen=True, slots=True)
class ErrorPolicies:
    """What is done about a guest's request that has failed.

    :ivar read: `report`, `ignore` or `stop`; what the schema's `auto` means has been worked out.
    :ivar write: as `read`, or `enospc`: stop for lack of space, report everything else.
    """

    read: str = "report"
    write: str = "enospc"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a drive is plugged in: the kind of interface, and which of its places."""

    interface: str
    bus: int
    unit: int


class Drive(BlockBackend):
    """A drive.

    :param name: the device name; empty for one that a device has made for itself.
    :ivar place: where the command line has plugged it in; None for one that a device has made.
    :ivar frontend: the device that it belongs to, None for none.
    :ivar defaults: for media to come.
    :ivar policies: for its guest's failed requests.
    :ivar writeback: a guest is told that writes need a flush to be durable.
    :ivar guests: those who stand for its guest.
    :ivar throttling: its place in a group with limits, None if it has none.
    :ivar io_status: `ok`, or `failed` or `nospace` after an error has stopped the guest.
    """

    def __init__(
        self,
        graph: BlockGraph,
        name: str,
        defaults: MediumDefaults | None = None,
        *,
        policies: ErrorPolicies | None = None,
        writeback: bool = True,
    ) -> None:
        super().__init__(graph, name, Perm.CONSISTENT_READ, Perm.ALL)
        self.place: Place | None = None
        self.frontend: Frontend | None = None
        self.defaults = defaults or MediumDefaults()
        self.policies = policies or ErrorPolicies()
        self.writeback = writeback
        self.io_status = "ok"
        self.guests: list[GuestBackend] = []
        self.throttling: GroupMembership | None = None

    @property
    def label(self) -> str:
        return self.name or (self.frontend.qdev if self.frontend is not None else "")

    def describe(self) -> str:
        if self.name or self.frontend is None:
            return super().describe()
        return f"device '{self.frontend.qdev}'"

    @property
    def medium(self) -> BlockNode | None:
        """The root node, None while there is none."""
        return None if self.root is None else self.root.node

    @property
    def removable(self) -> bool:
        """The medium can be taken out."""
        return self.frontend is None or self.frontend.removable

    @property
    def locked(self) -> bool:
        """The guest keeps the medium in."""
        return self.frontend is not None and self.frontend.locked

    # The front-end.

    def plug(self, frontend: Frontend) -> None:
        """Become the drive of a device.

        :raises GenericError: the medium cannot be used as the device does; nothing has changed then.
        """
        self.frontend = frontend
        try:
            if self.root is not None:
                self.set_permissions(*frontend.permissions(self.root.node))
        except BaseException:
            self.frontend = None
            raise
        self.refresh_gates()

    def unplug(self) -> None:
        """Be without a device again. Nothing may be in flight. Plain, cannot fail."""
        self.frontend = None
        # Less is taken than before, and all is shared.
        self.set_permissions(Perm.CONSISTENT_READ, Perm.ALL)
        self.refresh_gates()
        self.graph.run_state.release()

    def move(self, target: BlockNode) -> None:
        """Let the drive and its guests do with another node what they did. Both are drained, and the graph is held.

        :raises GenericError: the node cannot be used so; nothing has changed then.
        """
        assert self.root is not None
        guests = [guest.root for guest in self.guests if guest.root is not None]
        self.graph.move_users([self.root, *guests], target)

    # Guests.

    def attach(self, node: BlockNode) -> None:
        if self.frontend is not None:
            self.perm, self.shared = self.frontend.permissions(node)
        guests = [
            child.owner for child in node.parents if isinstance(child.owner, GuestBackend) and child.owner.drive is None
        ]
        for guest in guests:
            guest.join(self)
        try:
            super().attach(node)
        except BaseException:
            for guest in guests:
                guest.part()
            raise

    def detach(self) -> None:
        for guest in list(self.guests):
            guest.part()
        super().detach()

    def error_action(self, is_read: bool, error: OSError) -> str:
        """What the policies say about a guest's failed request: `report`, `ignore` or `stop`."""
        policy = self.policies.read if is_read else self.policies.write
        if policy == "enospc":
            return "stop" if error.errno == errno.ENOSPC else "report"
        return policy

    # Limits.

    def throttle(self, group: str, limits: Limits) -> None:
        """Put the drive into a group, and set the limits of that; they have been checked."""
        if self.throttling is None or self.throttling.name != group:
            self.unthrottle()
            self.throttling = self.graph.drive_groups.join(group, self.describe())
        self.throttling.set_limits(limits)
        self.refresh_gates()

    def unthrottle(self) -> None:
        """Let go of all limits."""
        throttling, self.throttling = self.throttling, None
        if throttling is not None:
            throttling.leave()
        self.refresh_gates()

    def refresh_gates(self) -> None:
        """See to it that requests ask what may hold them back only where there is something that may."""
        self.gate = None if self.throttling is None else _DriveGate(self)
        held = self.throttling is not None or (self.frontend is not None and not self.graph.run_state.running)
        for guest in self.guests:
            guest.gate = _GuestGate(self, guest) if held else None


class _DriveGate:
    """Holds back what the monitor does to a drive: by the drive's limits."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive

    def admit(self, is_write: bool, length: int) -> Awaitable[None] | None:
        throttling = self._drive.throttling
        return None if throttling is None else throttling.member.admit(is_write, length)

    def hold(self, is_write: bool) -> Awaitable[None] | None:
        return None


class _GuestGate(_DriveGate):
    """Holds back what a guest does to a drive: by the drive's limits, and while guests are stopped."""

    def __init__(self, drive: Drive, guest: GuestBackend) -> None:
        super().__init__(drive)
        self._guest = guest

    def hold(self, is_write: bool) -> Awaitable[None] | None:
        state = self._drive.graph.run_state
        if state.running or not is_write or self._drive.frontend is None:
            return None
        if self._guest.leaving:
            raise OSError(errno.ESHUTDOWN, os.strerror(errno.ESHUTDOWN))
        return state.wait()


class GuestBackend(BlockBackend):
    """The backend of one who stands for a guest, if what it is attached to is the medium of a drive.

    :ivar drive: the drive, None if there is none.
    :ivar leaving: it is about to go, so a request that waits for guests to run fails.
    """

    def __init__(self, graph: BlockGraph, perm: Perm, shared: Perm) -> None:
        super().__init__(graph, "", perm, shared)
        self.drive: Drive | None = None
        self.leaving = False
        self._own_stats = self.stats

    @property
    def side(self) -> object:
        return self.drive or self

    def attach(self, node: BlockNode) -> None:
        drive = next((child.owner for child in node.parents if isinstance(child.owner, Drive)), None)
        if drive is not None:
            self.join(drive)
        try:
            super().attach(node)
        except BaseException:
            self.part()
            raise

    def detach(self) -> None:
        self.part()
        super().detach()

    def join(self, drive: Drive) -> None:
        """Become a guest of `drive`; what it does counts as done by that."""
        self.drive = drive
        self.stats = drive.stats
        drive.guests.append(self)
        drive.refresh_gates()

    def part(self) -> None:
        """Be nobody's guest any more. What waits goes on."""
        drive, self.drive = self.drive, None
        self.gate = None
        self.stats = self._own_stats
        if drive is not None:
            drive.guests.remove(self)
            self.graph.run_state.release()

    def leave_soon(self) -> None:
        """Let requests fail that would wait for guests to run, and those pass that wait for limits: the end is near."""
        self.leaving = True
        if self.drive is not None:
            self.graph.run_state.release()
            if self.drive.throttling is not None:
                self.drive.throttling.member.let_pass_once()

    def _failed(self, operation: OperationStats, error: OSError) -> Verdict:
        super()._failed(operation, error)
        drive, node = self.drive, self.root.node if self.root is not None else None
        if node is None:
            return Verdict.REPORT
        is_read = operation is self.stats.read
        action = "report" if drive is None or self.leaving else drive.error_action(is_read, error)
        event: dict[str, object] = {
            "device": "" if drive is None else drive.name,
            "node-name": node.node_name,
            "operation": "read" if is_read else "write",
            "action": action,
            "reason": os_error_text(error),
        }
        if drive is not None and drive.frontend is not None and drive.frontend.has_io_status:
            event["nospace"] = error.errno == errno.ENOSPC
        self.graph.events.emit("BLOCK_IO_ERROR", event)
        if drive is None or action != "stop":
            return Verdict.IGNORE if action == "ignore" else Verdict.REPORT
        if drive.io_status == "ok":
            drive.io_status = "nospace" if error.errno == errno.ENOSPC else "failed"
        self.graph.run_state.stop("io-error")
        return Verdict.RETRY

    async def recovered(self) -> None:
        state = self.graph.run_state
        while not state.running:
            if self.leaving:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            await state.wait()
