"""The graph of block nodes: who uses whom, under which permissions, and how it is changed safely.

Three rules keep it sound:

* One structural change at a time: whoever opens, deletes, inserts or removes nodes holds `exclusive()`.
* `drained(nodes)` stops new requests where they enter the graph, and waits for those under way. A node counts the
  drained sections that it is in, and an edge that is attached, moved or removed meanwhile hands that count on, so
  begin and end always match, whatever happens to the graph in between.
* Removing an edge or a filter is a plain function that cannot fail or wait (jobs do it while they abort). A node
  that loses its last user this way is put aside and closed at the end of the exclusive section.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from typing import Any

from qmpd.block.backend import BlockBackend
from qmpd.block.bitmap_keeper import BitmapKeeper
from qmpd.block.child import Child, ChildOwner
from qmpd.block.drive import Drive
from qmpd.block.drive_throttling import DriveGroups
from qmpd.block.driver import BlockDriver, FilterDriver
from qmpd.block.iopool import IOPool
from qmpd.block.node import BlockNode, NodeOptions
from qmpd.block.permissions import PERM_NAMES, WRITING, Perm, describe
from qmpd.block.run_state import RunState
from qmpd.block.unbroken import see_through
from qmpd.errors import GenericError
from qmpd.events import EventSink
from qmpd.objects.tree import ObjectTree

MAX_NODE_NAME = 31
"""Characters in a node name, as in QEMU."""

MAX_DEPTH = 200
"""Nodes on the longest way from a disk's top to its bottom. Requests, drains and permissions go down or up such a way
call within call, so it must not be endless; libvirt draws the line for chains of images at the same number."""

MAX_LENGTH = (1 << 63) - (1 << 30)
"""Bytes of the largest disk, as in QEMU: the largest number on the wire, less one unit of the largest alignment."""

_WELL_FORMED = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")


class BlockGraph:
    """All nodes, and the only code that changes edges between them.

    :ivar nodes: by name, oldest first.
    :ivar drives: all drives, oldest first.
    :ivar backends: those that have a name, by name.
    :ivar objects: what clients have made beside nodes, for nodes that name it.
    :ivar run_state: whether guests run.
    :ivar drive_groups: the limits of drives.
    :ivar bitmap_keeper: keeps the persistent bitmaps of images that cannot store them; None if nobody does.
    :ivar remembered_names: names that were generated in an earlier run for children of nodes, by node name and role.
    :ivar slow_drivers: those of open nodes that let requests wait for reasons of their own.
    """

    def __init__(self, pool: IOPool, events: EventSink) -> None:
        self.pool = pool
        self.events = events
        self.objects = ObjectTree(pool.run)
        self.bitmap_keeper: BitmapKeeper | None = None
        self.remembered_names: dict[tuple[str, str], str] = {}
        self.run_state = RunState(events, self._refresh_gates)
        self.drive_groups = DriveGroups(self.objects)
        self.slow_drivers: set[BlockDriver] = set()
        self.nodes: dict[str, BlockNode] = {}
        self.drives: list[Drive] = []
        self.backends: dict[str, Drive] = {}
        self._lock = asyncio.Lock()
        self._ids = 0
        self._generated = 0
        self._opening: set[str] = set()
        self._dying: list[BlockNode] = []
        self._afterwards: list[Callable[[], Awaitable[None]]] = []
        self._progress: asyncio.Future[None] | None = None
        self._delays: set[asyncio.Future[None]] = set()
        self._hurried = False

    def next_id(self) -> int:
        """A number that identifies a node or backend in x-debug-query-block-graph."""
        self._ids += 1
        return self._ids

    # Names.

    def find(self, name: str) -> BlockNode | None:
        """The node of that device or node name, None if there is none."""
        node = self.nodes.get(name)
        if node is not None:
            return node
        backend = self.backends.get(name)
        return backend.root.node if backend is not None and backend.root is not None else None

    def lookup(self, name: str) -> BlockNode:
        """The node of that device or node name.

        :raises GenericError: there is none, or no medium in the device.
        """
        backend = self.backends.get(name)
        if backend is not None:
            return backend.node
        node = self.nodes.get(name)
        if node is None:
            raise GenericError(f"There is no device and no node named '{name}'")
        return node

    def lookup_either(self, device: str | None, node_name: str | None) -> BlockNode:
        """The node of a device; where there is no such device, the node of that name. A node's name is no device.

        :raises GenericError: there is neither, or both names are missing.
        """
        backend = self.backends.get(device) if device is not None else None
        if backend is not None:
            return backend.node
        if node_name is not None:
            return self.lookup_node(node_name)
        if device is not None:
            raise GenericError(f"There is no device '{device}'; a node is named by 'node-name'")
        raise GenericError("'device' or 'node-name' is missing: one of them says which disk")

    def lookup_node(self, node_name: str) -> BlockNode:
        """The node of that node name; device names do not count.

        :raises GenericError: there is none.
        """
        node = self.nodes.get(node_name)
        if node is None:
            raise GenericError(f"There is no node with node-name '{node_name}'")
        return node

    def check_new_name(self, node_name: str) -> None:
        """Pass if a node may be given this name.

        :raises GenericError: ill-formed, too long, or taken.
        """
        if not _WELL_FORMED.match(node_name):
            raise GenericError(
                f"'{node_name}' cannot be a node-name: it begins with a letter and has only letters, digits, "
                "'-', '.' and '_'"
            )
        if len(node_name) > MAX_NODE_NAME:
            raise GenericError(f"node-name '{node_name}' is longer than {MAX_NODE_NAME} characters")
        if node_name in self.nodes or node_name in self._opening:
            raise GenericError(f"node-name '{node_name}' is taken by another node")
        if node_name in self.backends:
            raise GenericError(f"node-name '{node_name}' is taken by a device")

    def rename(self, node: BlockNode, node_name: str) -> None:
        """Give a node another name, which is free."""
        del self.nodes[node.node_name]
        node.rename(node_name)
        self.nodes[node_name] = node

    def check_new_device(self, name: str) -> None:
        """Pass if a drive may be given this name.

        :raises GenericError: it is taken.
        """
        if name in self.backends:
            raise GenericError(f"There is a drive '{name}' already; choose another 'id'")
        if name in self.nodes or name in self._opening:
            raise GenericError(f"'{name}' is the name of a node; a drive needs another 'id'")

    def add_drive(self, drive: Drive) -> None:
        """Let a drive be found. Its name, if it has one, has been checked."""
        if drive.name:
            # Opening the medium may have taken it.
            self.check_new_device(drive.name)
            self.backends[drive.name] = drive
        self.drives.append(drive)

    def remove_drive(self, drive: Drive) -> None:
        """Take a drive out, with its medium. Nothing of it may be in flight. Plain, cannot fail."""
        drive.detach()
        drive.unthrottle()
        self.drives.remove(drive)
        if drive.name:
            del self.backends[drive.name]

    def _refresh_gates(self) -> None:
        for drive in self.drives:
            drive.refresh_gates()

    def generate_name(self) -> str:
        """A name for a node that was given none; no client can choose such a name."""
        while True:
            self._generated += 1
            name = f"#block{self._generated:03d}"
            if name not in self.nodes and name not in self._opening:
                return name

    # Sections.

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Admit one structural change at a time. Not re-entrant."""
        async with self._lock:
            try:
                yield
            finally:
                if self._afterwards or self._dying:
                    late_cancellation = await see_through(self._tidy_up())
                    if late_cancellation is not None:
                        raise late_cancellation

    async def _tidy_up(self) -> None:
        while self._afterwards:
            await self._afterwards.pop(0)()
        await self._reap()

    def defer(self, action: Callable[[], Awaitable[None]]) -> None:
        """Run `action` at the end of the exclusive section, before unused nodes are closed; nothing is drained then.

        For what has to wait for a disk and follows from a step that cannot wait or fail. It must not raise, and is seen
        through to its end.
        """
        self._afterwards.append(action)

    @asynccontextmanager
    async def drained(self, nodes: Iterable[BlockNode]) -> AsyncIterator[None]:
        """Stop new requests to `nodes` and wait for those under way; let them go on at the end."""
        drained = list(dict.fromkeys(nodes))
        for node in drained:
            node.drained_begin()
        try:
            with self.passing(drained):
                while any(node.drained_poll() for node in drained):
                    await self._next_progress()
                yield
        finally:
            for node in drained:
                node.drained_end()

    async def let_pass(self, edges: Iterable[Child]) -> None:
        """Wait until the requests that the owners of `edges` have under way are over; those to come wait meanwhile."""
        edges = list(edges)
        owners = [child.owner for child in edges]
        for owner in owners:
            owner.drained_begin()
        try:
            with self.passing([child.node for child in edges]):
                while any(owner.drained_poll() for owner in owners):
                    await self._next_progress()
        finally:
            for owner in owners:
                owner.drained_end()

    @contextmanager
    def passing(self, nodes: Iterable[BlockNode]) -> Iterator[None]:
        """Let no driver hold back requests that `nodes`, or what hangs together with them, may wait for."""
        slow = self.slow_drivers & {node.driver for node in _connected(nodes)} if self.slow_drivers else ()
        for driver in slow:
            driver.pass_begin()
        try:
            yield
        finally:
            for driver in slow:
                driver.pass_end()

    @contextmanager
    def impatient(self, nodes: Iterable[BlockNode]) -> Iterator[None]:
        """Let requests to `nodes` fail rather than wait for a server that does not answer: nobody needs them now."""
        drivers = {node.driver for node in _stored_in(nodes)}
        for driver in drivers:
            driver.impatience_begin()
        try:
            yield
        finally:
            for driver in drivers:
                driver.impatience_end()

    def request_done(self) -> None:
        """Whoever a drain may wait for calls this when it has come to rest."""
        progress, self._progress = self._progress, None
        if progress is not None and not progress.done():
            progress.set_result(None)

    # Waiting on purpose.

    async def delay(self, seconds: float) -> None:
        """Wait, on behalf of a request that is to take long; `hurry` ends it early."""
        if self._hurried:
            return
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        timer = loop.call_later(seconds, _set_done, over)
        self._delays.add(over)
        try:
            await over
        finally:
            timer.cancel()
            self._delays.discard(over)

    def hurry(self) -> None:
        """End all delays, and have no more of them: the daemon is to end, which must not take as long as they do."""
        self._hurried = True
        for over in list(self._delays):
            _set_done(over)

    async def _next_progress(self) -> None:
        if self._progress is None:
            self._progress = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._progress)

    # Edges.

    def attach(
        self, owner: ChildOwner, name: str, node: BlockNode, perm: Perm, shared: Perm = Perm.ALL
    ) -> Child:
        """Make `owner` a user of `node`.

        :raises GenericError: the permissions conflict with those of other users, or the image refuses them.
        """
        child = Child(owner, name, node, perm, shared)
        node.parents.append(child)
        try:
            self._update_permissions([node])
        except BaseException:
            node.parents.remove(child)
            self._update_permissions([node])
            raise
        for _ in range(node.quiesce_count):
            owner.drained_begin()
        return child

    def detach(self, child: Child) -> None:
        """End a use. Plain, cannot fail; a node without users is closed at the end of the exclusive section."""
        node = child.node
        node.parents.remove(child)
        for _ in range(node.quiesce_count):
            child.owner.drained_end()
        self._update_permissions([node])
        self._mark_unused(node)

    def change_permissions(self, child: Child, perm: Perm, shared: Perm) -> None:
        """Let an existing edge take and share something else.

        :raises GenericError: it conflicts; everything is as before.
        """
        before = child.perm, child.shared
        child.perm, child.shared = perm, shared
        try:
            self._update_permissions([child.node])
        except BaseException:
            child.perm, child.shared = before
            self._update_permissions([child.node])
            raise

    def refresh_permissions(self, nodes: list[BlockNode]) -> None:
        """Work out anew what `nodes` take of those below them: something that this depends on has changed.

        :raises GenericError: it conflicts; undo the change, and call this again.
        """
        self._update_permissions(nodes)

    def _move(self, children: list[Child], target: BlockNode) -> None:
        for child in children:
            source = child.node
            source.parents.remove(child)
            child.node = target
            target.parents.append(child)
            if isinstance(child.owner, BlockNode):
                child.owner.child_moved(child.name)
            for _ in range(target.quiesce_count - source.quiesce_count):
                child.owner.drained_begin()
            for _ in range(source.quiesce_count - target.quiesce_count):
                child.owner.drained_end()

    def _update_permissions(self, nodes: list[BlockNode]) -> None:
        """Recompute the permissions below `nodes`; on failure all is as it was."""
        undo: list[tuple[Child, Perm, Perm]] = []
        visited: list[BlockNode] = []
        try:
            for node in nodes:
                self._propagate(node, undo, visited)
        except BaseException:
            for child, perm, shared in reversed(undo):
                child.perm, child.shared = perm, shared
            raise

    def _propagate(
        self, node: BlockNode, undo: list[tuple[Child, Perm, Perm]], visited: list[BlockNode]
    ) -> None:
        _check_conflicts(node)
        perm, shared = node.cumulative_perm, node.cumulative_shared
        node.tolerated &= perm
        if perm & WRITING & ~node.tolerated and node.read_only:
            user = next(c for c in node.parents if c.perm & ~Perm.CONSISTENT_READ)
            raise GenericError(
                f"Node '{node.node_name}' is read-only; {user.owner.describe()} wants to write to it"
            )
        visited.append(node)
        for child in node.children.values():
            new = _child_permissions(node, child.name, perm, shared)
            if new != (child.perm, child.shared):
                undo.append((child, child.perm, child.shared))
                child.perm, child.shared = new
                self._propagate(child.node, undo, visited)
        # Last, and nothing after it can fail for this node: an image lock is taken only when all else agrees.
        node.driver.check_permissions(perm, shared)

    # Opening and closing.

    async def open_node(
        self,
        driver: BlockDriver,
        options: Any,
        node_options: NodeOptions,
        node_name: str | None,
        *,
        monitor_owned: bool = False,
        remembered_name: str | None = None,
    ) -> BlockNode:
        """Open an image and add its node.

        :param options: the driver's branch of `BlockdevOptions`.
        :param node_name: None for a generated name.
        :param remembered_name: the name that was generated in an earlier run, if it is free.
        :raises GenericError: it cannot be opened; nothing is left behind.
        """
        if node_name is not None:
            self.check_new_name(node_name)
        name = node_name or remembered_name or self.generate_name()
        if name in self.nodes or name in self._opening:
            name = self.generate_name()
        node = BlockNode(self, name, driver, node_options)
        node.definition = options
        # The name is taken at once, so that a definition that uses one twice is refused, but nobody finds the node
        # before it is complete: neither a query that comes meanwhile, nor its own children's definitions.
        self._opening.add(name)
        opener = NodeOpener(self, node)
        try:
            await driver.open(options, opener)
            try:
                self.admit(node)
            except GenericError:
                await driver.close()
                raise
        except BaseException:
            self._drop_children(node)
            raise
        finally:
            self._opening.remove(name)
        self._add(node, opener.opened_after_file)
        node.bitmaps.resize(node.length)
        node.monitor_owned = monitor_owned
        if self.bitmap_keeper is not None:
            try:
                await self.bitmap_keeper.opened(node)
            except BaseException:
                await self._close_node(node)
                raise
        return node

    def admit(self, node: BlockNode) -> None:
        """Pass if `node` can be as it is now.

        :raises GenericError: the disk is too large, or somebody else's bitmaps would not know what is written here.
        """
        if node.length > MAX_LENGTH:
            raise GenericError(f"The disk has {node.length} bytes; {MAX_LENGTH} is the most that a disk may have")
        if self.bitmap_keeper is not None:
            self.bitmap_keeper.admit(node)

    def _add(self, node: BlockNode, opened_after_file: int) -> None:
        """Add a node to the list: behind what its `file` brought with it, before its other children, as QEMU does."""
        later = list(islice(reversed(self.nodes), opened_after_file))
        self.nodes[node.node_name] = node
        for name in reversed(later):
            self.nodes[name] = self.nodes.pop(name)

    def attach_child(self, node: BlockNode, name: str, below: BlockNode) -> Child:
        """Add the edge `name` from `node` down to `below`.

        :raises GenericError: permissions conflict, or there would be too many nodes on top of each other.
        """
        _check_depth(node, below)
        perm, shared = _child_permissions(node, name, node.cumulative_perm, node.cumulative_shared)
        child = self.attach(node, name, below, perm, shared)
        node.children[name] = child
        return child

    async def delete_node(self, node: BlockNode) -> None:
        """Delete a node that was made by name. Call within `exclusive()`.

        :raises GenericError: it is in use, or was not made by name.
        """
        if node.parents:
            raise GenericError(f"Node '{node.node_name}' is in use by {node.parents[0].owner.describe()}")
        if not node.monitor_owned:
            raise GenericError(f"Node '{node.node_name}' was not made by blockdev-add and cannot be deleted")
        busy = [bitmap for bitmap in node.bitmaps if bitmap.busy]
        if busy:
            raise GenericError(f"Node '{node.node_name}' has the busy bitmap '{busy[0].name}'")
        node.monitor_owned = False
        self._mark_unused(node)

    def keep_node(self, node: BlockNode) -> None:
        """Undo `delete_node`, in the same exclusive section."""
        node.monitor_owned = True

    async def close_all(self) -> None:
        """Flush and close every node, whatever uses it. For shutdown."""
        async with self._lock:
            for node in list(self.nodes.values()):
                node.monitor_owned = False
                for child in list(node.parents):
                    if not isinstance(child.owner, BlockNode):
                        self.detach(child)
                self._mark_unused(node)
            await self._reap()

    def discard_if_unused(self, node: BlockNode) -> None:
        """Close a node that nobody came to use, at the end of the exclusive section. Plain, cannot fail."""
        self._mark_unused(node)

    async def close_unused(self, node: BlockNode) -> None:
        """Close a node that nobody came to use, at once: somebody else may be waiting for what it holds."""
        if not node.parents and not node.monitor_owned and self.nodes.get(node.node_name) is node:
            await self._close_node(node)

    def _mark_unused(self, node: BlockNode) -> None:
        unused = not node.parents and not node.monitor_owned
        if unused and node not in self._dying and self.nodes.get(node.node_name) is node:
            self._dying.append(node)

    def going(self) -> set[BlockNode]:
        """The nodes that will be closed at the end of the exclusive section, as far as is known by now."""
        going = {node for node in self._dying if not node.parents and not node.monitor_owned}
        above = list(going)
        while above:
            for child in above.pop().children.values():
                node = child.node
                if not node.monitor_owned and node not in going and all(p.owner in going for p in node.parents):
                    going.add(node)
                    above.append(node)
        return going

    async def close_all_unused(self) -> None:
        """Close at once, and not at the end of the exclusive section, all nodes that nobody uses any more."""
        await self._reap()

    async def _reap(self) -> None:
        while self._dying:
            node = self._dying.pop()
            if node.parents or node.monitor_owned or self.nodes.get(node.node_name) is not node:
                continue
            await self._close_node(node)

    async def _close_node(self, node: BlockNode) -> None:
        try:
            if not node.read_only:
                await node.flush()
        except OSError as error:
            self.events.emit(
                "BLOCK_IO_ERROR",
                {
                    "device": "",
                    "node-name": node.node_name,
                    "operation": "write",
                    "action": "report",
                    "reason": f"the last flush failed: {error.strerror}",
                },
            )
        finally:
            # Whatever happens, nothing may stay of a node that nobody could get rid of then.
            try:
                if self.bitmap_keeper is not None:
                    await self.bitmap_keeper.closing(node)
            finally:
                del self.nodes[node.node_name]
                try:
                    await node.driver.close()
                finally:
                    self._drop_children(node)

    def _drop_children(self, node: BlockNode) -> None:
        children, node.children = list(node.children.values()), {}
        for child in children:
            if child.node.inherits_from is node:
                child.node.inherits_from = None
            self.detach(child)

    # Changing chains of images. The nodes concerned must be drained; call within `exclusive()`.

    def set_child(self, node: BlockNode, name: str, target: BlockNode | None) -> None:
        """Let the edge `name` of `node` lead to `target`: attach, move or (with None) detach it. Plain.

        A node that loses its last user is closed at the end of the exclusive section, not before, so this can be
        undone by another call.

        :raises GenericError: the edge is frozen, there would be a loop, permissions conflict, or too many nodes on top
            of each other; the graph is as before.
        """
        child = node.children.get(name)
        source = None if child is None else child.node
        if source is target:
            return
        _check_relinking(node, name, target)
        if child is None:
            assert target is not None
            self.attach_child(node, name, target)
        elif target is None:
            del node.children[name]
            self.detach(child)
        else:
            self._redirect([child], target)
        node.child_moved(name)

    def relink(self, node: BlockNode, name: str, target: BlockNode | None) -> None:
        """As `set_child`, but nobody's permissions are looked at: call `refresh_permissions` for all concerned.

        :raises GenericError: the edge is frozen, there would be a loop, or too many nodes on top of each other.
        """
        child = node.children.get(name)
        if (None if child is None else child.node) is target:
            return
        _check_relinking(node, name, target)
        if child is None:
            assert target is not None
            node.children[name] = self.attach(node, name, target, Perm.NONE)
        elif target is None:
            del node.children[name]
            self.detach(child)
        else:
            source = child.node
            self._move([child], target)
            self._mark_unused(source)
        node.child_moved(name)

    def replace_node(self, old: BlockNode, new: BlockNode) -> list[Child]:
        """Let all users of `old` use `new`, but for those that `new` itself stands on. Plain.

        A `new` that has `old` below it keeps its own way there, so this also puts an overlay on top of a node.

        :returns: the edges that have moved, for `take_back`.
        :raises GenericError: one of the edges is frozen, permissions conflict, or too many nodes would be on top of
            each other; the graph is as before.
        """
        stays = _nodes_below(new)
        edges = [child for child in old.parents if child.owner not in stays]
        _check_movable(edges)
        for child in edges:
            if isinstance(child.owner, BlockNode):
                _check_depth(child.owner, new)
        self._redirect(edges, new)
        if new.length != old.length:
            new.refresh_length()
        return edges

    def move_users(self, edges: list[Child], target: BlockNode) -> None:
        """Let `edges` lead to `target`. Plain.

        :raises GenericError: one of the edges is frozen, or permissions conflict; the graph is as before.
        """
        _check_movable(edges)
        self._redirect(edges, target)

    def take_back(self, edges: list[Child], old: BlockNode) -> None:
        """Undo `replace_node`, in the same exclusive and drained section: the edges lead to `old` again. Plain."""
        present = [child for child in edges if child in child.node.parents]
        sources = [child.node for child in present]
        self._move(present, old)
        self._update_permissions([*dict.fromkeys(sources), old])
        for source in sources:
            self._mark_unused(source)

    def move_back(self, edges: list[Child], target: BlockNode) -> None:
        """Let `edges` lead to `target` again, as before a `replace_node`, whatever anybody says to that.

        :raises GenericError: permissions conflict, or the image refuses them; the edges have been moved all the same.
        """
        sources = list(dict.fromkeys(child.node for child in edges))
        self._move(edges, target)
        if any(source.length != target.length for source in sources):
            target.refresh_length()
        self._update_permissions([*sources, target])

    def _redirect(self, edges: list[Child], target: BlockNode) -> None:
        sources = [child.node for child in edges]
        self._move(edges, target)
        try:
            # Those who lose users first: what they gave up may be what the others need.
            self._update_permissions([*dict.fromkeys(sources), target])
        except BaseException:
            for child, source in zip(edges, sources, strict=True):
                self._move([child], source)
            self._update_permissions([target, *dict.fromkeys(sources)])
            raise
        for source in sources:
            self._mark_unused(source)

    # Filters.

    def insert_filter(
        self,
        driver: FilterDriver,
        below: BlockNode,
        node_name: str | None,
        extra: dict[str, BlockNode],
        *,
        overlays: bool = False,
    ) -> BlockNode:
        """Put a filter on top of `below`: all users of `below` use the filter from now on.

        `below` must be drained. Plain: a filter has nothing to open.

        :param extra: further children of the filter, by role.
        :param overlays: those children may use `below` themselves, and go on to.
        :raises GenericError: name or permissions conflict, a further child itself uses `below`, or there would be too
            many nodes on top of each other; the graph is as before.
        """
        stays: set[BlockNode] = set()
        for role, other in extra.items():
            under = _nodes_below(other)
            stays |= under
            if below in under and not overlays:
                raise GenericError(
                    f"Node '{other.node_name}' cannot be the '{role}' of a filter on top of '{below.node_name}', "
                    "because it uses that node itself"
                )
            _check_depth(below, other)
        _check_depth(below, below)
        if node_name is not None:
            self.check_new_name(node_name)
        name = node_name if node_name is not None else self.generate_name()
        options = NodeOptions(
            read_only=below.read_only,
            cache_direct=below.options.cache_direct,
            cache_no_flush=below.options.cache_no_flush,
            discard_unmap=True,
        )
        node = BlockNode(self, name, driver, options)
        users = [child for child in below.parents if child.owner not in stays]
        _check_movable(users)
        self.nodes[name] = node
        try:
            # The edges take their permissions only when the users have moved: until then those would conflict.
            for role, other in {driver.main_child or "file": below, **extra}.items():
                node.children[role] = self.attach(node, role, other, Perm.NONE)
            driver.adopt_geometry()
            node.bitmaps.resize(node.length)
            self._move(users, node)
            self._update_permissions([node])
        except BaseException:
            self._move([child for child in users if child.node is node], below)
            self._drop_children(node)
            del self.nodes[name]
            self._update_permissions([below])
            raise
        return node

    def remove_filter(self, node: BlockNode) -> None:
        """Take a filter out again: its users use the filtered node. Plain, cannot fail.

        The filter must be drained. Its other children are closed if nobody else uses them.
        """
        below = node.filtered
        if below is None:
            raise ValueError(f"{node!r} is no filter")
        self._move(list(node.parents), below)
        self._drop_children(node)
        del self.nodes[node.node_name]
        if node in self._dying:
            self._dying.remove(node)
        self._update_permissions([below])


class NodeOpener:
    """What a driver may use while it opens (`OpenContext`).

    :ivar opened_after_file: how many nodes children other than `file` have brought with them.
    """

    def __init__(self, graph: BlockGraph, node: BlockNode) -> None:
        self.node = node
        self.pool = graph.pool
        self.flags = node.options
        self.opened_after_file = 0
        self._graph = graph

    async def open_child(
        self, name: str, reference: Any, *, protocol: bool, inherit: NodeOptions | None = None
    ) -> Child:
        """Attach the child `reference`: an existing node's name, or a definition that is opened here."""
        from qmpd.block.opening import open_inline

        if isinstance(reference, str):
            below = self._graph.lookup(reference)
        else:
            before = len(self._graph.nodes)
            remembered = self._graph.remembered_names.pop((self.node.node_name, name), None)
            below = await open_inline(
                self._graph, reference, inherit or self.flags, protocol=protocol, remembered_name=remembered
            )
            self.opened_after_file += len(self._graph.nodes) - before if name != "file" else 0
            below.inherits_from, below.inherits_protocol = self.node, protocol
        try:
            return self._graph.attach_child(self.node, name, below)
        except BaseException:
            self._graph._mark_unused(below)
            raise


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _check_conflicts(node: BlockNode) -> None:
    """Pass unless one user of `node` takes what another one does not share.

    A node may have thousands of users: who takes a permission is looked up once, not for each pair of users.
    """
    takers: dict[Perm, dict[object, Child]] = {bit: {} for bit in PERM_NAMES}
    for child in node.parents:
        for bit, others in takers.items():
            if child.perm & bit and len(others) < 2:
                others.setdefault(_side(child), child)
    for child in node.parents:
        for bit, others in takers.items():
            rival = next((other for side, other in others.items() if side is not _side(child)), None)
            if rival is not None and not child.shared & bit:
                raise GenericError(
                    f"Node '{node.node_name}' cannot be used so: {rival.owner.describe()} (as '{rival.name}') "
                    f"needs {describe(rival.perm & ~child.shared)}, which {child.owner.describe()} "
                    f"(as '{child.name}') does not share"
                )


def _child_permissions(node: BlockNode, name: str, perm: Perm, shared: Perm) -> tuple[Perm, Perm]:
    """What a node takes and shares of a child, given what its users do."""
    taken, left = node.driver.child_permissions(name, perm, shared)
    if node.options.active:
        return taken, left
    return taken & ~WRITING, left | WRITING


def _side(child: Child) -> object:
    """Whose side the user is on: users of one side share everything with each other."""
    owner = child.owner
    return owner.side if isinstance(owner, BlockBackend) else child


def _check_movable(edges: Iterable[Child]) -> None:
    """Pass if no edge is frozen.

    :raises GenericError: one is.
    """
    for child in edges:
        if child.frozen:
            raise GenericError(
                f"The edge '{child.name}' from {child.owner.describe()} to node '{child.node.node_name}' is frozen: a "
                "job works on this chain of images"
            )


def _check_relinking(node: BlockNode, name: str, target: BlockNode | None) -> None:
    """Pass if the edge `name` of `node` may lead to `target`.

    :raises GenericError: the edge is frozen, there would be a loop, or too many nodes on top of each other.
    """
    child = node.children.get(name)
    if child is not None:
        _check_movable([child])
    if target is None:
        return
    if node in _nodes_below(target):
        raise GenericError(
            f"Node '{target.node_name}' cannot be the '{name}' of node '{node.node_name}', because it uses that node "
            "itself"
        )
    _check_depth(node, target)


def _nodes_below(top: BlockNode) -> set[BlockNode]:
    """`top` and all nodes that it uses, directly or not."""
    found = {top}
    waiting = [top]
    while waiting:
        for child in waiting.pop().children.values():
            if child.node not in found:
                found.add(child.node)
                waiting.append(child.node)
    return found


def _connected(nodes: Iterable[BlockNode]) -> set[BlockNode]:
    """`nodes` and all that hang together with them: by edges either way, or by a user that they have in common."""
    found: set[BlockNode] = set()
    waiting = list(nodes)
    users: set[ChildOwner] = set()
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        found.add(node)
        waiting += [child.node for child in node.children.values()]
        for child in node.parents:
            if isinstance(child.owner, BlockNode):
                waiting.append(child.owner)
            elif child.owner not in users:
                users.add(child.owner)
                waiting += [other for other in node.graph.nodes.values() if _is_used_by(other, child.owner)]
    return found


def _stored_in(nodes: Iterable[BlockNode]) -> set[BlockNode]:
    """`nodes` and all that hold what is written to them."""
    found: set[BlockNode] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [child.node for role, child in node.children.items() if role != "backing"]
    return found


def _is_used_by(node: BlockNode, owner: ChildOwner) -> bool:
    return any(child.owner is owner for child in node.parents)


def _longest_way(start: BlockNode, neighbours: Callable[[BlockNode], Iterable[BlockNode]]) -> int:
    """How many nodes there are on the longest way from `start` on."""
    longest: dict[BlockNode, int] = {}

    def measure(node: BlockNode) -> int:
        if node not in longest:
            longest[node] = 1 + max(map(measure, neighbours(node)), default=0)
        return longest[node]

    return measure(start)


def _check_depth(upper: BlockNode, lower: BlockNode) -> None:
    """Pass if one more edge, from `upper` down to `lower`, leaves no way through the graph too long.

    :raises GenericError: it does not.
    """
    above = _longest_way(upper, lambda node: (c.owner for c in node.parents if isinstance(c.owner, BlockNode)))
    below = _longest_way(lower, lambda node: (child.node for child in node.children.values()))
    if above + below > MAX_DEPTH:
        raise GenericError(
            f"Node '{lower.node_name}' has {below} nodes on top of each other, and {above} would come on top of them; "
            f"together there may be {MAX_DEPTH}"
        )
