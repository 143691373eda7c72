"""Many clients at once, with a stuck reader and a sender of garbage among them; and fuzz that ends with a live server.

Under QMPD_SOAK=1: 200 clients with 1000 commands each, 20000 generated inputs.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource

from hypothesis import given, settings
from hypothesis import strategies as st

from qmpd.monitor import connection as connection_module
from tests.monitor.rig import VERSION, Client, Rig
from tests.soak import count
from tests.wire.odd_input import CASES, PROBE

CLIENTS = count(20, 200)
COMMANDS = count(100, 1000)


async def worker(rig: Rig, number: int) -> tuple[int, int]:
    """One well-behaved client: its own ids come back in order, events do not repeat; (replies, events)."""
    client = await rig.connect()
    generator = random.Random(number)
    sent, replies, events, last_event = 0, 0, 0, -1
    while replies < COMMANDS:
        burst = min(generator.choice((1, 1, 3, 20)), COMMANDS - sent)
        for _ in range(burst):
            name = "later" if generator.random() < 0.1 else "echo"
            client.request(name, f"{number}:{sent}", data=[number, sent])
            sent += 1
        while replies < sent:
            message = await client.read()
            if "event" in message:
                events += 1
                assert message["data"]["number"] > last_event
                last_event = message["data"]["number"]
                continue
            assert message == {"return": {"data": [number, replies]}, "id": f"{number}:{replies}"}
            replies += 1
    return replies, events


async def garbage(rig: Rig, stop: asyncio.Event) -> None:
    """A client that sends whatever it likes and reads the refusals."""
    client = await rig.connect()
    generator = random.Random(4711)
    while not stop.is_set():
        pieces = [generator.choice(CASES)[0] for _ in range(20)] + [generator.randbytes(200)]
        generator.shuffle(pieces)
        client.send(b"".join(pieces) + b"\n\xff\n" + PROBE + b"\n")
        while (await client.read()).get("id") != "END":
            pass


async def emitter(rig: Rig, stop: asyncio.Event) -> None:
    """Events without end, at the rate at which the clients get on."""
    number = 0
    while not stop.is_set():
        rig.events.emit("TEST", {"number": number, "fill": "x" * 1000})
        number += 1
        await asyncio.sleep(0.001)


async def test_many_clients_with_bad_neighbours(rig: Rig) -> None:
    stuck = await rig.connect()
    stuck.writer.transport.pause_reading()
    for number in range(2000):
        stuck.request("large", number, size=8000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        bad = [group.create_task(garbage(rig, stop)), group.create_task(emitter(rig, stop))]
        good = [group.create_task(worker(rig, number)) for number in range(CLIENTS)]
        await asyncio.wait(good)
        stop.set()
        await asyncio.wait(bad)
    assert [task.result()[0] for task in good] == [COMMANDS] * CLIENTS
    assert any(task.result()[1] for task in good)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < (64 << 20) + 4 * connection_module.EVENT_BACKLOG + CLIENTS * (1 << 20)
    assert await (await rig.connect()).call("query-version") == VERSION


VALID = st.builds(
    lambda name, identity, arguments: json.dumps({"execute": name, "id": identity, "arguments": arguments}).encode(),
    st.sampled_from(["query-version", "echo", "later", "no-such", "qmp_capabilities", "emit"]),
    st.none() | st.integers() | st.text() | st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from(["data", "more", "x"]), st.integers() | st.text() | st.booleans(), max_size=3),
)
HUGE = st.builds(
    lambda opening, size, closing: opening + b"x" * size + closing,
    st.sampled_from([b'"', b'{"execute":"echo","arguments":{"data":"', b"'", b"[1", b"-"]),
    st.integers(0, 200_000),
    st.sampled_from([b'"', b'"}}', b"", b"\n"]),
)
DEEP = st.builds(
    lambda opening, depth, closing: opening * depth + closing * depth,
    st.sampled_from([b"[", b'{"a":', b"[{"]),
    st.integers(0, 3000),
    st.sampled_from([b"]", b"}", b"", b"}]"]),
)
ODD = st.sampled_from([data for data, _ in CASES])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid request with a few bytes replaced, cut out or put in."""
    data = bytearray(draw(VALID))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(data)))
        data[position : position + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(data)


INPUT = st.lists(
    st.tuples(
        VALID | mutated() | ODD | st.binary(max_size=60) | DEEP | HUGE,
        st.sampled_from([b"", b"\n", b"\r\n", b" ", b"\xff"]),
    ),
    min_size=1,
    max_size=5,
)


def generate(number: int) -> list[tuple[bytes, bool, int]]:
    """`number` generated inputs: the bytes, whether the client vanishes behind them, and how they are cut."""
    made: list[tuple[bytes, bool, int]] = []

    @settings(max_examples=number, deadline=None, database=None)
    @given(INPUT, st.booleans(), st.integers(1, 100_000))
    def collect(pieces: list[tuple[bytes, bytes]], vanish: bool, chunk: int) -> None:
        made.append((b"".join(piece + end for piece, end in pieces), vanish, chunk))

    collect()
    return made


async def attack(rig: Rig, data: bytes, vanish: bool, chunk: int) -> None:
    """Send one generated input over a session of its own; unless it vanishes, the session must still serve."""
    client = await rig.connect(negotiate=chunk % 2 == 0)
    for begin in range(0, min(len(data), 50 * chunk), chunk):
        client.send(data[begin : begin + chunk])
        await asyncio.sleep(0)
    if vanish:
        client.writer.transport.abort()
        return
    await recover(client)
    client.writer.close()


async def recover(client: Client) -> None:
    """Bring the session back into sync, as a client would: end what is open, reset, ask."""
    client.send(b"\n\xff\n\xff\n" + b'{"execute":"query-version","id":"END"}\n')
    while (await client.read()).get("id") != "END":
        pass


async def test_whatever_is_sent_the_server_lives_and_serves(rig: Rig) -> None:
    made = generate(count(500, 20_000))
    watcher = await rig.connect()
    for begin in range(0, len(made), 10):
        await asyncio.gather(*(attack(rig, *one) for one in made[begin : begin + 10]))
        watcher.request("query-version", "still here")
        while (message := await watcher.read()).get("id") != "still here":
            assert "event" in message
        assert message["return"] == VERSION
    watcher.writer.close()
    await rig.until_sessions(0)
