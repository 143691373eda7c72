"""The consistency check, held against qemu-img's verdict on the same damage."""

import json
import random
import shutil
from pathlib import Path

import pytest

from qmpd.block.drivers import make_driver
from qmpd.block.drivers.qcow2 import checking
from qmpd.block.drivers.qcow2.checking import Repair, Report
from qmpd.block.drivers.qcow2.driver import Qcow2Driver
from qmpd.block.filenames import validate
from qmpd.block.opening import node_options
from tests.qcow2.support import Lab, create, lab, tool
from tests.soak import count

MIB = 1 << 20


async def ours(opened: Lab, path: Path, repair: Repair) -> Report:
    """What our check says, after repair."""
    tree = {
        "driver": "qcow2",
        "node-name": "checked",
        "backing": None,
        "read-only": repair is Repair.NOTHING,
        "file": {"driver": "file", "filename": str(path)},
    }
    options = validate(tree, "a test")
    driver = make_driver("qcow2")
    assert isinstance(driver, Qcow2Driver)
    driver.checking = True
    async with opened.graph.exclusive():
        node = await opened.graph.open_node(driver, options, node_options(options), "checked", monitor_owned=True)
        report = await checking.check(driver, repair)
        await opened.graph.delete_node(node)
    return report


def theirs(path: Path) -> dict[str, int]:
    """What qemu-img check says."""
    found = json.loads(tool("qemu-img", "check", "--output=json", path, ok=(0, 2, 3)))
    return {key: found.get(key, 0) for key in ("leaks", "corruptions", "check-errors")}


def make(path: Path, chance: random.Random) -> None:
    options: dict[str, object] = {"cluster_size": chance.choice([512, 4096, 65536])}
    if chance.random() < 0.3:
        options["refcount_bits"] = chance.choice([8, 64])
    create(path, MIB, **options)
    tool("qemu-io", "-c", "write 0 200k", "-c", "write -c 256k 64k", "-c", "write 700k 30k", path)
    if chance.random() < 0.5:
        tool("qemu-img", "snapshot", "-c", "one", path)
        tool("qemu-io", "-c", "write 0 20k", path)
    tool("qemu-img", "bitmap", "--add", path, "b")


def damage(path: Path, chance: random.Random) -> None:
    """Change some reference counts and flags."""
    data = bytearray(path.read_bytes())
    table = int.from_bytes(data[48:56], "big")
    l1 = int.from_bytes(data[40:48], "big")
    block = int.from_bytes(data[table : table + 8], "big")
    for _ in range(chance.randrange(1, 4)):
        if chance.random() < 0.7:
            place = block + chance.randrange(24)
            data[place] = chance.choice([0, 1, 2])
        else:
            entry = int.from_bytes(data[l1 : l1 + 8], "big")
            data[(entry & 0xFFFFFFFFFFFE00) + 8 * chance.randrange(8)] ^= 0x80
    path.write_bytes(data)


@pytest.mark.parametrize("seed", range(count(15, 200)), ids=lambda seed: f"seed-{seed}")
async def test_same_verdict(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    path = tmp_path / "image.qcow2"
    make(path, chance)
    if chance.random() < 0.9:
        damage(path, chance)
    before = path.read_bytes()
    expected = theirs(path)
    async with lab() as opened:
        report = await ours(opened, path, Repair.NOTHING)
        assert path.read_bytes() == before
        assert report.leaks == expected["leaks"]
        assert bool(report.corruptions) == bool(expected["corruptions"])
        copy = tmp_path / "leaks.qcow2"
        shutil.copyfile(path, copy)
        if not expected["corruptions"]:
            await ours(opened, copy, Repair.LEAKS)
            assert theirs(copy) == {"leaks": 0, "corruptions": 0, "check-errors": 0}
        report = await ours(opened, path, Repair.ALL)
    assert theirs(path) == {"leaks": 0, "corruptions": 0, "check-errors": 0}
