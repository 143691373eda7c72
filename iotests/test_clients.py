"""Other people's clients, unmodified: qmp-shell by hand on a terminal, and qemu.qmp's QMPClient."""

import asyncio
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import EventListener, QMPClient

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.backups import FAR, SLOW, Volume, volume
from iotests.harness.images import MIB

PROMPT = "(QEMU) "
IN_TRANSACTION = "TRANS> "
TIMEOUT = 60.0


class Shell:
    """qmp-shell on a pseudo-terminal, driven like a person would: type, wait for what appears, type on."""

    def __init__(self, address: str, home: Path, *options: str) -> None:
        self._master, slave = pty.openpty()
        environment = os.environ | {"HOME": str(home), "TERM": "dumb", "COLUMNS": "4000"}
        self._process = subprocess.Popen(
            [str(Path(sys.executable).with_name("qmp-shell")), *options, address],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.screen = ""

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def wait_for(self, text: str) -> str:
        """Wait until the text appears; give, and forget, all up to and with it."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.screen:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"qmp-shell did not show {text!r}:\n{self.screen}"
            self.screen += self._read()
        seen, _, self.screen = self.screen.partition(text)
        return seen + text

    def _read(self) -> str:
        try:
            chunk = os.read(self._master, 65536)
        except OSError as error:
            raise AssertionError(f"qmp-shell ended:\n{self.screen}") from error
        return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]|\x07", "", chunk.decode(errors="replace"))

    def line(self, command: str, prompt: str = PROMPT) -> str:
        """Type a line and wait for the next prompt; give what was answered."""
        self.type(command + "\n")
        return self.wait_for(prompt)

    def close(self) -> None:
        """Hang up."""
        os.close(self._master)
        self._process.kill()
        self._process.wait()


@pytest.fixture
def two_sessions(launch: Launcher) -> Server:
    """A server with a second monitor, which is left to the client under test."""
    return launch(monitors=2)


@pytest.fixture
def shell(two_sessions: Server, scratch: Scratch) -> Iterator[Shell]:
    """qmp-shell, connected and waiting for input."""
    made = Shell(str(two_sessions.monitor_paths[1]), scratch.directory)
    try:
        made.wait_for("Connected to QEMU 7.2")
        made.wait_for(PROMPT)
        yield made
    finally:
        made.close()


class TestShell:
    """Its line syntax, its completion, and a transaction typed line by line."""

    def test_commands(self, shell: Shell, two_sessions: Server) -> None:
        assert "'micro'" in shell.line("query-version") or '"micro"' in shell.line("query-version")
        assert "return" in shell.line("blockdev-add driver=null-co node-name=n size=1048576")
        assert "n" in two_sessions.node_names()
        assert "GenericError" in shell.line("blockdev-del node-name=nobody")
        assert "CommandNotFound" in shell.line("no-such-command")

    def test_nested_arguments(self, shell: Shell, two_sessions: Server, scratch: Scratch) -> None:
        disk = scratch.disk("img", MIB)
        shell.line(f"blockdev-add driver=raw node-name=r file={{'driver':'file','filename':'{disk.path}'}}")
        assert "r" in two_sessions.node_names()

    def test_completion(self, shell: Shell) -> None:
        """Command names come from query-commands; a tab completes them, two list them."""
        shell.type("query-vers\t")
        shell.wait_for("query-version")
        shell.type("\n")
        shell.wait_for(PROMPT)
        shell.type("block-dirty-bitmap-\t\t")
        for name in ("add", "clear", "disable", "enable", "merge", "remove"):
            shell.wait_for(f"block-dirty-bitmap-{name}")

    def test_transaction_by_hand(self, shell: Shell, two_sessions: Server, scratch: Scratch) -> None:
        """Two bitmaps and two backups, all in one transaction."""
        copies = [volume(two_sessions, scratch, name) for name in ("a", "b")]
        shell.line("transaction(", IN_TRANSACTION)
        for copy in copies:
            shell.line(f"block-dirty-bitmap-add node={copy.name} name=b", IN_TRANSACTION)
            words = f"job-id={copy.job} device={copy.name} target={copy.target_name} sync=full"
            shell.line(f"blockdev-backup {words}", IN_TRANSACTION)
        answer = shell.line(")")
        assert "return" in answer and "error" not in answer.replace("errors", "")
        for copy in copies:
            two_sessions.qmp.wait_job(copy.job, "null")
            copy.assert_target_is(copy.disk)
            assert set(two_sessions.bitmaps(copy.name)) == {"b"}

    def test_failing_transaction_by_hand(self, shell: Shell, two_sessions: Server) -> None:
        two_sessions.add_null("n", MIB)
        shell.line("transaction(", IN_TRANSACTION)
        shell.line("block-dirty-bitmap-add node=n name=b", IN_TRANSACTION)
        shell.line("block-dirty-bitmap-add node=nobody name=b", IN_TRANSACTION)
        assert "GenericError" in shell.line(")")
        assert two_sessions.bitmaps("n") == {}


@pytest.fixture
def machine(launch: Launcher) -> Server:
    """A server with a second monitor; a QEMU has a machine with a processor, to which qmp-shell -H refers."""
    return launch(*(("-machine", "pc", "-S") if launch.kind == "qemu" else ()), monitors=2)


@pytest.fixture
def human_shell(machine: Server, scratch: Scratch) -> Iterator[Shell]:
    """qmp-shell -H, which lets a person type lines of QEMU's monitor."""
    made = Shell(str(machine.monitor_paths[1]), scratch.directory, "-H")
    try:
        made.wait_for("Welcome to the HMP shell!")
        made.wait_for(PROMPT)
        yield made
    finally:
        made.close()


@pytest.mark.peer("qemu")
class TestHumanShell:
    """qmp-shell -H: each line is a `human-monitor-command`."""

    def test_questions(self, human_shell: Shell, machine: Server) -> None:
        assert "7.2" in human_shell.line("info version")
        assert "No active jobs" in human_shell.line("info block-jobs")
        machine.add_null("node0", MIB)
        assert "node0: " in human_shell.line("info block -n")
        assert "unknown command" in human_shell.line("no-such-command")

    def test_completion(self, human_shell: Shell) -> None:
        """Names come from what `help` and `info` answer."""
        human_shell.type("info block-j\t")
        human_shell.wait_for("info block-jobs")
        human_shell.type("\n")
        human_shell.wait_for("No active jobs")

    def test_io(self, human_shell: Shell, machine: Server, scratch: Scratch) -> None:
        disk = scratch.disk("disk", MIB)
        machine.add_raw(disk)
        human_shell.line('qemu-io disk "write -P 5 64k 64k"')
        assert "Pattern verification failed" not in human_shell.line('qemu-io disk "read -P 5 64k 64k"')
        assert "Error" in human_shell.line('qemu-io nobody "read 0 512"')
        human_shell.line('qemu-io disk "flush"')
        assert disk.read(64 << 10, 64 << 10) == b"\5" * (64 << 10)


class TestClientLibrary:
    """qemu.qmp.QMPClient."""

    async def story(self, address: str, actions: list[dict[str, Any]], jobs: set[str]) -> list[dict[str, Any]]:
        """Run a grouped transaction and give its events up to the end of all jobs."""
        client = QMPClient("iotests")
        await client.connect(address)
        told: list[dict[str, Any]] = []
        try:
            assert client.greeting is not None
            listener = EventListener()
            with client.listen(listener):
                arguments = {"actions": actions, "properties": {"completion-mode": "grouped"}}
                assert await client.execute("transaction", arguments) == {}
                open_jobs = set(jobs)
                async for event in listener:
                    told.append(json.loads(str(event)))
                    data = told[-1]["data"]
                    if event["event"] == "JOB_STATUS_CHANGE" and data["status"] == "null":
                        open_jobs.discard(data["id"])
                    if not open_jobs:
                        break
            assert await client.execute("query-jobs") == []
        finally:
            await client.disconnect()
        return told

    def run(self, server: Server, copies: list[Volume], **options: Any) -> list[tuple[str, str, bool]]:
        """The ends of a grouped backup, as the library saw them: event, job, and whether with an error."""
        actions = [{"type": "blockdev-backup", "data": copy.backup(**options)} for copy in copies]
        jobs = {copy.job for copy in copies}
        address = str(server.monitor_paths[1])
        told = asyncio.run(asyncio.wait_for(self.story(address, actions, jobs), TIMEOUT))
        return sorted(
            (event["event"], event["data"]["device"], "error" in event["data"])
            for event in told
            if event["event"] in {"BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED"}
        )

    def test_grouped_backup(self, two_sessions: Server, scratch: Scratch) -> None:
        """A failure first, then the same command again."""
        copies = [volume(two_sessions, scratch, name, far=True) for name in ("a", "b")]
        with two_sessions.file_size_limit(FAR):
            ends = self.run(two_sessions, copies[:1], speed=SLOW * SLOW)
        assert ends == [("BLOCK_JOB_COMPLETED", "job-a", True)]
        assert self.run(two_sessions, copies) == [
            ("BLOCK_JOB_COMPLETED", "job-a", False),
            ("BLOCK_JOB_COMPLETED", "job-b", False),
        ]
        for copy in copies:
            copy.assert_target_is(copy.disk)

    def test_pipelined_commands(self, two_sessions: Server) -> None:
        """Many commands at once through the library, each with its own reply."""

        async def many() -> None:
            client = QMPClient("iotests")
            await client.connect(str(two_sessions.monitor_paths[1]))
            try:
                adds = [
                    client.execute("blockdev-add", {"driver": "null-co", "node-name": f"n{number}", "size": MIB})
                    for number in range(50)
                ]
                assert await asyncio.gather(*adds) == [{}] * 50
            finally:
                await client.disconnect()

        asyncio.run(asyncio.wait_for(many(), TIMEOUT))
        assert two_sessions.node_names() == {f"n{number}" for number in range(50)}
