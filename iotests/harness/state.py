"""What tests of the kept state do and ask: daemons on one directory, how a server looks, how jobs have ended."""

import contextlib
import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iotests.harness.images import Scratch
from iotests.harness.qmp import QMPClient
from iotests.harness.servers import Launcher, Server

SURELY_DEAD = 5
"""Seconds after the last sign of life of a daemon that was killed when it certainly did not write any more."""
_QUERIES = ("query-named-block-nodes", "query-block-exports", "query-block", "query-jobs")


class Place:
    """A state directory, and the daemons that use it, one after the other."""

    def __init__(self, launch: Launcher, scratch: Scratch) -> None:
        self.path = scratch / "state"
        self.nbd = scratch / "nbd.sock"
        self._launch = launch
        self._runs = 0

    def start(self, *arguments: str, directory: Path | None = None) -> Server:
        """The next daemon, in a directory of its own if need be."""
        self._runs += 1
        wrapper = () if directory is None else ("env", "-C", str(directory))
        return self._launch("--state-dir", str(self.path), *arguments, name=f"run{self._runs}", wrapper=wrapper)

    def serve(self, server: Server) -> None:
        """Start its NBD server."""
        server.qmp.command("nbd-server-start", addr={"type": "unix", "data": {"path": str(self.nbd)}})

    def uri(self, name: str) -> str:
        """Where an export is found, in any run."""
        return f"nbd+unix:///{name}?socket={self.nbd}"

    def export(self, server: Server, node: str) -> str:
        """Export a node for writing; its URI."""
        options = {"type": "nbd", "id": f"export-{node}", "node-name": node, "name": node, "writable": True}
        server.qmp.command("block-export-add", options)
        return self.uri(node)

    def refuses(self, *arguments: str) -> str:
        """Let the next daemon fail to start; what it says."""
        prepared = self._launch(start=False, name="refused")
        words = [*prepared.program(), "--state-dir", str(self.path), *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, done
        return done.stderr

    def fail_to_start(self, table: str) -> None:
        """Let the next daemon fail to start when it changes that table of the catalog, but not the one after it."""
        self.change_catalog(f"CREATE TRIGGER refuse BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END")
        self.refuses()
        self.change_catalog("DROP TRIGGER refuse")

    def bits(self) -> list[Path]:
        """The files of bitmaps."""
        return sorted(path for path in (self.path / "bitmaps").iterdir() if path.suffix == ".bits")

    def change_catalog(self, *statements: str) -> None:
        """Do something to the database that lies in the directory."""
        connection = sqlite3.connect(self.path / "catalog.sqlite", isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    def reboot(self) -> None:
        """Let the next daemon believe that the host was started again meanwhile."""
        self.change_catalog("UPDATE services SET boot_id = 'another boot'")
        for path in (self.path / "bitmaps").glob("*.closed"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": "another boot"}))


    def died_now(self) -> None:
        """Let the next daemon believe that the last one may have written until now, and no longer."""
        until = time.time()
        beat = until - SURELY_DEAD
        os.utime(self.path / "alive", (beat, beat))
        self.change_catalog(f"UPDATE services SET heartbeat_us = {int(beat * 1e6)}")
        # Files are dated by a clock that moves in steps.
        probe = self.path / "probe"
        probe.touch()
        while probe.stat().st_ctime <= until:
            probe.touch()
        probe.unlink()


@contextlib.contextmanager
def database_locked(place: Place) -> Iterator[None]:
    """Somebody else writes to the catalog, and does not come to an end."""
    connection = sqlite3.connect(place.path / "catalog.sqlite", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def look(server: Server) -> dict[str, Any]:
    """What queries tell, but for the space that files take.

    Bitmaps come by name: those that images store change their places once, as with QEMU.
    """
    answers = {name: server.qmp.command(name) for name in _QUERIES}
    answers["objects"] = objects_of(server)
    for node in answers["query-named-block-nodes"]:
        _forget_sizes(node["image"])
        node.get("dirty-bitmaps", []).sort(key=lambda bitmap: bitmap["name"])
    return answers


def objects_of(server: Server) -> list[dict[str, str]]:
    """The objects that clients have made. What they are below comes with the first one, and stays."""
    if not any(found["name"] == "objects" for found in server.qmp.command("qom-list", path="/")):
        return []
    found: list[dict[str, str]] = server.qmp.command("qom-list", path="/objects")
    return [one for one in found if one["name"] != "type"]


def _forget_sizes(image: dict[str, Any]) -> None:
    """Leave out what the closing of an image changes: its size on disk, and the bitmaps that it stores then."""
    for name in ("actual-size", "virtual-size") if image["format"] == "file" else ("actual-size",):
        image.pop(name, None)
    image.get("format-specific", {}).get("data", {}).pop("bitmaps", None)
    if "backing-image" in image:
        _forget_sizes(image["backing-image"])


def replay(client: QMPClient, since: int) -> list[dict[str, Any]]:
    """All events after number `since`."""
    found: list[dict[str, Any]] = []
    while True:
        part = client.command("replay-events", since=since, limit=7)
        found += part["events"]
        if not part["events"] or part["events"][-1]["seq"] == part["last"]:
            return found
        since = part["events"][-1]["seq"]


def outcomes(server: Server) -> list[str]:
    """How all jobs have ended; that is stored a little later than it is told."""
    while True:
        found = [job["outcome"] for job in server.qmp.command("catalog-query-jobs")]
        if "running" not in found:
            return found
        server.check()


def assert_in_use(server: Server, resource: str, amount: int) -> None:
    """Wait until so much of a resource is in use; what has ended is noted a little later."""
    while True:
        quotas = server.qmp.command("catalog-query-quotas")
        if next(quota["in-use"] for quota in quotas if quota["resource"] == resource) == amount:
            return
        server.check()
