"""Jobs that make images (`blockdev-create`) and change their options (`x-blockdev-amend`).

What a format does is the driver's business; the jobs open what is needed, hold it, and give it back. Neither can be
undone, so neither has anything to abort, and both have to be dismissed by the client.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from qmpd.block.backend import BlockBackend
from qmpd.block.drivers import make_driver
from qmpd.block.drivers.file import create_file
from qmpd.block.drivers.qcow2 import amending, creating
from qmpd.block.drivers.qcow2.creating import NewImage
from qmpd.block.drivers.qcow2.driver import Qcow2Driver
from qmpd.block.drivers.qcow2.refcounts import Corruption
from qmpd.block.filenames import validate
from qmpd.block.node import BlockNode, NodeOptions
from qmpd.block.opening import open_inline
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError, os_error_text
from qmpd.jobs.job import Job

if TYPE_CHECKING:
    from qmpd.api.models import BlockdevAmendOptionsQcow2, BlockdevCreateOptionsFile, BlockdevCreateOptionsQcow2
    from qmpd.block.graph import BlockGraph


class _ImageJob(Job):
    def __init__(self, job_id: str, graph: BlockGraph) -> None:
        super().__init__(job_id, auto_dismiss=False)
        self._graph = graph

    async def run(self) -> None:
        self.progress.set_total(1)
        try:
            await self.work()
        finally:
            self.progress.advance(1)

    async def work(self) -> None:
        """What the job is for."""
        raise RuntimeError("an image job without work")


class CreateFileJob(_ImageJob):
    """Makes a file of the host."""

    job_type = "create"

    def __init__(self, job_id: str, graph: BlockGraph, options: BlockdevCreateOptionsFile) -> None:
        super().__init__(job_id, graph)
        self._options = options

    async def work(self) -> None:
        options = self._options
        mode = str(options.preallocation or "off")
        make = functools.partial(create_file, nocow=bool(options.nocow), extent_hint=options.extent_size_hint)
        await self._graph.pool.run(make, options.filename, options.size, mode)


class CreateQcow2Job(_ImageJob):
    """Makes a qcow2 image in a node."""

    job_type = "create"

    def __init__(self, job_id: str, graph: BlockGraph, options: BlockdevCreateOptionsQcow2) -> None:
        super().__init__(job_id, graph)
        self._options = options
        self._image = _new_image(options)

    async def work(self) -> None:
        options, image = self._options, self._image
        image.check()
        if image.size % 512:
            raise GenericError(f"'size' is {image.size}; the size of a disk has to be a multiple of 512")
        async with self._backend(options.file) as target:
            if options.data_file is None:
                await creating.create(target, image)
                await self._preallocate(target, None, image, 0)
                return
            async with self._backend(options.data_file) as data:
                if data.node is target.node:
                    raise GenericError("'file' and 'data-file' are the same node; the data needs a place of its own")
                named = dataclasses.replace(image, data_file=data.node.driver.filename())
                held = data.node.length
                # Where every cluster leads to the file, what is in it is the contents of the image, and stays.
                if held < image.size or image.preallocation == "off":
                    await data.truncate(image.size)
                await creating.create(target, named)
                await self._preallocate(target, data, named, held)

    @asynccontextmanager
    async def _backend(self, reference: Any) -> AsyncIterator[BlockBackend]:
        """A handle on a node that may be written and resized; what was opened for it is closed again."""
        backend = BlockBackend(self._graph, "", Perm.WRITE | Perm.RESIZE, Perm.ALL)
        async with self._graph.exclusive():
            if isinstance(reference, str):
                node = self._graph.lookup(reference)
            else:
                node = await open_inline(self._graph, reference, NodeOptions(discard_unmap=True), protocol=True)
            try:
                backend.attach(node)
            except BaseException:
                self._graph.discard_if_unused(node)
                raise
        try:
            yield backend
        finally:
            async with self._graph.exclusive():
                backend.detach()

    async def _preallocate(
        self, target: BlockBackend, data: BlockBackend | None, image: NewImage, held: int
    ) -> None:
        if image.preallocation == "off":
            return
        tree: dict[str, Any] = {"driver": "qcow2", "file": target.node.node_name, "backing": None}
        if data is not None:
            tree["data-file"] = data.node.node_name
            data.set_permissions(Perm.NONE, Perm.ALL)
        # The image's own node is the only one to write from here on.
        target.set_permissions(Perm.NONE, Perm.ALL)
        options = validate(tree, "the new image")
        async with self._graph.exclusive():
            driver = make_driver("qcow2")
            node = await self._graph.open_node(driver, options, NodeOptions(), None)
            try:
                if isinstance(driver, Qcow2Driver):
                    await creating.preallocate(driver, image.preallocation, held)
            finally:
                self._graph.discard_if_unused(node)


def _preallocation(options: BlockdevCreateOptionsQcow2) -> str:
    # A file that can be used by itself is shown as it is only if every cluster leads to it.
    mode = str(options.preallocation or "off")
    return "metadata" if mode == "off" and options.data_file_raw else mode


def _new_image(options: BlockdevCreateOptionsQcow2) -> NewImage:
    """The options as the format's code takes them; not checked."""
    cluster_size = options.cluster_size
    return NewImage(
        size=options.size,
        version=2 if str(options.version) == "v2" else 3,
        cluster_size=creating.DEFAULT_CLUSTER_SIZE if cluster_size is None else cluster_size,
        refcount_bits=16 if options.refcount_bits is None else options.refcount_bits,
        backing_file=options.backing_file,
        backing_format=None if options.backing_fmt is None else str(options.backing_fmt),
        lazy_refcounts=bool(options.lazy_refcounts),
        compression=str(options.compression_type or "zlib"),
        extended_l2=bool(options.extended_l2),
        preallocation=_preallocation(options),
        data_file="" if options.data_file is not None else None,
        data_file_raw=bool(options.data_file_raw),
    )


class AmendJob(_ImageJob):
    """Changes the options of an open qcow2 image."""

    job_type = "amend"

    def __init__(
        self, job_id: str, graph: BlockGraph, node: BlockNode, options: BlockdevAmendOptionsQcow2
    ) -> None:
        super().__init__(job_id, graph)
        self._node = node
        self._changes = amending.Changes(
            version=None if options.version is None else (2 if str(options.version) == "v2" else 3),
            backing_file=options.backing_file,
            backing_format=None if options.backing_fmt is None else str(options.backing_fmt),
            lazy_refcounts=options.lazy_refcounts,
            refcount_bits=options.refcount_bits,
        )

    def nodes(self) -> Sequence[BlockNode]:
        return [self._node]

    async def work(self) -> None:
        async with self._graph.exclusive(), self._graph.drained([self._node]):
            driver = self._node.driver
            if self._graph.find(self._node.node_name) is not self._node or not isinstance(driver, Qcow2Driver):
                raise GenericError(f"Node '{self._node.node_name}' is gone")
            name = self._node.node_name
            try:
                await amending.amend(driver, self._changes)
            except OSError as error:
                raise GenericError(f"Node '{name}' could not be changed: {os_error_text(error)}") from error
            except Corruption as corruption:
                await driver.report(corruption, changing=True)
                raise GenericError(f"Node '{name}' could not be changed: {corruption}") from corruption
