"""`qmpctl check` as a program."""

import json
import subprocess
import sys
from pathlib import Path


def qmpctl(*words: object) -> "subprocess.CompletedProcess[str]":
    program = "from qmpd.ctl.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )


def test_finds_and_repairs_leaks(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True)
    assert qmpctl("check", path).returncode == 0
    data = bytearray(path.read_bytes())
    table = int.from_bytes(data[48:56], "big")
    block = int.from_bytes(data[table : table + 8], "big")
    data[block + 41] = 1  # cluster 20 is nobody's
    path.write_bytes(data.ljust(21 << 16, b"\0"))
    found = qmpctl("check", path, "--json")
    assert found.returncode == 1
    assert json.loads(found.stdout)["leaks"] == 1
    assert qmpctl("check", path, "--repair", "leaks").returncode == 0
    assert qmpctl("check", path).returncode == 0
    subprocess.run(["qemu-img", "check", "-q", str(path)], check=True)


def test_refuses_what_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(b"hello")
    done = qmpctl("check", path)
    assert done.returncode == 1
    assert "qcow2" in done.stderr
