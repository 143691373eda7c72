"""Transports of file descriptors: what comes and goes, when the other side is slow, gone, or always ready."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from pathlib import Path

import pytest

from qmpd.chardev.endpoint import Endpoint
from qmpd.chardev.log import LogFile, LoggedEndpoint
from qmpd.chardev.specs import LogSpec
from qmpd.chardev.transport import SinkTransport, StreamTransport, can_be_polled

PIPE = 4096


class Recorder(Endpoint):
    """Keeps what happens; `stays` is its answer to the end of input."""

    def __init__(self, *, stays: bool = True) -> None:
        self.stays = stays
        self.data = b""
        self.ended = asyncio.Event()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.paused: list[bool] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.ended.set()
        return self.stays

    def pause_writing(self) -> None:
        self.paused.append(True)

    def resume_writing(self) -> None:
        self.paused.append(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


class Pipes:
    """A transport between two pipes, of which the test has the other ends."""

    def __init__(self, endpoint: Recorder) -> None:
        self.theirs_in, self.writer = os.pipe()
        self.reader, self.theirs_out = os.pipe()
        for fd in (self.reader, self.writer, self.theirs_in):
            os.set_blocking(fd, False)
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE)
        self.closed = asyncio.Event()
        self.transport = StreamTransport(endpoint, self.reader, self.writer, self.closed.set)

    def close(self) -> None:
        for fd in (self.theirs_in, self.writer, self.reader, self.theirs_out):
            os.close(fd)


async def test_bytes_come_and_go_until_the_end_of_input() -> None:
    endpoint = Recorder()
    pipes = Pipes(endpoint)
    os.write(pipes.theirs_out, b"question")
    os.close(pipes.theirs_out)
    await endpoint.ended.wait()
    assert endpoint.data == b"question"
    pipes.transport.write(b"answer")  # the input is over, the output is not
    assert os.read(pipes.theirs_in, 99) == b"answer"
    pipes.transport.close()
    assert await endpoint.lost is None
    await pipes.closed.wait()
    for fd in (pipes.theirs_in, pipes.writer, pipes.reader):
        os.close(fd)


async def test_who_does_not_stay_is_closed_at_the_end_of_input() -> None:
    endpoint = Recorder(stays=False)
    reader, writer = os.pipe()
    os.close(writer)
    null = os.open(os.devnull, os.O_WRONLY)
    StreamTransport(endpoint, reader, null, lambda: None)
    assert await endpoint.lost is None
    os.close(reader)
    os.close(null)


async def test_a_slow_reader_gets_everything_and_the_writer_is_told_to_wait() -> None:
    endpoint = Recorder()
    pipes = Pipes(endpoint)
    pipes.transport.set_write_buffer_limits(high=PIPE, low=PIPE // 2)
    sent = os.urandom(10 * PIPE)
    for start in range(0, len(sent), PIPE):
        pipes.transport.write(sent[start : start + PIPE])
    assert endpoint.paused == [True]
    pipes.transport.close()  # what was written still goes out
    pipes.transport.write(b"too late")
    received = b""
    while len(received) < len(sent):
        with contextlib.suppress(BlockingIOError):
            received += os.read(pipes.theirs_in, PIPE)
        await asyncio.sleep(0)
    assert received == sent
    assert endpoint.paused == [True, False]
    assert await endpoint.lost is None
    pipes.close()


async def test_an_abort_forgets_what_was_not_read() -> None:
    endpoint = Recorder()
    pipes = Pipes(endpoint)
    pipes.transport.write(bytes(3 * PIPE))
    pipes.transport.abort()
    assert await endpoint.lost is None
    assert len(os.read(pipes.theirs_in, 9 * PIPE)) == PIPE
    pipes.close()


async def test_a_reader_that_has_gone_ends_it() -> None:
    endpoint = Recorder()
    pipes = Pipes(endpoint)
    os.close(pipes.theirs_in)
    pipes.transport.write(b"x")
    assert isinstance(await endpoint.lost, BrokenPipeError)
    for fd in (pipes.writer, pipes.reader, pipes.theirs_out):
        os.close(fd)


async def test_nothing_is_read_while_reading_is_paused(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(300_000))
    endpoint = Recorder()
    reader, writer = os.open(tmp_path / "in", os.O_RDONLY), os.open(os.devnull, os.O_WRONLY)
    assert not can_be_polled(reader)
    transport = StreamTransport(endpoint, reader, writer, lambda: None)
    transport.pause_reading()
    await asyncio.sleep(0)
    assert endpoint.data == b""
    transport.resume_reading()
    transport.resume_reading()
    await endpoint.ended.wait()
    assert endpoint.data == bytes(300_000)
    transport.abort()
    await endpoint.lost
    os.close(reader)
    os.close(writer)


async def test_a_sink_takes_until_it_is_closed() -> None:
    taken: list[bytes] = []
    endpoint = Recorder()
    transport = SinkTransport(endpoint, lambda data: taken.append(bytes(data)), lambda: None)
    transport.write(b"a")
    transport.close()
    transport.write(b"b")
    assert await endpoint.lost is None
    assert taken == [b"a"]


async def test_a_log_that_cannot_be_written_costs_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    taken: list[bytes] = []
    endpoint = Recorder()
    logfile = LogFile(LogSpec("/dev/full"))
    logged = LoggedEndpoint(endpoint, logfile)
    SinkTransport(logged, lambda data: taken.append(bytes(data)), lambda: None)
    assert isinstance(endpoint.made, asyncio.Transport)
    endpoint.made.write(b"a")
    assert taken == [b"a"]
    assert "/dev/full" in caplog.text
    endpoint.made.close()
    assert await endpoint.lost is None
    assert logged.transport is None
    logfile.close()
