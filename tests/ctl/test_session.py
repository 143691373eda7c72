"""Every way in which a session fails, put into words; against scripted servers on a Unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from qmpd.ctl import session as session_module
from qmpd.ctl.failure import CommandFailed, ConnectFailed, ExitStatus, ServerLost, TimedOut, UsageError
from qmpd.ctl.session import Address, connect
from qmpd.ctl.watch import JobWatch

GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}
EVENT = {"event": "E", "data": {}, "timestamp": {"seconds": 1, "microseconds": 2}}

Script = Callable[["Peer"], Coroutine[Any, Any, None]]


class Peer:
    """The server's end of a connection, in a test's hands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._input = ""

    async def send(self, *messages: object) -> None:
        for message in messages:
            self._writer.write(json.dumps(message).encode() + b"\r\n")
        await self._writer.drain()

    async def receive(self) -> dict[str, Any]:
        """One command; an empty one when the client is gone. The library ends no message with a newline."""
        while True:
            try:
                request, end = json.JSONDecoder().raw_decode(self._input)
            except ValueError:
                piece = await self._reader.read(65536)
                if not piece:
                    return {}
                self._input += piece.decode()
                continue
            self._input = self._input[end:]
            assert isinstance(request, dict)
            return request

    async def gone(self) -> None:
        """Until the client hangs up."""
        await self._reader.read()

    async def send_raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, value: object = None, *, before: tuple[object, ...] = ()) -> dict[str, Any]:
        """Take one command and send events, then what it returns."""
        request = await self.receive()
        reply: dict[str, Any] = {"return": {} if value is None else value}
        await self.send(*before, reply | {name: request[name] for name in ("id",) if name in request})
        return request

    async def open(self) -> None:
        """Greet and negotiate."""
        await self.send(GREETING)
        assert (await self.receive())["execute"] == "qmp_capabilities"
        await self.send({"return": {}})


@asynccontextmanager
async def served(path: Path, script: Script) -> AsyncIterator[Address]:
    """A server that follows `script` with its one client, then hangs up."""
    over = asyncio.get_running_loop().create_future()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(Peer(reader, writer))
            over.set_result(None)
        except Exception as error:
            over.set_exception(error)
        finally:
            writer.close()

    async with await asyncio.start_unix_server(handle, path):
        yield Address(path=str(path))
        await over


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/run/q.sock", Address(path="/run/q.sock")),
        ("./a:1", Address(path="./a:1")),
        ("q.sock", Address(path="q.sock")),
        ("unix:q:1", Address(path="q:1")),
        ("localhost:4444", Address(host="localhost", port=4444)),
        (":4444", Address(host="localhost", port=4444)),
        ("tcp:h:1", Address(host="h", port=1)),
        ("[::1]:4444", Address(host="::1", port=4444)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address or address.path == "q:1"


@pytest.mark.parametrize("text", ["", "host:", "host:0", "host:65536", "host:http", "tcp:host"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError):
        Address.parse(text)


async def refused(address: Address) -> str:
    with pytest.raises(ConnectFailed) as failure:
        async with connect(address):
            pass
    assert failure.value.status == ExitStatus.NO_CONNECTION
    return failure.value.desc


async def test_no_such_socket(tmp_path: Path) -> None:
    assert "there is no socket" in await refused(Address(path=str(tmp_path / "none")))


async def test_nobody_listens_any_more(tmp_path: Path) -> None:
    path = tmp_path / "q"
    server = await asyncio.start_unix_server(lambda reader, writer: None, path)
    server.close()
    await server.wait_closed()
    assert path.exists()
    assert "refused the connection" in await refused(Address(path=str(path)))


async def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def denied(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asyncio, "open_unix_connection", denied)
    assert "no permission" in await refused(Address(path=str(tmp_path / "q")))


async def test_a_path_too_long_for_a_socket() -> None:
    assert "cannot connect" in await refused(Address(path="/tmp/" + "x" * 200))


async def test_something_else_than_qmp_answers(tmp_path: Path) -> None:
    async def nbd(peer: Peer) -> None:
        await peer.send_raw(b"NBDMAGICIHAVEOPT\0\3\xff\r\n")

    async with served(tmp_path / "q", nbd) as address:
        assert "not with a QMP greeting" in await refused(address)


async def test_json_that_is_no_greeting(tmp_path: Path) -> None:
    async with served(tmp_path / "q", lambda peer: peer.send({"hello": 1})) as address:
        assert "not with a QMP greeting" in await refused(address)


async def test_it_hangs_up_before_greeting(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        pass

    async with served(tmp_path / "q", script) as address:
        assert "closed the connection before" in await refused(address)


async def test_it_refuses_to_negotiate(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(GREETING)
        await peer.receive()
        await peer.send({"error": {"class": "GenericError", "desc": "no"}})

    async with served(tmp_path / "q", script) as address:
        assert "refused the capabilities negotiation" in await refused(address)


async def test_it_never_greets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "GREETING_SECONDS", 0.05)
    async with served(tmp_path / "q", Peer.gone) as address:
        assert "sent no greeting" in await refused(address)


async def test_commands_errors_and_events(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        request = await peer.answer([1], before=(EVENT,))
        assert (request["execute"], request["arguments"]) == ("a", {"b": 1})
        request = await peer.receive()
        error = {"class": "DeviceNotFound", "desc": "no such"}
        await peer.send({"error": error, "id": request["id"]}, {**EVENT, "event": "F"})
        await peer.gone()

    async with served(tmp_path / "q", script) as address, connect(address) as session:
        assert await session.execute("a", {"b": 1}) == [1]
        with pytest.raises(CommandFailed) as failure:
            await session.execute("c")
        assert (failure.value.error_class, failure.value.desc) == ("DeviceNotFound", "no such")
        assert [(await session.next_event())["event"] for _ in range(2)] == ["E", "F"]


async def test_a_wait_that_was_given_up_loses_no_event(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.answer(before=(EVENT,))
        await peer.gone()

    async with served(tmp_path / "q", script) as address, connect(address) as session:
        waiting = asyncio.create_task(session.next_event())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        await session.execute("a")
        assert [event["event"] for event in session.waiting_events()] == ["E"]
        assert session.waiting_events() == []


async def test_it_goes_away_before_it_answers(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.receive()

    async with served(tmp_path / "q", script) as address, connect(address) as session:
        with pytest.raises(ServerLost, match="went away before it answered 'a'") as failure:
            await session.execute("a")
        assert failure.value.status == ExitStatus.SERVER_LOST
        with pytest.raises(ServerLost):
            await session.execute("b")


async def test_it_goes_away_while_listened_to(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.answer()
        await peer.send(EVENT)

    async with served(tmp_path / "q", script) as address, connect(address) as session:
        await session.execute("a")
        assert (await session.next_event())["event"] == "E"
        with pytest.raises(ServerLost, match="while it was listened to"):
            await session.next_event()


async def test_it_goes_away_as_soon_as_the_session_is_open(tmp_path: Path) -> None:
    async with served(tmp_path / "q", Peer.open) as address:
        with pytest.raises((ConnectFailed, ServerLost)):
            async with connect(address) as session:
                await session.execute("a")


def job(status: str) -> dict[str, Any]:
    return {"id": "j", "type": "create", "status": status, "current-progress": 0, "total-progress": 1}


async def test_a_server_without_block_jobs_is_followed_too(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.answer([job("running")])
        request = await peer.receive()
        error = {"class": "CommandNotFound", "desc": "unknown"}
        await peer.send({"error": error, "id": request["id"]})
        change = {**EVENT, "event": "JOB_STATUS_CHANGE", "data": {"id": "j", "status": "concluded"}}
        await peer.answer([job("concluded")], before=(change,))
        await peer.gone()

    async with served(tmp_path / "q", script) as address, connect(address) as session:
        ended = await JobWatch(session).until_over(["j"])
        assert [str(job.outcome) for job in ended] == ["completed"]


async def test_waiting_has_an_end_and_needs_a_job(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        while words := await peer.receive():
            jobs = [job("running")] if words["execute"] == "query-jobs" else []
            await peer.send({"return": jobs, "id": words["id"]})

    async with served(tmp_path / "q", script) as address, connect(address) as session:
        with pytest.raises(TimedOut, match="j"):
            await JobWatch(session, interval=0.01).until_over(timeout=0.1)
        with pytest.raises(UsageError, match="there is no job 'k'"):
            await JobWatch(session).until_over(["k"])
