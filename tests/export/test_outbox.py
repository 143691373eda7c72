"""Replies leave whole and in the order in which they were made, however they were written, and however much at once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from qmpd.export.nbd.transmission import Outbox
from tests.soak import count

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("slab"), st.sampled_from([1, 16, 4116, 20_000, 65_000])),
        st.tuples(st.just("own"), st.sampled_from([0, 1, 4116, 40_000, 2 << 20])),
        st.tuples(st.just("send"), st.sampled_from([1, 4116, 8232, 50_000, 1 << 22])),
        st.just(("clear", 0)),
    ),
    max_size=60,
)


def marked(number: int, size: int) -> bytes:
    return (number.to_bytes(2, "big") * (size // 2 + 1))[:size]


def send(outbox: Outbox, limit: int) -> bytes:
    taken = b"".join(bytes(part) for part in outbox.parts)[:limit]
    outbox.sent(len(taken))
    return taken


@given(STEPS)
@settings(max_examples=count(200, 5000), deadline=None)
def test_order(steps: list[tuple[str, int]]) -> None:
    outbox = Outbox()
    expected = bytearray()
    for number, (kind, size) in enumerate(steps):
        if kind == "slab":
            if not outbox.has_room(size):
                assert outbox.slab_end + size > len(outbox.slab)
                continue
            start = outbox.slab_end
            outbox.slab_view[start : start + size] = marked(number, size)
            outbox.extend(size)
            expected += marked(number, size)
        elif kind == "own":
            own = outbox.buffer(size)
            own[:] = marked(number, size)
            outbox.put(own)
            expected += marked(number, size)
        elif kind == "send":
            taken = send(outbox, size)
            assert taken == expected[: len(taken)]
            assert len(taken) == min(size, len(expected))
            del expected[: len(taken)]
        else:
            outbox.clear()
            expected.clear()
        assert outbox.size == len(expected)
    assert send(outbox, outbox.size) == bytes(expected)
    assert not outbox.parts
    assert outbox.slab_end == 0 or not steps or steps[-1][0] == "clear"


def test_neighbours_leave_together() -> None:
    outbox = Outbox()
    for number in range(5):
        assert outbox.has_room(100)
        outbox.slab_view[outbox.slab_end : outbox.slab_end + 100] = marked(number, 100)
        outbox.extend(100)
    assert len(outbox.parts) == 1
    outbox.put(b"between")
    assert outbox.has_room(100)
    outbox.extend(100)
    assert len(outbox.parts) == 3


def test_room_ends() -> None:
    """A client that takes nothing does not get a longer slab."""
    outbox = Outbox()
    while outbox.has_room(60_000):
        outbox.extend(60_000)
    assert len(outbox.slab) < 1 << 20
    send(outbox, outbox.size)
    assert outbox.has_room(60_000)


def test_a_large_buffer_outlives_small_ones() -> None:
    """Small replies between large ones do not cost those their memory."""
    outbox = Outbox()
    large = outbox.buffer(300_000)
    outbox.put(large)
    for _ in range(20):
        outbox.put(outbox.buffer(40_000))
    outbox.sent(outbox.size)
    assert outbox.buffer(300_000).obj is large.obj
