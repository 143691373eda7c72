"""Character devices: made and removed by command, told of, and used by monitors; the same on both servers."""

import base64
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import SERVER_KINDS, Launcher, QMPClient, Scratch, Server

TIMEOUT = 10

NEGOTIATE = b'{"execute":"qmp_capabilities"}\n'
ASK = b'{"execute":"query-version","id":"asked"}\n'
QUIT = b'{"execute":"quit","id":"end"}\n'


def add(server: Server, label: str, kind: str, /, **data: Any) -> dict[str, Any]:
    """Make a device; members with underscores for dashes, a trailing one dropped."""
    answer: dict[str, Any] = server.qmp.command("chardev-add", id=label, backend=backend(kind, **data))
    return answer


def backend(kind: str, /, **data: Any) -> dict[str, Any]:
    return {"type": kind, "data": {key.removesuffix("_").replace("_", "-"): value for key, value in data.items()}}


def unix(path: Path | str, **members: Any) -> dict[str, Any]:
    return {"type": "unix", "data": {"path": str(path), **members}}


def inet(host: str, port: int, **members: Any) -> dict[str, Any]:
    return {"type": "inet", "data": {"host": host, "port": str(port), **members}}


def told(server: Server) -> dict[str, dict[str, Any]]:
    """query-chardev by label."""
    return {device["label"]: device for device in server.qmp.command("query-chardev")}


def filename(server: Server, label: str) -> str:
    name: str = told(server)[label]["filename"]
    return name


def wait_for_filename(server: Server, label: str, beginning: str) -> str:
    """The device's filename as soon as it begins so: the server notices connections in its own time."""
    deadline = time.monotonic() + TIMEOUT
    while not (name := filename(server, label)).startswith(beginning):
        assert time.monotonic() < deadline, f"{label} is still {name!r}"
    return name


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("file", {"out": "/nonexistent/file"}),
    ("file", {"in": "/dev/null"}),
    ("pipe", {"device": "/nonexistent/pipe"}),
    ("serial", {"device": "/nonexistent/serial"}),
    ("null", {"logfile": "/nonexistent/log"}),
    ("ringbuf", {"size": 1000}),
    ("ringbuf", {"size": -1}),
    ("udp", {"remote": unix("/x")}),
    ("udp", {"remote": inet("127.0.0.1", 9), "local": unix("/x")}),
    ("socket", {"addr": unix("/nonexistent/socket"), "server": False}),
    ("socket", {"addr": unix("/nonexistent/dir/socket"), "server": True}),
    ("socket", {"addr": unix("/nonexistent/socket"), "server": True, "reconnect": 1}),
    ("socket", {"addr": unix("/nonexistent/socket"), "server": False, "wait": True}),
    ("socket", {"addr": inet("127.0.0.1", 0), "tls-creds": "nobody"}),
    ("socket", {"addr": inet("127.0.0.1", 0), "tls-authz": "nobody"}),
    ("socket", {"addr": {"type": "fd", "data": {"str": "a-name"}}}),
    *(("socket", {"addr": {"type": "fd", "data": {"str": str(fd)}}, "server": False}) for fd in range(30)),
    ("socket", {"addr": {"type": "fd", "data": {"str": "3"}}, "server": False, "reconnect": 1}),
    ("socket", {"addr": {"type": "fd", "data": {"str": "1" * 5000}}, "server": False}),
    ("mux", {"chardev": "nobody"}),
    ("parallel", {"device": "/nonexistent/parallel"}),
    ("msmouse", {}),
    ("wctablet", {}),
    ("braille", {}),
    ("testdev", {}),
    ("console", {}),
    ("spicevmc", {"type": "x"}),
    ("spiceport", {"fqdn": "x"}),
    ("qemu-vdagent", {}),
    ("dbus", {"name": "x"}),
    ("vc", {}),
    ("nonsense", {}),
]


class TestMaking:
    """chardev-add and what query-chardev tells."""

    def test_devices_of_the_command_line_are_told_of(self, launch: Launcher, scratch: Scratch) -> None:
        server = launch("--chardev", "null,id=n", "--chardev", "ringbuf,id=r,size=4k")
        devices = told(server)
        assert devices["qmp0"] == {
            "label": "qmp0",
            "filename": f"unix:{server.monitor_paths[0]},server=on",
            "frontend-open": True,
        }
        assert devices["n"] == {"label": "n", "filename": "null", "frontend-open": False}
        assert devices["r"]["filename"] == "ringbuf"

    def test_kinds(self, server: Server) -> None:
        kinds = {kind["name"] for kind in server.qmp.command("query-chardev-backends")}
        assert {"file", "memory", "null", "pipe", "pty", "ringbuf", "serial", "socket", "stdio", "udp"} <= kinds
        assert kinds - {"mux", "parallel"} == kinds if server.kind == "qmpd" else True

    def test_simple_ones(self, server: Server, scratch: Scratch) -> None:
        os.mkfifo(scratch / "one")
        os.mkfifo(scratch / "two.in")
        os.mkfifo(scratch / "two.out")
        made: dict[str, tuple[str, dict[str, Any]]] = {
            "n": ("null", {}),
            "r": ("ringbuf", {}),
            "m": ("memory", {"size": 2}),
            "f": ("file", {"out": str(scratch / "out")}),
            "g": ("file", {"out": str(scratch / "out2"), "in": str(scratch / "out"), "append": True}),
            "p": ("pipe", {"device": str(scratch / "one")}),
            "q": ("pipe", {"device": str(scratch / "two")}),
            "u": ("udp", {"remote": inet("127.0.0.1", 9)}),
            "v": ("udp", {"remote": inet("127.0.0.1", 9), "local": inet("127.0.0.1", 0)}),
            "l": ("null", {"logfile": str(scratch / "log"), "logappend": True}),
        }
        for label, (kind, data) in made.items():
            assert add(server, label, kind, **data) == {}
        devices = told(server)
        assert {label: devices[label]["filename"] for label in made} == {
            label: kind for label, (kind, _) in made.items()
        }
        assert not any(devices[label]["frontend-open"] for label in made)
        for label in made:
            server.qmp.command("chardev-remove", id=label)
        assert set(told(server)) == {"qmp0"}

    def test_files_are_emptied_unless_asked_not_to(self, server: Server, scratch: Scratch) -> None:
        for name in ("kept", "emptied"):
            (scratch / name).write_text("before")
        add(server, "a", "file", out=str(scratch / "kept"), append=True)
        add(server, "b", "file", out=str(scratch / "emptied"))
        add(server, "c", "null", logfile=str(scratch / "kept"), logappend=True)
        assert (scratch / "kept").read_text() == "before"
        assert (scratch / "emptied").read_text() == ""
        add(server, "d", "null", logfile=str(scratch / "kept"))
        assert (scratch / "kept").read_text() == ""

    def test_a_pty_tells_where_it_is(self, server: Server) -> None:
        path = add(server, "p", "pty")["pty"]
        assert filename(server, "p") == f"pty:{path}"
        with open(path, "rb", buffering=0):
            pass
        server.qmp.command("chardev-send-break", id="p")
        server.qmp.command("chardev-remove", id="p")
        assert not Path(path).exists()

    def test_a_serial_line(self, server: Server) -> None:
        """A pseudo terminal stands in for one."""
        master, slave = os.openpty()
        add(server, "s", "serial", device=os.ttyname(slave))
        assert filename(server, "s") == "serial"
        server.qmp.command("chardev-send-break", id="s")
        server.qmp.command("chardev-remove", id="s")
        os.close(master)
        os.close(slave)

    def test_refusals_leave_nothing(self, server: Server) -> None:
        for kind, data in REFUSED:
            server.qmp.refused("chardev-add", id="x", backend={"type": kind, "data": data})
        server.qmp.refused("chardev-add", id="x", backend={"type": "null"})
        assert set(told(server)) == {"qmp0"}
        for label in ("x", "", "1 2"):
            assert add(server, label, "null") == {}
            server.qmp.refused("chardev-add", id=label, backend=backend("null"))

    @pytest.mark.qmpd_only("QEMU can do these")
    def test_what_sockets_do_not_speak(self, server: Server) -> None:
        for word in ("telnet", "websocket", "tn3270"):
            socket_with = backend("socket", addr=inet("127.0.0.1", 0), **{word: True})
            assert word in server.qmp.refused("chardev-add", id="x", backend=socket_with)


class TestSockets:
    """Sockets that nobody uses: they take a connection all the same, and tell of it."""

    def test_server(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "s"
        add(server, "s", "socket", addr=unix(path), server=True, wait=False)
        assert filename(server, "s") == f"disconnected:unix:{path},server=on"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"unread")
            assert wait_for_filename(server, "s", "unix:") == f"unix:{path},server=on"
        wait_for_filename(server, "s", "disconnected:")
        server.qmp.command("chardev-remove", id="s")
        assert not path.exists()

    def test_tcp_server(self, server: Server) -> None:
        add(server, "s", "socket", addr=inet("127.0.0.1", 0))
        name = filename(server, "s")
        assert name.startswith("disconnected:tcp:127.0.0.1:") and name.endswith(",server=on")
        port = int(name.removesuffix(",server=on").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            peer = client.getsockname()[1]
            name = wait_for_filename(server, "s", "tcp:")
            assert name == f"tcp:127.0.0.1:{port},server=on <-> 127.0.0.1:{peer}"

    def test_client(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "s"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            add(server, "c", "socket", addr=unix(path), server=False)
            peer, _ = listener.accept()
            assert filename(server, "c") == "unix:"
            peer.close()
            assert wait_for_filename(server, "c", "disconnected:") == f"disconnected:unix:{path}"
        server.qmp.command("chardev-remove", id="c")

    def test_a_client_that_tries_again(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "s"
        add(server, "c", "socket", addr=unix(path), server=False, reconnect=1)
        assert filename(server, "c") == f"disconnected:unix:{path}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.settimeout(TIMEOUT)
            listener.bind(str(path))
            listener.listen()
            for _ in range(2):
                peer, _ = listener.accept()
                wait_for_filename(server, "c", "unix:")
                peer.close()
        server.qmp.command("chardev-remove", id="c")

    def test_abstract_names(self, server: Server) -> None:
        name = f"qmpd-iotest-{os.getpid()}-{server.kind}"
        add(server, "s", "socket", addr=unix(name, abstract=True), server=True)
        assert filename(server, "s") == f"disconnected:unix:{name},abstract=on,tight=on,server=on"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("\0" + name)
            wait_for_filename(server, "s", "unix:")

    def test_waiting_for_the_first_client(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "s"
        request = server.qmp.send("chardev-add", id="s", backend=backend("socket", addr=unix(path), wait=True))
        server.wait_for_socket(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert server.qmp.reply_to(request) == {}
            assert filename(server, "s") == f"unix:{path},server=on"


class TestRemovingAndChanging:
    """chardev-remove, chardev-change, chardev-send-break."""

    def test_a_device_in_use_stays_and_others_are_not_there(self, server: Server) -> None:
        server.qmp.refused("chardev-remove", id="qmp0")
        server.qmp.refused("chardev-change", id="qmp0", backend=backend("null"))
        assert server.qmp.command("chardev-send-break", id="qmp0") == {}
        assert told(server)["qmp0"]["frontend-open"] is True
        server.qmp.refused("chardev-remove", id="x")
        server.qmp.refused("chardev-change", id="x", backend=backend("null"))
        server.qmp.refused("chardev-send-break", id="x")

    def test_another_kind(self, server: Server, scratch: Scratch) -> None:
        add(server, "x", "ringbuf")
        server.qmp.command("chardev-change", id="x", backend=backend("file", out=str(scratch / "out")))
        assert filename(server, "x") == "file"
        path = server.qmp.command("chardev-change", id="x", backend=backend("pty"))["pty"]
        assert filename(server, "x") == f"pty:{path}"

    def test_the_same_socket_again(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "s"
        for how in ("chardev-add", "chardev-change", "chardev-change"):
            server.qmp.command(how, id="x", backend=backend("socket", addr=unix(path), server=True))
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))

    @pytest.mark.qmpd_only("QEMU loses the device")
    def test_a_change_that_fails_changes_nothing(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "s"
        add(server, "x", "socket", addr=unix(path), server=True)
        for wrong in (backend("file", out="/nonexistent/file"), backend("ringbuf", size=3), backend("vc")):
            server.qmp.refused("chardev-change", id="x", backend=wrong)
            assert filename(server, "x") == f"disconnected:unix:{path},server=on"


TEXTS = [
    (b"\xe2\x9c\x93", "\u2713"),
    (b"a\xff", "a\ufffd"),
    (b"\xe2\x9c", "\ufffd"),
    (b"a\0b", "a"),
    (b'"\\\n', '"\\\n'),
]


class TestRingBuffers:
    """ringbuf-write and ringbuf-read."""

    def test_the_last_bytes_are_kept_until_read(self, server: Server) -> None:
        add(server, "r", "ringbuf", size=8)
        for text in ("abcd", "efgh", "ij"):
            server.qmp.command("ringbuf-write", device="r", data=text)
        assert self.read(server, 3) == "cde"
        assert self.read(server, 30) == "fghij"
        assert self.read(server, 1) == ""
        server.qmp.command("ringbuf-write", device="r", data="0123456789")
        assert self.read(server, 99) == "23456789"
        server.qmp.command(
            "ringbuf-write", device="r", data=base64.b64encode(bytes(range(256))).decode(), format="base64"
        )
        assert base64.b64decode(self.read(server, 99, format="base64")) == bytes(range(248, 256))

    def test_bytes_as_text(self, server: Server) -> None:
        add(server, "r", "ringbuf")
        for data, text in TEXTS:
            server.qmp.command("ringbuf-write", device="r", data=base64.b64encode(data).decode(), format="base64")
            assert self.read(server, 9).replace("\ufffd\ufffd", "\ufffd") == text, data

    def test_refusals(self, server: Server) -> None:
        add(server, "r", "ringbuf")
        add(server, "n", "null")
        for device in ("n", "nobody"):
            server.qmp.refused("ringbuf-read", device=device, size=1)
            server.qmp.refused("ringbuf-write", device=device, data="x")
        for size in (0, -1):
            server.qmp.refused("ringbuf-read", device="r", size=size)
        server.qmp.refused("ringbuf-write", device="r", data="a?b", format="base64")
        server.qmp.refused("ringbuf-read", device="r", size=1, format="hex")

    def read(self, server: Server, size: int, **members: Any) -> str:
        text: str = server.qmp.command("ringbuf-read", device="r", size=size, **members)
        return text


class Ends:
    """A QMP session over two file descriptors, or one."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        self._input = b""

    def message(self) -> dict[str, Any]:
        """The next message."""
        while b"\n" not in self._input:
            assert select.select([self._reader], [], [], TIMEOUT)[0], f"nothing comes behind {self._input!r}"
            chunk = os.read(self._reader, 65536)
            assert chunk, f"the other side has gone, behind {self._input!r}"
            self._input += chunk
        line, _, self._input = self._input.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def converse(self) -> None:
        """A whole session up to a question and its answer."""
        assert "QMP" in self.message()
        os.write(self._writer, NEGOTIATE + ASK)
        assert self.message() == {"return": {}}
        assert self.message()["id"] == "asked"

    def quit(self) -> None:
        os.write(self._writer, QUIT)
        assert self.message() == {"return": {}, "id": "end"}


class TestMonitorsOn:
    """A monitor on each kind of device that can have one."""

    @pytest.fixture
    def fds(self) -> Iterator[list[int]]:
        """What is put in here is closed."""
        opened: list[int] = []
        yield opened
        for fd in opened:
            os.close(fd)

    def test_a_pair_of_pipes(self, launch: Launcher, scratch: Scratch, fds: list[int]) -> None:
        """They can be closed and opened again without ending the session."""
        for name in ("p.in", "p.out"):
            os.mkfifo(scratch / name)
        server = launch("--chardev", f"pipe,id=c,path={scratch / 'p'}", "--monitor", "c")
        fds += [os.open(scratch / "p.out", os.O_RDONLY), os.open(scratch / "p.in", os.O_WRONLY)]
        ends = Ends(*fds)
        ends.converse()
        assert told(server)["c"] == {"label": "c", "filename": "pipe", "frontend-open": True}
        os.close(fds.pop())
        fds.append(os.open(scratch / "p.in", os.O_WRONLY))
        os.write(fds[1], ASK)
        assert ends.message()["id"] == "asked"
        ends.quit()
        assert server.wait_exit() == 0

    def test_a_pseudo_terminal(self, launch: Launcher, fds: list[int]) -> None:
        """Who opens it is greeted, and so is the next one."""
        server = launch("--chardev", "pty,id=c", "--monitor", "c")
        path = filename(server, "c").removeprefix("pty:")
        for _ in range(2):
            fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
            try:
                Ends(fd, fd).converse()
            finally:
                os.close(fd)
            for _ in range(2):  # the server cannot have answered twice without having seen that the terminal is closed
                told(server)
        fds.append(os.open(path, os.O_RDWR | os.O_NOCTTY))
        Ends(fds[0], fds[0]).converse()
        os.write(fds[0], QUIT)  # a terminal that ends takes with it what was not read, maybe the answer
        assert server.wait_exit() == 0

    def test_a_serial_line(self, launch: Launcher, fds: list[int]) -> None:
        fds += os.openpty()
        server = launch("--chardev", f"serial,id=c,path={os.ttyname(fds[1])}", "--monitor", "c")
        ends = Ends(fds[0], fds[0])
        ends.converse()
        ends.quit()
        assert server.wait_exit() == 0

    def test_a_file_gets_what_is_said(self, launch: Launcher, scratch: Scratch) -> None:
        """There is nobody to ask, so it is the greeting."""
        launch("--chardev", f"file,id=c,path={scratch / 'out'}", "--monitor", "c")
        assert "QMP" in json.loads((scratch / "out").read_text())

    def test_a_ring_buffer_too(self, launch: Launcher) -> None:
        server = launch("--chardev", "ringbuf,id=c", "--chardev", "null,id=n", "--monitor", "c", "--monitor", "n")
        text = server.qmp.command("ringbuf-read", device="c", size=9999)
        assert "QMP" in json.loads(text)
        assert told(server)["c"]["frontend-open"] and told(server)["n"]["frontend-open"]
        server.qmp.refused("chardev-remove", id="c")

    def test_a_log_has_a_copy(self, launch: Launcher, scratch: Scratch) -> None:
        path = scratch / "s"
        server = launch(
            *("--chardev", f"socket,id=c,path={path},server=on,wait=off,logfile={scratch / 'log'}"),
            *("--monitor", "c"),
        )
        client = QMPClient(str(path)).negotiate()
        client.command("query-version")
        client.close()
        assert server.terminate() == 0
        lines = (scratch / "log").read_text().splitlines()
        assert [next(iter(json.loads(line))) for line in lines] == ["QMP", "return", "return"]

    @pytest.mark.parametrize("output", ["pipe", "file"])
    def test_standard_input_from_a_file(self, server_kind: str, scratch: Scratch, output: str) -> None:
        """A script of commands: `program ... < script`, or `program ... < script > answers`."""
        (scratch / "script").write_bytes(NEGOTIATE + ASK + QUIT)
        argv = [*SERVER_KINDS[server_kind].program(), "--chardev", "stdio,id=c", "--monitor", "c"]
        with open(scratch / "script", "rb") as script, open(scratch / "answers", "w+b") as answers:
            out = answers if output == "file" else subprocess.PIPE
            done = subprocess.run(argv, stdin=script, stdout=out, timeout=TIMEOUT, check=True)
            answers.seek(0)
            text = answers.read() if output == "file" else done.stdout
        assert [json.loads(line).get("id") for line in text.splitlines()] == [None, None, "asked", "end"]


class TestIOThreads:
    """x-blockdev-set-iothread checks what it is asked for."""

    def test_checks(self, server: Server, scratch: Scratch) -> None:
        server.qmp.command("object-add", qom_type="iothread", id="io")
        server.qmp.command("object-add", qom_type="throttle-group", id="group")
        server.add_null("n", 1 << 20)
        set_thread = "x-blockdev-set-iothread"
        server.qmp.command(set_thread, node_name="n", iothread="io")
        server.qmp.command(set_thread, node_name="n", iothread=None)
        for node, thread in (("nobody", "io"), ("n", "nobody"), ("n", "group"), ("n", 1)):
            server.qmp.refused(set_thread, node_name=node, iothread=thread)
        server.qmp.refused(set_thread, node_name="n")
        server.export("n")
        server.qmp.refused(set_thread, node_name="n", iothread="io")
        server.qmp.command(set_thread, node_name="n", iothread="io", force=True)


def test_what_the_option_takes(launch: Launcher, server_kind: str) -> None:
    """query-command-line-options is QEMU's; its storage daemon lacks it. `input-path` is of QEMU 8."""
    server = launch() if server_kind == "qmpd" else launch.peer("qemu")
    (option,) = server.qmp.command("query-command-line-options", option="chardev")
    types = {parameter["name"]: parameter["type"] for parameter in option["parameters"]}
    assert len(types) - ("input-path" in types) == 37
    assert {types[name] for name in ("abstract", "server", "wait", "mux", "nodelay")} == {"boolean"}
    assert {types[name] for name in ("reconnect", "to", "cols")} == {"number"}
    assert (types["size"], types["port"], types["fd"]) == ("size", "string", "string")
