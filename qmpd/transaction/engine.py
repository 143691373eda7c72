"""Carries out lists of actions so that they all happen, at one point in time, or none does.

The order of things is the point of this module:

    build all, refuse what cannot be grouped      nothing has been touched
    ask the recorder whether it may be            may fail, may wait; nothing stands still as yet
    hold the graph, drain all nodes of all actions
        prepare in order                          may fail, may wait
        record                                    may fail, may wait; the last thing that does
        commit in order, clean in order           plain calls
     or abort in reverse, clean in order          plain calls, from the one whose `prepare` failed backwards

A client that goes away while a transaction prepares cancels it, which is a failure like any other. While it
records, the outcome is in the balance, so recording is seen through to its end first and decides; only then
does the cancellation go on its way. Between the end of recording and the last `clean` there is no `await`.

It must never know a single action kind: they are found by scanning `qmpd.transaction.kinds`.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from qmpd.block.unbroken import see_through
from qmpd.errors import GenericError, os_error_text
from qmpd.transaction import kinds as kinds_package
from qmpd.transaction.action import TransactionAction
from qmpd.transaction.env import CompletionMode, TransactionEnv
from qmpd.transaction.outcome import Demand, Fact

if TYPE_CHECKING:
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode
    from qmpd.events import EventSink
    from qmpd.jobs.manager import JobManager
    from qmpd.monitor.context import RequestContext

_log = logging.getLogger(__name__)

class Record(Protocol):
    """The record of one transaction."""

    async def store(self, facts: Sequence[Fact]) -> None:
        """All actions are prepared: store their outcome durably.

        :raises QMPError: it cannot be stored; the transaction aborts.
        """

    def abandon(self) -> None:
        """The transaction has not happened. Plain, cannot fail; without effect once `store` has succeeded."""


class Recorder(Protocol):
    """Keeps a durable record of what transactions do, and of limits to that."""

    async def begin(self, env: TransactionEnv, demand: Demand) -> Record:
        """A transaction is asked for; nothing stands still as yet.

        :raises QMPError: there is not as much as it wants, or no record can be kept. Then it does not happen.
        """


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """One action as asked for.

    :ivar kind: its name in the schema.
    :ivar data: its arguments, a validated model.
    """

    kind: str
    data: Any


class TransactionEngine:
    """Runs transactions, one at a time.

    :param recorder: keeps a record; without one nothing is stored. May be set later.
    :param kinds: the action kinds by name; by default those found in `qmpd.transaction.kinds`.
    """

    def __init__(
        self,
        graph: BlockGraph,
        jobs: JobManager,
        events: EventSink,
        services: Any,
        *,
        recorder: Recorder | None = None,
        kinds: Mapping[str, type[TransactionAction]] | None = None,
    ) -> None:
        self._graph = graph
        self._jobs = jobs
        self._events = events
        self._services = services
        self.recorder = recorder
        self._kinds = discover_kinds(kinds_package) if kinds is None else kinds

    @property
    def kinds(self) -> Mapping[str, type[TransactionAction]]:
        """The action kinds by name."""
        return self._kinds

    async def run(
        self, requests: Sequence[ActionRequest], completion_mode: CompletionMode, context: RequestContext
    ) -> list[TransactionAction]:
        """Carry out all of `requests` or none, and return the committed actions.

        :raises QMPError: the first error, when everything has been undone.
        """
        env = self._make_env(completion_mode, context)
        actions = [self._build(request, env) for request in requests]
        record = await self._begin_record(env, actions)
        try:
            async with self._graph.exclusive():
                for action in actions:
                    await action.anticipate()
                async with self._graph.drained(_nodes_of(actions)):
                    await self._carry_out(actions, env, record)
        except BaseException:
            if record is not None:
                record.abandon()
            raise
        return actions

    async def run_single(self, kind: str, data: Any, context: RequestContext) -> TransactionAction:
        """Carry out one action, for the command of the same name; errors as in `run`."""
        (action,) = await self.run([ActionRequest(kind, data)], CompletionMode.INDIVIDUAL, context)
        return action

    def _make_env(self, completion_mode: CompletionMode, context: RequestContext) -> TransactionEnv:
        grouped = completion_mode is CompletionMode.GROUPED
        return TransactionEnv(
            graph=self._graph,
            jobs=self._jobs,
            events=self._events,
            services=self._services,
            context=context,
            completion_mode=completion_mode,
            group=self._jobs.new_transaction() if grouped else None,
        )

    def _build(self, request: ActionRequest, env: TransactionEnv) -> TransactionAction:
        cls = self._kinds.get(request.kind)
        if cls is None:
            known = ", ".join(f"'{kind}'" for kind in sorted(self._kinds))
            raise GenericError(f"Action '{request.kind}' does not exist; there are {known}")
        if env.group is not None and cls.ungroupable is not None:
            raise GenericError(
                f"Action '{request.kind}' cannot be part of a transaction with 'completion-mode' 'grouped' "
                f"because {cls.ungroupable}"
            )
        return cls(request.data, env)

    async def _begin_record(self, env: TransactionEnv, actions: Sequence[TransactionAction]) -> Record | None:
        if self.recorder is None:
            return None
        return await self.recorder.begin(env, sum((action.demand() for action in actions), Demand()))

    async def _carry_out(
        self, actions: Sequence[TransactionAction], env: TransactionEnv, record: Record | None
    ) -> None:
        begun: list[TransactionAction] = []
        late_cancellation: asyncio.CancelledError | None = None
        try:
            for action in actions:
                begun.append(action)
                await _prepare(action)
            if record is not None:
                # Whatever happens to the caller's task; a cancellation that comes too late is told in the end.
                late_cancellation = await see_through(_stored(record, actions))
        except BaseException:
            _undo(begun, env)
            raise
        for action in actions:
            _call(action.commit, action)
        if env.group is not None:
            env.group.settle_if_empty()
        for action in actions:
            _call(action.clean, action)
        if late_cancellation is not None:
            raise late_cancellation


async def _prepare(action: TransactionAction) -> None:
    try:
        await action.prepare()
    except OSError as error:
        raise GenericError(f"Action '{action.kind}' failed: {os_error_text(error)}") from error


async def _stored(record: Record, actions: Sequence[TransactionAction]) -> None:
    try:
        await record.store([fact for action in actions for fact in action.outcome()])
    except OSError as error:
        raise GenericError(f"The transaction could not be recorded: {os_error_text(error)}") from error


def discover_kinds(package: ModuleType) -> dict[str, type[TransactionAction]]:
    """All action kinds that the modules of `package` define, by name.

    :raises RuntimeError: if two classes claim the same kind.
    """
    found: dict[str, type[TransactionAction]] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for cls in _kinds_in(module):
            if cls.kind in found:
                other = found[cls.kind]
                raise RuntimeError(
                    f"action kind '{cls.kind}' is claimed by {other.__module__}.{other.__name__} "
                    f"and by {cls.__module__}.{cls.__name__}"
                )
            found[cls.kind] = cls
    return found


def _kinds_in(module: ModuleType) -> Iterable[type[TransactionAction]]:
    for value in vars(module).values():
        if not (inspect.isclass(value) and issubclass(value, TransactionAction)):
            continue
        if value.__module__ == module.__name__ and "kind" in vars(value):
            yield value


def _nodes_of(actions: Iterable[TransactionAction]) -> list[BlockNode]:
    return list({id(node): node for action in actions for node in action.nodes()}.values())


def _undo(begun: Sequence[TransactionAction], env: TransactionEnv) -> None:
    for action in reversed(begun):
        _call(action.abort, action)
    if env.group is not None:
        env.group.dissolve()
    for action in begun:
        _call(action.clean, action)


def _call(step: Callable[[], None], action: TransactionAction) -> None:
    """Call a step that cannot fail. If it does, log the bug; the others have to be called all the same."""
    try:
        step()
    except Exception:
        _log.exception("bug: '%s' of transaction action '%s' raised", step.__name__, action.kind)
