"""Overlap checks: what is watched, and that qemu-io refuses the same writes with the same options."""

import struct
import subprocess
from pathlib import Path

import pytest

from qmpd.block.drivers.qcow2.overlap import Structure
from tests.qcow2.support import create, lab, tool

MIB = 1 << 20
MODES = ("none", "constant", "cached", "all")
# No L2 entry can lead to the header: offset 0 stands for no cluster.
NAMES = [
    str(structure.name).lower().replace("_", "-") for structure in Structure if structure is not Structure.MAIN_HEADER
]
OFFSET = 0x00FF_FFFF_FFFF_FE00


def word(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 8], "big")


def places(data: bytes) -> dict[str, int]:
    """Where each structure lies in an image with a snapshot and a bitmap."""
    l1, table, snapshots = word(data, 40), word(data, 48), word(data, 64)
    inactive_l1 = word(data, snapshots)
    extension = data.index((0x23852875).to_bytes(4, "big"))
    (directory,) = struct.unpack_from(">Q", data, extension + 24)
    return {
        "active-l1": l1,
        "active-l2": word(data, l1) & OFFSET,
        "refcount-table": table,
        "refcount-block": word(data, table),
        "snapshot-table": snapshots,
        "inactive-l1": inactive_l1,
        "inactive-l2": word(data, inactive_l1) & OFFSET,
        "bitmap-directory": directory,
    }


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("overlap") / "good.qcow2"
    create(path, 8 * MIB)
    tool("qemu-io", "-c", "write 0 128k", path)
    tool("qemu-img", "snapshot", "-c", "one", path)
    tool("qemu-io", "-c", "write 0 128k", path)
    tool("qemu-img", "bitmap", "--add", path, "b")
    return path.read_bytes()


def damaged(good: bytes, structure: str) -> bytes:
    """The image with its first cluster of data laid over a structure."""
    data = bytearray(good)
    found = places(good)
    entry = found["active-l2"]
    data[entry : entry + 8] = (found[structure] | 1 << 63).to_bytes(8, "big")
    return bytes(data)


def refused_by_qemu(path: Path, *options: str) -> bool:
    image = ",".join(["driver=qcow2", "file.driver=file", f"file.filename={path}", *options])
    done = subprocess.run(
        ["qemu-io", "--image-opts", "-c", "write 1000 64", image], capture_output=True, text=True, check=False
    )
    return "error" in done.stdout + done.stderr


async def refused_by_us(path: Path, choice: object) -> bool:
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path, overlap_check=choice)
        try:
            await node.pwritev(1000, bytes(64))
        except OSError:
            assert opened.events.named("BLOCK_IMAGE_CORRUPTED")
            return True
        return False


@pytest.mark.parametrize("structure", NAMES)
async def test_modes(structure: str, good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    verdicts = []
    for mode in MODES:
        path.write_bytes(damaged(good, structure))
        ours = await refused_by_us(path, mode)
        path.write_bytes(damaged(good, structure))
        assert refused_by_qemu(path, f"overlap-check={mode}") == ours
        verdicts.append(ours)
    assert not verdicts[0]
    assert verdicts[-1]


@pytest.mark.parametrize("structure", NAMES)
async def test_flags(structure: str, good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    for template, wanted in (("none", True), ("all", False)):
        path.write_bytes(damaged(good, structure))
        ours = await refused_by_us(path, {"template": template, structure: wanted})
        path.write_bytes(damaged(good, structure))
        options = f"overlap-check.template={template}", f"overlap-check.{structure}={'on' if wanted else 'off'}"
        assert ours is wanted
        assert refused_by_qemu(path, *options) is wanted


@pytest.mark.parametrize("part", ["table", "bits"])
async def test_the_rest_of_bitmaps(part: str, tmp_path: Path) -> None:
    """More than QEMU looks at: where a bitmap's table and bits lie."""
    path = tmp_path / "image.qcow2"
    create(path, 8 * MIB)
    tool("qemu-img", "bitmap", "--add", path, "b")
    tool("qemu-io", "-c", "write 0 128k", path)
    data = bytearray(path.read_bytes())
    extension = data.index((0x23852875).to_bytes(4, "big"))
    table = word(data, word(data, extension + 24))
    place = table if part == "table" else word(data, table) & OFFSET
    entry = word(data, word(data, 40)) & OFFSET
    data[entry : entry + 8] = (place | 1 << 63).to_bytes(8, "big")
    path.write_bytes(data)
    assert await refused_by_us(path, "cached")


async def test_a_torn_refcount_block(good: bytes, tmp_path: Path) -> None:
    """Counts that lie where the L1 table lies are never written."""
    path = tmp_path / "image.qcow2"
    data = bytearray(good)
    table = word(data, 48)
    data[table : table + 8] = data[40:48]
    path.write_bytes(data)
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        with pytest.raises(OSError):
            await node.pwritev(4 * MIB, b"x")
            await node.flush()
        assert opened.events.named("BLOCK_IMAGE_CORRUPTED")
        await opened.close(node)
    l1 = word(data, 40)
    assert path.read_bytes()[l1 : l1 + 512] == data[l1 : l1 + 512]
