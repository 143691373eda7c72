"""Driver `compress`: a filter that lets everything written through it be stored in compressed form.

Compressed data comes in whole clusters, so the filter's alignment is a cluster: the node reads the rest of a cluster
that a request covers only in part, and writes it as a whole (`qmpd.block.alignment`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from qmpd.block.driver import Buffer, FilterDriver, HostPiece, OpenContext, not_supported
from qmpd.errors import GenericError


class CompressOptions(Protocol):
    """What the driver reads of its branch of `BlockdevOptions`."""

    file: Any


class CompressDriver(FilterDriver):
    """The filter."""

    named_by_itself = True

    async def open(self, options: CompressOptions, context: OpenContext) -> None:
        await context.open_child("file", options.file, protocol=False)
        below = self.below.driver
        if not below.supports_compression:
            raise GenericError(
                f"Node '{self.below.node_name}' (driver '{below.format_name}') cannot store compressed data, which is "
                "what the filter 'compress' is for"
            )
        self.adopt_geometry()

    def adopt_geometry(self) -> None:
        super().adopt_geometry()
        self.request_alignment = max(self.request_alignment, self.cluster_size or 1)

    # The last cluster of the disk may be short, but requests come in whole ones.

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        present = min(len(buffer), self.length - offset)
        await self.below.preadv(offset, buffer[:present])
        if present < len(buffer):
            buffer[present:] = bytes(len(buffer) - present)

    async def pwritev(self, offset: int, data: Buffer, fua: bool) -> None:
        await self.below.pwrite_compressed(offset, memoryview(data)[: self.length - offset])
        if fua:
            await self.below.flush()

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        raise not_supported()
