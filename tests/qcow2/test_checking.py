"""The consistency check, held against qemu-img's verdict on the same damage."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from qmpd.block.drivers import make_driver
from qmpd.block.drivers.qcow2 import checking
from qmpd.block.drivers.qcow2.checking import Repair, Report
from qmpd.block.drivers.qcow2.driver import Qcow2Driver
from qmpd.block.drivers.qcow2.standalone import check_file
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


OFFSET = 0x00FF_FFFF_FFFF_FE00


class Image:
    """The bytes of an image, and where its tables are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = bytearray(path.read_bytes())
        self.l1 = self.word(40)
        self.l2 = self.word(self.l1) & OFFSET
        self.table = self.word(48)
        self.block = self.word(self.table)

    def word(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 8], "big")

    def put(self, at: int, value: int) -> None:
        self.data[at : at + 8] = value.to_bytes(8, "big")
        self.path.write_bytes(self.data)


def reserved_in_l1(image: Image) -> None:
    image.put(image.l1, image.word(image.l1) | 1 << 57)


def reserved_in_l2(image: Image) -> None:
    image.put(image.l2, image.word(image.l2) | 1 << 3)


def reserved_in_refcount_table(image: Image) -> None:
    image.put(image.table, image.word(image.table) | 1)


def subclusters_that_are_both(image: Image) -> None:
    image.put(image.l2 + 8, image.word(image.l2 + 8) | 1 << 32)


def subclusters_of_nothing(image: Image) -> None:
    image.put(image.l2 + 16 * 8 + 8, 3)


def a_block_on_data(image: Image) -> None:
    image.put(image.table + 8, image.word(image.l2) & OFFSET)


def a_flag_of_a_table(image: Image) -> None:
    image.put(image.l1, image.word(image.l1) & ~(1 << 63))


def a_misplaced_cluster(image: Image) -> None:
    image.put(image.l2, image.word(image.l2) + 512)


DAMAGES = [
    reserved_in_l1,
    reserved_in_l2,
    reserved_in_refcount_table,
    subclusters_that_are_both,
    subclusters_of_nothing,
    a_block_on_data,
    a_flag_of_a_table,
    a_misplaced_cluster,
]


def _can_be_done(damaged: Callable[[Image], None], kind: str) -> bool:
    if kind != "extended" and "subclusters" in damaged.__name__:
        return False
    # Data is elsewhere then.
    return kind != "data file" or damaged is not a_block_on_data


@pytest.mark.parametrize(
    ("kind", "damaged"),
    [
        (kind, damaged)
        for kind in ("plain", "extended", "data file")
        for damaged in DAMAGES
        if _can_be_done(damaged, kind)
    ],
)
async def test_found_and_repaired(damaged: Callable[[Image], None], kind: str, tmp_path: Path) -> None:
    """What qemu-img calls damaged, so do we; and it finds nothing after the repair."""
    path = tmp_path / "image.qcow2"
    options: dict[str, object] = {"cluster_size": 16384, "extended_l2": "on" if kind == "extended" else "off"}
    if kind == "data file":
        options["data_file"] = tmp_path / "data.raw"
    create(path, MIB, **options)
    tool("qemu-io", "-c", "write -P 1 0 100k", path)
    damaged(Image(path))
    assert theirs(path)["corruptions"]
    report = await check_file(path, Repair.NOTHING)
    assert report.corruptions
    report = await check_file(path, Repair.ALL)
    assert (report.corruptions - report.corruptions_fixed, report.check_errors) == (0, 0)
    assert theirs(path) == {"leaks": 0, "corruptions": 0, "check-errors": 0}


async def test_a_lost_cluster_over_a_backing_file(tmp_path: Path) -> None:
    """It reads as zeroes: what the backing file has there is older than what is lost."""
    path, base = tmp_path / "image.qcow2", tmp_path / "base.raw"
    base.write_bytes(b"b" * MIB)
    create(path, MIB, "-b", base, "-F", "raw")
    tool("qemu-io", "-c", "write -P 1 0 128k", path)
    image = Image(path)
    image.put(image.l2, 1 << 63 | 1 << 40)
    await check_file(path, Repair.ALL)
    tool("qemu-io", "-c", "read -P 0 0 64k", "-c", "read -P 1 64k 64k", "-c", "read -P 98 128k 64k", path)
    assert theirs(path) == {"leaks": 0, "corruptions": 0, "check-errors": 0}


async def test_leaks_while_the_counts_lie_on_something_else(tmp_path: Path) -> None:
    """Nothing is written: it would destroy what lies there."""
    path = tmp_path / "image.qcow2"
    create(path, MIB, cluster_size=512)
    tool("qemu-io", "-c", "write -P 1 0 200k", path)
    image = Image(path)
    image.put(image.table + 8, image.word(image.l2 + 8) & OFFSET)
    before = path.read_bytes()
    report = await check_file(path, Repair.LEAKS)
    assert report.leaks and not report.leaks_fixed
    assert path.read_bytes() == before


async def test_counts_of_what_the_file_does_not_have(tmp_path: Path) -> None:
    """They take no space, so they are no leaks."""
    path = tmp_path / "image.qcow2"
    create(path, MIB)
    image = Image(path)
    image.data[image.block + 2 * 100 + 1] = 1
    path.write_bytes(image.data)
    assert theirs(path)["leaks"] == 0
    assert (await check_file(path, Repair.NOTHING)).leaks == 0


async def test_a_bitmap_that_cannot_be(tmp_path: Path) -> None:
    """The image cannot be opened with it, so something is wrong; nothing of it is taken for a leak."""
    path = tmp_path / "image.qcow2"
    create(path, MIB)
    tool("qemu-img", "bitmap", "--add", path, "b-name")
    image = Image(path)
    image.data[image.data.find(b"b-name") - 13] += 1  # the size of its table
    path.write_bytes(image.data)
    assert tool("qemu-img", "check", path, ok=(1,)) == ""
    report = await check_file(path, Repair.ALL)
    assert (report.corruptions, report.corruptions_fixed, report.leaks) == (1, 0, 0)
