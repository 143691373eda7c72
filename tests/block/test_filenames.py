"""File names: what QEMU makes of them (each line was held against `drive_add` of QEMU 7.2), and names of no use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.block.filenames import complete, full_name, has_protocol, nested, parse_filename, validate
from qmpd.errors import GenericError
from tests.block.conftest import Bench


def file(path: str) -> dict[str, Any]:
    return {"driver": "file", "filename": path}


def nbd_unix(path: str, **more: str) -> dict[str, Any]:
    return {"driver": "nbd", "server": {"type": "unix", "path": path}, **more}


def nbd_inet(host: str, port: str, **more: str) -> dict[str, Any]:
    return {"driver": "nbd", "server": {"type": "inet", "host": host, "port": port}, **more}


NAMES: dict[str, dict[str, Any]] = {
    "a.raw": file("a.raw"),
    "/x/y:z": file("/x/y:z"),
    "./x:y.raw": file("./x:y.raw"),
    "file:a.raw": file("a.raw"),
    "file:x:y.raw": file("./x:y.raw"),
    "file:/a": file("/a"),
    "host_device:a.raw": {"driver": "host_device", "filename": "a.raw"},
    "/dev/null": {"driver": "host_device", "filename": "/dev/null"},
    "null-co://": {"driver": "null-co"},
    "null-aio://": {"driver": "null-aio"},
    "blkdebug::a.raw": {"driver": "blkdebug", "image": file("a.raw")},
    "blkdebug:rules:a.raw": {"driver": "blkdebug", "config": "rules", "image": file("a.raw")},
    "blkdebug::null-co://": {"driver": "blkdebug", "image": {"driver": "null-co"}},
    "blkdebug:r:nbd:unix:/s:exportname=e": {"driver": "blkdebug", "config": "r", "image": nbd_unix("/s", export="e")},
    "nbd:unix:/s:exportname=e": nbd_unix("/s", export="e"),
    "nbd:unix:/s": nbd_unix("/s"),
    "nbd:unix:/s:exportname=a:b": nbd_unix("/s", export="a:b"),
    "nbd:localhost:10999": nbd_inet("localhost", "10999"),
    "nbd:[::1]:10999:exportname=e": nbd_inet("::1", "10999", export="e"),
    "nbd://localhost": nbd_inet("localhost", "10809"),
    "nbd://localhost:10999/": nbd_inet("localhost", "10999"),
    "nbd://localhost/e/f": nbd_inet("localhost", "10809", export="e/f"),
    "nbd+tcp://127.0.0.1:10999/e": nbd_inet("127.0.0.1", "10999", export="e"),
    "nbd://[::1]:1/e": nbd_inet("::1", "1", export="e"),
    "nbd://h//%65%2f": nbd_inet("h", "10809", export="e/"),
    "nbd+unix:///e?socket=/s": nbd_unix("/s", export="e"),
    "nbd+unix://?socket=/s": nbd_unix("/s"),
    "nbd+unix:///?socket=/s%20t": nbd_unix("/s t"),
    'json:{"driver": "raw", "file": {"driver": "file", "filename": "a"}}': {"driver": "raw", "file": file("a")},
    "json:{'driver': 'raw', 'file.filename': 'a', 'file': {'driver': 'file'}}": {"driver": "raw", "file": file("a")},
    "json:{'driver': 'null-co', 'size': 4096, 'read-zeroes': true}": {
        "driver": "null-co",
        "size": "4096",
        "read-zeroes": "on",
    },
    "json:{'driver': 'quorum', 'children.0': 'a', 'children.1': 'b'}": {"driver": "quorum", "children": ["a", "b"]},
    "json:{'driver': 'qcow2', 'backing': null, 'file': 'x'}": {"driver": "qcow2", "backing": None, "file": "x"},
}

REFUSED = [
    "",
    "x:y.raw",
    ":x",
    "http://x/y",
    "nbds://x/y",
    "null-co://x",
    "null-co:",
    "blkdebug:a.raw",
    "blkdebug::",
    "blkdebug::foo:bar",
    "blkdebug::" * 100,
    "nbd:",
    "nbd:localhost",
    "nbd:localhost:",
    "nbd:unix:/s:exportname=",
    "nbd:///e",
    "nbd://h/e?x=y",
    "nbd://h:port/e",
    "nbd+unix:///e",
    "nbd+unix://h/e?socket=/s",
    "nbd+unix:///e?socket=/s&more=1",
    "nbd+tcp:h",
    "json:",
    "json:{",
    "json:[]",
    "json:{}{}",
    "json:{bad}",
    "json:{'a': 1, 'a.b': 2}",
    "json:{'a.b': 1, 'a': {'b': 2}}",
    "json:{'" + "a." * 100 + "a': 1}",
    "json:" + "{'a':" * 100 + "1" + "}" * 100,
    "json:{'a':" + "[" * 100 + "]" * 100 + "}",
]


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str) -> None:
    assert parse_filename(name) == NAMES[name]


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    with pytest.raises(GenericError):
        parse_filename(name)


@given(st.text())
def test_any_text_is_understood_or_refused(name: str) -> None:
    try:
        tree = parse_filename(name)
    except GenericError:
        return
    assert tree if not name.startswith("json:") else isinstance(tree, dict)


PROTOCOLS = ["nbd:", "nbd://", "nbd+unix://", "blkdebug:", "json:{", "null-co:", "file:"]


@given(st.sampled_from(PROTOCOLS), st.text(":/?&=.%{}[]'\"ab0"))
def test_any_protocol_is_understood_or_refused(protocol: str, rest: str) -> None:
    test = protocol + rest
    try:
        tree = parse_filename(test)
    except GenericError:
        return
    assert "driver" in tree or test.startswith("json:")


def test_has_protocol() -> None:
    assert [name for name in ("a", "a:b", "/a:b", "./a:b", ":", "a/b:c") if has_protocol(name)] == ["a:b", ":"]


def test_completed() -> None:
    assert complete({"driver": "raw", "file": {"filename": "a"}}) == {"driver": "raw", "file": file("a")}
    assert complete({"driver": "nbd", "host": "h"}) == nbd_inet("h", "10809")
    assert complete({"file": {"driver": "nbd", "host": "h", "port": "1"}}) == {"file": nbd_inet("h", "1")}
    assert complete({"driver": "nbd", "path": "/s", "export": "e"}) == nbd_unix("/s", export="e")
    # The format of a backing image is not known from its having a name.
    assert complete({"backing": {"filename": "a"}}) == {"backing": {"filename": "a"}}


def test_strings_are_read_as_what_the_schema_wants() -> None:
    tree = nested({"driver": "raw", "read-only": True, "size": 1024, "file.driver": "null-co", "file.size": "4096"})
    options: Any = validate(tree, "it")
    assert (options.read_only, options.size, options.file.size) == (True, 1024, 4096)


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"driver": "raw"},
        {"driver": "bogus"},
        {"driver": "raw", "file": {"driver": "file"}},
        {"driver": "raw", "file": file("a"), "bogus": "x"},
        {"driver": "raw", "file": file("a"), "read-only": "maybe"},
    ],
)
def test_options_that_do_not_fit(tree: dict[str, Any]) -> None:
    with pytest.raises(GenericError, match="options of it"):
        validate(tree, "it")


async def test_full_names(bench: Bench) -> None:
    node = await bench.disk("disk", b"x" * 512)
    assert full_name("a", node) == str(bench.path / "a")
    assert full_name("../a", node) == str(bench.path / "../a")
    assert full_name("/a", node) == "/a"
    assert full_name("file:a", node) == "file:a"
    assert full_name("", node) == ""
    nowhere = await bench.add(**{"driver": "null-co", "node-name": "nowhere"})
    assert full_name("a", nowhere) is None
    assert full_name("/a", nowhere) == "/a"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"driver": "null-co"}, "null-co://"),
        ({"driver": "null-co", "latency-ns": 5}, "null-co://"),
        ({"driver": "null-aio", "size": 512}, 'json:{"driver": "null-aio", "size": 512}'),
        ({"driver": "blkdebug", "image": {"driver": "null-co"}}, "blkdebug::null-co://"),
    ],
)
async def test_names_lead_back(bench: Bench, options: dict[str, Any], name: str, tmp_path: Path) -> None:
    node = await bench.add(**options, **{"node-name": "first"})
    assert node.driver.filename() == name
    again = validate(parse_filename(name), "it")
    second = await bench.add(**again.model_dump(by_alias=True, exclude_none=True), **{"node-name": "second"})
    assert second.driver.filename() == name
