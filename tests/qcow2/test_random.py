"""Random operations over the matrix of formats, with qemu-img as the judge.

Each run is made from one number, which names it in the report: `-k "seed-17"` runs it again.
"""

import asyncio
import os
import random
from pathlib import Path

import pytest

from qmpd.block.driver import HostPiece
from qmpd.block.drivers.qcow2 import snapshots
from qmpd.block.node import BlockNode
from tests.qcow2.support import Lab, check, create, lab, read, same, tool
from tests.soak import count

SEEDS = range(count(20, 500))
KIB = 1024


class Run:
    """One image, a model of it, and random operations on both."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.path = folder / "image.qcow2"
        self.options = self._choose_format()
        self.size = self.random.randrange(1, 64) * self.random.choice([512, 4 * KIB, 64 * KIB])
        self.model = bytearray(self.size)
        self._make()
        self.caches = self._choose_caches(random.Random(-seed - 1))

    def _choose_caches(self, pick: random.Random) -> dict[str, object]:
        """Often next to no cache, of parts of tables; its own generator leaves the runs of old seeds as they are."""
        if pick.random() < 0.5:
            return {}
        cluster = int(str(self.options["cluster_size"]))
        part = 1 << pick.randrange(9, cluster.bit_length())
        return {"l2_cache_entry_size": part, "l2_cache_size": part * pick.choice([1, 2, 5]), "refcount_cache_size": 1}

    def _choose_format(self) -> dict[str, object]:
        pick = self.random
        options: dict[str, object] = {"cluster_size": 1 << pick.choice([9, 9, 10, 12, 14, 16, 16, 18, 21])}
        if pick.random() < 0.15:
            options["compat"] = "0.10"
            return options
        options["compat"] = "1.1"
        options["refcount_bits"] = 1 << pick.randrange(7)
        if int(str(options["cluster_size"])) >= 16 * KIB and pick.random() < 0.4:
            options["extended_l2"] = "on"
        if pick.random() < 0.2:
            options["compression_type"] = "zstd"
        if pick.random() < 0.15:
            options["data_file"] = self.folder / "data.raw"
            if pick.random() < 0.5:
                options["data_file_raw"] = "on"
        elif pick.random() < 0.25:
            options["lazy_refcounts"] = "on"
        return options

    def _make(self) -> None:
        backing: list[object] = []
        if self.random.random() < 0.5 and "data_file_raw" not in self.options:
            length = max(512, int(self.size * self.random.choice([0.5, 1, 1.5])) // 512 * 512)
            pick = self.random
            parts = [pick.randbytes(512) if pick.random() < 0.7 else bytes(512) for _ in range(length // 512)]
            data = b"".join(parts)
            plain = self.folder / "base.raw"
            plain.write_bytes(data)
            self.model[:] = data[: self.size].ljust(self.size, b"\0")
            if self.random.random() < 0.5:
                tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", plain, self.folder / "base.qcow2")
                backing = ["-b", "base.qcow2", "-F", "qcow2"]
            else:
                backing = ["-b", "base.raw", "-F", "raw"]
        self.backed = bool(backing)
        create(self.path, self.size, *backing, **self.options)

    def place(self) -> tuple[int, int]:
        """A random range, often aligned."""
        unit = self.random.choice([1, 512, 4 * KIB, int(str(self.options["cluster_size"]))])
        offset = self.random.randrange(self.size) // unit * unit
        longest = max(min(self.size - offset, 256 * KIB), 1)
        length = self.random.randrange(1, longest + 1)
        length = min(max(length // unit * unit, unit), self.size - offset)
        return offset, length

    async def step(self, opened: Lab, node: BlockNode) -> BlockNode:
        """One operation; gives the node to go on with."""
        kinds = ["write"] * 6 + ["zero"] * 2 + ["discard", "compressed", "read", "read", "flush", "many", "many"]
        kinds += ["resize", "snapshot", "unsnapshot", "reopen", "copy", "map"]
        kind = self.random.choice(kinds)
        handler = getattr(self, f"do_{kind}")
        result = await handler(opened, node)
        return result if result is not None else node

    async def do_write(self, opened: Lab, node: BlockNode) -> None:
        offset, length = self.place()
        data = self.random.randbytes(length)
        await node.pwritev(offset, data, fua=self.random.random() < 0.1)
        self.model[offset : offset + length] = data

    async def do_many(self, opened: Lab, node: BlockNode) -> None:
        """Requests at the same time; those that overlap nothing may go in any order."""
        taken: list[tuple[int, int]] = []
        work = []
        for _ in range(12):
            offset, length = self.place()
            length = min(length, 32 * KIB)
            if any(start < offset + length and offset < end for start, end in taken):
                continue
            taken.append((offset, offset + length))
            if self.random.random() < 0.2:
                self.model[offset : offset + length] = bytes(length)
                work.append(node.pwrite_zeroes(offset, length, may_unmap=self.random.random() < 0.5))
            else:
                data = self.random.randbytes(length)
                self.model[offset : offset + length] = data
                work.append(node.pwritev(offset, data))
        work.append(node.flush())
        await asyncio.gather(*work)

    async def do_zero(self, opened: Lab, node: BlockNode) -> None:
        offset, length = self.place()
        await node.pwrite_zeroes(offset, length, may_unmap=self.random.random() < 0.5)
        self.model[offset : offset + length] = bytes(length)

    async def do_discard(self, opened: Lab, node: BlockNode) -> None:
        offset, length = self.place()
        await node.pdiscard(offset, length)
        now = await read(node, offset, length)
        for at in range(length):
            assert now[at] in (0, self.model[offset + at])
        self.model[offset : offset + length] = now

    async def do_compressed(self, opened: Lab, node: BlockNode) -> None:
        if "data_file" in self.options:
            return
        size = int(str(self.options["cluster_size"]))
        offset = self.random.randrange(self.size) // size * size
        length = min(size * self.random.randrange(1, 4), self.size - offset)
        noise = self.random.choice([1, 4, 64])
        data = b"".join(self.random.randbytes(1) * noise for _ in range(-(-length // noise)))[:length]
        await node.pwrite_compressed(offset, data)
        self.model[offset : offset + length] = data

    async def do_read(self, opened: Lab, node: BlockNode) -> None:
        offset, length = self.place()
        assert await read(node, offset, length) == self.model[offset : offset + length]

    async def do_copy(self, opened: Lab, node: BlockNode) -> None:
        """Pieces of another file, copied by the kernel."""
        source = self.folder / "source.bin"
        data = self.random.randbytes(128 * KIB)
        source.write_bytes(data)
        with source.open("rb") as file:
            pieces = []
            position = 0
            while position < self.size and len(pieces) < 5:
                position += self.random.choice([0, 512, 4096, 65536, 100000])
                length = min(self.random.choice([512, 4096, 65536, 99999]), self.size - position)
                if length <= 0:
                    break
                start = self.random.randrange(len(data) - length)
                pieces.append(HostPiece(file, start, position, length))
                self.model[position : position + length] = data[start : start + length]
                position += length
            self.random.shuffle(pieces)
            await node.copy_from_host(pieces)

    async def do_map(self, opened: Lab, node: BlockNode) -> None:
        """What map says must agree with what is read, and with what lies in the host file."""
        position = 0
        while position < self.size:
            for extent in await node.map(position, self.size - position):
                assert extent.offset == position
                assert extent.length > 0
                expected = self.model[extent.offset : extent.end]
                if extent.reads_zero:
                    assert not any(expected)
                elif extent.host is not None:
                    found = os.pread(extent.host.fileno(), extent.length, extent.host_offset)
                    assert found.ljust(extent.length, b"\0") == expected
                position = extent.end

    async def do_flush(self, opened: Lab, node: BlockNode) -> None:
        await node.flush()

    async def do_resize(self, opened: Lab, node: BlockNode) -> None:
        if self.options["compat"] == "0.10" and node.driver.snapshots:
            return
        size = max(512, int(self.size * self.random.choice([0.3, 0.7, 1.2, 2])) // 512 * 512)
        size = min(size, 8 << 20)
        await node.truncate(size)
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))
        self.size = size

    async def do_snapshot(self, opened: Lab, node: BlockNode) -> None:
        driver = node.driver
        if "data_file" in self.options or len(driver.snapshots) >= 3:
            return
        name = f"s{self.random.randrange(10**9)}"
        try:
            await snapshots.make(driver, name)
        except Exception as error:
            # One-bit counts cannot count two users.
            if "not wide enough" not in str(error):
                raise

    async def do_unsnapshot(self, opened: Lab, node: BlockNode) -> None:
        driver = node.driver
        if driver.snapshots:
            await snapshots.delete(driver, self.random.choice(driver.snapshots))

    async def do_reopen(self, opened: Lab, node: BlockNode) -> BlockNode:
        await opened.close(node)
        self.judge()
        return (await opened.open_qcow2(self.path, **self.caches))[0]

    def judge(self) -> None:
        """Have qemu-img look at the closed image."""
        check(self.path)
        same(self.path, self.model, self.folder)
        if "data_file_raw" in self.options:
            assert (self.folder / "data.raw").read_bytes()[: self.size] == self.model


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed-{seed}")
async def test_random_operations(seed: int, tmp_path: Path) -> None:
    run = Run(seed, tmp_path)
    print(f"seed {seed}: {run.size} bytes, {run.options}, backed: {run.backed}")
    async with lab() as opened:
        node, _ = await opened.open_qcow2(run.path, **run.caches)
        for _ in range(40):
            node = await run.step(opened, node)
        assert await read(node, 0, run.size) == run.model
        await opened.close(node)
        assert not opened.events.seen
        run.judge()


@pytest.mark.parametrize("bits", [16, 64])
async def test_a_long_run_of_small_clusters(bits: int, tmp_path: Path) -> None:
    """An L1 table that is longer than what one block of counts covers."""
    path = tmp_path / "image.qcow2"
    create(path, 1 << 20, cluster_size=512, refcount_bits=bits)
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        await node.pwritev(0, b"before")
        for size in (1 << 28, 1 << 30, 1 << 32):
            await node.truncate(size)
            await node.pwritev(size - 512, b"after")
        assert await read(node, 0, 6) == b"before"
        await opened.close(node)
        assert not opened.events.seen
    check(path)
