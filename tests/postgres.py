"""A PostgreSQL with a streaming replica, from Debian's packages, for the tests of one run.

The first test that wants it starts it, the workers of pytest-xdist share it, each test has a database of its own. It
listens on Unix sockets alone. Every worker holds a shared lock on a file as long as it lives; a process that waits for
the exclusive one stops the servers when the last worker has gone, however it went.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path("/usr/lib/postgresql")
USER = "postgres"
PORTS = {"primary": 5432, "replica": 5433}
TIMEOUT = 300

SETTINGS = """
listen_addresses = ''
fsync = off
full_page_writes = off
max_connections = 300
shared_buffers = 32MB
max_wal_senders = 4
wal_level = replica
hot_standby = on
wal_retrieve_retry_interval = 100ms
unix_socket_permissions = 0777
log_min_messages = fatal
"""


def _path(program: str) -> Path:
    """Where a program of the server is, which is not in the search path; of the newest version that is installed."""
    return max(PROGRAMS.glob(f"*/bin/{program}"), key=lambda path: float(path.parts[-3]))


def _run(program: str, words: Sequence[str], **environment: str) -> None:
    """Run a program of PostgreSQL, as a user that it accepts."""
    done = subprocess.run(
        [_path(program), *words],
        user=USER if os.geteuid() == 0 else None,
        env={**os.environ, **environment},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")


def _children(process: int) -> list[int]:
    """The processes that `process` has started and that run."""
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@dataclass(frozen=True)
class Cluster:
    """A primary and its replica below one directory."""

    directory: Path

    def make(self) -> None:
        """Make and start both servers."""
        if os.geteuid() == 0:
            entry = pwd.getpwnam(USER)
            os.chown(self.directory, entry.pw_uid, entry.pw_gid)
        self.directory.chmod(0o755)
        data = str(self.directory / "primary")
        _run("initdb", ["--no-sync", "-A", "trust", "-U", USER, "-E", "UTF8", "--locale", "C", "-D", data])
        self._configure("primary")
        self.start("primary")
        words = ["-h", str(self.directory), "-p", str(PORTS["primary"]), "-U", USER, "--no-sync", "-c", "fast", "-R"]
        _run("pg_basebackup", [*words, "-D", str(self.directory / "replica")])
        self.start("replica")

    def _configure(self, server: str) -> None:
        settings = SETTINGS + f"unix_socket_directories = '{self.directory}'\n"
        with (self.directory / server / "postgresql.conf").open("a") as file:
            file.write(settings)

    def start(self, server: str) -> None:
        """Start a server and wait until it takes connections."""
        log = str(self.directory / f"{server}.log")
        words = ["-D", str(self.directory / server), "-l", log, "-w", "-o", f"-p {PORTS[server]}"]
        _run("pg_ctl", ["start", *words])

    def stop(self, server: str, mode: str = "fast") -> None:
        """Stop a server: "fast" ends its connections, "immediate" is a crash."""
        _run("pg_ctl", ["stop", "-D", str(self.directory / server), "-m", mode])

    def silence(self, server: str) -> None:
        """Let a server answer nothing any more, as when its host hangs, until `wake`."""
        postmaster = self._postmaster(server)
        os.kill(postmaster, signal.SIGSTOP)
        for child in _children(postmaster):
            os.kill(child, signal.SIGSTOP)

    def wake(self, server: str) -> None:
        """Let a silent server go on."""
        postmaster = self._postmaster(server)
        for process in (*_children(postmaster), postmaster):
            os.kill(process, signal.SIGCONT)

    def revive(self) -> None:
        """Have both servers run, whatever was done to them."""
        for server in ("primary", "replica"):
            if (self.directory / server / "postmaster.pid").exists():
                self.wake(server)
            else:
                self.start(server)

    def _postmaster(self, server: str) -> int:
        return int((self.directory / server / "postmaster.pid").read_text().splitlines()[0])

    def sql(self, statement: str, database: str = "postgres", server: str = "primary") -> str:
        """Run a statement; what it returns, as text."""
        words = ["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-h", str(self.directory), "-U", USER]
        done = subprocess.run(
            ["psql", *words, "-p", str(PORTS[server]), "-d", database, "-c", statement],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{statement}: {done.stderr}")
        return done.stdout.strip()

    def url(self, database: str, server: str = "primary") -> str:
        """The URL of a database."""
        return f"postgresql+asyncpg://{USER}@/{database}?host={self.directory}&port={PORTS[server]}"

    def new_database(self, template: str = "template1") -> str:
        """Make a copy of a database that nobody uses now; its name."""
        name = f"t{uuid.uuid4().hex}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def catch_up(self) -> None:
        """Wait until the replica has all that the primary has."""
        position = self.sql("SELECT pg_current_wal_lsn()")
        deadline = time.monotonic() + TIMEOUT
        while self.sql(f"SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn", server="replica") != "t":
            if time.monotonic() > deadline:
                raise RuntimeError("the replica does not catch up")

    def remove(self) -> None:
        """Stop what runs, and delete everything."""
        for server in ("replica", "primary"):
            if (self.directory / server / "postmaster.pid").exists():
                self.wake(server)
                self.stop(server, "immediate")
        shutil.rmtree(self.directory, ignore_errors=True)


def new_cluster() -> Cluster:
    """A cluster of one's own, running; to be removed."""
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="qmpd-pg-", dir="/tmp")))
    try:
        cluster.make()
    except BaseException:
        cluster.remove()
        raise
    return cluster


class SharedCluster:
    """The cluster of this test run.

    :param directory: a directory that all workers of the run share.
    """

    def __init__(self, directory: Path) -> None:
        self._state = directory / "postgres.json"
        self._users = os.open(directory / "postgres.users", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        with (directory / "postgres.mutex").open("w") as mutex:
            fcntl.flock(mutex, fcntl.LOCK_EX)
            fcntl.flock(self._users, fcntl.LOCK_SH)
            self.cluster = self._found() or self._started(directory)

    def _found(self) -> Cluster | None:
        if not self._state.exists():
            return None
        known: Mapping[str, str] = json.loads(self._state.read_text())
        return Cluster(Path(known["directory"]))

    def _started(self, directory: Path) -> Cluster:
        cluster = new_cluster()
        self._state.write_text(json.dumps({"directory": str(cluster.directory)}))
        subprocess.Popen(
            [sys.executable, __file__, str(directory / "postgres.users"), str(self._state)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return cluster

    def close(self) -> None:
        """This worker needs it no more."""
        os.close(self._users)


def _reap(users: Path, state: Path) -> None:
    """Wait until nobody uses the cluster, then remove it."""
    with users.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = json.loads(state.read_text())
        Cluster(Path(known["directory"])).remove()
        state.unlink()


if __name__ == "__main__":
    _reap(Path(sys.argv[1]), Path(sys.argv[2]))
