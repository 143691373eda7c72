"""aio_read, aio_write and aio_flush: requests that the command only begins; see `requests` for what becomes of them."""

from __future__ import annotations

import time
from typing import Literal

from qmpd.block.permissions import Perm
from qmpd.errors import QMPError
from qmpd.hmp.qemu_io.command import Io, IoCommand, transfer_text
from qmpd.hmp.qemu_io.pieces import Check, Filling, fetch, store
from qmpd.hmp.qemu_io.target import Target
from qmpd.hmp.qemu_io.transfers import check_of, filling_byte, offset_and_lengths, read_text, told_as
from qmpd.hmp.qemu_io.words import BadCommand, Words


async def aio_read(io: Io, words: Words) -> None:
    """Begin to read a range in parts."""
    offset, length = offset_and_lengths(words)
    check = check_of(words, length)
    if words.has("i"):
        _count_invalid(io, "read")
        return
    io.requests.start(io.target.key, _reading(io.target, words, offset, length, check))


async def _reading(target: Target, words: Words, offset: int, length: int, check: Check | None) -> str:
    try:
        async with told_as("readv"), target.user(Perm.NONE, counted=True) as user:
            began = time.monotonic()
            right, data = await fetch(user, offset, length, check)
            seconds = time.monotonic() - began
    except (BadCommand, QMPError) as error:
        return f"{error}\n"
    text = read_text(words, offset, right, check, data)
    return text if words.has("q") else text + transfer_text("read", words, offset, length, seconds)


async def aio_write(io: Io, words: Words) -> None:
    """Begin to write a range in parts."""
    if words.has("u") and not words.has("z"):
        raise BadCommand("-u requires -z to be specified")
    if words.has("z") and len(words.operands) > 2:
        raise BadCommand("-z supports only a single length parameter")
    offset, length = offset_and_lengths(words)
    byte = filling_byte(words)
    if words.has("i"):
        _count_invalid(io, "write")
        return
    io.requests.start(io.target.key, _writing(io.target, words, offset, length, byte))


async def _writing(target: Target, words: Words, offset: int, length: int, byte: int) -> str:
    try:
        async with told_as("aio_write"), target.user(Perm.WRITE, counted=True) as user:
            began = time.monotonic()
            if words.has("z"):
                await user.pwrite_zeroes(offset, length, may_unmap=words.has("u"), fua=words.has("f"))
            else:
                await store(user, offset, length, Filling(bytes([byte]), length), fua=words.has("f"))
            seconds = time.monotonic() - began
    except (BadCommand, QMPError) as error:
        return f"{error}\n"
    return "" if words.has("q") else transfer_text("wrote", words, offset, length, seconds)


def _count_invalid(io: Io, kind: Literal["read", "write"]) -> None:
    """Count a request that no disk would take, for tests of statistics."""
    drive = io.target.drive
    if drive is not None:
        counter = drive.stats.read if kind == "read" else drive.stats.write
        counter.invalid += 1
    io.say(f"injecting invalid {kind} request")


async def aio_flush(io: Io, words: Words) -> None:
    """Wait for the end of all requests in the background on this disk."""
    await io.requests.wait(io.target.key)


_RESULT = (
    "What becomes of the request is told by the next command on the same disk; aio_flush waits for it.",
    "-C: one line of numbers for machines",
    "-i: count the request as an invalid one, and do not make it",
    "-q: say nothing but errors",
)

BACKGROUND = (
    IoCommand(
        "aio_read",
        "[-Ciqv] [-P pattern] off len [len..]",
        "begins to read a range of bytes",
        aio_read,
        letters="CiP:qv",
        least=2,
        most=None,
        detail=(*_RESULT, "-P: check that all bytes read have this value", "-v: show the bytes"),
    ),
    IoCommand(
        "aio_write",
        "[-Cfiquz] [-P pattern] off len [len..]",
        "begins to write a range of bytes",
        aio_write,
        letters="CfiP:quz",
        least=2,
        most=None,
        detail=(
            *_RESULT,
            "-f: done only when it is on stable storage",
            "-P: the value of all bytes",
            "-u: with -z, space may be given back",
            "-z: write zeroes, in whatever way is cheap",
        ),
    ),
    IoCommand("aio_flush", "", "waits for all that was begun on this disk", aio_flush),
)
