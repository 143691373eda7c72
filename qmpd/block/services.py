"""The parts of the block layer that whoever builds jobs needs, in one bundle."""

from __future__ import annotations

from dataclasses import dataclass

from qmpd.block.graph import BlockGraph
from qmpd.block.iopool import IOPool
from qmpd.events import EventSink


@dataclass(frozen=True, slots=True)
class BlockServices:
    """Handed to transaction actions and commands by the daemon."""

    graph: BlockGraph
    pool: IOPool
    events: EventSink
