"""Key=value text reads as `qemu-storage-daemon --blockdev` reads it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmpd.api.keyval_types import TYPES
from qmpd.api.tables import COMMANDS
from qmpd.qapi.checker import load
from qmpd.qapi.keyval import AlternateType, EnumType, KeyvalError, StructType, convert, parse
from qmpd.qapi.schema import Schema, TypeRef
from tests.qapi.strategies import values
from tests.soak import count

SCHEMA: Schema = load(str(Path(__file__).parents[2] / "schema" / "qapi-schema.json"))

quick = settings(max_examples=count(60, 5_000), deadline=None)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1,", {"a": "1"}),
        ("a=", {"a": ""}),
        ("a==", {"a": "="}),
        ("a=1,b=2", {"a": "1", "b": "2"}),
        ("a=1,,2", {"a": "1,2"}),
        ("a=,,", {"a": ","}),
        ("a=1,,,b=2", {"a": "1,", "b": "2"}),
        ("a=1,a=2", {"a": "2"}),
        ("a.b=1,a.c.d=2", {"a": {"b": "1", "c": {"d": "2"}}}),
        ("a.0=x,a.1=y", {"a": ["x", "y"]}),
        ("a.1=y,a.0=x", {"a": ["x", "y"]}),
        ("a.0.b=x,a.1.0=y", {"a": [{"b": "x"}, ["y"]]}),
        ("a.00=x", {"a": ["x"]}),
        ("__org.example_x.y=1", {"__org.example_x": {"y": "1"}}),
        ("x-a_B1=ä", {"x-a_B1": "ä"}),
        ("driver=raw,file.driver=file,file.filename=/a,,b",
         {"driver": "raw", "file": {"driver": "file", "filename": "/a,b"}}),
    ],
)  # fmt: skip
def test_parse(text: str, tree: Any) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("raw,a=1", {"driver": "raw", "a": "1"}),
        ("raw", {"driver": "raw"}),
        ("a,,b,c=1", {"driver": "a,b", "c": "1"}),
        ("driver=x", {"driver": "x"}),
        ("", {}),
    ],
)
def test_implied_key(text: str, tree: Any) -> None:
    assert parse(text, implied_key="driver") == tree


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "parameter 'a' lacks '=' and a value"),
        ("a=1,b", "parameter 'b' lacks '=' and a value"),
        ("=1", "parameter name ''"),
        (",a=1", "a parameter's name is missing before ','"),
        ("a=1,,=b,=c", "parameter name ''"),
        ("0=a", "parameter name '0'"),
        ("a..b=1", "parameter name 'a..b'"),
        (".a=1", "parameter name '.a'"),
        ("a.=1", "parameter name 'a.'"),
        ("a b=1", "parameter name 'a b'"),
        ("a.1x=1", "parameter name 'a.1x'"),
        ("a" * 128 + "=1", "part of more than 127 characters"),
        (".".join(["a"] * 101) + "=1", "more than 100 parts"),
        ("a=1,a.b=2", "parameter 'a' is given both a value and members"),
        ("a.b=1,a=2", "parameter 'a' is given both a value and members"),
        ("x.a.b=1,x.a=2", "parameter 'x.a' is given both a value and members"),
        ("a.0=1,a.b=2", "parameter 'a' is given both names and indexes"),
        ("a.1=1", "parameter 'a.0' is missing"),
        ("a.b.0=1,a.b.2=1", "parameter 'a.b.1' is missing"),
        ("help", "help is not available"),
        ("a=1,?", "help is not available"),
    ],
)
def test_parse_errors(text: str, message: str) -> None:
    with pytest.raises(KeyvalError, match=re.escape(message)):
        parse(text)


@pytest.mark.parametrize("text", ["raw,raw", "?", "help"])
def test_implied_key_is_for_the_first_value_only(text: str) -> None:
    with pytest.raises(KeyvalError):
        parse(text, implied_key="driver")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("bool", "on", True), ("bool", "yes", True), ("bool", "true", True), ("bool", "y", True),
        ("bool", "off", False), ("bool", "no", False), ("bool", "false", False), ("bool", "n", False),
        ("int", "0", 0), ("int", "-5", -5), ("int", "+5", 5), ("int", " 5", 5), ("int", "0x1F", 31),
        ("int", "-0x10", -16),
        ("uint8", "017", 15), ("int", "99999999999999999999", 99999999999999999999),
        ("number", "1.5", 1.5), ("number", "-1e3", -1000.0),
        ("size", "0", 0), ("size", "4096", 4096), ("size", "1k", 1024), ("size", "1M", 1 << 20),
        ("size", "2g", 2 << 30),
        ("size", "1T", 1 << 40), ("size", "1P", 1 << 50), ("size", "1E", 1 << 60), ("size", "5B", 5),
        ("size", "1.5k", 1536), ("size", "1.k", 1024), ("size", "0x10", 16), ("size", "1.0", 1),
        ("str", "on", "on"), ("null", "", None), ("any", "x", "x"),
    ],
)  # fmt: skip
def test_builtin_types(kind: str, text: str, value: Any) -> None:
    converted = convert(text, kind, {})
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "wanted"),
    [
        ("bool", "ON", "'on' or 'off'"), ("bool", "1", "'on' or 'off'"), ("bool", "", "'on' or 'off'"),
        ("int", "", "an integer"), ("int", "5 ", "an integer"), ("int", "1k", "an integer"),
        ("int", "0x", "an integer"),
        ("int", "08", "an integer"), ("int", "1_0", "an integer"), ("int", "1.0", "an integer"),
        ("int", "٣", "an integer"),
        ("number", "x", "a number"), ("number", "inf", "a finite number"), ("number", "nan", "a finite number"),
        ("size", "1.5", "a whole number of bytes"), ("size", "-1", "a size"), ("size", "1kB", "a size"),
        ("size", "k", "a size"), ("size", "0x10k", "a size"), ("size", "", "a size"), ("null", "x", "empty"),
    ],
)  # fmt: skip
def test_builtin_type_errors(kind: str, text: str, wanted: str) -> None:
    with pytest.raises(KeyvalError, match=re.escape(f"parameter 'a.b' must be {wanted}")):
        convert(text, kind, {}, "a.b")


def test_path_in_errors() -> None:
    with pytest.raises(KeyvalError, match=re.escape("parameter 'file.size' must be an integer, not '4k'")):
        convert(parse("driver=raw,file.driver=null-co,file.size=4k"), "BlockdevOptions", TYPES)
    with pytest.raises(KeyvalError, match=re.escape("parameter 'x.1' must be an integer, not 'b'")):
        convert({"x": ["1", "b"]}, "T", {"T": StructType({"x": "[int]"})})


def test_what_does_not_fit_is_left_to_validation() -> None:
    tree = parse("driver=nope,node-name.a=1,cache=x,unknown=1,read-only=on")
    assert convert(tree, "BlockdevOptions", TYPES) == {**tree, "read-only": True}
    assert convert("x", "[int]", TYPES) == "x"
    assert convert(["x"], "int", TYPES) == ["x"]
    assert convert({"driver": ["raw"]}, "BlockdevOptions", TYPES) == {"driver": ["raw"]}


def test_alternates() -> None:
    types = {
        "Ref": AlternateType(["str", "Obj", "[int]"]),
        "Mode": AlternateType(["Enum", "Obj"]),
        "Num": AlternateType(["Obj", "int"]),
        "Obj": StructType({"n": "int"}),
        "Enum": EnumType(["a", "b"]),
    }
    assert convert("7", "Ref", types) == "7"
    assert convert({"n": "7"}, "Ref", types) == {"n": 7}
    assert convert(["7"], "Ref", types) == [7]
    assert convert("a", "Mode", types) == "a"
    assert convert("7", "Num", types) == 7
    assert convert(["7"], "Num", types) == ["7"]


PEER = "qemu-storage-daemon"
STOP = 'chardev "STOP" not found'


@pytest.mark.skipif(shutil.which(PEER) is None, reason=f"{PEER} is not installed")
@pytest.mark.parametrize(
    "text",
    [
        "driver=null-co,node-name=a", "null-co,node-name=a", "driver=null-co,node-name=a,",
        "driver=null-co,,node-name=a",
        ",driver=null-co", "driver", "", "driver=null-co,node-name=a,size", "driver=null-co,0=a",
        "driver=null-co,a..b=c",
        "driver=null-co,node-name=a,size=0x10", "driver=null-co,node-name=a,size=010",
        "driver=null-co,node-name=a,size=08",
        "driver=null-co,node-name=a,size= 7", "driver=null-co,node-name=a,size=7 ",
        "driver=null-co,node-name=a,size=1k",
        "driver=null-co,node-name=a,size=+1", "driver=null-co,node-name=a,size=", "driver=null-co,node-name=a,size=0x",
        "driver=null-co,node-name=a,read-zeroes=y", "driver=null-co,node-name=a,read-zeroes=ON",
        "driver=null-co,node-name=a,cache=x", "driver=null-co,node-name=a,cache.direct=on",
        "driver=null-co,node-name=a,cache.direct=on,cache=x", "driver=null-co,node-name=a,cache.0=x",
        "driver=null-co,node-name=a,size=1,size.x=3", "driver=null-co,node-name=a,node-name=b",
        "driver=null-co,node-name=a,x.1=2", "driver=null-co,node-name=a,detect-zeroes=maybe",
        "driver=null-co,node-name=a,size=99999999999999999999", "driver=null-co,help",
        "driver=raw,node-name=a,file.driver=null-co,file.size=4k",
        "driver=raw,node-name=a,file.driver=null-co,size=512",
        "driver=copy-before-write,node-name=a,file.driver=null-co,target.driver=null-co,cbw-timeout=4294967296",
        "driver=copy-before-write,node-name=a,file.driver=null-co,target.driver=null-co,cbw-timeout=45",
    ],
)  # fmt: skip
def test_accepts_what_the_peer_accepts(text: str) -> None:
    """The peer goes on to the next option, which stops it, exactly when the text reads as a node's options."""
    done = subprocess.run(
        [PEER, "--blockdev", text, "--monitor", "chardev=STOP"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    try:
        COMMANDS["blockdev-add"].validate(convert(parse(text, "driver"), "BlockdevOptions", TYPES))  # type: ignore[arg-type]
        accepted = True
    except ValueError:
        accepted = False
    assert accepted == (STOP in done.stderr), done.stderr


def spelled(value: Any, prefix: str = "") -> list[str]:
    """`value` as pairs of key and value; empty objects and arrays cannot be written and vanish."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [pair for key, item in items for pair in spelled(item, f"{prefix}.{key}" if prefix else str(key))]
    text = ("on" if value else "off") if isinstance(value, bool) else str(value)
    return [f"{prefix}={text.replace(',', ',,')}"]


def without_empty(value: Any) -> Any:
    """`value` without the empty objects and arrays in it, and without null: none of them can be written."""
    if isinstance(value, dict):
        kept = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in ({}, [], None)}
    if isinstance(value, list):
        return [item for item in map(without_empty, value) if item not in ({}, [], None)]
    return value


WRITABLE = ["BlockdevOptions", "BlockExportOptions", "NbdServerOptions", "BlockdevBackup", "MonitorOptions",
            "SocketAddressLegacy", "BlockDirtyBitmapMerge"]  # fmt: skip


@quick
@given(st.data())
def test_whatever_is_written_reads_back(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(WRITABLE))
    value = without_empty(data.draw(values(SCHEMA, TypeRef(name))))
    pairs = data.draw(st.permutations(spelled(value)))
    assert convert(parse(",".join(pairs)), name, TYPES) == value


@quick
@given(st.text(alphabet="ab.,=01?[] \n-_é", max_size=30))
def test_any_text_reads_or_is_refused(text: str) -> None:
    for implied in (None, "driver"):
        try:
            tree = parse(text, implied)
        except KeyvalError as error:
            assert str(error)
        else:
            assert isinstance(tree, dict)
