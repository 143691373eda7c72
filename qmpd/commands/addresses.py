"""Socket addresses as commands take them, made into addresses to bind or to connect to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.errors import GenericError
from qmpd.sockets import Address, FdAddress, InetAddress, UnixAddress

if TYPE_CHECKING:
    from qmpd.api.models import InetSocketAddress, SocketAddressLegacy, UnixSocketAddress


def socket_address(address: SocketAddressLegacy, member: str = "addr") -> Address:
    """An address in the older spelling.

    :param member: where it stands, for messages.
    :raises GenericError: a kind of address, or an option of one, that there is not.
    """
    from qmpd.api.models import SocketAddressLegacyFd, SocketAddressLegacyInet, SocketAddressLegacyUnix

    if isinstance(address, SocketAddressLegacyUnix):
        return _unix_address(address.data)
    if isinstance(address, SocketAddressLegacyInet):
        return _inet_address(address.data, member)
    if isinstance(address, SocketAddressLegacyFd):
        return FdAddress.from_text(address.data.str, f"{member}.data.str")
    raise GenericError(f"'{member}.type' is 'vsock', which is not available; use 'unix' or 'inet'")


def _unix_address(data: UnixSocketAddress) -> UnixAddress:
    return UnixAddress(data.path, bool(data.abstract), data.tight is not False)


def _inet_address(data: InetSocketAddress, member: str) -> InetAddress:
    if data.keep_alive:
        raise GenericError(f"'{member}.data.keep-alive' is not available here; leave it out")
    if data.mptcp:
        raise GenericError(f"'{member}.data.mptcp' is not available here; leave it out")
    if data.numeric and not data.port.isdecimal():
        raise GenericError(f"'{member}.data.port' is '{data.port}'; with 'numeric' it must be a number")
    return InetAddress(data.host, data.port, data.to or 0, data.ipv4, data.ipv6)
