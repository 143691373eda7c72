"""An NBD server for tests of the client: a disk in memory, served truly or, by the throw of a die, badly."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from qmpd.export.nbd import protocol
from qmpd.export.nbd.negotiation import ExportInfo, Negotiation
from qmpd.nbd.numbers import REQUEST_HEADER, Command, StatusFlag
from qmpd.nbd.numbers import TransmissionFlag as Flag

ALL_FLAGS = (
    Flag.HAS_FLAGS | Flag.SEND_FLUSH | Flag.SEND_FUA | Flag.SEND_TRIM | Flag.SEND_WRITE_ZEROES | Flag.SEND_FAST_ZERO
)
GRAIN = 4096
MAGICS = struct.pack(">II", 0x67446698, 0x668E33EF)


class Disk:
    """What a server serves.

    :ivar log: the requests: command, flags, offset, length.
    """

    def __init__(self, length: int, flags: Flag = ALL_FLAGS, alignment: int = 1) -> None:
        self.data = bytearray(length)
        self.info = ExportInfo("x", None, length, flags, alignment)
        self.log: list[tuple[int, int, int, int]] = []

    def find(self, name: str) -> ExportInfo | None:
        return self.info if name == "x" else None

    def infos(self) -> Sequence[ExportInfo]:
        return [self.info]

    def status(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Extents of whole grains, zeroes told as holes; the last one may reach beyond what was asked."""
        runs: list[tuple[int, int]] = []
        for at in range(offset // GRAIN * GRAIN, offset + length, GRAIN):
            zero = not any(self.data[at : at + GRAIN])
            size = min(GRAIN, len(self.data) - at) - max(offset - at, 0)
            runs.append((size, int(StatusFlag.HOLE | StatusFlag.ZERO) if zero else 0))
        return runs


class Mock:
    """The server.

    :param structured: whether it has structured replies.
    :param mischief: decides what it does badly; None to do all well.
    :ivar held: requests that are not answered until `release`, if `hold` is set.
    """

    def __init__(
        self, path: Path, disk: Disk, *, structured: bool = True, mischief: random.Random | None = None
    ) -> None:
        self.path = path
        self.disk = disk
        self.hold = False
        self.connections = 0
        self._structured = structured
        self._mischief = mischief
        self.held: list[bytes] = []
        self._news = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, self.path, limit=64 << 20)

    async def stop(self) -> None:
        """Hang up, and listen no more."""
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    def options(self, **more: object) -> dict[str, object]:
        """The options of a node on it."""
        return {"driver": "nbd", "server": {"type": "unix", "path": str(self.path)}, "export": "x", **more}

    async def release(self, count: int, generator: random.Random) -> None:
        """Wait for so many requests, and answer them in random order."""
        await self.until(lambda: len(self.held) >= count)
        self.hold = False
        held, self.held = self.held, []
        generator.shuffle(held)
        for writer in self._writers:
            writer.write(b"".join(held))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true of connections or held requests."""
        while not condition():
            self._news.clear()
            await self._news.wait()

    async def until_alone(self) -> None:
        """Wait until there is one client at most."""
        await self.until(lambda: len(self._writers) <= 1)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        self.connections += 1
        self._news.set()
        try:
            await self._shake_hands(reader, writer)
            while await self._serve(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._writers.discard(writer)
            self._news.set()
            writer.transport.abort()

    async def _shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        negotiation = Negotiation(self.disk)
        if not self._structured:
            del negotiation._handlers[8]
        self._say(writer, Negotiation.greeting)
        while negotiation.outcome is None:
            while (reply := negotiation.advance()) is not None:
                self._say(writer, reply)
            if negotiation.outcome is None:
                data = await reader.read(1)
                if not data:
                    raise ConnectionError
                negotiation.feed(data)

    def _say(self, writer: asyncio.StreamWriter, words: bytes) -> None:
        spoilt = self._spoilt(words)
        writer.write(spoilt)
        if spoilt != words:
            raise ConnectionError

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readexactly(REQUEST_HEADER.size)
        _, flags, command, cookie, offset, length = REQUEST_HEADER.unpack(head)
        payload = await reader.readexactly(length) if command == Command.WRITE else b""
        if command == Command.DISC:
            return False
        self.disk.log.append((command, flags, offset, length))
        reply = self._spoilt(self._reply(command, cookie, offset, length, payload))
        if self.hold:
            self.held.append(reply)
            self._news.set()
        else:
            writer.write(reply)
        return not (self._mischief is not None and self._mischief.random() < 0.02)

    def _reply(self, command: int, cookie: int, offset: int, length: int, payload: bytes) -> bytes:
        disk, structured = self.disk, self._structured
        if self._mischief is not None and self._mischief.random() < 0.05:
            return protocol.error_reply(cookie, 5, "a bad day", structured=structured)
        if command == Command.READ:
            return self._data(cookie, offset, length)
        if command == Command.WRITE:
            disk.data[offset : offset + length] = payload
        elif command == Command.WRITE_ZEROES:
            disk.data[offset : offset + length] = bytes(length)
        elif command == Command.BLOCK_STATUS:
            return protocol.status_chunk(cookie, 0, disk.status(offset, length), final=True)
        return protocol.simple_reply(cookie)

    def _data(self, cookie: int, offset: int, length: int) -> bytes:
        data = bytes(self.disk.data[offset : offset + length])
        if not self._structured:
            return protocol.simple_reply(cookie) + data
        # Grain by grain, last one first, holes as such.
        reply: list[bytes] = []
        for at in reversed(range(0, length, GRAIN)):
            piece = data[at : at + GRAIN]
            if any(piece):
                head = bytearray(protocol.DATA_CHUNK.size)
                protocol.put_data_header(memoryview(head), cookie, offset + at, len(piece), final=False)
                reply += [bytes(head), piece]
            else:
                reply.append(protocol.hole_chunk(cookie, offset + at, len(piece), final=False))
        return b"".join([*reply, protocol.done_chunk(cookie)])

    def _spoilt(self, data: bytes) -> bytes:
        """The data, or something else."""
        dice = self._mischief
        if dice is None or dice.random() > 0.05:
            return data
        spoilt = bytearray(data)
        match dice.randrange(5):
            case 0:
                del spoilt[dice.randrange(len(spoilt) + 1) :]
            case 1:
                at = dice.randrange(len(spoilt))
                spoilt[at] ^= 1 << dice.randrange(8)
            case 2:
                at = dice.randrange(min(len(spoilt), 32))
                spoilt[at : at + 4] = dice.randbytes(4)
            case 3:
                spoilt += data
            case _:
                spoilt[:0] = dice.choice([MAGICS[:4], MAGICS[4:], dice.randbytes(20)])
        return bytes(spoilt)
