"""Requests whose waiters go away: clusters may leak, nothing may break."""

import asyncio
import json
import random
from pathlib import Path

import pytest

from tests.qcow2.support import create, lab, tool
from tests.soak import count

SIZE = 8 << 20


@pytest.mark.parametrize("seed", range(count(4, 60)), ids=lambda seed: f"seed-{seed}")
async def test_cancelled_requests(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    path = tmp_path / "image.qcow2"
    create(path, SIZE, cluster_size=chance.choice([512, 4096, 65536]))
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        for _ in range(40):
            tasks = [
                asyncio.create_task(
                    node.pwritev(chance.randrange(SIZE - 9000), chance.randbytes(chance.randrange(1, 9000)))
                )
                for _ in range(8)
            ]
            tasks.append(asyncio.create_task(node.flush()))
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            for task in tasks:
                if chance.random() < 0.5:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await opened.close(node)
        assert not opened.events.seen
    report = json.loads(tool("qemu-img", "check", "--output=json", path, ok=(0, 2, 3)))
    assert not report.get("corruptions")
