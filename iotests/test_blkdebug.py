"""Requests that are made to fail: what blkdebug's rules do, and what jobs and images make of it, on both servers."""

from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Scratch, Server
from iotests.harness import nbd as wire
from iotests.harness.images import KIB, MIB, Disk
from iotests.harness.nbd import RawNbd
from iotests.harness.tools import qemu_img, qemu_io, run

EIO, ENOSPC = 5, 28
LEN = 4 * MIB
CLUSTER = 64 * KIB

Rules = list[dict[str, Any]]


def debugged(path: Path, errors: Rules | None = None, states: Rules | None = None, **options: Any) -> dict[str, Any]:
    """The definition of a blkdebug node over a file; lists of rules that are empty are left out."""
    rules = {"inject-error": errors, "set-state": states}
    return {
        "driver": "blkdebug",
        "image": {"driver": "file", "filename": str(path)},
        **{name: value for name, value in rules.items() if value},
        **{key.replace("_", "-"): value for key, value in options.items()},
    }


def add(server: Server, node: str, driver: str, file: dict[str, Any], **options: Any) -> None:
    """blockdev-add of a format node that gives back what is discarded."""
    members = {"driver": driver, "node-name": node, "file": file, "discard": "unmap"}
    server.qmp.command("blockdev-add", members, **options)


def outcome(client: RawNbd, kind: str, offset: int = 0, length: int = CLUSTER) -> int:
    """The error of one NBD request, 0 when it succeeds."""
    data = b"\xa5" * length if kind == "write" else b""
    commands = {
        "read": wire.READ,
        "write": wire.WRITE,
        "write-zeroes": wire.WRITE_ZEROES,
        "discard": wire.TRIM,
        "flush": wire.FLUSH,
    }
    place = (0, 0) if kind == "flush" else (offset, length)
    return client.request(commands[kind], *place, data=data).error


KINDS = ("read", "write", "write-zeroes", "discard", "flush")


class TestRules:
    """Which requests of a client fail."""

    @pytest.fixture
    def disk(self, scratch: Scratch) -> Disk:
        return scratch.full_disk("disk", LEN, seed=1)

    def client(self, server: Server, disk: Disk, *errors: dict[str, Any], **options: Any) -> RawNbd:
        add(server, "disk", "raw", debugged(disk.path, list(errors), **options))
        server.export("disk")
        return RawNbd.attached(server.nbd_path, "disk")

    @pytest.mark.parametrize("iotype", KINDS)
    def test_one_kind(self, server: Server, disk: Disk, iotype: str) -> None:
        with self.client(server, disk, {"event": "none", "iotype": iotype, "errno": ENOSPC}) as client:
            # A flush has something to do only after a write.
            assert {kind: outcome(client, kind) for kind in KINDS} == {
                kind: ENOSPC if kind == iotype else 0 for kind in KINDS
            }

    def test_a_sector_once(self, server: Server, disk: Disk) -> None:
        rule = {"event": "none", "sector": 256, "once": True, "immediately": True}
        with self.client(server, disk, rule) as client:
            places = ((0, 128 * KIB), (129 * KIB, 4 * KIB), (127 * KIB, 4 * KIB), (127 * KIB, 4 * KIB))
            assert [outcome(client, "read", *place) for place in places] == [0, 0, EIO, 0]

    def test_events_and_states(self, server: Server, disk: Disk) -> None:
        """The second write brings the state in which a read brings an error that stays until the next read."""
        states = [
            {"event": "write_aio", "state": 1, "new_state": 2},
            {"event": "write_aio", "state": 2, "new_state": 3},
        ]
        rule = {"event": "read_aio", "state": 3, "iotype": "read", "errno": EIO}
        with self.client(server, disk, rule, states=states) as client:
            seen = [outcome(client, kind) for kind in ("read", "write", "read", "write", "read", "write", "read")]
            assert seen == [0, 0, 0, 0, EIO, 0, EIO]

    def test_a_file_of_rules(self, server: Server, scratch: Scratch, disk: Disk) -> None:
        rules = scratch / "rules.conf"
        rules.write_text(
            '# the first write leads to the state in which reads fail\n[set-state]\nstate = "1"\n'
            'event = "write_aio"\nnew_state = "2"\n\n'
            '[inject-error]\nevent = "read_aio"\nstate = "2"\nerrno = "28"\nonce = "on"\n'
        )
        with self.client(server, disk, config=str(rules)) as client:
            assert [outcome(client, kind) for kind in ("read", "write", "read", "read")] == [0, 0, ENOSPC, 0]
        (info,) = (node for node in server.qmp.command("query-named-block-nodes") if node["drv"] == "blkdebug")
        assert info["file"] == f"blkdebug:{rules}:{disk.path}"

    @pytest.mark.parametrize(
        "options",
        [
            {"align": 3},
            {"align": 1 << 31},
            {"align": 4096, "max-transfer": 512},
            {"max-transfer": -1},
            {"opt-write-zero": 4096, "max-write-zero": 2048},
            {"opt-discard": 4096, "max-discard": 6144},
            {"config": "/does/not/exist"},
            {"inject-error": [{"event": "bogus"}]},
            {"inject-error": [{"errno": 5}]},
            {"set-state": [{"event": "none"}]},
            {"take-child-perms": ["fly"]},
        ],
        ids=str,
    )
    def test_refused(self, server: Server, disk: Disk, options: dict[str, Any]) -> None:
        nodes = server.node_names()
        server.qmp.refused("blockdev-add", {"node-name": "disk", **debugged(disk.path), **options})
        assert server.node_names() == nodes

    @pytest.mark.parametrize(
        "text",
        ['[inject-error]\nevent = "bogus"\n', "[rule]\n", 'event = "none"\n', "[inject-error]\n", "[set-state]\n"],
    )
    def test_refused_files(self, server: Server, scratch: Scratch, disk: Disk, text: str) -> None:
        (scratch / "rules").write_text(text)
        server.qmp.refused("blockdev-add", {"node-name": "x", **debugged(disk.path, config=str(scratch / "rules"))})

    def test_limits_change_no_byte(self, server: Server, scratch: Scratch, disk: Disk) -> None:
        """Odd requests through narrow limits: the image is what it is without them."""
        other = scratch.copy(disk, "other")
        limits: dict[str, Any] = {
            "align": 4096,
            "max-transfer": 8192,
            "opt-write-zero": 8192,
            "max-write-zero": 16384,
            "opt-discard": 8192,
            "max-discard": 16384,
        }
        add(server, "disk", "raw", debugged(disk.path, **limits))
        server.add_raw(other)
        commands = ("write -P 1 1000 100k", "write -z 300k 77k", "write -P 2 1536 512", "write -z 1M 512", "flush")
        for node in ("disk", "other"):
            qemu_io(server.export(node), *commands)
        assert run("cmp", disk.path, other.path) == ""

    def test_permissions(self, server: Server, disk: Disk) -> None:
        server.add_raw(disk, "base")
        over = {"driver": "blkdebug", "image": "base"}
        server.qmp.command(
            "blockdev-add",
            {"node-name": "top", **over, "take-child-perms": ["write"], "unshare-child-perms": ["resize"]},
        )
        graph = server.qmp.command("x-debug-query-block-graph")
        ids = {node["name"]: node["id"] for node in graph["nodes"]}
        (edge,) = (edge for edge in graph["edges"] if edge["parent"] == ids["top"])
        assert edge["name"] == "image" and edge["perm"] == ["write"]
        assert sorted(edge["shared-perm"]) == ["consistent-read", "write", "write-unchanged"]
        server.qmp.refused("blockdev-add", {"node-name": "more", **over, "unshare-child-perms": ["write"]})
        server.qmp.refused("block_resize", {"node-name": "base", "size": 2 * LEN})


# Requests that qcow2 makes for itself. The two servers write tables at different moments, so what is compared is what
# counts: a client is told of the failure, and once it has tried again, everything is there.
METADATA = (
    "l1_update",
    "l2_load",
    "l2_update",
    "l2_alloc_write",
    "refblock_update_part",
    "cluster_alloc",
    "write_aio",
    "flush_to_disk",
)


@pytest.mark.parametrize("event", METADATA)
def test_a_write_to_qcow2_that_fails_can_be_repeated(server: Server, scratch: Scratch, event: str) -> None:
    image = scratch.made_by_qemu_img("disk", LEN, "qcow2").path
    if event in ("l2_load", "l2_update"):
        run("qemu-io", "-f", "qcow2", "-c", f"write -P 7 0 {CLUSTER}", image)
    add(server, "disk", "qcow2", debugged(image, [{"event": event, "once": True, "errno": ENOSPC}]))
    server.export("disk")
    with RawNbd.attached(server.nbd_path, "disk") as client:
        seen = []
        for _ in range(3):
            seen += [outcome(client, "write", MIB), outcome(client, "flush")]
        assert [error for error in seen if error] == [ENOSPC]
        assert client.read(MIB, CLUSTER) == b"\xa5" * CLUSTER
    server.qmp.command("block-export-del", id="export-disk", mode="hard")
    server.qmp.wait_event("BLOCK_EXPORT_DELETED")
    server.qmp.command("blockdev-del", node_name="disk")
    qemu_img("check", "-q", image)
    run("qemu-io", "-f", "qcow2", "-c", f"read -P 0xa5 1M {CLUSTER}", image)


# Jobs.


def status(*statuses: str, job: str = "j") -> list[str]:
    """Lines of a job's state changes."""
    return [f"JOB_STATUS_CHANGE id={job} status={name}" for name in statuses]


def failure(operation: str, action: str) -> list[str]:
    """The line of BLOCK_JOB_ERROR."""
    return [f"BLOCK_JOB_ERROR action={action} device=j operation={operation}"]


STARTED = status("created", "running", "paused", "running")
GOOD_END = [
    *status("waiting", "pending"),
    f"BLOCK_JOB_COMPLETED device=j len={LEN} whole speed=0 type=backup",
    *status("concluded", "null"),
]
BAD_END = [
    *status("aborting"),
    f"BLOCK_JOB_COMPLETED device=j error len={LEN} part speed=0 type=backup",
    *status("concluded", "null"),
]

# Which action a policy takes, by the error.
ACTIONS = {
    ("report", EIO): "report",
    ("report", ENOSPC): "report",
    ("ignore", EIO): "ignore",
    ("ignore", ENOSPC): "ignore",
    ("stop", EIO): "stop",
    ("stop", ENOSPC): "stop",
    ("enospc", EIO): "report",
    ("enospc", ENOSPC): "stop",
    ("auto", EIO): "report",
    ("auto", ENOSPC): "stop",
}


class TestPolicies:
    """on-source-error and on-target-error, each error injected by one rule."""

    def disks(self, server: Server, scratch: Scratch, **rules: tuple[Rules, Rules]) -> tuple[Disk, Disk]:
        """A source full of noise and an empty target, `rules` by name of the disk: errors and states."""
        disks = scratch.full_disk("source", LEN, seed=3), scratch.disk("target", LEN)
        for disk in disks:
            add(server, disk.name, "raw", debugged(disk.path, *rules.get(disk.name, ([], []))))
        return disks

    def start(self, server: Server, **options: Any) -> None:
        arguments: dict[str, Any] = {"job-id": "j", "device": "source", "target": "target", "sync": "full"}
        # One request at a time: what fails is the first one, and nothing else is under way then.
        arguments["x-perf"] = {"max-workers": 1}
        server.qmp.command("blockdev-backup", {**arguments, **options})

    def stopped(self, server: Server, times: int = 1) -> dict[str, Any]:
        """What the job looks like when it has stopped for the `times`th time."""
        server.qmp.wait_until(lambda: len(server.qmp.seen("BLOCK_JOB_ERROR")) == times, "BLOCK_JOB_ERROR")
        server.qmp.wait_job("j", "paused")
        info: dict[str, Any] | None = None
        while info is None or info["busy"]:
            info = server.qmp.block_job("j")
            assert info is not None
        return info

    @pytest.mark.parametrize("side", ["source", "target"])
    @pytest.mark.parametrize(("policy", "error"), list(ACTIONS))
    def test_one_error(self, server: Server, scratch: Scratch, side: str, policy: str, error: int) -> None:
        operation = "read" if side == "source" else "write"
        action = ACTIONS[policy, error]
        source, target = self.disks(
            server, scratch, **{side: ([{"event": f"{operation}_aio", "errno": error, "once": True}], [])}
        )
        self.start(server, **{f"on-{side}-error": policy})
        expected = [*STARTED, *failure(operation, action)]
        if action == "stop":
            info = self.stopped(server)
            assert (info["status"], info["paused"]) == ("paused", True)
            assert info["io-status"] == ("nospace" if error == ENOSPC else "failed")
            server.qmp.refused("block-job-cancel", device="j")
            server.qmp.command("block-job-resume" if side == "source" else "job-resume", {job_key(side): "j"})
            expected += status("paused", "running")
        server.qmp.wait_job("j", "null")
        expected += BAD_END if action == "report" else GOOD_END
        assert server.trace().text() == expected
        if action != "report":
            assert run("cmp", source.path, target.path) == ""

    def test_it_fails_again_until_the_cause_is_gone(self, server: Server, scratch: Scratch) -> None:
        """Three states, two of them with an error of their own: io-status tells the last one, and is good again after
        each resume."""
        states = [{"event": "write_aio", "state": number, "new_state": number + 1} for number in (1, 2)]
        errors = [
            {"event": "write_aio", "state": 1, "iotype": "write", "errno": EIO, "once": True},
            {"event": "write_aio", "state": 2, "iotype": "write", "errno": ENOSPC, "once": True},
        ]
        source, target = self.disks(server, scratch, target=(errors, states))
        self.start(server, **{"on-target-error": "stop"})
        for times, io_status in ((1, "failed"), (2, "nospace")):
            assert self.stopped(server, times)["io-status"] == io_status
            server.qmp.command("job-resume", id="j")
        server.qmp.wait_job("j", "null")
        again = [*failure("write", "stop"), *status("paused", "running")]
        assert server.trace().text() == [*STARTED, *again, *again, *GOOD_END]
        assert run("cmp", source.path, target.path) == ""

    def test_a_disk_that_cannot_tell_how_it_is_stored(self, server: Server, scratch: Scratch) -> None:
        """It is read instead; nothing has gone wrong."""
        rule = {"event": "none", "iotype": "block-status"}
        source, target = self.disks(server, scratch, source=([rule], []), target=([rule], []))
        self.start(server)
        server.qmp.wait_job("j", "null")
        assert server.trace().text() == [*STARTED, *GOOD_END]
        assert run("cmp", source.path, target.path) == ""

    @pytest.mark.parametrize("verb", ["job-cancel", "block-job-cancel"])
    def test_cancelled_while_stopped(self, server: Server, scratch: Scratch, verb: str) -> None:
        self.disks(server, scratch, source=([{"event": "read_aio", "errno": EIO}], []))
        nodes = server.node_names()
        self.start(server, **{"on-source-error": "stop"})
        self.stopped(server)
        server.qmp.command(verb, {"id": "j"} if verb == "job-cancel" else {"device": "j", "force": True})
        server.qmp.wait_job("j", "null")
        assert server.trace().text() == [
            *STARTED,
            *failure("read", "stop"),
            *status("paused", "running", "aborting"),
            f"BLOCK_JOB_CANCELLED device=j len={LEN} part speed=0 type=backup",
            *status("concluded", "null"),
        ]
        assert server.node_names() == nodes
        server.qmp.command("block_resize", node_name="target", size=2 * LEN)

    def test_a_group_waits_for_the_one_that_is_stopped(self, server: Server, scratch: Scratch) -> None:
        source, target = self.disks(server, scratch, target=([{"event": "write_aio", "once": True}], []))
        second, copy = scratch.full_disk("second", LEN, seed=4), scratch.disk("copy", LEN)
        for disk in (second, copy):
            server.add_raw(disk)
        stops = {"job-id": "j", "device": "source", "target": "target", "sync": "full", "on-target-error": "stop"}
        other = {"job-id": "k", "device": "second", "target": "copy", "sync": "full"}
        server.transaction(("blockdev-backup", stops), ("blockdev-backup", other), grouped=True)
        self.stopped(server)
        server.qmp.wait_job("k", "waiting")
        server.qmp.command("job-resume", id="j")
        server.qmp.wait_job("j", "null")
        for one, two in ((source, target), (second, copy)):
            assert run("cmp", one.path, two.path) == ""
        story = server.trace().of("j").text()
        assert story == [*STARTED, *failure("write", "stop"), *status("paused", "running"), *GOOD_END]


def job_key(side: str) -> str:
    """The argument that names the job: block-job-resume has another one than job-resume."""
    return "device" if side == "source" else "id"


# Jobs that get ready, and which of their requests fails: command, arguments, disk, event, operation.
READY_JOBS: dict[str, tuple[str, dict[str, Any], str, str, str]] = {
    "commit reads": ("block-commit", {}, "top", "read_aio", "read"),
    "commit writes": ("block-commit", {}, "base", "write_aio", "write"),
    "mirror reads": ("blockdev-mirror", {"target": "target", "sync": "full"}, "base", "read_aio", "read"),
    "mirror writes": ("blockdev-mirror", {"target": "target", "sync": "full"}, "target", "write_aio", "write"),
}


class TestPoliciesOfJobsThatGetReady:
    """The policies of mirror and of the commit of an active layer, each error injected by one rule."""

    @pytest.mark.parametrize(("policy", "error"), [("ignore", EIO), ("stop", ENOSPC), ("enospc", EIO)])
    @pytest.mark.parametrize("work", list(READY_JOBS))
    def test_one_error(self, server: Server, scratch: Scratch, work: str, policy: str, error: int) -> None:
        command, arguments, disk, event, operation = READY_JOBS[work]
        action = ACTIONS[policy, error]
        shown = self.chain(server, scratch, disk, [{"event": event, "errno": error, "once": True}])
        commits = command == "block-commit"
        policies = {"on-error": policy} if commits else {"on-source-error": policy, "on-target-error": policy}
        server.qmp.command(command, {"job-id": "j", "device": "top", **arguments, **policies})
        expected = [*status("created", "running"), *failure(operation, action)]
        if action == "stop":
            server.qmp.wait_job("j", "paused")
            info = server.qmp.block_job("j")
            assert info is not None and info["io-status"] == "nospace"
            server.qmp.command("job-resume", id="j")
            expected += status("paused", "running")
        if action != "report":
            server.qmp.wait_event("BLOCK_JOB_READY")
            server.qmp.command("job-complete", id="j")
        server.qmp.wait_job("j", "null")
        lines = [line for line in server.trace().text() if not line.startswith("BLOCK_JOB_READY")]
        end = next(line for line in lines if line.startswith("BLOCK_JOB_COMPLETED"))
        before_end = status("aborting") if action == "report" else status("ready", "waiting", "pending")
        assert lines == [*expected, *before_end, end, *status("concluded", "null")]
        assert end.endswith(f"type={'commit' if commits else 'mirror'}") and (" error " in end) is (action == "report")
        if action != "report":
            server.qmp.command("quit")
            server.wait_exit()
            assert run("cmp", scratch / ("base.img" if commits else "target.img"), shown.path) == ""

    def chain(self, server: Server, scratch: Scratch, faulty: str, rules: Rules) -> Disk:
        """A raw base and a qcow2 top as nodes, an empty target, and a copy of what is shown; one disk has rules."""
        base = scratch.full_disk("base", LEN, seed=5)
        qemu_img("create", "-q", "-f", "qcow2", "-b", base.path, "-F", "raw", scratch / "top.img")
        run("qemu-io", "-f", "qcow2", "-c", "write -P 2 1M 1M", scratch / "top.img")
        scratch.disk("target", LEN)
        shown = scratch.copy(base, "shown")
        shown.write(MIB, b"\2" * MIB)
        for disk, fmt, options in (("base", "raw", {}), ("top", "qcow2", {"backing": "base"}), ("target", "raw", {})):
            add(server, disk, fmt, debugged(scratch / f"{disk}.img", rules if disk == faulty else None), **options)
        return shown
