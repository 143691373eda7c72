"""Daemons that keep their state on a PostgreSQL with a replica, and what they do when it fails them.

Whatever becomes of the database, guests do not wait for it: their slowest request is held against the time that a
transaction of the catalog may take, since that is how long one that waited for the database would have waited.
"""

import contextlib
import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Launcher, QMPClient, QMPRefused, Scratch, Server
from iotests.harness.backups import SLOW, await_first_chunk, volume
from iotests.harness.images import KIB, MIB
from iotests.harness.load import Load
from iotests.harness.relay import Relay
from iotests.harness.remote import QemuNbd
from iotests.harness.repeating import Repeating
from iotests.harness.state import look, replay
from iotests.harness.tools import qemu_io
from tests.postgres import Cluster
from tests.soak import count

pytestmark = pytest.mark.qmpd_only("qemu-storage-daemon keeps no state")

TIME_LIMIT = 5.0
"""Seconds that a transaction of a daemon's catalog may take."""
PATIENCE = 90.0

Stop = Callable[[Cluster], None]


def crash(cluster: Cluster) -> None:
    """The server ends from one moment to the next."""
    cluster.stop("primary", "immediate")


def fall_silent(cluster: Cluster) -> None:
    """The server is there, and says nothing."""
    cluster.silence("primary")


HOW = pytest.mark.parametrize("stop", [crash, fall_silent])


class Site:
    """One database, and the daemons that share it."""

    def __init__(self, launch: Launcher, scratch: Scratch, cluster: Cluster) -> None:
        self.cluster = cluster
        self.scratch = scratch
        self.database = cluster.new_database()
        cluster.catch_up()
        self._launch = launch
        self._runs = 0

    def start(self, state: str = "state", *options: str, replica: bool = True, by: Path | None = None) -> Server:
        """A daemon with the state directory `state`; `by` is a directory with another way to the primary."""
        self._runs += 1
        cluster = self.cluster if by is None else Cluster(by)
        words = ["--state-dir", str(self.scratch / state), "--catalog", cluster.url(self.database)]
        if replica:
            words += ["--catalog-replica", self.cluster.url(self.database, "replica")]
        return self._launch(*words, *options, name=f"run{self._runs}")

    def refused(self, *, database: str = "", server: str = "primary") -> str:
        """Start a daemon that has to refuse; what it says."""
        url = self.cluster.url(database or self.database, server)
        prepared = self._launch(start=False, name="refused")
        words = [*prepared.program(), "--state-dir", str(self.scratch / "refused"), "--catalog", url]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 1 and done.stdout == "", done
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def sql(self, statement: str) -> str:
        """Run a statement on the primary."""
        return self.cluster.sql(statement, self.database)

    @contextlib.contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Somebody else has locked a table."""
        words = ["psql", "-X", "-q", "-t", "-A", "-h", str(self.cluster.directory), "-U", "postgres", self.database]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdin is not None and other.stdout is not None
            other.stdin.write(f"BEGIN; LOCK TABLE {table}; SELECT 'locked';\n")
            other.stdin.flush()
            assert other.stdout.readline() == "locked\n"
            yield
            other.stdin.close()


@pytest.fixture
def site(launch: Launcher, scratch: Scratch, cluster: Cluster) -> Site:
    """On servers that run all the time."""
    return Site(launch, scratch, cluster)


@pytest.fixture
def own_site(launch: Launcher, scratch: Scratch, own_cluster: Cluster) -> Site:
    """On servers that the test may stop."""
    return Site(launch, scratch, own_cluster)


def eventually(server: Server, what: str, happened: Callable[[], bool]) -> None:
    """Wait for something that happens a little later, in the database or on its replica."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        server.check()
        assert time.monotonic() < deadline, f"it does not happen that {what}"
        time.sleep(0.05)  # what is stored announces itself in no other way


def await_outcomes(server: Server, *expected: str) -> None:
    """Wait until the catalog has these jobs, newest first."""

    eventually(server, f"jobs are {expected}", lambda: outcomes(server) == list(expected))


def told(server: Server) -> list[tuple[str, Any]]:
    """What the first session was told."""
    server.qmp.command("query-version")
    return [(event.name, event.data) for event in server.qmp.events]


def replayed(server: Server) -> list[tuple[str, Any]]:
    """What is kept of all that, told again; numbers without a gap."""
    events = replay(server.qmp, 0)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    return [(event["event"], event.get("data", {})) for event in events]


class TestStopped:
    """PostgreSQL stops."""

    @HOW
    def test_during_a_backup(self, own_site: Site, scratch: Scratch, stop: Stop) -> None:
        """Guests do not notice, the job ends well, and the catalog has it all when the database is back."""
        server = own_site.start()
        disk = volume(server, scratch, "disk")
        server.export("disk")
        with Load(server.nbd_path, "disk", disk.disk.length) as load:
            bitmap = {"node": "disk", "name": "bits", "persistent": True}
            server.transaction(
                ("block-dirty-bitmap-add", bitmap), ("blockdev-backup", disk.backup(speed=SLOW)), grouped=True
            )
            await_first_chunk(server, disk.job)
            stop(own_site.cluster)
            load.go_on(200, seconds=count(0, 10))
            server.qmp.command("block-job-set-speed", device=disk.job, speed=0)
            server.qmp.wait_job(disk.job, "null")
            load.go_on(200)
            assert server.qmp.seen("BLOCK_JOB_COMPLETED", device=disk.job)[0].data.get("error") is None
            assert server.qmp.command("catalog-query-services")[0]["self"]
            own_site.cluster.revive()
            await_outcomes(server, "completed")
            load.go_on(50)
        assert load.longest < TIME_LIMIT
        (backup,) = server.qmp.command("catalog-query-backups")
        assert (backup["outcome"], backup["bitmap"], backup["copied"]) == ("completed", "bits", disk.disk.length)
        (group,) = server.qmp.command("catalog-query-groups")
        assert group["outcome"] == "completed"
        assert replayed(server) == told(server)
        before = look(server), told(server)
        assert server.terminate() == 0
        server = own_site.start()
        assert replayed(server)[: len(before[1])] == before[1]

    @HOW
    def test_before_a_transaction(self, own_site: Site, scratch: Scratch, stop: Stop) -> None:
        """Nothing begins that could not be recorded, and no disk stands still meanwhile."""
        server = own_site.start()
        disk = volume(server, scratch, "disk")
        server.export("disk")
        actions = (
            ("block-dirty-bitmap-add", {"node": "disk", "name": "bits", "persistent": True}),
            ("blockdev-backup", disk.backup()),
        )
        before = look(server)
        with Load(server.nbd_path, "disk", disk.disk.length) as load:
            load.go_on(50)
            stop(own_site.cluster)
            assert "the catalog" in refused(server, actions)
            assert look(server) == before
            load.go_on(50)
            own_site.cluster.revive()
            server.transaction(*actions, grouped=True)
            server.qmp.wait_job(disk.job, "null")
        assert load.longest < TIME_LIMIT
        await_outcomes(server, "completed")

    @HOW
    def test_while_a_transaction_prepares(self, own_site: Site, scratch: Scratch, stop: Stop) -> None:
        """It aborts, everything is as it was, and then works."""
        server = own_site.start()
        disk, other = volume(server, scratch, "disk"), volume(server, scratch, "other", seed=2)
        server.export("disk")
        server.export("other")
        far = scratch.disk("far", disk.disk.length)
        before = look(server)
        bits = list((scratch / "state" / "bitmaps").iterdir())
        with QemuNbd(scratch, far) as nbd, Relay(scratch / "gate", nbd.path, is_open=False) as gate:
            target = {"target": f"nbd+unix:///x?socket={gate.path}", "format": "raw", "mode": "existing"}
            actions = (
                ("block-dirty-bitmap-add", {"node": "disk", "name": "bits", "persistent": True}),
                ("drive-backup", {"job-id": "far", "device": "disk", "sync": "full", **target}),
            )
            with Load(server.nbd_path, "other", other.disk.length) as load:
                asked = server.qmp.send("transaction", transaction(actions))
                gate.await_client()
                stop(own_site.cluster)
                load.go_on(20)
                gate.open()
                with pytest.raises(QMPRefused, match="the catalog"):
                    server.qmp.reply_to(asked)
                qemu_io(server.nbd_uri("disk"), "write 0 64k")
                assert look(server) == before
                assert list((scratch / "state" / "bitmaps").iterdir()) == bits
                own_site.cluster.revive()
                load.go_on(20)
            assert load.longest < TIME_LIMIT
            server.transaction(*actions, grouped=True)
            server.qmp.wait_job("far", "null")
            await_outcomes(server, "completed")

    def test_again_and_again_under_load(self, own_site: Site, scratch: Scratch) -> None:
        """Commands are carried out and stored, or refused and leave nothing; a restart shows what was there."""
        server = own_site.start(replica=False)
        disk = volume(server, scratch, "disk")
        server.export("disk")
        with Load(server.nbd_path, "disk", disk.disk.length) as load, Admin(server) as admin:
            for mode in ("fast", "immediate", *("immediate",) * count(0, 20)):
                admin.go_on(10)
                own_site.cluster.stop("primary", mode)
                own_site.cluster.start("primary")
            admin.go_on(10)
        assert load.longest < TIME_LIMIT
        disk.run()
        before = look(server)
        assert own_site.sql(_BITMAPS).split() == sorted(server.bitmaps("disk"))
        assert server.terminate() == 0
        server = own_site.start(replica=False)
        assert look(server) == before
        assert [job["outcome"] for job in server.qmp.command("catalog-query-jobs")] == ["completed"]


class TestAnswerLost:
    """The connection is lost when the database has committed, and before it could say so."""

    def test_what_was_stored_for_nothing(self, site: Site, scratch: Scratch) -> None:
        """A command is refused and undone; the catalog follows, and so does the next run."""
        with Relay(scratch / ".s.PGSQL.5432", site.cluster.directory / ".s.PGSQL.5432") as line:
            server = site.start(replica=False, by=line.path.parent)
            disk, target = scratch.disk("disk"), scratch.disk("target")
            raw = {"driver": "raw", "node-name": "disk", "file": {"driver": "file", "filename": str(disk.path)}}
            self._refused(server, line, b"INSERT INTO volumes", "blockdev-add", raw)
            assert server.node_names() == set()
            eventually(server, "the node goes", lambda: server.qmp.command("catalog-query-volumes") == [])
            server.add_raw(disk)
            server.add_raw(target)
            server.qmp.command("block-dirty-bitmap-add", node="disk", name="bits", persistent=True)
            before = look(server)
            bitmap = {"node": "disk", "name": "bits"}
            self._refused(server, line, b"UPDATE bitmaps SET removed_us", "block-dirty-bitmap-remove", bitmap)
            eventually(server, "the bitmap comes back", lambda: site.sql(_BITMAPS) == "bits")
            job = {"job-id": "job", "device": "disk", "target": "target", "sync": "full"}
            more = {"node": "disk", "name": "more", "persistent": True}
            actions = (("block-dirty-bitmap-add", more), ("blockdev-backup", job))
            self._refused(server, line, b"INSERT INTO groups", "transaction", transaction(actions))
            eventually(server, "the bitmap goes", lambda: site.sql(_BITMAPS) == "bits")
            eventually(server, "the job ends", lambda: outcomes(server) == ["cancelled"])
            self._refused(server, line, b"UPDATE volumes SET deleted_us", "blockdev-del", {"node-name": "target"})
            eventually(server, "the node comes back", lambda: volumes(server) == {"disk", "target"})
            assert look(server) == before
            assert server.qmp.command("catalog-query-groups")[0]["outcome"] == "cancelled"
            eventually(server, "only what is there counts", lambda: in_use(server) == {"jobs": 0, "bitmaps": 1})
            assert server.terminate() == 0
            assert look(site.start()) == before

    @staticmethod
    def _refused(server: Server, line: Relay, beginning: bytes, command: str, arguments: dict[str, Any]) -> None:
        """Run a command whose database transaction begins so, and lose the answer to its end."""
        line.lose_answer(beginning, b"COMMIT")
        assert "has lost its connection" in server.qmp.refused(command, arguments)
        line.await_loss()

    def test_what_has_happened_is_stored_once(self, site: Site, scratch: Scratch) -> None:
        with Relay(scratch / ".s.PGSQL.5432", site.cluster.directory / ".s.PGSQL.5432") as line:
            server = site.start(replica=False, by=line.path.parent)
            server.add_raw(scratch.disk("disk"))
            server.add_raw(scratch.disk("target"))
            line.lose_answer(b"INSERT INTO jobs", b"COMMIT")
            server.qmp.command("blockdev-mirror", job_id="job", device="disk", target="target", sync="full")
            line.await_loss()
            server.qmp.wait_event("BLOCK_JOB_READY", device="job")
            server.qmp.command("block-job-complete", device="job")
            server.qmp.wait_job("job", "null")
            eventually(server, "it is stored", lambda: outcomes(server) == ["completed"])
            assert replayed(server) == told(server)


class TestSeveralDaemons:
    """Three daemons, one database, one replica."""

    def test_kept_apart_and_seen_as_down(self, site: Site, scratch: Scratch) -> None:
        servers = {name: site.start(name) for name in ("one", "two", "three")}
        for name, server in servers.items():
            disk = volume(server, scratch, name)
            server.transaction(("blockdev-backup", disk.backup()))
            server.qmp.wait_job(disk.job, "null")
        for name, server in servers.items():
            await_outcomes(server, "completed")
            assert [job["job-id"] for job in server.qmp.command("catalog-query-jobs")] == [f"job-{name}"]
            assert volumes(server) == {name, f"{name}-target"}
            assert replayed(server) == told(server)
        everything = servers["one"].qmp.command("catalog-query-jobs", service="*")
        assert {job["job-id"] for job in everything} == {"job-one", "job-two", "job-three"}
        listed = {service["name"]: service for service in services(servers["two"])}
        assert {name: service["pid"] for name, service in listed.items()} == {
            name: server.pid for name, server in servers.items()
        }
        assert {name for name, service in listed.items() if service["self"]} == {"two"}
        self._kill_one(site, servers)

    def _kill_one(self, site: Site, servers: dict[str, Server]) -> None:
        """It is seen as down when its heart has not beaten for a minute; here the minute is in the database."""
        servers["three"].kill()
        assert alive(servers["one"]) == {"one", "two", "three"}
        site.sql("UPDATE services SET heartbeat_us = heartbeat_us - 60000000")
        for server in (servers["one"], servers["two"]):
            eventually(server, "it is seen as down", partial(sees_alive, server, "one", "two"))
        (down,) = servers["one"].qmp.command("catalog-query-services", alive=False)
        assert down["name"] == "three" and "stopped" not in down
        again = site.start("three")
        eventually(again, "it is back", lambda: alive(again) == {"one", "two", "three"})
        assert volumes(again) == {"three", "three-target"}
        assert servers["two"].terminate() == 0
        eventually(again, "one has ended", lambda: alive(again) == {"one", "three"})

    def test_a_limit_for_all_together(self, site: Site, scratch: Scratch) -> None:
        one, two = site.start("one"), site.start("two")
        disks = [volume(server, scratch, name) for server, name in ((one, "a"), (two, "b"))]
        one.qmp.command("catalog-set-quota", resource="jobs", scope="all", limit=1)
        one.transaction(("blockdev-backup", disks[0].backup(speed=SLOW)))
        assert "'jobs' for all daemons" in two.qmp.refused("blockdev-backup", disks[1].backup())
        one.qmp.command("block-job-cancel", device="job-a", force=True)
        one.qmp.wait_job("job-a", "null")
        await_outcomes(one, "cancelled")
        disks[1].run()


class TestManySessions:
    """A hundred commands at a time."""

    def test_transactions_are_kept_apart(self, site: Site) -> None:
        """Each session's transaction is stored as a whole or, every third of them, not at all."""
        names = [f"{kind}{number}" for kind in ("disk", "target") for number in range(100)]
        nodes = (("--blockdev", f"driver=null-co,node-name={name},size={MIB}") for name in names)
        server = site.start("state", *itertools.chain(*nodes), replica=False)
        sessions = [server.connect() for _ in range(100)]
        asked = [session.send("transaction", self._transaction(number)) for number, session in enumerate(sessions)]
        for number, (session, request) in enumerate(zip(sessions, asked, strict=True)):
            if number % 3 == 0:
                with pytest.raises(QMPRefused, match="'nothing'"):
                    session.reply_to(request)
            else:
                session.reply_to(request)
        expected = {number for number in range(100) if number % 3}
        eventually(server, "all have ended", lambda: outcomes(server) == ["completed"] * len(expected))
        groups = server.qmp.command("catalog-query-groups", limit=1000)
        assert {(group["jobs"][0]["device"], len(group["jobs"])) for group in groups} == {
            (f"disk{number}", 1) for number in expected
        }
        assert len({group["session"] for group in groups}) == len({group["uuid"] for group in groups}) == len(expected)
        assert set(site.sql(_BITMAPS).split()) == {f"bits{number}" for number in expected}
        for session in sessions:
            session.close()

    @staticmethod
    def _transaction(number: int) -> dict[str, Any]:
        job = {"job-id": f"job{number}", "device": f"disk{number}", "target": f"target{number}", "sync": "full"}
        bitmap = {"node": f"disk{number}", "name": f"bits{number}"}
        wrong = [("block-dirty-bitmap-clear", {"node": f"disk{number}", "name": "nothing"})] * (number % 3 == 0)
        return transaction([("block-dirty-bitmap-add", bitmap), ("blockdev-backup", job), *wrong])


class TestFaults:
    """What a daemon says of a database that it cannot use, and what it does without."""

    def test_refusing_to_start(self, site: Site) -> None:
        site.start().terminate()
        assert "the database does not exist on the server" in site.refused(database="nonesuch")
        assert "the database server is read-only" in site.refused(server="replica")
        site.sql("UPDATE alembic_version SET version_num = '9999'")
        assert "the catalog has version 9999" in site.refused()

    def test_a_server_that_is_not_there(self, own_site: Site) -> None:
        own_site.cluster.stop("primary")
        assert "cannot be reached: No such file or directory" in own_site.refused()

    def test_a_replica_that_is_not_there(self, own_site: Site, scratch: Scratch) -> None:
        """Questions to the history are refused until it is back; all else goes on."""
        server = own_site.start()
        own_site.cluster.stop("replica")
        assert "the catalog" in server.qmp.refused("catalog-query-jobs")
        disk = volume(server, scratch, "disk")
        disk.run()
        own_site.cluster.revive()
        await_outcomes(server, "completed")

    def test_cut_off_between_prepare_and_commit(self, site: Site, scratch: Scratch) -> None:
        """While it is stored what a transaction has prepared, the connection is lost."""
        server = site.start(replica=False)
        disk = volume(server, scratch, "disk")
        server.export("disk")
        actions = (
            ("block-dirty-bitmap-add", {"node": "disk", "name": "bits", "persistent": True}),
            ("blockdev-backup", disk.backup()),
        )
        before = look(server)
        waiting = f"datname = '{site.database}' AND wait_event_type = 'Lock'"
        with site.locked("groups"):
            asked = server.qmp.send("transaction", transaction(actions))
            cut = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {waiting}"
            eventually(server, "it is being stored", lambda: site.sql(cut) == "1")
            with pytest.raises(QMPRefused, match="has lost its connection"):
                server.qmp.reply_to(asked)
            qemu_io(server.nbd_uri("disk"), "write 0 64k")
            assert look(server) == before
        server.transaction(*actions, grouped=True)
        server.qmp.wait_job(disk.job, "null")
        await_outcomes(server, "completed")

    def test_a_full_disk(self, launch: Launcher, scratch: Scratch) -> None:
        """The embedded database cannot grow: what would have to be stored is refused, guests go on."""
        state = ("--state-dir", str(scratch / "state"))
        server = launch(*state, name="run1")
        disk = volume(server, scratch, "disk")
        uri = server.export("disk")
        before = look(server)
        with server.file_size_limit(4 * KIB):
            assert "the catalog cannot be" in server.qmp.refused("block-dirty-bitmap-add", node="disk", name="bits")
            assert "the catalog cannot be" in server.qmp.refused("blockdev-backup", disk.backup())
            qemu_io(uri, "write -P 5 0 4k")
            assert look(server) == before
        disk.run()
        assert server.terminate() == 0
        server = launch(*state, name="run2")
        await_outcomes(server, "completed")

    def test_a_file_that_is_no_database(self, launch: Launcher, scratch: Scratch) -> None:
        launch("--state-dir", str(scratch / "state"), name="run1").terminate()
        (scratch / "state" / "catalog.sqlite").write_bytes(b"something else entirely" * 1000)
        prepared = launch(start=False, name="refused")
        words = [*prepared.program(), "--state-dir", str(scratch / "state")]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 1 and "not an SQLite database" in done.stderr


_BITMAPS = "SELECT name FROM bitmaps WHERE removed_us IS NULL ORDER BY name"


def outcomes(server: Server) -> list[str]:
    """How jobs have ended, newest first."""
    return [job["outcome"] for job in server.qmp.command("catalog-query-jobs", limit=1000)]


def volumes(server: Server) -> set[str]:
    """The nodes that the catalog knows of this daemon."""
    return {volume["node-name"] for volume in server.qmp.command("catalog-query-volumes")}


def services(server: Server) -> list[dict[str, Any]]:
    """The daemons of the database."""
    found: list[dict[str, Any]] = server.qmp.command("catalog-query-services")
    return found


def in_use(server: Server) -> dict[str, int]:
    """What counts for limits."""
    quotas = server.qmp.command("catalog-query-quotas", scope="daemon")
    return {quota["resource"]: quota["in-use"] for quota in quotas if quota["resource"] != "backup-bytes"}


def sees_alive(server: Server, *names: str) -> bool:
    """Whether just these run."""
    return alive(server) == set(names)


def alive(server: Server) -> set[str]:
    """Those that run."""
    return {service["name"] for service in services(server) if service["alive"]}


def transaction(actions: Any) -> dict[str, Any]:
    """Arguments of a grouped transaction."""
    return {
        "actions": [{"type": kind, "data": data} for kind, data in actions],
        "properties": {"completion-mode": "grouped"},
    }


def refused(server: Server, actions: Any) -> str:
    """A grouped transaction that has to fail; why."""
    return server.qmp.refused("transaction", transaction(actions))


class Admin(Repeating[QMPClient]):
    """A client that adds and removes bitmaps all the time; what is refused must be the database's fault."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.connect())
        self._number = 0
        self.refusals: list[str] = []

    def step(self) -> None:
        self._number += 1
        self._until_done("block-dirty-bitmap-add", name=f"b{self._number}", persistent=True)
        if self._number > 3:
            self._until_done("block-dirty-bitmap-remove", name=f"b{self._number - 3}")

    def _until_done(self, command: str, **arguments: Any) -> None:
        while True:
            try:
                self._client.command(command, node="disk", **arguments)
                return
            except QMPRefused as refusal:
                assert "the catalog" in refusal.desc, refusal.desc
                self.refusals.append(refusal.desc)
