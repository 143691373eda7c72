"""Requests out of bytes: any chunking gives the same requests, and a lent payload stays what it was."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from iotests.harness.nbd import READ, WRITE, request_bytes
from qmpd.export.nbd.protocol import Chunk, Request, RequestDecoder
from qmpd.nbd.numbers import MAX_PAYLOAD, Command
from tests.soak import count

REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([READ, WRITE, 3, 77]),
        st.integers(0, 1 << 64 - 1),
        st.one_of(st.integers(0, 600), st.sampled_from([0, 1, 48 << 10, (48 << 10) + 1, 128 << 10, 300_000])),
        st.integers(0, 0xFFFF),
    ),
    max_size=12,
)


def payload(number: int, length: int) -> bytes:
    return bytes([number % 255 + 1]) * length


def stream_of(requests: list[tuple[int, int, int, int]]) -> bytes:
    return b"".join(
        request_bytes(
            command, offset, length, flags, payload(number, length) if command == WRITE else b"", cookie=number
        )
        for number, (command, offset, length, flags) in enumerate(requests)
    )


@given(REQUESTS, st.data())
@settings(max_examples=count(150, 5000), deadline=None)
def test_any_chunking_gives_the_same_requests(requests: list[tuple[int, int, int, int]], data: st.DataObject) -> None:
    stream = memoryview(stream_of(requests))
    decoder = RequestDecoder()
    seen = []
    lent: list[tuple[Chunk, Request]] = []
    while stream:
        buffer = decoder.buffer()
        assert len(buffer) > 0
        size = min(len(stream), len(buffer), data.draw(st.sampled_from([1, 7, 28, 4096, 65536, 1 << 20])))
        # Byte by byte is only interesting around headers.
        size = len(stream) if size < 28 and len(stream) > 2000 and len(buffer) >= len(stream) else size
        buffer[:size] = stream[:size]
        stream = stream[size:]
        for request in decoder.received(size):
            seen.append((request.command, request.offset, request.length, request.flags))
            assert request.cookie == len(seen) - 1
            if request.payload is not None:
                assert request.payload == payload(request.cookie, request.length)
                if data.draw(st.booleans()):
                    lent.append((decoder.lend(), request))
        while len(lent) > 3:
            give_back(decoder, lent)
    assert seen == requests
    assert decoder.idle and decoder.broken is None
    while lent:
        give_back(decoder, lent)


def give_back(decoder: RequestDecoder, lent: list[tuple[Chunk, Request]]) -> None:
    chunk, request = lent.pop(0)
    assert request.payload == payload(request.cookie, request.length)
    decoder.give_back(chunk)


def feed(decoder: RequestDecoder, data: bytes) -> list[Request]:
    decoder.buffer()[: len(data)] = data
    return decoder.received(len(data))


def test_what_is_no_request_ends_it() -> None:
    decoder = RequestDecoder()
    requests = feed(decoder, request_bytes(READ, 1, 2) + b"garbage" * 4 + request_bytes(READ, 3, 4))
    assert [(request.offset, request.length) for request in requests] == [(1, 2)]
    assert decoder.broken is not None


def test_an_oversized_write_is_shown_without_its_payload() -> None:
    decoder = RequestDecoder()
    (request,) = feed(decoder, request_bytes(WRITE, 0, MAX_PAYLOAD + 1))
    assert request.command == Command.WRITE and request.payload is None


def test_chunks_are_used_again() -> None:
    decoder = RequestDecoder()
    chunks = set()
    for _ in range(100):
        feed(decoder, request_bytes(WRITE, 0, 100, 0, bytes(100)))
        chunk = decoder.lend()
        chunks.add(id(chunk))
        decoder.buffer()
        decoder.give_back(chunk)
    assert len(chunks) <= 2


def test_a_payload_takes_memory_as_it_comes() -> None:
    """Whoever announces much and sends little ties up little."""
    decoder = RequestDecoder()
    data = random.Random(1).randbytes(MAX_PAYLOAD)
    stream = memoryview(request_bytes(WRITE, 0, len(data), data=data))
    seen: list[Request] = []
    sent = 0
    while sent < len(stream):
        buffer = decoder.buffer()
        assert 0 < len(buffer) <= max(1 << 20, sent)
        size = min(len(buffer), 300_000, len(stream) - sent)
        buffer[:size] = stream[sent : sent + size]
        sent += size
        seen += decoder.received(size)
    (request,) = seen
    assert request.payload == data
    assert decoder.idle


def test_memory_of_an_unfinished_payload_is_let_go() -> None:
    decoder = RequestDecoder()
    header = request_bytes(WRITE, 0, MAX_PAYLOAD)
    decoder.buffer()[: len(header)] = header
    decoder.received(len(header))
    assert not decoder.idle
    decoder.forget()
    assert decoder.idle
