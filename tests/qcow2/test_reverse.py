"""Images that qemu-io has worked on, read back through the driver."""

import random
from pathlib import Path

import pytest

from tests.qcow2.support import check, create, lab, read, tool
from tests.soak import count

CLUSTERS = [512, 4096, 16384, 65536, 1 << 21]


@pytest.mark.parametrize("seed", range(count(10, 200)), ids=lambda seed: f"seed-{seed}")
async def test_read_back(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    size = chance.randrange(1, 4096) * 512
    options: dict[str, object] = {"cluster_size": chance.choice(CLUSTERS), "refcount_bits": 1 << chance.randrange(7)}
    if options["cluster_size"] >= 16384 and chance.random() < 0.5:
        options["extended_l2"] = "on"
    if chance.random() < 0.3:
        options["compression_type"] = "zstd"
    path = tmp_path / "image.qcow2"
    create(path, size, **options)
    commands: list[str] = []
    cluster = int(str(options["cluster_size"]))
    if options["refcount_bits"] != 1:
        # First and each once: qemu-io itself leaves errors behind when it compresses over data or counts in one bit.
        places = sorted({chance.randrange(size) // cluster * cluster for _ in range(6)})
        commands += [f"write -c -P {at % 251} {at} {min(cluster, size - at)}" for at in places]
    for _ in range(40):
        offset = chance.randrange(size // 512) * 512
        length = min(chance.randrange(1, 400) * 512, size - offset)
        kinds = ["plain", "plain", "plain", "zero", "unmap", "discard"]
        kind = chance.choice(kinds)
        pattern = chance.randrange(1, 256)
        if kind == "plain":
            commands.append(f"write -P {pattern} {offset} {length}")
        elif kind == "discard":
            commands.append(f"discard {offset} {length}")
        else:
            commands.append(f"write -z {'-u ' if kind == 'unmap' else ''}{offset} {length}")
    arguments = [part for command in commands for part in ("-c", command)]
    tool("qemu-io", "-d", "unmap", *arguments, path)
    check(path)
    plain = tmp_path / "plain.raw"
    tool("qemu-img", "convert", "-O", "raw", path, plain)
    print(f"seed {seed}: {options}")
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        assert await read(node, 0, size) == plain.read_bytes()
        for _ in range(20):
            offset = chance.randrange(size)
            length = chance.randrange(1, size - offset + 1)
            assert await read(node, offset, length) == plain.read_bytes()[offset : offset + length]
        await node.pwritev(size // 2, b"x")
        await opened.close(node)
    check(path)
