"""The commands on the daemon itself and on the session: negotiation, versions, introspection, quit.

Answers that never change are encoded once. Must never end the process itself: `quit` only asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from qmpd import __version__
from qmpd.monitor.context import RawJSON, RequestContext
from qmpd.monitor.dispatcher import command
from qmpd.wire.encoding import encode

if TYPE_CHECKING:
    from qmpd.api.models import QObjQmpCapabilitiesArg

VERSION = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": f"qmpd {__version__}"}
"""The QEMU version says which interface this is (clients choose features by it), the package which program."""


class ControlCommands:
    """qmp_capabilities, query-version, query-commands, query-qmp-schema, query-name, quit.

    :param command_names: gives the names of all commands that can be executed; called when first asked for.
    :param request_shutdown: asks the daemon to end, after the reply.
    """

    def __init__(self, command_names: Callable[[], Iterable[str]], request_shutdown: Callable[[], None]) -> None:
        self._command_names = command_names
        self._request_shutdown = request_shutdown
        self._version = RawJSON(encode(VERSION))
        self._commands: RawJSON | None = None
        self._schema: RawJSON | None = None

    @command("qmp_capabilities", none_if_empty=True)
    def capabilities(self, ctx: RequestContext, args: QObjQmpCapabilitiesArg | None) -> None:
        """End the negotiation."""
        assert ctx.session is not None  # it comes from a session; the command line has no use for it
        ctx.session.negotiate((args and args.enable) or ())

    @command("query-version")
    def version(self, ctx: RequestContext, args: None) -> RawJSON:
        """The versions of the interface and of the program."""
        return self._version

    @command("query-commands")
    def commands(self, ctx: RequestContext, args: None) -> RawJSON:
        """All commands."""
        if self._commands is None:
            self._commands = RawJSON(encode([{"name": name} for name in self._command_names()]))
        return self._commands

    @command("query-qmp-schema")
    def schema(self, ctx: RequestContext, args: None) -> RawJSON:
        """The interface's types, commands and events."""
        if self._schema is None:
            from qmpd.api.introspection import schema_info

            self._schema = RawJSON(encode(schema_info()))
        return self._schema

    @command("query-name")
    def name(self, ctx: RequestContext, args: None) -> dict[str, str]:
        """The daemon has no name."""
        return {}

    @command("quit")
    def quit(self, ctx: RequestContext, args: None) -> None:
        """Ask for the end."""
        self._request_shutdown()
