"""The properties of devices: names, types and defaults as QEMU publishes them (`device-list-properties`).

Most of them describe hardware to a guest. Here they are kept and told; what has an effect is `drive`, `share-rw`,
`write-cache`, `werror` and `rerror`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from qmpd.errors import GenericError
from qmpd.qapi import keyval

_NUMBER = re.compile(r"(u?)int(\d+)\Z")
_ENUMS = {
    "BiosAtaTranslation": ("auto", "none", "lba", "large", "rechs"),
    "BlockdevOnError": ("auto", "report", "ignore", "enospc", "stop"),
    "FdcDriveType": ("144", "288", "120", "none", "auto"),
    "OnOffAuto": ("auto", "on", "off"),
}

DISK = """
    account-failed:OnOffAuto=auto account-invalid:OnOffAuto=auto backend_defaults:OnOffAuto=auto
    discard_granularity:size=4294967295 drive:str logical_block_size:size=0 min_io_size:size=0 opt_io_size:size=0
    physical_block_size:size=0 share-rw:bool=off write-cache:OnOffAuto=auto
"""
BOOT = "bootindex:int32"
ERRORS = "rerror:BlockdevOnError=auto werror:BlockdevOnError=auto"
GEOMETRY = "cyls:uint32=0 heads:uint32=0 lcyls:uint32=0 lheads:uint32=0 lsecs:uint32=0 secs:uint32=0"
PCI = """
    acpi-index:uint32=0 addr:int32=-1 failover_pair_id:str multifunction:bool=off rombar:uint32=1 romfile:str
    romsize:uint32=4294967295 x-pcie-extcap-init:bool=on x-pcie-lnksta-dllla:bool=on
"""
VIRTIO = """
    any_layout:bool=on event_idx:bool=on indirect_desc:bool=on iommu_platform:bool=off notify_on_empty:bool=on
    packed:bool=off queue_reset:bool=on use-disabled-flag:bool=on use-started:bool=on x-disable-legacy-check:bool=off
"""
VIRTIO_PCI = """
    aer:bool=off ats:bool=off class:uint32=0 disable-legacy:OnOffAuto=auto disable-modern:bool=off ioeventfd:bool=on
    migrate-extra:bool=on modern-pio-notify:bool=off page-per-vq:bool=off vectors:uint32=4294967295
    virtio-pci-bus-master-bug-migration:bool=off x-ats-page-aligned:bool=on x-disable-pcie:bool=off
    x-ignore-backend-features:bool=off x-pcie-deverr-init:bool=on x-pcie-flr-init:bool=on x-pcie-lnkctl-init:bool=on
    x-pcie-pm-init:bool=on
"""
VIRTIO_BLK = """
    config-wce:bool=on discard:bool=on iothread:link<iothread> max-discard-sectors:uint32=4194303
    max-write-zeroes-sectors:uint32=4194303 num-queues:uint16=65535 queue-size:uint16=256
    report-discard-granularity:bool=on request-merging:bool=on scsi:bool=off seg-max-adjust:bool=on serial:str
    write-zeroes:bool=on x-enable-wce-if-config-wce:bool=on
"""
SCSI = """
    channel:uint32=0 device_id:str lun:uint32=4294967295 max_io_size:uint64=2147483647 port_index:uint16=0
    port_wwn:uint64=0 product:str quirk_mode_page_vendor_specific_apple:bool=off scsi-id:uint32=4294967295
    scsi_version:int32=5 serial:str vendor:str ver:str wwn:uint64=0
"""
SCSI_HD = "dpofua:bool=off max_unmap_size:uint64=1073741824 removable:bool=off rotation_rate:uint16=0"
SCSI_CD = """
    quirk_mode_page_apple_vendor:bool=off quirk_mode_page_truncated:bool=off quirk_mode_sense_rom_use_dbd:bool=off
"""
IDE = "model:str serial:str unit:uint32=4294967295 ver:str wwn:uint64=0"
IDE_HD = "bios-chs-trans:BiosAtaTranslation=auto rotation_rate:uint16=0"
USB_STORAGE = """
    attached:bool commandlog:bool=off msos-desc:bool=on pcap:str port:str removable:bool=off serial:str
"""
NVME = """
    aer_max_queued:uint32=64 aerl:uint8=3 cmb_size_mb:uint32=0 ioeventfd:bool=off max_ioqpairs:uint32=64 mdts:uint8=7
    msix-exclusive-bar:bool=off msix_qsize:uint16=65 num_queues:uint32=0 pmrdev:link<memory-backend> serial:str
    smart_critical_warning:uint8 sriov_max_vfs:uint8=0 sriov_max_vi_per_vf:uint8=0 sriov_max_vq_per_vf:uint8=0
    sriov_vi_flexible:uint16=0 sriov_vq_flexible:uint16=0 subsys:link<nvme-subsys> use-intel-id:bool=off vsl:uint8=7
    zoned.auto_transition:bool=on zoned.zasl:uint8=0
"""
FLOPPY = "drive-type:FdcDriveType=auto unit:uint32=4294967295"


@dataclass(frozen=True, slots=True)
class DeviceProperty:
    """One property.

    :ivar default: what holds where nothing is said; None where QEMU publishes no default.
    """

    name: str
    type: str
    default: object = None

    def read(self, value: object) -> object:
        """A value that is given, be it text of the command line or of a client, or typed.

        :raises GenericError: it is none of the property's type.
        """
        if not isinstance(value, str | int | float):
            raise GenericError(f"'{self.name}' must be a string, a number or a boolean")
        text = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
        try:
            return _value(self.name, self.type, text)
        except keyval.KeyvalError as error:
            raise GenericError(str(error)) from error

    @property
    def empty(self) -> object:
        """What a property without a default is told to be."""
        number = self.type == "size" or _NUMBER.match(self.type)
        return 0 if number else False if self.type == "bool" else ""


def properties(*texts: str) -> dict[str, DeviceProperty]:
    """The properties that are written in `texts`, in the order of their names."""
    found = sorted((_property(word) for word in " ".join(texts).split()), key=lambda one: one.name)
    return {one.name: one for one in found}


def _property(word: str) -> DeviceProperty:
    name, _, rest = word.partition(":")
    type_name, equals, default = rest.partition("=")
    return DeviceProperty(name, type_name, _value(name, type_name, default) if equals else None)


def _value(name: str, type_name: str, text: str) -> object:
    if type_name in _ENUMS:
        return _chosen(name, text, _ENUMS[type_name])
    if type_name in ("bool", "size"):
        return keyval.convert(text, type_name, {}, name)
    number = _NUMBER.match(type_name)
    if number is None:
        return text
    value = keyval.convert(text, "int", {}, name)
    bits = int(number[2])
    lowest, highest = (0, (1 << bits) - 1) if number[1] else (-1 << bits - 1, (1 << bits - 1) - 1)
    if not isinstance(value, int) or not lowest <= value <= highest:
        raise keyval.KeyvalError(f"parameter '{name}' must be from {lowest} to {highest}, not '{text}'")
    return value


def _chosen(name: str, text: str, values: Iterable[str]) -> str:
    if text not in values:
        raise keyval.KeyvalError(f"parameter '{name}' must be one of {', '.join(values)}, not '{text}'")
    return text
