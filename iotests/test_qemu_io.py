"""qemu-io's commands by human-monitor-command, held against the program qemu-io and against QEMU's monitor."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.human import answer, launch_monitor, qemu_io_answer, without_times
from iotests.harness.images import KIB, MIB, Disk
from iotests.harness.qmp import QMPRefused
from iotests.harness.tools import assert_same, qemu_img, qemu_io

GOOD = [
    "read 0 64k",
    "read -P 0 1M 4k",
    "read -P 9 0 512",
    "read -q 0 512",
    "read -C 0 64k",
    "read -v 8 40",
    "write 0 64k",
    "read -P 0xcd 0 64k",
    "write -P 0xab 64k 1000",
    "read -vP 171 65000 1k",
    "read -P 171 -s 536 -l 100 65000 1k",
    "read -P 171 -s 500 -l 100 65000 1k",
    "r -P 171 64k 0x100",
    "write -q -P 7 100 1",
    "write -P 033 0 1.5k",
    "read 0 1k -P 27 -q",
    "read -- 0 512",
    "w -f 128k 4096",
    "write -C 1M 2k",
    "write -z 64k 64k",
    "read -P 0 64k 64k",
    "write -zu 0 64k",
    "write -zf 192k 64k",
    "write -P 8 0 0",
    "read 0 0",
    "discard 0 0",
    "readv 0 512 1k 1536",
    "readv -v 0 16 16",
    "writev -P 5 2M 512 1k 3",
    "readv -P 5 2M 1024 512",
    "readv -P 6 2M 512",
    "writev 2.5M 64k 64k",
    "writev -qf 0 4",
    "length",
    "l",
    "alloc 0",
    "alloc 0 64k",
    "alloc 1M 128k",
    "alloc 100 1000",
    "alloc 0 1G",
    "alloc 3G",
    "map",
    "info",
    "flush",
    "f",
    "discard 128k 64k",
    "discard -q 0 512",
    "discard -C 192k 64k",
    "read -P 0 128k 64k",
    "truncate 5M",
    "length",
    "truncate 4M",
    "length",
    "map",
    "sleep 1",
    "",
    "  read   0   512 ",
]
"""What the program, QEMU's monitor and qmpd have to answer in the same words, one after the other on one disk."""

BACKGROUND = [
    "aio_write -P 3 0 64k",
    "aio_read -P 3 0 512 512",
    "aio_read -v 0 16",
    "aio_write -z 1M 64k",
    "aio_read -P 0 -q 1M 64k",
    "aio_read -P 1 1M 64k",
    "aio_write -C 0 512",
    "aio_write -q -P 4 0 512",
    "aio_write -fP 4 512 512",
    "aio_read 4M 512",
    "aio_write 4M 512",
    "aio_write -i 0 512",
    "aio_read -i 0 512",
]

FAILING = [
    "read 4M 512",
    "read 3M 2M",
    "readv 4M 512",
    "write 4M 512",
    "write -q 5M 1",
    "write -z 4M 64k",
    "writev 4M 512",
    "discard 4M 512",
    "read 8191P 512",
    "read -b 0 512",
    "write -b 0 512",
    "write -c 0 64k",
]
"""Requests that a raw disk refuses; the text is the same everywhere, since it has the system's words."""

BAD = [
    "read",
    "read 0",
    "read x 512",
    "read 0 x",
    "read 0 512 512",
    "read -P 0 -z 0 512",
    "read -P",
    "read -P zz 0 512",
    "read -P 256 0 512",
    "read -s 0 0 512",
    "read -l 5 0 512",
    "read -P 0 -s 600 0 512",
    "read -P 0 -l 600 0 512",
    "read -P 0 -s 500 -l 100 0 512",
    "read 0 3G",
    "read 0 2147483137",
    "read -5 512",
    "read 0 -5",
    "read 1.5 512",
    "read 0 1e3",
    "read 0 .5k",
    "read 8E 512",
    "read -b 0 100",
    "read --help",
    "readv 0",
    "readv 0 1G 1G 1G",
    "readv -a 0 512",
    "write 0",
    "write -z -P 5 0 512",
    "write -z -s x 0 512",
    "write -u 0 512",
    "write -n 0 512",
    "write -bz 0 512",
    "write -bf 0 512",
    "write -cf 0 512",
    "write -c 100 512",
    "write -c 0 100",
    "write -b 100 512",
    "write -s /nonexistent/file 0 512",
    "write -s /dev/null 0 512",
    "write -s / 0 512",
    "write 0 3G",
    "writev -z 0 512",
    "writev -P zz 0 512",
    "discard 0",
    "discard 0 512 512",
    "discard -z 0 512",
    "discard 0 2G",
    "aio_read 0",
    "aio_read -P zz 0 512",
    "aio_read x 512",
    "aio_write -u 0 512",
    "aio_write -z 0 512 512",
    "aio_write 0 3G",
    "aio_flush x",
    "flush x",
    "length x",
    "map x",
    "info x",
    "alloc",
    "alloc x",
    "alloc -5",
    "alloc 0 x",
    "alloc 0 1 2",
    "truncate",
    "truncate x",
    "truncate -m nonsense 4M",
    "truncate -5",
    "reopen x",
    "reopen -z",
    "reopen -r -w",
    "reopen -c nonsense",
    "reopen -o",
    "reopen -o nonsense=on",
    "reopen -r -o read-only=on",
    "reopen -c none -o cache.direct=on",
    "break x",
    "break pwritev A",
    "resume A",
    "resume",
    "wait_break",
    "remove_break A",
    "remove_break",
    "sleep",
    "sleep x",
    "sleep -1",
    "sleep 1k",
    "sigraise",
    "help nonsense",
    "help read write",
    "open x",
    "close",
    "quit",
    "multiwrite 0 512",
    "nonsense",
    "READ 0 512",
]
"""What has no meaning, or none that can be; everybody has something to say and does nothing."""


def definition(path: Path, image_format: str, node: str = "d") -> dict[str, Any]:
    """The options of a node that discards."""
    file = {"driver": "file", "filename": str(path), "discard": "unmap"}
    return {"driver": image_format, "node-name": node, "discard": "unmap", "file": file}


def disks(scratch: Scratch, image_format: str, *names: str) -> list[Disk]:
    """Disks with the same contents, qcow2 ones over one base."""
    if image_format == "raw":
        return [scratch.disk(name, 4 * MIB, seed=5) for name in names]
    base = scratch.made_by_qemu_img("base", 4 * MIB, "qcow2")
    qemu_io(base.path, "write -P 9 0 100k", "write -P 8 3M 64k", image_format="qcow2")
    return [scratch.made_by_qemu_img(name, 4 * MIB, "qcow2", "-b", str(base.path), "-F", "qcow2") for name in names]


def program(path: Path, image_format: str, commands: list[str]) -> str:
    """What the program qemu-io says to commands, without times."""
    words = ["qemu-io", "-d", "unmap", "-f", image_format]
    for command in commands:
        words += ["-c", command]
    done = subprocess.run([*words, str(path)], capture_output=True, text=True, timeout=120)
    return without_times(done.stdout + done.stderr)


@pytest.mark.qmpd_only("side by side with QEMU's monitor and the program")
class TestSideBySide:
    @pytest.mark.parametrize("image_format", ["raw", "qcow2"])
    def test_same_words_and_same_disks(self, launch: Launcher, scratch: Scratch, image_format: str) -> None:
        ours, theirs, program_s = disks(scratch, image_format, "ours", "theirs", "program")
        qmpd, qemu = launch(), launch_monitor(launch, kind="qemu")
        qmpd.qmp.command("blockdev-add", definition(ours.path, image_format))
        qemu.qmp.command("blockdev-add", definition(theirs.path, image_format))
        said = []
        for command in GOOD:
            said.append(qemu_io_answer(qmpd, "d", command))
            assert said[-1] == qemu_io_answer(qemu, "d", command), command
        for server in (qmpd, qemu):
            server.qmp.command("blockdev-del", node_name="d")
        assert "".join(said) == program(program_s.path, image_format, GOOD)
        for disk in (ours, theirs):
            assert_same(disk.path, program_s.path, one_format=image_format, other_format=image_format)

    def test_requests_in_the_background(self, launch: Launcher, scratch: Scratch) -> None:
        """What they come to is told by the next command; QEMU and the program tell it by themselves."""
        ours, theirs, program_s = disks(scratch, "raw", "ours", "theirs", "program")
        qmpd, qemu = launch(), launch_monitor(launch, kind="qemu")
        qmpd.qmp.command("blockdev-add", definition(ours.path, "raw"))
        qemu.qmp.command("blockdev-add", definition(theirs.path, "raw"))
        said = []
        for command in BACKGROUND:
            said.append(qemu_io_answer(qmpd, "d", command) + qemu_io_answer(qmpd, "d", "aio_flush"))
            assert said[-1] == qemu_io_answer(qemu, "d", command), command
            assert said[-1] == program(program_s.path, "raw", [command, "aio_flush"]), command
        for server in (qmpd, qemu):
            server.qmp.command("blockdev-del", node_name="d")
        assert_same(ours.path, program_s.path)
        assert_same(ours.path, theirs.path)

    def test_failed_requests(self, launch: Launcher, scratch: Scratch) -> None:
        ours, theirs = disks(scratch, "raw", "ours", "theirs")
        qmpd, qemu = launch(), launch_monitor(launch, kind="qemu")
        qmpd.qmp.command("blockdev-add", definition(ours.path, "raw"))
        qemu.qmp.command("blockdev-add", definition(theirs.path, "raw"))
        for command in FAILING:
            said = qemu_io_answer(qmpd, "d", command)
            assert " failed: " in said
            assert said == qemu_io_answer(qemu, "d", command), command

    def test_what_makes_no_sense(self, launch: Launcher, scratch: Scratch) -> None:
        ours, theirs = disks(scratch, "raw", "ours", "theirs")
        before = ours.path.read_bytes()
        qmpd, qemu = launch(), launch_monitor(launch, kind="qemu")
        qmpd.qmp.command("blockdev-add", definition(ours.path, "raw"))
        qemu.qmp.command("blockdev-add", definition(theirs.path, "raw"))
        for command in BAD:
            said, qemu_said = qemu_io_answer(qmpd, "d", command), qemu_io_answer(qemu, "d", command)
            assert said, command
            assert qemu_said, command
            for text in (said, qemu_said):
                assert not text.startswith(("read ", "wrote ", "discard ")) or " -- " in text or "takes" in text, text
        for server in (qmpd, qemu):
            server.qmp.command("blockdev-del", node_name="d")
        assert ours.path.read_bytes() == before


@pytest.mark.peer("qemu")
class TestBothServers:
    def add(self, server: Server, path: Path, image_format: str = "raw", **options: Any) -> None:
        server.qmp.command("blockdev-add", {**definition(path, image_format), **options})

    def test_a_pattern_file(self, launch: Launcher, scratch: Scratch) -> None:
        server = launch_monitor(launch)
        disk = scratch.disk("d", MIB)
        self.add(server, disk.path)
        pattern = scratch / "pattern"
        pattern.write_bytes(b"abc")
        assert "wrote 10/10 bytes at offset 1" in answer(server, f'qemu-io d "write -s {pattern} 1 10"')
        assert disk.read(0, 12) == b"\0abcabcabca\0"

    def test_compressed(self, launch: Launcher, scratch: Scratch) -> None:
        server = launch_monitor(launch)
        image = scratch.made_by_qemu_img("q", 4 * MIB, "qcow2")
        self.add(server, image.path, "qcow2")
        assert "wrote 131072/131072 bytes" in answer(server, 'qemu-io d "write -c -P 6 64k 128k"')
        server.qmp.command("blockdev-del", node_name="d")
        assert '"compressed-clusters": 2' in qemu_img("check", "--output=json", str(image.path))
        qemu_io(image.path, "read -P 6 64k 128k", "read -P 0 0 64k", image_format="qcow2")

    def test_a_disk_that_others_use(self, launch: Launcher, scratch: Scratch) -> None:
        """The monitor lets others do what they like, and has to be let: a backing image cannot be written to."""
        server = launch_monitor(launch)
        base = scratch.made_by_qemu_img("base", MIB, "qcow2")
        top = scratch.made_by_qemu_img("top", MIB, "qcow2", "-b", str(base.path), "-F", "qcow2")
        lower = {**definition(base.path, "qcow2", "base"), "read-only": True}
        self.add(server, top.path, "qcow2", backing=lower)
        uri = server.export("d")
        assert qemu_io_answer(server, "d", "write -P 4 0 64k").startswith("wrote 65536/65536")
        qemu_io(uri, "read -P 4 0 64k", "write -P 5 0 512")
        assert qemu_io_answer(server, "d", "read -P 5 0 512").startswith("read 512/512")
        assert qemu_io_answer(server, "base", "read -P 0 0 512").startswith("read 512/512")
        said = qemu_io_answer(server, "base", "write -P 1 0 512")
        assert said and not said.startswith("wrote")

    def test_read_only(self, launch: Launcher, scratch: Scratch) -> None:
        server = launch_monitor(launch)
        self.add(server, scratch.disk("d", MIB).path)
        for command in ("reopen -r", "reopen -r -c none", "reopen -c writeback"):
            assert answer(server, f'qemu-io d "{command}"') == "", command
        self.add(server, scratch.made_by_qemu_img("q", MIB, "qcow2").path, "qcow2", **{"node-name": "q"})
        assert answer(server, 'qemu-io q "reopen -o lazy-refcounts=on"') == ""
        assert answer(server, 'qemu-io q "reopen -r"') == ""
        said = qemu_io_answer(server, "q", "write 0 512")
        assert "read-only" in said and not said.startswith("wrote")
        assert answer(server, 'qemu-io q "reopen -w"') == ""
        assert qemu_io_answer(server, "q", "write 0 512").startswith("wrote 512/512")

    def test_breakpoints(self, launch: Launcher, scratch: Scratch) -> None:
        server = launch_monitor(launch)
        image = scratch.made_by_qemu_img("q", MIB, "qcow2")
        file = {"driver": "blkdebug", "image": {"driver": "file", "filename": str(image.path)}}
        server.qmp.command("blockdev-add", driver="qcow2", node_name="d", file=file)
        for command in ("break write_aio A", "break l2_load B", "remove_break A", "remove_break B"):
            assert answer(server, f'qemu-io d "{command}"') == "", command
        for command in ("remove_break A", "resume A", "break nonsense A"):
            assert answer(server, f'qemu-io d "{command}"'), command

    def test_a_request_at_a_breakpoint(self, launch: Launcher, scratch: Scratch) -> None:
        """A drive's requests stand still in the background of both."""
        server = launch_monitor(launch)
        image = scratch.made_by_qemu_img("q", MIB, "qcow2")
        options = f"driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename={image.path}"
        assert answer(server, f"drive_add 0 if=none,id=d,{options}") == "OK\n"
        for command in ("break write_aio A", "aio_write -q -P 7 0 64k", "wait_break A", "read -q -P 0 64k 64k"):
            assert answer(server, f'qemu-io d "{command}"') == "", command
        for command in ("aio_write -q -P 8 64k 64k", "resume A", "aio_flush", "read -q -P 7 0 64k"):
            assert answer(server, f'qemu-io d "{command}"') == "", command
        assert answer(server, "drive_del d") == ""
        qemu_io(image.path, "read -P 7 0 64k", "read -P 8 64k 64k", image_format="qcow2")

    def test_writes_to_the_source_of_a_job(self, launch: Launcher, scratch: Scratch) -> None:
        """A mirror copies what is new; below the filter of a backup nobody may write."""
        server = launch_monitor(launch)
        source = scratch.full_disk("source", 8 * MIB, seed=3)
        before = scratch.copy(source, "before")
        for name in ("source", "backup", "mirror"):
            disk = source if name == "source" else scratch.disk(name, 8 * MIB)
            server.qmp.command("blockdev-add", definition(disk.path, "raw", name))
        job = {"device": "source", "sync": "full", "speed": 65536}
        server.qmp.command("blockdev-backup", job, job_id="b", target="backup")
        said = qemu_io_answer(server, "source", "write -P 1 768k 64k")
        assert said and not said.startswith("wrote")
        server.qmp.command("block-job-set-speed", device="b", speed=0)
        server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="b")
        assert_same(before.path, scratch / "backup.img")
        server.qmp.command("blockdev-mirror", job, job_id="m", target="mirror")
        for command in ("write -q -P 2 0 64k", "write -q -P 3 960k 64k", "aio_write -q -P 4 512k 64k", "aio_flush"):
            assert qemu_io_answer(server, "source", command) == ""
        server.qmp.command("block-job-set-speed", device="m", speed=0)
        server.qmp.wait_event("BLOCK_JOB_READY", device="m")
        assert qemu_io_answer(server, "source", "write -P 5 64k 64k").startswith("wrote")
        server.qmp.command("block-job-complete", device="m")
        server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="m")
        for offset, pattern in ((0, 2), (960, 3), (512, 4), (64, 5)):
            before.write(offset * KIB, bytes([pattern]) * 64 * KIB)
        server.qmp.command("blockdev-del", node_name="mirror" if server.kind == "qemu" else "source")
        assert_same(before.path, scratch / "mirror.img")

    def test_names_and_processors(self, launch: Launcher, scratch: Scratch) -> None:
        server = launch_monitor(launch)
        self.add(server, scratch.disk("d", MIB).path)
        for line in ('qemu-io x "read 0 5"', 'qemu-io -d d "read 0 5"', "qemu-io d", "qemu-io d read 0 5", "qemu-io"):
            said = answer(server, line)
            assert said and not said.startswith("read "), line
        with pytest.raises(QMPRefused):
            server.qmp.command("human-monitor-command", {"command-line": "info version", "cpu-index": 1})


@pytest.mark.qmpd_only("QEMU's monitor waits for such requests, and can do nothing else meanwhile")
class TestBackground:
    def test_a_request_that_stands_still(self, server: Server, scratch: Scratch) -> None:
        """It keeps nobody waiting, and what it comes to is told when it has ended."""
        image = scratch.made_by_qemu_img("q", MIB, "qcow2")
        file = {"driver": "blkdebug", "image": {"driver": "file", "filename": str(image.path)}}
        server.qmp.command("blockdev-add", driver="qcow2", node_name="d", file=file)
        for command in ("break write_aio A", "aio_write -P 7 0 64k", "wait_break A", "length", "info"):
            assert "wrote" not in answer(server, f'qemu-io d "{command}"'), command
        server.qmp.refused("blockdev-del", node_name="d")
        assert answer(server, 'qemu-io d "resume A"') == ""
        assert qemu_io_answer(server, "d", "aio_flush") == "wrote 65536/65536 bytes at offset 0\n64 KiB, 1 ops\n"
        assert answer(server, 'qemu-io d "aio_flush"') == ""
        server.qmp.command("blockdev-del", node_name="d")
        qemu_io(image.path, "read -P 7 0 64k", image_format="qcow2")

    def test_the_end_of_the_daemon_ends_them(self, server: Server, scratch: Scratch) -> None:
        image = scratch.made_by_qemu_img("q", MIB, "qcow2")
        file = {"driver": "blkdebug", "image": {"driver": "file", "filename": str(image.path)}}
        server.qmp.command("blockdev-add", driver="qcow2", node_name="d", file=file)
        for command in ("break write_aio A", "aio_write -P 7 0 64k", "wait_break A"):
            assert answer(server, f'qemu-io d "{command}"') == ""
        waiting = server.connect()
        waiting.send("human-monitor-command", {"command-line": 'qemu-io d "aio_flush"'})
        assert server.terminate() == 0
        qemu_img("check", str(image.path))

    def test_large_transfers(self, server: Server, scratch: Scratch) -> None:
        """They go in pieces; a pattern that is no byte goes on from piece to piece."""
        disk = scratch.disk("d", 64 * MIB)
        server.qmp.command("blockdev-add", definition(disk.path, "raw"))
        pattern = scratch / "pattern"
        pattern.write_bytes(bytes(range(7)))
        length = 40 * MIB + 3
        assert f"wrote {length}/{length}" in answer(server, f'qemu-io d "write -s {pattern} 1 {length}"')
        assert disk.read(1, length) == (bytes(range(7)) * (length // 7 + 1))[:length]
        assert "wrote" in answer(server, f'qemu-io d "write -P 9 0 {length}"')
        assert "Pattern" not in answer(server, f'qemu-io d "read -P 9 0 {length}"')
        disk.write(length - 1, b"x")
        assert "Pattern verification failed at offset 0" in answer(server, f'qemu-io d "read -P 9 0 {length}"')
        assert "Pattern" not in answer(server, f'qemu-io d "read -P 9 -l {length - 1} 0 {length}"')

    def test_preallocation(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.disk("d", MIB)
        server.qmp.command("blockdev-add", definition(disk.path, "raw"))
        assert answer(server, 'qemu-io d "truncate -m full 2M"') == ""
        assert disk.path.stat().st_size == 2 * MIB and disk.allocated >= MIB
        assert answer(server, 'qemu-io d "truncate -m falloc 3M"') == ""
        assert disk.path.stat().st_size == 3 * MIB and disk.allocated >= 2 * MIB
        assert "metadata" in answer(server, 'qemu-io d "truncate -m metadata 4M"')
        assert disk.path.stat().st_size == 3 * MIB
        image = scratch.made_by_qemu_img("q", MIB, "qcow2")
        server.qmp.command("blockdev-add", definition(image.path, "qcow2", "q"))
        assert answer(server, 'qemu-io q "truncate -m metadata 2M"') == ""
        assert "1 MiB (0x100000) bytes     allocated at offset 1 MiB" in answer(server, 'qemu-io q "map"')

    def test_signals_are_not_raised(self, server: Server, scratch: Scratch) -> None:
        server.add_null("d", 64 * KIB)
        for command in ("abort", "sigraise 9", "sigraise x"):
            assert "end the daemon" in answer(server, f'qemu-io d "{command}"')
