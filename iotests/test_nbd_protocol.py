"""The NBD protocol byte by byte: each dialogue has the same outcome on qmpd and on QEMU's daemon."""

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from iotests.harness import Launcher, Scratch, Server, nbd
from iotests.harness.nbd import Closed, RawNbd, info_query, meta_query

MIB = 1 << 20
LENGTH = 8 * MIB
DATA_AT = 1 * MIB
"""The disk is a hole but for 64 KiB of 0x5a here."""
DATA = bytes([0x5A]) * (64 << 10)


@pytest.fixture
def disk(server: Server, scratch: Scratch) -> Path:
    """The socket of a server that exports `disk` (writable, with the bitmap b0) and `look` (read-only)."""
    image = scratch.disk("disk", LENGTH)
    image.write(DATA_AT, DATA)
    server.add_raw(image)
    server.qmp.command("block-dirty-bitmap-add", node="disk", name="b0", granularity=65536)
    server.start_nbd()
    server.qmp.command(
        "block-export-add",
        {"type": "nbd", "id": "e0", "node-name": "disk", "writable": True, "bitmaps": ["b0"], "allocation-depth": True},
    )
    server.qmp.command(
        "block-export-add",
        {"type": "nbd", "id": "e1", "node-name": "disk", "name": "look", "description": "only look"},
    )
    return server.nbd_path


@contextlib.contextmanager
def fresh(path: Path) -> Iterator[RawNbd]:
    """A connection whose flags have been exchanged."""
    with RawNbd.connect(path) as client:
        assert client.handshake() == 3
        yield client


def kinds(replies: list[tuple[int, bytes]]) -> list[int]:
    return [kind for kind, _ in replies]


def still_serves(path: Path) -> None:
    """A new client finds all as it should be."""
    with RawNbd.attached(path, "disk") as client:
        assert client.read(DATA_AT, 4096) == DATA[:4096]


BROKEN_HANDSHAKES = {
    "unknown client flags": struct.pack(">I", 0x80),
    "no fixed newstyle, then LIST": struct.pack(">I", 0) + nbd.option_bytes(nbd.OPT_LIST),
    "option without magic": struct.pack(">I", 3) + b"IHAVENOT" + struct.pack(">II", 3, 0),
    "garbage": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "option of 4 GiB": struct.pack(">I", 3) + nbd.option_bytes(nbd.OPT_LIST, length=0xFFFFFFFF),
    "name too long": struct.pack(">I", 3) + nbd.option_bytes(nbd.OPT_EXPORT_NAME, b"x" * 5000),
    "name that is not there": struct.pack(">I", 3) + nbd.option_bytes(nbd.OPT_EXPORT_NAME, b"nope"),
    "old style request": struct.pack(">I", 3) + nbd.request_bytes(nbd.READ, 0, 512),
}


def test_a_broken_handshake_ends_the_connection_and_nothing_else(disk: Path) -> None:
    for what, message in BROKEN_HANDSHAKES.items():
        with RawNbd.connect(disk) as client:
            client.receive(18)
            client.send(message)
            assert client.hung_up(), what
        still_serves(disk)


REFUSED_OPTIONS = {
    "unknown option": (99, b"abc", nbd.ERR_UNSUP),
    "option 4": (4, b"", nbd.ERR_UNSUP),
    "extended headers": (11, b"", nbd.ERR_UNSUP),
    "tls": (nbd.OPT_STARTTLS, b"", nbd.ERR_POLICY),
    "tls with data": (nbd.OPT_STARTTLS, b"x", nbd.ERR_INVALID),
    "list with data": (nbd.OPT_LIST, b"abc", nbd.ERR_INVALID),
    "structured with data": (nbd.OPT_STRUCTURED_REPLY, b"abc", nbd.ERR_INVALID),
    "info of nothing": (nbd.OPT_INFO, info_query("nope"), nbd.ERR_UNKNOWN),
    "go to nothing": (nbd.OPT_GO, info_query("nope"), nbd.ERR_UNKNOWN),
    "info without data": (nbd.OPT_INFO, b"", nbd.ERR_INVALID),
    "info with too many requests": (nbd.OPT_INFO, info_query("disk") + b"\0\1", nbd.ERR_INVALID),
    "info with too few requests": (nbd.OPT_INFO, info_query("disk")[:-2] + b"\0\2", nbd.ERR_INVALID),
    "info with a name that is longer than the option": (
        nbd.OPT_INFO,
        struct.pack(">I", 100) + b"disk\0\0",
        nbd.ERR_INVALID,
    ),
    "info with a very long name": (nbd.OPT_INFO, info_query("x" * 5000), nbd.ERR_INVALID),
    "contexts without structured replies": (
        nbd.OPT_SET_META,
        meta_query("disk", "base:allocation"),
        nbd.ERR_INVALID,
    ),
}


def test_a_refused_option_leaves_the_handshake_going(disk: Path) -> None:
    for what, (option, data, error) in REFUSED_OPTIONS.items():
        with fresh(disk) as client:
            assert kinds(client.option(option, data)) == [error], what
            assert client.option(nbd.OPT_GO, info_query("disk"))[-1][0] == nbd.REP_ACK
            assert client.read(DATA_AT, 512) == DATA[:512]


REFUSED_CONTEXTS = {
    "no data": (b"", nbd.ERR_INVALID),
    "unknown export": (meta_query("nope", "base:allocation"), nbd.ERR_UNKNOWN),
    "missing query": (meta_query("disk", "base:allocation")[:-30] + b"", nbd.ERR_INVALID),
    "cut query": (meta_query("disk", "base:allocation")[:-3], nbd.ERR_INVALID),
    "many queries announced": (meta_query("disk")[:-4] + struct.pack(">I", 0xFFFFFFFF), nbd.ERR_INVALID),
}


def test_a_bad_context_query_is_refused(disk: Path) -> None:
    for what, (data, error) in REFUSED_CONTEXTS.items():
        with fresh(disk) as client:
            client.option(nbd.OPT_STRUCTURED_REPLY)
            assert kinds(client.option(nbd.OPT_SET_META, data)) == [error], what
            assert client.option(nbd.OPT_GO, info_query("disk"))[-1][0] == nbd.REP_ACK


@pytest.mark.qmpd_only("proto.md wants ERR_INVALID; QEMU takes no notice")
def test_a_context_query_with_trailing_bytes_is_refused(disk: Path) -> None:
    with fresh(disk) as client:
        client.option(nbd.OPT_STRUCTURED_REPLY)
        data = meta_query("disk", "base:allocation") + b"xyz"
        assert kinds(client.option(nbd.OPT_SET_META, data)) == [nbd.ERR_INVALID]


def test_structured_replies_are_negotiated_once(disk: Path) -> None:
    with fresh(disk) as client:
        assert kinds(client.option(nbd.OPT_STRUCTURED_REPLY)) == [nbd.REP_ACK]
        assert kinds(client.option(nbd.OPT_STRUCTURED_REPLY)) == [nbd.ERR_INVALID]


def test_abort_is_acknowledged(disk: Path) -> None:
    with fresh(disk) as client:
        assert client.option(nbd.OPT_ABORT) == [(nbd.REP_ACK, b"")]
        assert client.hung_up()


def test_list(disk: Path) -> None:
    with fresh(disk) as client:
        assert client.option(nbd.OPT_LIST) == [
            (nbd.REP_SERVER, struct.pack(">I", 4) + b"disk"),
            (nbd.REP_SERVER, struct.pack(">I", 4) + b"lookonly look"),
            (nbd.REP_ACK, b""),
        ]


@pytest.mark.parametrize("option", [nbd.OPT_INFO, nbd.OPT_GO])
def test_information_on_an_export(disk: Path, option: int) -> None:
    for wanted in [(), (1,), (3,), (1, 2, 3), (77,), (1, 1)]:
        expected = [
            struct.pack(">HQH", 0, LENGTH, 0x50F),
            struct.pack(">H", 2) + b"only look",
            struct.pack(">HIII", 3, 1, 4096, 32 * MIB),
        ]
        if 1 in wanted:
            expected.append(struct.pack(">H", 1) + b"look")
        with fresh(disk) as client:
            replies = client.option(option, info_query("look", *wanted))
            items = {data for kind, data in replies if kind == nbd.REP_INFO}
            assert items == set(expected), wanted
            assert replies[-1] == (nbd.REP_ACK, b"")


def test_the_old_way_to_an_export(disk: Path) -> None:
    for structured, flags in [(False, 0xD6D), (True, 0xDED)]:
        for zeroes in (False, True):
            with RawNbd.connect(disk) as client:
                client.handshake(1 if zeroes else 3)
                if structured:
                    client.option(nbd.OPT_STRUCTURED_REPLY)
                client.send_option(nbd.OPT_EXPORT_NAME, b"disk")
                assert client.receive(10) == struct.pack(">QH", LENGTH, flags)
                if zeroes:
                    assert client.receive(124) == bytes(124)
                assert client.read(DATA_AT, 512) == DATA[:512]


ALL_CONTEXTS = ["base:allocation", "qemu:allocation-depth", "qemu:dirty-bitmap:b0"]
LISTED_CONTEXTS: list[tuple[tuple[str, ...], list[str]]] = [
    ((), ALL_CONTEXTS),
    (("base:",), ALL_CONTEXTS[:1]),
    (("qemu:",), ALL_CONTEXTS[1:]),
    (("qemu:dirty-bitmap:",), ALL_CONTEXTS[2:]),
    (("qemu:dirty-bitmap:b0",), ALL_CONTEXTS[2:]),
    (("qemu:dirty-bitmap:b",), []),
    (("base:alloc", "other:thing", ""), []),
    (("base:allocation", "base:allocation", "qemu:allocation-depth"), ALL_CONTEXTS[:2]),
]


def test_contexts_listed(disk: Path) -> None:
    with fresh(disk) as client:
        for queries, names in LISTED_CONTEXTS:
            replies = client.option(nbd.OPT_LIST_META, meta_query("disk", *queries))
            listed = [data for kind, data in replies if kind == nbd.REP_META]
            assert listed == [bytes(4) + name.encode() for name in names], queries
            assert replies[-1][0] == nbd.REP_ACK


def test_contexts_set(disk: Path) -> None:
    chosen: list[tuple[tuple[str, ...], int]] = [
        ((), 0),
        (("base:", "qemu:"), 0),
        (tuple(ALL_CONTEXTS), 3),
        (("base:allocation",), 1),
    ]
    for queries, count in chosen:
        with fresh(disk) as client:
            client.option(nbd.OPT_STRUCTURED_REPLY)
            replies = client.option(nbd.OPT_SET_META, meta_query("disk", *queries))
            assert len(replies) == count + 1
            client.option(nbd.OPT_GO, info_query("disk"))
            reply = client.request(nbd.BLOCK_STATUS, 0, LENGTH)
            assert len(reply.status) == count
            assert (reply.error == 0) == (count > 0)


def test_contexts_of_another_export_do_not_count(disk: Path) -> None:
    with fresh(disk) as client:
        client.option(nbd.OPT_STRUCTURED_REPLY)
        client.option(nbd.OPT_SET_META, meta_query("disk", "base:allocation"))
        client.option(nbd.OPT_GO, info_query("look"))
        assert client.request(nbd.BLOCK_STATUS, 0, 4096).error == nbd.EINVAL


@pytest.mark.parametrize("flags", [0, nbd.REQ_ONE])
def test_block_status(disk: Path, flags: int) -> None:
    with RawNbd.attached(disk, "disk", structured=True, meta=tuple(ALL_CONTEXTS)) as client:
        assert client.request(nbd.WRITE, 4 * MIB + 4096, 4096, 0, b"w" * 4096).error == 0
        reply = client.request(nbd.BLOCK_STATUS, 0, 8 * MIB, flags)
    count = 1 if flags else 99
    status = dict(reply.status)
    names = sorted(status)
    assert len(names) == 3
    allocation = (
        (DATA_AT, 3),
        (64 << 10, 0),
        (4 * MIB + 4096 - DATA_AT - (64 << 10), 3),
        (4096, 0),
        (4 * MIB - 8192, 3),
    )
    assert status[names[0]] == allocation[:count]
    assert status[names[1]] == ((8 * MIB, 1),)
    assert status[names[2]] == ((4 * MIB, 0), (64 << 10, 1), (4 * MIB - (64 << 10), 0))[:count]


def test_block_status_of_a_part(disk: Path) -> None:
    layout = [(0, DATA_AT, 3), (DATA_AT, DATA_AT + len(DATA), 0), (DATA_AT + len(DATA), LENGTH, 3)]
    with RawNbd.attached(disk, "disk", structured=True, meta=("base:allocation",)) as client:
        for offset, length in [(0, 512), (DATA_AT, 512), (DATA_AT + 1, 65535), (LENGTH - 1, 1), (0, LENGTH)]:
            end = offset + length
            parts = [(min(stop, end) - max(start, offset), flags) for start, stop, flags in layout]
            reply = client.request(nbd.BLOCK_STATUS, offset, length)
            assert reply.status[0][1] == tuple(part for part in parts if part[0] > 0)


REFUSED_REQUESTS = {
    "read beyond the end": (nbd.READ, LENGTH - 511, 512, 0, b"", nbd.EINVAL),
    "read far beyond the end": (nbd.READ, 1 << 60, 512, 0, b"", nbd.EINVAL),
    "read at a wrapping offset": (nbd.READ, (1 << 64) - 512, 512, 0, b"", nbd.EINVAL),
    "write beyond the end": (nbd.WRITE, LENGTH - 511, 512, 0, b"x" * 512, nbd.ENOSPC),
    "zeroes beyond the end": (nbd.WRITE_ZEROES, LENGTH, 512, 0, b"", nbd.ENOSPC),
    "trim beyond the end": (nbd.TRIM, LENGTH, 512, 0, b"", nbd.EINVAL),
    "cache beyond the end": (nbd.CACHE, LENGTH, 512, 0, b"", nbd.EINVAL),
    "status beyond the end": (nbd.BLOCK_STATUS, LENGTH, 512, 0, b"", nbd.EINVAL),
    "oversized read": (nbd.READ, 0, 32 * MIB + 1, 0, b"", nbd.EINVAL),
    "oversized cache": (nbd.CACHE, 0, 32 * MIB + 1, 0, b"", nbd.EINVAL),
    "status of nothing": (nbd.BLOCK_STATUS, 0, 0, 0, b"", nbd.EINVAL),
    "unknown command": (77, 0, 0, 0, b"", nbd.EINVAL),
    "unknown flag": (nbd.READ, 0, 512, 0x80, b"", nbd.EINVAL),
    "no-hole for a write": (nbd.WRITE, 0, 512, nbd.NO_HOLE, b"x" * 512, nbd.EINVAL),
    "req-one for a read": (nbd.READ, 0, 512, nbd.REQ_ONE, b"", nbd.EINVAL),
    "fast-zero for trim": (nbd.TRIM, 0, 512, nbd.FAST_ZERO, b"", nbd.EINVAL),
}


@pytest.mark.parametrize("structured", [False, True])
def test_refused_requests_leave_the_connection_going(disk: Path, server: Server, structured: bool) -> None:
    with RawNbd.attached(disk, "disk", structured=structured, meta=("base:allocation",) * structured) as client:
        for what, (command, offset, length, flags, data, error) in REFUSED_REQUESTS.items():
            reply = client.request(command, offset, length, flags, data)
            # QEMU has the errors of proto.md in its code, but says EINVAL to whatever it refuses itself.
            assert reply.error == (nbd.EINVAL if server.kind == "qsd" else error), what
            assert bool(reply.message) == structured, what
        assert client.read(DATA_AT, 4096) == DATA[:4096]


def test_df_needs_structured_replies(disk: Path) -> None:
    with RawNbd.attached(disk, "disk") as client:
        assert client.request(nbd.READ, 0, 512, nbd.DF).error == nbd.EINVAL


def test_a_read_only_export_takes_no_writes(disk: Path, server: Server) -> None:
    error = nbd.EINVAL if server.kind == "qsd" else nbd.EPERM
    with RawNbd.attached(disk, "look") as client:
        assert client.request(nbd.WRITE, DATA_AT, 4, 0, b"evil").error == error
        assert client.request(nbd.WRITE_ZEROES, DATA_AT, 512).error == error
        assert client.request(nbd.TRIM, DATA_AT, 512).error == error
        assert client.request(nbd.FLUSH).error == 0
        assert client.request(nbd.CACHE, 0, MIB).error == 0
        assert client.read(DATA_AT, 512) == DATA[:512]


def test_an_oversized_write_ends_the_connection(disk: Path) -> None:
    with RawNbd.attached(disk, "disk") as client:
        client.send_request(nbd.WRITE, 0, 32 * MIB + 512)
        assert client.reply()[1].error == nbd.EINVAL
        assert client.hung_up()
    still_serves(disk)


def test_a_request_without_magic_ends_the_connection(disk: Path, server: Server) -> None:
    with RawNbd.attached(disk, "disk") as client:
        cookie = client.send_request(nbd.READ, DATA_AT, 512)
        client.send(b"\0" * 28)
        if server.kind == "qmpd":
            assert client.reply(512) == (cookie, nbd.Reply(0, DATA[:512]))
        with pytest.raises(Closed):  # QEMU may answer the garbage, even before the read
            client.receive(MIB)
    still_serves(disk)


def test_a_client_that_vanishes_within_a_write_has_written_nothing(disk: Path) -> None:
    for sent in (1, 27, 28, 29, 28 + 4095, 28 + (200 << 10)):
        length = 4096 if sent < 28 + 4096 else 256 << 10
        request = nbd.request_bytes(nbd.WRITE, DATA_AT, length, 0, b"evil" * (length // 4))
        with RawNbd.attached(disk, "disk") as client:
            client.send(request[:sent])
        still_serves(disk)
    with RawNbd.attached(disk, "disk") as client:
        assert client.read(DATA_AT, len(DATA)) == DATA


@pytest.mark.qmpd_only("QEMU drops what is in flight")
def test_a_disconnecting_client_gets_its_replies_first(disk: Path) -> None:
    with RawNbd.attached(disk, "disk") as client:
        requests = [nbd.request_bytes(nbd.WRITE, at * 4096, 4096, 0, b"d" * 4096, cookie=at) for at in range(8)]
        client.send(b"".join(requests) + nbd.request_bytes(nbd.DISC, 0, 0))
        assert sorted(client.reply()[0] for _ in range(8)) == list(range(8))
        assert client.hung_up()
    with RawNbd.attached(disk, "disk") as client:
        assert client.read(0, 8 * 4096) == b"d" * 8 * 4096


def test_empty_requests(disk: Path) -> None:
    for structured in (False, True):
        with RawNbd.attached(disk, "disk", structured=structured) as client:
            for command in (nbd.READ, nbd.WRITE, nbd.TRIM, nbd.WRITE_ZEROES, nbd.CACHE):
                assert client.request(command, 0, 0).error == 0, command


def test_holes_are_not_sent(disk: Path) -> None:
    with RawNbd.attached(disk, "disk", structured=True) as client:
        reply = client.request(nbd.READ, 0, 2 * MIB)
        assert reply.data == bytes(DATA_AT) + DATA + bytes(MIB - len(DATA))
        assert reply.holes == 2 * MIB - len(DATA)
        assert client.request(nbd.READ, 0, 2 * MIB, nbd.DF).holes == 0
        assert client.request(nbd.READ, DATA_AT, len(DATA)).holes == 0


def test_writes_zeroes_and_trims(disk: Path) -> None:
    with RawNbd.attached(disk, "disk") as client:
        pattern = bytes(range(256)) * 16
        for flags in (0, nbd.FUA):
            assert client.request(nbd.WRITE, 4 * MIB + 7, len(pattern), flags, pattern).error == 0
            assert client.read(4 * MIB + 7, len(pattern)) == pattern
            assert client.request(nbd.WRITE_ZEROES, 4 * MIB + 9, 1000, flags | nbd.NO_HOLE).error == 0
            assert client.read(4 * MIB + 7, 1010) == pattern[:2] + bytes(1000) + pattern[1002:1010]
            assert client.request(nbd.TRIM, 4 * MIB, 8192, flags).error == 0
        assert client.request(nbd.WRITE_ZEROES, 0, 4 * MIB, nbd.FAST_ZERO).error == 0
        assert client.request(nbd.FLUSH).error == 0
        assert client.read(0, 4 * MIB) == bytes(4 * MIB)


def test_large_requests_and_odd_sizes(disk: Path) -> None:
    with RawNbd.attached(disk, "disk") as client:
        for length in (1, 511, 4097, 65535, 131071, 131072, 262145, 3 * MIB + 5):
            data = bytes([length % 251]) * length
            assert client.request(nbd.WRITE, 3, length, 0, data).error == 0, length
            assert client.read(3, length) == data, length


def test_many_pipelined_requests_all_get_their_answer(disk: Path) -> None:
    with RawNbd.attached(disk, "disk") as client:
        cookies = set()
        batch = b""
        for number in range(300):
            if number % 3 == 0:
                batch += nbd.request_bytes(nbd.WRITE, number * 512, 512, 0, b"p" * 512, cookie=number)
            else:
                batch += nbd.request_bytes(nbd.FLUSH if number % 3 == 1 else nbd.TRIM, 0, 0, cookie=number)
        client.send(batch)
        for _ in range(300):
            cookie, reply = client.reply()
            assert reply.error == 0
            cookies.add(cookie)
        assert cookies == set(range(300))


def test_a_dead_server_is_noticed(disk: Path, server: Server) -> None:
    with RawNbd.attached(disk, "disk") as client:
        server.qmp.command("nbd-server-stop")
        assert client.hung_up()
        with pytest.raises(Closed):
            client.read(0, 512)


def test_handshake_in_single_bytes(disk: Path) -> None:
    with RawNbd.connect(disk) as client:
        client.receive(18)
        message = struct.pack(">I", 3) + nbd.option_bytes(nbd.OPT_LIST) + nbd.option_bytes(99, b"abc")
        message += nbd.option_bytes(nbd.OPT_GO, info_query("disk")) + nbd.request_bytes(nbd.READ, DATA_AT, 512)
        for number in range(len(message)):
            client.send(message[number : number + 1])
        assert kinds(client.option_replies(nbd.OPT_LIST))[-1] == nbd.REP_ACK
        assert kinds(client.option_replies(99)) == [nbd.ERR_UNSUP]
        assert kinds(client.option_replies(nbd.OPT_GO))[-1] == nbd.REP_ACK
        assert client.reply(512) == (1, nbd.Reply(0, DATA[:512]))


def test_many_clients_at_once(disk: Path, launch: Launcher) -> None:
    clients = [RawNbd.attached(disk, "disk", structured=number % 2 == 0) for number in range(40)]
    try:
        for number, client in enumerate(clients):
            client.send_request(nbd.WRITE, number * 4096, 4096, 0, bytes([number]) * 4096)
        for client in reversed(clients):
            assert client.reply()[1].error == 0
        # The multi-conn promise: another connection sees it after a flush on any.
        assert clients[0].request(nbd.FLUSH).error == 0
        data = clients[-1].read(0, 40 * 4096)
        assert data == b"".join(bytes([number]) * 4096 for number in range(40))
    finally:
        for client in clients:
            client.close()
