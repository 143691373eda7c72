"""A connection over a real socket on a backend of the test's own: waiting, limits, loss and the end."""

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pytest

from iotests.harness import nbd
from iotests.harness.nbd import RawNbd, info_query, option_bytes, request_bytes
from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.driver import Told
from qmpd.export.nbd.connection import ConnectionOptions, NbdConnection
from qmpd.export.nbd.transmission import Limits
from tests.export.fake import FileBackend, OneExport, Table, file_export, serve

MIB = 1 << 20
LENGTH = 4 * MIB
P = ParamSpec("P")
T = TypeVar("T")


class Rig:
    """A served file: `path` of the socket, `backend`, `export`, and the live `connections`."""

    def __init__(self, path: Path, backend: FileBackend, export: OneExport, connections: list[NbdConnection]) -> None:
        self.path = path
        self.backend = backend
        self.export = export
        self.connections = connections

    async def attached(self, **options: Any) -> RawNbd:
        """A raw client that has chosen the export."""
        return await run(RawNbd.attached, self.path, "disk", **options)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop turn until something has come true."""
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110  # only turns of the loop can bring it about
                await asyncio.sleep(0)

    async def empty(self) -> None:
        """Wait until no client is left."""
        await self.until(lambda: not self.connections)


async def run(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Call a blocking client function while the server's loop runs on."""
    return await asyncio.get_running_loop().run_in_executor(None, partial(function, *args, **options))


@asynccontextmanager
async def rig(
    directory: Path,
    options: ConnectionOptions | None = None,
    *,
    writable: bool = True,
    bitmaps: dict[str, DirtyBitmap] | None = None,
    writethrough: bool = False,
) -> AsyncIterator[Rig]:
    image = directory / "disk.img"
    image.write_bytes(bytes(LENGTH))
    backend = FileBackend(image)
    export = file_export(backend, writable=writable, bitmaps=bitmaps, writethrough=writethrough)
    path = directory / "nbd.sock"
    try:
        async with serve(path, Table(export), options) as connections:
            yield Rig(path, backend, export, connections)
        assert not export.clients
    finally:
        backend.close()


def limits(**values: int) -> ConnectionOptions:
    return ConnectionOptions(Limits(**values))


async def test_requests_that_wait_are_answered_as_they_end(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        it.backend.threaded = True
        client = await it.attached()
        messages = [request_bytes(nbd.WRITE, at * 4096, 4096, 0, bytes([at]) * 4096, cookie=at) for at in range(50)]
        await run(client.send, b"".join(messages))
        cookies = {(await run(client.reply))[0] for _ in range(50)}
        assert cookies == set(range(50))
        data = await run(client.read, 0, 50 * 4096)
        assert data == b"".join(bytes([at]) * 4096 for at in range(50))
        client.close()
        await it.empty()


async def test_requests_in_flight_are_bounded(tmp_path: Path) -> None:
    async with rig(tmp_path, limits(requests=4)) as it:
        client = await it.attached()
        it.backend.gate.clear()
        for _ in range(20):
            client.send_request(nbd.FLUSH)
        await it.until(lambda: it.backend.flushes == 4)
        for _ in range(20):
            await asyncio.sleep(0)
        assert it.backend.flushes == 4
        it.backend.gate.set()
        for _ in range(20):
            assert (await run(client.reply))[1].error == 0
        assert it.backend.flushes == 20
        client.close()


async def test_bytes_in_flight_are_bounded_but_one_request_always_goes(tmp_path: Path) -> None:
    async with rig(tmp_path, limits(bytes=MIB)) as it:
        client = await it.attached()
        it.backend.gate.clear()
        for length in (2 * MIB, 4096, 512 << 10, 512 << 10, 4096):
            client.send_request(nbd.READ, 0, length)
        await it.until(lambda: len(it.backend.log) == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(it.backend.log) == 1
        it.backend.gate.set()
        for length in (2 * MIB, 4096, 512 << 10, 512 << 10, 4096):
            assert (await run(client.reply, length))[1].error == 0
        client.close()


async def test_a_client_that_does_not_read_is_not_read_from(tmp_path: Path) -> None:
    """Its replies stay within the limit, whatever it asks for; others are served meanwhile."""
    async with rig(tmp_path, limits(unsent=256 << 10)) as it:
        slow = await it.attached()
        message = b"".join(request_bytes(nbd.READ, 0, 65536, cookie=number) for number in range(200))
        await run(slow.send, message)
        (connection,) = it.connections
        await it.until(lambda: connection._outbox.size >= 256 << 10)
        assert connection._outbox.size <= 512 << 10
        quick = await it.attached()
        assert await run(quick.read, 0, 4096) == bytes(4096)
        assert len(it.backend.log) < 60
        for number in range(200):
            assert (await run(slow.reply, 65536))[0] == number
        slow.close()
        quick.close()
        await it.empty()


async def test_a_client_that_vanishes_with_requests_in_flight(tmp_path: Path) -> None:
    """Complete writes are carried out, and what they wrote is whole; the half one is not."""
    async with rig(tmp_path) as it:
        client = await it.attached()
        it.backend.gate.clear()
        whole = request_bytes(nbd.WRITE, 0, 4096, 0, b"a" * 4096)
        half = request_bytes(nbd.WRITE, 8192, 4096, 0, b"b" * 4096)[:-1]
        client.send(whole + half)
        await it.until(lambda: bool(it.backend.log))
        client.close()
        for _ in range(20):
            await asyncio.sleep(0)
        assert it.export.clients, "it counts as connected while a request is in flight"
        it.backend.gate.set()
        await it.empty()
        content = (tmp_path / "disk.img").read_bytes()
        assert content[:4096] == b"a" * 4096
        assert content[4096:] == bytes(LENGTH - 4096)


async def test_a_payload_in_flight_is_not_overwritten_by_what_arrives_next(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        client = await it.attached()
        it.backend.gate.clear()
        for number in range(30):
            client.send_request(nbd.WRITE, number * 16384, 16384, 0, bytes([number + 1]) * 16384)
            await it.until(lambda number=number: len(it.backend.log) == number + 1)
        it.backend.gate.set()
        for _ in range(30):
            assert (await run(client.reply))[1].error == 0
        content = (tmp_path / "disk.img").read_bytes()
        for number in range(30):
            assert content[number * 16384 : (number + 1) * 16384] == bytes([number + 1]) * 16384
        client.close()


async def test_closing_lets_requests_in_flight_end_and_answers_them(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        client = await it.attached()
        it.backend.gate.clear()
        client.send_request(nbd.WRITE, 0, 4096, 0, b"z" * 4096)
        await it.until(lambda: bool(it.backend.log))
        (connection,) = it.connections
        connection.close()
        closed = asyncio.ensure_future(connection.wait_closed())
        client.send_request(nbd.WRITE, 4096, 4096, 0, b"z" * 4096)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not closed.done()
        it.backend.gate.set()
        await closed
        assert (await run(client.reply))[1].error == 0
        assert await run(client.hung_up)
        content = (tmp_path / "disk.img").read_bytes()
        assert content[:8192] == b"z" * 4096 + bytes(4096)


async def test_closing_does_not_wait_for_a_client_that_does_not_read(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        client = await it.attached()
        for _ in range(30):
            client.send_request(nbd.READ, 0, MIB)
        (connection,) = it.connections
        await it.until(lambda: connection._outbox.size > MIB)
        connection.close()
        await connection.wait_closed()
        assert not it.connections
        client.close()


@pytest.mark.parametrize("structured", [False, True])
async def test_errors_of_the_backend_are_told(tmp_path: Path, structured: bool) -> None:
    expected = {
        errno.EIO: nbd.EIO,
        errno.ENOSPC: nbd.ENOSPC,
        errno.EFBIG: nbd.ENOSPC,
        errno.EROFS: nbd.EPERM,
        errno.ENOTSUP: nbd.ENOTSUP,
        errno.ENOENT: nbd.EINVAL,
    }
    async with rig(tmp_path) as it:
        client = await it.attached(structured=structured)
        for number, error in expected.items():
            it.backend.fail = number
            for command in (nbd.READ, nbd.WRITE, nbd.FLUSH, nbd.TRIM, nbd.WRITE_ZEROES, nbd.CACHE):
                data = bytes(512) if command == nbd.WRITE else b""
                length = 0 if command == nbd.FLUSH else 512
                reply = await run(client.request, command, 0, length, 0, data)
                assert reply.error == error
        client.close()


async def test_a_bug_in_the_backend_fails_one_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with rig(tmp_path) as it:
        client = await it.attached()
        it.backend.flush = None  # type: ignore[assignment, method-assign]
        assert (await run(client.request, nbd.FLUSH)).error == nbd.EIO
        assert (await run(client.read, 0, 512)) == bytes(512)
        assert "failed unexpectedly" in caplog.text
        client.close()


async def test_fua_and_writethrough(tmp_path: Path) -> None:
    for writethrough in (False, True):
        directory = tmp_path / str(writethrough)
        directory.mkdir()
        async with rig(directory, writethrough=writethrough) as it:
            client = await it.attached()
            await run(client.request, nbd.WRITE, 0, 512, 0, bytes(512))
            await run(client.request, nbd.WRITE, 0, 512, nbd.FUA, bytes(512))
            plain = "write fua" if writethrough else "write"
            assert [what for what, *_ in it.backend.log] == [plain, "write fua"]
            await run(client.request, nbd.TRIM, 0, 512)
            assert it.backend.flushes == (1 if writethrough else 0)
            await run(client.request, nbd.TRIM, 0, 512, nbd.FUA)
            await run(client.request, nbd.READ, 0, 512, nbd.FUA)
            assert it.backend.flushes == (3 if writethrough else 2)
            client.close()


async def test_fast_zero_fails_where_it_would_be_slow(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        client = await it.attached()
        reply = await run(client.request, nbd.WRITE_ZEROES, 0, MIB, nbd.FAST_ZERO)
        assert reply.error == nbd.ENOTSUP
        assert (await run(client.request, nbd.WRITE_ZEROES, 0, MIB)).error == 0
        client.close()


async def test_many_extents_are_cut_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmpd.export.nbd.transmission.MAX_STATUS_EXTENTS", 10)
    bitmap = DirtyBitmap("b0", LENGTH, 512)
    for offset in range(0, MIB, 4096):
        bitmap.set(offset, 512)
    async with rig(tmp_path, bitmaps={"b0": bitmap}) as it:
        client = await it.attached(structured=True, meta=("qemu:dirty-bitmap:b0",))
        reply = await run(client.request, nbd.BLOCK_STATUS, 0, LENGTH)
        ((_, extents),) = reply.status
        assert extents == ((512, 1), (3584, 0)) * 5
        client.close()


async def test_a_handshake_that_takes_too_long(tmp_path: Path) -> None:
    async with rig(tmp_path, ConnectionOptions(handshake_seconds=0.05)) as it:
        client = await run(RawNbd.connect, it.path)
        await run(client.handshake)
        assert await run(client.hung_up)
        await it.empty()


async def test_a_client_that_took_its_time_is_not_cut_off_later(tmp_path: Path) -> None:
    async with rig(tmp_path, ConnectionOptions(handshake_seconds=0.05)) as it:
        client = await it.attached()
        loop = asyncio.get_running_loop()
        passed = loop.create_future()
        loop.call_later(0.1, passed.set_result, None)
        await passed
        assert await run(client.read, 0, 512) == bytes(512)
        client.close()


async def test_an_avalanche_of_lists_is_answered_bit_by_bit(tmp_path: Path) -> None:
    async with rig(tmp_path, limits(unsent=16384)) as it:
        client = await run(RawNbd.connect, it.path)
        await run(client.handshake)
        sender = asyncio.ensure_future(run(client.send, option_bytes(nbd.OPT_LIST) * 4000))
        await it.until(lambda: bool(it.connections))
        for _ in range(4000):
            assert it.connections[0]._outbox.size < 65536
            assert len(await run(client.option_replies, nbd.OPT_LIST)) == 2
        await sender
        client.close()


async def test_an_export_is_in_use_before_the_last_answer_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could be removed while a client that has many answers to read does so."""
    send = NbdConnection._send

    def send_slowly(connection: NbdConnection) -> bool:
        chosen = connection._negotiation is not None and connection._negotiation.outcome is not None
        return send(connection) and not chosen

    monkeypatch.setattr(NbdConnection, "_send", send_slowly)
    async with rig(tmp_path, limits(unsent=1)) as it:
        client = await it.attached()
        assert it.export.clients
        assert await run(client.read, 0, 512) == bytes(512)
        client.close()
        await it.empty()


async def test_half_closed_clients_get_their_answers(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        client = await it.attached()
        client.send_request(nbd.READ, 0, MIB)
        client.sock.shutdown(socket.SHUT_WR)
        assert (await run(client.reply, MIB))[1].data == bytes(MIB)
        assert await run(client.hung_up)
        await it.empty()


async def test_handshake_and_requests_in_one_message(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        it.backend.at_hand = False
        client = await run(RawNbd.connect, it.path)
        message = struct.pack(">I", 3) + option_bytes(nbd.OPT_GO, info_query("disk"))
        message += request_bytes(nbd.WRITE, 0, 60000, 0, b"q" * 60000) + request_bytes(nbd.READ, 1, 10, cookie=2)
        await run(client.send, message)
        await run(client.receive, 18)
        await run(client.option_replies, nbd.OPT_GO)
        assert (await run(client.reply)) == (1, nbd.Reply(0))
        assert (await run(client.reply, 10)) == (2, nbd.Reply(0, b"q" * 10))
        client.close()


async def test_a_write_that_failed_is_done_again_with_what_it_was_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much has been received since then, and with the answer of the second try."""
    async with rig(tmp_path) as it:
        client = await it.attached()
        begun: list[Told] = []

        def begin_write(backend: FileBackend, offset: int, data: memoryview, done: Told) -> bool:
            if begun:
                return False
            begun.append(done)
            return True

        monkeypatch.setattr(FileBackend, "begin_write", begin_write)
        await run(client.send, request_bytes(nbd.WRITE, 0, 4096, 0, b"a" * 4096, cookie=99))
        for number in range(100):
            await run(client.send, request_bytes(nbd.WRITE, MIB, 8192, 0, b"b" * 8192, cookie=number))
        for number in range(100):
            assert await run(client.reply) == (number, nbd.Reply(0))
        begun[0](OSError(errno.ENOSPC, "full"))
        assert await run(client.reply) == (99, nbd.Reply(0))
        assert await run(client.read, 0, 4096) == b"a" * 4096
        client.close()
        await it.empty()
