"""One client and its session over a real socket: order, overtaking, failures, half-closes, back-pressure."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket

import pytest

from qmpd.monitor import connection as connection_module
from tests.monitor.rig import VERSION, Client, Rig
from tests.wire.odd_input import CASES, PROBE, name_of


async def test_a_session_begins_with_greeting_and_negotiation(rig: Rig) -> None:
    reader, writer = await asyncio.open_unix_connection(str(rig.path))
    client = Client(reader, writer)
    assert await client.read() == {"QMP": {"version": VERSION, "capabilities": ["oob"]}}
    client.request("query-version", 1)
    refusal = await client.read()
    assert refusal["id"] == 1
    assert refusal["error"]["class"] == "CommandNotFound"
    assert await client.call("qmp_capabilities") == {}
    assert await client.call("query-version") == VERSION
    client.request("qmp_capabilities")
    assert (await client.read())["error"]["class"] == "CommandNotFound"
    writer.close()


async def test_negotiation_and_commands_in_one_write(rig: Rig) -> None:
    client = await rig.connect(negotiate=False)
    client.send(b'{"execute":"query-version"}{"execute":"qmp_capabilities","id":1}{"execute":"query-version"}')
    assert (await client.read())["error"]["class"] == "CommandNotFound"
    assert await client.read() == {"return": {}, "id": 1}
    assert await client.read() == {"return": VERSION}


@pytest.mark.parametrize(("data", "replies"), CASES, ids=name_of)
async def test_odd_input_is_refused_and_the_session_lives_on(rig: Rig, data: bytes, replies: int) -> None:
    client = await rig.connect()
    client.send(data + PROBE)
    for _ in range(replies):
        assert (await client.read())["error"]["class"] in ("GenericError", "CommandNotFound")
    assert await client.read() == {"return": VERSION, "id": "END"}


async def test_pipelined_requests_are_answered_in_order(rig: Rig) -> None:
    client = await rig.connect()
    requests = [
        json.dumps({"execute": "later" if number % 7 == 3 else "echo", "arguments": {"data": number}, "id": number})
        for number in range(3000)
    ]
    client.send("\n".join(requests).encode())
    for number in range(3000):
        assert await client.read() == {"return": {"data": number}, "id": number}


async def test_requests_wait_for_the_asynchronous_command_ahead_of_them(rig: Rig) -> None:
    client = await rig.connect()
    other = await rig.connect()
    client.request("wait", 1, gate="a")
    client.request("echo", 2)
    client.request("wait", 3, gate="b")
    client.request("echo", 4)
    await rig.gate("a").entered.wait()
    assert await other.call("echo", data=1) == {"data": 1}
    assert not rig.gate("b").entered.is_set()
    rig.gate("b").opened.set()
    rig.gate("a").opened.set()
    assert [(await client.read())["id"] for _ in range(4)] == [1, 2, 3, 4]


async def test_out_of_band_requests_overtake(rig: Rig) -> None:
    client = await rig.connect(oob=True)
    client.request("wait", 1, gate="a")
    client.request("echo", 2)
    client.request("overtake", 3, oob=True)
    assert (await client.read())["id"] == 3
    client.request("overtake", 4, oob=True, data="x")
    assert await client.read() == {"return": {"data": "x"}, "id": 4}
    client.request("overtake", 5)  # in band it waits like any other
    client.request("no-such", 6, oob=True)
    assert (await client.read())["id"] == 6
    rig.gate("a").opened.set()
    assert [(await client.read())["id"] for _ in range(3)] == [1, 2, 5]


async def test_out_of_band_needs_the_capability_and_a_willing_command(rig: Rig) -> None:
    client = await rig.connect()
    client.request("overtake", 1, oob=True)
    assert (await client.read())["error"]["class"] == "GenericError"
    client = await rig.connect(oob=True)
    client.request("echo", 1, oob=True)
    assert (await client.read())["error"]["class"] == "GenericError"
    client.request("no-such", 1, oob=True)
    assert (await client.read())["error"]["class"] == "CommandNotFound"


@pytest.mark.parametrize(
    ("name", "error_class", "desc"),
    [
        ("fail-device", "DeviceNotFound", "node 'x' does not exist"),
        ("fail-os", "GenericError", os.strerror(28)),
        ("fail-bug", "GenericError", "internal error"),
        ("fail-later", "GenericError", "internal error"),
    ],
)
async def test_failures_become_errors(
    rig: Rig, name: str, error_class: str, desc: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = await rig.connect()
    client.request(name, 7)
    reply = await client.read()
    assert reply["id"] == 7
    assert reply["error"]["class"] == error_class
    assert desc in reply["error"]["desc"]
    bugs = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(bugs) == ("internal" in desc)
    assert all(record.exc_info for record in bugs)
    assert await client.call("echo") == {}


async def test_wrong_arguments_are_refused(rig: Rig) -> None:
    client = await rig.connect()
    client.request("echo", 1, wrong=1)
    reply = await client.read()
    assert reply["error"]["class"] == "GenericError"
    assert "'wrong'" in reply["error"]["desc"]


async def test_the_context_tells_who_asks(rig: Rig) -> None:
    first, second = await rig.connect(), await rig.connect()
    one, other = await first.call("context"), await second.call("context")
    assert one["peer"] == [os.getpid(), os.getuid(), os.getgid()]
    assert one["session"] != other["session"]
    assert one["request"] < other["request"]


async def test_after_a_half_close_everything_is_still_answered(rig: Rig) -> None:
    client = await rig.connect()
    for number in range(500):
        client.request("later" if number % 50 == 0 else "echo", number)
    client.writer.write_eof()
    for number in range(500):
        assert (await client.read())["id"] == number
    assert await client.at_end()


async def test_a_command_outlives_its_client(rig: Rig) -> None:
    client = await rig.connect()
    client.request("wait", 1, gate="a")
    client.request("wait", 2, gate="never")
    await rig.gate("a").entered.wait()
    client.writer.transport.abort()
    await rig.until_sessions(0)
    rig.gate("a").opened.set()
    await rig.gate("a").left.wait()
    other = await rig.connect()
    assert await other.call("echo") == {}
    assert not rig.gate("never").entered.is_set()


async def test_nothing_runs_behind_the_end(rig: Rig) -> None:
    client = await rig.connect()
    client.send(b'{"execute":"stop","id":1}{"execute":"wait","arguments":{"gate":"no"}}{"execute":"echo"}')
    assert await client.read() == {"return": {}, "id": 1}
    await rig.monitor.close()
    assert await client.at_end()
    assert not rig.gate("no").entered.is_set()


async def test_a_client_that_does_not_read_is_not_read_from(rig: Rig) -> None:
    client = await rig.connect()
    other = await rig.connect()
    client.writer.transport.pause_reading()
    count = 400
    for number in range(count):
        client.request("large", number, size=64 << 10)
    (stuck,) = [c for c in rig.monitor.connections if c.session_id == 1]
    while stuck._writable:
        assert await other.call("echo") == {}
    transport = stuck.transport
    assert transport is not None
    held = transport.get_write_buffer_size() + sum(map(len, stuck._out))
    assert held < (2 << 20)
    for _ in range(20):
        assert await other.call("echo") == {}
    assert transport.get_write_buffer_size() + sum(map(len, stuck._out)) == held
    client.writer.transport.resume_reading()
    for number in range(count):
        assert (await client.read())["id"] == number


async def test_input_is_not_read_ahead_without_bound(rig: Rig) -> None:
    client = await rig.connect(oob=True)
    other = await rig.connect()
    client.request("wait", 0, gate="a")
    line = json.dumps({"execute": "echo", "arguments": {"data": "x" * 1000}}).encode() + b"\n"
    client.send(line * 4000)
    await rig.gate("a").entered.wait()
    (session,) = [c for c in rig.monitor.connections if c.session_id == 1]
    while session._reading:
        assert await other.call("echo") == {}
    assert session._input_bytes <= 3 * connection_module.READ_AHEAD
    # One slice may have been parsed when the limit was seen.
    assert len(session._queue) <= connection_module.QUEUE_LENGTH + connection_module.SLICE_BYTES // len(line) + 1
    rig.gate("a").opened.set()
    for _ in range(4001):
        assert "return" in await client.read()


async def test_a_stuck_client_is_dropped_when_events_pile_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection_module, "EVENT_BACKLOG", 1 << 20)
    stuck = await rig.connect()
    stuck.writer.transport.pause_reading()
    watcher = await rig.connect()
    seen = 0
    while len(rig.monitor.connections) > 1:
        watcher.request("emit", count=10, size=10_000)
        for _ in range(10):
            assert (await watcher.read())["event"] == "TEST"
        assert "return" in await watcher.read()
        seen += 10
        assert seen < 2000, "the stuck session is still there"
    assert "does not read" in caplog.text
    assert await watcher.call("echo") == {}


async def test_events_come_before_the_reply_of_the_command_that_emits_them(rig: Rig) -> None:
    client, silent = await rig.connect(), await rig.connect(negotiate=False)
    client.request("emit", 1, count=3)
    client.request("echo", 2)
    messages = [await client.read() for _ in range(5)]
    assert [message.get("id", message.get("data", {}).get("number")) for message in messages] == [0, 1, 2, 1, 2]
    assert messages[0]["event"] == "TEST"
    assert set(messages[0]["timestamp"]) == {"seconds", "microseconds"}
    # A session that was not negotiated has got none.
    assert await silent.call("qmp_capabilities") == {}


async def test_all_sessions_get_the_same_events(rig: Rig) -> None:
    clients = [await rig.connect() for _ in range(5)]
    for number in range(20):
        rig.events.emit("TEST", {"number": number})
    lines = [[await client.read_line() for _ in range(20)] for client in clients]
    assert [json.loads(line)["data"]["number"] for line in lines[0]] == list(range(20))
    assert all(other == lines[0] for other in lines)


async def test_pretty_sessions(rig: Rig, tmp_path: object) -> None:
    pretty = Rig(rig.path.with_name("pretty"), pretty=True)
    await pretty.start()
    reader, writer = await asyncio.open_unix_connection(str(pretty.path))
    writer.write(b'{"execute":"qmp_capabilities"}{"execute":"emit"}')
    writer.write_eof()
    text = (await reader.read()).decode()
    assert text.startswith('{\n    "QMP": {\n')
    decoder, messages = json.JSONDecoder(), []
    while text.strip():
        message, end = decoder.raw_decode(text)
        messages.append(next(iter(message)))
        text = text[end:].lstrip()
    assert messages == ["QMP", "return", "timestamp", "return"]
    writer.close()
    await pretty.close()


async def test_a_client_that_vanishes_in_the_middle_of_a_message(rig: Rig) -> None:
    for cut in range(1, len(PROBE), 5):
        client = await rig.connect()
        client.send(PROBE + PROBE[:cut])
        client.writer.transport.abort()
    raw = socket.socket(socket.AF_UNIX)
    raw.connect(str(rig.path))
    raw.close()
    client = await rig.connect()
    assert await client.call("echo") == {}
    client.writer.close()
    await rig.until_sessions(0)


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("quote", ['"', "'"], ids=["strict", "lenient"])
async def test_long_lines_among_short_ones(rig: Rig, quote: str, end: bytes) -> None:
    client = await rig.connect()
    lines = []
    for number, length in enumerate([10, 100_000, 10, 40_000, 31_000, 31_000, 10, 250_000]):
        message = json.dumps({"execute": "echo", "arguments": {"data": "x" * length}, "id": number})
        lines.append(message.replace('"', quote).encode() + end)
    client.send(b"".join(lines))
    for number, length in enumerate([10, 100_000, 10, 40_000, 31_000, 31_000, 10, 250_000]):
        assert await client.read() == {"return": {"data": "x" * length}, "id": number}
