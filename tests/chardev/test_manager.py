"""All devices of a daemon: labels, users, and what is left of a device that cannot be opened."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from qmpd.chardev.manager import Chardevs
from qmpd.chardev.specs import FileSpec, NullSpec, PipeSpec, PtySpec, RingbufSpec, SocketSpec, UdpSpec
from qmpd.errors import GenericError
from qmpd.sockets import InetAddress, UnixAddress


@pytest.fixture
def chardevs() -> Chardevs:
    return Chardevs(asyncio.ensure_future)


def labels(chardevs: Chardevs) -> list[str]:
    return [device.label for device in chardevs.describe()]


async def test_a_label_is_taken_while_its_device_opens(chardevs: Chardevs, tmp_path: Path) -> None:
    waiting = SocketSpec("x", UnixAddress(str(tmp_path / "s")), server=True, wait=True)
    opening = asyncio.ensure_future(chardevs.add(waiting))
    await asyncio.sleep(0)
    with pytest.raises(GenericError, match="already"):
        await chardevs.add(NullSpec("x"))
    with pytest.raises(GenericError, match="no chardev"):
        chardevs.remove("x")
    assert labels(chardevs) == []
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    assert list(tmp_path.iterdir()) == []
    await chardevs.add(NullSpec("x"))
    assert labels(chardevs) == ["x"]
    chardevs.close()


async def test_what_fails_half_way_gives_back_what_it_took(chardevs: Chardevs, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.in")
    before = set(os.listdir("/proc/self/fd"))
    for spec in (
        FileSpec("x", "/no/such/file", input=str(tmp_path)),
        FileSpec("x", str(tmp_path / "out"), input="/no/such/file"),
        SocketSpec("x", InetAddress("no-such-host.invalid", "1")),
        PipeSpec("x", str(tmp_path / "p")),
        RingbufSpec("x", 3),
        UdpSpec("x", InetAddress("127.0.0.1", "9"), InetAddress("::1", "0")),
    ):
        with pytest.raises(GenericError, match="'x' cannot be opened"):
            await chardevs.add(spec)
    assert labels(chardevs) == []
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == len(before)


async def test_a_user_keeps_a_device(chardevs: Chardevs) -> None:
    await chardevs.open(PtySpec("x"))
    chardevs.take("x")
    for attempt in (chardevs.remove, chardevs.take):
        with pytest.raises(GenericError, match="in use"):
            attempt("x")
    with pytest.raises(GenericError, match="in use"):
        await chardevs.change(NullSpec("x"))
    await chardevs.hold_unused()
    assert [device.in_use for device in chardevs.describe()] == [True]
    chardevs.close()


async def test_datagrams_have_no_user(chardevs: Chardevs) -> None:
    await chardevs.open(UdpSpec("x", InetAddress("127.0.0.1", "9")))
    with pytest.raises(GenericError, match="stream"):
        chardevs.take("x")
    chardevs.close()


async def test_a_change_that_fails_brings_the_device_back(chardevs: Chardevs, tmp_path: Path) -> None:
    await chardevs.add(SocketSpec("x", UnixAddress(str(tmp_path / "s")), server=True, wait=False))
    with pytest.raises(GenericError, match="power of two"):
        await chardevs.change(RingbufSpec("x", 3))
    assert (tmp_path / "s").exists()
    await chardevs.change(NullSpec("x"))
    assert list(tmp_path.iterdir()) == []
    assert labels(chardevs) == ["x"]
    chardevs.close()
