"""Chains of qcow2 images with known contents, and a client that writes to a disk while jobs work on its chain.

The images are made by qemu-img and filled by qemu-io; what the disk shows is kept as a model in memory, which the
load brings up to date with each write that was answered.
"""

import json
import random
from pathlib import Path
from typing import Any

from iotests.harness import nbd
from iotests.harness.images import KIB, MIB, Scratch
from iotests.harness.repeating import Repeating
from iotests.harness.servers import Server
from iotests.harness.tools import qemu_img, qemu_io

CLUSTER = 64 * KIB
SIZE = 4 * MIB


class Chain:
    """Images `i0` (the lowest), `i1` and so on, each over the one before it.

    :ivar model: what the topmost image shows.
    """

    def __init__(self, scratch: Scratch, sizes: list[int], *, seed: int = 1, options: tuple[str, ...] = ()) -> None:
        self.scratch = scratch
        self.generator = random.Random(seed)
        self.model = bytearray()
        self.paths: list[Path] = []
        self.options = options
        for size in sizes:
            self._make(size)

    def _make(self, size: int) -> None:
        number = len(self.paths)
        path = self.scratch / f"i{number}.qcow2"
        backing = ("-b", self.paths[-1], "-F", "qcow2") if self.paths else ()
        qemu_img("create", "-q", "-f", "qcow2", *self.options, *backing, path, str(size))
        self.paths.append(path)
        self.model = (self.model + bytes(size))[:size]
        self.scatter(path, size)

    def scatter(self, path: Path, size: int) -> None:
        """Write to a third of an image, in pieces of up to three clusters."""
        commands = []
        for _ in range(max(size // CLUSTER // 6, 1)):
            length = min(self.generator.randint(1, 6) * CLUSTER // 2, size)
            offset = self.generator.randrange(0, size - length + 1, 512)
            pattern = self.generator.randint(0, 255)
            commands.append(f"write -P {pattern} {offset} {length}" if pattern else f"write -z {offset} {length}")
            self.model[offset : offset + length] = bytes([pattern]) * length
        qemu_io(path, *commands, image_format="qcow2")

    @property
    def top(self) -> str:
        """The node of the topmost image."""
        return f"i{len(self.paths) - 1}"

    def add_to(self, server: Server, **options: Any) -> None:
        """Open each image as a node of its own, all but the topmost read-only."""
        for number, path in enumerate(self.paths):
            file = {"driver": "file", "filename": str(path)}
            node = {"driver": "qcow2", "node-name": f"i{number}", "file": file}
            backing = f"i{number - 1}" if number else None
            read_only = number < len(self.paths) - 1
            server.qmp.command("blockdev-add", {**node, "backing": backing, "read-only": read_only} | options)

    def add_top_to(self, server: Server) -> None:
        """Open the topmost image as a node; those below it are found by their names."""
        file = {"driver": "file", "filename": str(self.paths[-1])}
        server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": self.top, "file": file})

    def assert_shows_model(self, path: Path, *, model: bytes | None = None) -> None:
        """Fail unless an image, which nobody uses now, is sound and shows what the model says."""
        qemu_img("check", "-q", path)
        raw = self.scratch / "model.raw"
        raw.write_bytes(self.model if model is None else model)
        output = qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, path)
        assert "Images are identical" in output, output

    def backing_names(self, path: Path) -> list[str]:
        """The file names in the chain of an image, as qemu-img finds it, from the top."""
        infos = json.loads(qemu_img("info", "-U", "--backing-chain", "--output=json", path))
        return [Path(info["filename"]).name for info in infos]


class Load(Repeating[nbd.RawNbd]):
    """Writes to an export; the model follows."""

    def __init__(self, server: Server, chain: Chain, export: str, *, seed: int = 7) -> None:
        super().__init__(nbd.RawNbd.attached(server.nbd_path, export))
        self._chain = chain
        self._generator = random.Random(seed)

    def step(self) -> None:
        generator, model = self._generator, self._chain.model
        length = generator.randint(1, 200) * 512
        offset = generator.randrange(0, len(model) - length + 1, 512)
        if generator.random() < 0.2:
            data, reply = bytes(length), self._client.request(nbd.WRITE_ZEROES, offset, length)
        else:
            data = bytes([generator.randint(1, 255)]) * length
            reply = self._client.request(nbd.WRITE, offset, length, data=data)
        assert reply.error == 0, f"a write failed with {reply.error}"
        model[offset : offset + length] = data
