"""The examples of qemu-storage-daemon's manual page, as they stand there, with either program's name in front.

They are run in a directory of their own, since they name files without one. Exports other than NBD are left out: qmpd
refuses them.
"""

import contextlib
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iotests.harness import SERVER_KINDS, QMPClient
from iotests.harness.servers import free_port
from iotests.harness.tools import assert_same, nbdinfo, qemu_img, qemu_io

TIMEOUT = 60

MONITOR = """
    --chardev socket,path=qmp.sock,server=on,wait=off,id=char1
    --monitor chardev=char1
"""

RAW_OVER_NBD = """
    --blockdev driver=file,node-name=disk,filename=disk.img
    --nbd-server addr.type=unix,addr.path=nbd.sock
    --export type=nbd,id=export,node-name=disk,writable=on
"""

QCOW2_OVER_NBD = """
    --blockdev driver=file,node-name=file,filename=disk.qcow2
    --blockdev driver=qcow2,node-name=qcow2,file=file
    --nbd-server addr.type=unix,addr.path=nbd.sock
    --export type=nbd,id=export,node-name=qcow2,writable=on
"""

OBJECTS = """
    --object secret,id=sec0,data=letmein
    --object iothread,id=iothread0
    --object throttle-group,id=group0,limits.iops-total=1000
    --blockdev driver=file,node-name=file,filename=disk.img
    --blockdev driver=raw,node-name=raw,file=file
    --blockdev driver=throttle,node-name=disk,throttle-group=group0,file=raw
    --nbd-server addr.type=unix,addr.path=nbd.sock,max-connections=2
    --export type=nbd,id=export,node-name=disk,name=slow,writable=off,iothread=iothread0
"""

OTHER_EXPORTS = (
    "--blockdev driver=file,node-name=file,filename=disk.img"
    " --export type=vhost-user-blk,id=export,addr.type=unix,addr.path=vhost-user-blk.sock,node-name=file",
    "--blockdev driver=file,node-name=file,filename=disk.img"
    " --export type=fuse,id=export,node-name=file,mountpoint=disk.img,writable=on",
)


class Examples:
    """Runs command lines in a directory with a raw and a qcow2 image."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        self.directory = directory
        qemu_img("create", "-f", "raw", directory / "disk.img", "1M")
        qemu_img("create", "-f", "qcow2", directory / "disk.qcow2", "1M")

    @contextlib.contextmanager
    def running(self, line: str, *, fds: tuple[int, ...] = ()) -> "Iterator[subprocess.Popen[bytes]]":
        """The program while it runs; it is killed if the test has not ended it."""
        argv = [*SERVER_KINDS[self.kind].program(), *shlex.split(line)]
        process = subprocess.Popen(argv, cwd=self.directory, stdin=subprocess.DEVNULL, pass_fds=fds)
        try:
            yield process
        finally:
            process.kill()
            process.wait(TIMEOUT)

    def until_it_listens(self, process: "subprocess.Popen[bytes]", name: str) -> None:
        """Wait until somebody can connect to a socket in the directory."""
        deadline = time.monotonic() + TIMEOUT
        while not can_connect(self.directory / name):
            assert process.poll() is None and time.monotonic() < deadline

    def refuse(self, line: str) -> str:
        """Run a line that has to end with status 1; what it says."""
        argv = [*SERVER_KINDS[self.kind].program(), *shlex.split(line)]
        done = subprocess.run(argv, cwd=self.directory, capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 1 and done.stderr
        return done.stderr


def can_connect(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True


@pytest.fixture
def examples(server_kind: str, tmp_path: Path) -> Examples:
    return Examples(server_kind, tmp_path)


def end(client: QMPClient, process: "subprocess.Popen[bytes]") -> None:
    """quit."""
    client.command("quit")
    client.close()
    assert process.wait(TIMEOUT) == 0


def test_a_monitor_socket(examples: Examples) -> None:
    with examples.running(MONITOR) as process:
        examples.until_it_listens(process, "qmp.sock")
        client = QMPClient(str(examples.directory / "qmp.sock")).negotiate()
        assert client.command("query-version")["qemu"]["major"] == 7
        end(client, process)


def test_a_monitor_socket_by_file_descriptor(examples: Examples) -> None:
    """The parent listens, so it can connect at once: there is nothing to wait for."""
    path = examples.directory / "qmp.sock"
    with contextlib.ExitStack() as stack:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(path))
            listening.listen()
            fd = listening.fileno()
            line = f"--chardev socket,fd={fd},server=on,id=char1 --monitor chardev=char1"
            process = stack.enter_context(examples.running(line, fds=(fd,)))
        client = QMPClient(str(path)).negotiate()
        assert client.command("query-chardev")[0]["label"] == "char1"
        end(client, process)


def test_a_launch_that_fails_is_seen_by_who_connects(examples: Examples) -> None:
    path = examples.directory / "qmp.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        fd = listening.fileno()
        with examples.running(
            f"--chardev socket,fd={fd},server=on,wait=off,id=c --monitor nobody", fds=(fd,)
        ) as process:
            listening.close()
            assert process.wait(TIMEOUT) == 1
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(str(path))


def test_an_nbd_server_by_file_descriptor(examples: Examples) -> None:
    path = examples.directory / "nbd.sock"
    with contextlib.ExitStack() as stack:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(path))
            listening.listen()
            fd = listening.fileno()
            line = (
                "--blockdev driver=file,node-name=disk,filename=disk.img"
                f" --nbd-server addr.type=fd,addr.str={fd}"
                " --export type=nbd,id=export,node-name=disk"
            )
            stack.enter_context(examples.running(line, fds=(fd,)))
        assert_same(f"nbd+unix:///disk?socket={path}", examples.directory / "disk.img")


def test_a_raw_image_over_nbd(examples: Examples) -> None:
    path = examples.directory / "nbd.sock"
    with examples.running(RAW_OVER_NBD) as process:
        examples.until_it_listens(process, "nbd.sock")
        qemu_io(f"nbd+unix:///disk?socket={path}", "write -P 7 64k 4k")
        process.terminate()
        assert process.wait(TIMEOUT) == 0
    assert (examples.directory / "disk.img").read_bytes()[65536:69632] == b"\7" * 4096


def test_a_qcow2_image_over_nbd(examples: Examples) -> None:
    path = examples.directory / "nbd.sock"
    with examples.running(QCOW2_OVER_NBD) as process:
        examples.until_it_listens(process, "nbd.sock")
        qemu_io(f"nbd+unix:///qcow2?socket={path}", "write -P 7 64k 4k")
        process.terminate()
        assert process.wait(TIMEOUT) == 0
    qemu_img("check", examples.directory / "disk.qcow2")
    qemu_io(examples.directory / "disk.qcow2", "read -P 7 64k 4k", image_format="qcow2")


def test_objects(examples: Examples) -> None:
    with examples.running(OBJECTS) as process:
        examples.until_it_listens(process, "nbd.sock")
        (export,) = nbdinfo(f"nbd+unix:///slow?socket={examples.directory / 'nbd.sock'}")["exports"]
        assert export["is_read_only"] is True


def test_a_pid_file_and_the_background(examples: Examples) -> None:
    """`--daemonize` returns when all is ready, so the socket can be used at once."""
    argv = [*SERVER_KINDS[examples.kind].program(), *shlex.split(MONITOR), "--daemonize", "--pidfile", "daemon.pid"]
    subprocess.run(argv, cwd=examples.directory, check=True, timeout=TIMEOUT)
    client = QMPClient(str(examples.directory / "qmp.sock")).negotiate()
    assert int((examples.directory / "daemon.pid").read_text()) > 0
    client.command("quit")
    assert client.at_end()
    client.close()


@pytest.mark.parametrize("further", ["", ",max-connections=3"])
def test_an_nbd_server_on_tcp(examples: Examples, further: str) -> None:
    port = free_port()
    line = (
        "--blockdev driver=file,node-name=disk,filename=disk.img"
        f" --nbd-server addr.type=inet,addr.host=127.0.0.1,addr.port={port}{further}"
        " --export type=nbd,id=export,node-name=disk"
        " --chardev socket,path=qmp.sock,server=on,wait=off,id=char1 --monitor chardev=char1"
    )
    with examples.running(line) as process:
        examples.until_it_listens(process, "qmp.sock")
        assert nbdinfo(f"nbd://127.0.0.1:{port}/disk")["exports"][0]["export-size"] == 1 << 20


@pytest.mark.qmpd_only("QEMU has these exports, and TLS")
def test_what_is_refused_says_so(examples: Examples) -> None:
    for line in OTHER_EXPORTS:
        assert "type" in examples.refuse(line)
    (examples.directory / "keys.psk").write_text("user:00112233445566778899aabbccddeeff\n")
    creds = f"--object tls-creds-psk,id=tls0,endpoint=server,dir={examples.directory}"
    inet = "--nbd-server addr.type=inet,addr.host=127.0.0.1,addr.port=0,tls-creds=tls0"
    assert "TLS" in examples.refuse(f"{creds} {inet}")
