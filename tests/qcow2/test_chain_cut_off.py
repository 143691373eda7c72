"""Jobs that change a chain of images are cut off at any write to any of its files, while a guest writes and flushes.

At every moment the disk, as QEMU shows it through the chain that the images name then, must hold all that a flush had
confirmed, and no image may have a corruption.
"""

import asyncio
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qmpd.block.backend import BlockBackend
from tests.lab import Lab, seeds
from tests.qcow2.story import BLOCK, Change, Expected, Story, check_sound, compare, pattern
from tests.qcow2.support import create, tool
from tests.soak import count

SIZE = 1 << 20
NAMES = ("base.img", "mid.img", "top.img")


def make_chain(folder: Path, chance: random.Random) -> dict[int, int]:
    """Three images; gives what each block of the disk holds."""
    values: dict[int, int] = {}
    for number, name in enumerate(NAMES):
        backing = ["-b", NAMES[number - 1], "-F", "qcow2"] if number else []
        create(folder / name, SIZE, *backing, cluster_size=chance.choice([4096, 65536]))
        writes = []
        for block in chance.sample(range(SIZE // BLOCK), 20):
            byte = number * 20 + len(writes) // 2 + 1
            values[block] = int.from_bytes(bytes([byte]) * 8, "little")
            writes += ["-c", f"write -P {byte} {block * BLOCK} {BLOCK}"]
        tool("qemu-io", *writes, folder / name)
    return values


class Guest:
    """Writes to the disk all the time, and flushes now and then."""

    def __init__(self, disk: BlockBackend, expected: Expected, chance: random.Random) -> None:
        self.disk, self.expected, self.chance, self.number = disk, expected, chance, 1 << 40

    async def run(self) -> None:
        story = self.expected.story
        while True:
            for block in self.chance.sample(range(SIZE // BLOCK), 3):
                self.number += 1
                change = Change(block, self.number, story.tick())
                self.expected.changes.append(change)
                await self.disk.pwritev(block * BLOCK, pattern(self.number))
                change.end = story.tick()
            begin = story.tick()
            await self.disk.flush()
            self.expected.flushes.append((begin, story.tick()))


async def run_job(opened: Lab, kind: str, folder: Path) -> None:
    """One job, from its beginning to its end."""
    names = {name: str(folder / name) for name in NAMES}
    if kind == "commit":
        await opened.execute("block-commit", job_id="job", device="top", top=names["mid.img"], base=names["base.img"])
    elif kind == "stream":
        await opened.execute("block-stream", job_id="job", device="top", base=names["base.img"])
    else:
        await opened.execute("block-stream", job_id="job", device="top")
    await opened.until(lambda: bool(opened.events.named("BLOCK_JOB_COMPLETED")))
    assert "error" not in opened.events.named("BLOCK_JOB_COMPLETED")[0]


@contextmanager
def laid_out(files: dict[str, bytes], scratch: Path) -> Iterator[Path]:
    """The files in a folder of their own; gives the top image."""
    scratch.mkdir()
    for name, data in files.items():
        with (scratch / name).open("wb") as file:
            file.write(data.rstrip(b"\0"))
            file.truncate(len(data))
    yield scratch / NAMES[-1]
    shutil.rmtree(scratch)


@pytest.mark.parametrize("kind", ["commit", "stream", "stream all"])
@pytest.mark.parametrize("seed", seeds(1, 8))
async def test_a_job_is_cut_off(seed: int, kind: str, tmp_path: Path) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    below = make_chain(tmp_path, chance)
    story = Story({name: (tmp_path / name).read_bytes() for name in NAMES})
    expected = Expected(story, below)
    opened = Lab(tmp_path)
    with story.recording():
        await opened.add("top", "qcow2")
        guest = asyncio.create_task(Guest(opened.guest("top"), expected, chance).run())
        await run_job(opened, kind, tmp_path)
        guest.cancel()
        await asyncio.wait([guest])
        assert guest.cancelled()
        await opened.close()
    every = range(story.clock + 1)
    for moment in sorted(chance.sample(every, min(count(8, 40), len(every)))):
        for how in (story.killed_at, story.powerless_at):
            with laid_out(how(moment, chance), tmp_path / "left") as top:
                for name in NAMES:
                    check_sound(str(top.parent / name), flags_may_be_missing=False)
                compare(str(top), [], SIZE, expected.values_at(moment), below, top.parent)
