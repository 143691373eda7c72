"""Odd input to the real qemu-storage-daemon and to ours: the same number of replies, of the same class and shape."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from qmpd.wire.encoding import encode
from tests.monitor.rig import Rig
from tests.wire.odd_input import CASES, PROBE

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-storage-daemon") is None, reason="qemu-storage-daemon is not installed"
)

BEFORE_NEGOTIATION: tuple[bytes, ...] = (
    b'{"execute":"query-version","id":1}',
    b'{"execute":"no-such"}',
    b'{"execute":1}',
    b"}",
    b"[]",
    b'{"exec-oob":"x"}',
    b'{"execute":"x","foo":1}',
    b'{"exec-oob":"qmp_capabilities"}',
    b'{"execute":"qmp_capabilities","arguments":{"x":1}}',
    b'{"execute":"qmp_capabilities","arguments":[]}',
)
OUT_OF_BAND: tuple[bytes, ...] = (
    b'{"exec-oob":"query-version","id":1}',
    b'{"exec-oob":"no-such"}',
    b'{"exec-oob":"query-version","execute":"x"}',
    b'{"exec-oob":1}',
    b'{"exec-oob":"query-version","x":1}',
)


async def converse(path: Path, first: bytes, data: bytes, end: str) -> list[dict[str, Any]]:
    """The messages of a session that sends `first` and `data`, up to the one with id `end`."""
    reader, writer = await asyncio.open_unix_connection(str(path), limit=64 << 20)
    messages = []
    try:
        writer.write(first + data)
        while not messages or messages[-1].get("id") != end:
            async with asyncio.timeout(60):
                messages.append(orjson.loads(await reader.readline()))
    finally:
        writer.close()
        await writer.wait_closed()
    return messages[1:]


def shape(message: dict[str, Any]) -> object:
    """What must be alike: the members, the id, the error's class."""
    identity = encode(message["id"]) if "id" in message else None
    if "error" in message:
        return "error", message["error"]["class"], identity
    return "return", sorted(message["return"]), identity


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Path]:
    """The socket of a running qemu-storage-daemon; it takes one client at a time."""
    path, pidfile = tmp_path / "peer", tmp_path / "pid"
    arguments = ["--chardev", f"socket,id=c,path={path},server=on,wait=off", "--monitor", "c"]
    # In the background it is once its sockets listen.
    subprocess.run(
        ["qemu-storage-daemon", "--daemonize", "--pidfile", str(pidfile), *arguments],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield path
    finally:
        os.kill(int(pidfile.read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("first", "cases"),
    [
        (b'{"execute":"qmp_capabilities"}', [data for data, _ in CASES]),
        (b"", list(BEFORE_NEGOTIATION)),
        (b'{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}', list(OUT_OF_BAND)),
    ],
    ids=["commands", "before-negotiation", "out-of-band"],
)
async def test_odd_input_is_answered_as_by_qemu(peer: Path, tmp_path: Path, first: bytes, cases: list[bytes]) -> None:
    rig = Rig(tmp_path / "qmp")
    await rig.start()
    different = []
    for data in cases:
        theirs = await converse(peer, first, data + PROBE, "END")
        ours = await converse(rig.path, first, data + PROBE, "END")
        if [shape(message) for message in ours] != [shape(message) for message in theirs]:
            different.append(f"{data[:100]!r}\n  theirs {theirs!r:.400}\n  ours   {ours!r:.400}")
    await rig.close()
    assert not different, "\n".join(different)
