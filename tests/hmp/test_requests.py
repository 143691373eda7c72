"""Requests of qemu-io commands that nobody waits for, and the end of those that somebody does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
import pytest

from qmpd.errors import GenericError
from qmpd.hmp.qemu_io.requests import MOST_CHARACTERS, MOST_RESULTS, Requests
from tests.lab import Lab


async def said(text: str, after: asyncio.Event | None = None) -> str:
    if after is not None:
        await after.wait()
    return text


async def test_results_are_told_once_and_in_order_of_their_ends() -> None:
    requests = Requests(lambda name: True)
    gate = asyncio.Event()
    requests.start("d", said("first", gate))
    requests.start("d", said("second"))
    requests.start("e", said("other"))
    await requests.wait("e")
    assert requests.results("d") == ["second"]
    gate.set()
    await requests.wait("d")
    assert requests.results("d") == ["first"]
    assert requests.results("d") == []
    assert requests.results("e") == ["other"]
    await requests.wait("nobody")


async def test_what_nobody_asks_for_is_bounded() -> None:
    disks = {"d", "e"}
    requests = Requests(lambda name: name in disks)
    for number in range(MOST_RESULTS + 5):
        requests.start("d", said(str(number)))
    await requests.wait("d")
    disks.remove("d")
    requests.start("e", said(""))
    assert requests.results("d") == []
    for number in range(MOST_RESULTS + 5):
        requests.start("e", said(str(number)))
    await requests.wait("e")
    assert requests.results("e") == [str(number) for number in range(5, MOST_RESULTS + 5)]


async def test_long_results_that_nobody_asks_for() -> None:
    requests = Requests(lambda name: True)
    third = MOST_CHARACTERS // 3
    for letter in "abcd":
        requests.start("d", said(letter * third))
    await requests.wait("d")
    assert [result[0] for result in requests.results("d")] == ["b", "c", "d"]
    for letter in "ab":
        requests.start("d", said(letter * 2 * MOST_CHARACTERS))
    requests.start("e", said(""))
    await requests.wait("d")
    assert [result[0] for result in requests.results("d")] == ["b"]


async def test_the_end_ends_everything() -> None:
    requests = Requests(lambda name: True)
    never = asyncio.Event()
    requests.start("d", said("", never))
    waiting = asyncio.create_task(requests.run(said("", never)))
    await asyncio.sleep(0)
    await requests.close()
    with pytest.raises(GenericError):
        await waiting
    assert requests.results("d") == []
    await requests.close()


async def test_who_waits_can_be_cancelled() -> None:
    requests = Requests(lambda name: True)
    ended = []

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    waiting = asyncio.create_task(requests.run(never()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == [True]


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    await lab.close()


async def answer(lab: Lab, line: str) -> Any:
    return orjson.loads(await lab.execute("human-monitor-command", command_line=line))


async def test_a_map_has_an_end(lab: Lab) -> None:
    image = lab.file("q")
    await lab.execute("blockdev-create", job_id="c", options={"driver": "file", "filename": str(image), "size": 0})
    await lab.until(lambda: lab.jobs.query_jobs()[0]["status"] == "concluded")
    await lab.execute("blockdev-add", driver="file", node_name="f", filename=str(image))
    await lab.execute("blockdev-create", job_id="q", options={"driver": "qcow2", "file": "f", "size": 1 << 20})
    await lab.until(lambda: lab.jobs.query_jobs()[0]["status"] == "concluded")
    await lab.execute("blockdev-add", driver="qcow2", node_name="q", file="f")
    for offset in ("0", "128k", "256k", "384k"):
        assert "wrote" in await answer(lab, f'qemu-io q "write {offset} 64k"')
    assert (await answer(lab, 'qemu-io q "map"')).count("\r\n") == 8
    with mock.patch("qmpd.hmp.qemu_io.inspection.MOST_LINES", 3):
        text = await answer(lab, 'qemu-io q "map"')
    assert text.count("allocated at offset") == 3 and "first 3 lines" in text


async def test_a_command_leaves_no_user_behind(lab: Lab) -> None:
    await lab.disk("d", bytes(1 << 16))
    node = lab.graph.lookup("d")
    for command in ("read 0 512", "read 1M 512", "write -c 0 512", "map", "aio_write 0 512", "aio_flush", "nonsense"):
        await answer(lab, f'qemu-io d "{command}"')
    assert not node.parents


class Gate:
    """Lets everything pass, and keeps what has."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, int]] = []

    def admit(self, is_write: bool, length: int) -> None:
        self.seen.append((is_write, length))

    def hold(self, is_write: bool) -> None:
        return None


async def test_a_drive_s_limits_hold_and_it_counts_the_background(lab: Lab) -> None:
    lab.file("d").write_bytes(bytes(1 << 20))
    text = await answer(lab, f"drive_add 0 if=none,id=x,file={lab.file('d')},format=raw")
    assert text == "OK\r\n"
    drive = lab.graph.backends["x"]
    drive.gate = gate = Gate()
    for command in ("read 0 512", "write 0 1k", "aio_write 0 4k", "aio_flush", "aio_write -i 0 512"):
        await answer(lab, f'qemu-io x "{command}"')
    assert gate.seen == [(False, 512), (True, 1024), (True, 4096)]
    assert (drive.stats.read.operations, drive.stats.write.bytes, drive.stats.write.invalid) == (0, 4096, 1)
    assert await answer(lab, "drive_del x") == ""
    assert not lab.graph.nodes
