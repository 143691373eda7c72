"""No line, however odd, is worse than answered: no command raises, and nothing is left in use."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import orjson
import pytest

from qmpd.hmp.info import INFO
from qmpd.hmp.line import LONGEST
from qmpd.hmp.qemu_io.table import COMMANDS as IO_COMMANDS
from qmpd.hmp.table import COMMANDS
from tests.lab import Lab, seeds

LINES = 60
ENDING = {"quit", "q", "system_powerdown"}
WAITING = {"sleep", "wait_break"}
WORDS = [
    "d", "e", "cd", "x", "all", "0", "1", "5", "-1", "64k", "1M", "2G", "0x10", "1.5", "-n", "-f", "-v", "-d", "-a",
    "-w", "-j", "-", "--", '"', '"\\"', '"\\x"', "a=b", "if=none,id=x", "if=none,id=y,file=d.img,format=raw",
    "driver=null-co,node-name=z", "secret,id=s,data=x", "throttle-group,id=g", "o.img", "raw", "qcow2", "/objects",
    "/machine", "unix:nbd.sock", "localhost:x", "virtio-blk,drive=x,id=v", "read-only", "\N{SNOWMAN}", "{", "null",
    "type", "", '"a b"', "9" * 30,
]  # fmt: skip
IO_WORDS = [
    "0", "512", "64k", "1M", "3G", "-P", "7", "-z", "-q", "-v", "-C", "-s", "d.img", "x", "-r", "-w", "-c", "none",
    "-o", "cache.direct=off", "-m", "full", "pwritev", "A", "-1", "-n", "-u", "-f", "-b",
]  # fmt: skip


def line(chance: random.Random) -> str:
    """A line that begins like one."""
    if chance.random() < 0.4:
        name = chance.choice([one.name for one in IO_COMMANDS if one.name not in WAITING])
        return f'qemu-io {chance.choice("ddex")} "{" ".join([name, *chance.choices(IO_WORDS, k=chance.randrange(5))])}"'
    if chance.random() < 0.2:
        name = f"info {chance.choice(INFO).names[0]}"
    else:
        name = chance.choice([name for one in COMMANDS for name in one.names if name not in ENDING])
    return " ".join([name, *chance.choices(WORDS, k=chance.randrange(6))])


DIGITS = "9" * 5000
DEEP = 30_000


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("block_resize " + "x" * LONGEST, "the line has 65549 characters"),
        ("drive_add -n 0 " + ",".join(f"k{number}=1" for number in range(3000)), "more than 2000 parameters"),
        ("drive_add 0 if=none," + ",".join(f"k{number}=1" for number in range(3000)), "more than 2000 parameters"),
        (f"drive_add 0 if=none,file=nbd://h:{DIGITS}/", "cannot be used"),
        (f'drive_add 0 if=none,file=json:{{"driver":"null-co",,"size":"{DIGITS}"}}', "'size' must be"),
        (f"drive_add -n 0 nbd,server.type=fd,server.str={DIGITS},node-name=n", "'server.str' must be the number"),
        (f"drive_add -n 0 null-co,size=0x{DIGITS}", "'size' must be"),
        (f"drive_add -n 0 null-co,size=1.{DIGITS}k", "'size' must be"),
        (f"drive_add 0 if=none,throttling.iops-total={DIGITS}", "must be at most"),
        ("drive_add 0 index=99999999999999999999", "must be at most"),
        ("drive_add 0 unit=4294967296", "must be at most"),
        ("drive_add 0 driver=qcow2,file.filename=x,cache-size=zzK", "'cache-size' must be"),
        ("drive_add 0 driver=null-co,nonsense=1", "'nonsense' is unexpected"),
        (f"block_set_io_throttle x 0x{DIGITS * 4} 0 0 0 0 0", "is not a number"),
        (f"block_set_io_throttle x {DIGITS} 0 0 0 0 0", "is not a number"),
        (f"block_resize x {DIGITS}", "is not a size"),
        ("qom-set -j P p " + "[" * DEEP, "is no JSON"),
        ("qom-set -j P p " + "[" * DEEP + "]" * DEEP, "is no JSON"),
        ("qom-set -j P p " + "[" * 1000 + "]" * 1000, "Error: "),
        (f"qom-set -j /objects p {DIGITS}", "Error: "),
    ],
)  # fmt: skip
async def test_lines_that_are_too_much(tmp_path: Path, text: str, wanted: str) -> None:
    lab = Lab(tmp_path)
    try:
        answer = orjson.loads(await lab.execute("human-monitor-command", command_line=text))
        assert wanted in answer
        assert not lab.graph.drives and not lab.graph.nodes
    finally:
        await lab.close()


@pytest.mark.parametrize("seed", seeds(3, 300))
async def test_every_line_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(seed)
    lab = Lab(tmp_path)
    try:
        await lab.disk("d", bytes(1 << 20))
        await lab.execute("blockdev-add", driver="null-co", node_name="e", size=1 << 20)
        for _ in range(LINES):
            text = line(chance)
            async with asyncio.timeout(60):
                answer = orjson.loads(await lab.execute("human-monitor-command", command_line=text))
            assert isinstance(answer, str), text
            assert "internal error" not in answer and "\n" not in answer.replace("\r\n", ""), text
    finally:
        await lab.close()
