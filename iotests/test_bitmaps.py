"""Dirty bitmaps as a client sees them: what they record, what commands and transactions make of them, who may
touch them while a job works, and what becomes of them when it ends.
"""

import random
from typing import Any

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.qmp import wire_names
from iotests.harness.tools import assert_same, qemu_io

KIB, MIB = 1 << 10, 1 << 20
CLUSTER = 64 * KIB
LENGTH = 4 * MIB

ADD, REMOVE, CLEAR, ENABLE, DISABLE, MERGE = (
    f"block-dirty-bitmap-{verb}" for verb in ("add", "remove", "clear", "enable", "disable", "merge")
)
Action = tuple[str, dict[str, Any]]


def on(name: str, **members: Any) -> dict[str, Any]:
    """The arguments that name bitmap `name` of node `disk`, and further members."""
    return {"node": "disk", "name": name, **members}


def merging(target: str, *bitmaps: Any) -> dict[str, Any]:
    return {"node": "disk", "target": target, "bitmaps": list(bitmaps)}


@pytest.fixture
def disk(server: Server, scratch: Scratch) -> str:
    """A raw disk `disk` of 4 MiB and a target `target` of the same size; gives the NBD URI of the disk."""
    server.add_raw(scratch.disk("disk", LENGTH), "disk", discard="unmap")
    server.add_raw(scratch.disk("target", LENGTH), "target")
    return server.export("disk")


def snapshot(server: Server) -> dict[str, Any]:
    """All there is to know about the bitmaps of the disk."""
    return {name: (info, server.bitmap_sha256("disk", name)) for name, info in server.bitmaps("disk").items()}


def write(uri: str, *clusters: int) -> None:
    """Write to the beginning of each of `clusters`."""
    qemu_io(uri, *(f"write {index * CLUSTER} 512" for index in clusters))


def count(server: Server, name: str) -> int:
    dirty: int = server.bitmaps("disk")[name]["count"]
    return dirty


class TestRecording:
    def test_life_of_a_bitmap(self, server: Server, disk: str) -> None:
        qmp = server.qmp
        qmp.command(ADD, on("b"))
        assert server.bitmaps("disk") == {
            "b": {
                "name": "b",
                "recording": True,
                "persistent": False,
                "busy": False,
                "granularity": CLUSTER,
                "count": 0,
            }
        }
        empty = server.bitmap_sha256("disk", "b")
        write(disk, 0, 5, 5)
        assert count(server, "b") == 2 * CLUSTER
        assert server.bitmap_sha256("disk", "b") != empty
        qmp.command(CLEAR, on("b"))
        assert count(server, "b") == 0
        assert server.bitmap_sha256("disk", "b") == empty
        qmp.command(DISABLE, on("b"))
        assert server.bitmaps("disk")["b"]["recording"] is False
        write(disk, 7)
        assert count(server, "b") == 0
        qmp.command(ENABLE, on("b"))
        write(disk, 8)
        assert count(server, "b") == CLUSTER
        qmp.command(REMOVE, on("b"))
        assert server.bitmaps("disk") == {}

    def test_enabling_and_disabling_twice_is_no_mistake(self, server: Server, disk: str) -> None:
        server.qmp.command(ADD, on("b", disabled=True))
        for verb, recording in ((DISABLE, False), (ENABLE, True), (ENABLE, True), (DISABLE, False)):
            server.qmp.command(verb, on("b"))
            assert server.bitmaps("disk")["b"]["recording"] is recording

    def test_every_kind_of_write_is_recorded(self, server: Server, disk: str) -> None:
        server.qmp.command(ADD, on("b"))
        for number, verb in enumerate(("write", "write -f", "write -z", "write -zu", "discard"), start=1):
            qemu_io(disk, f"{verb} {number * MIB // 2} {CLUSTER}")
            assert count(server, "b") == number * CLUSTER, verb
        qemu_io(disk, "read 0 4M")
        assert count(server, "b") == 5 * CLUSTER

    def test_granularity(self, server: Server, disk: str) -> None:
        sizes = (512, 4 * KIB, CLUSTER, MIB, 1 << 30, 1 << 31)
        for size in sizes:
            server.qmp.command(ADD, on(str(size), granularity=size))
        qemu_io(disk, f"write {MIB + 512} 1k")
        for size in sizes:
            info = server.bitmaps("disk")[str(size)]
            assert info["granularity"] == size
            assert info["count"] == (2 * size if size == 512 else size)

    def test_a_last_partial_piece_counts_in_full(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("odd", 3 * CLUSTER + 512), "disk")
        uri = server.export("disk")
        server.qmp.command(ADD, on("b"))
        qemu_io(uri, f"write {3 * CLUSTER} 512")
        assert count(server, "b") == CLUSTER

    def test_newest_first(self, server: Server, disk: str) -> None:
        for name in ("c", "a", "b"):
            server.qmp.command(ADD, on(name))
        assert list(server.bitmaps("disk")) == ["b", "a", "c"]

    def test_an_empty_disk_may_have_one(self, server: Server) -> None:
        server.add_null("disk", 0)
        server.qmp.command(ADD, on("b"))
        assert count(server, "b") == 0
        assert len(server.bitmap_sha256("disk", "b")) == 64

    def test_it_follows_a_resize(self, server: Server, disk: str, scratch: Scratch) -> None:
        server.qmp.command(ADD, on("b"))
        write(disk, 0, 20, 40)
        server.qmp.command("block-export-del", id="export-disk")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-disk")
        before = server.bitmap_sha256("disk", "b")
        server.qmp.command("block_resize", {"node-name": "disk", "size": 40 * CLUSTER + 512})
        assert count(server, "b") == 3 * CLUSTER
        server.qmp.command("block_resize", {"node-name": "disk", "size": 20 * CLUSTER})
        assert count(server, "b") == CLUSTER
        server.qmp.command("block_resize", {"node-name": "disk", "size": LENGTH})
        assert count(server, "b") == CLUSTER
        assert server.bitmap_sha256("disk", "b") != before


REFUSED: list[Action] = [
    (ADD, on("")),
    (ADD, on("x" * 1024)),
    (ADD, on("é" * 512)),
    (ADD, on("taken")),
    (ADD, on("new", persistent=True)),
    (ADD, {"node": "nowhere", "name": "new"}),
    *((ADD, on("new", granularity=size)) for size in (-1, 0, 1, 256, 513, 768, 65535, 1 << 32)),
    *((ADD, on("new", granularity=size)) for size in ("64k", 512.5, True, None)),
    *((verb, on("missing")) for verb in (REMOVE, CLEAR, ENABLE, DISABLE)),
    *((verb, on("")) for verb in (REMOVE, CLEAR, ENABLE, DISABLE)),
    *((verb, {"node": "nowhere", "name": "b"}) for verb in (REMOVE, CLEAR, ENABLE, DISABLE)),
    *((verb, {"node": "disk"}) for verb in (ADD, REMOVE, CLEAR, ENABLE, DISABLE)),
    (REMOVE, on("taken", more=1)),
    (MERGE, merging("missing", "taken")),
    (MERGE, merging("taken", "missing")),
    (MERGE, merging("taken", "taken", {"node": "nowhere", "name": "taken"})),
    (MERGE, merging("taken", {"node": "small", "name": "other"})),
    (MERGE, merging("taken", 5)),
    ("x-debug-block-dirty-bitmap-sha256", on("missing")),
    ("x-debug-block-dirty-bitmap-sha256", {"node": "nowhere", "name": "b"}),
]


class TestRefusals:
    def test_refused(self, server: Server, disk: str) -> None:
        """One server takes all of it, and nothing changes."""
        server.add_null("small", MIB)
        server.qmp.command(ADD, node="small", name="other")
        server.qmp.command(ADD, on("taken"))
        write(disk, 3)
        before = snapshot(server)
        for command, arguments in REFUSED:
            server.qmp.refused(command, arguments)
            assert snapshot(server) == before, (command, arguments)

    def test_the_longest_names(self, server: Server, disk: str) -> None:
        names = ["x" * 1023, "é" * 511, "a b/c\\d\"e'f"]
        for name in names:
            server.qmp.command(ADD, on(name))
        assert sorted(server.bitmaps("disk")) == sorted(names)

    @pytest.mark.qmpd_only("the original ends with a failed assertion or allocation")
    def test_more_bits_than_there_is_memory(self, server: Server) -> None:
        server.add_null("disk", 1 << 62)
        assert "granularity" in server.qmp.refused(ADD, on("b", granularity=512))
        server.qmp.command(ADD, on("b", granularity=1 << 31))


class TestMerge:
    def test_across_granularities(self, server: Server, disk: str) -> None:
        for name, granularity in (("fine", 512), ("middle", 4 * KIB), ("coarse", CLUSTER)):
            server.qmp.command(ADD, on(name, granularity=granularity))
        qemu_io(disk, "write 0 512", "write 100k 2k", f"write {LENGTH - 512} 512")
        for name in ("fine", "middle", "coarse"):
            server.qmp.command(DISABLE, on(name))
        expected = {
            ("fine", 512): 6 * 512,
            ("fine", CLUSTER): 3 * CLUSTER,
            ("middle", 512): 12 * KIB,
            ("middle", CLUSTER): 3 * CLUSTER,
            ("coarse", 512): 3 * CLUSTER,
            ("coarse", 4 * KIB): 3 * CLUSTER,
            ("coarse", MIB): 2 * MIB,
        }
        for source, granularity in expected:
            name = f"{source}-{granularity}"
            server.qmp.command(ADD, on(name, granularity=granularity))
            server.qmp.command(MERGE, merging(name, source))
        assert {key: count(server, f"{key[0]}-{key[1]}") for key in expected} == expected

    def test_many_into_one_and_from_another_node(self, server: Server, disk: str) -> None:
        server.export("target")
        for node in ("disk", "target"):
            for name in ("a", "b"):
                server.qmp.command(ADD, node=node, name=name)
        write(disk, 1)
        server.qmp.command(DISABLE, on("a"))
        write(disk, 2)
        write(server.nbd_uri("target"), 3)
        elsewhere = {"node": "target", "name": "a"}
        server.qmp.command(ADD, on("all", disabled=True))
        server.qmp.command(MERGE, merging("all", "a", "b", elsewhere, "all"))
        assert [count(server, name) for name in ("a", "b", "all")] == [CLUSTER, 2 * CLUSTER, 3 * CLUSTER]


class TestTransaction:
    ALL: tuple[Action, ...] = (
        (ADD, on("new")),
        (MERGE, merging("new", "a", "b")),
        (CLEAR, on("a")),
        (DISABLE, on("b")),
        (ENABLE, on("off")),
        (MERGE, merging("off", "new")),
        (REMOVE, on("b")),
    )

    @pytest.fixture(autouse=True)
    def bitmaps(self, server: Server, disk: str) -> None:
        server.qmp.command(ADD, on("a"))
        write(disk, 1)
        server.qmp.command(ADD, on("b"))
        server.qmp.command(ADD, on("off", disabled=True))
        write(disk, 2)

    def test_all_of_it(self, server: Server) -> None:
        server.transaction(*self.ALL)
        assert {name: info["count"] for name, info in server.bitmaps("disk").items()} == {
            "a": 0,
            "new": 2 * CLUSTER,
            "off": 2 * CLUSTER,
        }
        assert server.bitmaps("disk")["off"]["recording"]

    def test_none_of_it(self, server: Server) -> None:
        before = snapshot(server)
        for length in range(len(self.ALL) + 1):
            body = [{"type": kind, "data": data} for kind, data in self.ALL[:length]]
            for bad in ({"type": "abort", "data": {}}, {"type": CLEAR, "data": on("missing")}):
                server.qmp.refused("transaction", actions=[*body, bad])
                assert snapshot(server) == before
        for name in before:
            server.qmp.command(REMOVE, on(name))

    def test_what_is_removed_is_nobodys(self, server: Server) -> None:
        before = snapshot(server)
        for then in ((ADD, on("a")), (CLEAR, on("a")), (REMOVE, on("a")), (MERGE, merging("b", "a"))):
            actions = [{"type": kind, "data": data} for kind, data in ((REMOVE, on("a")), then)]
            server.qmp.refused("transaction", actions=actions)
            assert snapshot(server) == before


class TestUnderAJob:
    @pytest.fixture(autouse=True)
    def bitmaps(self, server: Server, disk: str) -> None:
        server.qmp.command(ADD, on("b"))
        server.qmp.command(ADD, on("other"))
        write(disk, 1, 2, 3)

    def start(self, server: Server, sync: str = "bitmap", **options: Any) -> None:
        members = {"job-id": "job", "device": "disk", "target": "target", "sync": sync, "bitmap": "b"}
        server.qmp.command("blockdev-backup", members, **options)

    def cancel(self, server: Server) -> None:
        server.qmp.command("block-job-cancel", device="job")
        server.qmp.wait_event("BLOCK_JOB_CANCELLED", device="job")
        server.qmp.wait_job("job", "null")

    def test_it_is_busy(self, server: Server, disk: str) -> None:
        self.start(server, speed=1, bitmap_mode="on-success")
        write(disk, 9)
        before = snapshot(server)
        assert before["b"][0]["busy"] and before["b"][0]["recording"]
        assert before["b"][0]["count"] == 3 * CLUSTER
        assert before["other"][0]["count"] == 4 * CLUSTER
        for command, arguments in (
            *((verb, on("b")) for verb in (ADD, REMOVE, CLEAR, ENABLE, DISABLE)),
            (MERGE, merging("b", "other")),
            (MERGE, merging("other", "b")),
        ):
            server.qmp.refused(command, arguments)
            assert snapshot(server) == before
        nodes = server.qmp.command("query-named-block-nodes")
        listed = next(node for node in nodes if node["node-name"] == "disk")["dirty-bitmaps"]
        assert [bitmap["count"] for bitmap in listed if bitmap["recording"] and "name" not in bitmap] == [
            CLUSTER
        ]
        self.cancel(server)
        assert count(server, "b") == 4 * CLUSTER
        assert not server.bitmaps("disk")["b"]["busy"]
        server.qmp.command(REMOVE, on("b"))

    @pytest.mark.parametrize("recording", [True, False])
    @pytest.mark.parametrize(("mode", "left"), [("on-success", []), ("never", [1, 2, 3]), ("always", [])])
    def test_success(self, server: Server, disk: str, mode: str, left: list[int], recording: bool) -> None:
        if not recording:
            server.qmp.command(DISABLE, on("b"))
        self.start(server, bitmap_mode=mode, auto_finalize=False)
        server.qmp.wait_job("job", "pending")
        write(disk, 9)
        server.qmp.command("job-finalize", id="job")
        server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="job")
        server.qmp.wait_job("job", "null")
        assert count(server, "b") == (len(left) + recording) * CLUSTER
        assert server.bitmaps("disk")["b"]["recording"] is recording
        assert not server.bitmaps("disk")["b"]["busy"]

    @pytest.mark.parametrize("mode", ["on-success", "never"])
    def test_cancel(self, server: Server, disk: str, mode: str) -> None:
        self.start(server, bitmap_mode=mode, speed=1)
        write(disk, 9)
        self.cancel(server)
        assert count(server, "b") == 4 * CLUSTER
        assert server.bitmaps("disk")["b"]["recording"]
        assert list(server.bitmaps("disk")) == ["other", "b"]

    @pytest.mark.parametrize("mode", ["on-success", "never", "always"])
    def test_failure(self, server: Server, disk: str, scratch: Scratch, mode: str) -> None:
        """A target that fails above 1 MiB; whatever the mode, a second run has all that is needed."""
        write(disk, 40)
        with server.file_size_limit(MIB):
            self.start(server, bitmap_mode=mode)
            event = server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="job")
        assert event.data["error"]
        server.qmp.wait_job("job", "null")
        left = count(server, "b")
        assert CLUSTER <= left <= 4 * CLUSTER
        assert left == 4 * CLUSTER or mode == "always"
        write(disk, 9)
        assert count(server, "b") == left + CLUSTER
        server.qmp.forget_events()
        self.start(server, bitmap_mode=mode)
        event = server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="job")
        assert "error" not in event.data
        server.qmp.wait_job("job", "null")
        assert_same(scratch / "disk.img", scratch / "target.img")


class TestGroup:
    """Bitmap actions in a grouped transaction."""

    BITMAPS = ("cleared", "removed", "disabled", "enabled", "merged", "other")
    ACTIONS: tuple[Action, ...] = (
        (ADD, on("added")),
        (CLEAR, on("cleared")),
        (REMOVE, on("removed")),
        (DISABLE, on("disabled")),
        (ENABLE, on("enabled")),
        (MERGE, merging("merged", "other")),
    )

    @pytest.fixture(autouse=True)
    def bitmaps(self, server: Server, disk: str) -> None:
        for name in self.BITMAPS:
            server.qmp.command(ADD, on(name))
        write(disk, 1, 40)
        server.qmp.command(DISABLE, on("enabled"))
        server.qmp.command(CLEAR, on("merged"))

    def start(self, server: Server, **options: Any) -> None:
        members = {"job-id": "job", "device": "disk", "target": "target", "sync": "full"}
        members.update(wire_names(options))
        server.transaction(*self.ACTIONS, ("blockdev-backup", members), grouped=True)

    @pytest.mark.qsd_only("the original refuses what qmpd undoes")
    @pytest.mark.parametrize("action", ACTIONS[:4], ids=lambda action: action[0])
    def test_the_original_refuses(self, server: Server, action: Action) -> None:
        """Not tried on -enable: the original then crashes while it gives up."""
        kind, data = action
        grouped = {"completion-mode": "grouped"}
        server.qmp.refused("transaction", actions=[{"type": kind, "data": data}], properties=grouped)

    @pytest.mark.qmpd_only("the original refuses bitmap actions in a group")
    @pytest.mark.parametrize("end", ["failure", "cancel"])
    def test_put_back(self, server: Server, disk: str, end: str) -> None:
        """As it was, plus what was written since, cluster 9."""
        names = list(server.bitmaps("disk"))
        if end == "failure":
            server.set_file_size_limit(MIB)
        self.start(server, speed=1)
        write(disk, 9)
        if end == "cancel":
            server.qmp.command("job-cancel", id="job")
        else:
            server.qmp.command("block-job-set-speed", device="job", speed=0)
        server.qmp.wait_event("BLOCK_JOB_CANCELLED" if end == "cancel" else "BLOCK_JOB_COMPLETED")
        server.qmp.wait_job("job", "null")
        server.set_file_size_limit(None)
        assert list(server.bitmaps("disk")) == names
        dirty = {name: info["count"] // CLUSTER for name, info in server.bitmaps("disk").items()}
        assert dirty == {"cleared": 3, "removed": 3, "disabled": 3, "enabled": 2, "merged": 1, "other": 3}
        recording = [name for name, info in server.bitmaps("disk").items() if info["recording"]]
        assert sorted(recording) == sorted(set(names) - {"enabled"})
        write(disk, 11)
        self.start(server)
        server.qmp.wait_event("BLOCK_JOB_COMPLETED")
        server.qmp.wait_job("job", "null")
        self.check_success(server, other=4, disabled=4)

    @pytest.mark.qmpd_only("the original refuses bitmap actions in a group")
    def test_busy_until_the_end(self, server: Server, disk: str) -> None:
        self.start(server, auto_finalize=False)
        server.qmp.wait_job("job", "pending")
        shown = server.bitmaps("disk")
        assert sorted(shown) == sorted({*self.BITMAPS, "added"} - {"removed"})
        assert {name for name, info in shown.items() if info["busy"]} == set(shown) - {"other"}
        for name in set(shown) - {"other"}:
            for verb in (REMOVE, CLEAR, ENABLE, DISABLE):
                server.qmp.refused(verb, on(name))
        server.qmp.refused(ADD, on("removed"))
        server.qmp.refused(CLEAR, on("removed"))
        server.qmp.command("job-finalize", id="job")
        server.qmp.wait_job("job", "null")
        self.check_success(server, other=2, disabled=2)
        server.qmp.command(ADD, on("removed"))

    def check_success(self, server: Server, *, other: int, disabled: int) -> None:
        shown = {name: info["count"] // CLUSTER for name, info in server.bitmaps("disk").items()}
        assert shown["added"] == shown["cleared"] == 0
        assert (shown["other"], shown["disabled"]) == (other, disabled)
        assert "removed" not in shown
        assert not any(info["busy"] for info in server.bitmaps("disk").values())


@pytest.mark.qmpd_only("holds qmpd and the original side by side")
@pytest.mark.parametrize("length", [MIB, 3 * MIB + 512, 64 * CLUSTER, 77 * 512])
def test_same_digests_as_the_original(launch: Launcher, scratch: Scratch, length: int) -> None:
    source = random.Random(length)
    commands = []
    for _ in range(20):
        start = source.randrange(length // 512)
        size = min(source.choice([1, 3, 128, 700]), length // 512 - start)
        commands.append(f"write {start * 512} {size * 512}")
    digests = []
    for kind in ("qmpd", "qsd"):
        server = launch.peer(kind)
        server.add_raw(scratch.disk(kind, length), "disk")
        uri = server.export("disk")
        for granularity in (512, 4 * KIB, CLUSTER, MIB):
            server.qmp.command(ADD, on(str(granularity), granularity=granularity))
        qemu_io(uri, *commands)
        digests.append(snapshot(server))
    assert digests[0] == digests[1]
