"""A Linux guest on disks: a system disk that a PC's firmware boots from, and disks with nothing but a file system.

The system disk has GRUB in front of its one partition, and on that Debian's kernel, an initial file system with the
kernel's modules for the disks, and a shell that obeys the console. It is put together from unpacked Debian packages,
which `make tools` fetches, without root and without mounting anything.
"""

import os
import re
import shutil
import stat
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from iotests.harness.images import KIB, MIB, Disk, Scratch
from iotests.harness.tools import run

PARTS = Path(sys.prefix) / "guest"
"""Where `make tools` unpacks the packages: in the virtual environment that the tests run in."""

SYSTEM = 64 * MIB
PARTITION = 1 * MIB
"""Offset of the system disk's partition."""

UP = "guest: up"
"""What the guest says when it waits for commands."""

LOADED = "loader: here"
"""What the boot loader says, which only the firmware can have started."""

FILES = "files"
"""A directory on each file system, for the guest's `writer`."""

_MODULES = ("virtio_pci", "virtio_blk")

_GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "linux", "serial", "terminal", "echo")

_GRUB = f"""\
serial --unit=0 --speed=115200
terminal_output serial
echo {LOADED}
set root=(hd0,msdos1)
linux /boot/kernel console=ttyS0 loglevel=1 panic=-1 mitigations=off no_timer_check nowatchdog
initrd /boot/initial
boot
"""

_INITIAL = """\
#!/bin/sh
mount -t devtmpfs none /dev
while read -r module; do insmod "/modules/$module"; done </modules/order
until [ -b /dev/vda1 ]; do sleep 1; done
/sbin/check /dev/vda1
mount -t ext4 /dev/vda1 /root
exec switch_root /root /sbin/init
"""

_INIT = f"""\
#!/bin/sh
mount -t devtmpfs none /dev
mount -t proc none /proc
stty -echo </dev/console
echo "{UP}"
while read -r command; do
    eval "$command"
    echo "status $?"
done </dev/console
"""

_CHECK = """\
#!/bin/sh
# Check a file system as it is, repair what a check at boot repairs (the journal first of all), check again
e2fsck -fn "$1" >/dev/null 2>&1; as_found=$?
e2fsck -fp "$1"; repaired=$?
e2fsck -fn "$1"; echo "checked $1 $as_found $repaired $?"
"""

_WRITER = """\
#!/bin/sh
# writer DIRECTORY FIRST LAST: make files, and tell of each when it is safe on the disk; overwrite in place as well
number=$2
while [ "$number" -le "$3" ]; do
    file=$1/$number
    head -c $((number * 7919 % 90000 + 1)) /dev/urandom >"$file" &&
        dd if=/dev/urandom of="$1/scratch" bs=4k count=8 seek=$((number % 8)) conv=notrunc 2>/dev/null &&
        sync &&
        echo "synced $file $(sha256sum <"$file")" || echo "writer: failed at $file"
    number=$((number + 1))
done
"""

_FEATURES = "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,metadata_csum"
"""File system features, named so that they do not depend on the host, and are known to GRUB."""


def assert_parts() -> None:
    """Fail, with what to do, if the packages were not fetched."""
    wanted = ("boot/vmlinuz-*", "bin/busybox", "sbin/e2fsck.static", "usr/lib/grub/i386-pc/boot.img")
    missing = [name for name in wanted if not list(PARTS.glob(name))]
    assert not missing, f"{PARTS} lacks {', '.join(missing)}; run: make tools"


def system_disk(scratch: Scratch, name: str) -> Disk:
    """A disk that boots."""
    assert_parts()
    tree = scratch / f"{name}-tree"
    _programs(tree, {"sbin/init": _INIT, "sbin/check": _CHECK, "bin/writer": _WRITER})
    for directory in ("boot", "dev", "proc", "mnt", FILES):
        (tree / directory).mkdir()
    (kernel,) = (PARTS / "boot").glob("vmlinuz-*")
    shutil.copyfile(kernel, tree / "boot/kernel")
    (tree / "boot/initial").write_bytes(_initial(scratch / f"{name}-initial"))
    disk = scratch.disk(name, SYSTEM)
    _make_file_system(disk, tree, PARTITION)
    disk.write(0, _boot_loader(scratch, name))
    shutil.rmtree(tree)
    return disk


def data_disk(scratch: Scratch, name: str, length: int = 32 * MIB) -> Disk:
    """A disk that is one file system, with a directory for files."""
    tree = scratch / f"{name}-tree"
    (tree / FILES).mkdir(parents=True)
    disk = scratch.disk(name, length)
    _make_file_system(disk, tree, 0)
    return disk


def _make_file_system(disk: Disk, tree: Path, offset: int) -> None:
    options = ("-q", "-F", "-t", "ext4", "-b", "4096", "-O", _FEATURES, "-E", f"offset={offset},root_owner=0:0")
    run("/usr/sbin/mke2fs", *options, "-d", tree, disk.path, f"{(disk.length - offset) // KIB}k")


def _boot_loader(scratch: Scratch, name: str) -> bytes:
    """What lies before the partition: GRUB's boot sector with the partition table, and its core right behind it.

    The boot sector loads the second sector, and that the rest of the core, without being told where they are.
    """
    modules, script, core = PARTS / "usr/lib/grub/i386-pc", scratch / f"{name}-grub.cfg", scratch / f"{name}-grub"
    script.write_text(_GRUB)
    words = ("-O", "i386-pc", "-d", modules, "-p", "/boot/grub", "-c", script, "-o", core, *_GRUB_MODULES)
    run("grub-mkimage", *words)
    sector = bytearray((modules / "boot.img").read_bytes())
    linux, active, first, count = 0x83, 0x80, PARTITION // 512, (SYSTEM - PARTITION) // 512
    sector[446:510] = struct.pack("<B3sB3sII48x", active, b"\xfe\xff\xff", linux, b"\xfe\xff\xff", first, count)
    loader = bytes(sector) + core.read_bytes()
    assert len(sector) == 512 and len(loader) <= PARTITION
    return loader


def _initial(tree: Path) -> bytes:
    """The archive of the initial file system."""
    _programs(tree, {"init": _INITIAL, "sbin/check": _CHECK})
    for directory in ("dev", "proc", "root", "modules"):
        (tree / directory).mkdir()
    modules = _in_order(_MODULES)
    for module in modules:
        shutil.copy(module, tree / "modules")
    (tree / "modules/order").write_text("".join(f"{module.name}\n" for module in modules))
    return _archive(tree)


def _programs(tree: Path, scripts: dict[str, str]) -> None:
    """Busybox under all its names, e2fsck, and scripts by their paths."""
    for directory in ("bin", "sbin"):
        (tree / directory).mkdir(parents=True)
    shutil.copy(PARTS / "bin/busybox", tree / "bin")
    for name in set(run(PARTS / "bin/busybox", "--list").split()) - {"busybox"}:
        (tree / "bin" / name).symlink_to("busybox")
    shutil.copy(PARTS / "sbin/e2fsck.static", tree / "sbin/e2fsck")
    for name, text in scripts.items():
        (tree / name).write_text(text)
        (tree / name).chmod(0o755)


def _in_order(names: Iterable[str]) -> list[Path]:
    """Files of kernel modules and of all that they depend on, in the order in which they can be loaded."""
    found = {path.stem: path for path in (PARTS / "lib/modules").rglob("*.ko")}
    ordered: list[Path] = []
    for name in names:
        depends = re.search(rb"\0depends=([^\0]*)\0", found[name].read_bytes())
        needed = depends[1].decode().split(",") if depends and depends[1] else []
        ordered += [path for path in (*_in_order(needed), found[name]) if path not in ordered]
    return ordered


def _archive(tree: Path) -> bytes:
    """All of a directory in the kernel's format for it ("newc" of Documentation/driver-api/early-userspace)."""
    paths = sorted(tree.rglob("*"))
    entries = [_entry(number, str(path.relative_to(tree)), path) for number, path in enumerate(paths, 1)]
    return b"".join([*entries, _header(0, 0, "TRAILER!!!", b"")])


def _entry(number: int, name: str, path: Path) -> bytes:
    mode, data = path.lstat().st_mode, b""
    if stat.S_ISLNK(mode):
        data = os.fsencode(path.readlink())
    elif stat.S_ISREG(mode):
        data = path.read_bytes()
    return _header(number, mode, name, data)


def _header(number: int, mode: int, name: str, data: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    return _padded(b"070701" + b"".join(b"%08X" % field for field in fields) + encoded) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
