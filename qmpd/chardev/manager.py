"""All character devices of a daemon, by label: made, asked for, given to users, removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qmpd.chardev.base import Chardev, Spawn
from qmpd.chardev.kinds import make_chardev
from qmpd.chardev.specs import ChardevSpec, StdioSpec
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

    async def open(self, spec: ChardevSpec) -> Chardev:
        """Make a device; it takes no connection before it is used or held.

        :raises GenericError: the label is taken, or the device cannot be opened.
        """
        if spec.id in self._devices:
            raise GenericError(f"There is a chardev with the id {spec.id!r} already")
        if isinstance(spec, StdioSpec) and any(isinstance(device.spec, StdioSpec) for device in self._open_devices()):
            raise GenericError(f"Chardev {spec.id!r} cannot have standard input and output: another chardev has them")
        self._devices[spec.id] = None  # nobody else takes the label while this one opens
        device = make_chardev(spec, self._spawn)
        try:
            await device.open()
        except BaseException as error:
            del self._devices[spec.id]
            device.close()
            if isinstance(error, OSError | ValueError | OverflowError):
                raise GenericError(f"Chardev {spec.id!r} cannot be opened: {_reason(error)}") from error
            raise
        self._devices[spec.id] = device
        return device

    async def add(self, spec: ChardevSpec) -> Chardev:
        """Make a device that nobody uses.

        :raises GenericError: as `open`.
        """
        device = await self.open(spec)
        await device.hold()
        return device

    async def change(self, spec: ChardevSpec) -> Chardev:
        """Put another device in the place of the one with that label; if that fails, the one before is there again.

        :raises GenericError: there is none, it is in use, or the new one cannot be opened.
        """
        before = self._unused(spec.id).spec
        self.remove(spec.id)
        try:
            return await self.add(spec)
        except GenericError:
            await self.add(before)
            raise

    def remove(self, label: str) -> None:
        """Close a device.

        :raises GenericError: there is none, or it is in use.
        """
        device = self._unused(label)
        del self._devices[label]
        device.close()

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


def _reason(error: Exception) -> str:
    return os_error_text(error) if isinstance(error, OSError) else str(error)
