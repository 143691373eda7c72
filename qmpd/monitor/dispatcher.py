"""Which handler answers a command, with what arguments, and what its result or failure becomes.

A command family is any object with methods marked `@command("name")`. The dispatcher validates arguments by
the schema's tables, runs the handler, and encodes the result. It knows no sockets and no order of execution:
that is `qmpd.monitor.connection`'s.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

import orjson

from qmpd.errors import CommandNotFound, ErrorClass, GenericError, QMPError, os_error_text
from qmpd.monitor.context import RawJSON, RequestContext
from qmpd.wire.encoding import encode

log = logging.getLogger(__name__)

_MARK = "__qmp_command__"
_NONE_IF_EMPTY = "__qmp_none_if_empty__"
_EMPTY_RESULT = b"{}"

Method = TypeVar("Method", bound=Callable[..., Any])


def command(name: str, *, none_if_empty: bool = False) -> Callable[[Method], Method]:
    """Mark a method `(self, ctx, args)` as the handler of the schema's command `name`.

    A plain function answers at once and must not block; an `async def` runs as a task, and the session's next
    commands wait for it. The result is None (sent as `{}`), a model, a list of models, JSON-ready data, or
    `RawJSON`.

    :param none_if_empty: the handler gets None instead of a model when no arguments are given, which spares an
        idle daemon the making of models. Only for commands all of whose arguments are optional.
    """

    def mark(method: Method) -> Method:
        setattr(method, _MARK, name)
        setattr(method, _NONE_IF_EMPTY, none_if_empty)
        return method

    return mark


class CommandInfo(Protocol):
    """What the dispatcher wants of an entry of the schema's table of commands."""

    @property
    def arg_type(self) -> str | None: ...

    @property
    def allow_oob(self) -> bool: ...

    @property
    def validate(self) -> Callable[[Mapping[str, object]], Any]: ...

    def check_return(self, value: object) -> None: ...


class Handler:
    """One command: the bound method that answers it and what the schema says of it."""

    __slots__ = ("allow_oob", "call", "empty", "info", "is_async", "name", "needs_model")

    def __init__(self, name: str, call: Callable[[RequestContext, Any], Any], info: CommandInfo) -> None:
        self.name = name
        self.call = call
        self.info = info
        self.allow_oob = info.allow_oob
        self.is_async = inspect.iscoroutinefunction(call)
        self.needs_model = info.arg_type is not None and not getattr(call, _NONE_IF_EMPTY, False)
        self.empty: object = None


class Dispatcher:
    """The commands of the daemon.

    :param commands: the schema's table; a handler for anything else is refused.
    :param check_replies: hold every result against the schema (for tests).
    """

    def __init__(self, commands: Mapping[str, CommandInfo], *, check_replies: bool = False) -> None:
        self._commands = commands
        self._check_replies = check_replies
        self.handlers: dict[str, Handler] = {}

    def register(self, family: object) -> None:
        """Take the marked methods of `family` as handlers.

        :raises ValueError: a command that is not in the schema, or that has a handler, or an out-of-band
            command whose handler is not a plain function.
        """
        for attribute, member in inspect.getmembers_static(type(family)):
            name = getattr(member, _MARK, None)
            if name is not None:
                self._add(name, getattr(family, attribute))

    def answer(self, name: str, value: object) -> None:
        """Answer a command always in the same way.

        :raises ValueError: the command is not in the schema, or has a handler.
        """
        result = RawJSON(encode(value))
        self._add(name, lambda context, arguments: result)

    def _add(self, name: str, call: Callable[[RequestContext, Any], Any]) -> None:
        info = self._commands.get(name)
        if info is None:
            raise ValueError(f"command {name!r} has a handler but is not in the schema")
        if name in self.handlers:
            raise ValueError(f"command {name!r} has two handlers")
        handler = Handler(name, call, info)
        if handler.allow_oob and handler.is_async:
            raise ValueError(f"command {name!r} may run out of band: its handler must be a plain function")
        self.handlers[name] = handler

    def missing(self) -> list[str]:
        """Commands of the schema that have no handler."""
        return sorted(self._commands.keys() - self.handlers.keys())

    def lookup(self, name: str) -> Handler:
        """The handler of `name`.

        :raises CommandNotFound: there is none.
        """
        handler = self.handlers.get(name)
        if handler is None:
            raise CommandNotFound(f"Command {name[:200]!r} does not exist; 'query-commands' lists those that do")
        return handler

    def arguments(self, handler: Handler, arguments: dict[str, object] | None) -> Any:
        """The model that `handler` gets for `arguments`.

        :raises GenericError: they are not what the schema says.
        """
        if not arguments:
            if not handler.needs_model:
                return None
            if handler.empty is None:  # models are immutable: one will do for all
                handler.empty = self._validate(handler, {})
            return handler.empty
        return self._validate(handler, arguments)

    def _validate(self, handler: Handler, arguments: dict[str, object]) -> Any:
        try:
            return handler.info.validate(arguments)
        except ValueError as error:
            # Not before the first mistake: most daemons never make one.
            from qmpd.api.keyval_types import TYPES
            from qmpd.qapi.explain import explain

            raise GenericError(explain(error, TYPES)) from error

    def run(self, handler: Handler, ctx: RequestContext, arguments: dict[str, object] | None) -> bytes:
        """Run a plain handler; the JSON text of its result."""
        return self.encode(handler, handler.call(ctx, self.arguments(handler, arguments)))

    async def run_async(self, handler: Handler, ctx: RequestContext, arguments: dict[str, object] | None) -> bytes:
        """Run any handler; the JSON text of its result."""
        result = handler.call(ctx, self.arguments(handler, arguments))
        if handler.is_async:
            result = await _awaited(result)
        return self.encode(handler, result)

    def encode(self, handler: Handler, result: Any) -> bytes:
        """The JSON text of what `handler` returned."""
        if result is None:
            data = _EMPTY_RESULT
        elif type(result) is RawJSON:
            data = result.data
        else:
            data = encode(_plain(result))
        if self._check_replies:
            handler.info.check_return(orjson.loads(data))
        return data


def failure(name: str, error: Exception) -> tuple[ErrorClass, str]:
    """What the client is told when command `name` ended with `error`."""
    if isinstance(error, QMPError):
        return error.error_class, error.desc
    if isinstance(error, OSError):
        return ErrorClass.GENERIC_ERROR, os_error_text(error)
    log.error("command %s failed unexpectedly", name, exc_info=error)
    return ErrorClass.GENERIC_ERROR, f"internal error in command {name!r}; the daemon's log has the details"


async def _awaited(result: Awaitable[object]) -> object:
    return await result


def _plain(result: Any) -> object:
    """A result with models turned into what JSON knows."""
    if isinstance(result, list | tuple):
        return [_plain(item) for item in result]
    dump = getattr(result, "model_dump", None)
    return result if dump is None else dump(by_alias=True, exclude_none=True)
