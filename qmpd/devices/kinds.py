"""The kinds of devices: disks of all sorts, and what they are plugged into in QEMU.

Controllers and buses have no life here. They are known by name, so that a command line that makes them and refers to
them means the same as in QEMU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from qmpd.devices import properties as known
from qmpd.devices.properties import DeviceProperty
from qmpd.errors import GenericError


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """A kind of devices.

    :ivar texts: where its properties are written.
    :ivar disk: it has a drive.
    :ivar part: the path below its own of what the drive belongs to; `{name}` stands for the device's own.
    :ivar removable: the medium can be taken out, and need not be there.
    :ivar tray: it has a tray that can be opened.
    :ivar read_only: it never writes.
    :ivar needs_writable: it takes no medium that is read-only.
    :ivar resizable: the medium may change its length.
    :ivar io_status: it tells how its I/O goes.
    """

    name: str
    texts: tuple[str, ...] = ()
    disk: bool = True
    part: str | None = None
    removable: bool = False
    tray: bool = False
    read_only: bool = False
    needs_writable: bool = False
    resizable: bool = False
    io_status: bool = True

    @property
    def properties(self) -> dict[str, DeviceProperty]:
        """Its properties, by name."""
        return known.properties(*self.texts)


_VIRTIO_BLK = (known.DISK, known.BOOT, known.ERRORS, known.GEOMETRY, known.VIRTIO, known.VIRTIO_BLK)
_VIRTIO_BLK_PCI = (*_VIRTIO_BLK, known.PCI, known.VIRTIO_PCI)
_SCSI_HD = (known.DISK, known.BOOT, known.ERRORS, known.GEOMETRY, known.SCSI, known.SCSI_HD)
_SCSI_CD = (known.DISK, known.BOOT, known.ERRORS, known.SCSI, known.SCSI_CD)
_IDE_HD = (known.DISK, known.BOOT, known.ERRORS, known.GEOMETRY, known.IDE, known.IDE_HD)
_IDE_CD = (known.DISK, known.BOOT, known.ERRORS, known.IDE)
_USB_STORAGE = (known.DISK, known.BOOT, known.ERRORS, known.USB_STORAGE)
_NVME = (known.DISK, known.BOOT, known.PCI, known.NVME)
_FLOPPY = (known.DISK, known.FLOPPY)

_VARIANTS = ("virtio-blk-pci", "virtio-blk-pci-non-transitional", "virtio-blk-pci-transitional")

_DISKS = (
    *(DeviceKind(name, _VIRTIO_BLK_PCI, part="virtio-backend", resizable=True) for name in _VARIANTS),
    DeviceKind("virtio-blk-device", _VIRTIO_BLK, resizable=True),
    DeviceKind("scsi-hd", _SCSI_HD, resizable=True),
    DeviceKind("scsi-cd", _SCSI_CD, removable=True, tray=True, read_only=True),
    DeviceKind("ide-hd", _IDE_HD, needs_writable=True, resizable=True),
    DeviceKind("ide-cd", _IDE_CD, removable=True, tray=True, read_only=True),
    DeviceKind("usb-storage", _USB_STORAGE, part="{name}.0/legacy[0]", resizable=True),
    DeviceKind("nvme", _NVME, io_status=False),
    DeviceKind("floppy", _FLOPPY, removable=True, io_status=False),
)

_CONTROLLERS = """
    ahci am53c974 dc390 i82801b11-bridge ich9-ahci ich9-usb-ehci1 ich9-usb-ehci2 ich9-usb-uhci1 ich9-usb-uhci2
    ich9-usb-uhci3 ich9-usb-uhci4 ich9-usb-uhci5 ich9-usb-uhci6 ioh3420 isa-fdc lsi53c810 lsi53c895a megasas
    megasas-gen2 mptsas1068 nec-usb-xhci nvme-subsys pci-bridge pci-ohci pcie-pci-bridge pcie-root-port piix3-ide
    piix3-usb-uhci piix4-ide piix4-usb-uhci pvscsi pxb pxb-pcie qemu-xhci usb-bot usb-ehci usb-hub usb-uas
    virtio-scsi-device virtio-scsi-pci virtio-scsi-pci-non-transitional virtio-scsi-pci-transitional
    virtio-serial-pci vt82c686b-usb-uhci x3130-upstream xio3130-downstream
"""

_ALIASES = {
    "virtio-blk": "virtio-blk-pci",
    "virtio-blk-non-transitional": "virtio-blk-pci-non-transitional",
    "virtio-blk-transitional": "virtio-blk-pci-transitional",
    "virtio-scsi": "virtio-scsi-pci",
    "lsi": "lsi53c895a",
}

FOR_INTERFACES = {
    ("virtio", False): "virtio-blk-pci",
    ("virtio", True): "virtio-blk-pci",
    ("ide", False): "ide-hd",
    ("ide", True): "ide-cd",
    ("scsi", False): "scsi-hd",
    ("scsi", True): "scsi-cd",
    ("floppy", False): "floppy",
    ("floppy", True): "floppy",
}
"""What a drive with that `if` is plugged into, for disks and for CDs."""


@cache
def kinds() -> dict[str, DeviceKind]:
    """All kinds, by name."""
    controllers = (DeviceKind(name, disk=False) for name in _CONTROLLERS.split())
    return {kind.name: kind for kind in (*_DISKS, *controllers)}


def find_kind(name: str) -> DeviceKind:
    """The kind of that name.

    :raises GenericError: there is none.
    """
    found = kinds().get(_ALIASES.get(name, name))
    if found is None:
        disks = ", ".join(kind.name for kind in _DISKS)
        raise GenericError(f"'{name}' is no model of a device here; there are disks ({disks}) and their controllers")
    return found
