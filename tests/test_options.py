"""The command line: both spellings, order, every option, and what is refused with which words."""

from __future__ import annotations

import pytest

from qmpd.chardev.specs import (
    FileSpec,
    LogSpec,
    NullSpec,
    PipeSpec,
    PtySpec,
    RingbufSpec,
    SerialSpec,
    SocketSpec,
    StdioSpec,
    UdpSpec,
)
from qmpd.options import (
    BlockdevOption,
    ChardevOption,
    ExportOption,
    MonitorOption,
    NbdServerOption,
    OptionError,
    Options,
    parse_options,
)
from qmpd.sockets import FdAddress, InetAddress, UnixAddress


def parse(*words: str) -> Options:
    return parse_options(words, "1.2")


def chardev(text: str) -> object:
    (option,) = parse("--chardev", text).steps
    assert isinstance(option, ChardevOption)
    return option.chardev


def arguments(*words: str) -> dict[str, object]:
    (option,) = parse(*words).steps
    assert isinstance(option, BlockdevOption | NbdServerOption | ExportOption)
    return option.arguments


def test_nothing_is_a_daemon_without_monitor() -> None:
    assert parse() == Options()


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], ["-hV"], ["-help"], ["stray", "--blockdev", "{", "--help", "--nonsense"]]
)
def test_help(words: list[str]) -> None:
    answer = parse(*words).answer
    assert answer is not None
    assert answer.startswith("Usage: qmpd")


@pytest.mark.parametrize("word", ["--version", "-V", "-version", "--vers"])
def test_version(word: str) -> None:
    assert parse(word).answer == "qmpd version 1.2\n"


@pytest.mark.parametrize(
    "words",
    [
        ["--pidfile", "/p", "--daemonize", "--trace", "x"],
        ["-pidfile", "/p", "-daemonize", "-T", "x"],
        ["--pidfile=/p", "--daem", "--trace=enable=x"],
        ["-Tx", "--pid", "/p", "--d", "--t", "file=/f", "--", "--nonsense"],
    ],
)
def test_spellings(words: list[str]) -> None:
    assert parse(*words) == Options(daemonize=True, pidfile="/p")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("socket,id=c,path=/s,server=on,wait=off", SocketSpec("c", UnixAddress("/s"), True, False)),
        ("socket,id=c,path=/s,server,nowait", SocketSpec("c", UnixAddress("/s"), True, False)),
        ("socket,id=c,path=/s,server", SocketSpec("c", UnixAddress("/s"), True, True)),
        ("socket,path=/a,,b,id=c", SocketSpec("c", UnixAddress("/a,b"))),
        ("socket,id=c,path=/s,reconnect=5", SocketSpec("c", UnixAddress("/s"), reconnect=5)),
        ("socket,id=c,path=n,abstract=on,tight=off", SocketSpec("c", UnixAddress("n", True, False))),
        ("socket,id=c,fd=3,server=on", SocketSpec("c", FdAddress(3), True)),
        ("socket,id=c,host=h,port=1,nodelay", SocketSpec("c", InetAddress("h", "1"))),
        (
            "socket,id=c,port=1,to=9,ipv4,ipv6=off,server=on,wait=off",
            SocketSpec("c", InetAddress("", "1", 9, True, False), True, False),
        ),
        ("socket,id=c,path=/s,port=1,size=3,server=off", SocketSpec("c", UnixAddress("/s"))),
        ("backend=stdio,id=c,signal=off,", StdioSpec("c")),
        ("null,id=c,path=/x,cols=3,wait=off", NullSpec("c")),
        ("null,id=c,logfile=/l", NullSpec("c", log=LogSpec("/l"))),
        ("pty,id=c,logfile=/l,logappend=on", PtySpec("c", log=LogSpec("/l", True))),
        ("file,id=c,path=/o", FileSpec("c", "/o")),
        ("file,id=c,path=/o,input-path=/i,append=on", FileSpec("c", "/o", "/i", True)),
        ("pipe,id=c,path=/p", PipeSpec("c", "/p")),
        ("serial,id=c,path=/dev/ttyS0", SerialSpec("c", "/dev/ttyS0")),
        ("tty,id=c,path=/dev/ttyS0", SerialSpec("c", "/dev/ttyS0")),
        ("ringbuf,id=c", RingbufSpec("c", 65536)),
        ("memory,id=c,size=4k", RingbufSpec("c", 4096, "memory")),
        ("udp,id=c,port=1", UdpSpec("c", InetAddress("localhost", "1"))),
        (
            "udp,id=c,host=h,port=1,localaddr=a,localport=2,ipv4",
            UdpSpec("c", InetAddress("h", "1", ipv4=True), InetAddress("a", "2", ipv4=True)),
        ),
    ],
)
def test_chardevs(text: str, expected: object) -> None:
    assert chardev(text) == expected


@pytest.mark.parametrize(
    ("text", "address", "server", "wait"),
    [
        ("unix:/s,server=on,wait=off", UnixAddress("/s"), True, False),
        ("unix:/s,server,nowait", UnixAddress("/s"), True, False),
        ("tcp:localhost:4444,server=on", InetAddress("localhost", "4444"), True, True),
        ("tcp::4444,server=on", InetAddress("", "4444"), True, True),
        ("tcp:[::1]:4444,ipv6=on", InetAddress("::1", "4444", ipv6=True), False, True),
    ],
)
def test_the_shorthand_for_a_monitor(text: str, address: object, server: bool, wait: bool) -> None:
    first, second = parse("--qmp", text).steps
    assert isinstance(first, ChardevOption)
    assert isinstance(first.chardev, SocketSpec)
    assert (first.chardev.address, first.chardev.server, first.chardev.wait) == (address, server, wait)
    assert isinstance(second, MonitorOption)
    assert second.chardev == first.chardev.id


def test_several_monitors_in_order() -> None:
    steps = parse(
        "--qmp", "unix:/a,server=on", "--chardev", "stdio,id=b", "--monitor", "b,pretty=on", "--qmp", "unix:/c"
    ).steps
    assert [type(step).__name__ for step in steps] == [
        "ChardevOption",
        "MonitorOption",
        "ChardevOption",
        "MonitorOption",
        "ChardevOption",
        "MonitorOption",
    ]
    monitors = [step for step in steps if isinstance(step, MonitorOption)]
    assert [monitor.pretty for monitor in monitors] == [False, True, False]
    assert len({monitor.chardev for monitor in monitors}) == 3


@pytest.mark.parametrize("word", ["help", "?", "backend=help"])
def test_help_for_one_option_comes_after_what_stands_before_it(word: str) -> None:
    options = parse("--chardev", "null,id=c", "--chardev", word, "--blockdev", "nope")
    assert [option.source for option in options.steps] == ["--chardev null,id=c"]
    assert options.answer is not None
    assert "socket" in options.answer


def test_help_for_tracing() -> None:
    assert parse("-T", "help").answer == parse("--trace=?").answer is not None


@pytest.mark.parametrize("text", ["c", "chardev=c", "c,mode=control", "id=m,chardev=c,pretty=off"])
def test_monitors(text: str) -> None:
    steps = parse("--chardev", "stdio,id=c", "--monitor", text).steps
    assert steps[1] == MonitorOption(f"--monitor {text}", "c", False)


def test_blockdev_as_keys_and_as_json() -> None:
    keys = arguments("--blockdev", "raw,node-name=a,read-only=on,size=1048576,file.driver=file,file.filename=/x,,y")
    assert keys == {
        "driver": "raw",
        "node-name": "a",
        "read-only": True,
        "size": 1 << 20,
        "file": {"driver": "file", "filename": "/x,y"},
    }
    assert arguments("--blockdev", '{"driver": "raw", "size": 1048576}') == {"driver": "raw", "size": 1 << 20}
    assert arguments("--blockdev", "{'driver': 'null-co'}") == {"driver": "null-co"}


def test_exports_and_the_nbd_server() -> None:
    assert arguments("--nbd-server", "addr.type=unix,addr.path=/n,max-connections=3") == {
        "addr": {"type": "unix", "data": {"path": "/n"}},
        "max-connections": 3,
    }
    assert arguments("--export", "nbd,id=e,node-name=a,writable=on,bitmaps.0=b") == {
        "type": "nbd",
        "id": "e",
        "node-name": "a",
        "writable": True,
        "bitmaps": ["b"],
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["extra"], "extra"),
        (["-"], "unexpected argument"),
        (["-xV"], "unknown option"),
        (["--de"], "short for|needs a value"),
        (["--trace", "nonsense=1"], "'nonsense'"),
        (["--trace", "events=/no/such/file"], "does not exist"),
        (["--nonsense"], "--nonsense: unknown option"),
        (["--m"], "--monitor: needs a value"),
        (["--pidfile"], "needs a value"),
        (["--daemonize=yes"], "takes no value"),
        (["--chardev", "socket,path=/s"], "'id' is missing"),
        (["--chardev", "socket,id=1c,path=/s"], "'id' must be"),
        (["--chardev", "nonsense,id=c"], "type 'nonsense' does not exist"),
        (["--chardev", "vc,id=c"], "type 'vc' is not available: there is no display"),
        (["--chardev", "mux,id=c,chardev=d"], "type 'mux' is not available: .* chardev of its own"),
        (["--chardev", "stdio,id=c,mux=on"], "'mux' must be off"),
        (["--chardev", "pipe,id=c"], "'path' is missing"),
        (["--chardev", "udp,id=c,port="], "'port' must not be empty"),
        (["--chardev", "ringbuf,id=c,size=much"], "'size' must be a size such as"),
        (["--chardev", "null,id=c,reconnect=soon"], "'reconnect' must be a number"),
        (["--chardev", "null,id=c,telnet=maybe"], "'telnet' must be 'on' or 'off'"),
        (["--chardev", "socket,id=c,path=/s,telnet=on"], "'telnet' is not available"),
        (["--chardev", "socket,id=c,path=/s,tls-creds=t"], "'tls-creds' is not available"),
        (["--chardev", "socket,id=c,path=/s,delay=on,nodelay=on"], "exclude each other"),
        (["--chardev", "socket,id=c"], "'path'"),
        (["--chardev", "socket,id=c,path=/s,host=h,port=1"], "one of"),
        (["--chardev", "socket,id=c,host=h"], "one of"),
        (["--chardev", "socket,id=c,path=/s,foo=1"], "'foo' is unknown"),
        (["--chardev", "socket,id=c,path=/s,server=maybe"], "'server' must be 'on' or 'off'"),
        (["--chardev", "socket,id=c,path=/s,reconnect=soon"], "'reconnect' must be a number"),
        (["--chardev", "socket,id=c,path=/s,server=on,reconnect=1"], "'reconnect'"),
        (["--chardev", "socket,id=c,path=/s,wait=off"], "'wait'"),
        (["--chardev", "stdio,id=c", "--monitor", "c,mode=readline"], "'mode'"),
        (["--chardev", "stdio,id=c", "--monitor", "c,foo=1"], "'foo'"),
        (["--monitor", "pretty=on"], "'chardev' is missing"),
        (["--qmp", "pipe:/x"], "'unix:PATH'"),
        (["--qmp", "tcp:4444"], "'unix:PATH'"),
        (["--qmp", "unix:/s,foo=1"], "'foo'"),
        (["--blockdev", "{'driver'"], "JSON"),
        (["--blockdev", "raw,read-only=maybe"], "read-only"),
        (["--blockdev", "raw,=x"], "name"),
        (["--nbd-server", "host=x"], "addr.type"),
    ],
)
def test_refusals_name_the_option_and_the_parameter(words: list[str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse(*words)
