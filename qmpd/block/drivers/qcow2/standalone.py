"""Checking an image file without a daemon: a block graph of its own, for as long as it takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qmpd.block.drivers.qcow2 import checking
from qmpd.block.drivers.qcow2.checking import Repair, Report
from qmpd.block.drivers.qcow2.driver import Qcow2Driver
from qmpd.block.drivers.qcow2.refcounts import Corruption
from qmpd.block.filenames import validate
from qmpd.block.graph import BlockGraph
from qmpd.block.iopool import IOPool
from qmpd.block.opening import node_options
from qmpd.errors import GenericError, os_error_text


class _NoEvents:
    def emit(self, name: str, data: Mapping[str, object] | None = None) -> None:
        """Nobody listens."""


async def check_file(path: Path, repair: Repair) -> Report:
    """Check the qcow2 image `path`, and repair what was asked for; it is locked meanwhile.

    What was repaired is what a second look does not find any more: mending one thing may mend another, or uncover it.

    :raises GenericError: it cannot be opened, somebody uses it, or reading or writing failed.
    """
    report = await _check_file(path, repair)
    if report.leaks_fixed or report.corruptions_fixed:
        left = await _check_file(path, Repair.NOTHING)
        report.leaks_fixed = max(report.leaks, left.leaks) - left.leaks
        report.corruptions_fixed = max(report.corruptions, left.corruptions) - left.corruptions
        report.leaks, report.corruptions = left.leaks + report.leaks_fixed, left.corruptions + report.corruptions_fixed
        report.image_end = left.image_end
    return report


async def _check_file(path: Path, repair: Repair) -> Report:
    pool = IOPool(2)
    graph = BlockGraph(pool, _NoEvents())
    read_only = repair is Repair.NOTHING
    file = {"driver": "file", "filename": str(path)}
    options = validate({"driver": "qcow2", "backing": None, "read-only": read_only, "file": file}, "the image")
    driver = Qcow2Driver()
    driver.checking = True
    try:
        async with graph.exclusive():
            node = await graph.open_node(driver, options, node_options(options), None)
            try:
                return await checking.check(driver, repair)
            finally:
                graph.discard_if_unused(node)
    except OSError as error:
        raise GenericError(f"Image '{path}' could not be checked: {os_error_text(error)}") from error
    except Corruption as corruption:
        raise GenericError(f"Image '{path}' could not be repaired: {corruption}") from corruption
    finally:
        await graph.close_all()
        await pool.close()
