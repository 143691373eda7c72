"""Random commands of qemu-io, by human-monitor-command and by the program: the same answers and the same disks.

The commands are generated from a seed; `QMPD_SEEDS=7,12` replays some, `QMPD_SOAK=1` runs many.
"""

import os
import random
import subprocess
from collections.abc import Callable

import pytest

from iotests.harness import Launcher, Scratch
from iotests.harness.human import qemu_io_answer, without_times
from iotests.harness.images import MIB
from iotests.harness.tools import assert_same, qemu_img

LENGTH = 2 * MIB
COMMANDS = 40


def seeds() -> list[int]:
    """What to generate commands from."""
    given = os.environ.get("QMPD_SEEDS")
    if given:
        return [int(seed) for seed in given.split(",")]
    return list(range(300 if os.environ.get("QMPD_SOAK") else 2))


class Generator:
    """Commands that make sense, and some that almost do.

    :param looks: those without numbers.
    """

    def __init__(self, seed: int, looks: list[str]) -> None:
        self.chance = random.Random(seed)
        self.looks = looks

    def commands(self) -> list[str]:
        """A whole story."""
        kinds: list[Callable[[], str]] = [self.read, self.read, self.write, self.write, self.write, self.zero]
        kinds += [self.discard, self.parts, self.aio, lambda: self.chance.choice(self.looks)]
        return [self.chance.choice(kinds)() for _ in range(COMMANDS)]

    def size(self, value: int) -> str:
        """A number of bytes in one of its spellings."""
        spellings = [str(value), hex(value), f"{value}B"]
        if value % 1024 == 0:
            spellings.append(f"{value // 1024}k")
        if value % 512 == 0:
            spellings.append(f"{value / 1024:.1f}K")
        return self.chance.choice(spellings)

    def place(self) -> tuple[int, int]:
        """A range; one in ten is beyond the end."""
        unit = self.chance.choice((1, 512, 4096, 65536))
        length = self.chance.randrange(1, 200000) // unit * unit
        offset = self.chance.randrange(0, LENGTH) // unit * unit
        return (offset, length) if self.chance.random() < 0.1 else (min(offset, LENGTH - length), length)

    def range(self) -> str:
        offset, length = self.place()
        return f"{self.size(offset)} {self.size(length)}"

    def flags(self, letters: str) -> str:
        """Some of these flags, together or one by one."""
        chosen = [letter for letter in letters if self.chance.random() < 0.2]
        return " ".join(f"-{letter}" for letter in chosen) if self.chance.random() < 0.5 else "".join(["-", *chosen])

    def pattern(self) -> str:
        value = self.chance.randrange(256)
        return f"-P {self.chance.choice((str(value), hex(value), f'0{value:o}'))}"

    def words(self, *parts: str) -> str:
        return " ".join(part for part in parts if part not in ("", "-"))

    def read(self) -> str:
        offset, length = self.place()
        check = ""
        if self.chance.random() < 0.5:
            start = self.chance.randrange(0, length + 1)
            ends = ("", f"-s {start}", f"-s {start} -l {(length - start) // 2}", f"-l {length // 3}")
            check = f"{self.pattern()} {self.chance.choice(ends)}".strip()
        show = "-v" if length < 300 else ""
        return self.words("read", check, self.flags("Cq"), show, self.size(offset), self.size(length))

    def write(self) -> str:
        pattern = self.pattern() if self.chance.random() < 0.8 else ""
        return self.words("write", self.flags("Cfq"), pattern, self.range())

    def zero(self) -> str:
        return self.words("write -z", self.flags("Cfqu"), self.range())

    def discard(self) -> str:
        return self.words("discard", self.flags("Cq"), self.range())

    def parts(self) -> str:
        offset, length = self.place()
        lengths = [self.size(length // 3), self.size(length // 2)][: self.chance.randrange(1, 3)]
        kind = self.chance.choice(("readv", "writev"))
        return self.words(kind, self.pattern(), self.flags("Cq"), self.size(offset), *lengths)

    def aio(self) -> str:
        kind = self.chance.choice(("aio_read", "aio_write", "aio_write -f"))
        return self.words(kind, self.pattern(), self.flags("Cq"), self.range())


@pytest.mark.qmpd_only("side by side with the program qemu-io")
@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
@pytest.mark.parametrize("seed", seeds())
def test_same_story(launch: Launcher, scratch: Scratch, seed: int, image_format: str) -> None:
    looks = ["length", "flush", "info"]
    if image_format == "raw":  # qcow2: clusters that read as zeroes anyway are not made such a second time here
        looks += ["map", "alloc 0 1M", "alloc 1M"]
    commands = [word for command in Generator(seed, looks).commands() for word in (command, "aio_flush")]
    ours, theirs = (scratch.made_by_qemu_img(name, LENGTH, image_format) for name in ("ours", "theirs"))
    server = launch()
    file = {"driver": "file", "filename": str(ours.path), "discard": "unmap"}
    server.qmp.command("blockdev-add", driver=image_format, node_name="d", discard="unmap", file=file)
    said = [qemu_io_answer(server, "d", command) for command in commands]
    server.qmp.command("blockdev-del", node_name="d")
    argv = ["qemu-io", "-d", "unmap", "-f", image_format, *(word for command in commands for word in ("-c", command))]
    done = subprocess.run([*argv, str(theirs.path)], capture_output=True, text=True, timeout=120)
    assert "".join(said) == without_times(done.stdout)
    assert_same(ours.path, theirs.path, one_format=image_format, other_format=image_format)
    if image_format == "qcow2":
        qemu_img("check", str(ours.path))
