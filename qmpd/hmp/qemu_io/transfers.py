"""read, readv, write, writev, discard and flush: requests that the command waits for."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from qmpd.block.permissions import Perm
from qmpd.errors import os_error_text
from qmpd.hmp.qemu_io.command import Io, IoCommand
from qmpd.hmp.qemu_io.pieces import Check, Filling, fetch, read_pattern_file, store, store_compressed
from qmpd.hmp.qemu_io.report import dump
from qmpd.hmp.qemu_io.words import (
    LONGEST,
    BadCommand,
    BadUsage,
    Words,
    check_sector,
    read_length,
    read_lengths,
    read_pattern,
    read_size,
)

DEFAULT_FILLING = 0xCD


@asynccontextmanager
async def told_as(name: str) -> AsyncIterator[None]:
    """Tell of failed requests as `NAME failed: REASON`.

    :raises BadCommand: one has failed.
    """
    try:
        yield
    except OSError as error:
        raise BadCommand(f"{name} failed: {os_error_text(error)}") from error


def offset_and_length(words: Words) -> tuple[int, int]:
    """The two operands of most commands.

    :raises BadCommand: there are others, or they are no numbers of bytes.
    """
    if len(words.operands) != 2:
        raise BadUsage("it takes an offset and a length")
    return read_size(words.operands[0]), read_length(words.operands[1])


def offset_and_lengths(words: Words) -> tuple[int, int]:
    """An offset, and the lengths of the parts of one request, added up.

    :raises BadCommand: there are others, or they are no numbers of bytes.
    """
    if len(words.operands) < 2:
        raise BadUsage("it takes an offset and at least one length")
    return read_size(words.operands[0]), sum(read_lengths(words.operands[1:]))


def check_of(words: Words, length: int) -> Check | None:
    """What `-P`, `-s` and `-l` want checked of what is read.

    :raises BadCommand: they contradict each other or what is read.
    """
    if not words.has("P"):
        if words.has("s") or words.has("l"):
            raise BadUsage("-s and -l say where the pattern of -P has to be; there is no -P")
        return None
    start = read_size(words.options.get("s", "0"))
    count = read_size(words.options["l"]) if words.has("l") else length - start
    if count < 0 or start + count > length:
        raise BadCommand("pattern verification range exceeds end of read data")
    return Check(read_pattern(words.options["P"]), start, count)


def read_text(words: Words, offset: int, right: bool, check: Check | None, data: bytearray) -> str:
    """What is to be said of data that has been read, before the result of the transfer."""
    text = ""
    if check is not None and not right:
        text = f"Pattern verification failed at offset {offset + check.offset}, {check.length} bytes\n"
    if words.has("v") and not words.has("q"):
        text += dump(memoryview(data), offset)
    return text


async def _read(io: Io, words: Words, name: str, offset: int, length: int) -> None:
    check = check_of(words, length)
    async with told_as(name), io.target.user(Perm.NONE) as user:
        began = time.monotonic()
        if words.has("b"):
            _vm_state(offset, length)
        right, data = await fetch(user, offset, length, check)
        seconds = time.monotonic() - began
    io.said.append(read_text(words, offset, right, check, data))
    io.say_transfer("read", words, offset, length, seconds)


async def read(io: Io, words: Words) -> None:
    """Read a range."""
    await _read(io, words, "read", *offset_and_length(words))


async def readv(io: Io, words: Words) -> None:
    """Read a range in parts."""
    await _read(io, words, "readv", *offset_and_lengths(words))


def _vm_state(offset: int, length: int) -> None:
    """Refuse to touch the state of a machine: there is none."""
    check_sector(offset, "offset")
    check_sector(length, "count")
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


async def write(io: Io, words: Words) -> None:
    """Write a range: a pattern, zeroes, or what is in a file."""
    _check_write_options(words)
    if len(words.operands) != 2:
        raise BadUsage("it takes an offset and a length")
    offset, length = (read_size(text) for text in words.operands)
    if words.has("b") or words.has("c"):
        check_sector(offset, "offset")
        check_sector(length, "count")
    if length > LONGEST and not words.has("n"):
        raise BadCommand(f"length cannot exceed {LONGEST} without -n, which never writes zeroes byte by byte")
    filling = await _filling(io, words, length)
    async with told_as("write"), io.target.user(Perm.WRITE) as user:
        began = time.monotonic()
        if words.has("b"):
            _vm_state(offset, length)
        elif words.has("z"):
            await user.pwrite_zeroes(
                offset, length, may_unmap=words.has("u"), no_fallback=words.has("n"), fua=words.has("f")
            )
        elif words.has("c"):
            await store_compressed(user, offset, length, filling)
        else:
            await store(user, offset, length, filling, fua=words.has("f"))
        seconds = time.monotonic() - began
    io.say_transfer("wrote", words, offset, length, seconds)


def _check_write_options(words: Words) -> None:
    if words.has("b") and words.has("z"):
        raise BadCommand("-b and -z cannot be specified at the same time")
    if words.has("f") and (words.has("b") or words.has("c")):
        raise BadCommand("-f and -b or -c cannot be specified at the same time")
    for letter in ("n", "u"):
        if words.has(letter) and not words.has("z"):
            raise BadCommand(f"-{letter} requires -z to be specified")
    if sum(map(words.has, "zPs")) > 1:
        raise BadCommand("Only one of -z, -P, and -s can be specified at the same time")


async def _filling(io: Io, words: Words, length: int) -> Filling:
    if words.has("s"):
        pattern = await io.target.graph.pool.run(read_pattern_file, words.options["s"], length or 1)
        return Filling(pattern, length)
    return Filling(bytes([filling_byte(words)]), 0 if words.has("z") else length)


def filling_byte(words: Words) -> int:
    """What is written if nothing else is asked for, or what `-P` asks for.

    :raises BadCommand: that is no byte.
    """
    return read_pattern(words.options["P"]) if words.has("P") else DEFAULT_FILLING


async def writev(io: Io, words: Words) -> None:
    """Write a range in parts."""
    offset, length = offset_and_lengths(words)
    filling = Filling(bytes([filling_byte(words)]), length)
    async with told_as("writev"), io.target.user(Perm.WRITE) as user:
        began = time.monotonic()
        await store(user, offset, length, filling, fua=words.has("f"))
        seconds = time.monotonic() - began
    io.say_transfer("wrote", words, offset, length, seconds)


async def discard(io: Io, words: Words) -> None:
    """Give a range back."""
    offset, length = offset_and_length(words)
    async with told_as("discard"), io.target.user(Perm.WRITE) as user:
        began = time.monotonic()
        await user.pdiscard(offset, length)
        seconds = time.monotonic() - began
    io.say_transfer("discard", words, offset, length, seconds)


async def flush(io: Io, words: Words) -> None:
    """Bring to stable storage what has been written."""
    async with told_as("flush"), io.target.user(Perm.NONE) as user:
        await user.flush()


_QUIET = ("-C: one line of numbers for machines", "-q: say nothing but errors")

TRANSFERS = (
    IoCommand(
        "read",
        "[-abCqv] [-P pattern [-s off] [-l len]] off len",
        "reads a range of bytes",
        read,
        letters="abCl:pP:qs:v",
        least=2,
        most=None,
        alias="r",
        detail=(
            "-b: read from the state of a machine, which no disk here has",
            "-P: check that all bytes read have this value",
            "-s, -l: where the bytes to check begin, and how many they are",
            "-v: show the bytes",
            "-a, -p: mean nothing, kept for old scripts",
            *_QUIET,
        ),
    ),
    IoCommand(
        "readv",
        "[-Cqv] [-P pattern] off len [len..]",
        "reads a range of bytes in parts",
        readv,
        letters="CP:qv",
        least=2,
        most=None,
        detail=("-P: check that all bytes read have this value", "-v: show the bytes", *_QUIET),
    ),
    IoCommand(
        "write",
        "[-bcCfnquz] [-P pattern | -s source_file] off len",
        "writes a range of bytes",
        write,
        letters="bcCfnpP:qs:uz",
        least=2,
        most=None,
        alias="w",
        detail=(
            f"Without -P, -s and -z all bytes are {DEFAULT_FILLING:#x}.",
            "-b: write to the state of a machine, which no disk here has",
            "-c: write in compressed form",
            "-f: return only when it is on stable storage",
            "-n: with -z, fail rather than write zeroes byte by byte",
            "-P: the value of all bytes",
            "-s: a file of the host; its bytes are written, again and again",
            "-u: with -z, space may be given back",
            "-z: write zeroes, in whatever way is cheap",
            "-p: means nothing, kept for old scripts",
            *_QUIET,
        ),
    ),
    IoCommand(
        "writev",
        "[-Cfq] [-P pattern] off len [len..]",
        "writes a range of bytes in parts",
        writev,
        letters="CfqP:",
        least=2,
        most=None,
        detail=("-f: return only when it is on stable storage", "-P: the value of all bytes", *_QUIET),
    ),
    IoCommand(
        "discard",
        "[-Cq] off len",
        "gives a range of bytes back",
        discard,
        letters="Cq",
        least=2,
        most=None,
        alias="d",
        detail=_QUIET,
    ),
    IoCommand("flush", "", "brings what has been written to stable storage", flush, alias="f"),
)
