"""The daemon as a process: how it starts, what it leaves behind, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

QMPD = [sys.executable, "-m", "qmpd"]
TIMEOUT = 60


def start(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*QMPD, *words], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*QMPD, *words], capture_output=True, text=True, timeout=TIMEOUT, check=False)


def qmp(path: Path) -> list[str]:
    return ["--chardev", f"socket,id=c,path={path},server=on,wait=off", "--monitor", "c"]


@contextlib.contextmanager
def connected(path: Path) -> Iterator[tuple[socket.socket, Iterator[bytes]]]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(str(path))
        with client.makefile("rb") as lines:
            yield client, lines


@pytest.fixture
def background(tmp_path: Path) -> Iterator[Path]:
    """A daemon in the background; the fixture is its directory, with `qmp` and `pid` in it."""
    done = run("--daemonize", "--pidfile", str(tmp_path / "pid"), *qmp(tmp_path / "qmp"))
    assert done.returncode == 0, done.stderr
    pid = int((tmp_path / "pid").read_text())
    yield tmp_path
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_for_end(pid: int) -> None:
    """Wait until a process that is no child of ours has ended."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([watch], [], [], TIMEOUT)[0], "the daemon does not end"
    os.close(watch)


@pytest.mark.parametrize("word", ["--version", "-h"])
def test_answers_on_standard_output(word: str) -> None:
    done = run(word)
    assert done.returncode == 0
    assert "qmpd" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nonsense"], "qmpd: --nonsense: unknown option"),
        (["--chardev", "socket,id=c,path=/no/such/dir/s,server=on"], "No such file or directory"),
        (["--chardev", "socket,id=c,path=/no/such/socket"], "No such file or directory"),
        (["--chardev", "file,id=c,path=/no/such/dir/f"], "'c' cannot be opened: No such file or directory"),
        (["--chardev", "null,id=c", "--chardev", "null,id=c"], "a chardev with the id 'c' already"),
        (["--chardev", "stdio,id=c", "--chardev", "stdio,id=d"], "another chardev has them"),
        (["--monitor", "c", "--chardev", "null,id=c"], "no chardev with the id 'c'"),
        (["--chardev", "null,id=c", "--monitor", "c", "--monitor", "c"], "Chardev 'c' is in use"),
        (["--chardev", "udp,id=c,port=9", "--monitor", "c"], "a monitor needs a stream"),
        (["--pidfile", "/no/such/dir/pid"], "cannot create PID file"),
        (["--blockdev", "driver=nonsense,node-name=a"], "driver"),
        (["--export", "nbd,id=e,node-name=a"], "qmpd: --export nbd,id=e,node-name=a: "),
        (["--chardev", f"socket,id=c,host={'x' * 100},port=1,server=on,wait=off", "--monitor", "c"], "too long"),
        (["--chardev", "socket,id=c,fd=999999999999999,server=on,wait=off", "--monitor", "c"], "fd=99"),
    ],
)
@pytest.mark.parametrize("daemonize", [[], ["--daemonize"]], ids=["foreground", "background"])
def test_a_start_that_fails_says_why(words: list[str], message: str, daemonize: list[str]) -> None:
    done = run(*daemonize, *words)
    assert done.returncode == 1
    assert done.stderr.startswith("qmpd: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_start_that_fails_late_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run(*qmp(tmp_path / "qmp"), "--pidfile", "/no/such/dir/pid")
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_in_the_background_it_serves_before_the_parent_ends(background: Path) -> None:
    pid = int((background / "pid").read_text())
    with connected(background / "qmp") as (client, lines):
        assert b"QMP" in next(lines)
        client.sendall(b'{"execute":"qmp_capabilities"}{"execute":"quit","id":1}')
        assert json.loads(next(lines)) == {"return": {}}
        assert json.loads(next(lines)) == {"return": {}, "id": 1}
        assert list(lines) == []
    wait_for_end(pid)
    assert list(background.iterdir()) == []


def test_pid_file_is_locked_and_private(background: Path) -> None:
    path = background / "pid"
    assert path.read_text() == f"{int(path.read_text())}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    done = run("--pidfile", str(path))
    assert done.returncode == 1
    assert "cannot create PID file" in done.stderr
    assert path.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_cleanly(background: Path, number: int) -> None:
    pid = int((background / "pid").read_text())
    with connected(background / "qmp") as (_, lines):
        next(lines)
        os.kill(pid, number)
        assert list(lines) == []
    wait_for_end(pid)
    assert list(background.iterdir()) == []


def test_the_exit_status_after_a_signal_is_zero(tmp_path: Path) -> None:
    ready = socket.socket(socket.AF_UNIX)
    ready.bind(str(tmp_path / "ready"))
    ready.listen()
    ready.settimeout(TIMEOUT)
    # A client chardev tells when it is up: it connects.
    process = start("--chardev", f"socket,id=c,path={tmp_path / 'ready'}", "--monitor", "c")
    peer, _ = ready.accept()
    assert b"QMP" in peer.recv(4096)
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    peer.close()
    ready.close()


def test_a_signal_ends_the_wait_for_the_first_client(tmp_path: Path) -> None:
    process = start("--qmp", f"unix:{tmp_path / 'qmp'},server=on")
    assert process.stderr is not None
    assert b"waiting for connection" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT) == 0
    assert list(tmp_path.iterdir()) == []


def test_with_wait_nothing_is_served_before_the_first_client(tmp_path: Path) -> None:
    process = start(
        "--qmp", f"unix:{tmp_path / 'first'},server=on", "--qmp", f"unix:{tmp_path / 'second'},server=on,wait=off"
    )
    assert process.stderr is not None
    assert b"waiting for connection" in process.stderr.readline()
    assert not (tmp_path / "second").exists()
    with connected(tmp_path / "first") as (client, lines):
        assert b"QMP" in next(lines)
        with connected(tmp_path / "second") as (_, others):
            assert b"QMP" in next(others)
        client.sendall(b'{"execute":"qmp_capabilities"}{"execute":"quit"}')
        assert len(list(lines)) == 2
    assert process.wait(TIMEOUT) == 0


def test_standard_input_and_output() -> None:
    process = subprocess.Popen(
        [*QMPD, "--chardev", "stdio,id=c", "--monitor", "c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    out, _ = process.communicate(b'{"execute":"qmp_capabilities"}{"execute":"quit","id":1}', TIMEOUT)
    assert process.returncode == 0
    assert [next(iter(json.loads(line))) for line in out.splitlines()] == ["QMP", "return", "return"]


def test_a_daemon_without_monitor_waits_for_signals(tmp_path: Path) -> None:
    done = run("--daemonize", "--pidfile", str(tmp_path / "pid"))
    assert done.returncode == 0
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_for_end(pid)
    assert list(tmp_path.iterdir()) == []


def test_an_idle_daemon_has_not_loaded_what_it_does_not_use() -> None:
    program = (
        "import sys, qmpd.daemon, qmpd.options\n"
        "qmpd.daemon.Daemon(qmpd.options.Options())\n"
        "print(sorted(name for name in ('pydantic', 'qmpd.api.structs', 'hypothesis') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
