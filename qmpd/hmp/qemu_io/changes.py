"""truncate and reopen: what changes a disk as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.block.permissions import Perm
from qmpd.block.resizing import resize
from qmpd.errors import GenericError
from qmpd.hmp.qemu_io.command import Io, IoCommand
from qmpd.hmp.qemu_io.pieces import Filling, store
from qmpd.hmp.qemu_io.transfers import told_as
from qmpd.hmp.qemu_io.words import BadCommand, BadUsage, Words, read_size

if TYPE_CHECKING:
    from qmpd.api.models import BlockdevOptions
    from qmpd.block.node import BlockNode

_CACHE_MODES = {
    "none": {"direct": True, "no-flush": False},
    "directsync": {"direct": True, "no-flush": False},
    "off": {"direct": True, "no-flush": False},
    "unsafe": {"direct": False, "no-flush": True},
    "writeback": {"direct": False, "no-flush": False},
    "writethrough": {"direct": False, "no-flush": False},
}


_PREALLOCATION = ("off", "metadata", "falloc", "full")


async def truncate(io: Io, words: Words) -> None:
    """Change the length of the disk."""
    if len(words.operands) != 1:
        raise BadUsage("it takes a length")
    size = read_size(words.operands[0])
    mode = words.options.get("m", "off")
    if mode not in _PREALLOCATION:
        raise BadCommand(f"'{mode}' is no way to preallocate; there are {', '.join(_PREALLOCATION)}")
    if mode == "metadata" and not io.target.node.driver.cluster_size:
        raise BadCommand("-m metadata is for formats that have some; 'falloc' and 'full' take space, too")
    graph = io.target.graph
    async with graph.exclusive():
        node = io.target.node
        before = node.length
        await resize(graph, node, size, Perm.WRITE | Perm.RESIZE)
    if mode != "off" and size > before:
        async with told_as("truncate"), io.target.user(Perm.WRITE) as user:
            await store(user, before, size - before, Filling(b"\0", size - before), fua=False)


async def reopen(io: Io, words: Words) -> None:
    """Let other options hold for the node."""
    from qmpd.block.reopen import reopen
    from qmpd.block.reopen_plan import plan

    if words.operands:
        raise BadUsage("it takes nothing but options")
    if words.has("r") and words.has("w"):
        raise BadCommand("-r and -w contradict each other; give one of them")
    graph = io.target.graph
    async with graph.exclusive():
        definition = _changed(io.target.node, words)
        await reopen(graph, plan(graph, [definition]))


def _changed(node: BlockNode, words: Words) -> BlockdevOptions:
    """The options that the node was opened with, and those that are to be others."""
    from qmpd.api.tables import COMMANDS

    if node.definition is None:
        raise GenericError(f"Node '{node.node_name}' was made by the daemon itself, and cannot be reopened")
    options: dict[str, Any] = node.definition.model_dump(mode="json", by_alias=True, exclude_unset=True)
    given = _given(words, node.driver.format_name)
    if words.has("r") or words.has("w"):
        _exclude(given, "read-only", "-r and -w say")
        given["read-only"] = words.has("r")
    if words.has("c"):
        _exclude(given, "cache", "-c says")
        given["cache"] = _cache_mode(words.options["c"])
    options.update(given)
    options["node-name"] = node.node_name
    try:
        definition: BlockdevOptions | Any = COMMANDS["blockdev-add"].validate(options)
    except ValueError as error:
        from qmpd.api.keyval_types import TYPES
        from qmpd.qapi.explain import explain

        raise GenericError(explain(error, TYPES)) from error
    return definition


def _given(words: Words, driver: str) -> dict[str, Any]:
    """The options of `-o`, as the schema's types."""
    from qmpd.api.keyval_types import TYPES
    from qmpd.qapi import keyval

    text = words.options.get("o")
    if text is None:
        return {}
    try:
        tree = keyval.parse(text)
        converted: Any = keyval.convert({"driver": driver, **tree}, "BlockdevOptions", TYPES)
    except keyval.KeyvalError as error:
        raise BadCommand(str(error)) from None
    return {name: converted[name] for name in tree}


def _exclude(given: dict[str, Any], option: str, who: str) -> None:
    if option in given:
        raise BadCommand(f"'{option}' is what {who}, too; give it in one way")


def _cache_mode(name: str) -> dict[str, bool]:
    mode = _CACHE_MODES.get(name)
    if mode is None:
        raise BadCommand(f"'{name}' is no cache mode; there are {', '.join(_CACHE_MODES)}")
    return mode


CHANGES = (
    IoCommand(
        "truncate",
        "[-m prealloc_mode] len",
        "changes the length of the disk",
        truncate,
        letters="m:",
        least=1,
        most=3,
        alias="t",
        detail=(
            "-m: off (the default), or what is added takes its space at once: metadata, falloc, full",
            "All but off write zeroes.",
        ),
    ),
    IoCommand(
        "reopen",
        "[(-r|-w)] [-c cache] [-o options]",
        "lets other options hold for the disk",
        reopen,
        letters="c:o:rw",
        most=None,
        detail=(
            "-r, -w: read-only, or not",
            f"-c: a cache mode: {', '.join(_CACHE_MODES)}",
            "-o: options of the node's driver, key=value,...",
        ),
    ),
)
