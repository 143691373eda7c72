"""The process is killed (SIGKILL) at a random moment of a write load.

What the killed process leaves must have no corruption (leaks are allowed), and everything that it had flushed must be
there. The writer says on its standard output what it has begun, and what a flush has confirmed.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.qcow2.support import create, lab, tool
from tests.soak import count

SIZE = 8 << 20
BLOCK = 4096
SECTOR = 512


def pattern(number: int) -> bytes:
    """The contents of a block that was written as the `number`th."""
    return number.to_bytes(8, "little") * (BLOCK // 8)


async def write_forever(path: Path, seed: int) -> None:
    """Write blocks from many tasks, and flush now and then."""
    chance = random.Random(seed)
    number = 0
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        while True:
            batch: dict[int, int] = {}
            for _ in range(chance.randrange(1, 24)):
                number += 1
                batch[chance.randrange(SIZE // BLOCK)] = number
            os.write(1, b"try " + json.dumps(batch).encode() + b"\n")
            await asyncio.gather(*(node.pwritev(at * BLOCK, pattern(value)) for at, value in batch.items()))
            if chance.random() < 0.4:
                await node.flush()
                os.write(1, b"flushed\n")


def judge(path: Path, story: list[str], scratch: Path) -> None:
    """Hold the image against what the writer said."""
    report = json.loads(tool("qemu-img", "check", "--output=json", path, ok=(0, 2, 3)))
    assert not report.get("corruptions"), tool("qemu-img", "check", path, ok=(0, 2, 3))
    confirmed: dict[int, int] = {}
    pending: dict[int, set[int]] = {}
    for line in story:
        if line.startswith("try "):
            for at, value in json.loads(line[4:]).items():
                pending.setdefault(int(at), set()).add(value)
        elif line == "flushed":
            confirmed.update({at: max(values) for at, values in pending.items()})
            pending.clear()
    plain = scratch / "plain.raw"
    tool("qemu-img", "convert", "-O", "raw", path, plain)
    data = plain.read_bytes()
    for at in range(SIZE // BLOCK):
        values = {confirmed.get(at, 0), *pending.get(at, ())}
        # A write that was not confirmed may have reached some sectors and not others.
        for start in range(at * BLOCK, (at + 1) * BLOCK, SECTOR):
            found = data[start : start + SECTOR]
            assert found[:8] * (SECTOR // 8) == found, f"sector at {start} is torn"
            assert int.from_bytes(found[:8], "little") in values, f"sector at {start}"


@pytest.mark.parametrize("seed", range(count(6, 200)), ids=lambda seed: f"seed-{seed}")
def test_kill(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    path = tmp_path / "image.qcow2"
    lazy = {"lazy_refcounts": "on"} if seed % 4 == 3 else {}
    create(path, SIZE, cluster_size=chance.choice([512, 4096, 65536]), **lazy)
    command = [sys.executable, "-m", "tests.qcow2.test_crash", str(path), str(seed)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert writer.stdout is not None
    story = [writer.stdout.readline().decode().strip() for _ in range(chance.randrange(1, 120))]
    writer.send_signal(signal.SIGKILL)
    story += [line.strip() for line in writer.stdout.read().decode().splitlines()]
    writer.wait()
    if lazy:
        # Reference counts are behind by design; opening the image brings them in order.
        asyncio.run(_open_and_close(path))
    judge(path, story, tmp_path)


async def _open_and_close(path: Path) -> None:
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        await opened.close(node)


if __name__ == "__main__":
    asyncio.run(write_forever(Path(sys.argv[1]), int(sys.argv[2])))
