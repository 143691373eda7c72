"""The bitmap actions: what each does, and that taking it back leaves no trace.

The heart is a comparison of worlds. One world gets a transaction and loses it, before its commit or at the
end of its group; another never heard of it; both see the same writes. They must not differ in a single bit.
And a group that succeeds must end like the same actions done one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmpd.api.models import BlockDirtyBitmap, BlockDirtyBitmapAdd, BlockDirtyBitmapMerge
from qmpd.block.dirty_bitmap import BitmapStore, DirtyBitmap
from qmpd.block.driver import BlockDriver, Buffer
from qmpd.block.graph import BlockGraph
from qmpd.block.iopool import IOPool
from qmpd.block.node import BlockNode, NodeOptions
from qmpd.errors import GenericError, QMPError
from qmpd.jobs.job import Job
from qmpd.jobs.manager import JobManager
from qmpd.transaction import kinds as kinds_package
from qmpd.transaction.action import TransactionAction
from qmpd.transaction.engine import ActionRequest, TransactionEngine, discover_kinds
from qmpd.transaction.env import CompletionMode
from tests.soak import count

PIECE = 512
LENGTH = 40 * PIECE
INDIVIDUAL, GROUPED = CompletionMode.INDIVIDUAL, CompletionMode.GROUPED


class NoDisk(BlockDriver):
    """As much of a driver as bitmap actions look at."""

    async def open(self, options: Any, context: Any) -> None:
        raise AssertionError("never opened")

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        raise AssertionError("never read")

    async def pwritev(self, offset: int, data: Buffer, fua: bool) -> None:
        raise AssertionError("never written")


class BitmapDisk(NoDisk):
    """A driver that could store bitmaps."""

    supports_persistent_bitmaps = True


class NoEvents:
    """Nobody listens."""

    def emit(self, name: str, data: Mapping[str, object] | None = None) -> None:
        return


class Copy(Job):
    """A job that ends as the test says; with a bitmap, it treats that as a backup does."""

    job_type = "backup"

    def __init__(self, job_id: str, bitmap: DirtyBitmap | None) -> None:
        super().__init__(job_id)
        self.bitmap = bitmap
        if bitmap is not None:
            bitmap.check()
            bitmap.freeze()
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        while not self.outcome.done():
            await self.sleep(3600)
        self.outcome.result()

    def finish(self, error: OSError | None) -> None:
        if error is None:
            self.outcome.set_result(None)
        else:
            self.outcome.set_exception(error)
        self.kick()

    def commit(self) -> None:
        if self.bitmap is not None:
            self.bitmap.abdicate()

    def abort(self) -> None:
        if self.bitmap is not None:
            self.bitmap.reclaim()


class CopyAction(TransactionAction):
    """Starts a `Copy`; its data is (job id, bitmap's name or None)."""

    kind = "copy"
    job: Copy | None = None

    async def prepare(self) -> None:
        job_id, name = self.data
        bitmaps = self.env.graph.lookup("n0").bitmaps
        self.job = Copy(job_id, None if name is None else bitmaps.lookup(name))
        self.env.jobs.add(self.job, self.env.group)

    def commit(self) -> None:
        assert self.job is not None
        self.job.start()

    def abort(self) -> None:
        if self.job is not None:
            self.job.abandon()


class FailAction(TransactionAction):
    """Fails."""

    kind = "fail"

    async def prepare(self) -> None:
        raise GenericError("as asked for")


class World:
    """Two nodes of the same size under the real graph, engine and job manager."""

    def __init__(self, driver: type[BlockDriver] = NoDisk) -> None:
        nothing: Any = None
        self.graph = BlockGraph(IOPool(), NoEvents())
        self.nodes = [self._add_node(name, driver("test")) for name in ("n0", "n1")]
        self.jobs = JobManager(self.graph, NoEvents())
        kinds = {**discover_kinds(kinds_package), "copy": CopyAction, "fail": FailAction}
        self.engine = TransactionEngine(self.graph, self.jobs, NoEvents(), nothing, kinds=kinds)

    def _add_node(self, name: str, driver: BlockDriver) -> BlockNode:
        driver.length = LENGTH
        self.graph.nodes[name] = BlockNode(self.graph, name, driver, NodeOptions())
        return self.graph.nodes[name]

    @property
    def store(self) -> BitmapStore:
        return self.nodes[0].bitmaps

    def bitmap(self, name: str) -> DirtyBitmap:
        return self.store.lookup(name)

    def dirty(self, name: str) -> list[int]:
        return [index for index, bit in enumerate(self.bitmap(name).snapshot()) if bit]

    def new(self, name: str, *dirty: int, **options: Any) -> DirtyBitmap:
        bitmap = DirtyBitmap(name, LENGTH, PIECE, **options)
        for index in dirty:
            bitmap.set(index * PIECE, PIECE)
        self.store.add(bitmap)
        return bitmap

    def write(self, *pieces: int) -> None:
        for index in pieces:
            self.store.mark(index * PIECE, PIECE)

    async def run(self, mode: CompletionMode, *requests: ActionRequest) -> list[TransactionAction]:
        context: Any = None
        return await self.engine.run(requests, mode, context)

    async def start_group(self, *requests: ActionRequest) -> Copy:
        """Run `requests` grouped with one job more, which decides about the group."""
        actions = await self.run(GROUPED, *requests, ActionRequest("copy", ("job", None)))
        job = actions[-1]
        assert isinstance(job, CopyAction)
        assert job.job is not None
        return job.job

    async def end(self, job: Copy, *, success: bool) -> None:
        """End the group of `job`."""
        for member in job.txn.members:
            assert isinstance(member, Copy)
            if success:
                member.finish(None)
        if not success:
            job.finish(OSError(5, "Input/output error"))
        await job.txn.wait_settled()

    def state(self) -> list[Any]:
        """Everything there is to know about all bitmaps, hidden ones included."""
        return [
            (
                *(node.node_name, bitmap.name, bitmap.granularity, bitmap.snapshot().tobytes()),
                *(bitmap.enabled, bitmap.busy, bitmap.hidden, bitmap.has_twin),
            )
            for node in self.nodes
            for bitmap in sorted(node.bitmaps, key=lambda bitmap: bitmap.name or "")
        ]


def add(name: str, **options: Any) -> ActionRequest:
    return ActionRequest(
        "block-dirty-bitmap-add",
        BlockDirtyBitmapAdd(node="n0", name=name, **{"granularity": PIECE, **options}),
    )


def simple(verb: str, name: str, node: str = "n0") -> ActionRequest:
    return ActionRequest(f"block-dirty-bitmap-{verb}", BlockDirtyBitmap(node=node, name=name))


def merge(target: str, *sources: str | BlockDirtyBitmap) -> ActionRequest:
    return ActionRequest(
        "block-dirty-bitmap-merge", BlockDirtyBitmapMerge(node="n0", target=target, bitmaps=list(sources))
    )


class TestOneAction:
    """Each command alone."""

    async def test_add(self) -> None:
        world = World()
        await world.run(INDIVIDUAL, add("a"))
        world.write(3)
        assert world.dirty("a") == [3]
        assert world.bitmap("a").granularity == PIECE

    async def test_add_disabled(self) -> None:
        world = World()
        await world.run(INDIVIDUAL, add("a", disabled=True))
        world.write(3)
        assert world.dirty("a") == []

    @pytest.mark.parametrize(("cluster", "granularity"), [(None, 65536), (512, 4096), (16384, 16384)])
    async def test_default_granularity_is_the_cluster_size(
        self, cluster: int | None, granularity: int
    ) -> None:
        world = World()
        world.nodes[0].driver.cluster_size = cluster
        await world.run(INDIVIDUAL, add("a", granularity=None))
        assert world.bitmap("a").granularity == granularity

    async def test_add_persistent_where_it_can_be_stored(self) -> None:
        world = World(BitmapDisk)
        await world.run(INDIVIDUAL, add("a", persistent=True))
        assert world.bitmap("a").persistent

    async def test_remove_clear_and_switch(self) -> None:
        world = World()
        world.new("a", 1)
        await world.run(INDIVIDUAL, simple("clear", "a"))
        assert world.dirty("a") == []
        await world.run(INDIVIDUAL, simple("disable", "a"))
        world.write(2)
        assert world.dirty("a") == []
        await world.run(INDIVIDUAL, simple("enable", "a"))
        world.write(3)
        assert world.dirty("a") == [3]
        await world.run(INDIVIDUAL, simple("remove", "a"))
        assert world.store.find("a") is None
        assert len(world.store) == 0

    async def test_merge(self) -> None:
        world = World()
        world.new("a", 1)
        world.new("b", 2)
        world.nodes[1].bitmaps.add(DirtyBitmap("c", LENGTH, 2 * PIECE))
        world.nodes[1].bitmaps.mark(9 * PIECE, 1)
        await world.run(INDIVIDUAL, merge("a", "b", BlockDirtyBitmap(node="n1", name="c"), "a"))
        assert world.dirty("a") == [1, 2, 8, 9]
        await world.run(INDIVIDUAL, merge("a"))
        assert world.dirty("a") == [1, 2, 8, 9]

    @pytest.mark.parametrize(
        ("request_", "words"),
        [
            (add(""), "empty"),
            (add("x" * 1024), "1023 bytes"),
            (add("a"), "already has"),
            (add("z", granularity=513), "power of two"),
            (add("z", granularity=0), "power of two"),
            (add("z", persistent=True), "persistent"),
            (simple("remove", "z"), "no bitmap 'z'"),
            (simple("clear", "z"), "no bitmap 'z'"),
            (simple("enable", "a", node="zz"), "'zz'"),
            (simple("disable", "z"), "no bitmap 'z'"),
            (merge("z", "a"), "no bitmap 'z'"),
            (merge("a", "z"), "no bitmap 'z'"),
            (merge("a", BlockDirtyBitmap(node="zz", name="z")), "'zz'"),
            (merge("a", "a", BlockDirtyBitmap(node="n1", name="long")), "same size"),
            (simple("clear", "busy"), "busy"),
            (simple("remove", "busy"), "busy"),
            (simple("enable", "busy"), "busy"),
            (simple("disable", "busy"), "busy"),
            (merge("busy", "a"), "busy"),
            (merge("a", "busy"), "busy"),
            (simple("clear", "broken"), "inconsistent"),
            (simple("enable", "broken"), "inconsistent"),
            (merge("a", "broken"), "inconsistent"),
            (simple("clear", "fixed"), "read-only"),
            (simple("remove", "fixed"), "read-only"),
            (merge("fixed", "a"), "read-only"),
        ],
    )
    async def test_refusals(self, request_: ActionRequest, words: str) -> None:
        world = World()
        world.new("a", 1)
        world.new("busy", 2).lock()
        world.new("broken").inconsistent = True
        world.new("fixed").read_only = True
        world.nodes[1].bitmaps.add(DirtyBitmap("long", LENGTH + 1, PIECE))
        before = world.state()
        for mode in (INDIVIDUAL, GROUPED):
            with pytest.raises(GenericError, match=words):
                await world.run(mode, request_)
            assert world.state() == before

    async def test_unknown_node_to_add_to(self) -> None:
        request = ActionRequest("block-dirty-bitmap-add", BlockDirtyBitmapAdd(node="zz", name="a"))
        with pytest.raises(GenericError, match="'zz'"):
            await World().run(INDIVIDUAL, request)

    async def test_more_bits_than_memory_is_refused(self) -> None:
        world = World()
        world.nodes[0].driver.length = 1 << 62
        with pytest.raises(GenericError, match="granularity"):
            await world.run(INDIVIDUAL, add("a"))

    async def test_what_a_state_still_allows(self) -> None:
        world = World()
        world.new("broken").inconsistent = True
        world.new("fixed", 4).read_only = True
        world.new("a")
        await world.run(
            INDIVIDUAL, simple("remove", "broken"), simple("disable", "fixed"), merge("a", "fixed")
        )
        assert world.store.find("broken") is None
        assert world.dirty("a") == [4]

    def test_nodes_to_drain(self) -> None:
        world = World()
        kinds = world.engine.kinds
        env: Any = SimpleNamespace(graph=world.graph, group=None)
        names = [
            [node.node_name for node in kinds[request.kind](request.data, env).nodes()]
            for request in (
                add("a"),
                simple("remove", "a"),
                simple("clear", "a"),
                simple("enable", "a", node="n1"),
                simple("disable", "a", node="zz"),
                merge("a", "b", BlockDirtyBitmap(node="n1", name="c"), BlockDirtyBitmap(node="n1", name="d")),
            )
        ]
        assert names == [["n0"], ["n0"], ["n0"], ["n1"], [], ["n0", "n1"]]


class TestOneTransaction:
    """Later actions see what earlier ones did."""

    async def test_add_then_merge_into_it(self) -> None:
        world = World()
        world.new("a", 1, 5)
        await world.run(INDIVIDUAL, add("b", disabled=True), merge("b", "a"), simple("clear", "a"))
        assert (world.dirty("a"), world.dirty("b")) == ([], [1, 5])

    async def test_a_name_is_taken_until_its_removal_is_final(self) -> None:
        world = World()
        world.new("a", 1)
        with pytest.raises(GenericError, match="already has"):
            await world.run(INDIVIDUAL, simple("remove", "a"), add("a"))
        with pytest.raises(GenericError, match="busy"):
            await world.run(INDIVIDUAL, simple("remove", "a"), simple("clear", "a"))
        assert world.dirty("a") == [1]
        assert not world.bitmap("a").busy

    async def test_add_then_remove(self) -> None:
        world = World()
        await world.run(INDIVIDUAL, add("a"), simple("remove", "a"))
        assert len(world.store) == 0


class TestGroup:
    """What the end of the group makes of each action."""

    async def fail(self, world: World, request: ActionRequest, *written: int) -> None:
        job = await world.start_group(request)
        world.write(*written)
        await world.end(job, success=False)
        assert all(not bitmap.busy and not bitmap.hidden for bitmap in world.store)
        assert all(bitmap.name is not None for bitmap in world.store)

    async def test_added(self) -> None:
        world = World()
        await self.fail(world, add("a"), 3)
        assert len(world.store) == 0

    async def test_removed_comes_back_with_what_was_written(self) -> None:
        world = World()
        world.new("a", 1)
        await self.fail(world, simple("remove", "a"), 3)
        assert world.dirty("a") == [1, 3]

    async def test_cleared_has_old_and_new(self) -> None:
        world = World()
        world.new("a", 1)
        await self.fail(world, simple("clear", "a"), 3)
        assert world.dirty("a") == [1, 3]

    async def test_enabled_is_as_it_was(self) -> None:
        world = World()
        world.new("a", 1, disabled=True)
        await self.fail(world, simple("enable", "a"), 3)
        assert world.dirty("a") == [1]
        assert not world.bitmap("a").enabled

    async def test_disabled_missed_nothing(self) -> None:
        world = World()
        world.new("a", 1)
        await self.fail(world, simple("disable", "a"), 3)
        assert world.dirty("a") == [1, 3]
        assert world.bitmap("a").enabled

    async def test_merged_has_old_and_new(self) -> None:
        world = World()
        world.new("a", 1)
        world.new("b", 2)
        await self.fail(world, merge("a", "b"), 3)
        assert world.dirty("a") == [1, 3]

    async def test_it_is_nobodys_until_the_group_has_ended(self) -> None:
        world = World()
        for name in ("cleared", "removed", "other"):
            world.new(name, 1)
        job = await world.start_group(simple("clear", "cleared"), simple("remove", "removed"), add("added"))
        for name in ("cleared", "added"):
            for request in (simple("clear", name), simple("remove", name), merge("other", name)):
                with pytest.raises(GenericError, match="busy"):
                    await world.run(INDIVIDUAL, request)
        with pytest.raises(GenericError, match="being removed"):
            await world.run(INDIVIDUAL, add("removed"))
        with pytest.raises(GenericError, match="no bitmap 'removed'"):
            await world.run(INDIVIDUAL, simple("clear", "removed"))
        assert [info.get("name") for info in world.store.info()] == ["added", "other", "cleared"]
        assert all(info["recording"] for info in world.store.info())
        await world.run(INDIVIDUAL, simple("clear", "other"))
        await world.end(job, success=True)
        assert len(world.store) == 3
        await world.run(
            INDIVIDUAL, simple("clear", "cleared"), simple("remove", "added"), add("removed"), add("new")
        )

    async def test_many_actions_on_one_bitmap(self) -> None:
        world = World()
        world.new("a", 1)
        world.new("b", 2)
        job = await world.start_group(
            merge("a", "b"), simple("disable", "a"), simple("clear", "a"), simple("remove", "a")
        )
        world.write(7)
        await world.end(job, success=False)
        assert world.dirty("a") == [1, 7]
        assert world.bitmap("a").enabled

    async def test_with_a_backup_from_the_bitmap(self) -> None:
        for success, expected in ((True, [3]), (False, [1, 3])):
            world = World()
            world.new("a", 1)
            job = await world.start_group(simple("clear", "a"), ActionRequest("copy", ("other", "a")))
            assert world.bitmap("a").frozen
            world.write(3)
            await world.end(job, success=success)
            assert world.dirty("a") == expected
            assert len(world.store) == 1

    async def test_the_node_grows_meanwhile(self) -> None:
        world = World()
        world.new("a", 1)
        job = await world.start_group(simple("clear", "a"))
        world.store.resize(2 * LENGTH)
        world.write(60)
        await world.end(job, success=False)
        assert world.dirty("a") == [1, 60]

    async def test_a_group_without_a_job_is_over_at_once(self) -> None:
        world = World()
        world.new("a", 1)
        await world.run(GROUPED, simple("clear", "a"), add("b"))
        assert world.dirty("a") == []
        assert not any(bitmap.busy for bitmap in world.store)
        assert len(world.store) == 2


NAMES = ["a", "b", "c"]
NAME = st.sampled_from(NAMES)
REQUESTS = st.one_of(
    st.builds(add, NAME, disabled=st.booleans(), granularity=st.sampled_from([512, 1024])),
    st.builds(simple, st.sampled_from(["remove", "clear", "enable", "disable"]), NAME),
    st.builds(merge, NAME, NAME, NAME),
)
ACTIONS = st.lists(REQUESTS, min_size=1, max_size=6)
WRITES = st.lists(st.integers(0, LENGTH // PIECE - 1), max_size=5)
INITIAL = st.dictionaries(NAME, st.tuples(WRITES, st.booleans()), min_size=1)


def worlds(initial: dict[str, tuple[list[int], bool]]) -> tuple[World, World]:
    """Two equal worlds."""
    pair = World(), World()
    for world in pair:
        for name, (dirty, disabled) in initial.items():
            world.new(name, *dirty, disabled=disabled)
    return pair


async def acceptable(
    initial: dict[str, tuple[list[int], bool]], requests: Sequence[ActionRequest]
) -> list[ActionRequest]:
    """Those of `requests` that can stand in one transaction together, in order."""
    chosen: list[ActionRequest] = []
    for request in requests:
        world, _ = worlds(initial)
        try:
            await world.run(GROUPED, *chosen, request)
        except QMPError:
            continue
        chosen.append(request)
    return chosen


@settings(max_examples=count(80, 4000), deadline=None)
@given(
    INITIAL,
    ACTIONS,
    NAME,
    st.integers(0, 6),
    WRITES,
    WRITES,
    st.booleans(),
)
def test_worlds(
    initial: dict[str, tuple[list[int], bool]],
    requests: list[ActionRequest],
    copied: str,
    position: int,
    first: list[int],
    second: list[int],
    success: bool,
) -> None:
    """A transaction that fails, early or late, never was; a group that succeeds is like its actions alone."""

    async def compare() -> None:
        copy = ActionRequest("copy", ("user", copied))
        chosen = await acceptable(initial, [*requests[:position], copy, *requests[position:]])
        world, other = worlds(initial)
        before = world.state()
        for mode in (INDIVIDUAL, GROUPED):
            with pytest.raises(GenericError, match="as asked for"):
                await world.run(mode, *chosen, ActionRequest("fail", None))
            assert world.state() == before

        for one in (world, other):
            one.write(*first)
        job = await world.start_group(*chosen)
        single = await other.run(INDIVIDUAL, *chosen) if success else []
        for one in (world, other):
            one.write(*second)
        await world.end(job, success=success)
        for action in single:
            if isinstance(action, CopyAction):
                assert action.job is not None
                await other.end(action.job, success=True)
        assert world.state() == other.state()

    asyncio.run(compare())
