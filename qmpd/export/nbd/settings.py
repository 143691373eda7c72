"""What an NBD export is told. Apart from what serves it, which is loaded when the first one is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BitmapReference:
    """A dirty bitmap to show to clients.

    :param node_name: where it is; None for the exported node and what it filters or is backed by.
    """

    name: str
    node_name: str | None = None


@dataclass(frozen=True, slots=True)
class NbdSettings:
    """What an NBD export is told besides `ExportSettings`.

    :param name: for clients; None for the node's name.
    :param description: a text for people.
    """

    name: str | None = None
    description: str | None = None
    bitmaps: Sequence[BitmapReference] = ()
    allocation_depth: bool = False
