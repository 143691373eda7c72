"""The NBD client: its handshake and its replies against good and bad servers, and what it makes of requests."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.block.drivers.nbd import link
from qmpd.block.drivers.nbd.handshake import Refused, ServerExport, handshake
from qmpd.block.drivers.nbd.link import Link
from qmpd.block.drivers.nbd.replies import Exchange, ReplyDecoder
from qmpd.block.extents import ExtentKind
from qmpd.block.iopool import IOFuture
from qmpd.errors import GenericError
from qmpd.export.nbd import protocol
from qmpd.export.nbd.negotiation import Negotiation
from qmpd.nbd.numbers import Command, CommandFlag, ProtocolError
from qmpd.nbd.numbers import TransmissionFlag as Flag
from tests.block.conftest import Bench, read
from tests.block.nbd_mock import ALL_FLAGS, Disk, Mock
from tests.lab import Lab
from tests.soak import count

LENGTH = 1 << 20


# The handshake.


def play(disk: Disk, export: str = "x", context: str | None = None, *, without: tuple[int, ...] = ()) -> ServerExport:
    """A handshake with the server's own code at the other end, which lacks some options."""
    server = Negotiation(disk)
    for option in without:
        del server._handlers[option]
    script = handshake(export, context)
    answers = bytearray(Negotiation.greeting)
    step = next(script)
    while True:
        try:
            if isinstance(step, int):
                assert len(answers) >= step, "the client waits for what never comes"
                data, answers = bytes(answers[:step]), answers[step:]
                step = script.send(data)
            else:
                server.feed(step)
                while (reply := server.advance()) is not None:
                    answers += reply
                step = next(script)
        except StopIteration as end:
            assert not answers
            outcome: ServerExport = end.value
            return outcome


def test_everything_is_negotiated() -> None:
    found = play(Disk(LENGTH, alignment=512))
    assert (found.length, found.structured, found.context, found.smallest) == (LENGTH, True, 0, 512)
    assert found.has(Flag.SEND_TRIM) and not found.has(Flag.READ_ONLY)


@pytest.mark.parametrize("without", [(8,), (9, 10), (7,), (7, 8)])
def test_servers_that_lack_something(without: tuple[int, ...]) -> None:
    found = play(Disk(LENGTH), without=without)
    assert found.length == LENGTH
    assert found.structured is (8 not in without)
    assert (found.context is None) is bool({8, 10} & set(without))


def test_context_of_another_name() -> None:
    with pytest.raises(Refused, match="no metadata context 'qemu:dirty-bitmap:b'"):
        play(Disk(LENGTH), context="qemu:dirty-bitmap:b")


def test_no_such_export() -> None:
    with pytest.raises(Refused, match="no export named 'y'"):
        play(Disk(LENGTH), "y")


@pytest.mark.parametrize(
    ("greeting", "why"),
    [
        (b"SSH-2.0-OpenSSH_9", "does not speak NBD"),
        (b"NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53\x00\x00", "oldest form"),
        (b"NBDMAGICIWANTYOU\x00\x03", "not that of NBD"),
    ],
)
def test_greetings_of_something_else(greeting: bytes, why: str) -> None:
    script = handshake("x", None)
    next(script)
    with pytest.raises(ProtocolError, match=why):
        script.send(greeting.ljust(18, b"\0"))


REPLY = b"\x00\x03\xe8\x89\x04\x55\x65\xa9"


def reply(option: int, kind: int, data: bytes = b"", *, length: int | None = None) -> bytes:
    size = len(data) if length is None else length
    return REPLY + option.to_bytes(4, "big") + kind.to_bytes(4, "big") + size.to_bytes(4, "big") + data


ACK, INFO, META, ERROR = 1, 3, 4, 1 << 31
SIZE_INFO = b"\0\0" + LENGTH.to_bytes(8, "big") + b"\0\1"
PLAIN = reply(8, ERROR | 1)
"""A server without structured replies."""


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (reply(7, ACK), "no reply to it"),
        (b"x" * 20, "no reply to it"),
        (reply(8, ACK, length=1 << 30), "is the most"),
        (reply(8, ERROR | 5), "TLS"),
        (reply(8, META) * 300, "more than 256 replies"),
        (reply(8, ACK) + reply(10, META, b"\0"), "not told as such"),
        (reply(8, ACK) + reply(10, META, b"\0\0\0\1other:x") + reply(10, ACK), "not asked for"),
        (PLAIN + reply(7, ACK), "did not tell the export's size"),
        (PLAIN + reply(7, INFO, b"\0") + reply(7, ACK), "not told as such"),
        (PLAIN + reply(7, INFO, SIZE_INFO[:-1]) + reply(7, ACK), "wrong form"),
        (PLAIN + reply(7, INFO, b"\0\3" + bytes(11)) + reply(7, ACK), "wrong form"),
        (PLAIN + reply(7, INFO, b"\0\3" + bytes(12)) + reply(7, INFO, SIZE_INFO) + reply(7, ACK), "no power of two"),
        (
            PLAIN
            + reply(7, INFO, b"\0\3" + b"\0\0\x10\0\0\0\x10\0\0\0\0\1")
            + reply(7, INFO, SIZE_INFO)
            + reply(7, ACK),
            "less than the smallest",
        ),
        (PLAIN + reply(7, ERROR | 6, b"no, thanks"), "no, thanks"),
    ],
)
def test_answers_of_no_use(answers: bytes, why: str) -> None:
    rest = Negotiation.greeting + answers.replace(reply(10, META, b"\0"), reply(10, META, b"\0") + reply(10, ACK))
    script = handshake("x", None)
    step: bytes | int = next(script)
    with pytest.raises((ProtocolError, Refused), match=why):
        while True:
            if isinstance(step, int):
                data, rest = rest[:step], rest[step:]
                assert len(data) == step
                step = script.send(data)
            else:
                step = next(script)


# Replies.


class Bare:
    """A decoder with exchanges under way, and bytes for it."""

    def __init__(self, *, structured: bool = True) -> None:
        self.decoder = ReplyDecoder(structured=structured, context=0)
        self.exchanges: list[Exchange] = []

    def expect(self, command: Command, offset: int = 0, length: int = 0) -> tuple[int, Exchange]:
        buffer = memoryview(bytearray(length)) if command is Command.READ else None
        exchange = Exchange(command, offset, length, buffer=buffer)
        exchange.restart(IOFuture())
        self.exchanges.append(exchange)
        self.decoder.expect(len(self.exchanges), exchange)
        return len(self.exchanges), exchange

    def feed(self, data: bytes, generator: random.Random | None = None) -> None:
        while data:
            buffer = self.decoder.buffer()
            assert buffer
            size = min(len(buffer), len(data), generator.randint(1, 70000) if generator else 1 << 30)
            buffer[:size] = data[:size]
            self.decoder.received(size)
            data = data[size:]


def data_chunk(cookie: int, offset: int, data: bytes, *, final: bool = False) -> bytes:
    head = bytearray(protocol.DATA_CHUNK.size)
    protocol.put_data_header(memoryview(head), cookie, offset, len(data), final=final)
    return bytes(head) + data


@pytest.mark.parametrize("seed", range(count(20, 1000)))
async def test_replies_in_any_order_and_any_pieces(seed: int) -> None:
    generator = random.Random(seed)
    bare = Bare()
    replies: list[bytes] = []
    wanted: list[bytes] = []
    for _ in range(12):
        length = generator.choice([1, 512, 5000, 40000, 200000])
        offset = generator.randrange(1 << 40)
        cookie, _ = bare.expect(Command.READ, offset, length)
        data = bytearray(generator.randbytes(length))
        cut = generator.randrange(length)
        chunks = [data_chunk(cookie, offset + cut, bytes(data[cut:]))]
        if cut and generator.random() < 0.5:
            data[:cut] = bytes(cut)
            chunks.append(protocol.hole_chunk(cookie, offset, cut, final=False))
        elif cut:
            chunks.append(data_chunk(cookie, offset, bytes(data[:cut])))
        generator.shuffle(chunks)
        replies.append(b"".join(chunks) + protocol.done_chunk(cookie))
        wanted.append(bytes(data))
    generator.shuffle(replies)
    bare.feed(b"".join(replies), generator)
    assert not bare.decoder.exchanges
    assert [bytes(exchange.buffer or b"") for exchange in bare.exchanges] == wanted
    assert all(exchange.done.done() and not exchange.error for exchange in bare.exchanges)


async def test_simple_replies() -> None:
    bare = Bare(structured=False)
    first, read_one = bare.expect(Command.READ, 0, 100000)
    second, write = bare.expect(Command.WRITE, 0, 512)
    third, bad = bare.expect(Command.FLUSH)
    data = random.Random(1).randbytes(100000)
    bare.feed(protocol.simple_reply(third, 28) + protocol.simple_reply(first) + data + protocol.simple_reply(second))
    assert bytes(read_one.buffer or b"") == data
    assert (read_one.error, write.error, bad.error) == (0, 0, errno.ENOSPC)


async def test_what_is_an_error_of_one_request() -> None:
    bare = Bare()
    cookie, short = bare.expect(Command.READ, 0, 1024)
    bare.feed(data_chunk(cookie, 0, b"x" * 512, final=True))
    cookie, nothing = bare.expect(Command.BLOCK_STATUS, 0, 1024)
    bare.feed(protocol.done_chunk(cookie))
    cookie, refused = bare.expect(Command.READ, 0, 1024)
    bare.feed(data_chunk(cookie, 0, b"x" * 1024) + protocol.error_reply(cookie, 1, "no", structured=True))
    cookie, odd = bare.expect(Command.READ, 0, 1024)
    chunk = protocol.CHUNK_HEADER.pack(0x668E33EF, 1, 0x8002, cookie, 15) + b"\0\0\0\x05\0\1x" + bytes(8)
    bare.feed(chunk)
    assert [one.error for one in (short, nothing, refused, odd)] == [errno.EIO, errno.EIO, errno.EPERM, errno.EIO]


def header(kind: int, length: int, cookie: int = 1, flags: int = 0) -> bytes:
    return protocol.CHUNK_HEADER.pack(0x668E33EF, flags, kind, cookie, length)


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\0",
        protocol.simple_reply(1),
        protocol.simple_reply(9),
        header(0, 0),
        header(0, 4),
        header(0, 0, cookie=9),
        header(0, 0, flags=2),
        header(1, 8) + bytes(8),
        header(1, 9) + (2048).to_bytes(8, "big"),
        header(1, 2000) + bytes(8),
        header(2, 8) + bytes(8),
        header(2, 12) + bytes(12),
        header(2, 12) + bytes(8) + (2000).to_bytes(4, "big"),
        header(5, 12) + bytes(12),
        header(6, 0),
        header(0x8001, 2),
        header(0x8001, 1 << 30),
        header(0x8001, 6) + b"\0\0\0\x05\0\1",
        header(0x8002, 6) + b"\0\0\0\x05\0\0",
        data_chunk(1, 0, b"x" * 1024) + data_chunk(1, 0, b"x"),
    ],
)
async def test_lies_end_the_connection(data: bytes) -> None:
    bare = Bare()
    bare.expect(Command.READ, 0, 1024)
    with pytest.raises(ProtocolError):
        bare.feed(data)


@pytest.mark.parametrize(
    "payload", [bytes(12), (1).to_bytes(4, "big") + bytes(8), bytes(4) + (1).to_bytes(4, "big") + bytes(3)]
)
async def test_block_status_of_no_use(payload: bytes) -> None:
    bare = Bare()
    bare.expect(Command.BLOCK_STATUS, 0, 1024)
    with pytest.raises(ProtocolError):
        bare.feed(header(5, len(payload)) + payload)


@given(st.binary(max_size=300), st.booleans())
async def test_any_bytes(data: bytes, structured: bool) -> None:
    bare = Bare(structured=structured)
    bare.expect(Command.READ, 0, 64)
    bare.expect(Command.BLOCK_STATUS, 0, 64)
    bare.expect(Command.WRITE, 0, 64)
    try:
        bare.feed(data)
    except ProtocolError:
        return
    assert len(data) < 4 or data[:4] in (b"\x67\x44\x66\x98", b"\x66\x8e\x33\xef")


# Nodes.


@asynccontextmanager
async def serving(bench: Bench, disk: Disk, **options: Any) -> AsyncIterator[Mock]:
    mock = Mock(bench.path / "s", disk, **options)
    await mock.start()
    try:
        yield mock
    finally:
        await mock.stop()


async def add(bench: Bench, mock: Mock, **options: Any) -> Any:
    return await bench.add(**mock.options(**{"node-name": "n", **options}))


@pytest.mark.parametrize("structured", [True, False])
async def test_requests(bench: Bench, structured: bool) -> None:
    disk = Disk(LENGTH)
    async with serving(bench, disk, structured=structured) as mock:
        node = await add(bench, mock, discard="unmap")
        await node.pwritev(1000, b"x" * 5000)
        assert disk.data[1000:6000] == b"x" * 5000
        assert await read(node, 999, 5002) == b"\0" + b"x" * 5000 + b"\0"
        await node.pwritev(0, b"y", fua=True)
        await node.pwrite_zeroes(2000, 100)
        await node.pwrite_zeroes(2000, 100, may_unmap=True, no_fallback=True)
        await node.pdiscard(4096, 4096)
        await node.flush()
        assert not any(disk.data[2000:2100])
        flags = CommandFlag.NO_HOLE, CommandFlag.FAST_ZERO
        assert [(c, f) for c, f, _, _ in disk.log[2:]] == [(1, 1), (6, flags[0]), (6, flags[1]), (4, 0), (3, 0)]
        await bench.graph.close_all()


async def test_requests_that_a_server_lacks(bench: Bench) -> None:
    disk = Disk(LENGTH, Flag.HAS_FLAGS)
    async with serving(bench, disk) as mock:
        node = await add(bench, mock, discard="unmap")
        disk.data[:512] = b"x" * 512
        with pytest.raises(OSError) as caught:
            await node.pwrite_zeroes(0, 512, no_fallback=True)
        assert caught.value.errno == errno.ENOTSUP
        await node.pwrite_zeroes(0, 512)
        assert not any(disk.data)
        await node.pwritev(0, b"y", fua=True)
        await node.pdiscard(0, 4096)
        await node.flush()
        assert {command for command, _, _, _ in disk.log} == {Command.WRITE}
        await bench.graph.close_all()


async def test_map(bench: Bench) -> None:
    disk = Disk(LENGTH)
    disk.data[8192:12288] = b"x" * 4096
    async with serving(bench, disk) as mock:
        node = await add(bench, mock)
        extents = await node.map(100, 8192 + 100)
        kinds = [(one.offset, one.length, one.kind) for one in extents]
        zero, data = ExtentKind.ZERO, ExtentKind.DATA
        assert kinds == [(100, 3996, zero), (4096, 4096, zero), (8192, 200, data)]
        await bench.graph.close_all()


async def test_end_within_a_sector(bench: Bench) -> None:
    """A disk has whole sectors; what is beyond the export reads as zeroes and takes nothing else."""
    disk = Disk(1000)
    disk.data[:] = b"x" * 1000
    async with serving(bench, disk) as mock:
        node = await add(bench, mock)
        assert node.length == 1024
        assert await read(node, 0, 1024) == b"x" * 1000 + bytes(24)
        await node.pwritev(512, b"y" * 488 + bytes(24))
        assert disk.data[512:] == b"y" * 488
        with pytest.raises(OSError) as caught:
            await node.pwritev(512, b"y" * 512)
        assert caught.value.errno == errno.ENOSPC
        await node.pwrite_zeroes(0, 1024)
        assert not any(disk.data)
        assert sum(one.length for one in [*await node.map(0, 1024), *await node.map(1000, 24)]) == 1024
        await bench.graph.close_all()


async def test_large_requests_are_cut(bench: Bench) -> None:
    disk = Disk(36 << 20)
    async with serving(bench, disk) as mock:
        node = await add(bench, mock)
        data = random.Random(5).randbytes(1 << 20) * 36
        await node.pwritev(0, data)
        assert disk.data == data
        assert await read(node, 0, len(data)) == data
        assert [length for _, _, _, length in disk.log] == [32 << 20, 4 << 20] * 2
        await bench.graph.close_all()


async def test_block_size_of_the_server(bench: Bench) -> None:
    disk = Disk(LENGTH, alignment=4096)
    async with serving(bench, disk) as mock:
        node = await add(bench, mock)
        await node.pwritev(5000, b"x" * 100)
        assert disk.data[5000:5100] == b"x" * 100
        assert all(offset % 4096 == 0 and length % 4096 == 0 for _, _, offset, length in disk.log)
        await bench.graph.close_all()


async def test_answers_out_of_order(bench: Bench) -> None:
    disk = Disk(LENGTH)
    disk.data[:] = random.Random(3).randbytes(LENGTH)
    async with serving(bench, disk) as mock:
        node = await add(bench, mock)
        mock.hold = True
        reads = [asyncio.create_task(read(node, at, 30000)) for at in range(0, 900000, 30000)]
        await mock.release(len(reads), random.Random(4))
        assert b"".join([await one for one in reads]) == disk.data[:900000]
        await bench.graph.close_all()


async def test_cancelled_requests_end_with_their_reply(bench: Bench) -> None:
    """Until then somebody may write to their buffers."""
    async with serving(bench, Disk(LENGTH)) as mock:
        node = await add(bench, mock)
        mock.hold = True
        task = asyncio.create_task(read(node, 0, 512))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        await mock.release(1, random.Random(1))
        with pytest.raises(asyncio.CancelledError):
            await task
        await bench.graph.close_all()


async def test_requests_wait_for_another_connection(bench: Bench) -> None:
    disk = Disk(LENGTH)
    async with serving(bench, disk) as mock:
        node = await add(bench, mock, **{"reconnect-delay": 600})
        mock.hold = True
        write = asyncio.create_task(node.pwritev(0, b"x" * 4096))
        await mock.until(lambda: bool(mock.held))
        mock.held.clear()
        mock.hold = False
        await mock.stop()
        later = asyncio.create_task(read(node, 0, 512))
        await mock.start()
        await write
        await later
        assert mock.connections == 2
        assert disk.data[:4096] == b"x" * 4096
        await bench.graph.close_all()


async def test_requests_fail_without_a_delay(bench: Bench) -> None:
    async with serving(bench, Disk(LENGTH)) as mock:
        node = await add(bench, mock)
        mock.hold = True
        write = asyncio.create_task(node.pwritev(0, b"x" * 4096))
        await mock.until(lambda: bool(mock.held))
        await mock.stop()
        for request in (write, node.flush(), read(node, 0, 512)):
            with pytest.raises(OSError) as caught:
                await request
            assert caught.value.errno == errno.EIO
        await mock.start()
        await bench.graph.close_all()


@pytest.mark.parametrize("change", ["smaller", "read-only"])
async def test_export_that_is_another_one(bench: Bench, change: str) -> None:
    """A new connection to something else is none; requests fail when the time is over (the daemon ends, here)."""
    disk = Disk(LENGTH)
    async with serving(bench, disk) as mock:
        node = await add(bench, mock, **{"reconnect-delay": 600})
        await mock.stop()
        mock.disk = Disk(LENGTH // 2) if change == "smaller" else Disk(LENGTH, ALL_FLAGS | Flag.READ_ONLY)
        await mock.start()
        request = asyncio.create_task(read(node, 0, 512))
        await mock.until(lambda: mock.connections >= 2)
        bench.graph.hurry()
        with pytest.raises(OSError):
            await request
        await bench.graph.close_all()


async def test_socket_that_is_there(bench: Bench) -> None:
    """A connected socket by its number; when that connection is lost there can be no other."""
    disk = Disk(LENGTH)
    async with serving(bench, disk) as mock:
        with socket.socket(socket.AF_UNIX) as connected:
            connected.connect(str(mock.path))
            connected.set_inheritable(True)
            number = connected.detach()
            server = {"type": "fd", "str": str(number)}
            node = await add(bench, mock, server=server, **{"reconnect-delay": 600})
            assert node.driver.filename() == (
                f'json:{{"driver": "nbd", "server": {{"type": "fd", "str": "{number}"}}, "export": "x"}}'
            )
            await node.pwritev(0, b"x")
            await mock.stop()
            await mock.start()
            with pytest.raises(OSError):
                await node.flush()
            assert mock.connections == 1
            await bench.graph.close_all()


async def test_silent_server(bench: Bench) -> None:
    """Somebody listens there and says nothing."""
    silent = await asyncio.start_unix_server(lambda reader, writer: asyncio.sleep(3600), bench.path / "s")
    options = {"driver": "nbd", "server": {"type": "unix", "path": str(bench.path / "s")}, "open-timeout": 1}
    with pytest.raises(GenericError, match="takes too long"):
        await bench.add(**options, **{"node-name": "n"})
    silent.close()


async def test_the_end_does_not_wait_for_a_silent_server(bench: Bench) -> None:
    greeted = asyncio.Event()

    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted.set()
        await reader.read()
        writer.close()

    silent = await asyncio.start_unix_server(be_silent, bench.path / "s")
    opening = asyncio.create_task(
        bench.add(**{"driver": "nbd", "node-name": "n", "server": {"type": "unix", "path": str(bench.path / "s")}})
    )
    await greeted.wait()
    bench.graph.hurry()
    async with asyncio.timeout(30):  # a handshake may take a minute
        with pytest.raises(GenericError, match="takes too long"):
            await opening
    silent.close()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    await lab.close()


class Slow(Mock):
    """Greets when it is told to."""

    async def _shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.greet.wait()
        await super()._shake_hands(reader, writer)

    async def start(self) -> None:
        self.greet = asyncio.Event()
        await super().start()


async def test_a_slow_server_keeps_nobody_else_waiting(lab: Lab) -> None:
    """A name that is taken meanwhile is taken, and the server gets its goodbye."""
    mock = Slow(lab.path / "s", Disk(LENGTH))
    await mock.start()
    async with asyncio.timeout(30):  # a handshake may take a minute
        adding = [
            asyncio.create_task(lab.execute("blockdev-add", node_name=name, **mock.options())) for name in ("n", "m")
        ]
        await mock.until(lambda: mock.connections == 2)
        await lab.execute("blockdev-add", driver="null-co", node_name="n")
        mock.greet.set()
        taken, added = await asyncio.gather(*adding, return_exceptions=True)
        assert isinstance(taken, GenericError) and "'n'" in taken.desc and added == b"{}"
        await mock.until_alone()
        await lab.execute("blockdev-del", node_name="m")
    await mock.stop()


class Dropping(Mock):
    """Accepts connections, and hangs up when something is asked."""

    drop = True

    def _reply(self, command: int, cookie: int, offset: int, length: int, payload: bytes) -> bytes:
        if self.drop:
            raise ConnectionError
        return super()._reply(command, cookie, offset, length, payload)


async def test_connections_that_are_lost_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They are made less and less often, and told of no more, until something has been answered."""
    pauses: list[float] = []

    async def pause(self: Link, seconds: float) -> bool:
        pauses.append(seconds)
        mock.drop = len(pauses) % 6 != 0
        return len(pauses) < 20

    monkeypatch.setattr(Link, "_pause", pause)
    mock = Dropping(bench.path / "s", Disk(LENGTH))
    await mock.start()
    node = await add(bench, mock, **{"reconnect-delay": 600})
    for _ in range(2):
        mock.drop = True
        await read(node, 0, 512)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2] * 2
    told = [record.levelname for record in caplog.records if record.name == link.__name__]
    assert told.count("WARNING") == 6
    await bench.graph.close_all()
    await mock.stop()


async def _random_requests(node: Any, generator: random.Random) -> int:
    """Some requests at the same time; gives how many have failed."""

    async def one() -> None:
        offset, length = generator.randrange(LENGTH - 70000), generator.choice([1, 512, 4096, 65536])
        match generator.randrange(6):
            case 0:
                await node.pwritev(offset, generator.randbytes(length))
            case 1:
                await node.pwrite_zeroes(offset, length)
            case 2:
                await node.map(offset, length)
            case 3:
                await node.flush()
            case 4:
                await node.pdiscard(offset, length)
            case _:
                await read(node, offset, length)

    outcomes = await asyncio.gather(*(one() for _ in range(8)), return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, OSError) for outcome in outcomes), outcomes
    return sum(outcome is not None for outcome in outcomes)


@pytest.mark.parametrize("seed", range(count(40, 1000)))
async def test_bad_servers(bench: Bench, seed: int) -> None:
    """Whatever a server does, every request ends, in good order or with an error, and so does the node."""
    generator = random.Random(seed)
    disk = Disk(LENGTH)
    mischief = random.Random(seed + 1)
    structured = generator.random() < 0.8
    async with serving(bench, disk, structured=structured, mischief=mischief) as mock, asyncio.timeout(60):
        try:
            node = await add(bench, mock, discard="unmap", **{"reconnect-delay": generator.choice([0, 1])})
        except GenericError:
            return
        for _ in range(10):
            # A reply that breaks off makes the client wait for its rest: such a server hangs up in the end.
            requests = asyncio.create_task(_random_requests(node, generator))
            done, _ = await asyncio.wait([requests], timeout=0.2)
            if not done:
                break
        await mock.stop()
        bench.graph.hurry()
        await requests
        await bench.graph.close_all()
