"""From a `BlockdevOptions` model to an open node: which driver, which options, what is inherited.

A child that is defined in place takes over caching, read-only mode and lock sharing from its parent unless its own
definition says otherwise, as in QEMU.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from qmpd.block.driver import BlockDriver
from qmpd.block.drivers import make_driver
from qmpd.block.graph import BlockGraph
from qmpd.block.node import BlockNode, NodeOptions
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.api.models import BlockdevOptions


def _either(value: Any, inherited: bool) -> bool:
    return inherited if value is None else bool(value)


def node_options(options: BlockdevOptions, above: NodeOptions | None = None, *, protocol: bool = False) -> NodeOptions:
    """The options that all drivers share, with what a child defined in place inherits from `above`.

    :raises GenericError: they contradict each other.
    """
    base = above or NodeOptions()
    cache = options.cache
    active = _either(options.active, base.active)
    read_only = _either(options.read_only, base.read_only) or not active
    detect = str(options.detect_zeroes or "off")
    unmap = str(options.discard) == "unmap" if options.discard is not None else protocol
    force_share = _either(options.force_share, base.force_share)
    if detect == "unmap" and not unmap:
        raise GenericError("detect-zeroes=unmap has an effect only together with discard=unmap; set both")
    if force_share and not read_only:
        raise GenericError("force-share=on is possible only together with read-only=on; set both")
    return NodeOptions(
        read_only=read_only,
        auto_read_only=_either(options.auto_read_only, base.auto_read_only),
        cache_direct=_either(cache.direct if cache else None, base.cache_direct),
        cache_no_flush=_either(cache.no_flush if cache else None, base.cache_no_flush),
        discard_unmap=unmap,
        detect_zeroes=detect,
        force_share=force_share,
        active=active,
        chain=base.chain,
    )


@asynccontextmanager
async def reached(graph: BlockGraph, options: BlockdevOptions) -> AsyncIterator[BlockDriver]:
    """The driver of a node to be opened, which has got from outside what may take long.

    Call before `graph.exclusive()`: a server that is slow, or silent, holds up only who wants to use it.

    :raises GenericError: the node has no name, or a taken one, or it cannot be opened.
    """
    graph.check_new_name(_root_name(options))
    driver = make_driver(str(options.driver))
    try:
        await driver.reach(options, graph)
        yield driver
    finally:
        await driver.let_go()


async def open_blockdev(
    graph: BlockGraph, options: BlockdevOptions, driver: BlockDriver | None = None
) -> BlockNode:
    """Open a node that lives until it is deleted by name. Call within `graph.exclusive()`.

    :param driver: see `reached`.
    :raises GenericError: it cannot be opened, or has no name.
    """
    return await graph.open_node(
        driver or make_driver(str(options.driver)),
        options,
        node_options(options),
        _root_name(options),
        monitor_owned=True,
    )


def _root_name(options: BlockdevOptions) -> str:
    if options.node_name is None:
        raise GenericError("'node-name' is missing: a node at the root of a disk has to have a name")
    return options.node_name


async def open_inline(
    graph: BlockGraph,
    options: BlockdevOptions,
    above: NodeOptions,
    *,
    protocol: bool,
    remembered_name: str | None = None,
) -> BlockNode:
    """Open a child that is defined in place; it lives as long as it is used.

    :param remembered_name: the name that was generated for it in an earlier run.
    :raises GenericError: it cannot be opened.
    """
    inherited = node_options(options, above, protocol=protocol)
    return await graph.open_node(
        make_driver(str(options.driver)), options, inherited, options.node_name, remembered_name=remembered_name
    )
