"""The servers under test as processes: qmpd, qemu-storage-daemon, and a QEMU without a machine or with a PC.

Every server is started from the same few options, watched for an unexpected death and for tracebacks on
stderr, and killed at the end whatever happens. Must never reach into a server by any way but its sockets and
signals.
"""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from iotests.harness.images import Disk, Scratch
from iotests.harness.qmp import DEFAULT_TIMEOUT, QMPClient, QMPTimeout
from iotests.harness.trace import Trace, trace_of
from iotests.harness.warm import Process, WarmProcess

START_TIMEOUT = 60.0
STOP_TIMEOUT = 60.0

_SIGNS_OF_BUGS = (
    "Traceback (most recent call last)",
    "was never retrieved",
    "was never awaited",
    "Task was destroyed",
    "ResourceWarning",
    "Assertion",
    "Unexpected error in",
    "dumped core",
)
"""What a healthy server never writes to stderr."""


class ServerDied(AssertionError):
    """A server ended by itself or complained of a bug of its own."""


class Server(ABC):
    """One server process with a QMP monitor on a Unix socket.

    `qmp` is the first session. A real QEMU serves one client a socket; where a test needs more sessions on
    every server it starts it with `monitors=2` or more and connects with `connect(1)`.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        scratch: Scratch,
        *,
        name: str = "server",
        arguments: Sequence[str] = (),
        monitors: int = 1,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.scratch = scratch
        self.name = name
        self._arguments = list(arguments)
        self._wrapper = list(wrapper)
        self._clients: list[QMPClient] = []
        self._ended = False
        self._nbd_started = False
        self.monitor_paths = [scratch / f"{name}-qmp{number}.sock" for number in range(monitors)]
        self.nbd_path = scratch / f"{name}-nbd.sock"
        self._stderr_path = scratch / f"{name}.stderr"
        self._process: Process | None = None

    @classmethod
    @abstractmethod
    def program(cls) -> list[str]:
        """The command that starts the program, without options."""

    @abstractmethod
    def monitor_arguments(self) -> list[str]:
        """The options that open the monitors at `monitor_paths`."""

    def start(self) -> "Server":
        """Start the process, connect the first session and negotiate."""
        self.spawn()
        self._clients.append(self.connect())
        return self

    def spawn(self) -> None:
        """Start the process without connecting to it."""
        with self._stderr_path.open("ab") as stderr:
            self._process = self._run([*self.monitor_arguments(), *self._arguments], stderr)

    def _run(self, words: Sequence[str], output: BinaryIO) -> Process:
        return subprocess.Popen(
            [*self._wrapper, *self.program(), *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=_ignore_file_size_signal,
        )

    @property
    def process(self) -> Process:
        """The process; only after `spawn`."""
        assert self._process is not None, "the server was not started"
        return self._process

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self.process.pid

    @property
    def qmp(self) -> QMPClient:
        """The first session."""
        return self._clients[0]

    def connect(
        self, monitor: int = 0, *, negotiate: bool = True, oob: bool = False, patience: float = DEFAULT_TIMEOUT
    ) -> QMPClient:
        """One more session, on monitor number `monitor`; waits until that listens.

        `patience` holds for the greeting and the negotiation only.
        """
        path = self.monitor_paths[monitor]
        self.wait_for_socket(path)
        client = QMPClient(str(path), timeout=patience)
        if negotiate:
            client.negotiate(oob=oob)
        client.patience = DEFAULT_TIMEOUT
        return client

    def wait_for_socket(self, path: Path) -> None:
        """Wait until something listens at a Unix socket path."""
        self._wait_until(lambda: _listens(path), f"listen at {path}")

    def _wait_until(self, happened: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not happened():
            self.check()
            assert time.monotonic() < deadline, f"{self.kind} did not {what}: {self.stderr}"
            time.sleep(0.01)  # a file's appearance announces itself in no other way

    def check(self) -> None:
        """Raise ServerDied if the process ended unexpectedly or complained of a bug."""
        if not self._ended and self._process is not None and self._process.poll() is not None:
            raise ServerDied(f"{self.kind} ended with status {self._process.returncode}: {self.stderr}")
        self.check_stderr()

    def check_stderr(self) -> None:
        """Raise ServerDied if stderr holds a traceback or its like."""
        text = self.stderr
        for sign in _SIGNS_OF_BUGS:
            if sign in text:
                raise ServerDied(f"{self.kind} wrote {sign!r} to stderr:\n{text}")

    @property
    def stderr(self) -> str:
        """All that the process wrote to its standard streams."""
        if not self._stderr_path.exists():
            return ""
        return self._stderr_path.read_text(errors="backslashreplace")

    def wait_exit(self) -> int:
        """Wait until the process ends, which the test expects; give its status."""
        self._ended = True
        status = self.process.wait(STOP_TIMEOUT)
        self.check_stderr()
        return status

    def terminate(self, signal_number: int = signal.SIGTERM) -> int:
        """Send a signal that asks for a clean end, and wait for it; give the status."""
        self._ended = True
        self.process.send_signal(signal_number)
        return self.wait_exit()

    def kill(self) -> None:
        """kill -9, as a test of crashes wants it."""
        self._ended = True
        self.process.kill()
        self.process.wait(STOP_TIMEOUT)

    def close(self) -> None:
        """End of the test: end the server cleanly, kill it if it does not end; raises what `check` raises."""
        try:
            self.check()
            if self._process is not None and not self._ended:
                status = self.terminate()
                if status != 0:
                    raise ServerDied(f"{self.kind} ended with status {status} on SIGTERM: {self.stderr}")
        except subprocess.TimeoutExpired:
            raise ServerDied(f"{self.kind} did not end within {STOP_TIMEOUT:.0f} s of SIGTERM") from None
        finally:
            for client in self._clients:
                client.close()
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.wait()

    def report(self) -> str:
        """What a failed test shows of this server."""
        dialogues = "\n".join(client.dialogue() for client in self._clients)
        return f"--- {self.kind} stderr\n{self.stderr[-8000:]}\n--- {self.kind} QMP\n{dialogues}"

    def add_raw(self, disk: Disk | Path, node_name: str | None = None, **options: Any) -> str:
        """blockdev-add of a raw node on a file node; `options` go to the raw node. Gives the node name."""
        path = disk.path if isinstance(disk, Disk) else disk
        node = node_name or path.stem
        file = {"driver": "file", "filename": str(path)}
        if options.get("read_only"):
            file["read-only"] = True  # type: ignore[assignment]
        self.qmp.command("blockdev-add", {"driver": "raw", "node-name": node, "file": file}, **options)
        return node

    def add_null(self, node_name: str, length: int, *, driver: str = "null-co", **options: Any) -> str:
        """blockdev-add of a null node of `length` bytes."""
        self.qmp.command("blockdev-add", {"driver": driver, "node-name": node_name, "size": length}, **options)
        return node_name

    def start_nbd(self) -> None:
        """nbd-server-start on a Unix socket in the scratch directory."""
        address = {"type": "unix", "data": {"path": str(self.nbd_path)}}
        self.qmp.command("nbd-server-start", {"addr": address})
        self._nbd_started = True

    def export(self, node: str, *, writable: bool = True, **options: Any) -> str:
        """Export a node under its own name over NBD, starting the server if need be; gives the URI."""
        if not self._nbd_started:
            self.start_nbd()
        self.qmp.command(
            "block-export-add",
            {"type": "nbd", "id": f"export-{node}", "node-name": node, "name": node, "writable": writable},
            **options,
        )
        return self.nbd_uri(node)

    def nbd_uri(self, export: str) -> str:
        """The URI of an export on this server's Unix socket."""
        return f"nbd+unix:///{export}?socket={self.nbd_path}"

    def transaction(self, *actions: tuple[str, dict[str, Any]], grouped: bool = False) -> None:
        """Run a transaction; an action is a pair of kind and data."""
        body: dict[str, Any] = {"actions": [{"type": kind, "data": data} for kind, data in actions]}
        if grouped:
            body["properties"] = {"completion-mode": "grouped"}
        self.qmp.command("transaction", body)

    def bitmaps(self, node: str) -> dict[str, dict[str, Any]]:
        """The dirty bitmaps of a node by name, as query-named-block-nodes gives them."""
        nodes: list[dict[str, Any]] = self.qmp.command("query-named-block-nodes", flat=True)
        entry = next(entry for entry in nodes if entry["node-name"] == node)
        return {bitmap["name"]: bitmap for bitmap in entry.get("dirty-bitmaps", []) if "name" in bitmap}

    def bitmap_sha256(self, node: str, name: str) -> str:
        """The hash of a bitmap's bits."""
        digest: str = self.qmp.command("x-debug-block-dirty-bitmap-sha256", node=node, name=name)["sha256"]
        return digest

    def node_names(self) -> set[str]:
        """Names of all nodes."""
        return {entry["node-name"] for entry in self.qmp.command("query-named-block-nodes", flat=True)}

    def trace(self) -> Trace:
        """All events of the first session so far, normalised."""
        self.qmp.command("query-version")
        return trace_of(self.qmp.events)

    @contextlib.contextmanager
    def file_size_limit(self, limit: int) -> Iterator[None]:
        """While in the block, the server's writes at or beyond offset `limit` of any file fail with EFBIG."""
        self.set_file_size_limit(limit)
        try:
            yield
        finally:
            self.set_file_size_limit(None)

    def set_file_size_limit(self, limit: int | None) -> None:
        """Set (or lift, with None) the limit of `file_size_limit`."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (hard if limit is None else limit, hard))


class _StorageDaemon(Server):
    """The command line that qmpd and qemu-storage-daemon share."""

    def monitor_arguments(self) -> list[str]:
        words: list[str] = []
        for number, path in enumerate(self.monitor_paths):
            words += ["--chardev", f"socket,id=qmp{number},path={path},server=on,wait=off"]
            words += ["--monitor", f"chardev=qmp{number}"]
        return words


class QmpdServer(_StorageDaemon):
    """qmpd, run from this checkout by the interpreter that runs the tests.

    :cvar starts_warm: processes begin with its modules imported.
    """

    kind = "qmpd"

    starts_warm: ClassVar[bool] = False

    @classmethod
    def program(cls) -> list[str]:
        return [sys.executable, "-m", "qmpd"]

    def _run(self, words: Sequence[str], output: BinaryIO) -> Process:
        if self.starts_warm and not self._wrapper:
            return WarmProcess(words, output)
        return super()._run(words, output)


class QemuStorageDaemon(_StorageDaemon):
    """QEMU's storage daemon, with two races of version 7.2 kept out of the tests' way.

    A client that connects while it still starts can be taken by its main thread and its monitor thread at once;
    one of them then waits in accept() for ever. So the first session waits for the pid file, which is written
    last, and a daemon whose first session stays silent all the same is replaced. And a signal that arrives
    between its main loop's look at the "end" mark and its poll() is noticed only with the next one, so it is
    sent again until the process ends.
    """

    kind = "qsd"

    _STARTS: ClassVar[int] = 3
    _SILENCE: ClassVar[float] = 15.0

    @classmethod
    def program(cls) -> list[str]:
        return [shutil.which("qemu-storage-daemon") or "qemu-storage-daemon"]

    def start(self) -> Server:
        if "--pidfile" not in self._arguments:
            self._arguments += ["--pidfile", str(self.scratch / f"{self.name}.pid")]
        pidfile = Path(self._arguments[self._arguments.index("--pidfile") + 1])
        for attempt in range(1, self._STARTS + 1):
            self.spawn()
            self._wait_until(pidfile.exists, f"write {pidfile}")
            try:
                self._clients.append(self.connect(patience=self._SILENCE))
                break
            except (QMPTimeout, TimeoutError):
                if attempt == self._STARTS:
                    raise
                self.process.kill()
                self.process.wait(STOP_TIMEOUT)
                pidfile.unlink()
        return self

    def terminate(self, signal_number: int = signal.SIGTERM) -> int:
        self._ended = True
        deadline = time.monotonic() + STOP_TIMEOUT
        while time.monotonic() < deadline:
            self.process.send_signal(signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                break
        return self.wait_exit()


class QemuSystem(Server):
    """A QEMU without a machine, for commands that the storage daemon lacks (query-status, query-name ...)."""

    kind = "qemu"

    @classmethod
    def program(cls) -> list[str]:
        binary = shutil.which("qemu-system-x86_64") or "qemu-system-x86_64"
        return [binary, "-machine", "none", "-nodefaults", "-display", "none"]

    def monitor_arguments(self) -> list[str]:
        words: list[str] = []
        for number, path in enumerate(self.monitor_paths):
            words += ["-chardev", f"socket,id=qmp{number},path={path},server=on,wait=off"]
            words += ["-mon", f"chardev=qmp{number},mode=control"]
        return words


class QemuMachine(QemuSystem):
    """A QEMU with a PC that is not started, for tests with devices."""

    kind = "pc"

    @classmethod
    def program(cls) -> list[str]:
        binary = shutil.which("qemu-system-x86_64") or "qemu-system-x86_64"
        return [binary, "-machine", "pc", "-nodefaults", "-display", "none", "-S"]


SERVER_KINDS: dict[str, type[Server]] = {
    server.kind: server for server in (QmpdServer, QemuStorageDaemon, QemuSystem, QemuMachine)
}


class Launcher:
    """Starts servers of one kind for one test and ends them all afterwards."""

    def __init__(self, kind: str, scratch: Scratch) -> None:
        self.kind = kind
        self.scratch = scratch
        self.servers: list[Server] = []

    def __call__(self, *arguments: str, start: bool = True, **options: Any) -> Server:
        """Start a server with more command-line options; `start=False` only prepares it."""
        return self._launch(self.kind, arguments, start, options)

    def peer(self, kind: str, *arguments: str, start: bool = True, **options: Any) -> Server:
        """A server of a given kind, for tests that hold two servers side by side."""
        return self._launch(kind, arguments, start, options)

    def _launch(self, kind: str, arguments: Sequence[str], start: bool, options: dict[str, Any]) -> Server:
        options.setdefault("name", f"{kind}{len(self.servers)}")
        server = SERVER_KINDS[kind](self.scratch, arguments=arguments, **options)
        self.servers.append(server)
        if start:
            server.start()
        return server

    def report(self) -> str:
        """What a failed test shows of all its servers."""
        return "\n".join(server.report() for server in self.servers)

    def close(self) -> None:
        """End all servers; the first complaint of one of them is raised after all have ended."""
        with contextlib.ExitStack() as stack:
            for server in self.servers:
                stack.callback(server.close)


def _ignore_file_size_signal() -> None:
    """In the child: a write beyond RLIMIT_FSIZE shall fail with EFBIG instead of killing the server."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _listens(path: Path) -> bool:
    """Whether a Unix socket is bound and listening; looks at the kernel's table, so that no connection is
    spent.
    """
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
        for line in table:
            fields = line.split()
            # flags 00010000 is __SO_ACCEPTCON: the socket listens
            if fields[-1] == os.fspath(path) and fields[3] == "00010000":
                return True
    return False


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
