"""A machine that runs a guest of `guest_disk` under emulation, and its console.

The console is a line each way: a command goes in, what it prints comes out, then its status. Must never wait for a
time to pass: it waits for lines, and a long silence is a failure that shows all that was said.
"""

import select
import socket
import subprocess
import time
from collections.abc import Sequence
from typing import Self

from iotests.harness.guest_disk import UP
from iotests.harness.images import Disk
from iotests.harness.servers import Server

SILENCE = 300.0
"""Seconds without a line after which the guest counts as stuck; emulation on a busy machine is slow."""


def exported(server: Server, *disks: Disk) -> list[str]:
    """Backends for a guest: exports of the server, each by the name of its disk."""
    address = f"server.type=unix,server.path={server.nbd_path}"
    return [f"driver=nbd,{address},export={disk.name}" for disk in disks]


def plain(*disks: Disk) -> list[str]:
    """Backends for a guest: raw files, without a server."""
    return [f"driver=raw,file.driver=file,file.filename={disk.path}" for disk in disks]


class Guest:
    """A running guest with these backends as its disks, the first of which it boots from.

    :ivar synced: checksums of the files that the guest said were safe, by path.
    """

    def __init__(self, backends: Sequence[str]) -> None:
        self.synced: dict[str, str] = {}
        self.transcript: list[str] = []
        self._input = b""
        self._console, theirs = socket.socketpair()
        words = ["qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot"]
        words += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
        for number, backend in enumerate(backends):
            words += ["-blockdev", f"node-name=disk{number},{backend}"]
            words += ["-device", f"virtio-blk-pci,drive=disk{number},bootindex={number}"]
        with theirs:
            end = theirs.fileno()
            self._process = subprocess.Popen(words, stdin=end, stdout=end, stderr=end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._console.close()

    def boot(self) -> list[str]:
        """Wait until the guest is up; what was said on the way."""
        return self._lines_until(UP)

    def run(self, command: str, ok: Sequence[int] = (0,)) -> list[str]:
        """Let the guest carry out a line of shell; what was printed."""
        self.transcript.append(f"> {command}")
        self._console.sendall(f"{command}\n".encode())
        lines = self._lines_until("status ")
        assert int(self.transcript[-1].removeprefix("status ")) in ok, self.report()
        return lines

    def write(self, numbers: range, *directories: str) -> None:
        """Begin to write files of these numbers to each directory, side by side."""
        for directory in directories:
            self.run(f"writer {directory} {numbers.start} {numbers.stop - 1} &")

    def wait_for(self, *paths: str) -> None:
        """Wait until the guest has said of these files that they are safe on its disks."""
        while not self.synced.keys() >= set(paths):
            self._line()

    def catch_up(self) -> None:
        """Read what the guest has said so far."""
        while b"\n" in self._input or select.select([self._console], [], [], 0)[0]:
            self._line()

    def power_off(self) -> None:
        """Let the guest end in good order; its kernel must have had nothing to complain of the disks."""
        self.run("sync; dmesg | grep -E 'I/O error|EXT4-fs (error|warning)|JBD2: .*error'", ok=(1,))
        self.run("mount -o remount,ro /")
        self._console.sendall(b"poweroff -f\n")
        assert self._process.wait(SILENCE) == 0, self.report()

    def report(self) -> str:
        """All that was said."""
        return "\n".join(self.transcript)

    def _lines_until(self, last: str) -> list[str]:
        """Lines up to one that begins with `last`, without it, and without what writers in the background say."""
        lines: list[str] = []
        while not (line := self._line()).startswith(last):
            if not line.startswith("synced "):
                lines.append(line)
        return lines

    def _line(self) -> str:
        deadline = time.monotonic() + SILENCE
        while b"\n" not in self._input:
            self._console.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self._console.recv(1 << 16)
            except TimeoutError:
                raise AssertionError(f"the guest has been silent for {SILENCE:.0f} s\n{self.report()}") from None
            assert data, f"the guest has ended\n{self.report()}"
            self._input += data
        raw, _, self._input = self._input.partition(b"\n")
        line = raw.decode(errors="backslashreplace").strip("\r")
        self.transcript.append(line)
        assert not line.startswith("writer: failed"), self.report()
        if line.startswith("synced "):
            _, path, checksum, *_ = line.split()
            self.synced[path] = checksum
        return line
