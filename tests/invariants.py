"""What holds of a block graph at any time between two commands, whatever has been done to it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from qmpd.block.backend import BlockBackend
from qmpd.block.child import Child
from qmpd.block.graph import BlockGraph
from qmpd.block.node import BlockNode
from qmpd.jobs.job import Job
from qmpd.jobs.manager import JobManager

_JOB = re.compile(r"job '([^']+)'")


def check(graph: BlockGraph, jobs: JobManager) -> None:
    """Edges agree from both ends, there is no way in a circle, and every use and block has somebody behind it."""
    nodes = list(graph.nodes.values())
    alive = {job.job_id: job for job in jobs.jobs}
    for node in nodes:
        _check_edges(graph, node, alive)
        _check_permissions(node)
        _check_state(node, alive)
    _check_circles(nodes)


def check_at_rest(graph: BlockGraph, jobs: JobManager) -> None:
    """The same, and nothing is left of any job: nobody is drained, blocked, busy or frozen."""
    check(graph, jobs)
    assert not jobs.jobs
    for node in graph.nodes.values():
        assert node.quiesce_count == 0, f"{node} is drained"
        assert len(node.blockers) == 0 and not node.implicit, f"{node} is left of a job"
        for bitmap in node.bitmaps:
            assert bitmap.name is not None and not bitmap.busy, f"bitmap {bitmap.name} of {node}"


def check_files(graph: BlockGraph, place: Path) -> None:
    """Each open file below `place` is one that a node says it has open."""
    known = {os.path.realpath(path) for node in graph.nodes.values() for path in node.driver.host_paths()}
    assert open_files(place) <= known


def open_files(place: Path) -> set[str]:
    """The files below `place` that this process has open."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            continue  # the listing's own
    return {path for path in found if path.startswith(f"{place}/")}


def _check_edges(graph: BlockGraph, node: BlockNode, alive: dict[str, Job]) -> None:
    assert graph.nodes.get(node.node_name) is node
    assert node.monitor_owned or node.parents, f"{node} is used by nobody"
    for name, child in node.children.items():
        assert child.owner is node and child.name == name
        assert child in child.node.parents, f"{child} is not known below"
        assert graph.nodes.get(child.node.node_name) is child.node, f"{child} leads out of the graph"
    for edge in node.parents:
        assert edge.node is node
        _check_owner(graph, edge, alive)


def _check_owner(graph: BlockGraph, edge: Child, alive: dict[str, Job]) -> None:
    owner = edge.owner
    if isinstance(owner, BlockNode):
        assert owner.children.get(edge.name) is edge, f"{edge} is not known above"
        assert graph.nodes.get(owner.node_name) is owner
    elif isinstance(owner, BlockBackend):
        assert owner.root is edge
    else:
        assert owner in alive.values(), f"{edge} belongs to a job that is gone"
    assert not edge.frozen or alive, f"{edge} is frozen"


def _check_permissions(node: BlockNode) -> None:
    perm, shared = node.cumulative_perm, node.cumulative_shared
    for name, child in node.children.items():
        assert (child.perm, child.shared) == node.driver.child_permissions(name, perm, shared), f"{child}"
    for one in node.parents:
        for other in node.parents:
            assert one is other or not one.perm & ~other.shared, f"{one} and {other} are at odds"


def _check_state(node: BlockNode, alive: dict[str, Job]) -> None:
    for blocker in node.blockers._blockers:
        found = _JOB.search(blocker.reason)
        assert found is not None and found[1] in alive, f"{node}: {blocker.reason}"
    assert not node.implicit or alive, f"{node} was made for a job that is gone"
    if any(bitmap.busy for bitmap in node.bitmaps):
        assert alive, f"{node} has a busy bitmap"


def _check_circles(nodes: list[BlockNode]) -> None:
    done: set[BlockNode] = set()

    def visit(node: BlockNode, way: tuple[BlockNode, ...]) -> None:
        assert node not in way, f"{node} stands on itself"
        if node not in done:
            for child in node.children.values():
                visit(child.node, (*way, node))
            done.add(node)

    for node in nodes:
        visit(node, ())
