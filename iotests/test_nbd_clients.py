"""The NBD server with the clients people use: nbdinfo, nbdcopy, qemu-img and qemu-io, on both servers."""

import json
import os
import random
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Disk, Launcher, Scratch, Server
from iotests.harness.nbd import RawNbd
from iotests.harness.servers import free_port
from iotests.harness.tools import assert_same, nbdcopy, nbdinfo, qemu_img, qemu_io, qemu_io_fails, run, same

MIB = 1 << 20
LENGTH = 16 * MIB


@pytest.fixture
def disk(server: Server, scratch: Scratch) -> Disk:
    """A disk with scattered contents, open as the node `disk` (with discard) and not exported yet."""
    disk = scratch.disk("disk", LENGTH, seed=7)
    file = {"driver": "file", "filename": str(disk.path), "discard": "unmap"}
    server.qmp.command("blockdev-add", {"driver": "raw", "node-name": "disk", "discard": "unmap", "file": file})
    return disk


@pytest.fixture
def uri(server: Server, disk: Disk) -> str:
    """The URI of a writable export of the disk."""
    return server.export("disk")


def test_nbdinfo_shows_what_the_export_can(uri: str) -> None:
    info = nbdinfo(uri)
    (export,) = info["exports"]
    export.pop("uri")
    assert info["protocol"] == "newstyle-fixed" and info["structured"] is True and info["TLS"] is False
    assert export == {
        "export-name": "disk",
        "content": export["content"],
        "contexts": ["base:allocation"],
        "is_rotational": False,
        "is_read_only": False,
        "can_cache": True,
        "can_df": True,
        "can_fast_zero": True,
        "can_flush": True,
        "can_fua": True,
        "can_multi_conn": True,
        "can_trim": True,
        "can_zero": True,
        "block_size_minimum": 1,
        "block_size_preferred": 4096,
        "block_size_maximum": 32 * MIB,
        "export-size": LENGTH,
        "export-size-str": "16M",
    }


def test_a_read_only_export_says_so(server: Server, disk: Disk) -> None:
    (export,) = nbdinfo(server.export("disk", writable=False))["exports"]
    told = {name: value for name, value in export.items() if name.startswith(("can_", "is_"))}
    assert told == {
        "is_rotational": False,
        "is_read_only": True,
        "can_cache": True,
        "can_df": True,
        "can_fast_zero": False,
        "can_flush": True,
        "can_fua": True,
        "can_multi_conn": True,
        "can_trim": False,
        "can_zero": False,
    }


def test_the_list_of_exports(server: Server, disk: Disk, uri: str) -> None:
    server.qmp.command(
        "block-export-add",
        {"type": "nbd", "id": "e2", "node-name": "disk", "name": "second", "description": "the same, read-only"},
    )
    exports = nbdinfo(f"nbd+unix:///?socket={server.nbd_path}", "--list")["exports"]
    assert [(export["export-name"], export.get("description")) for export in exports] == [
        ("disk", None),
        ("second", "the same, read-only"),
    ]


def allocation_map(uri: str) -> list[dict[str, Any]]:
    extents: list[dict[str, Any]] = nbdinfo(uri, "--map")
    return extents


def test_the_allocation_map_is_that_of_the_file(uri: str, disk: Disk) -> None:
    local = [
        (extent["start"], extent["length"], extent["zero"])
        for extent in json.loads(qemu_img("map", "-U", "-f", "raw", "--output=json", disk.path))
    ]
    remote = [(extent["offset"], extent["length"], bool(extent["type"])) for extent in allocation_map(uri)]
    assert remote == local


def test_a_bitmap_as_metadata(server: Server, disk: Disk) -> None:
    server.qmp.command("block-dirty-bitmap-add", node="disk", name="changes", granularity=65536)
    uri = server.export("disk", bitmaps=["changes"], allocation_depth=True)
    qemu_io(uri, "write 0 4k", f"write {5 * MIB + 1} 64k")
    extents = nbdinfo(uri, "--map=qemu:dirty-bitmap:changes")
    assert [(extent["offset"], extent["length"], extent["type"]) for extent in extents] == [
        (0, 65536, 1),
        (65536, 5 * MIB - 65536, 0),
        (5 * MIB, 131072, 1),
        (5 * MIB + 131072, LENGTH - 5 * MIB - 131072, 0),
    ]
    depths = nbdinfo(uri, "--map=qemu:allocation-depth")
    assert [(extent["offset"], extent["length"], extent["type"]) for extent in depths] == [(0, LENGTH, 1)]


def test_nbdcopy_both_ways(scratch: Scratch, disk: Disk, uri: str) -> None:
    copy = scratch / "copy.img"
    nbdcopy(uri, copy)
    assert_same(copy, disk.path)
    other = scratch.disk("other", LENGTH, seed=8)
    nbdcopy(other.path, uri)
    assert_same(other.path, disk.path)


def test_nbdcopy_with_many_connections_and_small_requests(scratch: Scratch, disk: Disk, uri: str) -> None:
    copy = scratch / "copy.img"
    run("nbdcopy", "--connections=4", "--requests=64", "--request-size=4096", "--no-extents", uri, copy)
    assert_same(copy, disk.path)
    qemu_io(uri, f"discard 0 {LENGTH}", f"write -z 0 {LENGTH}")
    run("nbdcopy", "--connections=4", "--requests=64", "--request-size=32768", "--flush", copy, uri)
    assert_same(copy, disk.path)


def test_nbdcopy_between_two_exports(server: Server, scratch: Scratch, uri: str, disk: Disk) -> None:
    empty = scratch.disk("empty", LENGTH)
    server.add_raw(empty)
    nbdcopy(uri, server.export("empty"))
    assert_same(empty.path, disk.path)


def test_qemu_img_compares_and_converts(scratch: Scratch, disk: Disk, uri: str) -> None:
    assert same(uri, disk.path)
    copy = scratch / "copy.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", uri, copy)
    assert_same(copy, disk.path, one_format="qcow2")
    other = scratch.disk("other", LENGTH, seed=9)
    qemu_img("convert", "-n", "-f", "raw", "-O", "raw", other.path, uri)
    assert_same(other.path, disk.path)


def test_qemu_img_bench_runs(uri: str) -> None:
    for options in ("-d 16", "-d 1", "-d 64 -w", "-d 4 -w --flush-interval=16", "-s 256k"):
        assert "Run completed" in qemu_img("bench", "-f", "raw", "-c", "500", *options.split(), uri)


def test_every_kind_of_request_by_qemu_io(disk: Disk, uri: str) -> None:
    qemu_io(
        uri,
        "write -P 0x11 0 1M",
        "write -f -P 0x22 1M 64k",
        "aio_write -P 0x33 2M 128k",
        "aio_flush",
        "writev -P 0x44 3M 4k 4k 8k",
        "flush",
        "read -P 0x11 0 1M",
        "read -P 0x22 1M 64k",
        "read -P 0x33 2M 128k",
        "readv -P 0x44 3M 8k 8k",
        "write -z 512k 64k",
        "read -P 0 512k 64k",
        "write -z -u 640k 64k",
        "read -P 0 640k 64k",
        "write -z -f 704k 4k",
        "read -P 0 704k 4k",
        "write -z -n 0 512k",
        "read -P 0 0 512k",
        "discard 1M 64k",
        "read -P 0 1M 64k",
        "write -P 0x55 4097 513",
        "read -P 0x55 4097 513",
        "write -z 4100 10",
        "read -P 0 4100 10",
        "read -P 0x55 4110 500",
        f"read {LENGTH - 1} 1",
        "length",
    )
    assert disk.read(0, 4) == bytes(4)
    assert disk.read(2 * MIB, 4) == b"\x33" * 4


def test_unmapping_gives_space_back(disk: Disk, uri: str) -> None:
    qemu_io(uri, f"write 0 {LENGTH}", "flush")
    full = disk.allocated
    qemu_io(uri, "write -z -u 0 4M", "discard 8M 4M", "flush")
    assert disk.allocated <= full - 8 * MIB
    before = disk.allocated
    qemu_io(uri, "write -z 4M 4M", "flush")
    assert disk.allocated >= before


def test_requests_beyond_the_end_fail(uri: str) -> None:
    qemu_io_fails(uri, f"write {LENGTH} 4k")
    qemu_io_fails(uri, f"read {LENGTH - 512} 4k")


def test_errors_of_the_disk_reach_the_client(server: Server, scratch: Scratch) -> None:
    disk = scratch.disk("limited", 4 * MIB)
    server.add_raw(disk)
    uri = server.export("limited")
    with server.file_size_limit(MIB):
        output = qemu_io_fails(uri, "write -P 1 0 4k", "write -P 2 2M 4k", "read -P 1 0 4k")
        assert "No space left on device" in output or "File too large" in output
    qemu_io(uri, "write -P 2 2M 4k", "read -P 2 2M 4k")


def test_several_clients_at_once(disk: Disk, uri: str) -> None:
    """Each has a stripe of its own, writes noise into it and reads it back; nobody disturbs another."""

    def work(number: int) -> str:
        generator = random.Random(number)
        start = number * 2 * MIB
        commands = []
        for _ in range(40):
            offset = start + generator.randrange(0, 2 * MIB - 65536)
            length = generator.randrange(1, 65536)
            pattern = generator.randrange(256)
            commands += [f"write -P {pattern} {offset} {length}", f"read -P {pattern} {offset} {length}"]
        return qemu_io(uri, *commands)

    with ThreadPoolExecutor(6) as pool:
        for output in pool.map(work, range(6)):
            assert "Pattern verification failed" not in output
    assert same(uri, disk.path)


def test_a_killed_client_disturbs_nobody(disk: Disk, uri: str) -> None:
    command = ["qemu-img", "bench", "-f", "raw", "-w", "-c", "10000000", "-S", "4096", "-s", "65536", "-d", "64", uri]
    victim = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        qemu_io(uri, f"write -P 0x77 {LENGTH - 4096} 4k")
    finally:
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
    qemu_io(uri, "write -P 0x78 0 4k", "read -P 0x78 0 4k")
    assert same(uri, disk.path)


def test_over_tcp_with_a_port_of_the_kernels_choice(server: Server, disk: Disk) -> None:
    port = free_port()
    address = {"type": "inet", "data": {"host": "127.0.0.1", "port": str(port)}}
    server.qmp.command("nbd-server-start", addr=address)
    server.qmp.command("block-export-add", type="nbd", id="e0", node_name="disk", writable=True)
    uri = f"nbd://127.0.0.1:{port}/disk"
    assert nbdinfo(uri)["exports"][0]["export-size"] == LENGTH
    qemu_io(uri, "write -P 9 0 1M", "read -P 9 0 1M")


def test_options_of_the_command_line(launch: Launcher, scratch: Scratch) -> None:
    disk = scratch.disk("disk", LENGTH, seed=3)
    path = scratch / "cli.sock"
    launch(
        "--blockdev",
        f"driver=file,node-name=f0,filename={disk.path}",
        "--blockdev",
        "driver=raw,node-name=disk,file=f0",
        "--nbd-server",
        f"addr.type=unix,addr.path={path},max-connections=5",
        "--export",
        "type=nbd,id=e0,node-name=disk,name=from-options,writable=on,description=as told",
    )
    uri = f"nbd+unix:///from-options?socket={path}"
    assert nbdinfo(uri)["exports"][0]["export-size"] == LENGTH
    assert same(uri, disk.path)
    qemu_io(uri, "write -P 1 0 64k", "read -P 1 0 64k")


@pytest.fixture
def limited(server: Server, disk: Disk) -> Iterator[Path]:
    """The socket of a server that takes two clients at a time."""
    address = {"type": "unix", "data": {"path": str(server.nbd_path)}}
    server.qmp.command("nbd-server-start", {"addr": address, "max-connections": 2})
    server.qmp.command("block-export-add", type="nbd", id="e0", node_name="disk", writable=True)
    yield server.nbd_path


def test_one_client_too_many_waits_for_its_turn(limited: Path) -> None:
    first, second = RawNbd.attached(limited, "disk"), RawNbd.connect(limited)
    second.handshake()
    third = RawNbd.connect(limited)
    assert first.read(0, 512) is not None  # the server has had every chance to greet the third
    third.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        third.sock.recv(1)
    third.sock.settimeout(30)
    second.close()
    assert third.handshake() == 3
    third.close()
    first.close()


def test_writes_are_seen_by_a_backup_started_later(server: Server, scratch: Scratch, disk: Disk, uri: str) -> None:
    """The export and a job share a node: drains of the job hold requests back and lose none."""
    target = scratch.disk("target", LENGTH)
    server.add_raw(target)
    command = ["qemu-img", "bench", "-f", "raw", "-w", "-c", "3000", "-s", "4096", "-d", "16", "--pattern=85", uri]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for number in range(3):
        job = f"job{number}"
        server.qmp.command("blockdev-backup", job_id=job, device="disk", target="target", sync="full")
        server.qmp.wait_job(job, "null")
    output, _ = writer.communicate(timeout=60)
    assert writer.returncode == 0 and re.search(rb"Run completed", output), output
    assert not [event for event in server.qmp.seen("BLOCK_JOB_COMPLETED") if "error" in event.data]
    assert disk.read(0, 3000 * 4096) == bytes([85]) * (3000 * 4096)
