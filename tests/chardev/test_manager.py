"""All devices of a daemon: labels, users, and what is left of a device that cannot be opened."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from qmpd.api.models import QObjChardevRemoveArg
from qmpd.chardev.manager import Chardevs
from qmpd.chardev.memory import RingbufChardev
from qmpd.chardev.specs import (
    FileSpec,
    LogSpec,
    NullSpec,
    PipeSpec,
    PtySpec,
    RingbufSpec,
    SocketSpec,
    StdioSpec,
    UdpSpec,
)
from qmpd.commands.chardevs import ChardevCommands
from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from qmpd.sockets import InetAddress, UnixAddress


@pytest.fixture
def chardevs() -> Chardevs:
    return Chardevs(asyncio.ensure_future)


def labels(chardevs: Chardevs) -> list[str]:
    return [device.label for device in chardevs.describe()]


async def there_is(place: Path) -> None:
    """Wait for a socket, which takes some turns of the event loop and no more."""
    for _ in range(100):
        if place.exists():
            return
        await asyncio.sleep(0)
    raise AssertionError(place)


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


async def test_nobody_waits_for_a_device_any_more(chardevs: Chardevs, tmp_path: Path) -> None:
    """It waits for its first client, and is removed by another session."""
    place = tmp_path / "s"
    opening = asyncio.ensure_future(chardevs.add(SocketSpec("x", UnixAddress(str(place)), server=True, wait=True)))
    await there_is(place)
    commands = ChardevCommands(chardevs)
    context, arguments = RequestContext(1, 1, None, 0.0), QObjChardevRemoveArg(id="x")
    await commands.remove(context, arguments)
    with pytest.raises(GenericError, match="removed before"):
        await opening
    assert not place.exists()
    await chardevs.add(SocketSpec("x", UnixAddress(str(place)), server=True, wait=False))
    assert labels(chardevs) == ["x"]
    await commands.remove(context, arguments)
    with pytest.raises(GenericError, match="no chardev"):
        await commands.remove(context, arguments)


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


async def test_a_change_that_fails_costs_nothing(chardevs: Chardevs, tmp_path: Path) -> None:
    """Neither what a file or a ring buffer holds, nor the client of a socket."""
    wrong = FileSpec("x", "/no/such/file")
    await chardevs.add(FileSpec("x", str(tmp_path / "out")))
    (tmp_path / "out").write_bytes(b"precious")
    with pytest.raises(GenericError):
        await chardevs.change(wrong)
    assert (tmp_path / "out").read_bytes() == b"precious"
    ringbuf = await chardevs.change(RingbufSpec("x"))
    assert isinstance(ringbuf, RingbufChardev)
    ringbuf.write(b"precious")
    with pytest.raises(GenericError):
        await chardevs.change(wrong)
    assert chardevs.find("x") is ringbuf and ringbuf.read(100) == b"precious"
    before = await chardevs.change(SocketSpec("x", UnixAddress(str(tmp_path / "s")), server=True, wait=False))
    with pytest.raises(GenericError):
        await chardevs.change(wrong)
    assert chardevs.find("x") is before
    chardevs.close()


async def test_two_changes_at_the_same_time(chardevs: Chardevs, tmp_path: Path) -> None:
    await chardevs.add(NullSpec("x"))
    place = tmp_path / "s"
    waiting = SocketSpec("x", UnixAddress(str(place)), server=True, wait=True)
    slow = asyncio.ensure_future(chardevs.change(waiting))
    await there_is(place)
    ringbuf = await chardevs.change(RingbufSpec("x"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place))
        with pytest.raises(GenericError, match="meanwhile"):
            await slow
    assert chardevs.find("x") is ringbuf and not place.exists()
    chardevs.close()


async def test_a_change_between_two_places_to_listen_at(chardevs: Chardevs, tmp_path: Path) -> None:
    """Only one of the two is open at a time; the first one comes back without waiting for a client."""
    log = LogSpec(str(tmp_path / "log"))
    first = UnixAddress(str(tmp_path / "s"))
    adding = asyncio.ensure_future(chardevs.add(SocketSpec("x", first, server=True, wait=True, log=log)))
    await there_is(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        await adding
    (tmp_path / "log").write_bytes(b"so far")
    with pytest.raises(GenericError):
        await chardevs.change(SocketSpec("x", UnixAddress("/no/such/place"), server=True, wait=False))
    assert labels(chardevs) == ["x"] and (tmp_path / "s").exists()
    assert (tmp_path / "log").read_bytes() == b"so far"
    chardevs.close()


async def test_standard_input_that_somebody_has_closed(
    chardevs: Chardevs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other devices are closed all the same."""
    monkeypatch.setattr(os, "get_blocking", lambda fd: True)
    monkeypatch.setattr(os, "set_blocking", lambda fd, blocking: blocking and os.close(-1))
    await chardevs.add(StdioSpec("x"))
    await chardevs.add(SocketSpec("y", UnixAddress(str(tmp_path / "s")), server=True, wait=False))
    chardevs.close()
    assert labels(chardevs) == [] and not (tmp_path / "s").exists()


async def test_a_change_that_fails_brings_the_device_back(chardevs: Chardevs, tmp_path: Path) -> None:
    await chardevs.add(SocketSpec("x", UnixAddress(str(tmp_path / "s")), server=True, wait=False))
    with pytest.raises(GenericError, match="power of two"):
        await chardevs.change(RingbufSpec("x", 3))
    assert (tmp_path / "s").exists()
    await chardevs.change(NullSpec("x"))
    assert list(tmp_path.iterdir()) == []
    assert labels(chardevs) == ["x"]
    chardevs.close()
