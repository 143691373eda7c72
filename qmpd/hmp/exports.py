"""The NBD server and its exports."""

from __future__ import annotations

from typing import Any

from qmpd.errors import GenericError, QMPError
from qmpd.hmp.command import Human, HumanCommand
from qmpd.hmp.disks import DEVICE
from qmpd.hmp.line import Arguments, Kind, Parameter


async def start(human: Human, arguments: Arguments) -> None:
    """Start the server, and export all drives if asked to."""
    writable, everything = arguments.flag("writable"), arguments.flag("all")
    if writable and not everything:
        raise GenericError("-w is about the exports of -a; without -a there are none yet")
    await human.execute("nbd-server-start", {"addr": _address(arguments.text("address"))})
    if not everything:
        return
    try:
        for drive in await human.execute("query-block", {}):
            if "inserted" in drive and drive["device"]:
                await human.execute("nbd-server-add", {"device": drive["device"], "writable": writable})
    except QMPError:
        await human.execute("nbd-server-stop", {})
        raise


def _address(text: str) -> dict[str, Any]:
    """Where to listen: `unix:PATH`, or `HOST:PORT`."""
    if text.startswith("unix:"):
        return {"type": "unix", "data": {"path": text.removeprefix("unix:")}}
    host, colon, port = text.rpartition(":")
    if not colon:
        raise GenericError(f"'{text}' is no address; it has to be unix:PATH or HOST:PORT")
    return {"type": "inet", "data": {"host": host.removeprefix("[").removesuffix("]"), "port": port}}


async def add(human: Human, arguments: Arguments) -> None:
    """Export a disk."""
    export: dict[str, Any] = {"device": arguments.text("device"), "writable": arguments.flag("writable")}
    name = arguments.maybe("name")
    await human.execute("nbd-server-add", export if name is None else {**export, "name": name})


async def remove(human: Human, arguments: Arguments) -> None:
    """End an export."""
    mode = "hard" if arguments.flag("force") else "safe"
    await human.execute("nbd-server-remove", {"name": arguments.text("name"), "mode": mode})


async def stop(human: Human, arguments: Arguments) -> None:
    """Stop the server."""
    await human.execute("nbd-server-stop", {})


_WRITABLE = Parameter("writable", Kind.FLAG, letter="w")

EXPORTS = (
    HumanCommand(
        ("nbd_server_start",),
        "[-a] [-w] unix:path|host:port",
        "starts the NBD server (-a: and exports all drives; -w: writable)",
        start,
        (Parameter("all", Kind.FLAG, letter="a"), _WRITABLE, Parameter("address", Kind.TEXT)),
    ),
    HumanCommand(
        ("nbd_server_add",),
        "[-w] device [name]",
        "exports a disk (-w: writable)",
        add,
        (_WRITABLE, DEVICE, Parameter("name", Kind.TEXT, optional=True)),
    ),
    HumanCommand(
        ("nbd_server_remove",),
        "[-f] name",
        "ends an export (-f: with clients connected)",
        remove,
        (Parameter("force", Kind.FLAG, letter="f"), Parameter("name", Kind.TEXT)),
    ),
    HumanCommand(("nbd_server_stop",), "", "stops the NBD server", stop),
)
