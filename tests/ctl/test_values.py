"""`key=value` words against a small schema in the form of `query-qmp-schema`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.ctl.failure import UsageError
from qmpd.ctl.values import ServerSchema, build_arguments, guess

ENTRIES: list[dict[str, Any]] = [
    {"name": "str", "meta-type": "builtin", "json-type": "string"},
    {"name": "int", "meta-type": "builtin", "json-type": "int"},
    {"name": "number", "meta-type": "builtin", "json-type": "number"},
    {"name": "bool", "meta-type": "builtin", "json-type": "boolean"},
    {"name": "null", "meta-type": "builtin", "json-type": "null"},
    {"name": "any", "meta-type": "builtin", "json-type": "value"},
    {"name": "do", "meta-type": "command", "arg-type": "args", "ret-type": "empty"},
    {
        "name": "args",
        "meta-type": "object",
        "members": [
            {"name": "name", "type": "str"},
            {"name": "size", "type": "int"},
            {"name": "ratio", "type": "number"},
            {"name": "force", "type": "bool"},
            {"name": "mode", "type": "mode"},
            {"name": "any", "type": "any"},
            {"name": "names", "type": "[str]"},
            {"name": "disks", "type": "[disk]"},
            {"name": "disk", "type": "disk"},
            {"name": "ref", "type": "ref"},
            {"name": "switch", "type": "switch"},
        ],
    },
    {"name": "mode", "meta-type": "enum", "values": ["on", "off", "1"]},
    {"name": "[str]", "meta-type": "array", "element-type": "str"},
    {"name": "[disk]", "meta-type": "array", "element-type": "disk"},
    {
        "name": "disk",
        "meta-type": "object",
        "members": [{"name": "driver", "type": "kind"}],
        "tag": "driver",
        "variants": [{"case": "file", "type": "file"}, {"case": "null", "type": "nothing"}],
    },
    {"name": "kind", "meta-type": "enum", "values": ["file", "null"]},
    {"name": "file", "meta-type": "object", "members": [{"name": "filename", "type": "str"}]},
    {"name": "nothing", "meta-type": "object", "members": [{"name": "filename", "type": "int"}]},
    {
        "name": "ref",
        "meta-type": "alternate",
        "members": [{"type": "disk"}, {"type": "str"}, {"type": "null"}],
    },
    {"name": "switch", "meta-type": "alternate", "members": [{"type": "bool"}, {"type": "int"}]},
]
SCHEMA = ServerSchema(ENTRIES)


def build(*words: str) -> dict[str, Any]:
    return build_arguments("do", words, SCHEMA)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("name=12", {"name": "12"}),
        ("name=", {"name": ""}),
        ("name=a=b", {"name": "a=b"}),
        ("name={}", {"name": "{}"}),
        ("size=12", {"size": 12}),
        ("size=-0x10", {"size": -16}),
        ("size=64k", {"size": 65536}),
        ("size=2GiB", {"size": 2 << 30}),
        ("ratio=2", {"ratio": 2}),
        ("ratio=2.5", {"ratio": 2.5}),
        ("force=on", {"force": True}),
        ("force=No", {"force": False}),
        ("mode=1", {"mode": "1"}),
        ("mode=on", {"mode": "on"}),
        ("any=1", {"any": 1}),
        ("any=x", {"any": "x"}),
        ('names=["1", "b"]', {"names": ["1", "b"]}),
        ("names=['a', 'b']", {"names": ["a", "b"]}),
        ("names.0=1", {"names": ["1"]}),
        ("ref=null", {"ref": None}),
        ("ref=node0", {"ref": "node0"}),
        ('ref={"driver": "null"}', {"ref": {"driver": "null"}}),
        ("switch=off", {"switch": False}),
        ("switch=7", {"switch": 7}),
        ("unknown=7", {"unknown": 7}),
        ("unknown.deep=true", {"unknown": {"deep": True}}),
    ],
)
def test_the_schema_decides_what_a_word_is(word: str, expected: dict[str, Any]) -> None:
    result = build(word)
    assert result == expected
    assert json.dumps(result) == json.dumps(expected)


def test_a_unions_branch_decides_the_type_of_its_members() -> None:
    assert build("disk.filename=7", "disk.driver=file") == {"disk": {"driver": "file", "filename": "7"}}
    assert build("disk.driver=null", "disk.filename=7") == {"disk": {"driver": "null", "filename": 7}}
    assert build("ref.driver=file", "ref.filename=1") == {"ref": {"driver": "file", "filename": "1"}}


def test_numbered_keys_make_a_list() -> None:
    words = ["disks.1.driver=null", "disks.0.driver=file", "disks.0.filename=1"]
    assert build(*words) == {"disks": [{"driver": "file", "filename": "1"}, {"driver": "null"}]}


def test_a_whole_object_and_words_on_top_of_it() -> None:
    assert build('{"name": "a", "size": 1}', "size=2") == {"name": "a", "size": 2}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["size"], "size"),
        (["=1"], "=1"),
        (["a..b=1"], "a..b"),
        (["size=many"], "size"),
        (["size=1.5"], "size"),
        (["ratio=x"], "ratio"),
        (["force=1"], "force"),
        (["disk=x"], "disk"),
        (["names=x"], "names"),
        (["names={}"], "names"),
        (["names.1=x"], "names"),
        (["names.x=1"], "names"),
        (["size=1", "size=2"], "size"),
        (["disk=1", "disk.driver=file"], "disk"),
        (["disk.driver=file", "disk=1"], "disk"),
        (["{broken"], "JSON"),
        (["size=" + "9" * 5000], "5000 digits"),
        (["size=" + "9" * 5000 + "k"], "5001 digits"),
        (["unknown=0x" + "f" * 5000], "unknown"),
        (['{"a":' * 20_000], "nested"),
        (['{"a":' * 600 + "1" + "}" * 600], "nested"),
        (["unknown=" + "[" * 600 + "]" * 600], "nested"),
        ([".".join(["a"] * 2000) + "=1"], "nested"),
        (["disk=" + "[" * 20_000], "disk"),
    ],
)
def test_what_makes_no_sense_is_named(words: list[str], named: str) -> None:
    with pytest.raises(UsageError) as refused:
        build(*words)
    assert named in refused.value.desc


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", 12),
        ("TRUE", True),
        ("null", "null"),
        ("{'a': true, 'b': null}", {"a": True, "b": None}),
        ("['true', 'x null']", ["true", "x null"]),
        ("{not json", "{not json"),
        ("[", "["),
        ("[" * 20_000, "[" * 20_000),
        ("{1, 2}", "{1, 2}"),
    ],
)
def test_without_a_schema_words_are_read_as_qmp_shell_reads_them(text: str, expected: object) -> None:
    assert guess(text) == expected
    assert build_arguments("do", [f"x={text}"], ServerSchema()) == {"x": expected}


names = st.text(st.characters(exclude_characters=".=", exclude_categories=["Cs"]), min_size=1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text())
def test_any_text_survives_in_a_text_member(text: str) -> None:
    assert build(f"name={text}") == {"name": text}


@given(st.integers(-(2**63), 2**64 - 1))
def test_any_integer_survives_in_decimal_and_hexadecimal(number: int) -> None:
    assert build(f"size={number}") == build(f"size={number:#x}") == {"size": number}


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_any_json_object_survives(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    assert build(text) == value
    assert build(f"disk={text}") == {"disk": value}


@given(st.dictionaries(names, st.text(), min_size=1, max_size=4), st.lists(names, min_size=1, max_size=4))
def test_dotted_keys_nest_as_deep_as_they_are_long(leaves: dict[str, str], path: list[str]) -> None:
    words = [f"{'.'.join([*path, name])}={json.dumps([value])}" for name, value in leaves.items()]
    if words[0].lstrip().startswith("{"):
        return  # such a word is a whole JSON object
    try:
        expected: Any = {name: [value] for name, value in leaves.items()}
        for name in reversed(path):
            expected = {name: expected}
        assert build_arguments("do", words, ServerSchema()) == expected
    except UsageError as refused:
        assert "JSON" in refused.desc


@given(st.lists(st.text(), max_size=5))
def test_nothing_that_is_typed_crashes(words: list[str]) -> None:
    try:
        json.dumps(build(*words))
    except UsageError as refused:
        assert refused.desc
