"""The pages say what works: the README's tour and the recipes for backups are taken from the pages and run.

In the tour, lines after `$` go to a shell, lines after `(QEMU)` and `TRANS>` to qmp-shell; what the page shows
as their output has to come, `...` standing for anything.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from qmpd.ctl.nbdclient import NbdClient

ROOT = Path(__file__).parents[2]
TIMEOUT = 60.0
PROGRAMS = {
    "python": "",
    "qmpd": "-m qmpd",
    "qmpctl": "-m qmpd.ctl.main",
    "qmp-shell": "-m qemu.qmp.qmp_shell",
}


@dataclass
class Line:
    """One line that the reader types, and what the page says that it prints."""

    text: str
    shown: list[str] = field(default_factory=list)


def tour() -> list[tuple[str, list[Line]]]:
    """The tour's blocks in order: `console` or `text`, and the lines to type."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    section = page.split("## A ten-minute tour")[1].split("\n## ")[0]
    return [(kind, lines_of(block)) for kind, block in re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)]


def lines_of(block: str) -> list[Line]:
    """Prompts begin a line to type; everything else was printed by the one before."""
    lines: list[Line] = []
    for text in block.splitlines():
        typed = re.match(r"(?:\$|\(QEMU\)|TRANS>) ?(.*)", text)
        if typed:
            lines.append(Line(typed[1]))
        elif text:
            lines[-1].shown.append(text)
    return lines


def fits(shown: str, printed: str) -> bool:
    """Whether a printed line is the shown one; `...` stands for anything."""
    return re.fullmatch(re.escape(shown).replace(r"\.\.\.", ".*"), printed) is not None


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The programs of the tour on the PATH, whether or not they are installed."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in PROGRAMS.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    path = f"{programs}:{os.environ.get('PATH', os.defpath)}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}


@pytest.fixture
def background() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Programs that were started with `&`; ended at the end of the test."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def type_into_a_shell(
    line: Line, directory: Path, environment: dict[str, str], background: list[subprocess.Popen[bytes]]
) -> None:
    """Run one line of a `console` block."""
    if line.text.endswith("&"):
        words = ["sh", "-c", "exec " + line.text.removesuffix("&")]
        background.append(subprocess.Popen(words, cwd=directory, env=environment))
        wait_for(directory / "qmp.sock", background[-1])
        return
    done = subprocess.run(
        ["sh", "-c", line.text], cwd=directory, env=environment, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert (done.returncode, done.stderr) == (0, ""), (line.text, done)
    printed = done.stdout.splitlines()
    assert not line.shown or all(map(fits, line.shown, printed)), (line, done.stdout)


def wait_for(socket: Path, process: subprocess.Popen[bytes]) -> None:
    """Do as the reader does: go on when the daemon's socket is there."""
    deadline = time.monotonic() + TIMEOUT
    while not socket.is_socket():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def type_into_qmp_shell(lines: list[Line], directory: Path, environment: dict[str, str]) -> None:
    """Feed one `text` block to a qmp-shell and hold its replies against the page."""
    done = subprocess.run(
        ["qmp-shell", "qmp.sock"],
        input="".join(f"{line.text}\n" for line in lines),
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    printed = re.findall(r"(?:\(QEMU\) |TRANS> )+(\{.*)", done.stdout)
    shown = [text for line in lines for text in line.shown]
    assert len(printed) == len(shown), done.stdout
    for expected, actual in zip(shown, printed, strict=True):
        assert fits(expected, actual), (expected, actual)


def test_the_tour(tmp_path: Path, environment: dict[str, str], background: list[subprocess.Popen[bytes]]) -> None:
    directory = tmp_path / "tour"
    directory.mkdir()
    blocks = tour()
    assert len(blocks) >= 7
    for kind, lines in blocks:
        if kind == "text":
            type_into_qmp_shell(lines, directory, environment)
            continue
        for line in lines:
            type_into_a_shell(line, directory, environment, background)
    assert background[0].wait(TIMEOUT) == 0
    assert not (directory / "qmp.sock").exists()


def recipe(title: str, part: int = 0, *, parts: int = 1) -> str:
    """The script of one recipe, or one of its scripts."""
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    section = page.split(f"## {title}\n")[1].split("\n## ")[0]
    scripts = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert len(scripts) == parts
    return str(scripts[part])


def test_the_recipes_for_backups(
    tmp_path: Path, environment: dict[str, str], background: list[subprocess.Popen[bytes]]
) -> None:
    socket, nbd, disks, backups = (tmp_path / name for name in ("qmp.sock", "nbd.sock", "srv", "backup"))
    words = ["qmpd", "--chardev", f"socket,id=q,path={socket},server=on,wait=off", "--monitor", "chardev=q"]
    words += ["--nbd-server", f"addr.type=unix,addr.path={nbd}"]
    for directory in (disks, backups):
        directory.mkdir()
    for name in ("d0", "d1"):
        (disks / f"{name}.raw").write_bytes(os.urandom(1 << 20))
        file = f"file.driver=file,file.filename={disks}/{name}.raw"
        words += ["--blockdev", f"driver=raw,node-name={name},{file}"]
        words += ["--export", f"type=nbd,id={name},node-name={name},writable=on"]
    background.append(subprocess.Popen(words, cwd=tmp_path, env=environment))
    wait_for(socket, background[-1])

    def run(script: str) -> str:
        script = script.replace("/srv/", f"{disks}/").replace("/backup/", f"{backups}/")
        done = subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=tmp_path,
            env=environment | {"QMPD_SOCKET": str(socket)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    assert "both disks are saved" in run(recipe("A full backup of several disks, and bitmaps to go on from"))
    for name in ("d0", "d1"):
        full = backups / f"{name}-full.raw"
        assert full.read_bytes() == (disks / f"{name}.raw").read_bytes()
        full.rename(backups / f"{name}-last.raw")
        with NbdClient.connect_unix(nbd, name) as client:
            client.write(300_000, os.urandom(100_000))
    run(recipe("An incremental backup every night"))
    for name in ("d0", "d1"):
        assert (backups / f"{name}-last.raw").read_bytes() == (disks / f"{name}.raw").read_bytes()
    run(recipe("Freezing several disks at one moment", parts=2))
    for name in ("d0", "d1"):
        with NbdClient.connect_unix(nbd, name) as client:
            client.write(300_000, bytes(100_000))
        last = (backups / f"{name}-last.raw").read_bytes()
        assert (backups / f"{name}-frozen.raw").read_bytes() == (disks / f"{name}.raw").read_bytes() == last
        assert (disks / f"{name}-now.qcow2").exists()
    run(recipe("Freezing several disks at one moment", 1, parts=2))
    for name in ("d0", "d1"):
        assert not (disks / f"{name}-now.qcow2").exists()
        assert (disks / f"{name}.raw").read_bytes()[300_000:400_000] == bytes(100_000)


def test_the_links_of_the_documents_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
