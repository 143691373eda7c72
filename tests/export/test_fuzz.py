"""Generated input for the NBD server: it neither breaks nor hangs, and serves on.

Each input is a dialogue that is right up to some point and then is not: options and requests with odd fields,
bytes changed, cut off or inserted, sent in any chunks. Afterwards the client closes its side; the server has to
close its own in turn, with nothing left behind and no complaint to the event loop.
"""

from __future__ import annotations

import asyncio
import os
import random
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotests.harness import nbd
from iotests.harness.nbd import RawNbd, info_query, meta_query, option_bytes, request_bytes
from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.export.nbd.connection import NbdConnection
from tests.export.fake import FileBackend, Table, file_export, serve
from tests.soak import count

LENGTH = 1 << 20
MARK = 0xA5

NAMES = st.sampled_from(["disk", "look", "nope", "", "x" * 5000])
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 511, 512, 4096, 65536, LENGTH - 1, LENGTH, LENGTH + 1, 1 << 31, (1 << 32) - 1, 1 << 63]),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, LENGTH),
)

OPTIONS = st.one_of(
    st.builds(option_bytes, st.sampled_from([2, 3, 5, 8, 99]), st.binary(max_size=8)),
    st.builds(option_bytes, st.sampled_from([6, 7]), st.builds(info_query, NAMES, st.integers(0, 0xFFFF))),
    st.builds(
        option_bytes,
        st.sampled_from([9, 10]),
        st.builds(
            meta_query, NAMES, st.sampled_from(["base:allocation", "qemu:", "qemu:dirty-bitmap:b0", "?" * 300, ""])
        ),
    ),
    st.builds(option_bytes, st.integers(0, (1 << 32) - 1), st.binary(max_size=20)),
    st.builds(
        lambda option, data, length: option_bytes(option, data, length=length),
        st.integers(0, 12),
        st.binary(max_size=20),
        st.integers(0, (1 << 32) - 1),
    ),
    st.builds(option_bytes, st.just(1), st.sampled_from([b"disk", b"nope"])),
)

PREFIXES = st.sampled_from(
    [
        option_bytes(nbd.OPT_GO, info_query("disk")),
        option_bytes(nbd.OPT_STRUCTURED_REPLY) + option_bytes(nbd.OPT_GO, info_query("disk")),
        option_bytes(nbd.OPT_STRUCTURED_REPLY)
        + option_bytes(
            nbd.OPT_SET_META,
            meta_query("disk", "base:allocation", "qemu:allocation-depth", "qemu:dirty-bitmap:b0"),
        )
        + option_bytes(nbd.OPT_GO, info_query("disk")),
        option_bytes(nbd.OPT_GO, info_query("look")),
    ]
)


def _write(offset: int, length: int) -> bytes:
    return request_bytes(nbd.WRITE, offset, length, 0, bytes([MARK]) * length)


REQUESTS = st.one_of(
    st.builds(_write, st.integers(0, LENGTH + 4096), st.sampled_from([0, 1, 512, 4096, 70_000])),
    st.builds(
        request_bytes,
        st.one_of(st.integers(0, 8), st.integers(0, 0xFFFF)),
        NUMBERS,
        NUMBERS.map(lambda number: number & 0xFFFFFFFF),
        st.one_of(st.integers(0, 31), st.integers(0, 0xFFFF)),
    ),
)


@st.composite
def dialogues(draw: st.DrawFn) -> list[bytes]:
    """What a client sends, in chunks."""
    stream = struct.pack(">I", draw(st.sampled_from([3, 3, 3, 1, 0, 0xFFFF])))
    stream += b"".join(draw(st.lists(OPTIONS, max_size=3)))
    if draw(st.booleans()):
        stream += draw(PREFIXES) + b"".join(draw(st.lists(REQUESTS, max_size=6)))
    stream = _damaged(stream, draw(st.integers(0, 4)), draw(st.integers(0, 1 << 30)))
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    return [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]


def _damaged(stream: bytes, kind: int, seed: int) -> bytes:
    generator = random.Random(seed)
    at = generator.randrange(len(stream))
    if kind == 1:
        return stream[:at]
    if kind == 2:
        return stream[:at] + bytes([generator.randrange(256)]) + stream[at + 1 :]
    if kind == 3:
        return stream[:at] + generator.randbytes(generator.randrange(40)) + stream[at:]
    return stream


class Target:
    """A server in a loop of its own, which runs only while a dialogue is held."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "nbd.sock"
        self.image = directory / "disk.img"
        self.complaints: list[dict[str, Any]] = []
        self.connections: list[NbdConnection] = []
        self.backend: FileBackend
        self._stop = asyncio.Event()
        self._started = asyncio.Event()

    async def start(self) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.complaints.append(context))
        self._task = asyncio.get_running_loop().create_task(self._serve())
        await self._started.wait()

    async def stop(self) -> None:
        self._stop.set()
        await self._task

    async def _serve(self) -> None:
        self.image.write_bytes(bytes(LENGTH))
        self.backend = FileBackend(self.image)
        bitmap = DirtyBitmap("b0", LENGTH, 65536)
        bitmap.set(0, 4096)
        table = Table(
            file_export(self.backend, bitmaps={"b0": bitmap}), file_export(self.backend, "look", writable=False)
        )
        async with serve(self.path, table) as self.connections:
            self._started.set()
            await self._stop.wait()
        self.backend.close()

    async def hold(self, chunks: list[bytes]) -> None:
        """One dialogue, from connecting to the end of the connection."""
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_unix_connection(self.path)
            drained = asyncio.ensure_future(_read_all(reader))
            try:
                for chunk in chunks:
                    writer.write(chunk)
                    await writer.drain()
                    await asyncio.sleep(0)
                writer.write_eof()
            except OSError:
                pass  # the server has hung up already, as it may
            await drained
            writer.close()
            while self.connections:  # noqa: ASYNC110  # only turns of the loop can bring it about
                await asyncio.sleep(0)

    async def use(self) -> None:
        """A good client finds the server well."""

        def client() -> None:
            with RawNbd.attached(self.path, "disk", structured=True) as good:
                assert good.request(nbd.WRITE, 0, 512, 0, bytes([MARK]) * 512).error == 0
                assert good.read(0, 512) == bytes([MARK]) * 512

        await asyncio.get_running_loop().run_in_executor(None, client)


async def _read_all(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1 << 16):
            pass
    except ConnectionError:
        pass


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def target(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    async def make() -> Target:
        target = Target(tmp_path_factory.mktemp("nbd"))
        await target.start()
        return target

    made = runner.run(make())
    yield made
    runner.run(made.stop())


@given(dialogues())
@settings(
    max_examples=count(500, 20000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_input_does_harm(runner: asyncio.Runner, target: Target, chunks: list[bytes]) -> None:
    runner.run(target.hold(chunks))
    assert not target.complaints
    assert not target.connections


def test_it_serves_on(runner: asyncio.Runner, target: Target) -> None:
    runner.run(target.use())
    assert not target.complaints


def test_nothing_passed_the_end(target: Target) -> None:
    """No request that reached the disk passes its end, and the disk is as long as it was."""
    assert all(offset >= 0 and offset + length <= LENGTH for _, offset, length in target.backend.log)
    assert os.path.getsize(target.image) == LENGTH
