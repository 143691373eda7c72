"""The independent judges: qemu-img, qemu-io, nbdinfo and nbdcopy, run as programs.

Must never ask the daemon under test about the contents of an image.
"""

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "qemu-system-x86_64": "qemu-system-x86",
    "nbdinfo": "libnbd-bin",
    "nbdcopy": "libnbd-bin",
    "socat": "socat",
    "nc": "netcat-openbsd",
    "/usr/sbin/mke2fs": "e2fsprogs",
    "grub-mkimage": "grub-common",
}
"""Program to Debian package, for all that the suites run."""

TOOL_TIMEOUT = 120.0


class ToolFailed(Exception):
    """A tool ended with an error."""

    def __init__(self, argv: Iterable[str], status: int, output: str) -> None:
        super().__init__(f"{shlex.join(argv)} ended with status {status}:\n{output}")
        self.status = status
        self.output = output


def missing_packages() -> list[str]:
    """Debian packages of the tools that are not installed."""
    return sorted({package for program, package in PACKAGES.items() if shutil.which(program) is None})


def run(*argv: str | Path, ok: Iterable[int] = (0,)) -> str:
    """Run a tool and give its output (both streams); raises ToolFailed for a status that is not in `ok`."""
    words = [str(word) for word in argv]
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TOOL_TIMEOUT,
    )
    output = done.stdout.decode(errors="backslashreplace")
    if done.returncode not in ok:
        raise ToolFailed(words, done.returncode, output)
    return output


def qemu_img(*words: str | Path) -> str:
    """Run qemu-img."""
    return run("qemu-img", *words)


def refused_by_qemu_img(*words: str | Path) -> str:
    """Run a qemu-img command that has to fail; give what it says."""
    try:
        output = qemu_img(*words)
    except ToolFailed as failure:
        return failure.output
    raise AssertionError(f"qemu-img {words} was not refused: {output}")


def same(one: str | Path, other: str | Path, *, one_format: str = "raw", other_format: str = "raw") -> bool:
    """Whether qemu-img finds the contents identical; images in use are read without a lock."""
    words = ("qemu-img", "compare", "-U", "-f", one_format, "-F", other_format, one, other)
    return "Images are identical" in run(*words, ok=(0, 1))


def assert_same(one: str | Path, other: str | Path, *, one_format: str = "raw", other_format: str = "raw") -> None:
    """Fail with qemu-img's own words when the contents differ."""
    words = ("qemu-img", "compare", "-U", "-f", one_format, "-F", other_format, one, other)
    output = run(*words, ok=(0, 1))
    assert "Images are identical" in output, f"{one} and {other}: {output}"


def qemu_io(target: str | Path, *commands: str, image_format: str = "raw", options: Iterable[str] = ()) -> str:
    """Run qemu-io commands on an image or an NBD URI; a failed command fails the test."""
    words: list[str | Path] = ["qemu-io", *options, "-f", image_format]
    for command in commands:
        words += ["-c", command]
    output = run(*words, target)
    assert "failed" not in output and "error" not in output.lower(), output
    return output


def qemu_io_fails(target: str | Path, *commands: str, image_format: str = "raw") -> str:
    """Run qemu-io commands of which at least one has to fail; give the output."""
    words: list[str | Path] = ["qemu-io", "-f", image_format]
    for command in commands:
        words += ["-c", command]
    output = run(*words, target, ok=(0, 1))
    assert "failed" in output or "error" in output.lower(), output
    return output


def nbdinfo(uri: str, *options: str) -> Any:
    """nbdinfo's JSON."""
    return json.loads(run("nbdinfo", "--json", *options, uri))


def nbdcopy(source: str | Path, destination: str | Path) -> None:
    """Copy with nbdcopy; either side may be an NBD URI or a file."""
    run("nbdcopy", source, destination)
