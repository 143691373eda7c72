"""The commands on exports and the NBD server: outcomes, events and error classes, on both servers."""

from typing import Any

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.nbd import RawNbd
from iotests.harness.tools import nbdinfo, qemu_io

MIB = 1 << 20


@pytest.fixture
def disk(server: Server, scratch: Scratch) -> str:
    """A node `disk`."""
    return server.add_raw(scratch.disk("disk", MIB))


def start(server: Server) -> None:
    address = {"type": "unix", "data": {"path": str(server.nbd_path)}}
    server.qmp.command("nbd-server-start", addr=address)


def add(server: Server, export_id: str = "e0", **members: Any) -> None:
    options = {"type": "nbd", "id": export_id, "node-name": "disk"}
    server.qmp.command("block-export-add", options, **members)


def refuse_add(server: Server, **members: Any) -> None:
    options = {"type": "nbd", "id": "e9", "node-name": "disk", "name": "nine"}
    options.update({key.replace("_", "-"): value for key, value in members.items()})
    server.qmp.refused("block-export-add", options)


def ids(server: Server) -> list[str]:
    return [export["id"] for export in server.qmp.command("query-block-exports")]


def test_without_a_server(server: Server, disk: str) -> None:
    refuse_add(server)
    server.qmp.refused("nbd-server-stop")
    server.qmp.refused("nbd-server-add", device="disk")
    server.qmp.refused("nbd-server-remove", name="disk")
    assert server.qmp.command("query-block-exports") == []


def test_start_and_stop(server: Server, disk: str) -> None:
    start(server)
    assert server.nbd_path.exists()
    server.qmp.refused("nbd-server-start", addr={"type": "unix", "data": {"path": str(server.nbd_path)}})
    add(server)
    add(server, "e1", name="other")
    server.qmp.command("nbd-server-stop")
    assert [event.data["id"] for event in server.qmp.seen("BLOCK_EXPORT_DELETED")] == ["e0", "e1"]
    assert not server.nbd_path.exists()
    assert ids(server) == []
    start(server)
    add(server)
    assert nbdinfo(server.nbd_uri("disk"))


def test_addresses_that_do_not_work(server: Server, scratch: Scratch) -> None:
    for address in (
        {"type": "unix", "data": {"path": str(scratch / "missing" / "sock")}},
        {"type": "unix", "data": {"path": "/x" * 200}},
        {"type": "inet", "data": {"host": "127.0.0.1", "port": "no-such-service"}},
        {"type": "fd", "data": {"str": "no-such-fd"}},
        {"type": "fd", "data": {"str": "999"}},
        {"type": "bogus", "data": {}},
        {"type": "unix", "data": {}},
    ):
        server.qmp.refused("nbd-server-start", addr=address)
    good = {"type": "unix", "data": {"path": str(server.nbd_path)}}
    server.qmp.refused("nbd-server-start", {"addr": good, "tls-creds": "none"})
    start(server)


def test_exports_that_cannot_be_made(server: Server, disk: str, scratch: Scratch) -> None:
    locked = server.add_raw(scratch.disk("locked", MIB), read_only=True)
    server.qmp.command("block-dirty-bitmap-add", node="disk", name="b0")
    start(server)
    add(server)
    refuse_add(server, id="e0")
    refuse_add(server, name="disk")
    refuse_add(server, id="9")
    refuse_add(server, id="a b")
    refuse_add(server, id="")
    refuse_add(server, node_name="nope")
    refuse_add(server, name="n" * 4097)
    refuse_add(server, description="d" * 4097)
    refuse_add(server, node_name=locked, writable=True)
    refuse_add(server, bitmaps=["nope"])
    refuse_add(server, bitmaps=["b0"])
    refuse_add(server, bitmaps=[{"node": "nope", "name": "b0"}])
    refuse_add(server, bitmaps=[{"node": locked, "name": "b0"}])
    refuse_add(server, iothread="none")
    refuse_add(server, type="bogus")
    refuse_add(server, writable="yes")
    assert ids(server) == ["e0"]
    add(server, "e1", name="n" * 4096, description="d" * 4096)
    add(server, "e2", name="")
    assert ids(server) == ["e2", "e1", "e0"]


def test_query(server: Server, disk: str) -> None:
    start(server)
    add(server, writable=True)
    assert server.qmp.command("query-block-exports") == [
        {"id": "e0", "type": "nbd", "node-name": "disk", "shutting-down": False}
    ]


def test_what_an_export_holds(server: Server, disk: str) -> None:
    """The node stays, its length stays, and a bitmap that is shown is busy; all are free again afterwards."""
    server.qmp.command("block-dirty-bitmap-add", node="disk", name="b0")
    start(server)
    add(server, writable=True, bitmaps=["b0"])
    server.qmp.refused("blockdev-del", node_name="disk")
    server.qmp.refused("block_resize", node_name="disk", size=2 * MIB)
    server.qmp.refused("block-dirty-bitmap-remove", node="disk", name="b0")
    server.qmp.refused("block-dirty-bitmap-clear", node="disk", name="b0")
    refuse_add(server, writable=True, bitmaps=["b0"])
    qemu_io(server.nbd_uri("disk"), "write 0 64k")
    assert server.bitmaps("disk")["b0"]["busy"] is True
    assert server.bitmaps("disk")["b0"]["count"] == 65536
    server.qmp.command("block-export-del", id="e0")
    server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="e0")
    server.qmp.command("block-dirty-bitmap-clear", node="disk", name="b0")
    server.qmp.command("block_resize", node_name="disk", size=2 * MIB)
    server.qmp.command("blockdev-del", node_name="disk")


def test_a_disabled_bitmap_in_a_read_only_export(server: Server, disk: str) -> None:
    server.qmp.command("block-dirty-bitmap-add", node="disk", name="b0", disabled=True)
    start(server)
    add(server, bitmaps=[{"node": "disk", "name": "b0"}])
    assert nbdinfo(server.nbd_uri("disk"))["exports"][0]["contexts"] == ["base:allocation", "qemu:dirty-bitmap:b0"]


def test_a_bitmap_below_a_filter_is_found(server: Server, disk: str) -> None:
    """A bitmap of the file node under a raw node is not: raw is a format, no filter."""
    server.qmp.command("block-dirty-bitmap-add", node="disk", name="b0", disabled=True)
    server.qmp.command("blockdev-add", driver="raw", node_name="top", file="disk")
    start(server)
    refuse_add(server, node_name="top", bitmaps=["b0"])
    add(server, node_name="top", bitmaps=[{"node": "disk", "name": "b0"}])


def test_safe_removal_spares_clients(server: Server, disk: str) -> None:
    start(server)
    add(server)
    with RawNbd.attached(server.nbd_path, "disk") as client:
        server.qmp.refused("block-export-del", id="e0")
        server.qmp.refused("block-export-del", id="e0", mode="safe")
        server.qmp.refused("nbd-server-remove", name="e0")
        assert client.read(0, 512) == bytes(512)
        client.send_request(2)  # disconnect
        assert client.hung_up()
    # The server lets go of the export about when the client sees the end of the connection.
    server.qmp.wait_until(lambda: _removed(server), "the export is not used any more")
    server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="e0")
    assert ids(server) == []


def _removed(server: Server) -> bool:
    replies = server.qmp.command("query-block-exports")
    if not replies:
        return True
    try:
        server.qmp.command("block-export-del", id="e0")
    except Exception as error:
        assert "in use" in str(error)
        return False
    return True


def test_a_client_that_has_chosen_no_export_is_in_nobodys_way(server: Server, disk: str) -> None:
    start(server)
    add(server)
    with RawNbd.connect(server.nbd_path) as client:
        client.handshake()
        server.qmp.command("block-export-del", id="e0")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="e0")
        add(server)
        assert client.option(7, b"\0\0\0\4disk\0\0")[-1][0] == 1
        assert client.read(0, 512) == bytes(512)


def test_hard_removal_disconnects(server: Server, disk: str) -> None:
    start(server)
    add(server)
    add(server, "e1", name="other")
    with RawNbd.attached(server.nbd_path, "disk") as client, RawNbd.attached(server.nbd_path, "other") as other:
        server.qmp.command("block-export-del", id="e0", mode="hard")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="e0")
        assert client.hung_up()
        assert other.read(0, 512) == bytes(512)
        server.qmp.refused("block-export-del", id="e0")
        add(server)
        server.qmp.command("nbd-server-remove", name="e1", mode="hard")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="e1")
        assert other.hung_up()
    assert ids(server) == ["e0"]


def test_stopping_disconnects_everybody(server: Server, disk: str) -> None:
    start(server)
    add(server)
    with RawNbd.attached(server.nbd_path, "disk") as client, RawNbd.attached(server.nbd_path, "disk") as other:
        server.qmp.command("nbd-server-stop")
        assert client.hung_up() and other.hung_up()


@pytest.mark.qmpd_only("QEMU 7.2 waits for such a client for ever")
def test_stopping_disconnects_clients_that_have_chosen_no_export(server: Server) -> None:
    start(server)
    with RawNbd.connect(server.nbd_path) as newcomer:
        newcomer.handshake()
        server.qmp.command("nbd-server-stop")
        assert newcomer.hung_up()


def test_the_older_commands(server: Server, disk: str, scratch: Scratch) -> None:
    server.add_raw(scratch.disk("locked", MIB), read_only=True)
    server.qmp.command("block-dirty-bitmap-add", node="disk", name="b0")
    start(server)
    server.qmp.refused("nbd-server-add", device="nope")
    server.qmp.command("nbd-server-add", device="disk", writable=True, bitmap="b0", description="old")
    server.qmp.refused("nbd-server-add", device="disk")
    server.qmp.command("nbd-server-add", device="disk", name="again")
    server.qmp.command("nbd-server-add", device="locked", writable=True)
    assert ids(server) == ["locked", "again", "disk"]
    exports = nbdinfo(f"nbd+unix:///?socket={server.nbd_path}", "--list")["exports"]
    assert {export["export-name"]: export["is_read_only"] for export in exports} == {
        "disk": False,
        "again": True,
        "locked": True,
    }
    server.qmp.refused("nbd-server-remove", name="nope")
    server.qmp.command("nbd-server-remove", name="again")
    server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="again")
    assert ids(server) == ["locked", "disk"]


def test_deleting_and_adding_at_once(server: Server, disk: str) -> None:
    """A command that follows a removal finds the export gone, without waiting for the event."""
    start(server)
    for _ in range(5):
        add(server)
        server.qmp.command("block-export-del", id="e0")
    server.qmp.command("blockdev-del", node_name="disk")


def test_ending_with_clients_connected(launch: Launcher, scratch: Scratch) -> None:
    server = launch()
    server.add_raw(scratch.disk("disk", MIB))
    start(server)
    add(server, writable=True)
    with RawNbd.attached(server.nbd_path, "disk") as client:
        client.send_request(1, 0, 4096, 0, b"last" * 1024)
        assert client.reply()[1].error == 0
        assert server.terminate() == 0
        assert client.hung_up()
    assert server.kind == "qsd" or not server.nbd_path.exists()


@pytest.mark.qmpd_only("QEMU ignores it")
def test_keep_alive_is_not_for_listening(server: Server) -> None:
    data = {"host": "127.0.0.1", "port": "0", "keep-alive": True}
    server.qmp.refused("nbd-server-start", addr={"type": "inet", "data": data})


@pytest.mark.qmpd_only("QEMU leaves the mode to the umask")
def test_the_socket_is_for_the_owner_only(server: Server) -> None:
    start(server)
    assert server.nbd_path.stat().st_mode & 0o777 == 0o600


@pytest.mark.qmpd_only("QEMU takes a socket over from a living server")
def test_a_living_servers_socket_is_not_taken(server: Server, launch: Launcher) -> None:
    start(server)
    other = launch()
    address = {"type": "unix", "data": {"path": str(server.nbd_path)}}
    other.qmp.refused("nbd-server-start", addr=address)
    server.kill()
    other.qmp.command("nbd-server-start", addr=address)


@pytest.mark.parametrize("port", ["-1", "abc"])
def test_ports_that_are_none(server: Server, port: str) -> None:
    server.qmp.refused("nbd-server-start", addr={"type": "inet", "data": {"host": "127.0.0.1", "port": port}})
    server.qmp.refused("nbd-server-stop")


@pytest.mark.qmpd_only("QEMU listens at the port that is left when the number's higher bits are cut off")
@pytest.mark.parametrize("port", ["99999", "65536"])
def test_ports_out_of_range(server: Server, port: str) -> None:
    address = {"type": "inet", "data": {"host": "127.0.0.1", "port": port}}
    assert "out of range" in server.qmp.refused("nbd-server-start", addr=address)
    server.qmp.refused("nbd-server-stop")
