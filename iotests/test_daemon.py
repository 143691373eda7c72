"""The life of the process: command line, pid file, going to the background, signals, and what is left behind."""

import os
import select
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import SERVER_KINDS, Launcher, QMPClient, Scratch, Server
from iotests.harness.backups import SLOW, volume
from iotests.harness.images import MIB
from iotests.harness.nbd import READ, RawNbd
from iotests.harness.qmp import QMPClosed
from iotests.harness.servers import free_port
from iotests.harness.tools import assert_same, nbdinfo, qemu_io

TIMEOUT = 60


def run_program(kind: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run the program to its end."""
    argv = [*SERVER_KINDS[kind].program(), *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)


class TestCommandLine:
    """Options in the storage daemon's spelling."""

    def test_nodes_and_exports(self, launch: Launcher, scratch: Scratch) -> None:
        """--blockdev, --nbd-server and --export, in dotted keys and in JSON."""
        disk = scratch.full_disk("img", MIB, seed=1)
        nbd = scratch / "nbd.sock"
        server = launch(
            *("--blockdev", f"driver=file,node-name=f,filename={disk.path},cache.direct=off"),
            *("--blockdev", '{"driver": "raw", "node-name": "r", "file": "f"}'),
            *("--blockdev", "null-co,node-name=n,size=1048576,read-zeroes=on"),
            *("--nbd-server", f"addr.type=unix,addr.path={nbd},max-connections=4"),
            *("--export", "type=nbd,id=e,node-name=r,name=disk,writable=on"),
            *("--export", "nbd,id=e2,node-name=n"),
        )
        assert server.node_names() == {"f", "r", "n"}
        uri = f"nbd+unix:///disk?socket={nbd}"
        assert_same(uri, disk.path)
        qemu_io(uri, "write -P 3 0 64k")
        assert nbdinfo(f"nbd+unix:///n?socket={nbd}")["exports"][0]["export-size"] == MIB

    def test_inline_child(self, launch: Launcher, scratch: Scratch) -> None:
        disk = scratch.disk("img", MIB)
        server = launch("--blockdev", f"driver=raw,node-name=r,file.driver=file,file.filename={disk.path}")
        assert "r" in server.node_names()

    def test_comma_in_a_file_name(self, launch: Launcher, scratch: Scratch) -> None:
        """A comma is written twice."""
        disk = scratch.disk("a,b", MIB)
        name = str(disk.path).replace(",", ",,")
        server = launch("--blockdev", f"driver=file,node-name=f,filename={name}")
        assert server.node_names() == {"f"}

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--nonsense",),
            ("--blockdev",),
            ("--blockdev", "driver=nonsense,node-name=n"),
            ("--blockdev", "driver=null-co"),
            ("--blockdev", "driver=null-co,node-name=n,size=huge"),
            ("--blockdev", "driver=null-co,node-name=n,colour=red"),
            ("--blockdev", "driver=file,node-name=f,filename=/nonexistent/image"),
            ("--blockdev", '{"driver": "null-co", "node-name": '),
            ("--monitor", "chardev=nobody"),
            ("--chardev", "nonsense,id=c"),
            ("--export", "type=nbd,id=e,node-name=nobody"),
            ("--nbd-server", "addr.type=unix,addr.path=/nonexistent/dir/sock"),
            ("stray",),
        ],
        ids=" ".join,
    )
    def test_refusals(self, server_kind: str, arguments: tuple[str, ...]) -> None:
        """A reason on stderr, status 1, and no traceback."""
        done = run_program(server_kind, *arguments)
        assert done.returncode == 1
        assert done.stderr.strip() and "Traceback" not in done.stderr
        assert done.stdout == ""

    @pytest.mark.parametrize("option", ["--help", "--version"])
    def test_information(self, server_kind: str, option: str) -> None:
        done = run_program(server_kind, option)
        assert done.returncode == 0 and done.stdout.strip() and done.stderr == ""


class TestMonitors:
    """Where clients connect."""

    def test_tcp(self, launch: Launcher) -> None:
        port = free_port()
        launch(
            *("--chardev", f"socket,id=tcp,host=127.0.0.1,port={port},server=on,wait=off"),
            *("--monitor", "tcp"),
        )
        client = QMPClient(("127.0.0.1", port)).negotiate()
        assert client.command("query-version")["qemu"]["major"] == 7
        client.close()

    @pytest.mark.parametrize("family", ["unix", "tcp"])
    def test_client_mode(self, launch: Launcher, scratch: Scratch, family: str) -> None:
        """The server connects to us."""
        listener = socket.socket(socket.AF_UNIX if family == "unix" else socket.AF_INET)
        listener.settimeout(TIMEOUT)
        path = scratch / "listen.sock"
        listener.bind(str(path) if family == "unix" else ("127.0.0.1", 0))
        listener.listen()
        where = f"path={path}" if family == "unix" else f"host=127.0.0.1,port={listener.getsockname()[1]}"
        server = launch(*("--chardev", f"socket,id=c,{where}"), *("--monitor", "chardev=c"))
        connection, _ = listener.accept()
        client = QMPClient.accepted(connection).negotiate()
        server.add_null("n", MIB)
        assert [node["node-name"] for node in client.command("query-named-block-nodes")] == ["n"]
        client.close()
        listener.close()

    def test_events_reach_every_monitor(self, launch: Launcher, scratch: Scratch) -> None:
        server = launch(monitors=2)
        other = server.connect(1)
        copy = volume(server, scratch, "disk")
        copy.run()
        other.wait_job(copy.job, "null")
        assert [event.name for event in other.events] == [event.name for event in server.qmp.events]
        other.close()

    def test_a_client_may_come_back(self, launch: Launcher, scratch: Scratch) -> None:
        """A session ends with its connection; the next one negotiates anew, and jobs do not notice."""
        server = launch(monitors=2)
        copy = volume(server, scratch, "disk")
        first = server.connect(1)
        first.command("blockdev-backup", copy.backup(speed=SLOW))
        first.close()
        second = server.connect(1, negotiate=False)
        second.refused("query-version", error_class="CommandNotFound")
        second.negotiate()
        (job,) = second.command("query-jobs")
        assert job["status"] == "running"
        second.close()

    @pytest.mark.qmpd_only("a QEMU monitor serves one client at a time")
    def test_many_clients(self, server: Server) -> None:
        clients = [server.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            client.command("blockdev-add", driver="null-co", node_name=f"n{number}", size=MIB)
        for client in clients:
            assert len(client.command("query-named-block-nodes")) == 20
            client.close()

    @pytest.mark.qmpd_only("qemu-storage-daemon has no --qmp")
    def test_shorthand(self, launch: Launcher, scratch: Scratch) -> None:
        path = scratch / "short.sock"
        server = launch("--qmp", f"unix:{path},server=on,wait=off")
        server.wait_for_socket(path)
        client = QMPClient(str(path)).negotiate()
        assert client.command("query-jobs") == []
        client.close()


class TestEnd:
    """quit, SIGTERM and SIGINT end cleanly, whatever goes on."""

    @pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, "quit"], ids=str)
    def test_idle(self, server: Server, end: Any) -> None:
        assert self.end(server, end) == 0
        assert not server.monitor_paths[0].exists()

    @pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, "quit"], ids=str)
    def test_with_jobs_and_exports(self, launch: Launcher, scratch: Scratch, end: Any) -> None:
        """Jobs are cancelled and say so, written data is in the file, sockets and pid file are gone."""
        pidfile = scratch / "pid"
        server = launch("--pidfile", str(pidfile))
        assert pidfile.read_text().strip() == str(server.pid)
        copies = [volume(server, scratch, name) for name in ("a", "b")]
        uri = server.export("a")
        qemu_io(uri, "write -P 0x42 1M 64k")
        for copy in copies:
            copy.start(speed=SLOW)
        paused = copies[1].job
        server.qmp.command("job-pause", id=paused)
        server.qmp.wait_job(paused, "paused")
        assert self.end(server, end) == 0
        for copy in copies:
            server.qmp.wait_event("BLOCK_JOB_CANCELLED", device=copy.job)
        assert server.qmp.at_end()
        assert copies[0].disk.read(MIB, 65536) == b"\x42" * 65536
        assert not pidfile.exists()
        assert not server.monitor_paths[0].exists()
        assert not server.nbd_path.exists() or server.kind == "qsd", "QEMU leaves its NBD socket behind"

    def test_with_a_connected_nbd_client(self, server: Server, scratch: Scratch) -> None:
        """A client that just sits there does not hold up the end, and finds its connection closed."""
        server.add_raw(scratch.disk("img", MIB))
        server.export("img")
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(TIMEOUT)
        client.connect(str(server.nbd_path))
        assert client.recv(8) == b"NBDMAGIC"
        assert server.terminate() == 0
        while client.recv(4096):
            pass
        client.close()

    def end(self, server: Server, how: Any) -> int:
        """End the server one way or the other; give its status."""
        if how != "quit":
            return server.terminate(how)
        server.qmp.command("quit")
        return server.wait_exit()

    def test_pidfile_that_cannot_be_written(self, server_kind: str) -> None:
        done = run_program(server_kind, "--pidfile", "/nonexistent/pid")
        assert done.returncode == 1 and done.stderr.strip()


class TestBackground:
    """--daemonize."""

    def test_parent_returns_when_all_is_ready(self, server_kind: str, scratch: Scratch) -> None:
        """As soon as the command returns, the sockets listen and the pid file names the child."""
        pidfile, qmp, nbd = scratch / "pid", scratch / "qmp.sock", scratch / "nbd.sock"
        disk = scratch.full_disk("img", MIB, seed=2)
        done = run_program(
            server_kind,
            *("--daemonize", "--pidfile", pidfile),
            *("--chardev", f"socket,id=c,path={qmp},server=on,wait=off", "--monitor", "chardev=c"),
            *("--blockdev", f"driver=file,node-name=f,filename={disk.path}"),
            *("--nbd-server", f"addr.type=unix,addr.path={nbd}"),
            *("--export", "type=nbd,id=e,node-name=f,name=f"),
        )
        pid = int(pidfile.read_text())
        handle = os.pidfd_open(pid)
        try:
            assert done.returncode == 0 and done.stderr == "", done
            assert_same(f"nbd+unix:///f?socket={nbd}", disk.path)
            client = QMPClient(str(qmp)).negotiate()
            client.command("quit")
            client.close()
            ended, _, _ = select.select([handle], [], [], TIMEOUT)
            assert ended, "the daemon did not end"
            assert not any(path.exists() for path in (pidfile, qmp, *([nbd] if server_kind == "qmpd" else [])))
        finally:
            if not select.select([handle], [], [], 0)[0]:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)

    def test_failure_is_told_by_the_parent(self, server_kind: str, scratch: Scratch) -> None:
        pidfile = scratch / "pid"
        done = run_program(
            server_kind,
            *("--daemonize", "--pidfile", pidfile),
            *("--blockdev", "driver=file,node-name=f,filename=/nonexistent/image"),
        )
        assert done.returncode == 1 and "/nonexistent/image" in done.stderr
        assert not pidfile.exists()


def test_queries_that_need_a_machine(launch: Launcher, server_kind: str) -> None:
    """query-status and query-name are QEMU's; its storage daemon lacks them, qmpd has them."""
    server = launch() if server_kind == "qmpd" else launch.peer("qemu")
    status = server.qmp.command("query-status")
    assert status["running"] is True and status["status"] == "running"
    assert server.qmp.command("query-name") == {}


def test_a_dead_server_hangs_up(server: Server) -> None:
    """The harness notices a death: what waits for a reply is told at once."""
    server.kill()
    with pytest.raises(QMPClosed):
        server.qmp.command("query-version")


@pytest.mark.qmpd_only("QEMU's daemon waits as long as the requests take")
def test_slow_disks_do_not_hold_up_the_end(launch: Launcher, scratch: Scratch) -> None:
    """Neither the flush of a closing disk, nor a client's request, nor a command that waits for such a flush."""
    hours = 10**13
    server = launch()
    for name in ("closing", "deleted", "read"):
        server.add_null(name, MIB, latency_ns=hours)
    server.export("read")
    with RawNbd.attached(server.nbd_path, "read") as client:
        client.send_request(READ, 0, 512)
        server.qmp.send("blockdev-del", node_name="deleted")
        assert server.terminate() == 0
