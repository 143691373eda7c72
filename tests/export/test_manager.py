"""Exports on the real graph: what they hold, how they go, and what waits for what."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import nbd
from iotests.harness.nbd import RawNbd
from qmpd.block.backend import BlockBackend
from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError
from qmpd.export.base import ExportSettings
from qmpd.export.manager import ExportManager
from qmpd.export.nbd.settings import BitmapReference, NbdSettings
from qmpd.sockets import Address, FdAddress, InetAddress, UnixAddress
from tests.block.conftest import Bench

MIB = 1 << 20


class Rig(Bench):
    """A graph with a disk and a running server."""

    node: BlockNode

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.exports = ExportManager(self.graph, self.events)
        self.socket = path / "nbd.sock"

    async def start(self) -> None:
        self.node = await self.disk("disk", length=MIB)
        await self.exports.start_nbd_server(UnixAddress(str(self.socket)))

    async def export(self, export_id: str = "e0", *, writable: bool = False, **members: Any) -> None:
        settings = ExportSettings(export_id, "disk", writable=writable)
        await self.exports.add_nbd(settings, NbdSettings(members.pop("name", export_id), **members))

    async def client(self, export: str = "e0") -> RawNbd:
        return await run(RawNbd.attached, self.socket, export)

    def deleted(self) -> list[object]:
        return [data["id"] for name, data in self.events.seen if name == "BLOCK_EXPORT_DELETED"]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110  # only turns of the loop can bring it about
                await asyncio.sleep(0)

    async def end(self) -> None:
        await self.exports.close()
        await self.graph.close_all()
        await self.pool.close()


async def run(function: Callable[..., Any], *args: Any) -> Any:
    """Call a blocking client function while the server's loop runs on."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path)
    await rig.start()
    yield rig
    await rig.end()


async def test_an_export_takes_and_gives_back_its_permissions(rig: Rig) -> None:
    await rig.export(writable=True)
    assert rig.node.cumulative_perm == Perm.CONSISTENT_READ | Perm.WRITE
    assert rig.node.cumulative_shared == Perm.ALL & ~Perm.RESIZE
    with pytest.raises(GenericError, match="export 'e0'"):
        BlockBackend(rig.graph, "", Perm.RESIZE, Perm.ALL).attach(rig.node)
    with pytest.raises(GenericError, match="export 'e0'"):
        async with rig.graph.exclusive():
            await rig.graph.delete_node(rig.node)
    rig.exports.remove_safe("e0")
    await rig.until(lambda: rig.deleted() == ["e0"])
    assert not rig.node.parents


async def test_a_user_that_shares_no_writing_is_in_the_way(rig: Rig) -> None:
    other = rig.backend(rig.node, Perm.CONSISTENT_READ, Perm.CONSISTENT_READ)
    with pytest.raises(GenericError):
        await rig.export(writable=True)
    assert rig.exports.query() == []
    assert rig.exports.nbd.find("e0") is None
    await rig.export()
    other.detach()


async def test_what_cannot_be_exported_leaves_nothing_behind(rig: Rig) -> None:
    rig.node.bitmaps.add(DirtyBitmap("b0", MIB, 65536))
    for members in (
        {"bitmaps": [BitmapReference("b0"), BitmapReference("nope")], "writable": True},
        {"bitmaps": [BitmapReference("b0")]},
        {"name": "x" * 5000},
        {"description": "\ud800"},
    ):
        with pytest.raises(GenericError):
            await rig.export(**members)
    assert not rig.node.parents and not rig.node.bitmaps.lookup("b0").busy


async def test_bitmaps_are_locked_once_for_each_export(rig: Rig) -> None:
    rig.node.bitmaps.add(DirtyBitmap("b0", MIB, 65536, disabled=True))
    bitmap = rig.node.bitmaps.lookup("b0")
    await rig.export(bitmaps=[BitmapReference("b0"), BitmapReference("b0", "disk")])
    assert bitmap.busy
    with pytest.raises(GenericError, match="busy"):
        await rig.export("e1", bitmaps=[BitmapReference("b0")])
    rig.exports.remove_hard("e0")
    await rig.until(lambda: rig.deleted() == ["e0"])
    assert not bitmap.busy


async def test_removal_of_a_drained_export_waits_for_its_requests(rig: Rig) -> None:
    await rig.export(writable=True)
    client = await rig.client()
    async with rig.graph.drained([rig.node]):
        client.send_request(nbd.WRITE, 0, 4096, 0, b"d" * 4096)
        connection = next(iter(rig.exports.nbd._connections))
        await rig.until(lambda: connection._in_flight)
        rig.exports.remove_hard("e0")
        for _ in range(20):
            await asyncio.sleep(0)
        (description,) = rig.exports.query()
        assert description.shutting_down
        with pytest.raises(GenericError, match="being removed"):
            rig.exports.remove_hard("e0")
        assert rig.exports.nbd.find("e0") is None
        assert rig.deleted() == []
    await rig.until(lambda: rig.deleted() == ["e0"])
    assert (await run(client.reply))[1].error == 0
    assert await run(client.hung_up)
    assert (rig.path / "disk.img").read_bytes()[:4096] == b"d" * 4096


async def test_an_id_is_free_again_for_whoever_asks_next(rig: Rig) -> None:
    for _ in range(3):
        await rig.export()
        rig.exports.remove_safe("e0")
    await rig.export()
    assert rig.deleted() == ["e0"] * 3


async def test_stopping_while_a_client_has_requests_in_flight(rig: Rig) -> None:
    await rig.export(writable=True)
    client = await rig.client()
    async with rig.graph.drained([rig.node]):
        client.send_request(nbd.FLUSH)
        connection = next(iter(rig.exports.nbd._connections))
        await rig.until(lambda: connection._in_flight)
        stop = asyncio.ensure_future(rig.exports.stop_nbd_server())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not stop.done()
        with pytest.raises(GenericError):
            await rig.export("e1")
    await stop
    assert rig.deleted() == ["e0"] and rig.exports.nbd.connections == 0
    with pytest.raises(GenericError):
        await rig.exports.stop_nbd_server()


async def test_closing_twice_is_harmless(rig: Rig) -> None:
    await rig.export()
    await rig.exports.close()
    await rig.exports.close()
    assert rig.deleted() == ["e0"]


async def test_a_port_in_use(rig: Rig, tmp_path: Path) -> None:
    await rig.exports.stop_nbd_server()
    await rig.exports.start_nbd_server(InetAddress("127.0.0.1", "0"))
    ((_, port),) = rig.exports.nbd.addresses  # type: ignore[misc]
    other = ExportManager(rig.graph, rig.events)
    with pytest.raises(GenericError, match="in use"):
        await other.start_nbd_server(InetAddress("127.0.0.1", str(port)))
    await other.start_nbd_server(InetAddress("127.0.0.1", str(port), to=port + 20))
    await other.close()


async def test_the_socket_file(rig: Rig, tmp_path: Path) -> None:
    assert stat.S_IMODE(rig.socket.stat().st_mode) == 0o600
    other = ExportManager(rig.graph, rig.events)
    with pytest.raises(GenericError, match="another process"):
        await other.start_nbd_server(UnixAddress(str(rig.socket)))
    plain = tmp_path / "plain"
    plain.write_text("keep me")
    with pytest.raises(GenericError, match="is no socket"):
        await other.start_nbd_server(UnixAddress(str(plain)))
    assert plain.read_text() == "keep me"
    await rig.exports.stop_nbd_server()
    assert not rig.socket.exists()


async def test_a_socket_that_another_has_replaced_is_left_alone(rig: Rig) -> None:
    rig.socket.unlink()
    rig.socket.write_text("another's")
    await rig.exports.stop_nbd_server()
    assert rig.socket.read_text() == "another's"


async def test_an_abstract_socket(rig: Rig, tmp_path: Path) -> None:
    await rig.exports.stop_nbd_server()
    address = UnixAddress(str(tmp_path / "abstract"), abstract=True)
    await rig.exports.start_nbd_server(address)
    await rig.export()
    client = await run(RawNbd.attached, "\0" + address.path, "e0")
    assert await run(client.read, 0, 512) == bytes(512)
    assert not (tmp_path / "abstract").exists()
    client.close()


@pytest.mark.parametrize(
    "address",
    [UnixAddress("a\0b"), InetAddress("x" * 300, "0"), FdAddress(10**12)],
    ids=["null-character", "long-label", "large-number"],
)
async def test_an_address_that_no_system_call_takes(tmp_path: Path, address: Address) -> None:
    bench = Bench(tmp_path)
    exports = ExportManager(bench.graph, bench.events)
    with pytest.raises(GenericError, match="Cannot listen"):
        await exports.start_nbd_server(address)
    assert not exports.nbd.running
    await bench.close()
