"""What the query commands tell about nodes, and the encoded answers that are kept.

`query-named-block-nodes` is asked often and changes rarely: each node's answer is kept as JSON text together with
what it was made from, and made anew only when that has changed.
"""

from __future__ import annotations

from typing import Any

from qmpd.block.accounting import BackendStats, LatencyHistogram
from qmpd.block.backend import BlockBackend
from qmpd.block.chain import below, chain, skip_implicit_filters
from qmpd.block.child import Child
from qmpd.block.graph import BlockGraph
from qmpd.block.node import BlockNode
from qmpd.block.permissions import perm_list
from qmpd.wire.encoding import encode

JSONObject = dict[str, Any]


def image_info(node: BlockNode, *, flat: bool = False) -> JSONObject:
    """`ImageInfo` of a node, with those of the nodes below it in its chain unless `flat`."""
    driver = node.driver
    info: JSONObject = {
        "filename": driver.filename(),
        "format": driver.format_name,
        "virtual-size": node.length,
    }
    actual = driver.actual_size()
    if actual is not None:
        info["actual-size"] = actual
    info.update(driver.image_details())
    under = below(node)
    if under is not None and not flat:
        info["backing-image"] = image_info(under)
    return info


def _chain(node: BlockNode) -> list[BlockNode]:
    """What is below `node` in its chain: backing images, and what filters stand on."""
    return list(chain(node))[1:]


def device_info(node: BlockNode, *, flat: bool = False) -> JSONObject:
    """`BlockDeviceInfo` of a node."""
    options = node.options
    info: JSONObject = {
        "file": node.driver.filename(),
        "node-name": node.node_name,
        "active": options.active,
        "ro": node.read_only,
        "drv": node.driver.format_name,
        "backing_file_depth": 0 if flat else len(_chain(node)),
        "encrypted": False,
        "detect_zeroes": options.detect_zeroes,
        "bps": 0,
        "bps_rd": 0,
        "bps_wr": 0,
        "iops": 0,
        "iops_rd": 0,
        "iops_wr": 0,
        "image": image_info(node, flat=flat),
        "cache": {"writeback": True, "direct": options.cache_direct, "no-flush": options.cache_no_flush},
        "write_threshold": node.write_threshold,
    }
    backing = node.driver.backing_name()
    if backing is not None:
        info["backing_file"] = backing
    bitmaps = node.bitmaps.info()
    if bitmaps:
        info["dirty-bitmaps"] = bitmaps
    return info


class DeviceInfoCache:
    """Encoded `BlockDeviceInfo` of each node, kept as long as it is true."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, bool], tuple[tuple[object, ...], bytes]] = {}

    def encoded(self, node: BlockNode, *, flat: bool = False) -> bytes:
        """The JSON text for `node`."""
        key = _state(node)
        if not flat:
            for under in _chain(node):
                key += _state(under)
        kept = self._kept.get((node.node_id, flat))
        if kept is not None and kept[0] == key:
            return kept[1]
        text = encode(device_info(node, flat=flat))
        self._kept[node.node_id, flat] = (key, text)
        return text

    def all_nodes(self, graph: BlockGraph, *, flat: bool = False) -> bytes:
        """The JSON text of the list of all nodes, newest first."""
        nodes = graph.nodes
        if len(self._kept) > 4 * len(nodes) + 64:
            alive = {node.node_id for node in nodes.values()}
            self._kept = {key: value for key, value in self._kept.items() if key[0] in alive}
        return b"[" + b", ".join(self.encoded(node, flat=flat) for node in reversed(nodes.values())) + b"]"


def _state(node: BlockNode) -> tuple[object, ...]:
    """What the answer for a node was made from."""
    driver = node.driver
    return (node.node_id, node.revision, driver.actual_size(), driver.filename(), node.write_threshold)


def device_stats(stats: BackendStats, wr_highest_offset: int) -> JSONObject:
    """`BlockDeviceStats`; times in nanoseconds."""
    info: JSONObject = {"wr_highest_offset": wr_highest_offset}
    for prefix, one in (("rd", stats.read), ("wr", stats.write), ("unmap", stats.unmap), ("flush", stats.flush)):
        info[f"{prefix}_operations"] = one.operations
        info[f"{prefix}_total_time_ns"] = one.time_ns
        info[f"failed_{prefix}_operations"] = one.failed
        info[f"invalid_{prefix}_operations"] = one.invalid
        if prefix != "flush":
            info[f"{prefix}_bytes"] = one.bytes
            info[f"{prefix}_merged"] = 0
        if one.latencies is not None:
            info[f"{prefix}_latency_histogram"] = {
                "boundaries": list(one.latencies.boundaries),
                "bins": list(one.latencies.bins),
            }
    idle = stats.idle_ns
    if idle is not None:
        info["idle_time_ns"] = idle
    info.update({"account_invalid": False, "account_failed": False, "timed_stats": []})
    return info


def _node_totals(node: BlockNode) -> BackendStats:
    total = BackendStats()
    # A drive and its guests count together.
    counted = (child.owner.stats for child in node.parents if isinstance(child.owner, BlockBackend))
    users = list({id(stats): stats for stats in counted}.values())
    for stats in users:
        total.add(stats)
    total.read.latencies = _all_latencies([stats.read.latencies for stats in users])
    total.write.latencies = _all_latencies([stats.write.latencies for stats in users])
    total.flush.latencies = _all_latencies([stats.flush.latencies for stats in users])
    return total


def _all_latencies(histograms: list[LatencyHistogram | None]) -> LatencyHistogram | None:
    """One histogram for several users; None when there is none, or when their limits differ."""
    kept = [histogram for histogram in histograms if histogram is not None]
    total = kept[0] if kept else None
    for histogram in kept[1:]:
        total = histogram.merged(total)
    return total


def node_stats(node: BlockNode) -> JSONObject:
    """`BlockStats` of a node: what all its present users did through it, and the same of the nodes below."""
    info = _own_stats(node)
    parent = _data_child(node)
    if parent is not None:
        info["parent"] = node_stats(parent)
    return info


def chain_stats(node: BlockNode) -> JSONObject:
    """`BlockStats` of a node with those of its backing files; filters that jobs have put in are left out."""
    node = skip_implicit_filters(node)
    info = _own_stats(node)
    parent = _data_child(node)
    if parent is not None:
        info["parent"] = chain_stats(parent)
    under = below(node)
    if under is not None:
        info["backing"] = chain_stats(under)
    return info


def _own_stats(node: BlockNode) -> JSONObject:
    info: JSONObject = {
        "node-name": node.node_name,
        "stats": device_stats(_node_totals(node), node.wr_highest_offset),
    }
    specific = node.driver.driver_stats()
    if specific is not None:
        info["driver-specific"] = dict(specific)
    return info


def _data_child(node: BlockNode) -> BlockNode | None:
    """The node in which `node` stores its data: a file for it if there is one, else what it stands on."""
    child = node.children.get("data-file")
    if child is None and node.driver.main_child is not None:
        child = node.children.get(node.driver.main_child)
    return None if child is None else child.node


def backend_stats(backend: BlockBackend, qdev: str | None = None) -> JSONObject:
    """`BlockStats` of a device or of another lasting user of a disk, which `qdev` tells."""
    node = backend.root.node if backend.root is not None else None
    info = chain_stats(node) if node is not None else {}
    info["device"] = backend.name
    if qdev is not None:
        info["qdev"] = qdev
    info["stats"] = device_stats(backend.stats, node.wr_highest_offset if node is not None else 0)
    return info


def graph_info(graph: BlockGraph) -> JSONObject:
    """`XDbgBlockGraph`: all nodes, the newest first, and users with the edges between them."""
    nodes: list[JSONObject] = []
    edges: list[JSONObject] = []
    numbers: dict[int, int] = {}

    def number(thing: object) -> int:
        return numbers.setdefault(id(thing), len(numbers) + 1)

    nodes.extend(
        {"id": number(node), "type": "block-driver", "name": node.node_name} for node in reversed(graph.nodes.values())
    )
    for node in reversed(graph.nodes.values()):
        for child in node.parents:
            if isinstance(child.owner, BlockNode) and graph.nodes.get(child.owner.node_name) is not child.owner:
                continue  # it is being opened or closed at this moment, and listed nowhere
            if id(child.owner) not in numbers:
                nodes.append({"id": number(child.owner), **_user(child)})
            edges.append(
                {
                    "parent": number(child.owner),
                    "child": number(node),
                    "name": child.name,
                    "perm": perm_list(child.perm),
                    "shared-perm": perm_list(child.shared),
                }
            )
    return {"nodes": nodes, "edges": edges}


def _user(child: Child) -> JSONObject:
    if isinstance(child.owner, BlockBackend):
        return {"type": "block-backend", "name": child.owner.label}
    return {"type": "block-job", "name": getattr(child.owner, "job_id", child.owner.describe())}
