"""The handshake without a socket: the same answers whatever the chunking, and bounds on everything."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iotests.harness.nbd import info_query, meta_query, option_bytes
from qmpd.export.nbd.negotiation import ExportInfo, Negotiation, Outcome
from qmpd.nbd.numbers import MAX_PAYLOAD, Option, ProtocolError, Reply
from tests.export.fake import WRITABLE
from tests.soak import count

DISK = ExportInfo("disk", None, 1 << 20, WRITABLE, alignment=512, allocation_depth=True, bitmaps=("b0", "b:1"))
LOOK = ExportInfo("look", "a description", 1 << 20, WRITABLE)
FLAGS = struct.pack(">I", 3)


class Directory:
    """Two exports."""

    def find(self, name: str) -> ExportInfo | None:
        return {"disk": DISK, "look": LOOK}.get(name)

    def infos(self) -> list[ExportInfo]:
        return [DISK, LOOK]


def talk(*chunks: bytes) -> tuple[bytes, Outcome | None, bytes, str | None]:
    """Feed chunks; all that was answered, the outcome, the bytes that are left, and why it broke off."""
    negotiation = Negotiation(Directory())
    output = b""
    try:
        for chunk in chunks:
            negotiation.feed(chunk)
            while (reply := negotiation.advance()) is not None:
                output += reply
    except ProtocolError as error:
        return output, None, b"", str(error)
    rest = negotiation.rest() if negotiation.outcome else b""
    return output, negotiation.outcome, rest, "left" if negotiation.closed else None


def replies(output: bytes) -> list[tuple[int, int, bytes]]:
    """(option, type, data) of each reply."""
    found = []
    while output:
        magic, option, kind, length = struct.unpack_from(">QIII", output)
        assert magic == 0x3E889045565A9
        found.append((option, kind, output[20 : 20 + length]))
        output = output[20 + length :]
    return found


OPTIONS = st.one_of(
    st.builds(
        option_bytes,
        st.sampled_from([3, 5, 6, 7, 8, 9, 10, 99]),
        st.one_of(
            st.just(b""),
            st.binary(max_size=40),
            st.builds(info_query, st.sampled_from(["disk", "look", "nope", ""]), st.integers(0, 9)),
            st.builds(
                meta_query, st.sampled_from(["disk", "nope"]), st.sampled_from(["base:allocation", "qemu:", "x", ""])
            ),
        ),
    ),
    st.builds(option_bytes, st.just(2)),
    st.builds(option_bytes, st.just(1), st.sampled_from([b"disk", b"nope", b"\xff"])),
    st.binary(max_size=30),
)


@given(st.lists(OPTIONS, max_size=8), st.data())
@settings(max_examples=count(200, 5000), deadline=None)
def test_chunking_changes_nothing(options: list[bytes], data: st.DataObject) -> None:
    stream = FLAGS + b"".join(options) + b"rest"
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))
    chunks = [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]
    assert talk(*chunks) == talk(stream)


def test_what_follows_the_handshake_is_not_lost() -> None:
    stream = FLAGS + option_bytes(Option.GO, info_query("disk")) + b"request"
    _, outcome, rest, _ = talk(stream)
    assert outcome == Outcome(DISK, False, ())
    assert rest == b"request"


def test_block_sizes_are_told_to_those_who_obey_them() -> None:
    for wanted, told in [((3,), 512), ((), 1)]:
        output, outcome, *_ = talk(FLAGS + option_bytes(Option.GO, info_query("disk", *wanted)))
        assert outcome is not None
        sizes = next(data for _, _, data in replies(output) if data[:2] == b"\0\3")
        assert struct.unpack(">HIII", sizes) == (3, told, 4096, 32 << 20)


def test_an_export_with_block_sizes_asks_for_them() -> None:
    output, *_ = talk(FLAGS + option_bytes(Option.INFO, info_query("disk")))
    assert [kind for _, kind, _ in replies(output)] == [Reply.ERR_BLOCK_SIZE_REQD]
    output, *_ = talk(FLAGS + option_bytes(Option.INFO, info_query("disk", 3)))
    assert replies(output)[-1][1] == Reply.ACK


def test_names_of_contexts_are_taken_whole() -> None:
    stream = FLAGS + option_bytes(Option.STRUCTURED_REPLY)
    stream += option_bytes(Option.SET_META_CONTEXT, meta_query("disk", "qemu:dirty-bitmap:b:1", "qemu:dirty-bitmap:b:"))
    _, outcome, *_ = talk(stream + option_bytes(Option.GO, info_query("disk")))
    assert outcome is not None
    assert outcome.contexts == ((3, "qemu:dirty-bitmap:b:1"),)


def test_setting_contexts_again_replaces_them() -> None:
    stream = FLAGS + option_bytes(Option.STRUCTURED_REPLY)
    stream += option_bytes(Option.SET_META_CONTEXT, meta_query("disk", "base:allocation"))
    for second, left in [(meta_query("disk"), 0), (meta_query("nope", "base:allocation"), 0), (b"broken", 0)]:
        again = option_bytes(Option.SET_META_CONTEXT, second)
        _, outcome, *_ = talk(stream + again + option_bytes(Option.GO, info_query("disk")))
        assert outcome is not None and len(outcome.contexts) == left


def test_an_option_too_long_to_look_at_is_skipped() -> None:
    long = b"x" * (Negotiation.MAX_OPTION + 1)
    for option, error in [(Option.LIST, Reply.ERR_TOO_BIG), (77, Reply.ERR_UNSUP)]:
        output, outcome, *_ = talk(
            FLAGS + option_bytes(option, long) + option_bytes(Option.GO, info_query("look"))
        )
        assert replies(output)[0][:2] == (option, error)
        assert outcome is not None and outcome.export is LOOK


def test_skipped_bytes_are_not_kept() -> None:
    negotiation = Negotiation(Directory())
    negotiation.feed(FLAGS + option_bytes(77, length=MAX_PAYLOAD))
    while negotiation.advance() is not None:
        pass
    for _ in range(64):
        negotiation.feed(bytes(1 << 16))
        assert negotiation.advance() is None
        assert len(negotiation._input) == 0


def test_options_are_counted() -> None:
    stream = FLAGS + option_bytes(Option.STARTTLS) * (Negotiation.MAX_OPTIONS + 1)
    output, _, _, why = talk(stream)
    assert len(replies(output)) == Negotiation.MAX_OPTIONS
    assert why is not None and "options" in why


@pytest.mark.parametrize("name", [b"\xff\xfe", b"disk\0", b"", b"DISK"])
def test_names_that_are_no_names(name: bytes) -> None:
    query = struct.pack(">I", len(name)) + name + b"\0\0"
    output, *_ = talk(FLAGS + option_bytes(Option.GO, query))
    ((_, kind, text),) = replies(output)
    assert kind == Reply.ERR_UNKNOWN
    text.decode()


def test_client_flags_that_nobody_knows() -> None:
    """What the client wants by them cannot be told, so there is no way on."""
    assert talk(struct.pack(">I", 7)) == (b"", None, b"", "client flags 0x7 are not known")
