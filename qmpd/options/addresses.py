"""Socket addresses as options spell them."""

from __future__ import annotations

from typing import Any

from qmpd.qapi.values import Values
from qmpd.sockets import Address, FdAddress, InetAddress, UnixAddress


def read_address(values: Values) -> Address:
    """The address of a socket that the parameters name."""
    kinds = [key for key in ("path", "fd", "host") if values.has(key)]
    if len(kinds) > 1:
        raise ValueError(f"a socket has one of 'path', 'fd' and 'host', not {' and '.join(map(repr, kinds))}")
    if kinds == ["path"]:
        return UnixAddress(values.text("path"), values.flag("abstract", False), values.flag("tight", True))
    if kinds == ["fd"]:
        return FdAddress(values.number("fd", 0))
    if not values.has("port"):
        raise ValueError("a socket needs one of 'path', 'fd', or 'host' and 'port'")
    return InetAddress(
        values.text("host", ""),
        values.text("port"),
        values.number("to", 0),
        values.maybe_flag("ipv4"),
        values.maybe_flag("ipv6"),
    )


def legacy_address(arguments: dict[str, Any]) -> dict[str, Any]:
    """The option's flat address in the form of nbd-server-start, which has its members below `data`."""
    address = arguments.get("addr")
    if not isinstance(address, dict) or "type" not in address:
        raise ValueError("parameter 'addr.type' is missing; it must be 'inet' or 'unix'")
    members = {key: value for key, value in address.items() if key != "type"}
    return {**arguments, "addr": {"type": address["type"], "data": members}}
