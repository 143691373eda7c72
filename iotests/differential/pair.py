"""Two servers for many transcripts: started when needed, emptied after each transcript, replaced when they end.

A server that cannot be emptied is replaced as well, so that no transcript meets what another has left.
"""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator

from iotests.differential.compare import Finding, Verdict, compare
from iotests.differential.normal import Normalizer
from iotests.differential.player import PATIENCE, Player, Recording
from iotests.differential.transcript import Transcript
from iotests.harness import SERVER_KINDS, QMPClient, QMPRefused, QMPTimeout, Scratch, Server, ServerDied
from iotests.harness.qmp import QMPClosed

MONITORS = 4
"""The first for housekeeping, the others for the sessions of transcripts."""


class Side:
    """One of the two servers, and the directory that it runs in. Nothing else may be in there."""

    def __init__(self, kind: str, scratch: Scratch) -> None:
        self._kind = kind
        self._scratch = scratch
        self._server: Server | None = None
        self._starts = 0
        self.directory = scratch / f"{kind}-images"

    def play(self, transcript: Transcript) -> Recording:
        """Play a transcript and take away what it has left."""
        server = self._ready(transcript.options)
        try:
            return Player(server, self.directory).play(transcript)
        finally:
            self._tidy(server)
            if transcript.options:
                self.close()

    def complaint(self) -> str:
        """What the server has to say about bugs of its own; empty if nothing."""
        try:
            if self._server is not None:
                self._server.check_stderr()
        except ServerDied as complaint:
            self.close()
            return str(complaint)
        return ""

    def close(self) -> None:
        """End the server without asking."""
        if self._server is not None:
            self._server.qmp.close()
            self._server.kill()
            self._server = None

    def _ready(self, options: tuple[str, ...]) -> Server:
        if options:
            self.close()
        if self._server is None:
            self.directory.mkdir(exist_ok=True)
            self._starts += 1
            kind = SERVER_KINDS[self._kind]
            wrapper = ["env", f"--chdir={self.directory}"]
            name = f"{self._kind}{self._starts}"
            self._server = kind(self._scratch, name=name, arguments=options, monitors=MONITORS, wrapper=wrapper)
            self._server.start().qmp.patience = PATIENCE
        return self._server

    def _tidy(self, server: Server) -> None:
        """Leave no node, job, file or anything; a server with which that is not possible is ended."""
        try:
            clean = _empty(server.qmp)
        except (QMPClosed, QMPTimeout):
            clean = False
        if not clean:
            self.close()
        for path in self.directory.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGTERM)
        for path in self.directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                # A server that has just been told to end takes its socket along.
                path.unlink(missing_ok=True)


class Pair:
    """qmpd and its peer."""

    def __init__(self, scratch: Scratch) -> None:
        self._sides = {kind: Side(kind, scratch) for kind in SERVER_KINDS}

    def play(self, transcript: Transcript) -> Verdict:
        """Play a transcript on both and compare."""
        ours, theirs = self._sides["qmpd"], self._sides[transcript.peer]
        recordings = ours.play(transcript), theirs.play(transcript)
        verdict = compare(transcript, *recordings, Normalizer(ours.directory), Normalizer(theirs.directory))
        complaint = ours.complaint()
        if complaint:
            verdict.findings.append(Finding(0, "qmpd", complaint))
        return verdict

    def close(self) -> None:
        """End all servers."""
        for side in self._sides.values():
            side.close()


@contextlib.contextmanager
def servers(scratch: Scratch) -> Iterator[Pair]:
    """A pair for the time of a block."""
    pair = Pair(scratch)
    try:
        yield pair
    finally:
        pair.close()


def _empty(qmp: QMPClient) -> bool:
    """Take everything away that a client can make; whether nothing is left."""
    for job in qmp.command("query-jobs"):
        _end_job(qmp, job["id"])
    for export in qmp.command("query-block-exports"):
        _try(qmp, "block-export-del", id=export["id"], mode="hard")
    _try(qmp, "nbd-server-stop")
    while any(_try(qmp, "blockdev-del", node_name=name) for name in _nodes(qmp)):
        pass
    for name in _objects(qmp):
        _try(qmp, "object-del", id=name)
    for device in qmp.command("query-chardev"):
        _try(qmp, "chardev-remove", id=device["label"])  # those of monitors are in use, and stay
    qmp.forget_events()
    return not _nodes(qmp) and not qmp.command("query-jobs") and not qmp.command("query-block-exports")


def _end_job(qmp: QMPClient, job: str) -> None:
    _try(qmp, "job-cancel", id=job)
    if qmp.wait_job(job, "concluded", "null") == "concluded":
        _try(qmp, "job-dismiss", id=job)


def _nodes(qmp: QMPClient) -> list[str]:
    return [node["node-name"] for node in qmp.command("query-named-block-nodes", flat=True)]


def _objects(qmp: QMPClient) -> list[str]:
    try:
        entries = qmp.command("qom-list", path="/objects")
    except QMPRefused:  # there has never been one
        return []
    return [entry["name"] for entry in entries if entry["name"] != "type"]


def _try(qmp: QMPClient, command: str, **arguments: str) -> bool:
    """Run a command that may be refused; whether it was not."""
    try:
        qmp.command(command, **arguments)
    except QMPRefused:
        return False
    return True
