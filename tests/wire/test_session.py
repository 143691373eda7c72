"""The session: greeting, negotiation, what is a request and what is not, and the text of what goes out."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qmpd.errors import CommandNotFound, ErrorClass, GenericError
from qmpd.wire.encoding import encode, encode_pretty
from qmpd.wire.session import Mode, Refused, Request, Session, event_line
from tests.soak import count

VERSION = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": "test"}


def only(data: bytes) -> Request | Refused:
    (item,) = Session().receive(data)
    return item


def test_greeting_is_one_line_of_json_as_qemu_writes_it() -> None:
    assert Session().greeting(VERSION) == (
        b'{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": "test"},'
        b' "capabilities": ["oob"]}}\r\n'
    )


@pytest.mark.parametrize(("enable", "oob"), [([], False), (["oob"], True), (["oob", "oob"], True)])
def test_negotiation_opens_the_command_mode(enable: list[str], oob: bool) -> None:
    session = Session()
    assert session.mode is Mode.NEGOTIATION
    session.negotiate(enable)
    assert session.mode is Mode.COMMAND
    assert session.oob is oob
    with pytest.raises(CommandNotFound, match="already over"):
        session.negotiate(enable)


def test_an_unknown_capability_leaves_the_mode_as_it_was() -> None:
    session = Session()
    with pytest.raises(GenericError, match="'warp'"):
        session.negotiate(["oob", "warp"])
    assert session.mode is Mode.NEGOTIATION
    assert not session.oob


@pytest.mark.parametrize(
    ("mode", "oob", "request_text", "error"),
    [
        (Mode.NEGOTIATION, False, b'{"execute":"query-version"}', CommandNotFound),
        (Mode.NEGOTIATION, False, b'{"execute":"no-such"}', CommandNotFound),
        (Mode.NEGOTIATION, False, b'{"execute":"qmp_capabilities"}', None),
        (Mode.NEGOTIATION, False, b'{"exec-oob":"qmp_capabilities"}', GenericError),
        (Mode.COMMAND, False, b'{"execute":"query-version"}', None),
        (Mode.COMMAND, False, b'{"execute":"qmp_capabilities"}', None),
        (Mode.COMMAND, False, b'{"exec-oob":"query-version"}', GenericError),
        (Mode.COMMAND, True, b'{"exec-oob":"query-version"}', None),
    ],
)
def test_what_a_mode_admits(mode: Mode, oob: bool, request_text: bytes, error: type[Exception] | None) -> None:
    session = Session()
    session.mode, session.oob = mode, oob
    (request,) = session.receive(request_text)
    assert isinstance(request, Request)
    if error is None:
        session.admit(request)
    else:
        with pytest.raises(error) as caught:
            session.admit(request)
        assert type(caught.value) is error


@pytest.mark.parametrize(
    ("text", "name", "arguments", "id_text", "oob"),
    [
        (b'{"execute":"a"}', "a", None, None, False),
        (b'{"execute":"a","id":null}', "a", None, b"null", False),
        (b'{"execute":"a","id":7}', "a", None, b"7", False),
        (b'{"execute":"a","id":true}', "a", None, b"true", False),
        (b'{"execute":"a","id":{"b":[1, "\\u00e9"]}}', "a", None, b'{"b": [1, "\\u00e9"]}', False),
        (b'{"id":"x","arguments":{"b":1},"execute":"a"}', "a", {"b": 1}, b'"x"', False),
        (b'{"exec-oob":"a","arguments":{},"id":"1"}', "a", {}, b'"1"', True),
    ],
)
def test_requests(
    text: bytes, name: str, arguments: dict[str, object] | None, id_text: bytes | None, oob: bool
) -> None:
    request = only(text)
    assert isinstance(request, Request)
    assert (request.name, request.arguments, request.id_text, request.oob) == (name, arguments, id_text, oob)


@pytest.mark.parametrize(
    ("text", "id_text", "word"),
    [
        (b"[1]", None, "must be a JSON object"),
        (b"{}", None, "'execute'"),
        (b'{"id":5}', b"5", "'execute'"),
        (b'{"execute":1,"id":"a"}', b'"a"', "'execute' must be a string"),
        (b'{"exec-oob":[],"id":1}', b"1", "'exec-oob' must be a string"),
        (b'{"execute":"a","exec-oob":"a"}', None, "exclude"),
        (b'{"execute":"a","arguments":null,"id":1}', b"1", "'arguments' must be an object"),
        (b'{"execute":"a","arguments":[]}', None, "'arguments' must be an object"),
        (b'{"execute":"a","argument":{}}', None, "'argument'"),
        (b'{"execute":"a"', None, ""),
    ],
)
def test_what_is_no_request_is_refused_in_its_place(text: bytes, id_text: bytes | None, word: str) -> None:
    items = Session().receive(text + b"\xff" if not word else text)
    (item,) = items
    assert isinstance(item, Refused)
    assert type(item.error) is GenericError
    assert item.id_text == id_text
    assert word in item.error.desc


def test_replies_have_qemus_layout() -> None:
    session = Session()
    assert session.reply(None, b"{}") == b'{"return": {}}\r\n'
    assert session.reply(b"7", b"[]") == b'{"return": [], "id": 7}\r\n'
    assert session.error(b'"x"', ErrorClass.COMMAND_NOT_FOUND, 'no "é"') == (
        b'{"id": "x", "error": {"class": "CommandNotFound", "desc": "no \\"\\u00e9\\""}}\r\n'
    )
    assert session.error(None, ErrorClass.GENERIC_ERROR, "no") == (
        b'{"error": {"class": "GenericError", "desc": "no"}}\r\n'
    )


def test_pretty_sessions_get_the_same_messages_over_several_lines() -> None:
    plain, pretty = Session(), Session(pretty=True)
    for line, tall in (
        (plain.greeting(VERSION), pretty.greeting(VERSION)),
        (plain.reply(b"1", b'{"a": [1]}'), pretty.reply(b"1", b'{"a": [1]}')),
        (plain.error(None, ErrorClass.GENERIC_ERROR, "x"), pretty.error(None, ErrorClass.GENERIC_ERROR, "x")),
    ):
        assert json.loads(tall) == json.loads(line)
        assert b"\n    " in tall
        assert tall.endswith(b"}\r\n")


def test_events() -> None:
    assert event_line("STOP", None, 1, 2) == (b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}\r\n')
    assert event_line("JOB", {"id": "j"}, 1, 2) == (
        b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "JOB", "data": {"id": "j"}}\r\n'
    )


def test_an_id_as_deep_as_the_parser_allows_comes_back() -> None:
    identity = b"[" * 1021 + b'{"a": 1, "b": [2, "x"]}' + b"]" * 1021
    for session in (Session(), Session(pretty=True)):
        (request,) = session.receive(b'{"execute":"a","id":' + identity + b"}")
        assert request.id_text == identity
        assert b"".join(session.reply(request.id_text, b"{}").split()).count(b"[") == 1022


@given(st.recursive(st.text(st.characters()), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
@settings(max_examples=count(200, 5000), deadline=None)
@example("\udcff")
@example("\\udcff")
@example("\\\udcff\U0001f600\ud83d")
@example({"a\ud800": ["\udfff\ud800"]})
def test_no_lone_surrogates(value: object) -> None:
    """What is no character is told as U+FFFD, and everything else as it is."""
    plain, pretty = Session(), Session(pretty=True)
    text = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass")
    expected = json.loads(text.decode("utf-16", "replace"))
    for line in (encode(value), encode_pretty(value)):
        assert orjson.loads(line) == expected
    for session in (plain, pretty):
        assert orjson.loads(session.reply(None, encode(value)))["return"] == expected


def test_encoding_is_ascii_with_wide_separators() -> None:
    assert encode({"a": [1, "é\x7f"], "b": None}) == b'{"a": [1, "\\u00e9\\u007f"], "b": null}'
    assert encode_pretty({"a": 1}) == b'{\n    "a": 1\n}'
    with pytest.raises(ValueError):
        encode(float("inf"))
