"""What people are told of an image, line by line, in the form of QEMU's tools. Sans-I/O."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_UNITS = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")

_ORDER = {
    name: place
    for place, name in enumerate(
        (
            "compat",
            "compression-type",
            "lazy-refcounts",
            "bitmaps",
            "refcount-bits",
            "data-file",
            "data-file-raw",
            "corrupt",
            "extended-l2",
            "flags",
            "name",
            "granularity",
        )
    )
}
"""The order in which QEMU tells of a qcow2 image; whatever else there is comes behind."""


def specific_information(details: Mapping[str, object]) -> str:
    """The lines about what only images of one format have; none where there is nothing.

    :param details: of an image, as `BlockDriver.image_details` gives them.
    """
    specific = details.get("format-specific")
    data = specific.get("data") if isinstance(specific, dict) else None
    if not isinstance(data, dict) or not data:
        return ""
    return "Format specific information:\n" + "".join(_tree(data, 1))


def _tree(value: Mapping[str, object] | list[object], depth: int) -> Iterator[str]:
    """A tree of values, one a line, four spaces a level; dashes of names are spaces."""
    for name, member in _members(value):
        start = "    " * depth + name.replace("-", " ") + ":"
        if isinstance(member, dict | list):
            yield start + "\n"
            yield from _tree(member, depth + 1)
        else:
            yield f"{start} {_scalar(member)}\n"


def _members(value: Mapping[str, object] | list[object]) -> Iterable[tuple[str, object]]:
    if isinstance(value, list):
        return ((f"[{index}]", member) for index, member in enumerate(value))
    return sorted(value.items(), key=lambda item: _ORDER.get(item[0], len(_ORDER)))


def _scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def rounded_size(size: int) -> str:
    """`4 MiB`, `196 KiB`, `1.5 GiB`: three digits."""
    unit = 0
    while size * 1024 >= 1000 << (10 * (unit + 1)) and unit < len(_UNITS) - 1:
        unit += 1
    return f"{size / (1 << (10 * unit)):.3g} {_UNITS[unit]}B"


def image_lines(info: Mapping[str, Any]) -> Iterator[str]:
    """What there is to tell of an image, without those below it.

    :param info: an `ImageInfo`.
    """
    yield f"image: {info['filename']}"
    yield f"file format: {info['format']}"
    yield f"virtual size: {rounded_size(info['virtual-size'])} ({info['virtual-size']} bytes)"
    actual = info.get("actual-size")
    yield f"disk size: {'unavailable' if actual is None else rounded_size(actual)}"
    if info.get("encrypted"):
        yield "encrypted: yes"
    if "cluster-size" in info:
        yield f"cluster_size: {info['cluster-size']}"
    if info.get("dirty-flag"):
        yield "cleanly shut down: no"
    yield from _backing_lines(info)
    if info.get("snapshots"):
        yield "Snapshot list:"
        yield SNAPSHOT_HEADER
        yield from (snapshot_line(snapshot) for snapshot in info["snapshots"])
    yield from specific_information(info).splitlines()


def _backing_lines(info: Mapping[str, Any]) -> Iterator[str]:
    name = info.get("backing-filename")
    if name is None:
        return
    full = info.get("full-backing-filename", name)
    yield f"backing file: {name}" if full == name else f"backing file: {name} (actual path: {full})"
    if "backing-filename-format" in info:
        yield f"backing file format: {info['backing-filename-format']}"


SNAPSHOT_HEADER = f"{'ID':<10}{'TAG':<17}{'VM SIZE':>8}{'DATE':>20}{'VM CLOCK':>13}{'ICOUNT':>11}"


def snapshot_line(snapshot: Mapping[str, Any], *, with_id: bool = True) -> str:
    """A line of a table of snapshots.

    :param snapshot: a `SnapshotInfo`.
    :param with_id: tell the id, which means nothing where a snapshot is in several images.
    """
    identity = snapshot["id"] if with_id else "--"
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(snapshot["date-sec"]))
    minutes, seconds = divmod(snapshot["vm-clock-sec"], 60)
    clock = f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}.{snapshot['vm-clock-nsec'] // 1000000:03d}"
    size = rounded_size(snapshot["vm-state-size"])
    count = snapshot.get("icount", "")
    return f"{identity:<10}{snapshot['name']:<17}{size:>8}{date:>20}{clock:>13}{count:>11}"
