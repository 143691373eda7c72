"""Sockets in words, as QEMU spells them in `query-chardev`."""

from __future__ import annotations

import os
import socket

from qmpd.sockets import Address, FdAddress, InetAddress, UnixAddress

_SUN_PATH_SIZE = 108


def connection_name(sock: socket.socket, *, server: bool) -> str:
    """A connection, by both its ends.

    :param server: it was accepted, not made.
    """
    role = ",server=on" if server else ""
    here = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        path = os.fsdecode(here)
        return f"unix:{'' if path.startswith(chr(0)) else path}{role}"
    try:
        there = sock.getpeername()
    except OSError:  # it has gone just now
        there = ("", 0)
    return f"tcp:{_place(sock, here)}{role} <-> {_place(sock, there)}"


def listening_name(sock: socket.socket) -> str:
    """A socket that listens."""
    name = sock.getsockname()
    if sock.family != socket.AF_UNIX:
        return f"tcp:{name[0]}:{name[1]},server=on"
    path = os.fsdecode(name)
    if path.startswith("\0"):
        tight = "off" if len(name) == _SUN_PATH_SIZE else "on"
        bare = path[1:].rstrip("\0")
        return f"unix:{bare},abstract=on,tight={tight},server=on"
    return f"unix:{path},server=on"


def remote_name(address: Address) -> str:
    """An address to connect to."""
    match address:
        case UnixAddress(path, abstract, tight):
            return f"unix:{path}" + (f",abstract=on,tight={'on' if tight else 'off'}" if abstract else "")
        case InetAddress(host, port):
            return f"tcp:{host}:{port}"
        case FdAddress(fd):
            return f"fd:{fd}"


def _place(sock: socket.socket, name: tuple[object, ...]) -> str:
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"
