"""The dispatcher: what may be registered, what results become, how replies are checked."""

from __future__ import annotations

import asyncio
import json
from enum import StrEnum
from typing import Any

import pytest

from qmpd.api.tables import COMMANDS as SCHEMA_COMMANDS
from qmpd.commands.control import ControlCommands
from qmpd.errors import CommandNotFound, GenericError
from qmpd.monitor.context import RawJSON, RequestContext
from qmpd.monitor.dispatcher import Dispatcher, command
from tests.monitor.rig import FakeInfo

CONTEXT = RequestContext(1, 1, None, 0.0)


class Color(StrEnum):
    RED = "red"


class Model:
    """As much of a pydantic model as the dispatcher looks at."""

    def model_dump(self, *, by_alias: bool, exclude_none: bool) -> dict[str, object]:
        assert by_alias and exclude_none
        return {"node-name": "x", "color": Color.RED}


def dispatcher_for(function: Any, info: FakeInfo | None = None, **options: Any) -> Dispatcher:
    family = type("Family", (), {"run": command("do")(function)})()
    dispatcher = Dispatcher({"do": info or FakeInfo()}, **options)
    dispatcher.register(family)
    return dispatcher


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, b"{}"),
        ([], b"[]"),
        (RawJSON(b'{"a": 1}'), b'{"a": 1}'),
        ({"a": [1, "\u00e9"]}, b'{"a": [1, "\\u00e9"]}'),
        (Model(), b'{"node-name": "x", "color": "red"}'),
        ([Model()], b'[{"node-name": "x", "color": "red"}]'),
    ],
)
async def test_results(result: object, text: bytes) -> None:
    async def answer_later(self: object, ctx: object, args: object) -> object:
        await asyncio.sleep(0)
        return result

    plain = dispatcher_for(lambda self, ctx, args: result)
    assert plain.run(plain.lookup("do"), CONTEXT, None) == text
    slow = dispatcher_for(answer_later)
    assert await slow.run_async(slow.lookup("do"), CONTEXT, None) == text
    assert await plain.run_async(plain.lookup("do"), CONTEXT, None) == text


def test_unknown_commands() -> None:
    with pytest.raises(CommandNotFound, match="'nope'"):
        Dispatcher({}).lookup("nope")


def test_a_handler_must_be_in_the_schema_once() -> None:
    class Twice:
        @command("do")
        def one(self, ctx: object, args: object) -> None: ...

        @command("do")
        def two(self, ctx: object, args: object) -> None: ...

    with pytest.raises(ValueError, match="two handlers"):
        Dispatcher({"do": FakeInfo()}).register(Twice())
    with pytest.raises(ValueError, match="not in the schema"):
        Dispatcher({}).register(Twice())


def test_an_out_of_band_handler_must_be_a_plain_function() -> None:
    async def slow(self: object, ctx: object, args: object) -> None: ...

    with pytest.raises(ValueError, match="plain function"):
        dispatcher_for(slow, FakeInfo(allow_oob=True))


def test_commands_without_handler_are_known() -> None:
    assert Dispatcher({"b": FakeInfo(), "a": FakeInfo()}).missing() == ["a", "b"]


def test_arguments() -> None:
    dispatcher = dispatcher_for(lambda self, ctx, args: args, FakeInfo(("a",)))
    handler = dispatcher.lookup("do")
    assert dispatcher.run(handler, CONTEXT, {"a": 1}) == b'{"a": 1}'
    assert dispatcher.arguments(handler, None) == {}
    with pytest.raises(GenericError, match="'b'"):
        dispatcher.arguments(handler, {"b": 1})
    with pytest.raises(GenericError):
        dispatcher.arguments(dispatcher_for(lambda self, ctx, args: None).lookup("do"), {"a": 1})


def test_a_command_may_do_without_a_model() -> None:
    class Family:
        @command("do", none_if_empty=True)
        def do(self, ctx: object, args: object) -> object:
            return [args is None]

    dispatcher = Dispatcher({"do": FakeInfo(("a",))})
    dispatcher.register(Family())
    handler = dispatcher.lookup("do")
    assert dispatcher.run(handler, CONTEXT, {}) == b"[true]"
    assert dispatcher.run(handler, CONTEXT, {"a": 1}) == b"[false]"


def test_replies_are_held_against_the_schema_when_asked() -> None:
    careless = dispatcher_for(lambda self, ctx, args: "wrong")
    assert careless.run(careless.lookup("do"), CONTEXT, None) == b'"wrong"'
    careful = dispatcher_for(lambda self, ctx, args: "wrong", check_replies=True)
    with pytest.raises(ValueError, match="schema"):
        careful.run(careful.lookup("do"), CONTEXT, None)


def test_the_control_commands_answer_what_the_schema_says() -> None:
    ended: list[bool] = []
    dispatcher = Dispatcher(SCHEMA_COMMANDS, check_replies=True)
    dispatcher.register(ControlCommands(lambda: dispatcher.handlers, lambda: ended.append(True)))
    for name in ("query-version", "query-commands", "query-qmp-schema", "query-name", "quit"):
        handler = dispatcher.lookup(name)
        first = dispatcher.run(handler, CONTEXT, None)
        assert dispatcher.run(handler, CONTEXT, {}) == first
        json.loads(first)
        with pytest.raises(GenericError, match="'nonsense'"):
            dispatcher.run(handler, CONTEXT, {"nonsense": 1})
    assert ended == [True, True]
    names = {entry["name"] for entry in json.loads(dispatcher.run(dispatcher.lookup("query-commands"), CONTEXT, None))}
    assert names == set(dispatcher.handlers)
