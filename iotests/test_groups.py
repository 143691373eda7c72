"""Grouped transactions: several jobs that share one fate, and bitmaps that are given back when it is a bad one."""

import itertools
from dataclasses import dataclass
from typing import Any

import pytest

from iotests.harness import Scratch, Server
from iotests.harness.backups import FAR, SLOW, Volume, await_first_chunk, volume
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import qemu_io

CLUSTER = 64 * KIB


@dataclass(frozen=True, slots=True)
class Group:
    """Disks with a full backup each, a bitmap `b` that backups use and a bitmap `witness` that none touches."""

    server: Server
    members: list[Volume]

    def actions(self, sync: str = "incremental", **options: Any) -> list[tuple[str, dict[str, Any]]]:
        """The blockdev-backup actions of all members."""
        return [
            ("blockdev-backup", member.backup(sync, bitmap="b", **options))
            if sync == "incremental"
            else ("blockdev-backup", member.backup(sync, **options))
            for member in self.members
        ]

    def start(self, *, grouped: bool = True, **options: Any) -> None:
        """A grouped incremental backup of all; slow ones have copied their first chunk when it returns."""
        self.server.transaction(*self.actions(**options), grouped=grouped)
        if options.get("speed"):
            await_first_chunk(self.server, *(member.job for member in self.members))

    def go(self, member: Volume) -> None:
        """Let one slow job run."""
        self.server.qmp.command("block-job-set-speed", device=member.job, speed=0)

    def wait(self, *statuses: str) -> None:
        """Wait until all jobs are in one of these statuses."""
        for member in self.members:
            self.server.qmp.wait_job(member.job, *statuses)

    def assert_idle(self) -> None:
        """No job, no filter, no busy bitmap."""
        assert self.server.qmp.command("query-jobs") == []
        expected = {name for member in self.members for name in (member.name, member.target_name)}
        named = {name for name in self.server.node_names() if not name.startswith("#block")}
        assert named == expected
        for entry in self.server.qmp.command("query-named-block-nodes", flat=True):
            assert entry["drv"] != "copy-before-write"

    def assert_bitmaps_given_back(self) -> None:
        """Each bitmap holds what it held plus what was written since: it equals its witness."""
        for member in self.members:
            bitmaps = self.server.bitmaps(member.name)
            assert set(bitmaps) == {"b", "witness"}
            assert not bitmaps["b"]["busy"] and bitmaps["b"]["recording"]
            assert bitmaps["b"]["count"] == bitmaps["witness"]["count"]
            assert self.server.bitmap_sha256(member.name, "b") == self.server.bitmap_sha256(member.name, "witness")

    def assert_copies_equal(self) -> None:
        """Every target equals its disk, as it is now."""
        for member in self.members:
            member.assert_target_is(member.disk)

    def fate(self, member: Volume) -> str:
        """How the member's job ended: completed, failed or cancelled; exactly one event may say so."""
        qmp = self.server.qmp
        completed = qmp.seen("BLOCK_JOB_COMPLETED", device=member.job)
        cancelled = qmp.seen("BLOCK_JOB_CANCELLED", device=member.job)
        assert len(completed) + len(cancelled) == 1, self.server.trace().text()
        if cancelled:
            return "cancelled"
        return "failed" if "error" in completed[0].data else "completed"

    def fates(self) -> list[str]:
        """The fates of all members, in their order."""
        return [self.fate(member) for member in self.members]


def make_group(server: Server, scratch: Scratch, count: int) -> Group:
    """Disks d0, d1 ... on far targets, backed up in full, each with changes in its bitmap since."""
    members = [volume(server, scratch, f"d{number}", 4 * MIB, seed=number, far=True) for number in range(count)]
    group = Group(server, members)
    bitmaps = [
        ("block-dirty-bitmap-add", {"node": member.name, "name": name})
        for member in members
        for name in ("b", "witness")
    ]
    server.transaction(*bitmaps, *group.actions("full"))
    group.wait("null")
    group.assert_copies_equal()
    for number, member in enumerate(members):
        qemu_io(server.export(member.name), f"write -P {number + 1} 64k 100k", "write -P 99 1M 2500k")
    server.qmp.forget_events()
    return group


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("sibling", ["running", "waiting"])
def test_one_target_fails(server: Server, scratch: Scratch, failing: int, sibling: str) -> None:
    """The whole story: a failure at run time, both bitmaps given back, and a retry that needs nothing special."""
    group = make_group(server, scratch, 2)
    bad, good = group.members[failing], group.members[1 - failing]
    group.start(speed=SLOW)
    for member in group.members:
        qemu_io(server.nbd_uri(member.name), "write -P 0x55 2M 300k", "write -P 0x66 3800k 64k")
        assert server.bitmaps(member.name)["b"]["busy"]
    if sibling == "waiting":
        group.go(good)
        server.qmp.wait_job(good.job, "waiting")
    with server.file_size_limit(FAR):
        group.go(bad)
        group.wait("null")
    error = server.qmp.wait_event("BLOCK_JOB_ERROR", device=bad.job)
    assert (error.data["operation"], error.data["action"]) == ("write", "report")
    assert group.fate(bad) == "failed"
    assert group.fate(good) == "cancelled"
    assert server.qmp.job_statuses(good.job)[-3:] == ["aborting", "concluded", "null"]
    group.assert_idle()
    group.assert_bitmaps_given_back()
    assert server.bitmaps(good.name)["b"]["count"] > 2500 * KIB

    server.qmp.forget_events()
    group.start()
    group.wait("null")
    assert group.fates() == ["completed", "completed"]
    group.assert_copies_equal()
    assert [server.bitmaps(member.name)["b"]["count"] for member in group.members] == [0, 0]


def test_individual_jobs_do_not_share_fate(server: Server, scratch: Scratch) -> None:
    """Without grouped, the sibling of a failed job completes and only the failed one's bitmap is given back."""
    group = make_group(server, scratch, 2)
    group.start(speed=SLOW, grouped=False)
    with server.file_size_limit(FAR):
        group.go(group.members[0])
        server.qmp.wait_job(group.members[0].job, "null")
    group.go(group.members[1])
    group.wait("null")
    assert group.fates() == ["failed", "completed"]
    good = group.members[1]
    good.assert_target_is(good.disk)
    assert server.bitmaps(good.name)["b"]["count"] == 0
    assert server.bitmap_sha256("d0", "b") == server.bitmap_sha256("d0", "witness")


def test_disks_stand_at_one_point_in_time(server: Server, scratch: Scratch) -> None:
    """What is written to either disk after the transaction is in neither copy, however late the copy is made."""
    group = make_group(server, scratch, 2)
    states = [scratch.copy(member.disk, f"{member.name}-state") for member in group.members]
    group.start(speed=SLOW)
    for member in reversed(group.members):
        qemu_io(server.nbd_uri(member.name), "write -P 0x77 0 4M")
    for member in group.members:
        group.go(member)
    group.wait("null")
    for member, state in zip(group.members, states, strict=True):
        member.assert_target_is(state)


@dataclass(frozen=True, slots=True)
class Order:
    """One order of ends: `good` jobs end well one after another, then `how` happens to job `last` (None: nothing)."""

    good: tuple[int, ...]
    how: str | None = None
    last: int = -1

    def __str__(self) -> str:
        words = [f"{number}ok" for number in self.good]
        return "-".join([*words, f"{self.last}{self.how}"] if self.how else words)


def orders(count: int) -> list[Order]:
    """Every order of success, failure and cancellation of `count` jobs; the first bad end ends all.

    A job that already waits (it has ended well, its siblings have not) can still be cancelled.
    """
    found = [Order(everybody) for everybody in itertools.permutations(range(count))]
    for length in range(count):
        for good in itertools.permutations(range(count), length):
            rest = [number for number in range(count) if number not in good]
            found += [Order(good, how, last) for last in rest for how in ("fail", "cancel")]
            found += [Order(good, "cancel-waiting", last) for last in good]
    return found


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_order(server: Server, scratch: Scratch, count: int) -> None:
    """Each order on the same disks, one after another: fates, bitmaps, and a clean end each time."""
    group = make_group(server, scratch, count)
    for order in orders(count):
        server.qmp.forget_events()
        play(group, order)
        check(group, order)


def play(group: Group, order: Order) -> None:
    """Run a grouped incremental backup that ends in this order."""
    qmp = group.server.qmp
    group.start(speed=SLOW)
    for number in order.good:
        group.go(group.members[number])
        last_of_all = order.how is None and number == order.good[-1]
        qmp.wait_job(group.members[number].job, "null" if last_of_all else "waiting")
    if order.how == "fail":
        with group.server.file_size_limit(FAR):
            group.go(group.members[order.last])
            group.wait("null")
    elif order.how is not None:
        qmp.command("job-cancel", id=group.members[order.last].job)
    group.wait("null")


def check(group: Group, order: Order) -> None:
    """Fates and bitmaps after `play`; gives the bitmaps their changes back for the next order."""
    count = len(group.members)
    if order.how is None:
        assert group.fates() == ["completed"] * count, str(order)
        group.assert_copies_equal()
        for member in group.members:
            assert group.server.bitmaps(member.name)["b"]["count"] == 0
            group.server.qmp.command("block-dirty-bitmap-merge", node=member.name, target="b", bitmaps=["witness"])
    else:
        expected = ["cancelled"] * count
        if order.how == "fail":
            expected[order.last] = "failed"
        assert group.fates() == expected, str(order)
    group.assert_bitmaps_given_back()
    group.assert_idle()


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_failure_at_the_first_write(server: Server, scratch: Scratch, count: int, failing: int) -> None:
    """A job whose very first write fails, while its siblings are still being started or have hardly begun."""
    failing = failing % count
    group = make_group(server, scratch, count)
    actions = group.actions()
    for number, (_, data) in enumerate(actions):
        data["speed"] = 0 if number == failing else 1
    with server.file_size_limit(FAR):
        server.transaction(*actions, grouped=True)
        group.wait("null")
    assert "failed" in group.fates()
    assert "completed" not in group.fates()
    group.assert_bitmaps_given_back()
    group.assert_idle()
    server.qmp.forget_events()
    group.start()
    group.wait("null")
    assert group.fates() == ["completed"] * count
    group.assert_copies_equal()


@pytest.mark.parametrize(("grouped", "failing"), [(False, 1), (False, 2), (True, 1)])
def test_action_that_cannot_be_prepared(server: Server, scratch: Scratch, grouped: bool, failing: int) -> None:
    """Jobs made by earlier actions never start and leave nothing; the command answers with the error."""
    refuse_an_action(make_group(server, scratch, 3), grouped, failing)


@pytest.mark.qmpd_only("QEMU 7.2 hangs when two jobs of a group were made and a third action is refused")
def test_third_action_of_a_group_that_cannot_be_prepared(server: Server, scratch: Scratch) -> None:
    """As above, with several jobs of the group made already."""
    refuse_an_action(make_group(server, scratch, 3), True, 2)


def refuse_an_action(group: Group, grouped: bool, failing: int) -> None:
    """Run a transaction whose action number `failing` has no target."""
    server = group.server
    actions = group.actions()
    actions[failing][1]["target"] = "nobody"
    body: dict[str, Any] = {"actions": [{"type": kind, "data": data} for kind, data in actions]}
    if grouped:
        body["properties"] = {"completion-mode": "grouped"}
    server.qmp.refused("transaction", body)
    for member in group.members[:failing]:
        assert server.qmp.job_statuses(member.job) == ["created", "aborting", "concluded", "null"]
    for member in group.members[failing:]:
        assert server.qmp.job_statuses(member.job) == []
    assert not server.qmp.seen("BLOCK_JOB_COMPLETED") and not server.qmp.seen("BLOCK_JOB_CANCELLED")
    group.assert_bitmaps_given_back()
    group.assert_idle()


def test_abort_action(server: Server, scratch: Scratch) -> None:
    """`abort` undoes all that stands before and after it, in either mode."""
    group = make_group(server, scratch, 2)
    actions = group.actions()
    for grouped in (False, True):
        body: dict[str, Any] = {
            "actions": [
                {"type": kind, "data": data} for kind, data in (actions[0], ("abort", dict[str, Any]()), actions[1])
            ]
        }
        if grouped:
            body["properties"] = {"completion-mode": "grouped"}
        server.qmp.refused("transaction", body)
        group.assert_bitmaps_given_back()
        group.assert_idle()


class TestManualFinalization:
    """auto-finalize=false in a group."""

    @pytest.fixture
    def group(self, server: Server, scratch: Scratch) -> Group:
        """A started group of three of which only the second wants to be finalized by hand; all stand in pending."""
        group = make_group(server, scratch, 3)
        actions = group.actions()
        actions[1][1]["auto-finalize"] = False
        server.transaction(*actions, grouped=True)
        server.qmp.wait_event("BLOCK_JOB_PENDING", id="job-d1")
        group.wait("pending")
        return group

    @pytest.mark.parametrize("by", [0, 1, 2])
    def test_any_member_finalizes_all(self, server: Server, group: Group, by: int) -> None:
        assert {job["status"] for job in server.qmp.command("query-jobs")} == {"pending"}
        assert len(server.qmp.seen("BLOCK_JOB_PENDING")) == 1
        assert all(server.bitmaps(member.name)["b"]["busy"] for member in group.members)
        server.qmp.command("job-finalize", id=group.members[by].job)
        group.wait("null")
        assert group.fates() == ["completed"] * 3
        group.assert_copies_equal()
        group.assert_idle()

    @pytest.mark.parametrize("by", [0, 1, 2])
    def test_any_member_cancels_all(self, server: Server, group: Group, by: int) -> None:
        server.qmp.command("job-cancel", id=group.members[by].job)
        group.wait("null")
        assert group.fates() == ["cancelled"] * 3
        group.assert_bitmaps_given_back()
        group.assert_idle()

    def test_writes_while_pending(self, server: Server, group: Group) -> None:
        """What is written while the group stands in pending is in the bitmaps afterwards."""
        qemu_io(server.nbd_uri("d0"), "write -P 1 0 64k")
        server.qmp.command("job-finalize", id="job-d2")
        group.wait("null")
        assert [server.bitmaps(member.name)["b"]["count"] for member in group.members] == [CLUSTER, 0, 0]


class TestConcludedMembers:
    """auto-dismiss=false in a group."""

    def test_each_is_dismissed_by_hand(self, server: Server, scratch: Scratch) -> None:
        group = make_group(server, scratch, 2)
        with server.file_size_limit(FAR):
            actions = group.actions(auto_dismiss=False)
            actions[0][1]["speed"] = 1
            server.transaction(*actions, grouped=True)
            group.wait("concluded")
        jobs = {job["id"]: job for job in server.qmp.command("query-jobs")}
        assert set(jobs) == {"job-d0", "job-d1"}
        assert all(job["error"] for job in jobs.values())
        group.assert_bitmaps_given_back()
        for job in jobs:
            server.qmp.command("job-dismiss", id=job)
        group.assert_idle()


def test_policy_stop_holds_the_group(server: Server, scratch: Scratch) -> None:
    """A member stopped by an error holds the others in waiting; resumed, the whole group completes."""
    group = make_group(server, scratch, 2)
    bad, good = group.members
    group.start(on_target_error="stop", speed=SLOW)
    group.go(good)
    server.qmp.wait_job(good.job, "waiting")
    with server.file_size_limit(FAR):
        group.go(bad)
        server.qmp.wait_event("BLOCK_JOB_ERROR", device=bad.job)
        server.qmp.wait_job(bad.job, "paused")
        job = server.qmp.job(good.job)
        assert job is not None and job["status"] == "waiting"
    server.qmp.command("job-resume", id=bad.job)
    group.wait("null")
    assert group.fates() == ["completed", "completed"]
    group.assert_copies_equal()


@pytest.mark.qsd_only("qmpd lets bitmap actions join the group")
def test_bitmap_actions_are_refused_in_a_group(server: Server) -> None:
    """The fact about QEMU from which qmpd departs."""
    server.add_null("n", MIB)
    action = {"type": "block-dirty-bitmap-add", "data": {"node": "n", "name": "b"}}
    server.qmp.refused("transaction", {"actions": [action], "properties": {"completion-mode": "grouped"}})


@pytest.mark.qmpd_only("QEMU refuses bitmap actions in a grouped transaction")
class TestBitmapActionsInAGroup:
    """Bitmap actions share the group's fate to the end of its last job."""

    @pytest.fixture
    def group(self, server: Server, scratch: Scratch) -> Group:
        """Two disks with more bitmaps on the first: `off` is disabled, `kept` and `gone` hold changes."""
        group = make_group(server, scratch, 2)
        for name in ("kept", "gone", "off"):
            server.qmp.command("block-dirty-bitmap-add", node="d0", name=name)
        qemu_io(server.nbd_uri("d0"), "write -P 3 0 64k", "write -P 4 1M 128k")
        server.qmp.command("block-dirty-bitmap-disable", node="d0", name="off")
        server.qmp.forget_events()
        return group

    def actions(self, group: Group) -> list[tuple[str, dict[str, Any]]]:
        """One bitmap action of each kind around the backups; later ones use what earlier ones made."""
        d0: dict[str, Any] = {"node": "d0"}
        return [
            ("block-dirty-bitmap-add", d0 | {"name": "fresh"}),
            ("block-dirty-bitmap-merge", d0 | {"target": "fresh", "bitmaps": ["kept"]}),
            ("block-dirty-bitmap-clear", d0 | {"name": "kept"}),
            ("block-dirty-bitmap-disable", d0 | {"name": "witness"}),
            ("block-dirty-bitmap-enable", d0 | {"name": "off"}),
            ("block-dirty-bitmap-remove", d0 | {"name": "gone"}),
            *group.actions(speed=SLOW),
        ]

    def test_success_keeps_them(self, server: Server, group: Group) -> None:
        server.transaction(*self.actions(group), grouped=True)
        for member in group.members:
            group.go(member)
        group.wait("null")
        bitmaps = server.bitmaps("d0")
        assert set(bitmaps) == {"b", "witness", "kept", "off", "fresh"}
        assert bitmaps["kept"]["count"] == 0
        assert bitmaps["fresh"]["count"] == 3 * CLUSTER
        assert not bitmaps["witness"]["recording"] and bitmaps["off"]["recording"]
        group.assert_copies_equal()

    @pytest.mark.parametrize("end", ["fail", "cancel"])
    def test_a_bad_end_takes_them_back(self, server: Server, group: Group, end: str) -> None:
        """All bitmaps are as they were, plus what was written since where they record."""
        before = server.bitmaps("d0")
        hashes = {name: server.bitmap_sha256("d0", name) for name in before}
        server.transaction(*self.actions(group), grouped=True)
        group.go(group.members[0])
        server.qmp.wait_job("job-d0", "waiting")
        await_first_chunk(server, "job-d1")
        if end == "fail":
            with server.file_size_limit(FAR):
                group.go(group.members[1])
                group.wait("null")
        else:
            server.qmp.command("job-cancel", id="job-d0")
        group.wait("null")
        assert server.bitmaps("d0") == before
        assert {name: server.bitmap_sha256("d0", name) for name in before} == hashes

    def test_writes_meanwhile_are_kept(self, server: Server, group: Group) -> None:
        """A cleared, a disabled and a removed bitmap come back with what was written since."""
        server.transaction(*self.actions(group), grouped=True)
        qemu_io(server.nbd_uri("d0"), "write -P 5 3M 64k")
        server.qmp.command("job-cancel", id="job-d0")
        group.wait("null")
        bitmaps = server.bitmaps("d0")
        assert set(bitmaps) == {"b", "witness", "kept", "gone", "off"}
        assert bitmaps["kept"]["count"] == bitmaps["gone"]["count"] == 4 * CLUSTER
        assert bitmaps["kept"]["recording"] and bitmaps["gone"]["recording"]
        assert bitmaps["off"]["count"] == 3 * CLUSTER and not bitmaps["off"]["recording"]
        assert bitmaps["witness"]["recording"]
        assert server.bitmap_sha256("d0", "b") == server.bitmap_sha256("d0", "witness")

    def test_bitmap_and_the_backup_that_uses_it(self, server: Server, group: Group) -> None:
        """A bitmap made by the transaction, filled by a merge, and consumed by its backup; a failure removes it."""
        actions: list[tuple[str, dict[str, Any]]] = [
            ("block-dirty-bitmap-add", {"node": "d0", "name": "new"}),
            ("block-dirty-bitmap-merge", {"node": "d0", "target": "new", "bitmaps": ["b"]}),
            ("blockdev-backup", group.members[0].backup("incremental") | {"bitmap": "new"}),
        ]
        with server.file_size_limit(FAR):
            server.transaction(*actions, grouped=True)
            server.qmp.wait_job("job-d0", "null")
        assert "new" not in server.bitmaps("d0")
        server.transaction(*actions, grouped=True)
        server.qmp.wait_job("job-d0", "concluded", "null")
        server.qmp.wait_event("BLOCK_JOB_COMPLETED")
        server.qmp.wait_job("job-d0", "null")
        assert server.bitmaps("d0")["new"]["count"] == 0
        group.members[0].assert_target_is(group.members[0].disk)

    def test_the_same_command_can_be_run_again(self, server: Server, group: Group) -> None:
        """After a failure the whole transaction is simply sent again, and works."""
        actions = self.actions(group)
        server.transaction(*actions, grouped=True)
        await_first_chunk(server, *(member.job for member in group.members))
        with server.file_size_limit(FAR):
            group.go(group.members[1])
            group.wait("null")
        server.qmp.forget_events()
        server.transaction(*actions, grouped=True)
        for member in group.members:
            group.go(member)
        group.wait("null")
        assert group.fates() == ["completed", "completed"]
        group.assert_copies_equal()
        assert set(server.bitmaps("d0")) == {"b", "witness", "kept", "off", "fresh"}
