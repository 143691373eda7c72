"""Questions about the daemon and its disks: what follows `info`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qmpd.hmp.command import Human, HumanCommand
from qmpd.hmp.line import Arguments, Kind, Parameter
from qmpd.hmp.machine_info import MACHINE_INFO

_LIMITS = ("bps", "bps_rd", "bps_wr", "bps_max", "bps_rd_max", "bps_wr_max")
_MORE_LIMITS = ("iops", "iops_rd", "iops_wr", "iops_max", "iops_rd_max", "iops_wr_max", "iops_size")
_COUNTERS = (
    "rd_bytes",
    "wr_bytes",
    "rd_operations",
    "wr_operations",
    "flush_operations",
    "wr_total_time_ns",
    "rd_total_time_ns",
    "flush_total_time_ns",
    "rd_merged",
    "wr_merged",
    "idle_time_ns",
)


async def block(human: Human, arguments: Arguments) -> None:
    """Tell of drives; of nodes if asked to, or if the name is that of a node."""
    name = arguments.maybe("device")
    verbose = arguments.flag("verbose")
    if not arguments.flag("nodes"):
        drives = await human.execute("query-block", {})
        found = _say_named(human, name, [(drive["device"], _drive_lines(drive, verbose)) for drive in drives])
        if found or name is None:
            return
    nodes = await human.execute("query-named-block-nodes", {})
    _say_named(human, name, [(node["node-name"], _node_lines(node, verbose)) for node in nodes])


def _say_named(human: Human, wanted: str | None, entries: list[tuple[str, Iterator[str]]]) -> bool:
    """Tell of all entries, or those of one name; an empty line before each but the first. Whether there was any."""
    found = False
    for index, (name, lines) in enumerate(entries):
        if wanted is not None and name != wanted:
            continue
        found = True
        if index:
            human.say()
        for line in lines:
            human.say(line)
    return found


def _drive_lines(drive: Mapping[str, Any], verbose: bool) -> Iterator[str]:
    medium = drive.get("inserted")
    node = None if medium is None else medium.get("node-name")
    name = drive["device"] or node or drive.get("qdev", "<anonymous>")
    yield f"{name} ({node}){_what(medium)}" if drive["device"] and node else f"{name}{_what(medium)}"
    if "qdev" in drive:
        yield f"    Attached to:      {drive['qdev']}"
    if drive.get("io-status", "ok") != "ok":
        yield f"    I/O status:       {drive['io-status']}"
    if drive["removable"]:
        locked = "" if drive["locked"] else "not "
        tray = "open" if drive.get("tray_open") else "closed"
        yield f"    Removable device: {locked}locked, tray {tray}"
    if medium is not None:
        yield from _medium_lines(medium, verbose)


def _node_lines(node: Mapping[str, Any], verbose: bool) -> Iterator[str]:
    yield f"{node['node-name']}{_what(node)}"
    yield from _medium_lines(node, verbose)


def _what(medium: Mapping[str, Any] | None) -> str:
    if medium is None:
        return ": [not inserted]"
    return f": {medium['file']} ({medium['drv']}{', read-only' if medium['ro'] else ''})"


def _medium_lines(medium: Mapping[str, Any], verbose: bool) -> Iterator[str]:
    cache = medium["cache"]
    mode = "writeback" if cache["writeback"] else "writethrough"
    direct = ", direct" if cache["direct"] else ""
    yield f"    Cache mode:       {mode}{direct}{', ignore flushes' if cache['no-flush'] else ''}"
    if "backing_file" in medium:
        yield f"    Backing file:     {medium['backing_file']} (chain depth: {medium['backing_file_depth']})"
    if medium["detect_zeroes"] != "off":
        yield f"    Detect zeroes:    {medium['detect_zeroes']}"
    if any(medium.get(name) for name in ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")):
        limits = [f"{name}={medium.get(name, 0)}" for name in (*_LIMITS, *_MORE_LIMITS)]
        yield f"    I/O throttling:   {' '.join(limits)} group={medium.get('group', '')}"
    if verbose:
        yield from _images(medium["image"])


def _images(image: Mapping[str, Any] | None) -> Iterator[str]:
    from qmpd.block.image_text import image_lines

    yield ""
    yield "Images:"
    while image is not None:
        yield from image_lines(image)
        image = image.get("backing-image")


async def block_jobs(human: Human, arguments: Arguments) -> None:
    """Tell of jobs on disks."""
    jobs = await human.execute("query-block-jobs", {})
    if not jobs:
        human.say("No active jobs")
    for job in jobs:
        progress = f"Completed {job['offset']} of {job['len']} bytes, speed limit {job['speed']} bytes/s"
        if job["type"] == "stream":
            human.say(f"Streaming device {job['device']}: {progress}")
        else:
            human.say(f"Type {job['type']}, device {job['device']}: {progress}")


async def blockstats(human: Human, arguments: Arguments) -> None:
    """Tell what was done to drives."""
    for entry in await human.execute("query-blockstats", {}):
        if entry.get("device"):
            stats = entry["stats"]
            human.say(f"{entry['device']}: " + " ".join(f"{name}={stats.get(name, 0)}" for name in _COUNTERS))


async def snapshots(human: Human, arguments: Arguments) -> None:
    """Tell of snapshots inside the images of writable disks: those that all disks have, then the others."""
    from qmpd.block.image_text import SNAPSHOT_HEADER, snapshot_line
    from qmpd.hmp.internal_snapshots import disks_with_snapshots

    disks = disks_with_snapshots(human.graph)
    if not disks:
        human.say("no disk here can have snapshots inside its image")
        return
    names = [{snapshot["name"] for snapshot in found} for _, found in disks]
    everywhere = set.intersection(*names)
    if not any(names):
        human.say("There is no snapshot available.")
        return
    if everywhere:
        human.say("List of snapshots present on all disks:")
        human.say(SNAPSHOT_HEADER)
        for snapshot in disks[0][1]:
            if snapshot["name"] in everywhere:
                human.say(snapshot_line(snapshot, with_id=False))
    else:
        human.say("None")
    for name, found in disks:
        partial = [snapshot for snapshot in found if snapshot["name"] not in everywhere]
        if partial:
            human.say(f"\nList of partial (non-loadable) snapshots on '{name}':")
            human.say(SNAPSHOT_HEADER)
            for snapshot in partial:
                human.say(snapshot_line(snapshot))


async def chardev(human: Human, arguments: Arguments) -> None:
    """Tell of character devices."""
    for device in await human.execute("query-chardev", {}):
        human.say(f"{device['label']}: filename={device['filename']}")


async def name(human: Human, arguments: Arguments) -> None:
    """Tell the name of the daemon, if it has one."""
    answer = await human.execute("query-name", {})
    if "name" in answer:
        human.say(answer["name"])


async def version(human: Human, arguments: Arguments) -> None:
    """Tell the version."""
    answer = await human.execute("query-version", {})
    number = answer["qemu"]
    human.say(f"{number['major']}.{number['minor']}.{number['micro']}{answer['package']}")


async def status(human: Human, arguments: Arguments) -> None:
    """Tell whether guests run."""
    answer = await human.execute("query-status", {})
    state = "running" if answer["running"] else "paused"
    more = "" if answer["status"] in ("running", "paused") else f" ({answer['status']})"
    human.say(f"VM status: {state}{more}")


INFO: tuple[HumanCommand, ...] = (
    *MACHINE_INFO,
    HumanCommand(
        ("block",),
        "[-n] [-v] [device]",
        "tells of drives, or one of them (-n: of nodes; -v: of their images, too)",
        block,
        (
            Parameter("nodes", Kind.FLAG, letter="n"),
            Parameter("verbose", Kind.FLAG, letter="v"),
            Parameter("device", Kind.DEVICE, optional=True),
        ),
    ),
    HumanCommand(("block-jobs",), "", "tells of jobs on disks", block_jobs),
    HumanCommand(("blockstats",), "", "tells what was done to drives", blockstats),
    HumanCommand(("chardev",), "", "tells of character devices", chardev),
    HumanCommand(("name",), "", "tells the name of the daemon", name),
    HumanCommand(("snapshots",), "", "tells of snapshots inside images", snapshots),
    HumanCommand(("status",), "", "tells whether guests run", status),
    HumanCommand(("version",), "", "tells the version", version),
)
