"""All character devices of a daemon, by label: made, asked for, given to users, removed."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from qmpd.chardev.base import Chardev, Spawn
from qmpd.chardev.kinds import make_chardev
from qmpd.chardev.specs import ChardevSpec, SocketSpec, StdioSpec, UdpSpec
from qmpd.errors import GenericError, os_error_text


@dataclass(frozen=True, slots=True)
class ChardevDescription:
    """What there is to say about a device (the schema's `ChardevInfo`)."""

    label: str
    filename: str
    in_use: bool


class Chardevs:
    """The devices.

    :param spawn: runs what devices do in the background.
    """

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._devices: dict[str, Chardev | None] = {}
        self._opening: dict[asyncio.Task[Chardev], str] = {}

    async def open(self, spec: ChardevSpec) -> Chardev:
        """Make a device; it takes no connection before it is used or held.

        :raises GenericError: the label is taken, the device cannot be opened, or it was given up.
        """
        if spec.id in self._devices:
            raise GenericError(f"There is a chardev with the id {spec.id!r} already")
        self._devices[spec.id] = None  # nobody else takes the label while this one opens
        try:
            device = await self._opened(spec)
        except BaseException:
            del self._devices[spec.id]
            raise
        self._devices[spec.id] = device
        return device

    async def _opened(self, spec: ChardevSpec) -> Chardev:
        """A new device, which has no label yet.

        :raises GenericError: it cannot be opened, or it was given up.
        """
        if isinstance(spec, StdioSpec) and any(isinstance(device.spec, StdioSpec) for device in self._open_devices()):
            raise GenericError(f"Chardev {spec.id!r} cannot have standard input and output: another chardev has them")
        opening = asyncio.ensure_future(_open(make_chardev(spec, self._spawn)))
        self._opening[opening] = spec.id
        try:
            return await opening
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise GenericError(f"Chardev {spec.id!r} was removed before it was open") from None
        finally:
            del self._opening[opening]

    async def give_up(self, label: str) -> bool:
        """End all attempts to open a device of that label, which may wait for its first client.

        :returns: whether there were any.
        """
        found = [opening for opening, of in self._opening.items() if of == label]
        for opening in found:
            opening.cancel()
        if found:
            await asyncio.wait(found)
        return bool(found)

    async def add(self, spec: ChardevSpec) -> Chardev:
        """Make a device that nobody uses.

        :raises GenericError: as `open`.
        """
        device = await self.open(spec)
        await device.hold()
        return device

    async def change(self, spec: ChardevSpec) -> Chardev:
        """Put another device in the place of the one with that label; if that fails, the one before stays.

        Two that may be in each other's way cannot both be open: then the one before is closed first, and opened again
        if there is need to; its connections are lost.

        :raises GenericError: there is none, it is in use, or the new one cannot be opened.
        """
        before = self._unused(spec.id)
        if _may_collide(before.spec, spec):
            return await self._change_in_turn(before.spec, spec)
        device = await self._opened(spec)
        if self._devices.get(spec.id) is not before or before.in_use:
            device.close()
            raise GenericError(f"Chardev {spec.id!r} was taken, changed or removed meanwhile")
        self.remove(spec.id)
        self._devices[spec.id] = device
        await device.hold()
        return device

    async def _change_in_turn(self, before: ChardevSpec, spec: ChardevSpec) -> Chardev:
        self.remove(spec.id)
        try:
            return await self.add(spec)
        except BaseException:
            await self.add(_again(before))
            raise

    def remove(self, label: str) -> None:
        """Close a device.

        :raises GenericError: there is none, or it is in use.
        """
        device = self._unused(label)
        del self._devices[label]
        device.close()

    def has(self, label: str) -> bool:
        """Whether there is a device of that label."""
        return self._devices.get(label) is not None

    def find(self, label: str) -> Chardev:
        """The device of that label.

        :raises GenericError: there is none.
        """
        device = self._devices.get(label)
        if device is None:
            raise GenericError(f"There is no chardev with the id {label!r}")
        return device

    def take(self, label: str) -> Chardev:
        """The device of that label, which is in use from now on.

        :raises GenericError: there is none, it is in use already, or it is not for users.
        """
        device = self._unused(label)
        if not device.streams:
            raise GenericError(f"Chardev {label!r} carries datagrams; a monitor needs a stream of bytes")
        device.in_use = True
        return device

    async def hold_unused(self) -> None:
        """Let the devices that nobody uses take their connections."""
        for device in self._open_devices():
            if not device.in_use:
                await device.hold()

    def describe(self) -> Iterator[ChardevDescription]:
        """All devices, in the order in which they were made."""
        for device in self._open_devices():
            yield ChardevDescription(device.spec.id, device.filename, device.in_use)

    def stop(self) -> None:
        """Take no more connections."""
        for device in self._open_devices():
            device.stop()

    def close(self) -> None:
        """Close all devices."""
        for device in self._open_devices():
            device.close()
        self._devices.clear()

    def _open_devices(self) -> list[Chardev]:
        return [device for device in self._devices.values() if device is not None]

    def _unused(self, label: str) -> Chardev:
        device = self.find(label)
        if device.in_use:
            raise GenericError(f"Chardev {label!r} is in use")
        return device


async def _open(device: Chardev) -> Chardev:
    """Open a device; it is closed if that fails.

    :raises GenericError: it cannot be opened.
    """
    try:
        await device.open()
    except BaseException as error:
        device.close()
        if isinstance(error, OSError | ValueError | OverflowError):
            raise GenericError(f"Chardev {device.spec.id!r} cannot be opened: {_reason(error)}") from error
        raise
    return device


def _may_collide(one: ChardevSpec, other: ChardevSpec) -> bool:
    """Whether both may want what only one can have: a place to listen at, standard input and output."""
    return any(isinstance(one, kind) and isinstance(other, kind) for kind in (SocketSpec, StdioSpec, UdpSpec))


def _again(spec: ChardevSpec) -> ChardevSpec:
    """A device that was open already: it waits for nobody, and goes on with its log."""
    if spec.log is not None:
        spec = dataclasses.replace(spec, log=dataclasses.replace(spec.log, append=True))
    return dataclasses.replace(spec, wait=False) if isinstance(spec, SocketSpec) else spec


def _reason(error: Exception) -> str:
    return os_error_text(error) if isinstance(error, OSError) else str(error)
