"""The monitor as clients meet it: the same conversations with qmpd and with QEMU's own daemon."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from qemu.qmp import ConnectError, ExecuteError
from qemu.qmp import QMPClient as LibraryClient

from iotests.harness import Launcher, QMPClient, QMPRefused, Scratch, Server
from iotests.harness.servers import free_port
from iotests.harness.tools import run

ODD = {
    "array": b"[1]",
    "number": b"1\n",
    "no-command": b"{}",
    "unknown-member": b'{"execute":"query-version","x":1}',
    "both-verbs": b'{"execute":"query-version","exec-oob":"query-version"}',
    "arguments-array": b'{"execute":"query-version","arguments":[]}',
    "unknown-argument": b'{"execute":"query-version","arguments":{"a":1}}',
    "twice": b'{"execute":"query-version","id":1,"id":2}',
    "trailing-comma": b'{"execute":"query-version",}',
    "keyword": b'{"execute":nul}',
    "surrogate": b'{"execute":"\\ud800"}',
    "utf-8": b'{"execute":"\xc3"}',
    "reset": b'{"execute":\xff',
    "reset-in-string": b'{"execute":"\xff',
    "closing": b"}",
    "mismatched": b"{]",
    "too-deep": b"[" * 1025,
}


def read_replies(server: Server, data: bytes, number: int) -> list[dict[str, Any]]:
    """Send raw bytes on the first session; the next `number` messages."""
    server.qmp.send_bytes(data)
    return [server.qmp.read_message() for _ in range(number)]


@pytest.mark.parametrize("name", ODD)
def test_odd_input_gets_one_error_and_the_session_goes_on(server: Server, name: str) -> None:
    first, second = read_replies(server, ODD[name] + b'{"execute":"query-version","id":"END"}', 2)
    assert first["error"]["class"] == "GenericError"
    assert first["error"]["desc"]
    assert second["id"] == "END"
    assert "return" in second


class TallSession:
    """A session whose messages take several lines."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._data = b""
        self.read()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Run a command; the whole reply."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            message = self.read()
            if "event" not in message:
                return message

    def read(self) -> dict[str, Any]:
        """The next message; it is valid to the last byte."""
        while b"\n}\r\n" not in self._data:
            received = self._socket.recv(65536)
            assert received, "the session was broken off"
            self._data += received
        text, _, self._data = self._data.partition(b"\n}\r\n")
        message: dict[str, Any] = orjson.loads(text + b"\n}")
        return message


def test_names_that_are_no_utf8(launch: Launcher, scratch: Scratch) -> None:
    """They are told in replies that every parser takes, in sessions of either form."""
    path = scratch / "tall.sock"
    server = launch("--chardev", f"socket,id=tall,path={path},server=on,wait=off", "--monitor", "tall,pretty=on")
    base = os.fsdecode(os.fsencode(scratch / "base") + b"\xff\xfe.img")
    Path(base).write_bytes(bytes(4096))
    image = scratch / "disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, image)
    server.wait_for_socket(path)
    tall = TallSession(path)
    file = {"driver": "file", "filename": str(image)}
    adding = {"driver": "qcow2", "node-name": "disk", "file": file}
    assert tall.ask("blockdev-add", **adding)["return"] == {}
    for nodes in (tall.ask("query-named-block-nodes")["return"], server.qmp.command("query-named-block-nodes")):
        told = next(node["image"] for node in nodes if node["node-name"] == "disk")
        assert told["backing-filename"] == str(scratch / "base") + "\ufffd\ufffd.img"
    tall.ask("blockdev-del", **{"node-name": "disk"})
    Path(base).unlink()
    assert "\ufffd\ufffd.img" in tall.ask("blockdev-add", **adding)["error"]["desc"]
    assert tall.ask("query-version")["return"]


def test_lenient_json(server: Server) -> None:
    (reply,) = read_replies(server, b"{'execute':'query-version','id':'it\\'s'}", 1)
    assert reply["id"] == "it's"
    replies = read_replies(server, b'{"execute":"query-version","id":1}{"execute"\n:\r\n"query-version","id":[2]}', 2)
    assert [reply["id"] for reply in replies] == [1, [2]]


def test_messages_in_single_bytes(server: Server) -> None:
    for byte in b'{"execute":"query-version","id":{"a":[1.5,null,"\\u00e9"]}}':
        server.qmp.send_bytes(bytes([byte]))
    assert server.qmp.read_message()["id"] == {"a": [1.5, None, "é"]}


def test_a_large_message(server: Server) -> None:
    # QEMU looks at each character several times, slowly.
    fill = "x" * ((4 if server.kind == "qmpd" else 1) << 20)
    (reply,) = read_replies(server, json.dumps({"execute": "no-such", "id": 1, "arguments": {"a": fill}}).encode(), 1)
    assert reply["error"]["class"] == "CommandNotFound"
    assert server.qmp.command("query-version")


def test_before_the_negotiation_nothing_else_is_there(launch: Launcher) -> None:
    server = launch(monitors=2)
    client = server.connect(1, negotiate=False)
    assert client.greeting["capabilities"] == ["oob"]
    assert client.greeting["version"]["qemu"]["major"] == 7
    client.refused("query-version", error_class="CommandNotFound")
    client.refused("no-such", error_class="CommandNotFound")
    client.refused("qmp_capabilities", enable=["no-such"])
    client.refused("query-version", error_class="CommandNotFound")
    client.negotiate()
    client.refused("qmp_capabilities", error_class="CommandNotFound")
    assert client.command("query-version") == client.greeting["version"]


def test_out_of_band(launch: Launcher) -> None:
    server = launch(monitors=2)
    with pytest.raises(QMPRefused):
        server.qmp.reply_to(server.qmp.send("query-version", verb="exec-oob"))
    client = server.connect(1, oob=True)
    with pytest.raises(QMPRefused, match=r"OOB|out of band"):
        client.reply_to(client.send("query-version", verb="exec-oob"))
    assert client.command("query-version")


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    data = b"".join(b'{"execute":"query-version","id":%d}\n' % number for number in range(500))
    assert [reply["id"] for reply in read_replies(server, data, 500)] == list(range(500))


def test_introspection_covers_every_command(server: Server) -> None:
    schema = server.qmp.command("query-qmp-schema")
    described = {entry["name"] for entry in schema if entry["meta-type"] == "command"}
    listed = {entry["name"] for entry in server.qmp.command("query-commands")}
    assert {"qmp_capabilities", "query-version", "query-commands", "query-qmp-schema", "quit"} <= listed
    assert listed == described


@pytest.mark.peer("qemu")
def test_a_client_of_virtual_machines_finds_what_it_asks_for(server: Server) -> None:
    assert server.qmp.command("query-name") == {}
    status = server.qmp.command("query-status")
    assert (status["status"], status["running"]) == ("running", True)


def test_quit_ends_the_daemon_and_removes_its_socket(server: Server) -> None:
    assert server.qmp.command("quit") == {}
    assert server.wait_exit() == 0
    assert not server.monitor_paths[0].exists()


def test_sigterm_ends_the_daemon_and_removes_its_socket(server: Server) -> None:
    assert server.terminate() == 0
    assert not server.monitor_paths[0].exists()


def test_tcp(launch: Launcher) -> None:
    port = free_port()
    server = launch("--chardev", f"socket,id=tcp,host=127.0.0.1,port={port},server=on,wait=off", "--monitor", "tcp")
    client = QMPClient(("127.0.0.1", port)).negotiate()
    assert client.command("query-version") == server.qmp.command("query-version")
    client.close()


def test_client_mode(launch: Launcher, scratch: Scratch) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(scratch / "back"))
        listener.listen()
        listener.settimeout(60)
        server = launch("--chardev", f"socket,id=back,path={scratch / 'back'},reconnect=1", "--monitor", "back")
        for _ in range(2):  # a lost connection is made again
            connection, _ = listener.accept()
            client = QMPClient.accepted(connection).negotiate()
            assert client.command("query-version") == server.qmp.command("query-version")
            client.close()


def test_a_session_that_ends_leaves_room_for_the_next(launch: Launcher) -> None:
    server = launch(monitors=2)
    for _ in range(5):
        client = server.connect(1)
        client.send_bytes(b'{"execute":"query-version"')
        client.close()


@pytest.mark.qmpd_only("QEMU serves one client a socket")
def test_many_clients_share_a_socket(server: Server) -> None:
    clients = [server.connect(oob=number % 2 == 0) for number in range(50)]
    sent = [(client, client.send("query-version")) for client in clients]
    assert all(client.reply_to(identity) for client, identity in reversed(sent))
    for client in clients:
        client.close()


@pytest.mark.qmpd_only("QEMU's sockets are as private as the umask makes them")
def test_the_socket_is_the_owners_alone(server: Server) -> None:
    assert server.monitor_paths[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.qmpd_only("a promise of ours")
def test_a_message_that_is_too_deep_gets_one_error(server: Server) -> None:
    data = b"[" * 5000 + b"]" * 5000 + b'\n{"execute":"query-version","id":"END"}'
    first, second = read_replies(server, data, 2)
    assert first["error"]["class"] == "GenericError"
    assert second["id"] == "END"


def test_the_qemu_qmp_library(server: Server, launch: Launcher) -> None:
    other = launch(monitors=2)

    async def talk(path: Path) -> None:
        client = LibraryClient("test")
        await client.connect(str(path))
        version = await client.execute("query-version")
        assert isinstance(version, dict)
        with pytest.raises(ExecuteError) as refusal:
            await client.execute("no-such")
        assert refusal.value.error_class == "CommandNotFound"
        await asyncio.gather(*(client.execute("query-commands") for _ in range(20)))
        await client.disconnect()
        with pytest.raises(ConnectError):
            await LibraryClient("test").connect(str(path) + "-not")

    asyncio.run(talk(other.monitor_paths[1]))


def test_qmp_shell(launch: Launcher) -> None:
    server = launch(monitors=2)
    server.wait_for_socket(server.monitor_paths[1])
    done = subprocess.run(
        [sys.executable, "-m", "qemu.qmp.qmp_shell", str(server.monitor_paths[1])],
        input="query-version\nno-such\n",
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "HOME": str(server.scratch.directory)},
    )
    assert "Connected to QEMU 7.2" in done.stdout
    assert "package" in done.stdout
    assert "CommandNotFound" in done.stdout
