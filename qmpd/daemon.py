"""The daemon: builds every part, carries out the command line, and takes everything down in order.

The only module that knows all rooms. A part that must be taken down registers a hook with `at_shutdown`; the
stages run in order, and a hook that fails is logged and does not keep the others from running:

1. no more clients, no more requests (events still go out);
2. `JOBS`, `EXPORTS`, `IMAGES`: the hooks;
3. sessions are flushed and closed, commands that still run are cancelled;
4. sockets and pid file are removed.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

from qmpd.api.tables import COMMANDS, EVENTS
from qmpd.block.drive import Drive
from qmpd.block.graph import BlockGraph
from qmpd.block.iopool import IOPool
from qmpd.block.services import BlockServices
from qmpd.chardev.base import Chardev
from qmpd.chardev.endpoint import Endpoint
from qmpd.chardev.manager import Chardevs
from qmpd.chardev.specs import PtySpec
from qmpd.commands.backup import BackupCommands
from qmpd.commands.bitmaps import BitmapCommands
from qmpd.commands.block import BlockCommands
from qmpd.commands.catalog import CatalogCommands
from qmpd.commands.chains import ChainCommands
from qmpd.commands.chardevs import ChardevCommands
from qmpd.commands.children import ChildCommands
from qmpd.commands.control import VERSION, ControlCommands
from qmpd.commands.devices import DeviceCommands
from qmpd.commands.exports import ExportCommands
from qmpd.commands.human import HumanCommands
from qmpd.commands.images import ImageCommands
from qmpd.commands.jobs import JobCommands
from qmpd.commands.machine import ANSWERS, MachineCommands
from qmpd.commands.media import MediaCommands
from qmpd.commands.mirror import MirrorCommands
from qmpd.commands.node_options import NodeOptionCommands
from qmpd.commands.objects import ObjectCommands
from qmpd.commands.recording import Recording
from qmpd.commands.run_state import RunStateCommands
from qmpd.commands.snapshots import SnapshotCommands
from qmpd.commands.state import StateCommands
from qmpd.commands.statistics import StatisticsCommands
from qmpd.commands.transaction import TransactionCommands
from qmpd.devices.manager import DeviceManager
from qmpd.errors import QMPError, os_error_text
from qmpd.export.manager import ExportManager
from qmpd.jobs.manager import JobManager
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import Dispatcher
from qmpd.monitor.events import EventBus
from qmpd.monitor.server import Monitor
from qmpd.options import (
    BlockdevOption,
    ChardevOption,
    DeviceOption,
    DriveOption,
    ExportOption,
    MonitorOption,
    NbdServerOption,
    ObjectOption,
    Option,
    Options,
    StateOption,
)
from qmpd.transaction.engine import TransactionEngine
from qmpd.wire.session import CAPABILITIES, EVENT_REPLAY

if TYPE_CHECKING:
    from qmpd.state.state import State

log = logging.getLogger(__name__)

CHECK_REPLIES_VARIABLE = "QMPD_CHECK_REPLIES"
"""Set to 1, every reply and event is held against the schema."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StartError(Exception):
    """The daemon cannot start; the message is for the user."""


class Stage(IntEnum):
    """The stages of a shutdown at which hooks run."""

    JOBS = 1
    EXPORTS = 2
    IMAGES = 3


Hook = Callable[[], Awaitable[None]]


class Daemon:
    """One daemon; `run` is its life. A process can have several.

    :param options: the command line.
    :param environment: the process's environment variables.
    """

    def __init__(self, options: Options, environment: Mapping[str, str] = os.environ) -> None:
        self._options = options
        check = environment.get(CHECK_REPLIES_VARIABLE, "0") not in ("", "0")
        self._hooks: dict[Stage, list[Hook]] = {stage: [] for stage in Stage}
        self._tasks: set[asyncio.Task[None]] = set()
        self._shutdown = asyncio.Event()
        self.chardevs = Chardevs(self.spawn)
        self._monitors: list[tuple[MonitorOption, Chardev]] = []
        self._pidfile: PidFile | None = None
        self.state: State | None = None
        self.recording = Recording()
        self.events = EventBus(check=_check_event if check else None)
        self.dispatcher = Dispatcher(COMMANDS, check_replies=check)
        self._build_block_layer()
        self._human = HumanCommands(self.graph, self.dispatcher, self._drive_of)
        self.at_shutdown(Stage.JOBS, self._human.close)
        for family in self._families():
            self.dispatcher.register(family)
        for name, answer in ANSWERS.items():
            self.dispatcher.answer(name, answer)
        self.monitor = Monitor(self.dispatcher, self.events, self.spawn, VERSION)

    def _families(self) -> Iterator[object]:
        """All command families."""
        yield ControlCommands(lambda: self.dispatcher.handlers, self.request_shutdown)
        yield BlockCommands(self.graph, self.recording)
        yield ChildCommands(self.graph, self.recording)
        yield NodeOptionCommands(self.graph, self.recording)
        yield ImageCommands(self.graph, self.jobs)
        yield ChainCommands(self.graph, self.jobs)
        yield SnapshotCommands(self.graph, self.engine, self.recording)
        yield BitmapCommands(self.graph, self.engine)
        yield JobCommands(self.jobs)
        yield BackupCommands(self.engine)
        yield MirrorCommands(self.graph, self.jobs)
        yield TransactionCommands(self.engine)
        yield ExportCommands(self.graph, self.exports, self.recording)
        yield ObjectCommands(self.graph.objects, self.recording)
        yield DeviceCommands(self.graph, self.devices)
        yield StatisticsCommands(self.graph, self.devices, self.exports)
        yield MediaCommands(self.graph, self.devices)
        yield RunStateCommands(self.graph)
        yield MachineCommands(self.graph.objects, _command_line_options)
        yield ChardevCommands(self.chardevs)
        yield CatalogCommands(lambda: None if self.state is None else self.state.catalog, self._limits_changed)
        yield StateCommands(lambda: self.state)
        yield self._human

    def _build_block_layer(self) -> None:
        """Nodes, jobs and transactions, and how they end."""
        self.pool = IOPool()
        self.graph = BlockGraph(self.pool, self.events)
        self.devices = DeviceManager(self.graph, self.events)
        self.jobs = JobManager(self.graph, self.events)
        services = BlockServices(self.graph, self.pool, self.events)
        self.engine = TransactionEngine(self.graph, self.jobs, self.events, services)
        self.exports = ExportManager(self.graph, self.events)
        self.at_shutdown(Stage.EXPORTS, self.exports.close)
        self.at_shutdown(Stage.EXPORTS, self._freeze_state)
        self.at_shutdown(Stage.IMAGES, self.pool.close)
        self.at_shutdown(Stage.IMAGES, self.graph.close_all)
        self.at_shutdown(Stage.JOBS, self.jobs.shutdown)
        self.at_shutdown(Stage.JOBS, self.graph.objects.let_pass)
        self.at_shutdown(Stage.JOBS, self.graph.drive_groups.let_pass)

    def _drive_of(self, name: str) -> Drive | None:
        device = self.devices.find(name)
        return None if device is None else device.drive

    # -- what parts may use

    def spawn(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `coro` in the background; it is cancelled when the daemon ends, an unexpected failure is logged."""
        task = asyncio.get_running_loop().create_task(_logged(coro))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def at_shutdown(self, stage: Stage, hook: Hook) -> None:
        """Call `hook` when the daemon ends; of one stage, the last one registered is called first."""
        self._hooks[stage].append(hook)

    def request_shutdown(self) -> None:
        """End the daemon, soon; may be called again."""
        self._shutdown.set()
        self.monitor.stop()

    # -- life

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Start, serve until a shutdown is requested, take everything down.

        :param on_ready: called when all sockets listen and clients are served.
        :raises StartError: the command line could not be carried out; everything is taken down again.
        """
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.request_shutdown)
        try:
            if await self._unless_shut_down(self._start()):
                on_ready()
                await self._shutdown.wait()
        finally:
            await self._take_down()
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    async def apply(self, option: Option) -> None:
        """Carry out one option: what its QMP command would do.

        :raises StartError: it failed.
        """
        try:
            match option:
                case ChardevOption():
                    _tell_pty(await self.chardevs.open(option.chardev))
                case MonitorOption():
                    self._monitors.append((option, self.chardevs.take(option.chardev)))
                case ObjectOption():
                    await self._execute("object-add", option.arguments)
                case BlockdevOption():
                    await self._execute("blockdev-add", option.arguments)
                case DriveOption():
                    await self._add_drive(option.text)
                case DeviceOption():
                    await self._execute("device_add", option.arguments)
                case NbdServerOption():
                    await self._execute("nbd-server-start", option.arguments)
                case ExportOption():
                    await self._execute("block-export-add", option.arguments)
                case StateOption():
                    await self._restore_state()
        except QMPError as error:
            raise StartError(f"{option.source}: {error.desc}") from error
        except OSError as error:
            raise StartError(f"{option.source}: {os_error_text(error)}") from error
        except (ValueError, OverflowError) as error:
            # An address that no system call takes: a label too long, a number out of range.
            raise StartError(f"{option.source}: {error}") from error

    async def _add_drive(self, text: str) -> None:
        from qmpd.block.drive_options import parse_drive
        from qmpd.block.drives import add_drive

        request = parse_drive(text)
        async with self.graph.exclusive():
            drive = await add_drive(self.graph, request)
            try:
                self.devices.add_for_drive(drive, request)
            except BaseException:
                self.graph.remove_drive(drive)
                raise

    async def _open_state(self, option: StateOption) -> None:
        """Take up the state directory, before anything else is made."""
        # A daemon without one loads nothing of databases.
        from qmpd.state.directory import StateDirectoryError
        from qmpd.state.state import State

        try:
            state = State(
                option.path,
                self._options.catalog,
                self._options.replica,
                graph=self.graph,
                pool=self.pool,
                job_manager=self.jobs,
                exports=self.exports,
                bus=self.events,
                execute=self._execute,
            )
            self.state = state
            await state.open()
        except StateDirectoryError as error:
            raise StartError(f"{option.source}: {error}") from error
        except QMPError as error:
            raise StartError(f"{option.source}: {error.desc}") from error
        self.engine.recorder = self.recording.recorder = state.recorder
        self.monitor.catalog = state.catalog
        self.monitor.capabilities = (*CAPABILITIES, EVENT_REPLAY)

    async def _restore_state(self) -> None:
        """Make again what the last run had."""
        if self.state is not None:
            self.recording.recorder = None
            await self.state.restore()
            self.recording.recorder = self.state.recorder

    async def _limits_changed(self, context: RequestContext) -> None:
        if self.state is not None:
            await self.state.refresh_limits(context)

    async def _freeze_state(self) -> None:
        if self.state is not None:
            self.engine.recorder = self.recording.recorder = None
            await self.state.freeze()

    async def _start(self) -> None:
        if self._options.state is not None:
            await self._open_state(self._options.state)
        # Devices last, as in QEMU: they may name drives that the command line makes after them.
        for option in sorted(self._options.steps, key=lambda option: isinstance(option, DeviceOption)):
            await self.apply(option)
        if self._options.answer is not None:
            sys.stdout.write(self._options.answer)
            self.request_shutdown()
            return
        if self._options.pidfile is not None:
            try:
                self._pidfile = PidFile(Path(self._options.pidfile))
            except OSError as error:
                raise StartError(f"cannot create PID file: {os_error_text(error)}") from error
        for option, chardev in self._monitors:
            await self._serve(option, chardev)
        await self.chardevs.hold_unused()

    async def _serve(self, option: MonitorOption, chardev: Chardev) -> None:
        """Give the chardev's clients to the monitor."""

        def make_endpoint(on_closed: Callable[[], None] | None) -> Endpoint:
            return self.monitor.connection(pretty=option.pretty, on_closed=on_closed)

        try:
            await chardev.serve(make_endpoint)
        except (OSError, ValueError, OverflowError) as error:
            raise StartError(f"{option.source}: {error}") from error

    async def _execute(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Run a command as a client would, but for the command line."""
        handler = self.dispatcher.lookup(name)
        context = RequestContext(next(self.monitor.request_ids), 0, None, time(), None, self.monitor.catalog)
        await self.dispatcher.run_async(handler, context, dict(arguments))

    async def _unless_shut_down(self, coro: Coroutine[Any, Any, None]) -> bool:
        """Run `coro`; False when a shutdown was requested before it ended, and it was cancelled."""
        main = asyncio.ensure_future(coro)
        shutdown = asyncio.ensure_future(self._shutdown.wait())
        try:
            await asyncio.wait((main, shutdown), return_when=asyncio.FIRST_COMPLETED)
            if main.done():
                main.result()
                return True
            return False
        finally:
            shutdown.cancel()
            main.cancel()
            await asyncio.gather(main, shutdown, return_exceptions=True)

    async def _take_down(self) -> None:
        self.monitor.stop()
        self.graph.hurry()
        self.chardevs.stop()
        for stage in Stage:
            for hook in reversed(self._hooks[stage]):
                await _attempt(stage, hook)
        self.events.flush()
        await self.monitor.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.events.close()
        self.chardevs.close()
        if self.state is not None:
            await self.state.close()
        if self._pidfile is not None:
            self._pidfile.remove()


class PidFile:
    """A file with the process id and a line end in it, locked as long as it exists.

    :raises OSError: it cannot be written, or another process has it locked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._fd = self._open_locked()
        try:
            os.ftruncate(self._fd, 0)
            os.write(self._fd, b"%d\n" % os.getpid())
        except BaseException:
            os.close(self._fd)
            raise

    def _open_locked(self) -> int:
        while True:
            fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Another daemon that ended just now may have removed the file that was opened here.
                if self._path.exists() and os.path.samestat(os.fstat(fd), self._path.stat()):
                    return fd
            except BlockingIOError as error:
                os.close(fd)
                raise OSError(f"another process runs with {str(self._path)!r}") from error
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def remove(self) -> None:
        """Remove the file and let go of the lock."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def _command_line_options() -> list[dict[str, Any]]:
    from qmpd.options.parameters import command_line_options

    return command_line_options()


def _tell_pty(chardev: Chardev) -> None:
    """Say where the other side of a pseudo terminal is, as QEMU does."""
    if isinstance(chardev.spec, PtySpec):
        path = chardev.filename.removeprefix("pty:")
        sys.stdout.write(f"char device redirected to {path} (label {chardev.spec.id})\n")
        sys.stdout.flush()


def _check_event(name: str, data: object) -> None:
    EVENTS[name].check(data)


async def _attempt(stage: Stage, hook: Hook) -> None:
    """Run a hook of the shutdown; a failure is logged, the shutdown goes on."""
    try:
        await hook()
    except Exception:
        log.exception("shutting down: a step of stage %s failed", stage.name)


async def _logged(coro: Coroutine[Any, Any, None]) -> None:
    """Run `coro`; a failure nobody expected is logged and ends nothing else."""
    try:
        await coro
    except Exception:
        log.exception("a background task failed unexpectedly")
